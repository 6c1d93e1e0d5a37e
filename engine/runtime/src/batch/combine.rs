//! [`Combine`]: reduces records of equal keys before they are sent, as far as memory allows.
//!
//! What is emitted is a partial result a key, now and then several; [`HashAggregate`](super::HashAggregate) or
//! [`SortAggregate`](super::SortAggregate) behind the exchange makes the final one. When its table is full, everything in it is
//! emitted. Where that absorbed next to nothing, because the keys hardly repeat, records pass straight through for a while.

use std::sync::Arc;

use flott_core::Data;

use super::error::BatchError;
use super::external_sorter::Workspace;
use super::record_table::{GROUP, RecordTable};
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, Progress};

/// A table that took fewer records than so many tenths of its keys was not worth its while.
const WORTHWHILE_TENTHS: u64 = 12;

/// For so many times the records of such a table, records pass straight through.
const PASS_TABLES: u64 = 8;

/// See the module. `F` is `Fn(T, T) -> T`, associative.
pub struct Combine<T, S, F> {
    selector: Arc<S>,
    reduce: F,
    table: Option<RecordTable<T, S>>,
    /// Records taken since the table was empty.
    taken: u64,
    /// Records to pass straight through.
    pass: u64,
    /// How many records of the table are emitted, while it does.
    emitting: Option<usize>,
    /// Records that wait to be looked up together.
    group: Vec<T>,
}

impl<T: Data, S: KeySelector<T>, F: Fn(T, T) -> T + 'static> Combine<T, S, F> {
    /// Reduces records of equal keys by `reduce`, the older one first.
    pub fn new(selector: Arc<S>, reduce: F) -> Self {
        Self {
            selector,
            reduce,
            table: None,
            taken: 0,
            pass: 0,
            emitting: None,
            group: Vec::with_capacity(GROUP),
        }
    }

    /// Emits the table; true when it is empty.
    fn emit(&mut self, out: &mut Collector<T>) -> bool {
        let Self { table: Some(table), emitting: Some(number), .. } = self else { return true };
        while !out.is_full() {
            match table.take_next(number) {
                Some(record) => out.emit_untimed(record),
                None => {
                    table.clear();
                    self.emitting = None;
                    return true;
                }
            }
        }
        false
    }
}

impl<T: Data, S, F> Combine<T, S, F> {
    /// Emits records as they are while that is better; true when it no longer is.
    fn pass_through(&mut self, input: &mut Cursor<T>, out: &mut Collector<T>) -> bool {
        while self.pass > 0 && !out.is_full() {
            // Few, and only those that found the table full.
            let held = (!self.group.is_empty()).then(|| self.group.remove(0));
            let Some(record) = held.or_else(|| input.next().map(|(record, _)| record)) else { return false };
            out.emit_untimed(record);
            self.pass -= 1;
        }
        self.pass == 0
    }
}

impl<T: Data, S: KeySelector<T>, F: Fn(T, T) -> T + 'static> Operator for Combine<T, S, F> {
    type In = T;
    type Out = T;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let workspace = Workspace::of(context.info);
        self.table = Some(RecordTable::new(Arc::clone(&self.selector), workspace.memory));
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while self.emit(out) && self.pass_through(input, out) {
            let Some(table) = &mut self.table else { return Err(BatchError::OutOfOrder("combine").into()) };
            loop {
                if self.group.is_empty() {
                    while self.group.len() < GROUP
                        && let Some((record, _)) = input.next()
                    {
                        self.group.push(record);
                    }
                }
                let waiting = self.group.len();
                if waiting == 0 {
                    return Ok(());
                }
                let has_room = table.add_group(&mut self.group, &self.reduce);
                self.taken += (waiting - self.group.len()) as u64;
                if !has_room {
                    break;
                }
            }
            let (taken, keys) = (std::mem::take(&mut self.taken), table.len() as u64);
            if taken * 10 < keys * WORTHWHILE_TENTHS {
                self.pass = PASS_TABLES * keys;
            }
            self.emitting = Some(0);
        }
        Ok(())
    }

    fn end(
        &mut self,
        out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        if self.table.as_ref().is_some_and(|table| table.len() > 0) {
            self.emitting.get_or_insert(0);
        }
        if !self.emit(out) {
            return Ok(Progress::More);
        }
        self.group.drain(..).for_each(|record| out.emit_untimed(record));
        Ok(Progress::Done)
    }

    fn close(&mut self) {
        self.table = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::harness::{Harness, HarnessConfig};
    use crate::key_selector::Borrowed;

    type Pair = (String, u64);

    fn combine(records: impl IntoIterator<Item = Pair>, managed_memory: usize) -> Vec<Pair> {
        let sum = |a: Pair, b: Pair| (a.0, a.1 + b.1);
        let operator = Combine::new(Arc::new(Borrowed::new(|r: &Pair| &r.0)), sum);
        let mut harness =
            Harness::with_config(operator, HarnessConfig { managed_memory, ..Default::default() });
        let records: Vec<Pair> = records.into_iter().collect();
        for batch in records.chunks(1000) {
            harness.push_all(batch.iter().cloned());
        }
        harness.end();
        harness.take_records()
    }

    fn totals(records: impl IntoIterator<Item = Pair>) -> BTreeMap<String, u64> {
        let mut totals = BTreeMap::new();
        for (key, n) in records {
            *totals.entry(key).or_insert(0) += n;
        }
        totals
    }

    #[test]
    fn one_record_a_key_when_there_is_room() {
        let records = (0..50_000_u64).map(|n| (format!("key {}", n % 3000), n));
        let combined = combine(records.clone(), 4 << 20);
        assert_eq!(combined.len(), 3000);
        assert_eq!(totals(combined), totals(records));
    }

    #[test]
    fn goes_on_when_there_is_none() {
        let records = (0..50_000_u64).map(|n| (format!("key {}", n % 3000 / (1 + n / 1000 % 7)), n));
        let combined = combine(records.clone(), 64 << 10);
        assert!((3000..50_000).contains(&combined.len()), "{}", combined.len());
        assert_eq!(totals(combined), totals(records));
    }

    #[test]
    fn keys_that_do_not_repeat_pass_straight_through() {
        let operator = Combine::new(Arc::new(Borrowed::new(|n: &u64| n)), |a, _| a);
        let config = HarnessConfig { managed_memory: 64 << 10, ..Default::default() };
        let mut harness = Harness::with_config(operator, config);
        harness.push_all(0..5000);
        assert!(harness.operator().pass > 0);
        harness.take_records();
        harness.push(7);
        harness.push(7);
        assert_eq!(harness.take_records(), [7, 7]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn totals_stay(keys in prop::collection::vec("[a-d]{0,6}", 0..3000), segments in 0_usize..4) {
            let records: Vec<Pair> = keys.into_iter().zip(0..).collect();
            prop_assert_eq!(totals(combine(records.clone(), segments << 15)), totals(records));
        }
    }
}
