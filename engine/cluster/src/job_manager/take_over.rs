//! How a leader goes on with a job that an earlier one has left: what it reads, and when it hears which tasks run.
//!
//! The invariant: that the job's term has begun is kept before any worker is heard, so that no attempt has the number of another one; only
//! what came before it, and what no pointer names, is deleted.

use std::collections::BTreeSet;

use flott_core::ids::{Attempt, CheckpointId, JobId};
use flott_fs::{FsErrorKind, FsPath};

use crate::checkpoint::{CheckpointError, CheckpointStore, CompletedCheckpoint, read_checkpoint};
use crate::high_availability::StoreError;
use crate::high_availability::store::{JobRecord, Patience};
use crate::job_master::{Adoption, ExecutionReport, Totals};
use crate::rpc::ha::State;

/// A job that an earlier leader has left and that has yet to come to its end.
pub(crate) struct TakeOver<'a> {
    pub(crate) job: JobId,
    pub(crate) record: &'a JobRecord,
    /// The folder of its checkpoints, if it has any.
    pub(crate) directory: Option<FsPath>,
    /// For how long what cannot be read now is tried again; none: not at all.
    pub(crate) patience: Option<&'a Patience>,
    /// Told why something is tried again.
    pub(crate) failing: &'a dyn Fn(&str),
}

impl TakeOver<'_> {
    /// Reads how far the job was. `begin` is told the number of the term's first attempt; `hear` then waits for what runs.
    ///
    /// # Errors
    /// [`StoreError`]: what is kept cannot be used, or another one leads.
    pub(crate) fn run(
        &self,
        begin: impl FnOnce(Attempt),
        hear: impl FnOnce() -> Vec<ExecutionReport>,
    ) -> Result<Adoption, StoreError> {
        let record = self.record;
        self.patiently(|| record.next_term())?;
        begin(record.first_attempt());
        let commits = self.patiently(|| record.commits())?;
        let checkpoints = self.checkpoints()?;
        let reports = hear();
        self.delete_other_checkpoints(&checkpoints);
        // A cancellation may have come meanwhile.
        let pointer = record.pointer();
        Ok(Adoption {
            reports,
            canceling: pointer.state() == State::Cancelling,
            commits,
            checkpoints,
            completed_checkpoints: pointer.completed_checkpoints,
            restarts: pointer.restarts,
            totals: Totals::read(pointer.totals.unwrap_or_default()),
            started_millis: pointer.submitted,
        })
    }

    fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.patience {
            Some(patience) => patience.until_done(attempt, self.failing),
            None => attempt(),
        }
    }

    /// The completed checkpoints that are kept, the oldest first.
    fn checkpoints(&self) -> Result<Vec<CompletedCheckpoint>, StoreError> {
        let kept = self.record.pointer().checkpoints;
        let mut checkpoints = Vec::with_capacity(kept.len());
        for (position, pointer) in kept.iter().enumerate() {
            match self.patiently(|| read_kept(&pointer.path)) {
                Ok(checkpoint) => checkpoints.push(checkpoint),
                // Only the latest is gone on from.
                Err(error @ StoreError::Damaged { .. }) if position + 1 < kept.len() => {
                    tracing::warn!(%error, "an earlier checkpoint is not there any more");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(checkpoints)
    }

    fn delete_other_checkpoints(&self, kept: &[CompletedCheckpoint]) {
        let Some(directory) = self.directory.clone() else { return };
        let kept: BTreeSet<CheckpointId> = kept.iter().map(|checkpoint| checkpoint.id).collect();
        let last = CheckpointId(self.record.next_checkpoint().0.saturating_sub(1));
        if let Err(error) = CheckpointStore::new(directory).delete_others(&kept, last) {
            tracing::warn!(job = %self.job, %error, "what is left of checkpoints that were given up stays");
        }
    }
}

/// The checkpoints of a job that is over, if the leader before has not come to deleting them.
pub(crate) fn delete_garbage(id: JobId, record: &JobRecord) {
    let Some(folder) = record.garbage() else { return };
    let delete = || -> Result<(), String> {
        let folder: FsPath = folder.parse().map_err(|error: flott_fs::FsError| error.to_string())?;
        CheckpointStore::new(folder).delete_all().map_err(|error| error.to_string())?;
        record.cleaned().map_err(|error| error.to_string())
    };
    if let Err(error) = delete() {
        tracing::warn!(job = %id, error, "the checkpoints of a job that is over stay");
    }
}

/// It is there, or should be, and cannot be used.
pub(super) fn damaged(path: &str, reason: impl ToString) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), reason: reason.to_string() }
}

/// Reads a checkpoint of which a path is kept.
pub(super) fn read_kept(path: &str) -> Result<CompletedCheckpoint, StoreError> {
    let parsed: FsPath = path.parse().map_err(|error: flott_fs::FsError| damaged(path, error))?;
    read_checkpoint(&parsed).map_err(|error| match error {
        CheckpointError::File(error) if !is_final(error.kind()) => error.into(),
        error => damaged(path, error),
    })
}

/// Whether trying again would not help.
fn is_final(kind: FsErrorKind) -> bool {
    use FsErrorKind::{InvalidPath, IsDirectory, NotFound, Unsupported, UnsupportedScheme};
    matches!(kind, NotFound | IsDirectory | InvalidPath | UnsupportedScheme | Unsupported)
}
