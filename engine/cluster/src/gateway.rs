//! How a JobMaster reaches the workers that run its subtasks, wherever they are.

use std::collections::BTreeMap;

use flott_core::ids::{Attempt, ExecutionId, SubtaskId, TaskManagerId};
use flott_plan::execution_graph::SlotNumber;
use flott_runtime::net::Peer;
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
    /// The subtasks it exchanges data with.
    pub neighbours: BTreeMap<SubtaskId, Neighbour>,
}

/// A subtask that another one exchanges data with.
#[derive(Debug, Clone, Default)]
pub struct Neighbour {
    /// Its attempt.
    pub attempt: Attempt,
    /// The worker it is in; none: the same. A gateway knows, the JobMaster does not.
    pub worker: Option<Peer>,
}

/// Where a subtask runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// On which TaskManager.
    pub task_manager: TaskManagerId,
    /// The data port there: `HOST:PORT`.
    pub address: String,
}

/// Reaches workers. Nothing here blocks; what comes of it arrives as events.
pub trait TaskGateway: Send {
    /// Has subtasks run.
    fn deploy(&mut self, deployments: Vec<Deployment>);

    /// Tasks are to restart, and will be deployed after a while: what is missing for that is got ready meanwhile.
    fn prepare(&mut self) {}

    /// Nothing will be deployed any more: the job is on its way to its end.
    fn wind_down(&mut self) {}

    /// Tells a subtask something; one that is gone is told nothing.
    fn send(&mut self, execution: ExecutionId, message: TaskMessage);

    /// The attempts are over: what they left behind may go.
    fn release(&mut self, executions: &[ExecutionId]);

    /// Where an attempt runs, or has run, also if that is gone; none: nowhere yet, or in this process.
    fn place_of(&self, _execution: ExecutionId) -> Option<Place> {
        None
    }

    /// Nothing runs any more where tasks had to move away from.
    fn vacate(&mut self) {}

    /// A subtask did not stop in time: its worker is given up, with all that runs in it.
    fn give_up_worker_of(&mut self, execution: ExecutionId);
}
