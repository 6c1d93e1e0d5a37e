//! How a JobMaster reaches the workers that run its subtasks, wherever they are.

use std::collections::BTreeMap;

use flott_core::ids::{Attempt, ExecutionId, SubtaskId};
use flott_plan::execution_graph::SlotNumber;
use flott_runtime::task::{Restore, TaskMessage};

/// An order to run a subtask.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Which subtask, which attempt.
    pub execution: ExecutionId,
    /// In which of the job's slots.
    pub slot: SlotNumber,
    /// What it goes on from.
    pub restore: Restore,
    /// The attempts of the subtasks it exchanges data with.
    pub neighbours: BTreeMap<SubtaskId, Attempt>,
}

/// Reaches workers. Nothing here blocks; what comes of it arrives as events.
pub trait TaskGateway: Send {
    /// Has subtasks run.
    fn deploy(&mut self, deployments: Vec<Deployment>);

    /// Tells a subtask something; one that is gone is told nothing.
    fn send(&mut self, execution: ExecutionId, message: TaskMessage);

    /// The attempts are over: what they left behind may go.
    fn release(&mut self, executions: &[ExecutionId]);
}
