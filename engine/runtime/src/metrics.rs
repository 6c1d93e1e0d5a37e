//! Counters of an operator subtask, read by others while it runs.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use flott_core::time::NO_TIMESTAMP;

/// What an operator subtask has done so far.
#[derive(Debug)]
pub struct OperatorMetrics {
    /// Records taken.
    pub records_in: AtomicU64,
    /// Records given.
    pub records_out: AtomicU64,
    /// Records that came after their time and were dropped or sent to a side output.
    pub late_records: AtomicU64,
    /// Records that were skipped because they could not be read.
    pub skipped_records: AtomicU64,
    /// The watermark that last came in.
    pub watermark: AtomicI64,
    /// About how many bytes of memory its state and its part of managed memory take; as of the last second.
    pub memory_bytes: AtomicU64,
}

impl Default for OperatorMetrics {
    fn default() -> Self {
        Self {
            records_in: AtomicU64::new(0),
            records_out: AtomicU64::new(0),
            late_records: AtomicU64::new(0),
            skipped_records: AtomicU64::new(0),
            watermark: AtomicI64::new(NO_TIMESTAMP),
            memory_bytes: AtomicU64::new(0),
        }
    }
}

impl OperatorMetrics {
    /// Counts one late record.
    pub fn count_late(&self) {
        self.late_records.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts records that were skipped.
    pub fn count_skipped(&self, records: u64) {
        self.skipped_records.fetch_add(records, Ordering::Relaxed);
    }
}
