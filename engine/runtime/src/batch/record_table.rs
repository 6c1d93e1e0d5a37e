//! [`RecordTable`]: one record a key, kept and found by the key that is in it; the key is never copied.
//!
//! Records lie in chunks, in the order their keys first came, so that those of frequent keys lie together and the processor's cache
//! holds them. Slots of four bytes with linear probing lead to them: the low bits of a slot are the record's number, the others
//! are those of the hash that did not choose the place, so that records with other keys are hardly ever looked at.
//!
//! What slots, chunks and the records' own heap take is charged before it is used. A record too many is handed back; then the
//! caller takes the records out and goes on with an empty table.

use std::sync::Arc;

use flott_core::memory::ManagedMemory;
use flott_core::{Data, Key};

use super::grant::Grant;
use crate::key_selector::KeySelector;

/// The bytes of one chunk of records, about.
const CHUNK_BYTES: usize = 8 * 1024;

/// The fewest slots there are once there is a record.
const FEWEST_SLOTS: usize = 64;

/// The most slots: at least one bit is left of the hash.
const MOST_SLOTS: usize = 1 << 31;

/// How many records are looked up together.
pub(super) const GROUP: usize = 32;

/// A slot without record.
const EMPTY: u32 = 0;

/// See the module.
pub(super) struct RecordTable<T, S> {
    selector: Arc<S>,
    /// A power of two of them, or none. The low bits, as many as number the slots, are the number of the record plus one.
    slots: Vec<u32>,
    /// A record is missing only while it is being reduced, and after it was taken out.
    chunks: Vec<Vec<Option<T>>>,
    len: usize,
    grant: Grant,
    /// What the records own outside of their chunks, by estimate.
    heap_bytes: usize,
    /// A record has grown beyond the budget.
    is_over: bool,
}

impl<T: Data, S: KeySelector<T>> RecordTable<T, S> {
    /// Two to the power of this are a chunk's records.
    const CHUNK_SHIFT: u32 = {
        let size = size_of::<Option<T>>();
        let records = CHUNK_BYTES / if size == 0 { 1 } else { size };
        if records < 8 { 3 } else { records.ilog2() }
    };

    const IN_CHUNK: usize = (1 << Self::CHUNK_SHIFT) - 1;

    /// An empty table within `memory`.
    pub(super) fn new(selector: Arc<S>, memory: ManagedMemory) -> Self {
        Self {
            selector,
            slots: Vec::new(),
            chunks: Vec::new(),
            len: 0,
            grant: Grant::new(memory),
            heap_bytes: 0,
            is_over: false,
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes a record, or reduces it into the one of its key. Hands it back if there is no memory for it; an empty table
    /// always has room for one.
    #[inline]
    pub(super) fn add(&mut self, record: T, reduce: &impl Fn(T, T) -> T) -> Result<(), T> {
        if self.is_over {
            return Err(record);
        }
        let hash = self.hash_of(&record);
        self.add_hashed(hash, record, reduce)
    }

    /// Takes records from the front of `group`, at most [`GROUP`] of them, like [`add`](Self::add). False: there is no memory for the
    /// first one that is left.
    ///
    /// What they need of the table is looked up for all of them before any is reduced: so the processor waits for the memory of many at
    /// once instead of one after the other.
    #[inline]
    pub(super) fn add_group(&mut self, group: &mut Vec<T>, reduce: &impl Fn(T, T) -> T) -> bool {
        let (mut hashes, mut numbers) = ([0; GROUP], [None; GROUP]);
        let count = group.len().min(GROUP);
        for (hash, record) in hashes.iter_mut().zip(group.iter()) {
            *hash = self.hash_of(record);
        }
        for (number, hash) in numbers.iter_mut().zip(&hashes[..count]) {
            *number = self.first_candidate(*hash);
        }
        // Nothing depends on what is read here, so all of it is on its way before the first key is compared.
        let there =
            |number: &usize| self.chunks[number >> Self::CHUNK_SHIFT][number & Self::IN_CHUNK].is_some();
        std::hint::black_box(numbers.iter().flatten().fold(true, |all, number| all & there(number)));
        for (number, record) in numbers.iter_mut().zip(group.iter()) {
            *number = number.filter(|number| self.has_key_of(*number, record));
        }
        let mut records = group.drain(..);
        for (hash, number) in hashes.into_iter().zip(numbers).take(count) {
            let Some(record) = records.next() else { break };
            let added = match number {
                // Records never move, so it is still there.
                Some(number) if !self.is_over => {
                    self.reduce_into(number, record, reduce);
                    Ok(())
                }
                _ if self.is_over => Err(record),
                _ => self.add_hashed(hash, record, reduce),
            };
            if let Err(record) = added {
                let left = std::iter::once(record).chain(records).collect();
                *group = left;
                return false;
            }
        }
        true
    }

    #[inline]
    fn hash_of(&self, record: &T) -> u32 {
        self.selector.with_key(record, |key| key.key_hash().bits() as u32)
    }

    fn add_hashed(&mut self, hash: u32, record: T, reduce: &impl Fn(T, T) -> T) -> Result<(), T> {
        match self.find(hash, &record) {
            Some(number) => self.reduce_into(number, record, reduce),
            None => self.insert(hash, record)?,
        }
        Ok(())
    }

    #[inline]
    fn reduce_into(&mut self, number: usize, record: T, reduce: &impl Fn(T, T) -> T) {
        let kept = &mut self.chunks[number >> Self::CHUNK_SHIFT][number & Self::IN_CHUNK];
        if let Some(before) = kept.take() {
            let bytes_before = heap_bytes(&before);
            let after = reduce(before, record);
            let bytes_after = heap_bytes(&after);
            *kept = Some(after);
            if bytes_after != bytes_before {
                self.heap_bytes = (self.heap_bytes + bytes_after).saturating_sub(bytes_before);
                self.is_over = !self.grant.allows(self.bytes());
            }
        }
    }

    /// The number of the record with the same key.
    #[inline]
    fn find(&self, hash: u32, record: &T) -> Option<usize> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut place = hash as usize & mask;
        while let Some(slot) = self.slots.get(place).copied().filter(|slot| *slot != EMPTY) {
            let candidate = number_in(slot, hash, mask).filter(|number| self.has_key_of(*number, record));
            if candidate.is_some() {
                return candidate;
            }
            place = (place + 1) & mask;
        }
        None
    }

    /// The number of the first record whose key may have this hash.
    #[inline]
    fn first_candidate(&self, hash: u32) -> Option<usize> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut place = hash as usize & mask;
        while let Some(slot) = self.slots.get(place).copied().filter(|slot| *slot != EMPTY) {
            let candidate = number_in(slot, hash, mask);
            if candidate.is_some() {
                return candidate;
            }
            place = (place + 1) & mask;
        }
        None
    }

