//! What is kept for one job: its pointer, step by step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flott_core::ids::{Attempt, CheckpointId, ExecutionId, JobId, SubtaskId};
use flott_runtime::task::FinalHandles;

use super::{BlobStore, JobFolder, PointerStore, RecoveredContent, SUBMISSION, envelope};
use crate::high_availability::{Epoch, StoreError};
use crate::rpc::control::{JobFailure, JobOutcome, job_outcome};
use crate::rpc::ha::{CheckpointPointer, Commits, JobPointer, State, SubtaskCommits, Totals};
use crate::rpc::{WireError, read_final_handles, required, write_final_handles};

/// How many checkpoint ids a leader may use without writing.
const RESERVED: u64 = 16;

/// How often a file is tried to be written.
const ATTEMPTS: u32 = 3;

/// How a job ended, for the record.
pub struct Outcome<'a> {
    /// The name of its state.
    pub status: &'a str,
    /// Why, if it failed.
    pub failure: &'a str,
    /// In milliseconds since the epoch.
    pub ended: i64,
    /// What its clients are told.
    pub outcome: &'a JobOutcome,
    /// The folder with its checkpoints, if they are to be deleted.
    pub garbage: Option<String>,
}

/// How a job has fared, for the record.
#[derive(Debug, Default)]
pub struct SoFar {
    /// How many restarts there were.
    pub restarts: u64,
    /// What attempts have counted that others have taken the place of.
    pub totals: Totals,
}

/// What is kept for one job, in the hands of the leader that runs it. Calls block.
pub struct JobRecord {
    job: JobId,
    /// Held while a change is written: changes follow each other. Who only looks does not wait for that.
    writing: Mutex<()>,
    pointer: Mutex<JobPointer>,
    pointers: Arc<dyn PointerStore>,
    blobs: Arc<dyn BlobStore>,
}

impl JobRecord {
    pub(super) fn new(
        job: JobId,
        pointer: JobPointer,
        pointers: Arc<dyn PointerStore>,
        blobs: Arc<dyn BlobStore>,
    ) -> Self {
        Self { job, writing: Mutex::default(), pointer: Mutex::new(pointer), pointers, blobs }
    }

    /// What is kept, as far as this leader knows.
    pub fn pointer(&self) -> JobPointer {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, JobPointer> {
        self.pointer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its files are.
    pub(super) fn folder(&self) -> JobFolder {
        JobFolder { job: self.job, epoch: Epoch(self.locked().epoch) }
    }

    /// Writes the pointer as it is.
    pub(super) fn write(&self) -> Result<(), StoreError> {
        self.change(|_| true)
    }

    /// Changes the pointer, unless `change` says that there is nothing to change.
    fn change(&self, change: impl FnOnce(&mut JobPointer) -> bool) -> Result<(), StoreError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = self.pointer();
        if change(&mut changed) {
            self.pointers.write(&self.job.to_string(), &envelope::seal(&changed))?;
            *self.locked() = changed;
        }
        Ok(())
    }

    /// The job, or what came of it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if what is there cannot be used, [`StoreError::Failed`] if it cannot be read now.
    pub fn content(&self) -> Result<RecoveredContent, StoreError> {
        let pointer = self.pointer();
        if pointer.state() == State::Over {
            let outcome = self.outcome()?;
            self.delete_files_of_the_past();
            return Ok(RecoveredContent::Over(outcome));
        }
        let bytes = self.blobs.read(self.folder(), SUBMISSION)?;
        let path = self.blobs.place(self.folder(), SUBMISSION);
        Ok(RecoveredContent::Active(Box::new(envelope::open(&bytes, &path)?)))
    }

    /// Whether another attempt of the application asks for the job's outcome again, so that it is kept until the application is over.
    pub fn is_of_main(&self) -> bool {
        self.locked().of_main
    }

    /// What came of a job that is over; its summary, if the file is not there any more.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if it cannot be read now.
    pub fn outcome(&self) -> Result<JobOutcome, StoreError> {
        let pointer = self.pointer();
        let read = || -> Result<JobOutcome, StoreError> {
            if pointer.outcome.is_empty() {
                let reason = "its results are not kept any more".to_owned();
                return Err(StoreError::Damaged { path: format!("the outcome of job {}", self.job), reason });
            }
            let bytes = self.blobs.read(self.folder(), &pointer.outcome)?;
            envelope::open(&bytes, &self.blobs.place(self.folder(), &pointer.outcome))
        };
        let error = match read() {
            Err(StoreError::Damaged { path, reason }) => format!("{path}: {reason}"),
            read => return read,
        };
        let kind = match pointer.status.as_str() {
            "CANCELED" => job_outcome::Kind::Canceled(true),
            "FAILED" => job_outcome::Kind::Failed(JobFailure {
                cause: pointer.failure.clone(),
                reason: "it ended under an earlier JobManager".to_owned(),
                backtrace: None,
            }),
            status => job_outcome::Kind::NotStarted(format!(
                "it is {status}, but its results are not there any more: {error}"
            )),
        };
        Ok(JobOutcome { kind: Some(kind) })
    }

    /// Another leader begins with the job. Attempts of this one have numbers that no attempt of an earlier leader has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn next_term(&self) -> Result<(), StoreError> {
        self.change(|pointer| {
            pointer.term += 1;
            true
        })
    }

