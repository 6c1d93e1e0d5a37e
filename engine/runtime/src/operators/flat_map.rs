//! `FlatMap`: one record in, as many out as an iterator gives.
//!
//! The iterator is pulled only while there is room, so a record may stand for more than fits into memory.

use std::marker::PhantomData;

use flott_core::{Data, Timestamp};

use crate::error::OperatorError;
use crate::operator::{Collector, Cursor, Operator, OperatorContext};

/// Gives each record to a function and emits what the iterator it returns gives, with the record's timestamp.
pub struct FlatMap<T, R: IntoIterator, F> {
    function: F,
    /// What the last record still has to give.
    rest: Option<(R::IntoIter, Timestamp)>,
    records: PhantomData<fn(T)>,
}

impl<T, R: IntoIterator, F: FnMut(T) -> R> FlatMap<T, R, F> {
    /// Maps each record to the records of `function`'s result.
    pub fn new(function: F) -> Self {
        Self { function, rest: None, records: PhantomData }
    }
}

impl<T, R, F> Operator for FlatMap<T, R, F>
where
    T: Data,
    R: IntoIterator<Item: Data> + 'static,
    F: FnMut(T) -> R + 'static,
{
    type In = T;
    type Out = R::Item;

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        out: &mut Collector<R::Item>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        loop {
            if let Some((rest, time)) = &mut self.rest {
                while !out.is_full() {
                    let Some(record) = rest.next() else { break };
                    out.emit(record, *time);
                }
                if out.is_full() {
                    // Whether the iterator has more is not known before it is asked.
                    input.hold();
                    return Ok(());
                }
                self.rest = None;
            }
            let Some((record, time)) = input.next() else { return Ok(()) };
            self.rest = Some(((self.function)(record).into_iter(), time));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;

    #[test]
    fn a_record_becomes_none_one_or_many() {
        let split = |line: String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let mut harness = Harness::new(FlatMap::new(split));
        harness.push_at("to be  or".to_owned(), 7);
        harness.push_at(String::new(), 8);
        harness.push_at("not".to_owned(), 9);
        let expected = [("to", 7), ("be", 7), ("or", 7), ("not", 9)].map(|(word, at)| (word.to_owned(), at));
        assert_eq!(harness.take_output(), expected);
    }

    #[test]
    fn an_endless_iterator_is_pulled_a_batch_at_a_time() {
        let mut harness = Harness::new(FlatMap::new(|n: u64| n..));
        harness.begin(vec![(5, 0)]);
        for step in 0..3 {
            assert!(!harness.step(), "the record is not through");
            let records = harness.take_records();
            assert_eq!(records.len(), 1024);
            assert_eq!(records[0], 5 + step * 1024);
        }
    }

    #[test]
    fn nothing_of_the_last_record_is_lost_when_the_batch_is_exactly_full() {
        let mut harness = Harness::new(FlatMap::new(|n: u64| 0..n));
        harness.push_all([1024, 0, 2048, 1]);
        let expected = (0..1024).chain(0..2048).chain(0..1);
        assert!(harness.take_records().into_iter().eq(expected));
    }
}
