//! The end of a job: what its subtasks want committed, and what came of it.
//!
//! Nothing is committed before what all subtasks want committed is kept for the next leader: from then on no subtask has to run again, and
//! an interrupted commit is repeated, which does no harm.

use std::collections::BTreeMap;
use std::sync::Arc;

use flott_core::ids::SubtaskId;
use flott_plan::execution_graph::{ExecutionState, JobStatus};
use flott_runtime::slot::wall_clock_millis;
use flott_runtime::task::{FinalHandles, TaskMessage};

use super::{JobEvent, JobMaster};
use crate::high_availability::StoreError;
use crate::high_availability::store::{JobRecord, Outcome};
use crate::result::{JobError, JobResult};
use crate::rpc::write_outcome;

/// How far the commits at a job's end are from being lost with this leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Commits {
    /// Some subtask has yet to end, or has nothing to commit.
    #[default]
    None,
    /// They are being written down.
    Keeping,
    /// The next leader finds them, or there will be none.
    Kept,
}

impl JobMaster {
    /// All subtasks have ended.
    pub(super) fn commit(&mut self) {
        self.committing = true;
        let nothing = !self.executions.values().any(|e| e.state == ExecutionState::Drained);
        match (self.commits, self.record.clone()) {
            (Commits::Keeping, _) => {}
            (Commits::None, Some(record)) if !nothing => {
                self.commits = Commits::Keeping;
                let all: BTreeMap<SubtaskId, FinalHandles> =
                    self.executions.iter().map(|(subtask, e)| (*subtask, e.handles.clone())).collect();
                let events = Arc::clone(&self.events);
                self.environment.run(Box::new(move || {
                    events.put(match record.commit(&all) {
                        Ok(()) => JobEvent::CommitsKept { error: None },
                        Err(StoreError::NotLeader(_)) => JobEvent::Suspend,
                        Err(error) => JobEvent::CommitsKept { error: Some(error.to_string()) },
                    });
                }));
            }
            _ => self.tell_commit(),
        }
    }

    pub(super) fn commits_kept(&mut self, error: Option<String>) {
        self.commits = Commits::Kept;
        match error {
            Some(error) => {
                self.cannot_run(format!(
                    "what the job has to commit cannot be kept for a next leader: {error}"
                ));
            }
            None if self.status == JobStatus::Running => self.tell_commit(),
            None => {}
        }
    }

    fn tell_commit(&mut self) {
        let drained = self.executions.iter().filter(|(_, e)| e.state == ExecutionState::Drained);
        let drained: Vec<SubtaskId> = drained.map(|(subtask, _)| *subtask).collect();
        drained.into_iter().for_each(|subtask| self.send(subtask, TaskMessage::Commit));
    }

    /// Whether it is being decided right now that the commits are not lost with this leader.
    pub(super) fn is_keeping_commits(&self) -> bool {
        self.commits == Commits::Keeping
    }

    /// Has it written down what came of the job.
    pub(super) fn keep_outcome(
        &self,
        record: &JobRecord,
        status: JobStatus,
        outcome: &Result<JobResult, JobError>,
    ) -> Result<(), StoreError> {
        let failure = match outcome {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        };
        let kept = record.over(Outcome {
            status: status.name(),
            failure: &failure,
            ended: wall_clock_millis(),
            outcome: &write_outcome(outcome.clone()),
            garbage: self.checkpoints.garbage(status),
        });
        match kept {
            Err(StoreError::NotLeader(reason)) => Err(StoreError::NotLeader(reason)),
            Err(error) => {
                tracing::error!(job = %self.job, %error, "a next leader would run the job again");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
