//! [`Key`], its frozen order-preserving encoding, the frozen hash of that encoding, and key groups.
//!
//! The encoding and the hash never change: they decide which subtask owns a key, and checkpoints rely on it.
//!
//! # Encoding
//! Equal bytes exactly when the values are equal; byte order is value order.
//! - unsigned numbers: big endian; signed numbers: big endian with the sign bit flipped
//! - `bool`: one byte 0 or 1; `char`: as `u32`
//! - strings and bytes: each byte as it is, but 0x00 as 0x01 0x01 and 0x01 as 0x01 0x02; then 0x00
//! - tuples and structs: the fields in order; enums: the variant's position as `u32`, then its fields
//! - options: 0x00 for none, 0x01 and the value; vectors: 0x01 and the element for each, then 0x00
//!
//! # Hash
//! Version 1 reads the encoding in little-endian words of 8 bytes, the last one padded with zeros:
//! `h = fold(h ^ word, M1)` for each, then `fold(h ^ length, M2)`, where `fold(a, b)` is the exclusive or of the halves of
//! the 128-bit product (the mixing step of Wang Yi's wyhash). The key group is the high half modulo the max parallelism; hash tables
//! inside a key group use the low half, so both stay evenly spread.

use crate::data::Data;

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const M1: u64 = 0xA076_1D64_78BD_642F;
const M2: u64 = 0xE703_7ED1_A0B4_28DB;

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// A type by which a stream can be partitioned: it has the canonical encoding of this module.
///
/// Derive it with `#[derive(Clone, PartialEq, Eq, Data, Key)]`. Bare floats and maps are no keys (see
/// [`Ordered`](crate::data::Ordered)).
pub trait Key: Data + Eq {
    /// Appends the canonical encoding to `out`.
    fn encode_key(&self, out: &mut Vec<u8>);

    /// Takes a canonical encoding off the front of `input`.
    ///
    /// # Errors
    /// [`CodecError`](crate::CodecError) if the bytes are not the encoding of a key. Never panics.
    fn decode_key(input: &mut &[u8]) -> Result<Self, crate::CodecError>;

    /// The hash of the canonical encoding. Overridden only to be faster, never to be different.
    #[inline]
    fn key_hash(&self) -> KeyHash {
        let mut bytes = Vec::with_capacity(64);
        self.encode_key(&mut bytes);
        KeyHash::of(&bytes)
    }
}

/// The frozen hash of a key's canonical encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash of a canonical encoding.
    pub fn of(encoding: &[u8]) -> Self {
        Self::of_padded(encoding, encoding.len())
    }

    /// The hash of `bytes` followed by zeros up to `length` bytes.
    #[inline]
    fn of_padded(bytes: &[u8], length: usize) -> Self {
        let mut h = SEED;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            h = fold(h ^ u64::from_le_bytes(*word), M1);
        }
        if length > words.len() * 8 {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            h = fold(h ^ u64::from_le_bytes(last), M1);
        }
        Self(fold(h ^ length as u64, M2))
    }

    /// The hash of one word of `length` encoded bytes, given as the number those bytes are in little endian.
    #[inline]
    fn of_word(word: u64, length: u64) -> Self {
        Self(fold(fold(SEED ^ word, M1) ^ length, M2))
    }

    /// All 64 bits; hash tables inside a key group use them.
    #[inline]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The key group, of `max` in all.
    #[inline]
    pub fn group(self, max: MaxParallelism) -> KeyGroup {
        KeyGroup(((self.0 >> 32) as u32 % max.0) as u16)
    }
}

/// How many key groups a keyed operator has: the most subtasks it can ever have. 1 to 32,768.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaxParallelism(u32);

impl MaxParallelism {
    /// The largest: 32,768.
    pub const LARGEST: Self = Self(1 << 15);

    /// `max` key groups, or none if `max` is not in 1 to 32,768.
    pub fn new(max: u32) -> Option<Self> {
        (1..=Self::LARGEST.0).contains(&max).then_some(Self(max))
    }

    /// What an operator of `parallelism` gets when nobody says: one and a half times that, up to a power of two, 128 to 32,768.
    pub fn default_for(parallelism: u32) -> Self {
        let wanted = parallelism.saturating_add(parallelism / 2).min(Self::LARGEST.0);
        Self(wanted.next_power_of_two().clamp(128, Self::LARGEST.0))
    }

    /// The number of key groups.
    #[inline]
    pub fn get(self) -> u32 {
        self.0
    }

    /// The subtask, of `parallelism`, that owns a key group.
    #[inline]
    pub fn subtask(self, group: KeyGroup, parallelism: u32) -> u32 {
        u32::from(group.0) * parallelism / self.0
    }

    /// The key groups that subtask `index` of `parallelism` owns.
    pub fn range(self, index: u32, parallelism: u32) -> KeyGroupRange {
        let start = (index * self.0).div_ceil(parallelism);
        let end = ((index + 1) * self.0).div_ceil(parallelism);
        KeyGroupRange { start: start as u16, end: end as u16 }
    }
}

/// One of a keyed operator's key groups: the unit in which keyed state moves between subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyGroup(u16);

impl KeyGroup {
    /// The key group with this index.
    pub fn new(index: u16) -> Self {
        Self(index)
    }

    /// 0 up to the max parallelism, exclusive.
    #[inline]
    pub fn index(self) -> u16 {
        self.0
    }
}

/// Adjacent key groups: `start` up to `end`, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyGroupRange {
    /// The first key group.
    pub start: u16,
    /// The one after the last.
    pub end: u16,
}

impl KeyGroupRange {
    /// How many key groups.
    pub fn len(self) -> usize {
        usize::from(self.end.saturating_sub(self.start))
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Whether `group` is one of them.
    #[inline]
    pub fn contains(self, group: KeyGroup) -> bool {
        (self.start..self.end).contains(&group.0)
    }

    /// Whether the two ranges share a key group.
    pub fn intersects(self, other: Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }
}

mod impls;

pub(crate) use impls::{decode_escaped, encode_escaped};
