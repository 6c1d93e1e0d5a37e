//! Exchanges: how batches get from the subtasks of one vertex to those of another.
//!
//! A *channel* joins one producing and one consuming subtask and holds a bounded number of bytes; control elements
//! bypass the bound. The *output* of a producer partitions batches over its channels, the *input gate* of a consumer
//! merges its channels into one sequence with one watermark.

pub mod align;
pub mod channel;
pub mod gate;
pub mod output;
pub mod partition;
pub mod readers;
mod spill;
