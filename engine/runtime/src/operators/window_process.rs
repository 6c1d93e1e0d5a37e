//! `WindowProcess`: keeps the records of each key and window and gives all of them to a function when the window fires.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use flott_core::Data;

use super::{ProcessContext, TimeWindow, Window, WindowAssigner, WindowContents};
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, OperatorContext};

/// A user function over all records of a key and window. Closures of the shape of [`process`](Self::process) are
/// window functions.
pub trait WindowProcessFunction<K, T, O>: 'static {
    /// Takes the records of a window, in the order in which they came; what it emits carries the window's last timestamp.
    ///
    /// # Errors
    /// An error fails the task.
    fn process(
        &mut self,
        key: &K,
        window: TimeWindow,
        records: &[T],
        context: &mut ProcessContext<'_, O>,
    ) -> Result<(), OperatorError>;
}

impl<K, T, O, F> WindowProcessFunction<K, T, O> for F
where
    F: FnMut(&K, TimeWindow, &[T], &mut ProcessContext<'_, O>) -> Result<(), OperatorError> + 'static,
{
    fn process(
        &mut self,
        key: &K,
        window: TimeWindow,
        records: &[T],
        context: &mut ProcessContext<'_, O>,
    ) -> Result<(), OperatorError> {
        self(key, window, records, context)
    }
}

/// Windows that keep their records for the function `F`.
pub type WindowProcess<T, S, A, F, O> = Window<T, S, A, ProcessContents<F, O>>;

/// Keeps all records; see [`WindowProcess`].
pub struct ProcessContents<F, O> {
    function: F,
    out: PhantomData<fn() -> O>,
}

impl<T, S, A, F, O> Window<T, S, A, ProcessContents<F, O>>
where
    T: Data,
    S: KeySelector<T>,
    A: WindowAssigner,
    F: WindowProcessFunction<S::Key, T, O>,
    O: Data,
{
    /// Processes the records of a window by `function`.
    pub fn new(selector: Arc<S>, assigner: A, function: F) -> Self {
        Self::with_contents(selector, assigner, ProcessContents { function, out: PhantomData })
    }
}

impl<K, T, F, O> WindowContents<K, T> for ProcessContents<F, O>
where
    T: Data,
    F: WindowProcessFunction<K, T, O>,
    O: Data,
{
    type Kept = Vec<T>;
    type Out = O;

    #[inline]
    fn first(&mut self, record: Cow<'_, T>) -> Vec<T> {
        vec![record.into_owned()]
    }

    #[inline]
    fn add(&mut self, kept: &mut Vec<T>, record: Cow<'_, T>) {
        kept.push(record.into_owned());
    }

    fn emit(
        &mut self,
        key: K,
        window: TimeWindow,
        kept: Vec<T>,
        out: &mut Collector<O>,
        context: &OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        self.emit_kept(&key, window, &kept, out, context)
    }

    fn emit_kept(
        &mut self,
        key: &K,
        window: TimeWindow,
        kept: &Vec<T>,
        out: &mut Collector<O>,
        context: &OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let mut call = ProcessContext::new(out, window.max_timestamp(), context);
        self.function.process(key, window, kept, &mut call)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::harness::Harness;
    use crate::key_selector::Computed;
    use crate::operator::OutputTag;
    use crate::operators::TumblingEventTimeWindows;

    #[test]
    fn the_function_sees_all_records_of_the_window() {
        let large = OutputTag::<u64>::new("large");
        let tag = large.clone();
        let selector = Arc::new(Computed::new(|n: &u64| n % 10));
        let windows = TumblingEventTimeWindows::of(Duration::from_millis(10));
        let function = move |key: &u64,
                             window: TimeWindow,
                             records: &[u64],
                             context: &mut ProcessContext<'_, String>| {
            context.emit(format!("{key} {} {records:?}", window.start));
            records.iter().filter(|n| **n > 100).for_each(|n| context.emit_to(&tag, *n));
            Ok(())
        };
        let mut harness = Harness::new(WindowProcess::new(selector, windows, function));
        for (n, time) in [(21, 15), (1, 12), (101, 19), (11, 20)] {
            harness.push_at(n, time);
        }
        harness.watermark(19);
        assert_eq!(harness.take_output(), [("1 10 [21, 1, 101]".to_owned(), 19)]);
        assert_eq!(harness.take_side_output(&large), [(101, 19)]);
    }
}
