//! The snapshot of a subtask: written in steps by the slot thread, carried to the checkpoint directory by another.
//!
//! Small state stays in the checkpoint's metadata. What is larger goes to one file a subtask, through a bounded queue to a
//! thread that may block; when the queue is full, the slot goes on with its records and writes later. Without a directory for
//! such files, state that is too large for a message declines its checkpoint.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flott_core::config;
use flott_core::ids::{CheckpointId, ExecutionId};
use flott_fs::FsPath;
use flott_plan::OperatorKey;

use crate::slot::TaskWaker;

/// Where the state of an operator subtask is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateHandle {
    /// Here: it goes into the checkpoint's metadata.
    Inline(Bytes),
    /// In a file of the checkpoint directory.
    File {
        /// The file.
        path: FsPath,
        /// Where the operator's part begins, in bytes.
        offset: u64,
        /// How many bytes it has.
        length: u64,
    },
}

/// The state of one operator in a subtask's snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSnapshot {
    /// The operator.
    pub operator: OperatorKey,
    /// Its state.
    pub state: StateHandle,
}

/// A subtask's part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubtaskSnapshot {
    /// The operators that have state.
    pub operators: Vec<OperatorSnapshot>,
}

/// Where a job's snapshots go.
#[derive(Debug, Clone)]
pub struct SnapshotTarget {
    /// The job's checkpoint directory; none: all state travels with the acknowledgement, so there must be little of it.
    pub directory: Option<FsPath>,
    /// The state of a subtask, in bytes, up to which it is kept in the metadata.
    pub inline_bytes: usize,
}

/// The state of a subtask, in bytes, that may travel with its acknowledgement.
const MOST_WITHOUT_DIRECTORY: u64 = 5 << 20;

/// Chunks that may wait for the writing thread.
const QUEUED_CHUNKS: usize = 16;

/// Collects what a subtask's operators write for one checkpoint.
pub(crate) struct SnapshotWriter {
    execution: ExecutionId,
    checkpoint: CheckpointId,
    target: SnapshotTarget,
    /// What has not been handed to the writing thread.
    buffer: Vec<u8>,
    written: u64,
    parts: Vec<(OperatorKey, u64, u64)>,
    file: Option<FileWriting>,
}

struct FileWriting {
    path: FsPath,
    chunks: Option<SyncSender<Vec<u8>>>,
    waiting: VecDeque<Vec<u8>>,
    outcome: Arc<Outcome>,
}

/// A snapshot that nobody wants any more, while its thread writes the last chunks that it was given.
pub(crate) struct AbandonedSnapshot(Arc<Outcome>);

impl AbandonedSnapshot {
    /// Whether the thread has ended. If not, it wakes the task when it has.
    pub(crate) fn is_over(&self) -> bool {
        self.0.done.load(Ordering::Acquire)
    }
}

#[derive(Default)]
struct Outcome {
    done: AtomicBool,
    /// None: the thread has not come to its end, by itself.
    written: Mutex<Option<Result<(), String>>>,
}

impl Outcome {
    fn set(&self, written: Result<(), String>) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(written);
    }

    /// Why it was not written, if it was not.
    fn error(&self) -> Option<String> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        written.unwrap_or_else(|| Err("the thread that writes the snapshot was broken off".to_owned())).err()
    }
}

/// Says that the thread is over, however it came to that.
struct Ending {
    outcome: Arc<Outcome>,
    waker: TaskWaker,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.outcome.done.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// The bytes handed over at a time.
const CHUNK_BYTES: usize = 256 * 1024;

impl SnapshotWriter {
    pub(crate) fn new(execution: ExecutionId, checkpoint: CheckpointId, target: SnapshotTarget) -> Self {
        Self { execution, checkpoint, target, buffer: Vec::new(), written: 0, parts: Vec::new(), file: None }
    }

    pub(crate) fn checkpoint(&self) -> CheckpointId {
        self.checkpoint
    }

    /// The bytes written so far.
    pub(crate) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Where the operators write.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Why there is no use in writing on, if there is none.
    pub(crate) fn refusal(&self) -> Option<String> {
        let is_too_large = self.target.directory.is_none() && self.position() > MOST_WITHOUT_DIRECTORY;
        is_too_large.then(|| {
            format!(
                "the state of subtask {} has more than {} MiB, the most that a checkpoint without a directory can hold of one; set {}",
                self.execution.subtask,
                MOST_WITHOUT_DIRECTORY >> 20,
                config::CHECKPOINT_DIR.key,
            )
        })
    }

    /// An operator's part began at `start` and is complete.
    pub(crate) fn end_operator(&mut self, operator: OperatorKey, start: u64) {
        let length = self.position() - start;
        if length > 0 {
            self.parts.push((operator, start, length));
        }
    }

