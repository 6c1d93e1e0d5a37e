//! Flott's vocabulary: what records, keys and batches are, how time and key groups work, which configuration keys
//! exist, how memory is budgeted and what things are called.
//!
//! Everything above builds on this crate; it knows no files, sockets or threads.
//!
//! ```
//! use flott_core::{Data, Key, MaxParallelism};
//!
//! let record = ("flott".to_owned(), 1_u64);
//! let mut bytes = Vec::new();
//! record.encode(&mut bytes);
//! assert_eq!(<(String, u64)>::decode(&mut bytes.as_slice()), Ok(record.clone()));
//!
//! let group = record.0.key_hash().group(MaxParallelism::new(128).unwrap());
//! assert!(group.index() < 128);
//! ```

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")
)]

// The derives name this crate as users see it, so their output also compiles inside it.
extern crate self as flott_core;

pub mod batch;
pub mod codec;
pub mod config;
pub mod data;
pub mod ids;
pub mod key;
pub mod memory;
pub mod schema;
pub mod time;

pub use batch::{Batch, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, Records};
pub use codec::CodecError;
pub use data::{Data, Text};
pub use flott_derive::{Data, Key};
pub use key::{Key, KeyGroup, KeyGroupRange, KeyHash, MaxParallelism};
pub use schema::Schema;
pub use time::Timestamp;
