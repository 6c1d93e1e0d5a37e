//! The events a JobMaster waits for.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use flott_core::ids::{CheckpointId, ExecutionId};
use flott_runtime::task::{TaskEvent, TaskListener};

/// What a JobMaster is told.
#[derive(Debug)]
pub enum JobEvent {
    /// Something happened to a subtask.
    Task {
        /// Which attempt.
        execution: ExecutionId,
        /// What.
        event: TaskEvent,
    },
    /// A checkpoint's metadata is written, or could not be.
    MetadataWritten {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Why not.
        error: Option<String>,
    },
    /// Checkpoints with ids below this one may be taken.
    CheckpointsReserved {
        /// The first that may not.
        below: CheckpointId,
    },
    /// What all subtasks want committed is kept for the next leader, or could not be.
    CommitsKept {
        /// Why not.
        error: Option<String>,
    },
    /// Attempts are gone with the process they ran in.
    Lost {
        /// Which.
        executions: Vec<ExecutionId>,
        /// What is known of it.
        reason: String,
        /// The true reason may follow.
        explained_later: bool,
    },
    /// Why attempts are gone has become known.
    Explained {
        /// What was said of it before.
        told: String,
        /// What it was.
        reason: String,
    },
    /// Attempts have to move elsewhere, where workers are ready.
    Move {
        /// Which.
        executions: Vec<ExecutionId>,
        /// Why.
        reason: String,
    },
    /// No worker can run the job, and trying again would not help.
    CannotRun {
        /// What is known of it.
        reason: String,
    },
    /// Somebody wants the job cancelled.
    Cancel,
    /// Another leader goes on with the job.
    Suspend,
}

/// Events on their way to a JobMaster. Those who send them must not block, and what they send is bounded: a handful an attempt,
/// one a checkpoint and subtask, and checkpoints follow each other.
#[derive(Debug, Default)]
pub struct EventQueue {
    events: Mutex<VecDeque<JobEvent>>,
    arrived: Condvar,
}

impl EventQueue {
    /// Adds an event.
    pub fn put(&self, event: JobEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
        self.arrived.notify_one();
    }

    /// The next event, if there is one.
    #[cfg(test)]
    pub(crate) fn take(&self) -> Option<JobEvent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// The next event; none when `deadline` has come.
    pub(super) fn wait_until(&self, deadline: Instant) -> Option<JobEvent> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(event) = events.pop_front() {
                return Some(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            events = self.arrived.wait_timeout(events, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl TaskListener for EventQueue {
    fn event(&self, execution: ExecutionId, event: TaskEvent) {
        self.put(JobEvent::Task { execution, event });
    }
}
