//! `WindowReduce`: reduces the records of each key and window to one.

use std::borrow::Cow;
use std::sync::Arc;

use flott_core::Data;

use super::{TimeWindow, Window, WindowAssigner, WindowContents};
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, OperatorContext};

/// Windows that reduce their records by `F`, an `FnMut(&mut T, T)`.
pub type WindowReduce<T, S, A, F> = Window<T, S, A, ReduceContents<F>>;

/// Keeps the reduced record; see [`WindowReduce`].
pub struct ReduceContents<F>(F);

impl<T, S, A, F> Window<T, S, A, ReduceContents<F>>
where
    T: Data,
    S: KeySelector<T>,
    A: WindowAssigner,
    F: FnMut(&mut T, T) + 'static,
{
    /// Reduces by `reduce`, which changes the record there is by the one that came.
    pub fn new(selector: Arc<S>, assigner: A, reduce: F) -> Self {
        Self::with_contents(selector, assigner, ReduceContents(reduce))
    }
}

impl<K, T: Data, F: FnMut(&mut T, T) + 'static> WindowContents<K, T> for ReduceContents<F> {
    type Kept = T;
    type Out = T;

    #[inline]
    fn first(&mut self, record: Cow<'_, T>) -> T {
        record.into_owned()
    }

    #[inline]
    fn add(&mut self, kept: &mut T, record: Cow<'_, T>) {
        (self.0)(kept, record.into_owned());
    }

    fn emit(
        &mut self,
        _key: K,
        window: TimeWindow,
        kept: T,
        out: &mut Collector<T>,
        _context: &OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        out.emit(kept, window.max_timestamp());
        Ok(())
    }

    fn emit_kept(
        &mut self,
        _key: &K,
        window: TimeWindow,
        kept: &T,
        out: &mut Collector<T>,
        _context: &OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        out.emit(kept.clone(), window.max_timestamp());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::harness::Harness;
    use crate::key_selector::Borrowed;
    use crate::operators::TumblingEventTimeWindows;

    #[test]
    fn a_window_gives_one_record_a_key() {
        let selector = Arc::new(Borrowed::new(|record: &(String, i64)| &record.0));
        let windows = TumblingEventTimeWindows::of(Duration::from_millis(10));
        let reduce = |value: &mut (String, i64), record: (String, i64)| value.1 += record.1;
        let mut harness = Harness::new(WindowReduce::new(selector, windows, reduce));
        for (n, time) in [(1, 3), (2, 12), (4, 9), (8, 0)] {
            harness.push_at(("a".to_owned(), n), time);
        }
        harness.watermark(9);
        assert_eq!(harness.take_output(), [(("a".to_owned(), 13), 9)]);
        harness.end();
        assert_eq!(harness.take_output(), [(("a".to_owned(), 2), 19)]);
    }
}