    #[inline]
    fn has_key_of(&self, number: usize, record: &T) -> bool {
        let kept = &self.chunks[number >> Self::CHUNK_SHIFT][number & Self::IN_CHUNK];
        let equal =
            |kept| self.selector.with_key(kept, |one| self.selector.with_key(record, |other| one == other));
        kept.as_ref().is_some_and(equal)
    }

    fn bytes(&self) -> usize {
        size_of_val(self.slots.as_slice()) + self.chunks.len() * Self::chunk_bytes() + self.heap_bytes
    }

    const fn chunk_bytes() -> usize {
        size_of::<Option<T>>() << Self::CHUNK_SHIFT
    }

    #[inline(never)]
    fn insert(&mut self, hash: u32, record: T) -> Result<(), T> {
        // Two thirds full at most, so that every number fits into the bits that number the slots.
        let grows = 3 * self.len >= 2 * self.slots.len();
        let slots = if grows { (2 * self.slots.len()).max(FEWEST_SLOTS) } else { 0 };
        let chunk = self.len >> Self::CHUNK_SHIFT;
        let needs_chunk = chunk == self.chunks.len();
        let more = slots * size_of::<u32>()
            + if needs_chunk { Self::chunk_bytes() } else { 0 }
            + heap_bytes(&record);
        if slots > MOST_SLOTS || !self.grant.allows(self.bytes() + more) {
            if self.len > 0 {
                return Err(record);
            }
            self.is_over = true;
        }
        if grows {
            self.grow(slots);
        }
        if needs_chunk {
            self.chunks.push(Vec::with_capacity(1 << Self::CHUNK_SHIFT));
        }
        self.heap_bytes += heap_bytes(&record);
        self.chunks[chunk].push(Some(record));
        put(&mut self.slots, hash, self.len);
        self.len += 1;
        Ok(())
    }

    fn grow(&mut self, slots: usize) {
        // The old slots go first: the new ones are found by the records.
        self.slots = Vec::new();
        let mut grown = vec![EMPTY; slots];
        for (number, record) in self.chunks.iter().flatten().enumerate() {
            if let Some(record) = record {
                let hash = self.selector.with_key(record, |key| key.key_hash().bits() as u32);
                put(&mut grown, hash, number);
            }
        }
        self.slots = grown;
    }

    /// Takes record number `number` out and counts it up; none at the end. After that, [`clear`](Self::clear).
    #[inline]
    pub(super) fn take_next(&mut self, number: &mut usize) -> Option<T> {
        let chunk = self.chunks.get_mut(*number >> Self::CHUNK_SHIFT)?;
        let record = chunk.get_mut(*number & Self::IN_CHUNK)?.take();
        *number += 1;
        record
    }

    /// Empties the table; what it is made of stays, unless a record beyond the budget was in it.
    pub(super) fn clear(&mut self) {
        if self.is_over {
            return self.release();
        }
        self.slots.fill(EMPTY);
        self.chunks.iter_mut().for_each(Vec::clear);
        self.len = 0;
        self.heap_bytes = 0;
    }

    /// Empties the table and gives all memory back.
    pub(super) fn release(&mut self) {
        self.slots = Vec::new();
        self.chunks = Vec::new();
        self.len = 0;
        self.heap_bytes = 0;
        self.is_over = false;
        self.grant.release();
    }
}

/// The number of the record a slot leads to, if its key may have this hash.
#[inline]
fn number_in(slot: u32, hash: u32, mask: usize) -> Option<usize> {
    let number = (slot ^ (hash & !(mask as u32))) as usize;
    (number <= mask).then(|| number.wrapping_sub(1))
}

/// Leads to record `number` from the first free place from that of its hash on.
#[inline]
fn put(slots: &mut [u32], hash: u32, number: usize) {
    let mask = slots.len() - 1;
    let mut place = hash as usize & mask;
    while slots[place] != EMPTY {
        place = (place + 1) & mask;
    }
    slots[place] = hash & !(mask as u32) | (number + 1) as u32;
}

/// What a record owns outside of itself.
#[inline]
fn heap_bytes<T: Data>(record: &T) -> usize {
    if T::FIXED_SIZE { 0 } else { record.size_estimate().saturating_sub(size_of::<T>()) }
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
        let mut number = 0;
        let records = std::iter::from_fn(|| table.take_next(&mut number)).collect();
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
            assert!(table.bytes() <= charged);
        }
        assert!(n >= 20_000, "{n}");
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
