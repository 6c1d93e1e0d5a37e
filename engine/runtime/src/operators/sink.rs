//! `SinkOperator`: runs a user's sink, with a commit in two phases if the sink wants one.
//!
//! What a writer has written between two checkpoints it pre-commits at the barrier, by giving *handles*: bytes by which
//! this or another attempt can commit, or commit again. Handles are part of the checkpoint; they are committed when it is
//! complete, when the job goes on from it, or once the whole job has ended. So output becomes visible exactly once as
//! long as committing a handle a second time does nothing.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use flott_core::ids::CheckpointId;
use flott_core::{Data, Timestamp};
use flott_state::OperatorList;

use super::state_not_declared;
use crate::error::OperatorError;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, OperatorInfo, Progress};

/// A system that records are written to: what users write to connect one.
pub trait Sink<T>: Send + Sync + 'static {
    /// Writes.
    type Writer: SinkWriter<T>;

    /// Makes the writer of a subtask.
    ///
    /// # Errors
    /// What keeps it from starting.
    fn writer(&self, info: &OperatorInfo) -> Result<Self::Writer, OperatorError>;
}

/// Writes the records of one subtask. It does not block: what takes long runs on
/// [`OperatorInfo::io`] and wakes the task by [`OperatorInfo::waker`].
pub trait SinkWriter<T>: 'static {
    /// Whether [`write`](Self::write) may be called. If not, the task's waker must be called once it may.
    fn is_ready(&self) -> bool {
        true
    }

    /// Takes a record and its timestamp, or [`NO_TIMESTAMP`](flott_core::time::NO_TIMESTAMP).
    ///
    /// # Errors
    /// An error fails the task.
    fn write(&mut self, record: T, time: Timestamp) -> Result<(), OperatorError>;

    /// All records have come: writes what is buffered, in steps.
    ///
    /// # Errors
    /// An error fails the task.
    fn flush(&mut self) -> Result<Progress, OperatorError> {
        Ok(Progress::Done)
    }

    /// At a barrier, and after the end: completes what was written so far, so that the handles can commit it. A writer
    /// without commits makes sure here that what it took is written. It must not take longer than a batch: what does is left to
    /// other threads, and [`is_prepared`](Self::is_prepared) says when it is done.
    ///
    /// # Errors
    /// An error fails the task.
    fn prepare_commit(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(Vec::new())
    }

    /// Whether what [`prepare_commit`](Self::prepare_commit) has left to other threads is done: the checkpoint waits for it. If not,
    /// the task's waker must be called once it is.
    ///
    /// # Errors
    /// What went wrong there; it fails the task.
    fn is_prepared(&mut self) -> Result<bool, OperatorError> {
        Ok(true)
    }

    /// Commits what a handle stands for, of this attempt or an earlier one. A second time it does nothing.
    ///
    /// # Errors
    /// An error fails the task; the next attempt commits again.
    fn commit(&mut self, _handle: &[u8]) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Whether what [`commit`](Self::commit) has left to other threads is done; the task's end and the next checkpoint wait for it.
    /// If not, the task's waker must be called once it is.
    ///
    /// # Errors
    /// What went wrong there; it fails the task.
    fn is_committed(&mut self) -> Result<bool, OperatorError> {
        Ok(true)
    }

    /// Called once, last, also after a failure: gives up what was neither committed nor pre-committed.
    fn close(&mut self) {}

    /// After [`close`](Self::close): whether other threads are through with what it has left to them, so that another attempt may write.
    /// If not, the task's waker must be called once they are.
    fn is_closed(&mut self) -> bool {
        true
    }
}

/// Pre-committed handles, each with the checkpoint it belongs to.
type Pending = OperatorList<(u64, Vec<u8>)>;

/// Runs a [`Sink`]; nothing comes out.
pub struct SinkOperator<T, S: Sink<T>> {
    sink: Arc<S>,
    writer: Option<S::Writer>,
    pending: Option<Rc<RefCell<Pending>>>,
    records: PhantomData<fn(T)>,
}

impl<T: Data, S: Sink<T>> SinkOperator<T, S> {
    /// Writes records to `sink`.
    pub fn new(sink: Arc<S>) -> Self {
        Self { sink, writer: None, pending: None, records: PhantomData }
    }

    fn writer(&mut self) -> Result<&mut S::Writer, OperatorError> {
        self.writer.as_mut().ok_or_else(state_not_declared)
    }

    fn pending(&self) -> Result<Rc<RefCell<Pending>>, OperatorError> {
        self.pending.clone().ok_or_else(state_not_declared)
    }

    /// Commits what was pre-committed up to `checkpoint`.
    fn commit_up_to(&mut self, checkpoint: u64) -> Result<(), OperatorError> {
        let pending = self.pending()?;
        let writer = self.writer()?;
        let (complete, later): (Vec<_>, Vec<_>) =
            pending.borrow_mut().take().into_iter().partition(|(of, _)| *of <= checkpoint);
        let committed = complete.iter().try_for_each(|(_, handle)| writer.commit(handle));
        pending.borrow_mut().set(later);
        committed
    }
}

impl<T: Data, S: Sink<T>> Operator for SinkOperator<T, S> {
    type In = T;
    type Out = ();

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        self.pending = Some(context.state.list("pending commits")?);
        self.writer = Some(self.sink.writer(context.info)?);
        // What the state holds belongs to the checkpoint that the job goes on from, or to one before: all are complete.
        self.commit_up_to(u64::MAX)
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<()>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let writer = self.writer()?;
        while writer.is_ready() {
            let Some((record, time)) = input.next() else { break };
            writer.write(record, time)?;
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.writer.as_ref().is_none_or(SinkWriter::is_ready)
    }

