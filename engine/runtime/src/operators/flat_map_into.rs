//! `FlatMapInto`: one record in, as many out as the function puts into an emitter.
//!
//! The fast way to split lines: nothing is kept between two records, so nothing is boxed or looked at twice. What one
//! record gives goes out together, beyond the size of a batch if need be; a record that stands for more than fits into
//! memory belongs to [`FlatMap`](super::FlatMap).

use std::marker::PhantomData;

use flott_core::Data;

use super::Emitter;
use crate::error::OperatorError;
use crate::operator::{Collector, Cursor, Operator, OperatorContext};

/// Gives each record to a function, with an [`Emitter`] for what it makes of it.
pub struct FlatMapInto<I, O, F> {
    function: F,
    records: PhantomData<fn(I) -> O>,
}

impl<I, O, F: FnMut(I, &mut Emitter<'_, O>)> FlatMapInto<I, O, F> {
    /// Maps each record to what `function` emits.
    pub fn new(function: F) -> Self {
        Self { function, records: PhantomData }
    }
}

impl<I, O, F> Operator for FlatMapInto<I, O, F>
where
    I: Data,
    O: Data,
    F: FnMut(I, &mut Emitter<'_, O>) + 'static,
{
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
            (self.function)(record, &mut Emitter::new(out, time));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;

    #[test]
    fn what_the_function_emits_keeps_the_timestamp_unless_it_says_otherwise() {
        let mut harness = Harness::new(FlatMapInto::new(|n: i64, out: &mut Emitter<'_, i64>| {
            (0..n).for_each(|i| out.emit(i));
            out.emit_at(-1, 99);
        }));
        harness.push_at(2, 7);
        harness.push_at(0, 8);
        assert_eq!(harness.take_output(), [(0, 7), (1, 7), (-1, 99), (-1, 99)]);
    }
}
