//! [`SortBuffer`]: as many records as the processor's cache holds, sorted by their keys' bytes.
//!
//! Records are encoded when they come, key first; beside their bytes stands an index of (first eight bytes of the key, where
//! the key is). Sorting moves index entries only, by that word; entries that share it are sorted by their next eight bytes,
//! and so on, so that the bytes themselves are hardly ever compared. Entries with equal keys stay in the order they came in.
//!
//! Sorted rows are then copied out in order. What is sorted at a time fits the cache; what is read later is read from front
//! to back. On lines of text that is twice as fast as one large index over records that lie where they came.

use std::marker::PhantomData;
use std::sync::Arc;

use flott_core::codec::{read_varint, write_varint};
use flott_core::{CodecError, Data};

use super::row::{Order, is_whole, key_word, write_key, write_payload, write_whole};
use crate::key_selector::KeySelector;

/// Below this many entries, comparing bytes is faster than reloading words.
const FEW: usize = 12;

/// How deep in the keys words are reloaded; beyond, bytes are compared.
const DEEPEST_WORD: usize = 64;

/// The largest row: positions have 32 bits.
const LARGEST_ROW: usize = 1 << 30;

/// Where a record's key is, and its word at the depth in hand.
#[derive(Debug, Clone, Copy)]
struct Entry {
    word: u64,
    key: u32,
    key_bytes: u32,
}

impl Entry {
    /// Word first, then age.
    #[inline]
    fn rank(&self) -> u128 {
        u128::from(self.word) << 64 | u128::from(self.key) << 32 | u128::from(self.key_bytes)
    }

    #[inline]
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.key as usize..][..self.key_bytes as usize]
    }
}

/// A record is too large to be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge {
    /// Its size.
    pub(super) bytes: usize,
    /// The largest that can be.
    pub(super) limit: usize,
}

/// See the module.
pub(super) struct SortBuffer<T, S> {
    selector: Arc<S>,
    order: Order,
    /// The rows as they came, each without its leading key length (that is in the index).
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    scratch: Vec<u8>,
    full_at: usize,
    largest_row: usize,
    records: PhantomData<fn(T)>,
}

impl<T: Data, S: KeySelector<T>> SortBuffer<T, S> {
    /// A buffer that is full at `full_at` bytes and takes records of up to `largest_row` bytes.
    pub(super) fn new(selector: Arc<S>, order: Order, full_at: usize, largest_row: usize) -> Self {
        Self {
            selector,
            order,
            bytes: Vec::new(),
            entries: Vec::new(),
            scratch: Vec::new(),
            full_at,
            largest_row: largest_row.min(LARGEST_ROW),
            records: PhantomData,
        }
    }

    /// Takes a record.
    #[inline]
    pub(super) fn insert(&mut self, record: &T) -> Result<(), TooLarge> {
        let start = self.bytes.len();
        let (order, bytes) = (self.order, &mut self.bytes);
        let (key_bytes, whole) =
            self.selector.with_key(record, |key| (write_key(key, order, bytes), is_whole(record, key)));
        if whole {
            write_whole(&mut self.bytes);
        } else {
            write_payload(record, &mut self.scratch, &mut self.bytes);
        }
        let row = self.bytes.len() - start;
        if row > self.largest_row {
            self.bytes.truncate(start);
            return Err(TooLarge { bytes: row, limit: self.largest_row });
        }
        let word = key_word(&self.bytes[start..start + key_bytes], 0);
        self.entries.push(Entry { word, key: start as u32, key_bytes: key_bytes as u32 });
        Ok(())
    }

    /// Whether there are no records.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the next record should wait until the buffer is sorted away.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() + self.entries.len() * size_of::<Entry>() >= self.full_at
    }

    /// The records as rows in order; the buffer is empty after that.
    pub(super) fn sort(&mut self) -> Result<Vec<u8>, CodecError> {
        sort_entries(&self.bytes, &mut self.entries, 0);
        let length_bytes: usize = self.entries.iter().map(|entry| varint_bytes(entry.key_bytes)).sum();
        let mut rows = Vec::with_capacity(self.bytes.len() + length_bytes);
        for entry in &self.entries {
            write_varint(u64::from(entry.key_bytes), &mut rows);
            let row = &self.bytes[entry.key as usize..];
            let mut payload = &row[entry.key_bytes as usize..];
            let before = payload.len();
            let record_bytes = (read_varint(&mut payload, "sorted row")? as usize).saturating_sub(1);
            let row_bytes = entry.key_bytes as usize + (before - payload.len()) + record_bytes;
            rows.extend_from_slice(&row[..row_bytes]);
        }
        if self.bytes.capacity() > 2 * self.full_at {
            // A record of unusual size came by.
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.entries.clear();
        Ok(rows)
    }

    /// Gives the memory back.
    pub(super) fn release(&mut self) {
        self.bytes = Vec::new();
        self.entries = Vec::new();
        self.scratch = Vec::new();
    }
}

