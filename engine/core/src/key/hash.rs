//! [`KeyHash`]: version 1 of the hash of a canonical encoding, frozen; the module above defines it.
//!
//! Invariant: every way to compute it here gives what [`KeyHash::of`] gives for the same encoding.

use super::{KeyGroup, MaxParallelism};

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const M1: u64 = 0xA076_1D64_78BD_642F;
const M2: u64 = 0xE703_7ED1_A0B4_28DB;

const TWOS: u64 = 0x0202_0202_0202_0202;
const HIGHS: u64 = 0x8080_8080_8080_8080;

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Up to 7 bytes as a little-endian number.
#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            // 4 to 7 bytes: two loads that overlap, where both hold the same bits.
            let shift = (bytes.len() - 4) % 4 * 8;
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << shift
        }
        _ => match *bytes {
            [a] => u64::from(a),
            [a, b] => u64::from(u16::from_le_bytes([a, b])),
            [a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
            _ => 0,
        },
    }
}

/// Not zero if some byte of `word` is 0 or 1: subtracting 2 borrows into its high bit, which was not set.
#[inline]
fn below_two(word: u64) -> u64 {
    word.wrapping_sub(TWOS) & !word & HIGHS
}

/// The frozen hash of a key's canonical encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash of a canonical encoding.
    #[inline]
    pub fn of(encoding: &[u8]) -> Self {
        let mut h = SEED;
        let (words, rest) = encoding.as_chunks::<8>();
        for word in words {
            h = fold(h ^ u64::from_le_bytes(*word), M1);
        }
        if !rest.is_empty() {
            h = fold(h ^ short_word(rest), M1);
        }
        Self(fold(h ^ encoding.len() as u64, M2))
    }

    /// The hash of one word of `length` encoded bytes, given as the number those bytes are in little endian.
    #[inline]
    pub(super) fn of_word(word: u64, length: u64) -> Self {
        Self(fold(fold(SEED ^ word, M1) ^ length, M2))
    }

    /// The hash of two words of `length` encoded bytes.
    #[inline]
    pub(super) fn of_two_words(first: u64, second: u64, length: u64) -> Self {
        Self(fold(fold(fold(SEED ^ first, M1) ^ second, M1) ^ length, M2))
    }

    /// The hash of text that needs no escapes, so that its encoding is its bytes and a closing zero; none if it
    /// needs some. The zero is the padding of the last word, or a word of its own. This is the inner loop of every
    /// count of words, hence the cases: a word of text is mostly shorter than one or two machine words.
    #[inline]
    pub(super) fn of_plain_text(bytes: &[u8]) -> Option<Self> {
        let length = bytes.len();
        let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) else {
            let word = short_word(bytes);
            // What is beyond the text must not look like bytes to escape.
            let beyond = u64::MAX << (length % 8 * 8);
            return (below_two(word | beyond) == 0).then(|| Self::of_word(word, length as u64 + 1));
        };
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        // The bytes behind the last whole word: the end of `last`, or none. Two shifts, as one of 64 bits is none.
        let tail = (last >> 8) >> ((7 - length % 8) * 8);
        if length < 16 {
            let plain = below_two(first) | below_two(last) == 0;
            return plain.then(|| Self::of_two_words(first, tail, length as u64 + 1));
        }
        let (mut h, mut odd) = (SEED, below_two(last));
        for word in bytes.as_chunks::<8>().0 {
            let word = u64::from_le_bytes(*word);
            odd |= below_two(word);
            h = fold(h ^ word, M1);
        }
        (odd == 0).then(|| Self(fold(fold(h ^ tail, M1) ^ (length as u64 + 1), M2)))
    }

    /// All 64 bits; hash tables inside a key group use them.
    #[inline]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The key group, of `max` in all.
    #[inline]
    pub fn group(self, max: MaxParallelism) -> KeyGroup {
        KeyGroup::new(((self.0 >> 32) as u32 % max.get()) as u16)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The hash as the module above defines it, without any cleverness.
    fn by_the_book(encoding: &[u8]) -> u64 {
        let mut padded = encoding.to_vec();
        padded.resize(encoding.len().next_multiple_of(8), 0);
        let words =
            padded.chunks(8).map(|word| word.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)));
        let h = words.fold(SEED, |h, word| fold(h ^ word, M1));
        fold(h ^ encoding.len() as u64, M2)
    }

    proptest! {
        #[test]
        fn every_way_gives_the_hash_of_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(KeyHash::of(&bytes).bits(), by_the_book(&bytes));
            let mut terminated = bytes.clone();
            terminated.push(0);
            let plain = KeyHash::of_plain_text(&bytes).map(KeyHash::bits);
            let expected = bytes.iter().all(|byte| *byte > 1).then(|| by_the_book(&terminated));
            prop_assert_eq!(plain, expected);
        }
    }

    #[test]
    fn text_to_escape_is_found_at_every_place_and_length() {
        for length in 0..40 {
            for filler in [2, 3, 0x7F, 0x80, 0x81, 0xFF] {
                let mut text = vec![filler; length];
                let mut encoding = text.clone();
                encoding.push(0);
                assert_eq!(
                    KeyHash::of_plain_text(&text),
                    Some(KeyHash::of(&encoding)),
                    "{length} of {filler}"
                );
                for place in 0..length {
                    for odd in [0, 1] {
                        text[place] = odd;
                        assert_eq!(KeyHash::of_plain_text(&text), None, "{odd} at {place} of {length}");
                    }
                    text[place] = filler;
                }
            }
        }
    }

    #[test]
    fn counting_numbers_and_words_spread_over_key_groups_and_tables() {
        const KEYS: u32 = 128 * 1000;
        let max = MaxParallelism::new(128).unwrap();
        let numbers = |n: u32| KeyHash::of(&u64::from(n).to_be_bytes());
        let words = |n: u32| KeyHash::of(format!("user-{n}\0").as_bytes());
        let by_seconds = |n: u32| KeyHash::of(&(u64::from(n) * 1000).to_be_bytes());
        let kinds: [&dyn Fn(u32) -> KeyHash; 3] = [&numbers, &words, &by_seconds];
        for hash in kinds {
            let (mut groups, mut slots) = ([0_u32; 128], [0_u32; 128]);
            for n in 0..KEYS {
                groups[usize::from(hash(n).group(max).index())] += 1;
                slots[(hash(n).bits() & 127) as usize] += 1;
            }
            for count in groups.iter().chain(&slots) {
                // Five standard deviations around the mean.
                assert!((842..=1158).contains(count), "{groups:?} {slots:?}");
            }
        }
    }
}
