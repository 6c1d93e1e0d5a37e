//! Event and processing time: `i64` milliseconds since the Unix epoch.

/// Milliseconds since the Unix epoch; may be negative.
pub type Timestamp = i64;

/// The timestamp of a record that has none. Also the watermark before any watermark came.
pub const NO_TIMESTAMP: Timestamp = Timestamp::MIN;

/// The watermark that says: no more records will come. It fires every event-time timer.
pub const MAX_WATERMARK: Timestamp = Timestamp::MAX;