fn varint_bytes(value: u32) -> usize {
    (value.max(1).ilog2() as usize + 7) / 7
}

/// Sorts entries whose keys agree in the first `depth` bytes.
fn sort_entries(bytes: &[u8], entries: &mut [Entry], depth: usize) {
    if depth > DEEPEST_WORD || (depth > 0 && entries.len() <= FEW) {
        let rest = |entry: &Entry| entry.key(bytes).get(depth..).unwrap_or_default();
        entries.sort_unstable_by(|a, b| rest(a).cmp(rest(b)).then(a.key.cmp(&b.key)));
        return;
    }
    if depth > 0 {
        for entry in entries.iter_mut() {
            entry.word = key_word(entry.key(bytes), depth);
        }
    }
    entries.sort_unstable_by_key(Entry::rank);
    for same in entries.chunk_by_mut(|a, b| a.word == b.word) {
        // A key that ends within the words so far is equal to all that share them.
        if same.len() > 1 && same[0].key_bytes as usize > depth + 8 {
            sort_entries(bytes, same, depth + 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key_selector::Borrowed;

    /// The keys in the order of the rows, and each row's payload.
    fn parse(mut rows: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut parsed = Vec::new();
        while !rows.is_empty() {
            let key_bytes = read_varint(&mut rows, "row").unwrap() as usize;
            let (key, rest) = rows.split_at(key_bytes);
            rows = rest;
            let record = (read_varint(&mut rows, "row").unwrap() as usize).saturating_sub(1);
            let (record, rest) = rows.split_at(record);
            rows = rest;
            parsed.push((key.to_vec(), record.to_vec()));
        }
        parsed
    }

    #[test]
    fn varints_are_measured() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX] {
            let mut bytes = Vec::new();
            write_varint(u64::from(value), &mut bytes);
            assert_eq!(varint_bytes(value), bytes.len(), "{value}");
        }
    }

    #[test]
    fn a_record_beyond_the_limit_is_refused_and_leaves_nothing() {
        let mut buffer = SortBuffer::new(Arc::new(Borrowed::new(|s: &String| s)), Order::Ascending, 1000, 10);
        assert_eq!(buffer.insert(&"123456789".to_owned()), Err(TooLarge { bytes: 11, limit: 10 }));
        assert_eq!(buffer.insert(&"12345678".to_owned()), Ok(()));
        assert_eq!(buffer.sort().unwrap(), b"\x0912345678\x00\x00");
        assert!(buffer.is_empty());
    }

    proptest! {
        #[test]
        fn sorts_whatever_the_common_prefixes(
            texts in prop::collection::vec("[ab]{0,3}|a{8}[bc]{0,9}|a{70}[bc]{0,9}[\\x00-\\x02]{0,2}", 0..80),
            descending: bool,
        ) {
            let order = if descending { Order::Descending } else { Order::Ascending };
            let mut buffer = SortBuffer::new(Arc::new(Borrowed::new(|s: &String| s)), order, 1 << 20, 1 << 20);
            let mut expected = Vec::new();
            for text in &texts {
                buffer.insert(text).unwrap();
                let mut key = Vec::new();
                write_key(text, order, &mut key);
                expected.push((key, Vec::new()));
            }
            expected.sort();
            prop_assert_eq!(parse(&buffer.sort().unwrap()), expected);
        }

        #[test]
        fn equal_keys_stay_in_order(keys in prop::collection::vec(0_u64..5, 0..200)) {
            let records: Vec<(u64, u32)> = keys.into_iter().zip(0..).collect();
            let select = Arc::new(Borrowed::new(|r: &(u64, u32)| &r.0));
            let mut buffer = SortBuffer::new(select, Order::Ascending, 1 << 20, 1 << 20);
            for record in &records {
                buffer.insert(record).unwrap();
            }
            let mut expected = records;
            expected.sort();
            let sorted: Vec<(u64, u32)> = parse(&buffer.sort().unwrap())
                .iter()
                .map(|(_, record)| Data::decode(&mut record.as_slice()).unwrap())
                .collect();
            prop_assert_eq!(sorted, expected);
        }
    }
}
