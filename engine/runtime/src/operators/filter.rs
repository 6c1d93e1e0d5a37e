//! `Filter`: lets through the records for which a function says yes.

use std::marker::PhantomData;

use flott_core::Data;

use crate::error::OperatorError;
use crate::operator::{Collector, Cursor, Operator, OperatorContext};

/// Emits the records for which a function returns true.
pub struct Filter<T, F> {
    keep: F,
    records: PhantomData<fn(T)>,
}

impl<T, F: FnMut(&T) -> bool> Filter<T, F> {
    /// Keeps the records for which `keep` returns true.
    pub fn new(keep: F) -> Self {
        Self { keep, records: PhantomData }
    }
}

impl<T: Data, F: FnMut(&T) -> bool + 'static> Operator for Filter<T, F> {
    type In = T;
    type Out = T;

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while !out.is_full() {
            let Some((record, time)) = input.next() else { break };
            if (self.keep)(&record) {
                out.emit(record, time);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;

    #[test]
    fn only_wanted_records_pass_with_their_timestamps() {
        let mut harness = Harness::new(Filter::new(|n: &i64| n % 2 == 0));
        for n in 0..5 {
            harness.push_at(n, n * 10);
        }
        assert_eq!(harness.take_output(), [(0, 0), (2, 20), (4, 40)]);
    }
}
