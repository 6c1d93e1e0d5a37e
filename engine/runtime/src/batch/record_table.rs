//! [`RecordTable`]: one record a key, kept and found by the key that is in it; the key is never copied.
//!
//! What the table's slots and the records' own heap take is charged before it is used. A record too many is handed back;
//! then the caller empties the table, slot by slot, and goes on.

use std::sync::Arc;

use flott_core::memory::ManagedMemory;
use flott_core::{Data, Key};
use hashbrown::HashTable;

use super::grant::Grant;
use crate::key_selector::KeySelector;

/// The fewest slots of a table.
const FEWEST: usize = 16;

/// See the module.
pub(super) struct RecordTable<T, S> {
    selector: Arc<S>,
    /// A slot is empty only while its record is being reduced.
    slots: HashTable<Option<T>>,
    grant: Grant,
    /// What the records own outside of their slots, by estimate.
    heap_bytes: usize,
    /// A record has grown beyond the budget.
    is_over: bool,
}

impl<T: Data, S: KeySelector<T>> RecordTable<T, S> {
    /// An empty table within `memory`.
    pub(super) fn new(selector: Arc<S>, memory: ManagedMemory) -> Self {
        Self { selector, slots: HashTable::new(), grant: Grant::new(memory), heap_bytes: 0, is_over: false }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes a record, or reduces it into the one of its key. Hands it back if there is no memory for it; an empty table
    /// always has room for one.
    #[inline]
    pub(super) fn add(&mut self, record: T, reduce: &impl Fn(T, T) -> T) -> Result<(), T> {
        if self.is_over {
            return Err(record);
        }
        let Self { selector, slots, .. } = self;
        let (hash, slot) = selector.with_key(&record, |key| {
            let hash = key.key_hash().bits();
            let has_key = |slot: &Option<T>| {
                slot.as_ref().is_some_and(|kept| selector.with_key(kept, |kept_key| kept_key == key))
            };
            (hash, slots.find_mut(hash, has_key))
        });
        let Some(slot) = slot else { return self.insert(hash, record) };
        if let Some(kept) = slot.take() {
            let before = heap_bytes(&kept);
            let reduced = reduce(kept, record);
            let after = heap_bytes(&reduced);
            *slot = Some(reduced);
            if after != before {
                self.heap_bytes = (self.heap_bytes + after).saturating_sub(before);
                self.is_over = !self.grant.allows(self.slots.allocation_size() + self.heap_bytes);
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn insert(&mut self, hash: u64, record: T) -> Result<(), T> {
        let heap = self.heap_bytes + heap_bytes(&record);
        let grows = self.slots.len() == self.slots.capacity();
        let slots_after =
            if grows { 2 * self.slots.capacity().max(FEWEST / 2) } else { self.slots.capacity() };
        // While the table grows, the old slots are there, too.
        let table = self.slots.allocation_size() + if grows { table_bytes::<T>(slots_after) } else { 0 };
        if !self.grant.allows(table + heap) {
            if !self.slots.is_empty() {
                return Err(record);
            }
            self.is_over = true;
        }
        let selector = &self.selector;
        let hash_of = |slot: &Option<T>| {
            slot.as_ref().map_or(0, |record| selector.with_key(record, |key| key.key_hash().bits()))
        };
        if grows {
            self.slots.reserve(slots_after - self.slots.len(), hash_of);
        }
        self.slots.insert_unique(hash, Some(record), hash_of);
        self.heap_bytes = heap;
        Ok(())
    }

    /// Takes a record out, from place `place` on, which moves behind it; none at the end of the table. After that,
    /// [`clear`](Self::clear).
    #[inline]
    pub(super) fn take_from(&mut self, place: &mut usize) -> Option<T> {
        while *place < self.slots.num_buckets() {
            let slot = self.slots.get_bucket_mut(*place);
            *place += 1;
            if let Some(record) = slot.and_then(Option::take) {
                return Some(record);
            }
        }
        None
    }

    /// Empties the table; its slots stay, unless a record beyond the budget was in them.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.heap_bytes = 0;
        if self.is_over {
            self.release();
        }
    }

    /// Empties the table and gives all memory back.
    pub(super) fn release(&mut self) {
        self.slots = HashTable::new();
        self.heap_bytes = 0;
        self.is_over = false;
        self.grant.release();
    }
}

/// What a record owns outside of itself.
#[inline]
fn heap_bytes<T: Data>(record: &T) -> usize {
    if T::FIXED_SIZE { 0 } else { record.size_estimate().saturating_sub(size_of::<T>()) }
}

/// What a table for `records` takes: slots and a byte of control for each, a power of two at most 7/8 full.
fn table_bytes<T>(records: usize) -> usize {
    (records * 8 / 7 + 1).next_power_of_two() * (size_of::<Option<T>>() + 1) + 32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flott_core::memory::SEGMENT_BYTES;
    use proptest::prelude::*;

    use super::*;
    use crate::key_selector::Borrowed;

    type Pair = (String, u64);

    fn sum(a: Pair, b: Pair) -> Pair {
        (a.0, a.1 + b.1)
    }

    fn empty<T: Data, S: KeySelector<T>>(table: &mut RecordTable<T, S>) -> Vec<T> {
        let mut place = 0;
        let records = std::iter::from_fn(|| table.take_from(&mut place)).collect();
        table.clear();
        records
    }

    #[test]
    fn a_record_that_grows_beyond_the_budget_closes_the_table() {
        let select = Arc::new(Borrowed::new(|r: &(u32, String)| &r.0));
        let mut table = RecordTable::new(select, ManagedMemory::of_bytes(2 * SEGMENT_BYTES));
        let join = |a: (u32, String), b: (u32, String)| (a.0, a.1 + &b.1);
        let text = "x".repeat(40_000);
        assert!(table.add((1, text.clone()), &join).is_ok());
        assert!(table.add((1, text.clone()), &join).is_ok());
        assert_eq!(table.add((1, "y".into()), &join), Err((1, "y".into())));
        assert_eq!(empty(&mut table)[0].1.len(), 80_000);
        assert!(table.add((1, "y".into()), &join).is_ok());
    }

    #[test]
    fn a_table_without_memory_holds_one_record() {
        let select = Arc::new(Borrowed::new(|r: &u64| r));
        let mut table = RecordTable::new(select, ManagedMemory::of_bytes(0));
        for n in 0..3 {
            assert_eq!(table.add(n, &|a, _| a), Ok(()));
            assert_eq!(table.add(n + 1, &|a, _| a), Err(n + 1));
            assert_eq!(empty(&mut table), [n]);
        }
    }

    #[test]
    fn the_charge_covers_what_the_table_takes() {
        let memory = ManagedMemory::of_bytes(1 << 20);
        let mut table = RecordTable::new(Arc::new(Borrowed::new(|r: &(u64, u64)| &r.0)), memory.clone());
        let mut n = 0;
        while table.add((n, 1), &|a, _| a).is_ok() {
            n += 1;
            let charged = (memory.total_segments() - memory.free_segments()) * SEGMENT_BYTES;
            assert!(table.slots.allocation_size() <= charged);
        }
        assert!(n >= 14_000, "{n}");
        assert_eq!(empty(&mut table).len() as u64, n);
        table.release();
        assert_eq!(memory.free_segments(), memory.total_segments());
    }

    proptest! {
        #[test]
        fn sums_by_key(words in prop::collection::vec("[a-c]{0,3}", 0..300), segments in 0_usize..4) {
            let memory = ManagedMemory::of_bytes(segments * SEGMENT_BYTES);
            let mut table = RecordTable::new(Arc::new(Borrowed::new(|r: &Pair| &r.0)), memory);
            let (mut expected, mut emitted) = (BTreeMap::new(), Vec::new());
            for word in words {
                *expected.entry(word.clone()).or_insert(0) += 1;
                if let Err(record) = table.add((word, 1), &sum) {
                    emitted.append(&mut empty(&mut table));
                    table.add(record, &sum).unwrap();
                }
            }
            if segments > 0 {
                prop_assert!(emitted.is_empty());
                prop_assert_eq!(table.len(), expected.len());
            }
            emitted.append(&mut empty(&mut table));
            let mut sums = BTreeMap::new();
            for (word, count) in emitted {
                *sums.entry(word).or_insert(0) += count;
            }
            prop_assert_eq!(sums, expected);
        }
    }
}
