//! What an operator is: it takes records from a cursor, gives records to a collector, and yields when told to.
//!
//! An operator lives on one slot thread from its making to its end, so it need not be `Send`. It never blocks: it
//! returns when its cursor pauses or its collector is full, and is called again when there is work and room.
//!
//! The order of calls: `open`, then any mix of `process`, `watermark`, `advance`, `timer`, `prepare_snapshot`,
//! `checkpoint_complete`, then `end` until it is [`Progress::Done`], then `close`.

use flott_core::ids::CheckpointId;
use flott_core::{Data, Timestamp};
use flott_state::OperatorState;

pub use crate::collector::{Collector, OutputTag};
pub use crate::cursor::Cursor;
use crate::error::OperatorError;
use crate::slot::TaskWaker;

/// How an operator's step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is left to do for this call.
    Done,
    /// There is more to emit: call again when the output has room.
    More,
    /// There may be more once the task's waker is called (only from [`Operator::advance`]).
    Waiting,
}

/// An operator with one input. Only [`process`](Self::process) is required.
pub trait Operator: 'static {
    /// The type of the records that come in.
    type In: Data;
    /// The type of the records that go out.
    type Out: Data;

    /// Called once, before anything else, with the operator's state restored.
    ///
    /// # Errors
    /// What keeps the operator from starting.
    fn open(&mut self, _context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Takes records until `input` gives no more or `out` is full.
    ///
    /// # Errors
    /// An error fails the task.
    fn process(
        &mut self,
        input: &mut Cursor<Self::In>,
        out: &mut Collector<Self::Out>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError>;

    /// Event time has come to `watermark`: emits what that makes complete, in steps. It is passed on after `Done`.
    ///
    /// # Errors
    /// An error fails the task.
    fn watermark(
        &mut self,
        _watermark: Timestamp,
        _out: &mut Collector<Self::Out>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        Ok(Progress::Done)
    }

    /// The watermark to pass on for one that came in; [`None`] swallows it (operators that make their own).
    fn forward_watermark(&self, watermark: Timestamp) -> Option<Timestamp> {
        Some(watermark)
    }

    /// Emits records without input (sources, and what waits for the outside). Called when the task has nothing better
    /// to do; after [`Progress::Waiting`] or `Done` not again before the task is woken or new input came.
    ///
    /// # Errors
    /// An error fails the task.
    fn advance(
        &mut self,
        _out: &mut Collector<Self::Out>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        Ok(Progress::Done)
    }

    /// Whether the operator can take records now. One that waits for the outside (a slow socket, say) says no, and wakes its
    /// task when it can go on; meanwhile back-pressure reaches its producers.
    fn is_ready(&self) -> bool {
        true
    }

    /// Whether the operator still holds what it took, so that the credit for it is kept back. A source reader does while
    /// it reads a split: the enumerator sees by the credit which reader is free.
    fn holds_input(&self) -> bool {
        false
    }

    /// The lowest watermark of the group of sources that this one is aligned with has come to `lowest`.
    fn align_watermarks(&mut self, _lowest: Timestamp) {}

    /// The processing time at which [`timer`](Self::timer) should be called next, if any.
    fn next_timer(&self) -> Option<Timestamp> {
        None
    }

    /// Processing time has come to `now`, at or after [`next_timer`](Self::next_timer).
    ///
    /// # Errors
    /// An error fails the task.
    fn timer(
        &mut self,
        _now: Timestamp,
        _out: &mut Collector<Self::Out>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        Ok(Progress::Done)
    }

    /// All input has come: emits the rest, in steps. The highest watermark came before, and goes on after.
    ///
    /// # Errors
    /// An error fails the task.
    fn end(
        &mut self,
        _out: &mut Collector<Self::Out>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        Ok(Progress::Done)
    }

    /// The barrier of `checkpoint` has come: moves what belongs to the checkpoint into declared state (a sink
    /// pre-commits here). It must not take longer than a batch: what does is left to other threads, and
    /// [`is_prepared`](Self::is_prepared) says when it is done.
    ///
    /// # Errors
    /// An error declines the checkpoint, and fails the task if it cannot go on.
    fn prepare_snapshot(
        &mut self,
        _checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Whether what [`prepare_snapshot`](Self::prepare_snapshot) has left to other threads is done, so that the checkpoint may
    /// count on it. If not, the task's waker is called when it may be.
    ///
    /// # Errors
    /// What went wrong there; it fails the task.
    fn is_prepared(&mut self) -> Result<bool, OperatorError> {
        Ok(true)
    }

    /// `checkpoint` is complete, and durable: a sink commits what it pre-committed up to it. Idempotent.
    ///
    /// # Errors
    /// An error fails the task; the next attempt commits again.
    fn checkpoint_complete(
        &mut self,
        _checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        Ok(())
    }

    /// After the end: what must be committed once the whole job has ended, in a form that another attempt of this
    /// subtask can commit by [`commit`](Self::commit). Empty: nothing.
    ///
    /// # Errors
    /// An error fails the task.
    fn final_handles(&mut self, _context: &mut OperatorContext<'_>) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(Vec::new())
    }

    /// Commits handles that [`final_handles`](Self::final_handles) gave, here or in an earlier attempt. Idempotent.
    ///
    /// # Errors
    /// An error fails the task; the next attempt commits again.
    fn commit(
        &mut self,
        _handles: &[Vec<u8>],
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Whether all commits that were begun, by [`checkpoint_complete`](Self::checkpoint_complete) or [`commit`](Self::commit), are
    /// done. If not, the task's waker is called when they may be. A task does not end before.
    ///
    /// # Errors
    /// What went wrong there; it fails the task.
    fn is_committed(&mut self) -> Result<bool, OperatorError> {
        Ok(true)
    }

    /// Called once, last, also after a failure (of opening, too) or a cancellation: gives back what the operator holds outside.
    fn close(&mut self) {}

    /// After [`close`](Self::close): whether nothing that the operator has left to other threads is done any more, so that another
    /// attempt may touch the same files. If not, the task's waker is called when it may be. A task is not over before.
    fn is_closed(&mut self) -> bool {
        true
    }
}

/// An operator with two inputs (a join). It is always the first of its chain.
pub trait TwoInputOperator: 'static {
    /// The type of the first input's records.
    type Left: Data;
    /// The type of the second input's records.
    type Right: Data;
    /// The type of the records that go out.
    type Out: Data;

    /// Called once, before anything else.
    ///
    /// # Errors
    /// What keeps the operator from starting.
    fn open(&mut self, _context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        Ok(())
    }

    /// The input to read to its end before the other is touched, if the operator wants that.
    fn reads_first(&self) -> Option<Side> {
        None
    }

    /// Takes records of the first input.
    ///
    /// # Errors
    /// An error fails the task.
    fn process_left(
        &mut self,
        input: &mut Cursor<Self::Left>,
        out: &mut Collector<Self::Out>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError>;

    /// Takes records of the second input.
    ///
    /// # Errors
    /// An error fails the task.
    fn process_right(
        &mut self,
        input: &mut Cursor<Self::Right>,
        out: &mut Collector<Self::Out>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError>;

    /// One input has ended; emits what that makes complete, in steps.
    ///
    /// # Errors
    /// An error fails the task.
    fn end_of(
        &mut self,
        _side: Side,
        _out: &mut Collector<Self::Out>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        Ok(Progress::Done)
    }

    /// Event time of both inputs has come to `watermark`; see [`Operator::watermark`].
    ///
    /// # Errors
    /// An error fails the task.
    fn watermark(
        &mut self,
        _watermark: Timestamp,
        _out: &mut Collector<Self::Out>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        Ok(Progress::Done)
    }

    /// Called once, last.
    fn close(&mut self) {}
}

/// One of the two inputs of a [`TwoInputOperator`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first input.
    Left,
    /// The second input.
    Right,
}

/// What an operator may ask of its subtask while it is called.
pub struct OperatorContext<'a> {
    /// The operator's state; declare states in [`Operator::open`].
    pub state: &'a mut OperatorState,
    /// Who and where the operator is.
    pub info: &'a OperatorInfo,
    /// The watermark that last came in, or [`NO_TIMESTAMP`](flott_core::time::NO_TIMESTAMP).
    pub watermark: Timestamp,
    /// The wall clock, in milliseconds since the epoch, as of the beginning of this step.
    pub processing_time: Timestamp,
}

/// Who and where an operator subtask is.
#[derive(Debug, Clone)]
pub struct OperatorInfo {
    /// The operator's name, as in the plan.
    pub name: String,
    /// The job.
    pub job: flott_core::ids::JobId,
    /// The job's name.
    pub job_name: String,
    /// 0 up to the parallelism, exclusive.
    pub subtask: u32,
    /// How many subtasks there are.
    pub parallelism: u32,
    /// How many subtasks there are of the vertex that reads the first output; an enumerator's readers.
    pub consumers: u32,
    /// An enumerator's readers; none elsewhere.
    pub readers: std::sync::Arc<crate::exchange::readers::Readers>,
    /// How many attempts there were before this one.
    pub attempt: u32,
    /// Whether the subtask goes on from a checkpoint.
    pub restored: bool,
    /// Whether an earlier attempt had ended: all that is left to do is to commit.
    pub ended: bool,
    /// Folder for temporary files of this worker; removed with it.
    pub temp_dir: std::path::PathBuf,
    /// The operator's share of managed memory.
    pub managed_memory: flott_core::memory::ManagedMemory,
    /// The bytes that the job may collect to its client.
    pub most_collected: usize,
    /// How often an operator that makes watermarks emits one.
    pub auto_watermark_interval: std::time::Duration,
    /// Wakes the subtask after [`Progress::Waiting`].
    pub waker: TaskWaker,
    /// Where blocking work runs, away from the slot.
    pub io: tokio::runtime::Handle,
    /// Counters that end up in metrics and in the job's result.
    pub metrics: std::sync::Arc<crate::metrics::OperatorMetrics>,
}
