//! `Count`: how many records a subtask gets, emitted when its input ends.

use std::marker::PhantomData;

use flott_core::Data;

use crate::error::OperatorError;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, Progress};

/// Counts records, for a whole bounded input: it keeps no state that a checkpoint would hold.
pub struct Count<T> {
    /// None when it was emitted.
    count: Option<u64>,
    records: PhantomData<fn(T)>,
}

impl<T> Count<T> {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self { count: Some(0), records: PhantomData }
    }
}

impl<T> Default for Count<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Data> Operator for Count<T> {
    type In = T;
    type Out = u64;

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<u64>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let mut seen = 0;
        while input.next().is_some() {
            seen += 1;
        }
        if let Some(count) = &mut self.count {
            *count += seen;
        }
        Ok(())
    }

    fn end(
        &mut self,
        out: &mut Collector<u64>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        if let Some(count) = self.count.take() {
            out.emit_untimed(count);
        }
        Ok(Progress::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;

    #[test]
    fn the_count_comes_once_at_the_end() {
        let mut harness = Harness::new(Count::<String>::new());
        harness.push_all((0..3000).map(|n| n.to_string()));
        assert!(harness.take_records().is_empty());
        harness.end();
        assert_eq!(harness.take_records(), [3000]);
        let mut empty = Harness::new(Count::<u8>::new());
        empty.end();
        assert_eq!(empty.take_records(), [0]);
    }
}
