//! Typed operators behind one virtual call a batch.

use std::time::Instant;

use flott_core::ids::CheckpointId;
use flott_core::{Data, Records, Timestamp};

use super::link::Emit;
use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::element::AnyBatch;
use crate::error::OperatorError;
use crate::operator::{Operator, OperatorContext, Progress, Side, TwoInputOperator};

type Outcome = Result<Progress, OperatorError>;

/// An operator with its types erased.
pub struct BoxedOperator(Box<dyn ErasedOperator>);

impl BoxedOperator {
    /// Erases the types of an operator.
    #[allow(private_bounds, reason = "only this crate's two adapters fit")]
    pub fn new<O: ErasedOperator + 'static>(operator: O) -> Self {
        Self(Box::new(operator))
    }
}

impl std::ops::Deref for BoxedOperator {
    type Target = dyn ErasedOperator;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl std::ops::DerefMut for BoxedOperator {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.0
    }
}

/// What a chain needs of an operator; see [`Operator`] for what each means.
pub trait ErasedOperator {
    /// See [`Operator::open`].
    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError>;
    /// Puts a batch into the input's cursor, which is empty.
    fn accept(&mut self, input: usize, batch: AnyBatch) -> Result<(), OperatorError>;
    /// Works on the batch in hand; true when it is through.
    #[allow(private_interfaces, reason = "only chains call it")]
    fn work(
        &mut self,
        now: Instant,
        emit: &mut Emit<'_, '_>,
        context: &mut OperatorContext<'_>,
    ) -> Result<bool, OperatorError>;
    /// See [`Operator::watermark`].
    #[allow(private_interfaces, reason = "only chains call it")]
    fn watermark(
        &mut self,
        watermark: Timestamp,
        emit: &mut Emit<'_, '_>,
        context: &mut OperatorContext<'_>,
    ) -> Outcome;
    /// See [`Operator::forward_watermark`].
    fn forward_watermark(&self, watermark: Timestamp) -> Option<Timestamp>;
    /// See [`Operator::advance`].
    #[allow(private_interfaces, reason = "only chains call it")]
    fn advance(&mut self, emit: &mut Emit<'_, '_>, context: &mut OperatorContext<'_>) -> Outcome;
    /// See [`Operator::align_watermarks`].
    fn align_watermarks(&mut self, lowest: Timestamp);
    /// See [`Operator::next_timer`].
    fn next_timer(&self) -> Option<Timestamp>;
    /// See [`Operator::timer`].
    #[allow(private_interfaces, reason = "only chains call it")]
    fn timer(
        &mut self,
        now: Timestamp,
        emit: &mut Emit<'_, '_>,
        context: &mut OperatorContext<'_>,
    ) -> Outcome;
    /// One of several inputs has ended.
    #[allow(private_interfaces, reason = "only chains call it")]
    fn input_end(
        &mut self,
        input: usize,
        emit: &mut Emit<'_, '_>,
        context: &mut OperatorContext<'_>,
    ) -> Outcome;
    /// See [`Operator::end`].
    #[allow(private_interfaces, reason = "only chains call it")]
    fn end(&mut self, emit: &mut Emit<'_, '_>, context: &mut OperatorContext<'_>) -> Outcome;
    /// See [`Operator::prepare_snapshot`].
    fn prepare_snapshot(
        &mut self,
        checkpoint: CheckpointId,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError>;
    /// See [`Operator::is_prepared`].
    fn is_prepared(&mut self) -> Result<bool, OperatorError>;
    /// See [`Operator::is_committed`].
    fn is_committed(&mut self) -> Result<bool, OperatorError>;
    /// See [`Operator::checkpoint_complete`].
    fn checkpoint_complete(
        &mut self,
        checkpoint: CheckpointId,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError>;
    /// See [`Operator::final_handles`].
    fn final_handles(&mut self, context: &mut OperatorContext<'_>) -> Result<Vec<Vec<u8>>, OperatorError>;
    /// See [`Operator::commit`].
    fn commit(&mut self, handles: &[Vec<u8>], context: &mut OperatorContext<'_>)
    -> Result<(), OperatorError>;
    /// See [`Operator::close`].
    fn close(&mut self);
    /// See [`Operator::is_closed`].
    fn is_closed(&mut self) -> bool;
    /// See [`Operator::is_ready`].
    fn is_ready(&self) -> bool;
    /// See [`Operator::holds_input`].
    fn holds_input(&self) -> bool;
    /// The input to read to its end first; see [`TwoInputOperator::reads_first`].
    fn reads_first(&self) -> Option<usize>;
}

/// An [`Operator`] with its cursor and collector.
pub struct OneInput<O: Operator> {
    operator: O,
    cursor: Cursor<O::In>,
    collector: Collector<O::Out>,
}

impl<O: Operator> OneInput<O> {
    /// Ready to be opened.
    pub fn new(operator: O) -> Self {
        Self { operator, cursor: Cursor::empty(), collector: Collector::new() }
    }
}

fn pass_on<T: Data>(collector: &mut Collector<T>, emit: &mut Emit<'_, '_>) {
    collector.take(|emitted| emit.emitted(emitted));
}

#[allow(private_interfaces, reason = "only chains call it")]
impl<O: Operator> ErasedOperator for OneInput<O> {
    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        self.operator.open(context)
    }

    fn accept(&mut self, _input: usize, batch: AnyBatch) -> Result<(), OperatorError> {
        self.cursor.fill(batch.downcast::<Records<O::In>>()?);
        Ok(())
    }

    fn work(
        &mut self,
        now: Instant,
        emit: &mut Emit<'_, '_>,
        context: &mut OperatorContext<'_>,
    ) -> Result<bool, OperatorError> {
        self.cursor.begin_step(now);
        self.operator.process(&mut self.cursor, &mut self.collector, context)?;
        pass_on(&mut self.collector, emit);
        Ok(self.cursor.is_exhausted())
    }

    fn watermark(
        &mut self,
        watermark: Timestamp,
        emit: &mut Emit<'_, '_>,
        context: &mut OperatorContext<'_>,
    ) -> Outcome {
        let progress = self.operator.watermark(watermark, &mut self.collector, context)?;
        pass_on(&mut self.collector, emit);
        Ok(progress)
    }

    fn forward_watermark(&self, watermark: Timestamp) -> Option<Timestamp> {
        self.operator.forward_watermark(watermark)
    }

    fn advance(&mut self, emit: &mut Emit<'_, '_>, context: &mut OperatorContext<'_>) -> Outcome {
        let progress = self.operator.advance(&mut self.collector, context)?;
        pass_on(&mut self.collector, emit);
        Ok(progress)
    }

    fn align_watermarks(&mut self, lowest: Timestamp) {
        self.operator.align_watermarks(lowest);
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.operator.next_timer()
    }

    fn timer(
        &mut self,
        now: Timestamp,
        emit: &mut Emit<'_, '_>,
        context: &mut OperatorContext<'_>,
    ) -> Outcome {
        let progress = self.operator.timer(now, &mut self.collector, context)?;
        pass_on(&mut self.collector, emit);
        Ok(progress)
    }

    fn input_end(&mut self, _: usize, _: &mut Emit<'_, '_>, _: &mut OperatorContext<'_>) -> Outcome {
        Ok(Progress::Done)
    }

    fn end(&mut self, emit: &mut Emit<'_, '_>, context: &mut OperatorContext<'_>) -> Outcome {
        let progress = self.operator.end(&mut self.collector, context)?;
        pass_on(&mut self.collector, emit);
        Ok(progress)
    }

    fn prepare_snapshot(
        &mut self,
        checkpoint: CheckpointId,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        self.operator.prepare_snapshot(checkpoint, context)
    }

    fn is_prepared(&mut self) -> Result<bool, OperatorError> {
        self.operator.is_prepared()
    }

    fn is_committed(&mut self) -> Result<bool, OperatorError> {
        self.operator.is_committed()
    }

    fn checkpoint_complete(
        &mut self,
        checkpoint: CheckpointId,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        self.operator.checkpoint_complete(checkpoint, context)
    }

    fn final_handles(&mut self, context: &mut OperatorContext<'_>) -> Result<Vec<Vec<u8>>, OperatorError> {
        self.operator.final_handles(context)
    }

    fn commit(
        &mut self,
        handles: &[Vec<u8>],
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        self.operator.commit(handles, context)
    }

    fn close(&mut self) {
        self.operator.close();
    }

    fn is_closed(&mut self) -> bool {
        self.operator.is_closed()
    }

    fn is_ready(&self) -> bool {
        self.operator.is_ready()
    }

    fn holds_input(&self) -> bool {
        self.operator.holds_input()
    }

    fn reads_first(&self) -> Option<usize> {
        None
    }
}

/// A [`TwoInputOperator`] with its cursors and collector.
pub struct TwoInput<O: TwoInputOperator> {
    operator: O,
    left: Cursor<O::Left>,
    right: Cursor<O::Right>,
    collector: Collector<O::Out>,
}

impl<O: TwoInputOperator> TwoInput<O> {
    /// Ready to be opened.
    pub fn new(operator: O) -> Self {
        Self { operator, left: Cursor::empty(), right: Cursor::empty(), collector: Collector::new() }
    }
}

#[allow(private_interfaces, reason = "only chains call it")]
impl<O: TwoInputOperator> ErasedOperator for TwoInput<O> {
    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        self.operator.open(context)
    }

    fn accept(&mut self, input: usize, batch: AnyBatch) -> Result<(), OperatorError> {
        if input == 0 {
            self.left.fill(batch.downcast::<Records<O::Left>>()?);
        } else {
            self.right.fill(batch.downcast::<Records<O::Right>>()?);
        }
        Ok(())
    }

    fn work(
        &mut self,
        now: Instant,
        emit: &mut Emit<'_, '_>,
        context: &mut OperatorContext<'_>,
    ) -> Result<bool, OperatorError> {
        if self.left.is_exhausted() {
            self.right.begin_step(now);
            self.operator.process_right(&mut self.right, &mut self.collector, context)?;
        } else {
            self.left.begin_step(now);
            self.operator.process_left(&mut self.left, &mut self.collector, context)?;
        }
        pass_on(&mut self.collector, emit);
        Ok(self.left.is_exhausted() && self.right.is_exhausted())
    }

    fn watermark(
        &mut self,
        watermark: Timestamp,
        emit: &mut Emit<'_, '_>,
        context: &mut OperatorContext<'_>,
    ) -> Outcome {
        let progress = self.operator.watermark(watermark, &mut self.collector, context)?;
        pass_on(&mut self.collector, emit);
        Ok(progress)
    }

    fn forward_watermark(&self, watermark: Timestamp) -> Option<Timestamp> {
        Some(watermark)
    }

    fn advance(&mut self, _: &mut Emit<'_, '_>, _: &mut OperatorContext<'_>) -> Outcome {
        Ok(Progress::Done)
    }

    fn align_watermarks(&mut self, _: Timestamp) {}

    fn next_timer(&self) -> Option<Timestamp> {
        None
    }

    fn timer(&mut self, _: Timestamp, _: &mut Emit<'_, '_>, _: &mut OperatorContext<'_>) -> Outcome {
        Ok(Progress::Done)
    }

    fn input_end(
        &mut self,
        input: usize,
        emit: &mut Emit<'_, '_>,
        context: &mut OperatorContext<'_>,
    ) -> Outcome {
        let side = if input == 0 { Side::Left } else { Side::Right };
        let progress = self.operator.end_of(side, &mut self.collector, context)?;
        pass_on(&mut self.collector, emit);
        Ok(progress)
    }

    fn end(&mut self, _: &mut Emit<'_, '_>, _: &mut OperatorContext<'_>) -> Outcome {
        Ok(Progress::Done)
    }

    fn prepare_snapshot(
        &mut self,
        _: CheckpointId,
        _: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        Ok(())
    }

    fn is_prepared(&mut self) -> Result<bool, OperatorError> {
        Ok(true)
    }

    fn is_committed(&mut self) -> Result<bool, OperatorError> {
        Ok(true)
    }

    fn checkpoint_complete(
        &mut self,
        _: CheckpointId,
        _: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        Ok(())
    }

    fn final_handles(&mut self, _: &mut OperatorContext<'_>) -> Result<Vec<Vec<u8>>, OperatorError> {
        Ok(Vec::new())
    }

    fn commit(&mut self, _: &[Vec<u8>], _: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        Ok(())
    }

    fn close(&mut self) {
        self.operator.close();
    }

    fn is_closed(&mut self) -> bool {
        true
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn holds_input(&self) -> bool {
        false
    }

    fn reads_first(&self) -> Option<usize> {
        self.operator.reads_first().map(|side| usize::from(side == Side::Right))
    }
}
