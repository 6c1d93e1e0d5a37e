//! Messages to a subtask, taken between two steps.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use flott_core::Timestamp;
use flott_core::ids::CheckpointId;

/// What a subtask is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskMessage {
    /// Begin this checkpoint: sent to subtasks whose producers have all finished.
    TriggerCheckpoint(CheckpointId),
    /// The checkpoint is complete and durable.
    CheckpointComplete(CheckpointId),
    /// The checkpoint was given up.
    CheckpointAborted(CheckpointId),
    /// The lowest watermark of the sources that the subtask's source is aligned with.
    AlignWatermarks(Timestamp),
    /// The whole job has ended: commit.
    Commit,
    /// Stop.
    Cancel,
}

/// A subtask's messages. Bounded: what a coordinator sends is bounded by its checkpoints in flight, and older ones of
/// the same kind are superseded.
#[derive(Debug, Default)]
pub struct Mailbox {
    messages: Mutex<VecDeque<TaskMessage>>,
}

/// Messages kept; beyond it the oldest notice of a checkpoint is dropped, which a later one makes good.
const BOUND: usize = 64;

impl Mailbox {
    /// Adds a message; wake the subtask afterwards.
    pub fn put(&self, message: TaskMessage) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(message, TaskMessage::AlignWatermarks(_)) {
            messages.retain(|old| !matches!(old, TaskMessage::AlignWatermarks(_)));
        }
        if messages.len() >= BOUND {
            let old =
                messages.iter().position(|old| !matches!(old, TaskMessage::Commit | TaskMessage::Cancel));
            if let Some(old) = old {
                messages.remove(old);
            }
        }
        messages.push_back(message);
    }

    pub(super) fn take(&self) -> Option<TaskMessage> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
