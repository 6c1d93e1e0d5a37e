//! `Process`: a function that sees a record with its times and emits whatever it likes, also to side outputs.

use std::marker::PhantomData;

use flott_core::{Data, Timestamp};

use super::Emitter;
use crate::error::OperatorError;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, OperatorInfo, OutputTag, Progress};

/// A user function over single records, without state or timers. Closures of the shape of
/// [`process`](Self::process) are process functions.
pub trait ProcessFunction<I, O>: 'static {
    /// Called once, before the first record.
    ///
    /// # Errors
    /// An error fails the task.
    fn open(&mut self, _info: &OperatorInfo) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Takes a record.
    ///
    /// # Errors
    /// An error fails the task.
    fn process(&mut self, record: I, context: &mut ProcessContext<'_, O>) -> Result<(), OperatorError>;

    /// All records have come.
    ///
    /// # Errors
    /// An error fails the task.
    fn end(&mut self, _context: &mut ProcessContext<'_, O>) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Called once, last, also after a failure.
    fn close(&mut self) {}
}

impl<I, O, F> ProcessFunction<I, O> for F
where
    F: FnMut(I, &mut ProcessContext<'_, O>) -> Result<(), OperatorError> + 'static,
{
    fn process(&mut self, record: I, context: &mut ProcessContext<'_, O>) -> Result<(), OperatorError> {
        self(record, context)
    }
}

/// What a [`ProcessFunction`] can see and do.
pub struct ProcessContext<'a, O> {
    out: Emitter<'a, O>,
    watermark: Timestamp,
    processing_time: Timestamp,
    info: &'a OperatorInfo,
}

impl<'a, O: Data> ProcessContext<'a, O> {
    #[inline]
    pub(super) fn new(out: &'a mut Collector<O>, time: Timestamp, context: &OperatorContext<'a>) -> Self {
        Self {
            out: Emitter::new(out, time),
            watermark: context.watermark,
            processing_time: context.processing_time,
            info: context.info,
        }
    }

    /// The timestamp of the record in hand, or [`NO_TIMESTAMP`](flott_core::time::NO_TIMESTAMP).
    #[inline]
    pub fn timestamp(&self) -> Timestamp {
        self.out.timestamp()
    }

    /// How far event time has come, or [`NO_TIMESTAMP`](flott_core::time::NO_TIMESTAMP).
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The wall clock, in milliseconds since the epoch.
    pub fn processing_time(&self) -> Timestamp {
        self.processing_time
    }

    /// Who and where the operator is.
    pub fn info(&self) -> &OperatorInfo {
        self.info
    }

    /// Emits a record with the timestamp of the record in hand.
    #[inline]
    pub fn emit(&mut self, record: O) {
        self.out.emit(record);
    }

    /// Emits a record with a timestamp of its own.
    #[inline]
    pub fn emit_at(&mut self, record: O, time: Timestamp) {
        self.out.emit_at(record, time);
    }

    /// Emits a record to a side output, with the timestamp of the record in hand.
    pub fn emit_to<S: Data>(&mut self, tag: &OutputTag<S>, record: S) {
        self.out.emit_to(tag, record);
    }
}

/// Runs a [`ProcessFunction`].
pub struct Process<I, O, F> {
    function: F,
    records: PhantomData<fn(I) -> O>,
}

impl<I, O, F: ProcessFunction<I, O>> Process<I, O, F> {
    /// Processes records by `function`.
    pub fn new(function: F) -> Self {
        Self { function, records: PhantomData }
    }
}

impl<I: Data, O: Data, F: ProcessFunction<I, O>> Operator for Process<I, O, F> {
    type In = I;
    type Out = O;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        self.function.open(context.info)
    }

    fn process(
        &mut self,
        input: &mut Cursor<I>,
        out: &mut Collector<O>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while !out.is_full() {
            let Some((record, time)) = input.next() else { break };
            self.function.process(record, &mut ProcessContext::new(out, time, context))?;
        }
        Ok(())
    }

    fn end(
        &mut self,
        out: &mut Collector<O>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        let time = flott_core::time::NO_TIMESTAMP;
        self.function.end(&mut ProcessContext::new(out, time, context))?;
        Ok(Progress::Done)
    }

    fn close(&mut self) {
        self.function.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;

    #[test]
    fn records_go_to_the_main_and_to_side_outputs() {
        let odd = OutputTag::<String>::new("odd");
        let tag = odd.clone();
        let mut harness = Harness::new(Process::new(move |n: i64, context: &mut ProcessContext<'_, i64>| {
            if n % 2 == 0 {
                context.emit(n);
            } else {
                context.emit_to(&tag, n.to_string());
            }
            Ok(())
        }));
        harness.push_at(1, 10);
        harness.push_at(2, 20);
        assert_eq!(harness.take_output(), [(2, 20)]);
        assert_eq!(harness.take_side_output(&odd), [("1".to_owned(), 10)]);
    }

    struct Count(i64);

    impl ProcessFunction<i64, i64> for Count {
        fn process(&mut self, _: i64, _: &mut ProcessContext<'_, i64>) -> Result<(), OperatorError> {
            self.0 += 1;
            Ok(())
        }

        fn end(&mut self, context: &mut ProcessContext<'_, i64>) -> Result<(), OperatorError> {
            context.emit(self.0);
            Ok(())
        }
    }

    #[test]
    fn the_function_hears_of_the_end() {
        let mut harness = Harness::new(Process::new(Count(0)));
        harness.push_all([5, 6, 7]);
        assert!(harness.take_records().is_empty());
        harness.end();
        assert_eq!(harness.take_records(), [3]);
    }
}