    fn end(
        &mut self,
        _out: &mut Collector<()>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        self.writer()?.flush()
    }

    fn prepare_snapshot(
        &mut self,
        checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let handles = self.writer()?.prepare_commit()?;
        let pending = self.pending()?;
        let mut pending = pending.borrow_mut();
        handles.into_iter().for_each(|handle| pending.push((checkpoint.0, handle)));
        Ok(())
    }

    fn is_prepared(&mut self) -> Result<bool, OperatorError> {
        let writer = self.writer()?;
        // The state no longer holds what was committed since the barrier before.
        Ok(writer.is_prepared()? && writer.is_committed()?)
    }

    fn is_committed(&mut self) -> Result<bool, OperatorError> {
        self.writer()?.is_committed()
    }

    fn checkpoint_complete(
        &mut self,
        checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        self.commit_up_to(checkpoint.0)
    }

    fn final_handles(&mut self, _context: &mut OperatorContext<'_>) -> Result<Vec<Vec<u8>>, OperatorError> {
        let last = self.writer()?.prepare_commit()?;
        let pending =
            self.pending()?.borrow().get().iter().map(|(_, handle)| handle.clone()).collect::<Vec<_>>();
        Ok(pending.into_iter().chain(last).collect())
    }

    fn commit(
        &mut self,
        handles: &[Vec<u8>],
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let writer = self.writer()?;
        handles.iter().try_for_each(|handle| writer.commit(handle))
    }

    fn close(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.close();
        }
    }

    fn is_closed(&mut self) -> bool {
        self.writer.as_mut().is_none_or(SinkWriter::is_closed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;
    use crate::harness::Harness;

    /// A sink whose transactions are the records between two barriers.
    #[derive(Clone, Default)]
    struct Transactions {
        committed: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    }

    struct Writer {
        sink: Transactions,
        open: Vec<u8>,
        room: usize,
    }

    impl Sink<u8> for Transactions {
        type Writer = Writer;

        fn writer(&self, _info: &OperatorInfo) -> Result<Writer, OperatorError> {
            Ok(Writer { sink: self.clone(), open: Vec::new(), room: 3 })
        }
    }

    impl SinkWriter<u8> for Writer {
        fn is_ready(&self) -> bool {
            self.open.len() < self.room
        }

        fn write(&mut self, record: u8, _time: Timestamp) -> Result<(), OperatorError> {
            self.open.push(record);
            Ok(())
        }

        fn prepare_commit(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
            let handle = std::mem::take(&mut self.open);
            Ok(if handle.is_empty() { Vec::new() } else { vec![handle] })
        }

        fn commit(&mut self, handle: &[u8]) -> Result<(), OperatorError> {
            self.sink.committed.lock().unwrap().insert(handle.to_vec());
            Ok(())
        }
    }

    impl Transactions {
        fn committed(&self) -> Vec<Vec<u8>> {
            self.committed.lock().unwrap().iter().cloned().collect()
        }

        fn operator(&self) -> SinkOperator<u8, Self> {
            SinkOperator::new(Arc::new(self.clone()))
        }
    }

    #[test]
    fn what_was_written_is_committed_when_its_checkpoint_is_complete() {
        let sink = Transactions::default();
        let mut harness = Harness::new(sink.operator());
        harness.push_all([1, 2]);
        let first = harness.begin_snapshot();
        harness.write_snapshot();
        harness.push(3);
        let second = harness.begin_snapshot();
        harness.write_snapshot();
        assert!(sink.committed().is_empty());
        harness.complete_checkpoint(first);
        assert_eq!(sink.committed(), [vec![1, 2]]);
        harness.complete_checkpoint(second);
        assert_eq!(sink.committed(), [vec![1, 2], vec![3]]);
    }

    #[test]
    fn a_writer_without_room_gets_no_records() {
        let sink = Transactions::default();
        let mut harness = Harness::new(sink.operator());
        harness.begin((0..5).map(|n| (n, 0)).collect());
        assert!(harness.step(), "it waits");
        assert!(!harness.operator().is_ready());
        if let Some(writer) = &mut harness.operator_mut().writer {
            assert_eq!(writer.open, [0, 1, 2]);
            writer.room = 10;
        }
        while !harness.step() {}
        assert_eq!(harness.final_handles(), [[0, 1, 2, 3, 4]]);
    }

    #[test]
    fn a_restored_sink_commits_what_its_checkpoint_holds_and_no_more() {
        let sink = Transactions::default();
        let mut harness = Harness::new(sink.operator());
        harness.push_all([1, 2]);
        let snapshot = harness.snapshot();
        harness.push(3);
        drop(harness);
        let restored = Harness::restore(sink.operator(), snapshot);
        assert_eq!(sink.committed(), [vec![1, 2]]);
        drop(restored);
    }

    #[test]
    fn the_end_leaves_handles_for_all_that_is_not_committed() {
        let sink = Transactions::default();
        let mut harness = Harness::new(sink.operator());
        harness.push(1);
        harness.snapshot();
        harness.push(2);
        harness.end();
        let handles = harness.final_handles();
        assert!(sink.committed().is_empty());
        drop(harness);
        let mut later = Harness::new(sink.operator());
        later.commit(&handles);
        assert_eq!(sink.committed(), [vec![1], vec![2]]);
    }
}
