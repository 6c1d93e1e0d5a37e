//! A job on its thread: from what it is started from, or what an earlier leader has left of it, to its outcome.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use flott_core::config::{self, Configuration};
use flott_plan::JobGraph;
use flott_plan::execution_graph::JobStatus;
use flott_runtime::slot::wall_clock_millis;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::job::Job;
use super::job_workers::RemoteGateway;
use super::recovery::Leading;
use super::take_over::{TakeOver, damaged, read_kept};
use crate::checkpoint::CompletedCheckpoint;
use crate::high_availability::StoreError;
use crate::high_availability::store::{JobRecord, Outcome};
use crate::job_master::{Adoption, JobMaster, JobMasterSetup, JobReport};
use crate::result::{JobError, JobResult};
use crate::rpc::write_outcome;
use crate::worker::checkpoint_directory;

/// What an earlier leader has left of a job that has yet to come to its end.
pub(super) struct Left {
    pub(super) record: Arc<JobRecord>,
}

/// Where a job's state comes from at its start.
pub(super) enum StartFrom {
    Nothing,
    Path(String),
    Checkpoint(Vec<u8>),
}

/// A job on its thread.
pub(super) struct RunningJob {
    pub(super) job: Arc<Job>,
    pub(super) graph: Arc<JobGraph>,
    pub(super) configuration: Configuration,
    pub(super) start: StartFrom,
    /// What an earlier leader has left of it.
    pub(super) left: Option<Left>,
    /// The leader that has it; none: there is one for ever.
    pub(super) leading: Option<Arc<Leading>>,
    pub(super) report: watch::Sender<JobReport>,
    pub(super) io: Handle,
}

impl RunningJob {
    /// Runs it to its end, here.
    ///
    /// # Errors
    /// Why what an earlier leader has left cannot be gone on with: then its workers are left alone.
    pub(super) fn run(self) -> Result<(), String> {
        let (job, recovered) = (Arc::clone(&self.job), self.left.is_some());
        // Whoever waits for the job must hear of its end, also of one that no JobMaster should come to.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| self.run_to_end())).unwrap_or_else(|_| {
            let reason = "its JobMaster panicked, as the JobManager's log says: this is a defect of Flott, please report it";
            Err(JobError::NotStarted { name: job.name.clone(), reason: reason.to_owned() })
        });
        match outcome {
            Err(JobError::Suspended { .. }) => {
                tracing::info!(job = %job.id, "a job is left to the next leader");
                job.workers.abandon();
                return Ok(());
            }
            Err(JobError::NotStarted { reason, .. }) if recovered => return Err(reason),
            Ok(_) => tracing::info!(job = %job.id, name = job.name, "a job has finished"),
            Err(ref error) => tracing::warn!(job = %job.id, %error, "a job has ended"),
        }
        job.workers.finish();
        job.is_over_with(write_outcome(outcome));
        Ok(())
    }

    fn run_to_end(mut self) -> Result<JobResult, JobError> {
        let name = self.graph.name.clone();
        let suspended = |error: StoreError| match error {
            StoreError::NotLeader(_) => JobError::Suspended { name: name.clone() },
            error => JobError::NotStarted { name: name.clone(), reason: error.to_string() },
        };
        let (job, leading) = (Arc::clone(&self.job), self.leading.clone());
        let adoption = match &self.left {
            None => None,
            Some(left) => Some(self.take_over(left).map_err(suspended)?),
        };
        let recovered = adoption.is_some();
        if adoption.as_ref().is_some_and(|adoption| !adoption.checkpoints.is_empty()) {
            self.start = StartFrom::Nothing;
        }
        let start = match recovered {
            false => read_start(&self.start),
            true => self.patiently(|| read_start(&self.start)),
        };
        let master = start.map_err(suspended).and_then(|restore| {
            let workers = &self.job.workers;
            JobMaster::new(JobMasterSetup {
                job: self.job.id,
                graph: self.graph,
                configuration: self.configuration,
                gateway: Box::new(RemoteGateway(Arc::clone(workers))),
                events: Arc::clone(workers.events()),
                environment: Arc::new(self.io),
                restore,
                record: self.job.record.clone(),
                adoption,
                report: self.report,
            })
        });
        match (master, &job.record, leading) {
            (Ok(master), ..) => master.run(),
            // It would end like this under every leader.
            (Err(error), Some(record), Some(leading)) if !recovered => {
                let outcome = write_outcome(Err(error.clone()));
                let keep = || {
                    record.over(Outcome {
                        status: JobStatus::Failed.name(),
                        failure: &error.to_string(),
                        ended: wall_clock_millis(),
                        outcome: &outcome,
                        garbage: None,
                    })
                };
                let kept = leading.patience.until_done(keep, |reason| {
                    tracing::warn!(job = %job.id, reason, "the end of a job cannot be kept yet; it is tried again");
                });
                kept.map_err(suspended)?;
                Err(error)
            }
            (Err(error), ..) => Err(error),
        }
    }

    /// Reads what an earlier leader has left, for as long as it takes.
    fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let Some(leading) = &self.leading else { return attempt() };
        leading.patience.until_done(attempt, |reason| self.is_unread(reason))
    }

    fn is_unread(&self, reason: &str) {
        tracing::warn!(job = %self.job.id, reason, "what an earlier leader has left cannot be read yet; it is tried again");
        let reason = format!("what an earlier JobManager has left of it cannot be read yet: {reason}");
        self.report.send_modify(|report| report.failure = Some(reason));
    }

    /// Hears what runs of a job, and reads how far it was.
    fn take_over(&self, left: &Left) -> Result<Adoption, StoreError> {
        let (job, workers) = (self.job.id, &self.job.workers);
        let directory = checkpoint_directory(&self.configuration, job)
            .map_err(|error| damaged("the folder for checkpoints", error))?;
        let take_over = TakeOver {
            job,
            record: &left.record,
            directory,
            patience: self.leading.as_ref().map(|leading| &leading.patience),
            failing: &|reason| self.is_unread(reason),
        };
        let timeout = self.configuration.get(&config::ADOPTION_TIMEOUT);
        take_over.run(|first| workers.begin_term(first), || workers.end_adoption(timeout))
    }
}

/// Reads the checkpoint that a job is started from.
fn read_start(start: &StartFrom) -> Result<Option<CompletedCheckpoint>, StoreError> {
    match start {
        StartFrom::Nothing => Ok(None),
        StartFrom::Checkpoint(bytes) => CompletedCheckpoint::decode(bytes)
            .map(Some)
            .map_err(|error| damaged("the checkpoint that the job is started from", error)),
        StartFrom::Path(path) => read_kept(path).map(Some),
    }
}
