//! `KeyedReduce`: combines each record with what there was of its key, and emits the new value every time.

use std::sync::Arc;

use flott_core::{Data, Key};

use super::{SharedTable, state_not_declared};
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, Cursor, Operator, OperatorContext};

/// A rolling reduce: the key's value is its first record, into which the later ones are reduced.
pub struct KeyedReduce<T, S: KeySelector<T>, F> {
    selector: Arc<S>,
    reduce: F,
    values: Option<SharedTable<S::Key, T>>,
}

impl<T, S: KeySelector<T>, F: FnMut(&mut T, T)> KeyedReduce<T, S, F> {
    /// Reduces by `reduce`, which changes the value there is by the record that came.
    pub fn new(selector: Arc<S>, reduce: F) -> Self {
        Self { selector, reduce, values: None }
    }
}

impl<T: Data, S: KeySelector<T>, F: FnMut(&mut T, T) + 'static> Operator for KeyedReduce<T, S, F> {
    type In = T;
    type Out = T;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        self.values = Some(context.state.table("value")?);
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let Some(values) = &self.values else { return Err(state_not_declared()) };
        let values = &mut *values.borrow_mut();
        while !out.is_full() {
            let Some((record, time)) = input.next() else { break };
            let table = &mut *values;
            let (hash, value) = self.selector.with_key(&record, move |key| {
                let hash = key.key_hash();
                (hash, table.get_mut(hash, key))
            });
            match value {
                Some(value) => {
                    (self.reduce)(value, record);
                    out.emit(value.clone(), time);
                }
                None => {
                    let key = self.selector.with_key(&record, Clone::clone);
                    values.insert(hash, key, record.clone());
                    out.emit(record, time);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::harness::Harness;
    use crate::key_selector::Borrowed;

    type Record = (String, i64);

    fn operator()
    -> KeyedReduce<Record, impl KeySelector<Record, Key = String>, impl FnMut(&mut Record, Record)> {
        let selector = Arc::new(Borrowed::new(|record: &Record| &record.0));
        KeyedReduce::new(selector, |value: &mut Record, record: Record| value.1 = value.1.max(record.1) + 1)
    }

    fn oracle(records: &[(u8, i64)]) -> Vec<Record> {
        let mut values: HashMap<String, i64> = HashMap::new();
        let outputs = records.iter().map(|(key, n)| {
            let key = key.to_string();
            let value = values.get(&key).map_or(*n, |value| (*value).max(*n) + 1);
            values.insert(key.clone(), value);
            (key, value)
        });
        outputs.collect()
    }

    fn push(harness: &mut Harness<impl Operator<In = Record, Out = Record>>, records: &[(u8, i64)]) {
        harness.push_all(records.iter().map(|(key, n)| (key.to_string(), *n)));
    }

    #[test]
    fn every_record_gives_the_keys_new_value() {
        let mut harness = Harness::new(operator());
        harness.push_at(("a".to_owned(), 5), 10);
        harness.push_at(("b".to_owned(), 7), 11);
        harness.push_at(("a".to_owned(), 1), 12);
        let expected = [(("a".to_owned(), 5), 10), (("b".to_owned(), 7), 11), (("a".to_owned(), 6), 12)];
        assert_eq!(harness.take_output(), expected);
    }

    proptest! {
        #[test]
        fn the_results_are_those_of_a_map_also_through_a_restore(
            records in proptest::collection::vec((0..20_u8, -9..9_i64), 0..300),
            cut in 0.0..1.0_f64,
        ) {
            let cut = (records.len() as f64 * cut) as usize;
            let mut harness = Harness::new(operator());
            push(&mut harness, &records[..cut]);
            let mut results = harness.take_records();
            harness.begin_snapshot();
            // What comes while the snapshot is written does not belong to it.
            push(&mut harness, &records[cut..]);
            let mut restored = Harness::restore(operator(), harness.write_snapshot());
            push(&mut restored, &records[cut..]);
            let rest = restored.take_records();
            prop_assert_eq!(harness.take_records(), rest.clone());
            results.extend(rest);
            prop_assert_eq!(results, oracle(&records));
        }
    }
}
