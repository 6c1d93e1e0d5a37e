//! How sorted records lie in memory and on disk: the key first, so that rows are compared without decoding.
//!
//! ```text
//! row := varint(length of key) key payload
//! key := the canonical key encoding, its bytes complemented for descending order
//! payload := 0 | varint(1 + length of record) record
//! ```
//!
//! Payload 0 stands for a record that is its own key (lines sorted whole): the record is read from the key.
//!
//! Canonical encodings are prefix-free and in order, and stay so complemented. So two keys differ within the shorter of
//! them, or are equal; and if a key is no longer than a prefix it shares with another, the two are equal.

use std::any::{Any, TypeId};

use flott_core::codec::write_varint;
use flott_core::{CodecError, Data, Key};

/// The direction of a sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The lowest key first.
    Ascending,
    /// The highest key first.
    Descending,
}

/// Eight bytes of a key from `from` on, as a number that compares as they do; zeros stand in after the end.
#[inline]
pub(super) fn key_word(key: &[u8], from: usize) -> u64 {
    let rest = key.get(from..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(word) => u64::from_be_bytes(*word),
        None => {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(word)
        }
    }
}

/// Appends a record's key; gives its length.
#[inline]
pub(super) fn write_key<K: Key>(key: &K, order: Order, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    key.encode_key(out);
    if order == Order::Descending {
        complement(&mut out[start..]);
    }
    out.len() - start
}

fn complement(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = !*byte;
    }
}

/// Whether `key` is all of `record`: the same type at the same place.
#[inline]
pub(super) fn is_whole<T: Data, K: Key>(record: &T, key: &K) -> bool {
    TypeId::of::<T>() == TypeId::of::<K>() && std::ptr::addr_eq(record, key)
}

/// Appends the payload of a record that is its own key.
#[inline]
pub(super) fn write_whole(out: &mut Vec<u8>) {
    out.push(0);
}

/// Appends the payload of any other record; `scratch` saves an allocation.
#[inline]
pub(super) fn write_payload<T: Data>(record: &T, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    scratch.clear();
    record.encode(scratch);
    write_varint(1 + scratch.len() as u64, out);
    out.extend_from_slice(scratch);
}

/// Reads records back from rows.
pub(super) struct RowDecoder {
    order: Order,
    scratch: Vec<u8>,
}

impl RowDecoder {
    /// Reads rows that were written for `order`.
    pub(super) fn new(order: Order) -> Self {
        Self { order, scratch: Vec::new() }
    }

    /// The record of a row with this key; `payload` is none if the record is its own key.
    #[inline]
    pub(super) fn decode<T: Data, K: Key>(
        &mut self,
        key: &[u8],
        payload: Option<&[u8]>,
    ) -> Result<T, CodecError> {
        if let Some(mut payload) = payload {
            return T::decode(&mut payload);
        }
        let mut key = key;
        if self.order == Order::Descending {
            self.scratch.clear();
            self.scratch.extend_from_slice(key);
            complement(&mut self.scratch);
            key = &self.scratch;
        }
        let mut record = Some(K::decode_key(&mut key)?);
        let record: &mut dyn Any = &mut record;
        record
            .downcast_mut::<Option<T>>()
            .and_then(Option::take)
            .ok_or_else(|| CodecError::invalid("sorted row", "a key where a record was expected"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode<T: Data, K: Key>(record: &T, key: &K, order: Order) -> (Vec<u8>, Option<Vec<u8>>) {
        let (mut bytes, mut payload, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
        write_key(key, order, &mut bytes);
        if is_whole(record, key) {
            return (bytes, None);
        }
        write_payload(record, &mut scratch, &mut payload);
        (bytes, Some(scratch))
    }

    #[test]
    fn a_key_is_the_whole_record_only_in_its_place() {
        let record = "line".to_owned();
        assert!(is_whole(&record, &record));
        assert!(!is_whole(&record, &record.clone()));
        let pair = ("line".to_owned(), 1_u32);
        assert!(!is_whole(&pair, &pair.0));
    }

    proptest! {
        #[test]
        fn rows_come_back(text in "\\PC{0,20}|[\\x00-\\x03]{0,9}", number: u32, descending: bool) {
            let order = if descending { Order::Descending } else { Order::Ascending };
            let mut decoder = RowDecoder::new(order);
            let (key, payload) = encode(&text, &text, order);
            prop_assert!(payload.is_none());
            prop_assert_eq!(decoder.decode::<String, String>(&key, None), Ok(text.clone()));
            let pair = (text, number);
            let (key, payload) = encode(&pair, &pair.1, order);
            prop_assert_eq!(decoder.decode::<(String, u32), u32>(&key, payload.as_deref()), Ok(pair));
        }

        #[test]
        fn key_bytes_are_in_order(a in "[\\x00-\\x03]{0,9}", b in "[\\x00-\\x03]{0,9}") {
            let (up_a, up_b) = (encode(&0_u8, &a, Order::Ascending).0, encode(&0_u8, &b, Order::Ascending).0);
            prop_assert_eq!(up_a.cmp(&up_b), a.cmp(&b));
            prop_assert!(key_word(&up_a, 0) <= key_word(&up_b, 0) || a > b);
            let (down_a, down_b) = (encode(&0_u8, &a, Order::Descending).0, encode(&0_u8, &b, Order::Descending).0);
            prop_assert_eq!(down_a.cmp(&down_b), b.cmp(&a));
            prop_assert!(key_word(&down_a, 0) <= key_word(&down_b, 0) || b > a);
        }
    }
}
