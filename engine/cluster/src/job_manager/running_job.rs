//! A job on its thread: from what it is started from, or what an earlier leader has left of it, to its outcome.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use flott_core::config::{self, Configuration};
use flott_core::ids::CheckpointId;
use flott_fs::FsPath;
use flott_plan::JobGraph;
use flott_plan::execution_graph::JobStatus;
use flott_runtime::slot::wall_clock_millis;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::job_workers::RemoteGateway;
use super::jobs::Job;
use crate::checkpoint::{CheckpointStore, CompletedCheckpoint, read_checkpoint};
use crate::high_availability::StoreError;
use crate::high_availability::store::{JobRecord, Outcome, patiently};
use crate::job_master::{Adoption, JobMaster, JobMasterSetup, JobReport};
use crate::result::{JobError, JobResult};
use crate::rpc::ha::{JobPointer, State};
use crate::rpc::write_outcome;
use crate::worker::checkpoint_directory;

/// What an earlier leader has left of a job that has yet to come to its end.
pub(super) struct Left {
    pub(super) record: Arc<JobRecord>,
    pub(super) pointer: JobPointer,
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
    pub(super) report: watch::Sender<JobReport>,
    pub(super) io: Handle,
}

impl RunningJob {
    /// Runs it to its end, here.
    pub(super) fn run(self) {
        let job = Arc::clone(&self.job);
        // Whoever waits for the job must hear of its end, also of one that no JobMaster should come to.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| self.run_to_end())).unwrap_or_else(|_| {
            let reason = "its JobMaster panicked, as the JobManager's log says: this is a defect of Flott, please report it";
            Err(JobError::NotStarted { name: job.name.clone(), reason: reason.to_owned() })
        });
        match &outcome {
            Ok(_) => tracing::info!(job = %job.id, name = job.name, "a job has finished"),
            Err(error) => tracing::warn!(job = %job.id, %error, "a job has ended"),
        }
        if matches!(outcome, Err(JobError::Suspended { .. })) {
            job.workers.abandon();
            return;
        }
        job.workers.finish();
        job.is_over_with(write_outcome(outcome));
    }

    fn run_to_end(self) -> Result<JobResult, JobError> {
        let name = self.graph.name.clone();
        let suspended = |error: StoreError| match error {
            StoreError::NotLeader(_) => JobError::Suspended { name: name.clone() },
            error => JobError::NotStarted { name: name.clone(), reason: error.to_string() },
        };
        let job = Arc::clone(&self.job);
        let adoption = match &self.left {
            None => None,
            Some(left) => Some(self.take_over(left).map_err(suspended)?),
        };
        let recovered = adoption.is_some();
        let not_started = |reason: String| JobError::NotStarted { name: name.clone(), reason };
        let has_checkpoint = adoption.as_ref().is_some_and(|adoption| !adoption.checkpoints.is_empty());
        let master = read_start(if has_checkpoint { StartFrom::Nothing } else { self.start })
            .map_err(not_started)
            .and_then(|restore| {
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
        match (master, &job.record) {
            (Ok(master), _) => master.run(),
            // It would end like this under every leader.
            (Err(error), Some(record)) if !recovered => {
                let kept = record.over(Outcome {
                    status: JobStatus::Failed.name(),
                    failure: &error.to_string(),
                    ended: wall_clock_millis(),
                    outcome: &write_outcome(Err(error.clone())),
                    garbage: None,
                });
                kept.map_err(suspended)?;
                Err(error)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Hears what runs of a job, and reads how far it was.
    fn take_over(&self, left: &Left) -> Result<Adoption, StoreError> {
        let Left { record, pointer } = left;
        record.next_term()?;
        self.job.workers.begin_term(record.first_attempt());
        let damaged = |error: &dyn std::fmt::Display| StoreError::Failed(error.to_string());
        let commits = patiently(|| record.commits())?;
        let mut checkpoints = Vec::with_capacity(pointer.checkpoints.len());
        for (position, kept) in pointer.checkpoints.iter().enumerate() {
            let path: FsPath = kept.path.parse().map_err(|error: flott_fs::FsError| damaged(&error))?;
            match patiently(|| read_checkpoint(&path).map_err(|error| damaged(&error))) {
                Ok(checkpoint) => checkpoints.push(checkpoint),
                // Only the latest is gone on from.
                Err(error) if position + 1 < pointer.checkpoints.len() => {
                    tracing::warn!(%error, "an earlier checkpoint is not there any more");
                }
                Err(error) => return Err(error),
            }
        }
        let reports = self.job.workers.end_adoption(self.configuration.get(&config::ADOPTION_TIMEOUT));
        let directory =
            checkpoint_directory(&self.configuration, self.job.id).map_err(|error| damaged(&error))?;
        if let Some(directory) = directory {
            let kept: BTreeSet<CheckpointId> = checkpoints.iter().map(|checkpoint| checkpoint.id).collect();
            let last = CheckpointId(record.next_checkpoint().0.saturating_sub(1));
            if let Err(error) = CheckpointStore::new(directory).delete_others(&kept, last) {
                tracing::warn!(job = %self.job.id, %error, "what is left of checkpoints that were given up stays");
            }
        }
        Ok(Adoption {
            reports,
            canceling: pointer.state() == State::Cancelling,
            commits,
            checkpoints,
            completed_checkpoints: pointer.completed_checkpoints,
            restarts: pointer.restarts,
            started_millis: pointer.submitted,
        })
    }
}

/// Reads the checkpoint that a job is started from.
fn read_start(start: StartFrom) -> Result<Option<CompletedCheckpoint>, String> {
    match start {
        StartFrom::Nothing => Ok(None),
        StartFrom::Checkpoint(bytes) => {
            CompletedCheckpoint::decode(&bytes).map(Some).map_err(|error| error.to_string())
        }
        StartFrom::Path(path) => {
            let path: FsPath = path.parse().map_err(|error: flott_fs::FsError| error.to_string())?;
            read_checkpoint(&path).map(Some).map_err(|error| error.to_string())
        }
    }
}
