//! A subtask's part in checkpoints and commits.

use std::time::{Duration, Instant};

use bytes::Bytes;
use flott_core::ids::CheckpointId;

use super::{FinalHandles, Phase, Subtask, TaskEvent, TaskFailure, TaskMessage};
use crate::chain::{BoxedOperator, Now};
use crate::error::{Fault, OperatorError};
use crate::exchange::output::Output;
use crate::snapshot::SnapshotWriter;

/// How long one step of writing a snapshot may hold up records, and how long records hold up the next.
pub(super) const SNAPSHOT_STEP: Duration = Duration::from_millis(1);

/// The bytes written between two looks at the clock.
const STEP_BYTES: usize = 64 * 1024;

/// A snapshot in the writing.
pub(super) struct SnapshotInHand {
    writer: SnapshotWriter,
    /// Operators the barrier has passed.
    barriers_passed: usize,
    /// The operator that is being written, and where its part began.
    operator: usize,
    operator_start: u64,
}

impl Subtask {
    /// Acts on a message; with the last event if the subtask is over.
    pub(super) fn handle(
        &mut self,
        message: TaskMessage,
        now: Now,
    ) -> Result<Option<TaskEvent>, TaskFailure> {
        match message {
            TaskMessage::TriggerCheckpoint(checkpoint) => self.trigger(checkpoint),
            TaskMessage::CheckpointComplete(checkpoint) => self.checkpoint_complete(checkpoint, now)?,
            TaskMessage::CheckpointAborted(checkpoint) => self.abort_checkpoint(checkpoint),
            TaskMessage::AlignWatermarks(lowest) => {
                self.chain
                    .links_mut()
                    .iter_mut()
                    .for_each(|link| link.operator_mut().align_watermarks(lowest));
            }
            TaskMessage::Commit if self.phase == Phase::Drained => {
                self.commit_ended(now)?;
                self.phase = Phase::Committing;
            }
            TaskMessage::Commit => {}
            TaskMessage::Cancel => return Ok(Some(TaskEvent::Canceled)),
        }
        Ok(None)
    }

    fn trigger(&mut self, checkpoint: CheckpointId) {
        if self.phase != Phase::Running {
            // It has ended, or is about to say so: that is its answer.
        } else if self.aligner.all_ended() {
            self.insert_barrier(checkpoint);
        } else {
            self.triggered = Some(checkpoint);
        }
    }

    /// The barrier has passed an operator. A snapshot begins with the head; of one that was given up before the barrier came to the
    /// others nothing is left.
    pub(super) fn note_barrier(&mut self, checkpoint: CheckpointId, operator: usize) {
        if operator == 0 {
            self.give_up_snapshot();
            let target = self.spec.context.snapshots.clone();
            let writer = SnapshotWriter::new(self.spec.execution, checkpoint, target);
            self.snapshot =
                Some(SnapshotInHand { writer, barriers_passed: 1, operator: 0, operator_start: 0 });
            return;
        }
        match &mut self.snapshot {
            Some(snapshot) if snapshot.writer.checkpoint() == checkpoint => snapshot.barriers_passed += 1,
            _ => self.chain.links_mut()[operator].state_mut().cancel_snapshot(checkpoint),
        }
    }

