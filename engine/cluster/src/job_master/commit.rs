//! The end of a job: what its subtasks want committed, and what came of it.
//!
//! Both are written for the next leader before anybody is told. What cannot be written now is written again later, while this leader
//! leads; until then the job is not over.
//!
//! Nothing is committed before what all subtasks want committed is kept for the next leader: from then on no subtask has to run again, and
//! an interrupted commit is repeated, which does no harm.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use flott_core::ids::SubtaskId;
use flott_plan::execution_graph::{ExecutionState, JobStatus};
use flott_runtime::slot::wall_clock_millis;
use flott_runtime::task::{FinalHandles, TaskMessage};

use super::{Execution, JobEvent, JobMaster};
use crate::high_availability::StoreError;
use crate::high_availability::store::{Backoff, JobRecord, Outcome};
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

/// When a write that failed is tried again.
#[derive(Default)]
pub(super) struct Again {
    backoff: Backoff,
    /// None: it has not failed, or is being tried.
    pub(super) at: Option<Instant>,
}

impl Again {
    fn failed(&mut self, now: Instant, chance: f64) {
        self.at = Some(now + self.backoff.pause_by(chance));
    }
}

/// The end of a job, which is told once it is kept.
pub(super) struct Ending {
    status: JobStatus,
    outcome: Result<JobResult, JobError>,
    pub(super) again: Again,
}

impl Ending {
    /// It has yet to be kept.
    pub(super) fn new(status: JobStatus, outcome: Result<JobResult, JobError>) -> Self {
        Self { status, outcome, again: Again::default() }
    }
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
        match error {
            Some(error) if self.status == JobStatus::Running => {
                tracing::warn!(job = %self.job, error, "what the job has to commit cannot be kept yet; it is tried again");
                self.commits = Commits::None;
                let (now, chance) = (self.environment.now(), self.chance());
                self.keep_again.failed(now, chance);
            }
            Some(_) => self.commits = Commits::None,
            None => {
                self.commits = Commits::Kept;
                if self.status == JobStatus::Running {
                    self.tell_commit();
                }
            }
        }
    }

    fn chance(&self) -> f64 {
        let elapsed = self.environment.now().saturating_duration_since(self.started);
        f64::from(elapsed.subsec_micros() % 1000) / 1000.0
    }

    /// Keeps the commits, if it is time to try that again.
    pub(super) fn commit_again(&mut self, now: Instant) {
        if self.keep_again.at.is_some_and(|at| at <= now) {
            self.keep_again.at = None;
            if self.status == JobStatus::Running && self.executions.values().all(Execution::has_ended) {
                self.commit();
            }
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

    /// Ends the job, once what came of it is kept, and nobody hears of it before.
    pub(super) fn end(&mut self) -> Option<Result<JobResult, JobError>> {
        let now = self.environment.now();
        let mut ending = self.ending.take_if(|ending| ending.again.at.is_none_or(|at| at <= now))?;
        // What nobody will go on from is deleted only when nobody will.
        match self.record.clone().map(|record| self.keep_outcome(&record, &ending)) {
            None | Some(Ok(())) => {}
            Some(Err(error @ StoreError::NotLeader(_))) => {
                tracing::warn!(job = %self.job, %error, "the end of the job is left to the next leader");
                return Some(self.suspended());
            }
            Some(Err(error)) => {
                tracing::warn!(job = %self.job, status = %ending.status, %error, "the end of the job cannot be kept yet; it is tried again");
                ending.again.failed(now, self.chance());
                self.ending = Some(ending);
                return None;
            }
        }
        self.become_status(ending.status);
        self.checkpoints.job_over(ending.status, self.record.clone(), &*self.environment);
        Some(ending.outcome)
    }

    fn keep_outcome(&self, record: &JobRecord, ending: &Ending) -> Result<(), StoreError> {
        let failure = ending.outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        record.over(Outcome {
            status: ending.status.name(),
            failure: &failure,
            ended: wall_clock_millis(),
            outcome: &write_outcome(ending.outcome.clone()),
            garbage: self.checkpoints.garbage(ending.status),
        })
    }
}
