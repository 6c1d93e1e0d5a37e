//! The build side of a join while it comes in: records in memory by part, until there are too many.

use std::sync::Arc;

use flott_core::memory::ManagedMemory;
use flott_core::{Data, Key};
use hashbrown::HashTable;

use crate::batch::grant::Grant;
use crate::key_selector::KeySelector;

/// The bytes of one chunk of records, about.
const CHUNK_BYTES: usize = 8 * 1024;

/// What finding a record takes later: a link, and at most two slots of the table with a byte of control each.
const INDEX_BYTES: usize = 16;

/// No record.
const NONE: u32 = u32::MAX;

/// The records of one part.
struct Resident<B> {
    chunks: Vec<Vec<B>>,
    records: usize,
    /// What the records own outside of their chunks, by estimate.
    heap_bytes: usize,
}

impl<B> Default for Resident<B> {
    fn default() -> Self {
        Self { chunks: Vec::new(), records: 0, heap_bytes: 0 }
    }
}

impl<B> Resident<B> {
    fn bytes(&self) -> usize {
        self.chunks.len() * chunk_charge::<B>() + self.heap_bytes
    }
}

const fn chunk_records<B>() -> usize {
    let size = if size_of::<B>() == 0 { 1 } else { size_of::<B>() };
    let records = CHUNK_BYTES / size;
    if records < 8 { 8 } else { records }
}

const fn chunk_charge<B>() -> usize {
    chunk_records::<B>() * (size_of::<B>() + INDEX_BYTES)
}

/// Records by part, charged to managed memory.
pub(super) struct BuildSide<B> {
    parts: Vec<Resident<B>>,
    used: usize,
    records: usize,
    grant: Grant,
}

impl<B: Data> BuildSide<B> {
    /// An empty build side of `parts` parts.
    pub(super) fn new(parts: usize, memory: ManagedMemory) -> Self {
        Self {
            parts: (0..parts).map(|_| Resident::default()).collect(),
            used: 0,
            records: 0,
            grant: Grant::new(memory),
        }
    }

    /// Keeps a record of part `part`, or hands it back if there is no memory for it. With nothing else in it, there
    /// always is.
    #[inline]
    pub(super) fn add(&mut self, part: usize, record: B) -> Result<(), B> {
        let resident = &mut self.parts[part];
        let needs_chunk = resident.chunks.last().is_none_or(|chunk| chunk.len() == chunk.capacity());
        let chunk = if needs_chunk { chunk_charge::<B>() } else { 0 };
        let heap = if B::FIXED_SIZE { 0 } else { record.size_estimate().saturating_sub(size_of::<B>()) };
        let room = self.records < NONE as usize / 2 && self.grant.allows(self.used + chunk + heap);
        if !room && self.records > 0 {
            return Err(record);
        }
        if needs_chunk {
            resident.chunks.push(Vec::with_capacity(chunk_records::<B>()));
        }
        if let Some(chunk) = resident.chunks.last_mut() {
            chunk.push(record);
        }
        resident.records += 1;
        resident.heap_bytes += heap;
        self.records += 1;
        self.used += chunk + heap;
        Ok(())
    }

    /// The part that takes most memory.
    pub(super) fn largest(&self) -> usize {
        (0..self.parts.len()).max_by_key(|part| self.parts[*part].bytes()).unwrap_or(0)
    }

    /// Takes some of a part's records out; none when it is empty.
    pub(super) fn take_chunk(&mut self, part: usize) -> Option<Vec<B>> {
        let resident = &mut self.parts[part];
        let Some(chunk) = resident.chunks.pop() else {
            self.used -= std::mem::take(&mut resident.heap_bytes);
            return None;
        };
        resident.records -= chunk.len();
        self.records -= chunk.len();
        self.used -= chunk_charge::<B>();
        Some(chunk)
    }

    /// The records, to be indexed.
    pub(super) fn into_table<S: KeySelector<B>>(self, selector: Arc<S>) -> JoinTable<B, S> {
        let chunks: Vec<Vec<B>> = self.parts.into_iter().flat_map(|part| part.chunks).collect();
        JoinTable {
            selector,
            heads: HashTable::with_capacity(self.records),
            links: vec![NONE; chunks.len() * chunk_records::<B>()],
            chunks,
            indexed: 0,
            _grant: self.grant,
        }
    }
}

