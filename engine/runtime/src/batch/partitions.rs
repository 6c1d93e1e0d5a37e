//! Records spilled by the hash of their keys: what is too much at once is taken a part at a time.
//!
//! A part that is still too large is partitioned again, at the next level, by other bits of the same hash. Blocks hold whole
//! encoded records.

use std::marker::PhantomData;

use flott_core::Data;
use flott_core::memory::SEGMENT_BYTES;

use super::error::BatchError;
use super::spill::{Block, Spill};

/// How many parts there are for a share of `segments`: their buffers take at most a quarter of it.
pub(super) fn fan_out(segments: usize) -> usize {
    (segments / 4).clamp(2, 32)
}

/// The part, of `parts`, of a key with this hash; every level spreads anew.
#[inline]
pub(super) fn part_of(hash: u64, level: u32, parts: usize) -> usize {
    let mut mixed = hash.wrapping_add(u64::from(level + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    (((mixed >> 32) * parts as u64) >> 32) as usize
}

/// Records on disk whose keys' hashes have something in common.
#[derive(Debug)]
pub(super) struct Part<T> {
    blocks: Vec<Block>,
    /// How many records.
    pub(super) records: u64,
    /// The only hash, while there is only one.
    hash: Option<u64>,
    /// All records have the same hash: partitioning again is in vain.
    pub(super) has_one_hash: bool,
    types: PhantomData<fn() -> T>,
}

impl<T> Part<T> {
    /// Gives its place on the disk back, unread.
    pub(super) fn free(self, spill: &mut Spill) -> Result<(), BatchError> {
        self.blocks.into_iter().try_for_each(|block| {
            spill.file()?.free(block);
            Ok(())
        })
    }
}

/// Writes records by part.
#[derive(Debug)]
pub(super) struct PartWriter<T> {
    buffers: Vec<Vec<u8>>,
    parts: Vec<Part<T>>,
}

impl<T: Data> PartWriter<T> {
    /// A writer of `parts` parts; each takes a segment of memory and a record.
    pub(super) fn new(parts: usize) -> Self {
        let part =
            || Part { blocks: Vec::new(), records: 0, hash: None, has_one_hash: true, types: PhantomData };
        Self { buffers: vec![Vec::new(); parts], parts: (0..parts).map(|_| part()).collect() }
    }

    /// Adds a record, whose key has this hash, to part `index`.
    pub(super) fn write(
        &mut self,
        index: usize,
        record: &T,
        hash: u64,
        spill: &mut Spill,
    ) -> Result<(), BatchError> {
        let (buffer, part) = (&mut self.buffers[index], &mut self.parts[index]);
        record.encode(buffer);
        part.records += 1;
        part.has_one_hash &= *part.hash.get_or_insert(hash) == hash;
        if buffer.len() >= SEGMENT_BYTES {
            part.blocks.push(spill.file()?.append(buffer)?);
            buffer.clear();
            buffer.shrink_to(2 * SEGMENT_BYTES);
        }
        Ok(())
    }

    /// Writes the rest; gives the parts in order, also the empty ones.
    pub(super) fn finish(self, spill: &mut Spill) -> Result<Vec<Part<T>>, BatchError> {
        let mut parts = self.parts;
        for (buffer, part) in self.buffers.into_iter().zip(&mut parts) {
            if !buffer.is_empty() {
                part.blocks.push(spill.file()?.append(&buffer)?);
            }
        }
        Ok(parts)
    }
}

/// Reads a part's records, once or several times.
#[derive(Debug)]
pub(super) struct PartReader<T> {
    part: Part<T>,
    next_block: usize,
    in_hand: Option<Block>,
    bytes: Vec<u8>,
    at: usize,
    left: u64,
}

impl<T: Data> PartReader<T> {
    /// Reads from the beginning; takes a segment of memory and a record.
    pub(super) fn new(part: Part<T>) -> Self {
        Self { left: part.records, part, next_block: 0, in_hand: None, bytes: Vec::new(), at: 0 }
    }

    /// The next record; none at the end. With `free`, blocks are given back once they are read.
    #[inline]
    pub(super) fn next(&mut self, spill: &mut Spill, free: bool) -> Result<Option<T>, BatchError> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.at == self.bytes.len() {
            self.next_block(spill, free)?;
        }
        let mut rest = &self.bytes[self.at..];
        let record = T::decode(&mut rest)?;
        self.at = self.bytes.len() - rest.len();
        self.left -= 1;
        Ok(Some(record))
    }

    /// Reads the next block, if there is one: records of a type without bytes fill none.
    #[cold]
    fn next_block(&mut self, spill: &mut Spill, free: bool) -> Result<(), BatchError> {
        if let Some(block) = self.in_hand.take().filter(|_| free) {
            spill.file()?.free(block);
        }
        if let Some(block) = self.part.blocks.get(self.next_block).copied() {
            self.next_block += 1;
            self.in_hand = Some(block);
            spill.file()?.read(block, &mut self.bytes)?;
            self.at = 0;
        }
        Ok(())
    }

    /// The part, of which nothing must have been freed.
    pub(super) fn into_part(self) -> Part<T> {
        self.part
    }

    /// Begins again; nothing must have been freed.
    pub(super) fn rewind(&mut self) {
        (self.next_block, self.in_hand, self.at) = (0, None, 0);
        self.left = self.part.records;
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_level_spreads_what_the_last_kept_together() {
        let together: Vec<u64> = (0..1_000_000).filter(|hash| part_of(*hash, 0, 32) == 7).collect();
        let mut counts = [0; 32];
        for hash in &together {
            counts[part_of(*hash, 1, 32)] += 1;
        }
        let even = together.len() / 32;
        assert!(counts.iter().all(|count| (even / 2..even * 2).contains(count)), "{counts:?}");
    }

    #[test]
    fn records_without_bytes_are_counted() {
        let mut spill = Spill::new("/nowhere".into());
        let mut writer = PartWriter::new(2);
        for _ in 0..5 {
            writer.write(1, &(), 0, &mut spill).unwrap();
        }
        let part = writer.finish(&mut spill).unwrap().remove(1);
        let mut reader = PartReader::<()>::new(part);
        let count = std::iter::from_fn(|| reader.next(&mut spill, true).unwrap()).count();
        assert_eq!(count, 5);
    }

    proptest! {
        #[test]
        fn records_come_back_by_part(texts in prop::collection::vec(".{0,30}", 0..200), repeat in 1..200_usize) {
            let dir = tempfile::tempdir().unwrap();
            let mut spill = Spill::new(dir.path().into());
            let mut writer = PartWriter::new(3);
            let mut expected = vec![Vec::new(); 3];
            for (n, text) in texts.iter().enumerate() {
                let text = text.repeat(repeat);
                writer.write(n % 3, &text, (n % 6) as u64, &mut spill).unwrap();
                expected[n % 3].push(text);
            }
            for (part, expected) in writer.finish(&mut spill).unwrap().into_iter().zip(expected) {
                prop_assert_eq!(part.records, expected.len() as u64);
                prop_assert_eq!(part.has_one_hash, expected.len() < 2);
                let mut reader = PartReader::new(part);
                for free in [false, true] {
                    let mut read = Vec::new();
                    while let Some(text) = reader.next(&mut spill, free).unwrap() {
                        read.push(text);
                    }
                    prop_assert_eq!(&read, &expected);
                    reader.rewind();
                }
            }
        }
    }
}
