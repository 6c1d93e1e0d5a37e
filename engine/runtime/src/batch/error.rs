//! What can go wrong in the batch operators, and who must act.

use std::path::PathBuf;

use flott_core::CodecError;

use crate::error::{Fault, OperatorError};

/// Why sorting, hashing or spilling cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The file to spill to could not be made.
    #[error(
        "cannot create the spill file {path}: {source}; check that the temporary folder exists and is writable"
    )]
    CreateSpill {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A block could not be written, most likely because the disk is full.
    #[error(
        "cannot write {bytes} bytes to the spill file {path} after {spilled} bytes: {source}; free space there or set \
         io.tmp.dirs to a larger disk"
    )]
    WriteSpill {
        /// The file.
        path: PathBuf,
        /// The size of the block.
        bytes: usize,
        /// What was written before it.
        spilled: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// A block could not be read back.
    #[error("cannot read {bytes} bytes at {offset} of the spill file {path}: {source}")]
    ReadSpill {
        /// The file.
        path: PathBuf,
        /// Where the block begins.
        offset: u64,
        /// The size of the block.
        bytes: usize,
        /// What the system said.
        source: std::io::Error,
    },
    /// A spilled block does not hold what was written.
    #[error("a spilled block is damaged: {0}")]
    Damaged(#[from] CodecError),
    /// The operator's share of managed memory is too small to work in at all.
    #[error(
        "operator {operator} needs at least {needed} bytes of managed memory and can have {free}; raise \
         taskmanager.memory.managed.size or lower the number of slots"
    )]
    TooLittleMemory {
        /// The operator.
        operator: String,
        /// What it needs.
        needed: usize,
        /// What is free.
        free: usize,
    },
    /// One record is too large for the operator's share of managed memory.
    #[error(
        "a record of {bytes} bytes is too large for operator {operator}, which can hold records of up to {limit} \
         bytes; raise taskmanager.memory.managed.size"
    )]
    RecordTooLarge {
        /// The operator.
        operator: String,
        /// The size of the record.
        bytes: usize,
        /// The largest that fits.
        limit: usize,
    },
    /// Partitioning again and again did not make the data small enough.
    #[error(
        "operator {operator} cannot aggregate {records} partial results within {memory} bytes of managed memory even \
         after {levels} rounds of partitioning: single results are too large; raise taskmanager.memory.managed.size"
    )]
    TooDeep {
        /// The operator.
        operator: String,
        /// How many partial results are left.
        records: u64,
        /// The operator's share of managed memory.
        memory: usize,
        /// How often the data was partitioned.
        levels: u32,
    },
    /// An operator was used before it was opened, or out of order.
    #[error("operator {0} was called out of order; this is a defect of Flott, please report it")]
    OutOfOrder(&'static str),
}

impl From<BatchError> for OperatorError {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::OutOfOrder(_) => Self::defect(error),
            BatchError::RecordTooLarge { .. }
            | BatchError::TooDeep { .. }
            | BatchError::TooLittleMemory { .. } => Self::new(Fault::User, error.to_string()),
            // The message already says what the system said.
            _ => Self::new(Fault::Environment, error.to_string()),
        }
    }
}
