//! The canonical encodings of primitives and strings.

use super::{Key, KeyHash};
use crate::codec::{CodecError, take_array};

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl Key for $type {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(Self::from_be_bytes(take_array(input, concat!(stringify!($type), " key"))?))
            }

            #[inline]
            fn key_hash(&self) -> KeyHash {
                // The word is what the big-endian bytes are, read in little endian.
                KeyHash::of_word(u64::from(self.swap_bytes()), size_of::<Self>() as u64)
            }
        }
    )*};
}

unsigned!(u8, u16, u32, u64);

macro_rules! wide {
    ($unsigned:ident, $signed:ident) => {
        impl Key for $unsigned {
            fn encode_key(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(Self::from_be_bytes(take_array(input, "u128 key")?))
            }
        }

        impl Key for $signed {
            fn encode_key(&self, out: &mut Vec<u8>) {
                (*self as $unsigned ^ (1 << 127)).encode_key(out);
            }

            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(($unsigned::decode_key(input)? ^ (1 << 127)) as $signed)
            }
        }
    };
}

wide!(u128, i128);

macro_rules! signed {
    ($($type:ty as $unsigned:ty),*) => {$(
        impl Key for $type {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                ((*self as $unsigned) ^ (1 << (<$type>::BITS - 1))).encode_key(out);
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok((<$unsigned>::decode_key(input)? ^ (1 << (<$type>::BITS - 1))) as $type)
            }

            #[inline]
            fn key_hash(&self) -> KeyHash {
                ((*self as $unsigned) ^ (1 << (<$type>::BITS - 1))).key_hash()
            }
        }
    )*};
}

signed!(i8 as u8, i16 as u16, i32 as u32, i64 as u64);

/// Writes bytes so that they end: order-preserving, and prefix-free.
pub(crate) fn encode_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            0 => out.extend_from_slice(&[1, 1]),
            1 => out.extend_from_slice(&[1, 2]),
            _ => out.push(byte),
        }
    }
    out.push(0);
}

/// Reads what [`encode_escaped`] wrote.
pub(crate) fn decode_escaped(input: &mut &[u8], what: &'static str) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    loop {
        match take_array::<1>(input, what)? {
            [0] => return Ok(bytes),
            [1] => match take_array::<1>(input, what)? {
                [1] => bytes.push(0),
                [2] => bytes.push(1),
                _ => return Err(CodecError::invalid(what, "an unknown escape")),
            },
            [byte] => bytes.push(byte),
        }
    }
}

/// Whether some byte is 0 or 1, eight at a time: a byte below 2 borrows into its high bit when 2 is subtracted.
#[inline]
fn needs_escape(bytes: &[u8]) -> bool {
    const TWOS: u64 = 0x0202_0202_0202_0202;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let below_two = |word: u64| word.wrapping_sub(TWOS) & !word & HIGHS != 0;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = TWOS.to_le_bytes();
    last[..rest.len()].copy_from_slice(rest);
    words.iter().any(|word| below_two(u64::from_le_bytes(*word))) || below_two(u64::from_le_bytes(last))
}

impl Key for String {
    fn encode_key(&self, out: &mut Vec<u8>) {
        encode_escaped(self.as_bytes(), out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let bytes = decode_escaped(input, "string key")?;
        Self::from_utf8(bytes).map_err(|error| CodecError::invalid("string key", error.to_string()))
    }

    #[inline]
    fn key_hash(&self) -> KeyHash {
        let bytes = self.as_bytes();
        if !needs_escape(bytes) {
            // The encoding is the text and the closing zero, which is what the padding gives.
            return KeyHash::of_padded(bytes, bytes.len() + 1);
        }
        let mut encoding = Vec::with_capacity(bytes.len() + 8);
        self.encode_key(&mut encoding);
        KeyHash::of(&encoding)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;
    use crate::data::Ordered;
    use crate::{Data, MaxParallelism};

    fn encoded<K: Key>(key: &K) -> Vec<u8> {
        let mut bytes = Vec::new();
        key.encode_key(&mut bytes);
        bytes
    }

    fn check<K: Key + Ord + Debug>(a: &K, b: &K) {
        assert_eq!(encoded(a).cmp(&encoded(b)), a.cmp(b), "{a:?} {b:?}");
        assert_eq!(K::decode_key(&mut encoded(a).as_slice()).as_ref(), Ok(a));
        assert_eq!(a.key_hash(), KeyHash::of(&encoded(a)), "{a:?}");
        let mut data = Vec::new();
        a.encode(&mut data);
        assert_eq!(K::decode(&mut data.as_slice()).as_ref(), Ok(a));
    }

    proptest! {
        #[test]
        fn byte_order_is_value_order(
            a in any::<(u8, i16, u64, i128, bool, char, Option<u32>, Vec<i8>)>(),
            b in any::<(u8, i16, u64, i128, bool, char, Option<u32>, Vec<i8>)>(),
        ) {
            check(&a, &b);
            check(&a.2, &b.2);
            check(&a.1, &b.1);
        }

        #[test]
        fn strings_keep_their_order_also_before_other_fields(
            a in "[\u{0}-\u{3}a-c]{0,20}", b in "[\u{0}-\u{3}a-c]{0,20}", n in any::<i64>(), m in any::<i64>(),
        ) {
            check(&a, &b);
            check(&(a, n), &(b, m));
        }

        #[test]
        fn floats_have_a_total_order(a in any::<f64>(), b in any::<f64>()) {
            let (a, b) = (Ordered(a), Ordered(b));
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
            prop_assert_eq!(a == b, encoded(&a) == encoded(&b));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            type All = (String, Option<Vec<u64>>, char, Vec<(u8, String)>, std::collections::BTreeMap<u16, String>);
            let _ = All::decode(&mut bytes.as_slice());
            let _ = <(String, Option<Vec<u64>>, char)>::decode_key(&mut bytes.as_slice());
            let _ = <crate::Records<All> as crate::Batch>::decode(&bytes);
            let _ = <crate::Records<()> as crate::Batch>::decode(&bytes);
        }
    }

    /// These values are frozen: a change of any of them orphans every checkpoint there is.
    #[test]
    fn golden_vectors() {
        fn golden<K: Key>(key: &K) -> (String, u64, u16) {
            let hex = encoded(key).iter().map(|byte| format!("{byte:02x}")).collect();
            let hash = key.key_hash();
            (hex, hash.bits(), hash.group(MaxParallelism::new(128).unwrap()).index())
        }
        let vectors = [
            golden(&0_u64),
            golden(&1_u64),
            golden(&u64::MAX),
            golden(&-1_i32),
            golden(&7_u8),
            golden(&true),
            golden(&'ß'),
            golden(&String::new()),
            golden(&"a".to_owned()),
            golden(&"flott".to_owned()),
            golden(&"exactly8".to_owned()),
            golden(&"a\u{0}b\u{1}".to_owned()),
            golden(&("user".to_owned(), 42_i64)),
            golden(&Some(3_u16)),
            golden(&vec![1_u8, 2]),
            golden(&Ordered(-0.5_f64)),
            golden(&u128::MAX),
        ];
        let lines: Vec<String> =
            vectors.iter().map(|(hex, hash, group)| format!("{hex} {hash:016x} {group}")).collect();
        let expected: Vec<&str> = include_str!("golden.txt").lines().collect();
        assert_eq!(lines, expected);
    }
}
