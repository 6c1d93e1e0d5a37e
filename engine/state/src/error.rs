//! What goes wrong with state.

use flott_core::ids::{CheckpointId, OperatorId};

use crate::format::FormatError;

/// Why state could not be declared, written or restored.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Two states of one name.
    #[error("operator {operator} declares two states called '{state}': give each a name of its own")]
    DeclaredTwice {
        /// The operator.
        operator: OperatorId,
        /// The state.
        state: String,
    },
    /// A state that is declared after the operator has opened.
    #[error(
        "operator {operator} declares state '{state}' after it has been opened: declare all state when it opens"
    )]
    DeclaredLate {
        /// The operator.
        operator: OperatorId,
        /// The state.
        state: String,
    },
    /// The checkpoint holds the state with another type.
    #[error(
        "state '{state}' of operator {operator} was written as {written} and is declared as {declared}: keep the type, or give the state a new name"
    )]
    SchemaChanged {
        /// The operator.
        operator: OperatorId,
        /// The state.
        state: String,
        /// What it was.
        written: String,
        /// What it is.
        declared: String,
    },
    /// The checkpoint has another number of key groups.
    #[error(
        "state '{state}' of operator {operator} was written with max parallelism {written}, and the operator has {declared}: set its max parallelism to {written}"
    )]
    MaxParallelismChanged {
        /// The operator.
        operator: OperatorId,
        /// The state.
        state: String,
        /// What it was.
        written: u32,
        /// What it is.
        declared: u32,
    },
    /// The checkpoint holds state that nobody declares.
    #[error(
        "the checkpoint holds state '{state}' of operator {operator}, which the operator does not declare; set execution.state-recovery.ignore-unclaimed-state to drop it"
    )]
    Unclaimed {
        /// The operator.
        operator: OperatorId,
        /// The state.
        state: String,
    },
    /// The state is of another operator.
    #[error("snapshot {snapshot} of operator {operator} was written by operator {writer}")]
    OtherOperator {
        /// The operator that is restored.
        operator: OperatorId,
        /// Which of the snapshots it was given, counted from 0.
        snapshot: usize,
        /// The one that wrote it.
        writer: OperatorId,
    },
    /// A snapshot cannot be read, or is not what was written.
    #[error("cannot restore operator {operator} from its snapshot {snapshot}: {error}")]
    Unreadable {
        /// The operator.
        operator: OperatorId,
        /// Which of the snapshots it was given, counted from 0.
        snapshot: usize,
        /// In what way.
        #[source]
        error: FormatError,
    },
    /// A snapshot began while another was being written.
    #[error(
        "checkpoint {checkpoint} began while the state of operator {operator} was still being written for checkpoint {writing}: cancel that first"
    )]
    SnapshotInProgress {
        /// The operator.
        operator: OperatorId,
        /// The one that began.
        checkpoint: CheckpointId,
        /// The one being written.
        writing: CheckpointId,
    },
}