    fn give_up_snapshot(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
            for link in self.chain.links_mut() {
                link.state_mut().cancel_snapshot(snapshot.writer.checkpoint());
            }
            self.abandon(snapshot);
        }
    }

    /// The task stops: what is being written is given up.
    pub(super) fn abandon_snapshot(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
            self.abandon(snapshot);
        }
    }

    fn abandon(&mut self, snapshot: SnapshotInHand) {
        self.abandoned.retain(|abandoned| !abandoned.is_over());
        self.abandoned.extend(snapshot.writer.abandon());
    }

    fn abort_checkpoint(&mut self, checkpoint: CheckpointId) {
        if self.triggered.is_some_and(|triggered| triggered <= checkpoint) {
            self.triggered = None;
        }
        if self.snapshot.as_ref().is_some_and(|snapshot| snapshot.writer.checkpoint() <= checkpoint) {
            self.give_up_snapshot();
        }
        if self.aligner.abort(checkpoint) {
            for (_, gate) in &mut self.gates {
                gate.unblock();
            }
        }
    }

    /// Writes a piece of the snapshot in hand. True: there is more to write at once.
    pub(super) fn write_snapshot(&mut self) -> Result<bool, TaskFailure> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(false) };
        let (waker, io) = (&self.spec.waker, &self.spec.context.io);
        let deadline = Instant::now() + SNAPSHOT_STEP;
        let operators = self.chain.links().len();
        if snapshot.barriers_passed < operators {
            return Ok(false);
        }
        while snapshot.operator < operators {
            if !snapshot.writer.hand_over(false, waker, io) {
                return Ok(false);
            }
            let link = &mut self.chain.links_mut()[snapshot.operator];
            let written = link.state_mut().write_step(snapshot.writer.buffer(), STEP_BYTES);
            match written {
                Ok(flott_state::SnapshotProgress::Done) => {
                    snapshot.writer.end_operator(*link.key(), snapshot.operator_start);
                    snapshot.operator += 1;
                    snapshot.operator_start = snapshot.writer.position();
                }
                Ok(flott_state::SnapshotProgress::More) => {}
                Err(error) => {
                    let operator = snapshot.operator;
                    return Err(self.failure(operator, error.into()));
                }
            }
            if let Some(reason) = snapshot.writer.refusal() {
                let checkpoint = snapshot.writer.checkpoint();
                self.give_up_snapshot();
                self.tell(TaskEvent::CheckpointDeclined { checkpoint, reason });
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(true);
            }
        }
        if !snapshot.writer.close(waker, io) {
            return Ok(false);
        }
        if !self.all_operators(|operator| operator.is_prepared())? {
            return Ok(false);
        }
        if let Some(snapshot) = self.snapshot.take() {
            let checkpoint = snapshot.writer.checkpoint();
            match snapshot.writer.finish() {
                Ok(snapshot) => self.tell(TaskEvent::CheckpointAcknowledged { checkpoint, snapshot }),
                Err(reason) => self.tell(TaskEvent::CheckpointDeclined { checkpoint, reason }),
            }
        }
        Ok(true)
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId, now: Now) -> Result<(), TaskFailure> {
        for index in 0..self.chain.links().len() {
            let called = self.chain.links_mut()[index]
                .call(now, |operator, context| operator.checkpoint_complete(checkpoint, context));
            called.map_err(|error| self.failure(index, error))?;
        }
        Ok(())
    }

    /// Whether `is_done` of every operator.
    pub(super) fn all_operators(
        &mut self,
        is_done: impl Fn(&mut BoxedOperator) -> Result<bool, OperatorError>,
    ) -> Result<bool, TaskFailure> {
        for index in 0..self.chain.links().len() {
            let done = is_done(self.chain.links_mut()[index].operator_mut());
            if !done.map_err(|error| self.failure(index, error))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// After the end: finishes if nothing is to be committed; with the last event if the subtask is over.
    pub(super) fn try_finish(&mut self, now: Now) -> Result<Option<TaskEvent>, TaskFailure> {
        if !self.all_operators(|operator| operator.is_committed())? {
            return Ok(None);
        }
        let checked = self.outputs.iter().try_for_each(Output::check);
        checked.map_err(|error| self.failure(0, error))?;
        let handles = match &self.spec.restore.ended {
            Some(handles) => handles.clone(),
            None => {
                if self.final_handles.is_none() {
                    self.final_handles = Some(self.final_handles(now)?);
                }
                if !self.all_operators(|operator| operator.is_prepared())? {
                    return Ok(None);
                }
                self.final_handles.take().unwrap_or_default()
            }
        };
        if handles.is_empty() {
            return Ok(Some(TaskEvent::Finished));
        }
        self.spec.restore.ended = Some(handles.clone());
        self.phase = Phase::Drained;
        self.tell(TaskEvent::Drained(handles));
        Ok(None)
    }

    fn final_handles(&mut self, now: Now) -> Result<FinalHandles, TaskFailure> {
        let mut all = FinalHandles::new();
        for index in 0..self.chain.links().len() {
            let link = &mut self.chain.links_mut()[index];
            let key = *link.key();
            let handles = link.call(now, |operator, context| operator.final_handles(context));
            let handles = handles.map_err(|error| self.failure(index, error))?;
            if !handles.is_empty() {
                all.push((key, handles.into_iter().map(Bytes::from).collect()));
            }
        }
        Ok(all)
    }

    fn commit_ended(&mut self, now: Now) -> Result<(), TaskFailure> {
        for (key, handles) in self.spec.restore.ended.take().unwrap_or_default() {
            let Some(index) = self.chain.links().iter().position(|link| *link.key() == key) else {
                let message = "the checkpoint holds commits of an operator that the plan no longer has";
                return Err(self.failure(0, OperatorError::new(Fault::User, message)));
            };
            let handles: Vec<Vec<u8>> = handles.into_iter().map(Vec::from).collect();
            let committed = self.chain.links_mut()[index]
                .call(now, |operator, context| operator.commit(&handles, context));
            committed.map_err(|error| self.failure(index, error))?;
        }
        Ok(())
    }
}