    /// The first attempt number of this leader: 65,536 for each, before which nobody restarts a subtask so often.
    pub fn first_attempt(&self) -> Attempt {
        Attempt(self.locked().term.saturating_mul(1 << 16))
    }

    /// No checkpoint has had this id or a higher one.
    pub fn next_checkpoint(&self) -> CheckpointId {
        CheckpointId(self.locked().next_checkpoint)
    }

    /// The job is to be cancelled, whoever leads. A job that is over stays so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cancel(&self) -> Result<(), StoreError> {
        self.change(|pointer| {
            let running = pointer.state() == State::Running;
            pointer.set_state(if running { State::Cancelling } else { pointer.state() });
            running
        })
    }

    /// Ids from `next` on may be used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reserve_checkpoints(&self, next: CheckpointId) -> Result<CheckpointId, StoreError> {
        self.change(|pointer| {
            let wanted = pointer.next_checkpoint.max(next.0 + RESERVED);
            std::mem::replace(&mut pointer.next_checkpoint, wanted) < wanted
        })?;
        Ok(self.next_checkpoint())
    }

    /// A checkpoint's metadata is in place: from when this returns the checkpoint is complete.
    ///
    /// # Errors
    /// [`StoreError`]; after [`StoreError::NotLeader`] it may be complete all the same.
    pub fn checkpoint_completed(
        &self,
        id: CheckpointId,
        path: String,
        retained: usize,
        so_far: SoFar,
    ) -> Result<(), StoreError> {
        self.change(|pointer| {
            if pointer.state() == State::Over {
                return false;
            }
            pointer.checkpoints.push(CheckpointPointer { id: id.0, path });
            let surplus = pointer.checkpoints.len().saturating_sub(retained.max(1));
            pointer.checkpoints.drain(..surplus);
            pointer.next_checkpoint = pointer.next_checkpoint.max(id.0 + 1 + RESERVED);
            pointer.completed_checkpoints += 1;
            pointer.restarts = so_far.restarts;
            pointer.totals = Some(so_far.totals);
            true
        })
    }

    /// Subtasks restart. What is known already of a later restart stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn restarted(&self, so_far: SoFar) -> Result<(), StoreError> {
        self.change(|pointer| {
            let is_news = pointer.state() != State::Over && so_far.restarts >= pointer.restarts;
            if is_news {
                pointer.restarts = so_far.restarts;
                pointer.totals = Some(so_far.totals);
            }
            is_news
        })
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut written = Ok(());
        for _ in 0..ATTEMPTS {
            written = self.blobs.write(self.folder(), name, bytes);
            if written.is_ok() {
                break;
            }
        }
        written
    }

    /// All subtasks have ended and want these committed: from when this returns that is all that is left of the job.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn commit(&self, all: &BTreeMap<SubtaskId, FinalHandles>) -> Result<(), StoreError> {
        let subtasks = all.iter().map(|(subtask, handles)| SubtaskCommits {
            execution: Some(ExecutionId { subtask: *subtask, attempt: Attempt(0) }.into()),
            handles: Some(write_final_handles(handles.clone())),
        });
        let file = format!("commits-{}", self.locked().term);
        self.write_file(&file, &envelope::seal(&Commits { subtasks: subtasks.collect() }))?;
        self.change(|pointer| {
            pointer.commits = file;
            true
        })
    }

    /// What all subtasks want committed, if they have all ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn commits(&self) -> Result<Option<BTreeMap<SubtaskId, FinalHandles>>, StoreError> {
        let file = self.locked().commits.clone();
        if file.is_empty() {
            return Ok(None);
        }
        let bytes = self.blobs.read(self.folder(), &file)?;
        let path = self.blobs.place(self.folder(), &file);
        let commits: Commits = envelope::open(&bytes, &path)?;
        let read = |part: SubtaskCommits| -> Result<_, WireError> {
            let execution: ExecutionId = required(part.execution, "a subtask")?.into();
            Ok((execution.subtask, read_final_handles(required(part.handles, "its handles")?)?))
        };
        let all = commits.subtasks.into_iter().map(read).collect::<Result<_, _>>();
        all.map(Some).map_err(|error| StoreError::Damaged { path, reason: error.to_string() })
    }

    /// The job is over: from when this returns nobody runs it again. Only results need a file that can be written: of any other end the pointer tells.
    ///
    /// # Errors
    /// [`StoreError`]; after [`StoreError::NotLeader`] it may be over all the same.
    pub fn over(&self, end: Outcome<'_>) -> Result<(), StoreError> {
        let file = format!("outcome-{}", self.locked().term);
        let has_results = matches!(end.outcome.kind, Some(job_outcome::Kind::Result(_)));
        let file = match self.write_file(&file, &envelope::seal(end.outcome)) {
            Ok(()) => file,
            Err(error) if has_results => return Err(error),
            Err(error) => {
                tracing::warn!(job = %self.job, %error, "only the pointer tells how the job ended");
                String::new()
            }
        };
        self.change(|pointer| {
            pointer.set_state(State::Over);
            pointer.outcome = file;
            end.status.clone_into(&mut pointer.status);
            pointer.failure = beginning_of(end.failure);
            pointer.ended = end.ended;
            pointer.garbage = end.garbage.unwrap_or_default();
            true
        })?;
        self.delete_files_of_the_past();
        Ok(())
    }

    /// The job's checkpoints are deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn cleaned(&self) -> Result<(), StoreError> {
        self.change(|pointer| !std::mem::take(&mut pointer.garbage).is_empty())
    }

    /// The folder with checkpoints that are to be deleted, if the job is over.
    pub fn garbage(&self) -> Option<String> {
        Some(self.locked().garbage.clone()).filter(|garbage| !garbage.is_empty())
    }

    /// What nobody will read of a job that is over.
    pub fn delete_files_of_the_past(&self) {
        let outcome = self.locked().outcome.clone();
        if let Err(error) = self.blobs.remove_others(self.folder(), &outcome) {
            tracing::debug!(job = %self.job, %error, "files of a job that is over stay");
        }
    }

    /// Drops the outcome's file of a job that is over: its summary stays.
    pub fn drop_results(&self) {
        let file = self.locked().outcome.clone();
        let dropped = self.change(|pointer| !std::mem::take(&mut pointer.outcome).is_empty());
        if !file.is_empty() && dropped.is_ok() {
            let _ = self.blobs.remove(self.folder(), &file);
        }
    }
}

/// As much of a failure as a pointer holds: it may quote a whole record, and the end of a job must not fail for it.
fn beginning_of(failure: &str) -> String {
    const MOST_BYTES: usize = 8 << 10;
    let end = (0..=MOST_BYTES.min(failure.len())).rev().find(|end| failure.is_char_boundary(*end));
    failure[..end.unwrap_or(0)].to_owned()
}
