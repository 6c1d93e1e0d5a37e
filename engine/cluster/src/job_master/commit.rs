//! The end of a job: what its subtasks want committed, and what came of it.
//!
//! Both are written for the next leader before anybody is told. What cannot be written now is written again later, while this leader
//! leads; until then the job is not over, and its report says why. Who does not want to wait cancels it.
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
                self.report.end_is_unkept(format!(
                    "its tasks have ended, but what they want committed is not: that cannot be kept for the next leader ({error})"
                ));
                self.commits = Commits::None;
                let (now, chance) = (self.environment.now(), self.chance());
                self.keep_again.failed(now, chance);
            }
            Some(_) => self.commits = Commits::None,
            None => {
                self.report.end_is_kept();
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
            if self.status == JobStatus::Running && self.is_at_its_end() {
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
                self.report.end_is_unkept(match ending.status {
                    JobStatus::Finished => format!(
                        "its tasks have ended, and what they wanted committed is, but its results cannot be kept for the next leader ({error})"
                    ),
                    status => format!("it is to be {status}, but that cannot be kept for the next leader ({error})"),
                });
                ending.again.failed(now, self.chance());
                self.ending = Some(ending);
                return None;
            }
        }
        self.report.end_is_kept();
        self.become_status(ending.status);
        self.checkpoints.job_over(ending.status, self.record.clone(), &*self.environment);
        Some(ending.outcome)
    }

    /// Somebody does not want to wait until its results can be kept: that it is cancelled can be.
    pub(super) fn cancel_end(&mut self) {
        if self.ending.as_ref().is_some_and(|ending| ending.status == JobStatus::Finished) {
            self.become_status(JobStatus::Cancelling);
            let canceled = JobError::Canceled { job: self.job, name: self.graph.name.clone() };
            self.ending = Some(Ending::new(JobStatus::Canceled, Err(canceled)));
        }
    }

    /// Whether nothing is left but to commit, and to keep what came of it.
    pub(super) fn is_at_its_end(&self) -> bool {
        self.ending.is_some() || self.executions.values().all(Execution::has_ended)
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use flott_core::ids::JobId;
    use flott_runtime::task::TaskEvent;

    use super::super::harness::{Order, TestJob};
    use super::*;
    use crate::high_availability::HighAvailabilityStore;
    use crate::high_availability::store::{MemoryBlobs, MemoryPointers, Verdict};
    use crate::rpc::control::Submission;
    use crate::rpc::ha::JobPointer;

    /// A job all of whose tasks have ended, what is kept of it, and whether files can be written.
    fn ended_job(files: bool) -> (TestJob, Arc<JobRecord>, Arc<AtomicBool>) {
        let is_written = Arc::new(AtomicBool::new(true));
        let fate = Arc::clone(&is_written);
        let blobs = MemoryBlobs::default().with_fate(Arc::new(move |what| {
            if what == "file" && !fate.load(Ordering::SeqCst) { Verdict::Refused } else { Verdict::Done }
        }));
        let store =
            HighAvailabilityStore::new(Arc::new(MemoryPointers::default().next_writer()), Arc::new(blobs));
        let id = JobId::from_bytes([1; 16]);
        let record = store.submit(id, &Submission::default(), JobPointer::default()).unwrap();
        is_written.store(files, Ordering::SeqCst);
        let mut job = TestJob::start_with(Some(Arc::clone(&record)), None, &[]);
        tell(&mut job, || TaskEvent::Running { task: Arc::default(), metrics: Vec::new() });
        tell(&mut job, || TaskEvent::Drained(Vec::new()));
        (job, record, is_written)
    }

    fn tell(job: &mut TestJob, event: impl Fn() -> TaskEvent) -> Option<Result<JobResult, JobError>> {
        let events = job.executions().into_iter();
        let events = events.map(|execution| JobEvent::Task { execution, event: event() });
        events.map(|event| job.step(Some(event))).fold(None, Option::or)
    }

    /// What is told of its end, so many milliseconds after the start and with the next report.
    fn unkept(job: &mut TestJob, millis: u64) -> Option<String> {
        for millis in [millis, millis + 1_000] {
            job.set_time(millis);
            assert!(job.step(None).is_none());
        }
        job.report.borrow().unkept_end.clone()
    }

    fn is_told_to_commit(job: &TestJob) -> bool {
        job.ordered().iter().any(|order| matches!(order, Order::Send(_, TaskMessage::Commit)))
    }

    #[test]
    fn a_job_whose_commits_cannot_be_kept_says_so_and_commits_when_they_can() {
        let (mut job, record, files) = ended_job(false);
        let reason = unkept(&mut job, 1_000).unwrap();
        assert!(reason.contains("the disk is gone") && reason.contains("committed is not"), "{reason}");
        assert!(unkept(&mut job, 60_000).is_some() && unkept(&mut job, 120_000).is_some());
        {
            let report = job.report.borrow();
            assert_eq!((report.status, report.details.failures.len()), (Some(JobStatus::Running), 1));
            assert_eq!(report.last_failure(), Some(&reason));
        }
        assert!(!is_told_to_commit(&job));
        files.store(true, Ordering::SeqCst);
        assert_eq!(unkept(&mut job, 180_000), None);
        assert!(is_told_to_commit(&job));
        assert!(matches!(tell(&mut job, || TaskEvent::Finished), Some(Ok(_))));
        assert_eq!(record.pointer().status, "FINISHED");
    }

    #[test]
    fn a_job_whose_commits_cannot_be_kept_can_be_cancelled() {
        let (mut job, record, _) = ended_job(false);
        assert!(job.step(Some(JobEvent::Cancel)).is_none());
        assert_eq!(unkept(&mut job, 60_000), None, "it is not at its end any more");
        let ended = tell(&mut job, || TaskEvent::Canceled);
        assert!(matches!(ended, Some(Err(JobError::Canceled { .. }))), "{ended:?}");
        assert_eq!((record.pointer().status.as_str(), record.pointer().outcome.as_str()), ("CANCELED", ""));
        assert!(!is_told_to_commit(&job));
    }

    #[test]
    fn results_that_cannot_be_kept_can_be_cancelled() {
        for is_cancelled in [true, false] {
            let (mut job, record, files) = ended_job(true);
            assert!(is_told_to_commit(&job));
            files.store(false, Ordering::SeqCst);
            assert!(tell(&mut job, || TaskEvent::Finished).is_none());
            let reason = unkept(&mut job, 1_000).unwrap();
            assert!(reason.contains("committed is, but its results"), "{reason}");
            assert_eq!(record.pointer().status, "");
            if is_cancelled {
                let ended = job.step(Some(JobEvent::Cancel));
                assert!(matches!(ended, Some(Err(JobError::Canceled { .. }))), "{ended:?}");
            } else {
                files.store(true, Ordering::SeqCst);
                job.set_time(60_000);
                assert!(matches!(job.step(None), Some(Ok(_))));
            }
            let status = if is_cancelled { "CANCELED" } else { "FINISHED" };
            assert_eq!(record.pointer().status, status);
            assert_eq!(job.report.borrow().unkept_end, None);
        }
    }
}