/// The build side in memory, by key. A record's number is its place: chunk and position.
pub(super) struct JoinTable<B, S> {
    selector: Arc<S>,
    chunks: Vec<Vec<B>>,
    /// The last record of each key.
    heads: HashTable<u32>,
    /// For each record the one before it with the same key.
    links: Vec<u32>,
    /// How many chunks are indexed.
    indexed: usize,
    _grant: Grant,
}

impl<B: Data, S: KeySelector<B>> JoinTable<B, S> {
    /// Indexes some records; true when all are.
    pub(super) fn index_some(&mut self) -> bool {
        let (chunks, selector) = (&self.chunks, &self.selector);
        let Some(chunk) = chunks.get(self.indexed) else { return true };
        let first = self.indexed * chunk_records::<B>();
        for (place, record) in chunk.iter().enumerate() {
            let number = (first + place) as u32;
            selector.with_key(record, |key| {
                let entry = self.heads.entry(
                    key.key_hash().bits(),
                    |head| selector.with_key(at(chunks, *head), |other| other == key),
                    |head| selector.with_key(at(chunks, *head), |other| other.key_hash().bits()),
                );
                match entry {
                    hashbrown::hash_table::Entry::Occupied(mut head) => {
                        self.links[number as usize] = std::mem::replace(head.get_mut(), number);
                    }
                    hashbrown::hash_table::Entry::Vacant(place) => {
                        place.insert(number);
                    }
                }
            });
        }
        self.indexed += 1;
        self.indexed == chunks.len()
    }

    /// The number of a record with this key.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &S::Key) -> Option<u32> {
        let has_key = |head: &u32| self.selector.with_key(at(&self.chunks, *head), |other| other == key);
        self.heads.find(hash, has_key).copied()
    }

    /// The number of the next record with the same key.
    #[inline]
    pub(super) fn next(&self, number: u32) -> Option<u32> {
        Some(self.links[number as usize]).filter(|next| *next != NONE)
    }

    /// The record with this number.
    #[inline]
    pub(super) fn record(&self, number: u32) -> &B {
        at(&self.chunks, number)
    }
}

#[inline]
fn at<B>(chunks: &[Vec<B>], number: u32) -> &B {
    let number = number as usize;
    &chunks[number / chunk_records::<B>()][number % chunk_records::<B>()]
}

#[cfg(test)]
mod tests {
    use flott_core::memory::SEGMENT_BYTES;

    use super::*;
    use crate::key_selector::Borrowed;

    type Row = (u32, String);

    #[test]
    fn finds_every_record_of_a_key() {
        let mut build = BuildSide::new(3, ManagedMemory::of_bytes(1 << 20));
        for n in 0..3000_u32 {
            build.add(n as usize % 3, (n % 1000, n.to_string())).unwrap();
        }
        let mut table = build.into_table(Arc::new(Borrowed::new(|r: &Row| &r.0)));
        while !table.index_some() {}
        for key in 0..1001_u32 {
            let mut number = table.find(key.key_hash().bits(), &key);
            let mut texts = Vec::new();
            while let Some(found) = number {
                texts.push(table.record(found).1.parse::<u32>().unwrap());
                number = table.next(found);
            }
            texts.sort_unstable();
            let expected = if key < 1000 { vec![key, key + 1000, key + 2000] } else { Vec::new() };
            assert_eq!(texts, expected);
        }
    }

    #[test]
    fn a_full_side_hands_records_back_until_a_part_is_taken_out() {
        let memory = ManagedMemory::of_bytes(4 * SEGMENT_BYTES);
        let mut build = BuildSide::new(2, memory.clone());
        let mut added = 0;
        while build.add(added % 2, (added as u32, "x".repeat(100))).is_ok() {
            added += 1;
        }
        assert!((300..1200).contains(&added), "{added}");
        let part = build.largest();
        let mut taken = 0;
        while let Some(chunk) = build.take_chunk(part) {
            taken += chunk.len();
        }
        assert!((taken * 2).abs_diff(added) <= 1);
        assert!(build.add(0, (0, String::new())).is_ok());
        drop(build);
        assert_eq!(memory.free_segments(), 4);
    }

    #[test]
    fn an_empty_side_takes_any_record() {
        let mut build = BuildSide::new(1, ManagedMemory::of_bytes(0));
        assert_eq!(build.add(0, 1_u64), Ok(()));
        assert_eq!(build.add(0, 2), Err(2));
    }
}
