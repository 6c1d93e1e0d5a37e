//! `RollingAggregate`: the sum, lowest or highest of one field by key, emitted for every record in place of the field.
//!
//! The state holds the field alone, and the record that came goes on with the field changed: after a key's first record
//! nothing is copied but the field. This is the loop of a streaming word count.

use std::marker::PhantomData;
use std::ops::AddAssign;
use std::sync::Arc;

use flott_core::{Data, Key};

use super::{SharedTable, state_not_declared};
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, Cursor, Operator, OperatorContext};

/// How a field is combined with what there was of its key.
pub trait Combine<V>: 'static {
    /// Combines the two; both are the result then.
    fn combine(value: &mut V, field: &mut V);
}

/// Adds up. What happens when a sum leaves the type's range is the type's own matter.
#[derive(Debug, Clone, Copy)]
pub struct Sum;

/// Keeps the lowest.
#[derive(Debug, Clone, Copy)]
pub struct Min;

/// Keeps the highest.
#[derive(Debug, Clone, Copy)]
pub struct Max;

impl<V: Clone + AddAssign> Combine<V> for Sum {
    #[inline]
    fn combine(value: &mut V, field: &mut V) {
        *value += field.clone();
        *field = value.clone();
    }
}

impl<V: Clone + PartialOrd> Combine<V> for Min {
    #[inline]
    fn combine(value: &mut V, field: &mut V) {
        keep(value, field, *field < *value);
    }
}

impl<V: Clone + PartialOrd> Combine<V> for Max {
    #[inline]
    fn combine(value: &mut V, field: &mut V) {
        keep(value, field, *field > *value);
    }
}

#[inline]
fn keep<V: Clone>(value: &mut V, field: &mut V, new: bool) {
    if new {
        *value = field.clone();
    } else {
        *field = value.clone();
    }
}

/// How two records become one in which a field is combined; the rest of it is that of the first.
pub fn combine_field<T, V, C: Combine<V>>(
    field: impl Fn(&mut T) -> &mut V + Clone + Send + Sync + 'static,
) -> impl Fn(T, T) -> T + Clone + Send + Sync + 'static {
    move |mut kept, mut record| {
        C::combine(field(&mut kept), field(&mut record));
        kept
    }
}

/// Combines one field by key; see the module.
pub struct RollingAggregate<T, S: KeySelector<T>, V, A, C> {
    selector: Arc<S>,
    field: A,
    values: Option<SharedTable<S::Key, V>>,
    combine: PhantomData<fn(T) -> C>,
}

/// The rolling sum of a field.
pub type RollingSum<T, S, V, A> = RollingAggregate<T, S, V, A, Sum>;
/// The rolling minimum of a field.
pub type RollingMin<T, S, V, A> = RollingAggregate<T, S, V, A, Min>;
/// The rolling maximum of a field.
pub type RollingMax<T, S, V, A> = RollingAggregate<T, S, V, A, Max>;

impl<T, S, V, A, C> RollingAggregate<T, S, V, A, C>
where
    S: KeySelector<T>,
    A: FnMut(&mut T) -> &mut V,
    C: Combine<V>,
{
    /// Combines the field that `field` finds in a record. The key must not depend on it.
    pub fn new(selector: Arc<S>, field: A) -> Self {
        Self { selector, field, values: None, combine: PhantomData }
    }
}

impl<T, S, V, A, C> Operator for RollingAggregate<T, S, V, A, C>
where
    T: Data,
    S: KeySelector<T>,
    V: Data,
    A: FnMut(&mut T) -> &mut V + 'static,
    C: Combine<V>,
{
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
            let Some((mut record, time)) = input.next() else { break };
            let table = &mut *values;
            let (hash, value) = self.selector.with_key(&record, move |key| {
                let hash = key.key_hash();
                (hash, table.get_mut(hash, key))
            });
            match value {
                Some(value) => C::combine(value, (self.field)(&mut record)),
                None => {
                    let key = self.selector.with_key(&record, Clone::clone);
                    values.insert(hash, key, (self.field)(&mut record).clone());
                }
            }
            out.emit(record, time);
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
    use crate::key_selector::{Borrowed, Computed};

    type Record = (String, i64);

    fn operator<C: Combine<i64>>() -> impl Operator<In = Record, Out = Record> {
        let selector = Arc::new(Borrowed::new(|record: &Record| &record.0));
        RollingAggregate::<_, _, _, _, C>::new(selector, |record: &mut Record| &mut record.1)
    }

    #[test]
    fn the_record_goes_on_with_the_sum_in_its_field() {
        let mut harness = Harness::new(operator::<Sum>());
        for (time, (word, n)) in [("to", 1), ("be", 1), ("to", 1), ("to", 5)].into_iter().enumerate() {
            harness.push_at((word.to_owned(), n), time as i64);
        }
        let expected = [("to", 1), ("be", 1), ("to", 2), ("to", 7)];
        let expected =
            expected.into_iter().enumerate().map(|(time, (word, n))| ((word.to_owned(), n), time as i64));
        assert!(harness.take_output().into_iter().eq(expected));
    }

    #[test]
    fn keys_may_be_computed() {
        let selector = Arc::new(Computed::new(|n: &u64| n % 2));
        let mut harness = Harness::new(RollingSum::new(selector, |n: &mut u64| n));
        harness.push_all([2, 4, 6]);
        assert_eq!(harness.take_records(), [2, 6, 12]);
    }

    fn check<C: Combine<i64>>(records: &[(u8, i64)], cut: usize, combine: impl Fn(i64, i64) -> i64) {
        let mut values: HashMap<u8, i64> = HashMap::new();
        let expected = records.iter().map(|(key, n)| {
            let value = values.get(key).map_or(*n, |value| combine(*value, *n));
            values.insert(*key, value);
            (key.to_string(), value)
        });
        let push = |harness: &mut Harness<_>, records: &[(u8, i64)]| {
            harness.push_all(records.iter().map(|(key, n)| (key.to_string(), *n)));
            harness.take_records()
        };
        let mut harness = Harness::new(operator::<C>());
        let mut results = push(&mut harness, &records[..cut]);
        let mut restored = Harness::restore(operator::<C>(), harness.snapshot());
        results.extend(push(&mut restored, &records[cut..]));
        assert!(results.into_iter().eq(expected));
    }

    proptest! {
        #[test]
        fn the_results_are_those_of_a_map_also_through_a_restore(
            records in proptest::collection::vec((0..20_u8, -99..99_i64), 0..300),
            cut in 0.0..1.0_f64,
        ) {
            let cut = (records.len() as f64 * cut) as usize;
            check::<Sum>(&records, cut, |a, b| a + b);
            check::<Min>(&records, cut, i64::min);
            check::<Max>(&records, cut, i64::max);
        }
    }
}
