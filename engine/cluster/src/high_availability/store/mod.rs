//! What a leader keeps for the next one: files, and pointers to them.
//!
//! A file is written first and the pointer to it then: only what a pointer says counts. Nothing that a pointer says is deleted before a
//! write has taken the pointer away. So a crash between any two steps leaves at most files to which nothing points, which the next
//! leader deletes ([`HighAvailabilityStore::recover`]).
//!
//! ```text
//! submit      file: submission        pointer: RUNNING
//! checkpoint  file: its metadata      pointer: + checkpoint       then commits, then the old one is deleted
//! cancel                              pointer: CANCELLING         then it is acknowledged
//! commit      file: all handles       pointer: + commits          then the last commits
//! end         file: outcome           pointer: OVER, + garbage    then files and checkpoints are deleted, then − garbage
//! ```

mod blobs;
mod envelope;
mod memory;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flott_core::ids::JobId;

pub use blobs::{BlobStore, FileBlobs};
pub use memory::{Fate, MemoryBlobs, MemoryPointers, Verdict};
pub use record::{JobRecord, Outcome};

use super::StoreError;
use crate::rpc::control::{JobOutcome, Submission, job_outcome};
use crate::rpc::ha::{JobPointer, State};

/// How many jobs that are over are remembered.
pub const HISTORY: usize = 100;

/// Of how many of them the outcome's file is kept.
pub const RESULTS: usize = 10;

/// Small values by name, which only the leader can change. Calls block.
pub trait PointerStore: Send + Sync {
    /// All names.
    ///
    /// # Errors
    /// [`StoreError`].
    fn names(&self) -> Result<Vec<String>, StoreError>;

    /// The value of a name.
    ///
    /// # Errors
    /// [`StoreError`].
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Gives a name a value, at once and durably.
    ///
    /// # Errors
    /// [`StoreError::NotLeader`]: the write may have taken effect, nothing after it will.
    fn write(&self, name: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Takes a name away; one that is not there is away already.
    ///
    /// # Errors
    /// [`StoreError::NotLeader`]: the write may have taken effect, nothing after it will.
    fn remove(&self, name: &str) -> Result<(), StoreError>;
}

/// The pauses between attempts to read what should be there, in milliseconds: files may be away for a while.
const PAUSES: [u64; 5] = [500, 1000, 2000, 4000, 8000];

/// Tries again what fails because of files or networks. Blocks.
///
/// # Errors
/// The last [`StoreError`].
pub fn patiently<T>(attempt: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for pause in PAUSES {
        match attempt() {
            Err(StoreError::Failed(reason)) => {
                tracing::warn!(reason, "what an earlier leader has left cannot be read; trying again");
                std::thread::park_timeout(Duration::from_millis(pause));
            }
            done => return done,
        }
    }
    attempt()
}

/// The file with a job's submission.
const SUBMISSION: &str = "submission";

/// What is kept for the jobs of a cluster, in one leader's hands. Calls block.
pub struct HighAvailabilityStore {
    pointers: Arc<dyn PointerStore>,
    blobs: Arc<dyn BlobStore>,
}

/// A job that an earlier leader has left.
pub struct RecoveredJob {
    /// What is kept for it.
    pub record: Arc<JobRecord>,
    /// What the earlier leader knew last.
    pub pointer: JobPointer,
    /// The job, or what came of it.
    pub content: RecoveredContent,
}

/// A job, and what there is of it, or why that cannot be used.
pub type Recovered = (JobId, Result<RecoveredJob, StoreError>);

/// The job, or what came of it.
pub enum RecoveredContent {
    /// It has yet to come to its end.
    Active(Box<Submission>),
    /// It is over.
    Over(JobOutcome),
}

impl HighAvailabilityStore {
    /// Pointers in one place, files in another.
    pub fn new(pointers: Arc<dyn PointerStore>, blobs: Arc<dyn BlobStore>) -> Self {
        Self { pointers, blobs }
    }

