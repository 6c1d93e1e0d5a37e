//! `Data` of strings and bytes, owned and shared.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::Data;
use crate::codec::{CodecError, read_length, take, write_varint};
use crate::schema::Schema;

#[inline]
fn read_bytes<'a>(input: &mut &'a [u8], what: &'static str) -> Result<&'a [u8], CodecError> {
    let length = read_length(input, 1, what)?;
    take(input, length, what)
}

#[inline]
fn read_str<'a>(input: &mut &'a [u8]) -> Result<&'a str, CodecError> {
    let bytes = read_bytes(input, "string")?;
    std::str::from_utf8(bytes).map_err(|error| CodecError::invalid("string", error.to_string()))
}

macro_rules! text {
    ($($type:ty, $heap:ident;)*) => {$(
        impl Data for $type {
            const MIN_ENCODED: usize = 1;
            const FIXED_SIZE: bool = false;

            fn schema() -> Schema {
                Schema::String
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                write_varint(self.len() as u64, out);
                out.extend_from_slice(self.as_bytes());
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(read_str(input)?.to_owned().into())
            }

            #[inline]
            fn size_estimate(&self) -> usize {
                size_of::<Self>() + self.$heap()
            }
        }
    )*};
}

text! {
    String, capacity;
    Box<str>, len;
    Arc<str>, len;
    Cow<'static, str>, len;
}

/// A string that up to 24 bytes need no allocation: the better type for words, ids and other short fields. It is encoded like a
/// [`String`], so a program may change from one to the other.
pub type Text = compact_str::CompactString;

impl Data for Text {
    const MIN_ENCODED: usize = 1;
    const FIXED_SIZE: bool = false;

    fn schema() -> Schema {
        Schema::String
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        write_varint(self.len() as u64, out);
        out.extend_from_slice(self.as_bytes());
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(read_str(input)?.into())
    }

    #[inline]
    fn size_estimate(&self) -> usize {
        size_of::<Self>() + if self.is_heap_allocated() { self.capacity() } else { 0 }
    }
}

impl Data for Bytes {
    const MIN_ENCODED: usize = 1;
    const FIXED_SIZE: bool = false;

    fn schema() -> Schema {
        Schema::Bytes
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        write_varint(self.len() as u64, out);
        out.extend_from_slice(self);
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        read_bytes(input, "bytes").map(Self::copy_from_slice)
    }

    #[inline]
    fn size_estimate(&self) -> usize {
        size_of::<Self>() + self.len()
    }
}
