//! `WindowAggregate`: aggregates the records of each key and window as they come, and gives the result with its key.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use flott_core::Data;

use super::{TimeWindow, Window, WindowAssigner, WindowContents};
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, OperatorContext};

/// How many values become one.
///
/// ```
/// use flott_runtime::operators::AggregateFunction;
///
/// struct Average;
///
/// impl AggregateFunction<f64> for Average {
///     type Accumulator = (f64, u64);
///     type Out = f64;
///
///     fn create(&self) -> (f64, u64) {
///         (0.0, 0)
///     }
///
///     fn add(&self, accumulator: &mut (f64, u64), value: &f64) {
///         accumulator.0 += value;
///         accumulator.1 += 1;
///     }
///
///     fn merge(&self, accumulator: &mut (f64, u64), other: (f64, u64)) {
///         accumulator.0 += other.0;
///         accumulator.1 += other.1;
///     }
///
///     fn result(&self, accumulator: &(f64, u64)) -> f64 {
///         accumulator.0 / accumulator.1 as f64
///     }
/// }
/// ```
pub trait AggregateFunction<T>: 'static {
    /// What is kept.
    type Accumulator: Data;
    /// The result.
    type Out;

    /// What is kept of no record.
    fn create(&self) -> Self::Accumulator;

    /// Adds a record.
    fn add(&self, accumulator: &mut Self::Accumulator, record: &T);

    /// Adds what was kept of other records.
    fn merge(&self, accumulator: &mut Self::Accumulator, other: Self::Accumulator);

    /// The result of what is kept.
    fn result(&self, accumulator: &Self::Accumulator) -> Self::Out;
}

/// Windows that aggregate their records by `G`, and make a record of the result by `F`.
pub type WindowAggregate<T, S, A, G, F, O> = Window<T, S, A, AggregateContents<G, F, O>>;

/// Keeps an accumulator; see [`WindowAggregate`].
pub struct AggregateContents<G, F, O> {
    aggregate: G,
    finish: F,
    out: PhantomData<fn() -> O>,
}

impl<T, S, A, G, F, O> Window<T, S, A, AggregateContents<G, F, O>>
where
    T: Data,
    S: KeySelector<T>,
    A: WindowAssigner,
    G: AggregateFunction<T>,
    F: FnMut(S::Key, TimeWindow, G::Out) -> O + 'static,
    O: Data,
{
    /// Aggregates by `aggregate`; `finish` makes of key, window and result what is emitted.
    pub fn new(selector: Arc<S>, assigner: A, aggregate: G, finish: F) -> Self {
        Self::with_contents(selector, assigner, AggregateContents { aggregate, finish, out: PhantomData })
    }
}

impl<K, T, G, F, O> WindowContents<K, T> for AggregateContents<G, F, O>
where
    K: Clone,
    T: Clone,
    G: AggregateFunction<T>,
    F: FnMut(K, TimeWindow, G::Out) -> O + 'static,
    O: Data,
{
    type Kept = G::Accumulator;
    type Out = O;

    #[inline]
    fn first(&mut self, record: Cow<'_, T>) -> G::Accumulator {
        let mut accumulator = self.aggregate.create();
        self.aggregate.add(&mut accumulator, &record);
        accumulator
    }

    #[inline]
    fn add(&mut self, kept: &mut G::Accumulator, record: Cow<'_, T>) {
        self.aggregate.add(kept, &record);
    }

    fn emit(
        &mut self,
        key: K,
        window: TimeWindow,
        kept: G::Accumulator,
        out: &mut Collector<O>,
        _context: &OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        out.emit((self.finish)(key, window, self.aggregate.result(&kept)), window.max_timestamp());
        Ok(())
    }

    fn emit_kept(
        &mut self,
        key: &K,
        window: TimeWindow,
        kept: &G::Accumulator,
        out: &mut Collector<O>,
        _context: &OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        out.emit((self.finish)(key.clone(), window, self.aggregate.result(kept)), window.max_timestamp());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::harness::Harness;
    use crate::key_selector::Computed;
    use crate::operators::SlidingEventTimeWindows;

    struct Average;

    impl AggregateFunction<u64> for Average {
        type Accumulator = (u64, u64);
        type Out = u64;

        fn create(&self) -> (u64, u64) {
            (0, 0)
        }

        fn add(&self, accumulator: &mut (u64, u64), value: &u64) {
            self.merge(accumulator, (*value, 1));
        }

        fn merge(&self, accumulator: &mut (u64, u64), other: (u64, u64)) {
            accumulator.0 += other.0;
            accumulator.1 += other.1;
        }

        fn result(&self, accumulator: &(u64, u64)) -> u64 {
            accumulator.0 / accumulator.1
        }
    }

    #[test]
    fn results_carry_key_and_window() {
        let selector = Arc::new(Computed::new(|n: &u64| n % 2));
        let windows = SlidingEventTimeWindows::of(Duration::from_millis(10), Duration::from_millis(5));
        let finish = |key: u64, window: TimeWindow, average: u64| (key, window.start, average);
        let mut harness = Harness::new(WindowAggregate::new(selector, windows, Average, finish));
        for (n, time) in [(10, 1), (20, 6), (7, 2)] {
            harness.push_at(n, time);
        }
        harness.end();
        let mut output = harness.take_output();
        output.sort();
        let expected = [((0, -5, 10), 4), ((0, 0, 15), 9), ((0, 5, 20), 14), ((1, -5, 7), 4), ((1, 0, 7), 9)];
        assert_eq!(output, expected);
    }
}
