//! What a subtask tells whoever started it.

use std::sync::Arc;

use flott_core::ids::{CheckpointId, ExecutionId};
use flott_plan::OperatorKey;

use super::FinalHandles;
use crate::error::Fault;
use crate::metrics::{OperatorMetrics, TaskMetrics};
use crate::snapshot::SubtaskSnapshot;

/// What happens to a subtask.
#[derive(Debug)]
pub enum TaskEvent {
    /// Its operators are open.
    Running {
        /// What the subtask counts as a whole.
        task: Arc<TaskMetrics>,
        /// What each operator counts.
        metrics: Vec<(OperatorKey, Arc<OperatorMetrics>)>,
    },
    /// Its part of a checkpoint is written.
    CheckpointAcknowledged {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The part.
        snapshot: SubtaskSnapshot,
    },
    /// It could not write its part of a checkpoint.
    CheckpointDeclined {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        reason: String,
    },
    /// It has ended, and waits to be told to commit.
    Drained(FinalHandles),
    /// It is over, well.
    Finished,
    /// It is over because it was told so.
    Canceled,
    /// It is over because of an error.
    Failed(TaskFailure),
}

/// Why a subtask failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operator '{operator}' (subtask {}): {message}", subtask + 1)]
pub struct TaskFailure {
    /// The operator.
    pub operator: String,
    /// The subtask's index.
    pub subtask: u32,
    /// Who must act.
    pub fault: Fault,
    /// What went wrong.
    pub message: String,
    /// Where, for a panic.
    pub backtrace: Option<String>,
}

/// Told of what happens to subtasks. Called on slot threads: it must not block.
pub trait TaskListener: Send + Sync {
    /// `event` happened to `execution`.
    fn event(&self, execution: ExecutionId, event: TaskEvent);
}
