//! [`SortAggregate`]: reduces records of equal keys, which a sort brings together; results come in the order of their keys.
//!
//! It holds one partial result at a time, so neither many keys nor long runs of one key need more memory.

use std::sync::Arc;

use flott_core::Data;

use super::error::BatchError;
use super::external_sorter::{ExternalSorter, Workspace};
use super::row::Order;
use super::step::Step;
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, Progress};

/// See the module. `F` is `Fn(T, T) -> T`; it gets records in the order they came.
pub struct SortAggregate<T, S, F> {
    selector: Arc<S>,
    reduce: F,
    sorter: Option<ExternalSorter<T, S>>,
    has_ended: bool,
    /// The result so far of the key in hand.
    partial: Option<T>,
}

impl<T: Data, S: KeySelector<T>, F: Fn(T, T) -> T + 'static> SortAggregate<T, S, F> {
    /// Reduces records of equal keys by `reduce`, the result so far first.
    pub fn new(selector: Arc<S>, reduce: F) -> Self {
        Self { selector, reduce, sorter: None, has_ended: false, partial: None }
    }
}

impl<T: Data, S: KeySelector<T>, F: Fn(T, T) -> T + 'static> Operator for SortAggregate<T, S, F> {
    type In = T;
    type Out = T;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let selector = Arc::clone(&self.selector);
        self.sorter = Some(ExternalSorter::new(selector, Order::Ascending, Workspace::of(context.info))?);
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let sorter = self.sorter.as_mut().ok_or(BatchError::OutOfOrder("sort aggregate"))?;
        sorter.take(input)?;
        Ok(())
    }

    fn end(
        &mut self,
        out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        let sorter = self.sorter.as_mut().ok_or(BatchError::OutOfOrder("sort aggregate"))?;
        if !sorter.is_ready(&mut self.has_ended)? {
            return Ok(Progress::More);
        }
        let mut step = Step::begin();
        while !out.is_full() && !step.is_over() {
            let Some(record) = sorter.next()? else {
                if let Some(result) = self.partial.take() {
                    out.emit_untimed(result);
                }
                return Ok(Progress::Done);
            };
            let selector = &self.selector;
            let same_key = self.partial.as_ref().is_some_and(|partial| {
                selector.with_key(partial, |key| selector.with_key(&record, |other| key == other))
            });
            match self.partial.take() {
                Some(partial) if same_key => self.partial = Some((self.reduce)(partial, record)),
                finished => {
                    if let Some(result) = finished {
                        out.emit_untimed(result);
                    }
                    self.partial = Some(record);
                }
            }
        }
        Ok(Progress::More)
    }

    fn close(&mut self) {
        self.sorter = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::harness::{Harness, HarnessConfig};
    use crate::key_selector::Borrowed;

    type Pair = (u32, String);

    fn aggregate(records: &[Pair], managed_memory: usize) -> Vec<Pair> {
        let operator = SortAggregate::new(Arc::new(Borrowed::new(|r: &Pair| &r.0)), |a: Pair, b: Pair| {
            (a.0, a.1 + &b.1)
        });
        let mut harness =
            Harness::with_config(operator, HarnessConfig { managed_memory, ..Default::default() });
        for batch in records.chunks(1000) {
            harness.push_all(batch.iter().cloned());
        }
        harness.end();
        harness.take_records()
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(aggregate(&[], 1 << 20), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn reduces_in_the_order_of_keys_and_records(
            count in 0_u32..20_000, keys in 1_u32..9_000, segments in 8_usize..32,
        ) {
            let records: Vec<Pair> =
                (0..count).map(|n| (n.wrapping_mul(0x9E37_79B1) % keys, format!("{n},"))).collect();
            let mut expected = std::collections::BTreeMap::new();
            for (key, text) in &records {
                expected.entry(*key).or_insert_with(String::new).push_str(text);
            }
            prop_assert!(aggregate(&records, segments << 15).into_iter().eq(expected));
        }
    }
}
