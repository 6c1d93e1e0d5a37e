//! [`SortPartition`]: gives a subtask's records in the order of a key.

use std::sync::Arc;

use flott_core::Data;

use super::error::BatchError;
use super::external_sorter::{ExternalSorter, Workspace};
use super::row::Order;
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, Progress};

/// Sorts all records of a subtask; equal keys keep their order. Lines sorted whole by a
/// [`Borrowed`](crate::key_selector::Borrowed) key come in byte order, and are held once, not twice.
pub struct SortPartition<T, S> {
    selector: Arc<S>,
    order: Order,
    sorter: Option<ExternalSorter<T, S>>,
    has_ended: bool,
}

impl<T: Data, S: KeySelector<T>> SortPartition<T, S> {
    /// Sorts by the keys that `selector` finds.
    pub fn new(selector: Arc<S>, order: Order) -> Self {
        Self { selector, order, sorter: None, has_ended: false }
    }
}

impl<T: Data, S: KeySelector<T>> Operator for SortPartition<T, S> {
    type In = T;
    type Out = T;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let selector = Arc::clone(&self.selector);
        self.sorter = Some(ExternalSorter::new(selector, self.order, Workspace::of(context.info))?);
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let sorter = self.sorter.as_mut().ok_or(BatchError::OutOfOrder("sort"))?;
        sorter.take(input)?;
        Ok(())
    }

    fn end(
        &mut self,
        out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        let sorter = self.sorter.as_mut().ok_or(BatchError::OutOfOrder("sort"))?;
        if !sorter.is_ready(&mut self.has_ended)? {
            return Ok(Progress::More);
        }
        while !out.is_full() {
            match sorter.next()? {
                Some(record) => out.emit_untimed(record),
                None => return Ok(Progress::Done),
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn sorts_lines_by_their_bytes(
            lines in prop::collection::vec("[a-c]{0,30}|.{0,10}", 0..5000), descending: bool,
        ) {
            let order = if descending { Order::Descending } else { Order::Ascending };
            let operator = SortPartition::new(Arc::new(Borrowed::new(|line: &String| line)), order);
            let config = HarnessConfig { managed_memory: 256 << 10, ..Default::default() };
            let mut harness = Harness::with_config(operator, config);
            for batch in lines.chunks(1000) {
                harness.push_all(batch.iter().cloned());
            }
            prop_assert_eq!(harness.take_records().len(), 0);
            harness.end();
            let mut expected = lines;
            expected.sort();
            if descending {
                expected.reverse();
            }
            prop_assert!(harness.take_records() == expected);
        }
    }
}
