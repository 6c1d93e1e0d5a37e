//! `Discard`: a sink that takes records and forgets them.

use std::marker::PhantomData;

use flott_core::Data;

use crate::error::OperatorError;
use crate::operator::{Collector, Cursor, Operator, OperatorContext};

/// Drops every record.
pub struct Discard<T> {
    records: PhantomData<fn(T)>,
}

impl<T> Default for Discard<T> {
    fn default() -> Self {
        Self { records: PhantomData }
    }
}

impl<T: Data> Discard<T> {
    /// A sink that drops every record.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<T: Data> Operator for Discard<T> {
    type In = T;
    type Out = ();

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<()>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while input.next().is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;

    #[test]
    fn nothing_comes_out() {
        let mut harness = Harness::new(Discard::new());
        harness.push_all(0..5000_u64);
        harness.end();
        assert!(harness.take_output().is_empty());
    }
}