    /// Hands over what is there; false while the writing thread is behind.
    pub(crate) fn hand_over(&mut self, all: bool, waker: &TaskWaker, io: &tokio::runtime::Handle) -> bool {
        let Some(directory) = &self.target.directory else { return true };
        let large = self.buffer.len() > self.target.inline_bytes.max(CHUNK_BYTES);
        if self.file.is_none() && (large || (all && self.position() > self.target.inline_bytes as u64)) {
            self.file = Some(FileWriting::start(directory, self.execution, self.checkpoint, waker, io));
        }
        let Some(file) = &mut self.file else { return true };
        if self.buffer.len() >= CHUNK_BYTES || (all && !self.buffer.is_empty()) {
            self.written += self.buffer.len() as u64;
            file.waiting.push_back(std::mem::take(&mut self.buffer));
        }
        file.push()
    }

    /// All is written: closes the file. True when it is closed, so that [`finish`](Self::finish) can be called.
    pub(crate) fn close(&mut self, waker: &TaskWaker, io: &tokio::runtime::Handle) -> bool {
        if !self.hand_over(true, waker, io) {
            return false;
        }
        let Some(file) = &mut self.file else { return true };
        file.chunks = None;
        file.outcome.done.load(Ordering::Acquire)
    }

    /// The task stops: what was begun is given up. Once that is over nothing is written any more, so that whoever deletes the job's
    /// checkpoints deletes all of them.
    pub(crate) fn abandon(self) -> Option<AbandonedSnapshot> {
        self.file.map(|file| AbandonedSnapshot(file.outcome))
    }

    /// The snapshot, or why it could not be written.
    pub(crate) fn finish(self) -> Result<SubtaskSnapshot, String> {
        let Self { buffer, parts, file, .. } = self;
        if let Some(error) = file.as_ref().and_then(|file| file.outcome.error()) {
            return Err(error);
        }
        let buffer = Bytes::from(buffer);
        let operators = parts
            .into_iter()
            .map(|(operator, offset, length)| {
                let state = match &file {
                    Some(file) => StateHandle::File { path: file.path.clone(), offset, length },
                    None => StateHandle::Inline(buffer.slice(offset as usize..(offset + length) as usize)),
                };
                OperatorSnapshot { operator, state }
            })
            .collect();
        Ok(SubtaskSnapshot { operators })
    }
}

impl FileWriting {
    fn start(
        directory: &FsPath,
        execution: ExecutionId,
        checkpoint: CheckpointId,
        waker: &TaskWaker,
        io: &tokio::runtime::Handle,
    ) -> Self {
        let name =
            format!("state-{}-{}-{}", execution.subtask.vertex, execution.subtask.index, execution.attempt);
        let path = directory.join(&format!("chk-{checkpoint}")).join(&name);
        let outcome = Arc::new(Outcome::default());
        let (sender, chunks) = sync_channel(QUEUED_CHUNKS);
        let (path_there, outcome_there, waker) = (path.clone(), Arc::clone(&outcome), waker.clone());
        let ending = Ending { outcome: outcome_there, waker };
        io.spawn_blocking(move || {
            let Ending { outcome, waker } = &ending;
            let written = write_file(&path_there, &chunks, waker);
            if written.is_err() {
                // What still comes goes nowhere: the checkpoint is declined once all of it has been taken.
                while chunks.recv().is_ok() {
                    waker.wake();
                }
            }
            outcome.set(written.map_err(|error| error.to_string()));
        });
        Self { path, chunks: Some(sender), waiting: VecDeque::new(), outcome }
    }

    fn push(&mut self) -> bool {
        while let Some(chunk) = self.waiting.pop_front() {
            let Some(chunks) = &self.chunks else { return true };
            match chunks.try_send(chunk) {
                Ok(()) => {}
                Err(TrySendError::Full(chunk)) => {
                    self.waiting.push_front(chunk);
                    return false;
                }
                Err(TrySendError::Disconnected(_)) => self.waiting.clear(),
            }
        }
        true
    }
}

fn write_file(path: &FsPath, chunks: &Receiver<Vec<u8>>, waker: &TaskWaker) -> Result<(), flott_fs::FsError> {
    let fs = flott_fs::for_path(path)?;
    if let Some(parent) = path.parent() {
        fs.create_dirs(&parent)?;
    }
    let mut file = fs.create(path)?;
    while let Ok(chunk) = chunks.recv() {
        waker.wake();
        file.write_all(&chunk).map_err(|error| flott_fs::FsError::io("write", path, error))?;
    }
    file.close()
}
