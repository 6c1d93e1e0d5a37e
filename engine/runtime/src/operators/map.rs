//! `Map`: one record in, one record out, the timestamp kept.

use std::marker::PhantomData;

use flott_core::Data;

use crate::error::OperatorError;
use crate::operator::{Collector, Cursor, Operator, OperatorContext};

/// Gives each record to a function and emits what it returns.
pub struct Map<I, O, F> {
    function: F,
    records: PhantomData<fn(I) -> O>,
}

impl<I, O, F: FnMut(I) -> O> Map<I, O, F> {
    /// Maps records by `function`.
    pub fn new(function: F) -> Self {
        Self { function, records: PhantomData }
    }
}

impl<I: Data, O: Data, F: FnMut(I) -> O + 'static> Operator for Map<I, O, F> {
    type In = I;
    type Out = O;

    fn process(
        &mut self,
        input: &mut Cursor<I>,
        out: &mut Collector<O>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while !out.is_full() {
            let Some((record, time)) = input.next() else { break };
            out.emit((self.function)(record), time);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;

    #[test]
    fn each_record_is_mapped_and_keeps_its_timestamp() {
        let mut harness = Harness::new(Map::new(|n: i64| n.to_string()));
        harness.push_at(1, 10);
        harness.push_at(2, 5);
        assert_eq!(harness.take_output(), [("1".to_owned(), 10), ("2".to_owned(), 5)]);
    }

    #[test]
    fn large_results_leave_in_several_batches() {
        let mut harness = Harness::new(Map::new(|n: u64| vec![n; 1000]));
        harness.push_all(0..100);
        let records = harness.take_records();
        assert!(records.iter().map(|record| record[0]).eq(0..100));
        assert!(harness.steps() > 10);
    }
}
