//! What a leader keeps for the next one: files, and pointers to them.
//!
//! A file is written first and the pointer to it then: only what a pointer says counts. Nothing that a pointer says is deleted before a
//! write has taken the pointer away. So a crash between any two steps leaves at most files to which nothing points, which the next
//! leader deletes ([`HighAvailabilityStore::clear`]). Deletions of a leader that is none any more may still take effect: they
//! reach nothing that a later one has written ([`JobFolder`]).
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
mod patience;
mod record;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use flott_core::ids::JobId;

pub use blobs::{BlobStore, FileBlobs, JobFolder};
pub use memory::{Fate, MemoryBlobs, MemoryPointers, Verdict};
pub(crate) use patience::Backoff;
pub use patience::Patience;
pub use record::{JobRecord, Outcome, SoFar};

use super::{Epoch, StoreError};
use crate::rpc::control::{JobOutcome, Submission};
use crate::rpc::ha::JobPointer;

/// How many jobs that are over are remembered. Those of an application's own main are kept until that is over, but no more of them are listed.
pub const HISTORY: usize = 100;

/// Of how many of them the results are remembered.
pub const RESULTS: usize = 10;

/// Small values by name, which only the leader can change. Calls block.
pub trait PointerStore: Send + Sync {
    /// The leader that may change them.
    fn epoch(&self) -> Epoch;

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

    /// Says whether whoever writes here leads now.
    ///
    /// # Errors
    /// [`StoreError::NotLeader`]: it does not.
    fn check(&self) -> Result<(), StoreError>;
}

/// The file with a job's submission.
const SUBMISSION: &str = "submission";

/// What is kept for the jobs of a cluster, in one leader's hands. Calls block.
pub struct HighAvailabilityStore {
    pointers: Arc<dyn PointerStore>,
    blobs: Arc<dyn BlobStore>,
}

fn open_pointer(bytes: &[u8], name: &str) -> Result<JobPointer, StoreError> {
    envelope::open(bytes, &format!("the HA pointer of job {name}"))
}

/// A job that an earlier leader has left: its pointer in this leader's hands, or why that cannot be used.
pub type Recovered = (JobId, Result<Arc<JobRecord>, StoreError>);

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
        let record = self.record(job, JobPointer { epoch: self.epoch().0, ..pointer });
        self.blobs.write(record.folder(), SUBMISSION, &envelope::seal(submission))?;
        record.write()?;
        Ok(record)
    }

    fn record(&self, job: JobId, pointer: JobPointer) -> Arc<JobRecord> {
        Arc::new(JobRecord::new(job, pointer, Arc::clone(&self.pointers), Arc::clone(&self.blobs)))
    }

    /// All jobs that earlier leaders have left, the oldest first, as their pointers tell. No file is read: see [`JobRecord::content`].
    ///
    /// # Errors
    /// [`StoreError`] if the pointers cannot be read.
    pub fn recover(&self) -> Result<Vec<Recovered>, StoreError> {
        let mut jobs = Vec::new();
        for name in self.pointers.names()? {
            let Ok(job) = name.parse::<JobId>() else {
                tracing::warn!(name, "a pointer of the HA store belongs to no job");
                continue;
            };
            let Some(bytes) = self.pointers.read(&name)? else { continue };
            let pointer = open_pointer(&bytes, &name);
            jobs.push((job, pointer.map(|pointer| self.record(job, pointer))));
        }
        jobs.sort_by_key(|(job, record)| {
            (record.as_ref().map_or(0, |record| record.pointer().submitted), *job)
        });
        Ok(jobs)
    }

    /// Which leader this is.
    pub fn epoch(&self) -> Epoch {
        self.pointers.epoch()
    }

    /// Says whether it leads now.
    ///
    /// # Errors
    /// [`StoreError::NotLeader`]: it does not, and never will.
    pub fn check(&self) -> Result<(), StoreError> {
        self.pointers.check()
    }

    /// Deletes files that nothing points to, however late that takes effect.
    ///
    /// # Errors
    /// [`StoreError`]; then some stay.
    pub fn clear(&self) -> Result<(), StoreError> {
        self.left_over()?.into_iter().for_each(|folder| self.delete(folder));
        Ok(())
    }

    /// The folders of earlier leaders that nothing points to, and never will: a job that is submitted again gets another one.
    pub(crate) fn left_over(&self) -> Result<Vec<JobFolder>, StoreError> {
        let folders = self.blobs.folders()?;
        // Whoever has written these had no right to a pointer any more, or has written that, too.
        self.check()?;
        let mut left_over = Vec::new();
        for folder in folders.into_iter().filter(|folder| folder.epoch < self.epoch()) {
            let name = folder.job.to_string();
            let pointer = self.pointers.read(&name)?.map(|bytes| open_pointer(&bytes, &name));
            match pointer {
                Some(Ok(pointer)) if Epoch(pointer.epoch) != folder.epoch => left_over.push(folder),
                None => left_over.push(folder),
                Some(_) => {}
            }
        }
        Ok(left_over)
    }

    pub(crate) fn delete(&self, folder: JobFolder) {
        if let Err(error) = self.blobs.remove_all(folder) {
            tracing::warn!(%folder, %error, "the files of a job that was never acknowledged stay");
        }
    }

    /// What is kept of one job, if anything is.
    ///
    /// # Errors
    /// [`StoreError`] if its pointer cannot be read or used.
    pub fn find(&self, job: JobId) -> Result<Option<Arc<JobRecord>>, StoreError> {
        let name = job.to_string();
        let Some(bytes) = self.pointers.read(&name)? else { return Ok(None) };
        Ok(Some(self.record(job, open_pointer(&bytes, &name)?)))
    }

    /// What is kept of a job.
    #[cfg(test)]
    pub(crate) fn peek(&self, job: JobId) -> Result<Option<JobPointer>, StoreError> {
        let bytes = self.pointers.read(&job.to_string())?;
        bytes.map(|bytes| envelope::open(&bytes, "the pointer")).transpose()
    }

    /// Forgets a job that is over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget(&self, job: JobId) -> Result<(), StoreError> {
        self.pointers.remove(&job.to_string())?;
        let folders = self.blobs.folders()?.into_iter();
        // Under a later leader it may have been submitted again.
        let mut own = folders.filter(|folder| folder.job == job && folder.epoch <= self.epoch());
        own.try_for_each(|folder| self.blobs.remove_all(folder))
    }
}
