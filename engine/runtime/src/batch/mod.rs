//! Batch operators: sorting, hashing and joining within a share of managed memory, on disk when that is too small.
//!
//! - [`SortPartition`], [`SortAggregate`] on the [`ExternalSorter`]
//! - [`Combine`], [`HashAggregate`], [`distinct`](distinct::distinct) on a hash table of records
//! - [`HybridHashJoin`]
//!
//! All of them reserve memory before they use it, spill to one unnamed file when they cannot, and do what takes long in steps
//! of about two milliseconds, so that they share their slot. Records lose their timestamps: they order and group a whole input.

mod combine;
pub mod distinct;
mod error;
mod external_sorter;
mod grant;
mod hash_aggregate;
mod hash_join;
mod loser_tree;
mod merge;
mod partitions;
mod record_table;
mod row;
mod sort_aggregate;
mod sort_buffer;
mod sort_partition;
mod spill;
mod step;

pub use combine::Combine;
pub use error::BatchError;
pub use external_sorter::{ExternalSorter, Workspace};
pub use hash_aggregate::HashAggregate;
pub use hash_join::HybridHashJoin;
pub use row::Order;
pub use sort_aggregate::SortAggregate;
pub use sort_partition::SortPartition;