    /// Keeps a job. From when this returns it will come to its end, whoever leads.
    ///
    /// # Errors
    /// [`StoreError`]; after [`StoreError::NotLeader`] it may be kept all the same.
    pub fn submit(
        &self,
        job: JobId,
        submission: &Submission,
        pointer: JobPointer,
    ) -> Result<Arc<JobRecord>, StoreError> {
        self.blobs.write(job, SUBMISSION, &envelope::seal(submission))?;
        let record = self.record(job, pointer);
        record.write()?;
        Ok(record)
    }

    fn record(&self, job: JobId, pointer: JobPointer) -> Arc<JobRecord> {
        Arc::new(JobRecord::new(job, pointer, Arc::clone(&self.pointers), Arc::clone(&self.blobs)))
    }

    /// All jobs that earlier leaders have left, the oldest first, and after that what nothing points to is deleted. What cannot be read
    /// is told of, and stays.
    ///
    /// # Errors
    /// [`StoreError`] if the pointers cannot be read at all.
    pub fn recover(&self) -> Result<Vec<Recovered>, StoreError> {
        // Files first: one that is written meanwhile by a leader who is none any more is left to the next.
        let files = self.blobs.jobs();
        let mut known = BTreeSet::new();
        let mut jobs = Vec::new();
        for name in self.pointers.names()? {
            let Ok(job) = name.parse::<JobId>() else {
                tracing::warn!(name, "a pointer of the HA store belongs to no job");
                continue;
            };
            let Some(bytes) = self.pointers.read(&name)? else { continue };
            known.insert(job);
            jobs.push((job, patiently(|| self.recover_job(job, &name, &bytes))));
        }
        jobs.sort_by_key(|(job, recovered)| {
            (recovered.as_ref().map_or(0, |recovered| recovered.pointer.submitted), *job)
        });
        match files {
            Ok(files) => {
                for job in files.into_iter().filter(|job| !known.contains(job)) {
                    if let Err(error) = self.blobs.remove_all(job) {
                        tracing::warn!(%job, %error, "the files of a job that was never acknowledged stay");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "files that nothing points to are not looked for"),
        }
        Ok(jobs)
    }

    /// What is kept of a job.
    #[cfg(test)]
    pub(crate) fn peek(&self, job: JobId) -> Result<Option<JobPointer>, StoreError> {
        let bytes = self.pointers.read(&job.to_string())?;
        bytes.map(|bytes| envelope::open(&bytes, "the pointer")).transpose()
    }

    fn recover_job(&self, job: JobId, name: &str, bytes: &[u8]) -> Result<RecoveredJob, StoreError> {
        let pointer: JobPointer = envelope::open(bytes, &format!("the HA pointer of job {name}"))?;
        let record = self.record(job, pointer.clone());
        let content = if pointer.state() == State::Over {
            record.delete_files_of_the_past();
            RecoveredContent::Over(self.outcome(job, &pointer))
        } else {
            let bytes = self.blobs.read(job, SUBMISSION)?;
            let path = format!("the submission of job {name}");
            RecoveredContent::Active(Box::new(envelope::open(&bytes, &path)?))
        };
        Ok(RecoveredJob { record, pointer, content })
    }

    fn outcome(&self, job: JobId, pointer: &JobPointer) -> JobOutcome {
        let read = || -> Result<JobOutcome, StoreError> {
            if pointer.outcome.is_empty() {
                return Err(StoreError::Failed("its results could not be kept".to_owned()));
            }
            envelope::open(&self.blobs.read(job, &pointer.outcome)?, "the outcome of the job")
        };
        read().unwrap_or_else(|error| {
            let kind = match pointer.status.as_str() {
                "CANCELED" => job_outcome::Kind::Canceled(true),
                "FAILED" => job_outcome::Kind::Failed(crate::rpc::control::JobFailure {
                    cause: pointer.failure.clone(),
                    reason: "it ended under an earlier JobManager".to_owned(),
                    backtrace: None,
                }),
                status => job_outcome::Kind::NotStarted(format!(
                    "it is {status}, but its results are not there any more: {error}"
                )),
            };
            JobOutcome { kind: Some(kind) }
        })
    }

    /// Forgets a job that is over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget(&self, job: JobId) -> Result<(), StoreError> {
        self.pointers.remove(&job.to_string())?;
        self.blobs.remove_all(job)
    }
}
