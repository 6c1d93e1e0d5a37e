//! What goes wrong with state.

use flott_core::ids::{CheckpointId, OperatorId};

/// Why state could not be declared, written or restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Two states of one name.
    #[error("operator {operator} declares two states called '{state}'")]
    DeclaredTwice {
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
    /// The checkpoint's bytes are not what was written.
    #[error("the checkpointed state of operator {operator} is damaged: {reason}")]
    Damaged {
        /// The operator.
        operator: OperatorId,
        /// In what way.
        reason: String,
    },
    /// A snapshot began while another was being written.
    #[error(
        "checkpoint {checkpoint} began while the state of operator {operator} was still being written for checkpoint {writing}"
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
