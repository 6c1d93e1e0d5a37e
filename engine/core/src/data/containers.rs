//! `Data` of options, boxes, shared pointers, vectors and arrays.
//!
//! Everything that points to the heap counts its depth, so that a type that holds itself is bounded; see
//! [`nested`].

use std::sync::Arc;

use super::{Data, heap_bytes};
use crate::codec::{CodecError, nested, nested_encode, read_length, take_array, write_varint};
use crate::schema::Schema;

/// What a decoder may reserve before it has seen elements: this, or four times the input.
const RESERVE_BYTES: usize = 64 * 1024;

/// How many elements that take no bytes (units) a vector may have, and how much memory they may take: an input cannot
/// bound what is not in it.
const MAX_EMPTY: usize = 1 << 24;
const MAX_EMPTY_BYTES: usize = 64 << 20;

/// Takes `length` elements off the front of `input`, one by one.
#[inline]
pub(super) fn decode_each<T: Data>(length: usize, input: &mut &[u8]) -> Result<Vec<T>, CodecError> {
    let affordable = input.len().saturating_mul(4).max(RESERVE_BYTES) / size_of::<T>().max(1);
    let mut values = Vec::with_capacity(length.min(affordable));
    if T::MIN_ENCODED > 0 {
        for _ in 0..length {
            values.push(T::decode(input)?);
        }
        return Ok(values);
    }
    let mut empty_left = MAX_EMPTY.min(MAX_EMPTY_BYTES / size_of::<T>().max(1));
    for _ in 0..length {
        let before = input.len();
        values.push(T::decode(input)?);
        if input.len() == before {
            empty_left = empty_left.checked_sub(1).ok_or_else(|| {
                CodecError::invalid("vector", format!("{length} elements, too many of which take no bytes"))
            })?;
        }
    }
    Ok(values)
}

/// Takes an array off the front of `input`, by way of a vector.
pub(super) fn decode_array_by_vector<T: Data, const N: usize>(
    input: &mut &[u8],
) -> Result<[T; N], CodecError> {
    let mut values = Vec::with_capacity(N);
    for _ in 0..N {
        values.push(T::decode(input)?);
    }
    <[T; N]>::try_from(values).map_err(|_| CodecError::invalid("array", "of another length"))
}

impl<T: Data> Data for Option<T> {
    const MIN_ENCODED: usize = 1;
    const FIXED_SIZE: bool = T::FIXED_SIZE;

    fn schema() -> Schema {
        Schema::Option(Box::new(T::schema()))
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        match take_array(input, "option")? {
            [0] => Ok(None),
            [1] => T::decode(input).map(Some),
            [other] => Err(CodecError::invalid("option", format!("neither 0 nor 1 but {other}"))),
        }
    }

    #[inline]
    fn size_estimate(&self) -> usize {
        size_of::<Self>() + self.as_ref().map_or(0, heap_bytes)
    }
}

macro_rules! pointers {
    ($($pointer:ident of $($bound:ident)+;)*) => {$(
        impl<T: $($bound +)+> Data for $pointer<T> {
            // Not that of T, so that a type may contain itself in a pointer.
            const MIN_ENCODED: usize = 0;
            const FIXED_SIZE: bool = false;

            fn schema() -> Schema {
                T::schema()
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                nested_encode("box", || (**self).encode(out));
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                nested("box", || T::decode(input).map(Self::new))
            }

            #[inline]
            fn size_estimate(&self) -> usize {
                size_of::<Self>() + (**self).size_estimate()
            }
        }
    )*};
}

pointers! {
    Box of Data;
    Arc of Data Sync;
}

impl<T: Data> Data for Vec<T> {
    const MIN_ENCODED: usize = 1;
    const FIXED_SIZE: bool = false;

    fn schema() -> Schema {
        Schema::Vec(Box::new(T::schema()))
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        write_varint(self.len() as u64, out);
        if T::FIXED_SIZE {
            T::encode_all(self, out);
        } else {
            nested_encode("vector", || T::encode_all(self, out));
        }
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        let length = read_length(input, T::MIN_ENCODED, "vector")?;
        if T::FIXED_SIZE {
            T::decode_all(length, input)
        } else {
            nested("vector", || T::decode_all(length, input))
        }
    }

    #[inline]
    fn size_estimate(&self) -> usize {
        let owned = if T::FIXED_SIZE { 0 } else { self.iter().map(heap_bytes).sum() };
        size_of::<Self>() + self.capacity() * size_of::<T>() + owned
    }
}

impl<T: Data, const N: usize> Data for [T; N] {
    const MIN_ENCODED: usize = N * T::MIN_ENCODED;
    const FIXED_SIZE: bool = T::FIXED_SIZE;

    fn schema() -> Schema {
        Schema::Array(Box::new(T::schema()), N as u64)
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        T::encode_all(self, out);
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        T::decode_array(input)
    }

    #[inline]
    fn size_estimate(&self) -> usize {
        let owned = if T::FIXED_SIZE { 0 } else { self.iter().map(heap_bytes).sum() };
        size_of::<Self>() + owned
    }
}
