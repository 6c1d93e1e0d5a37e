//! `Data` and `Key` of containers: options, vectors, arrays, boxes, tuples, maps, sets, bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use bytes::Bytes;

use super::Data;
use crate::codec::{CodecError, read_length, take, take_array, write_varint};
use crate::key::Key;
use crate::schema::Schema;

fn heap_of<T: Data>(value: &T) -> usize {
    if T::FIXED_SIZE { 0 } else { value.size_estimate().saturating_sub(size_of::<T>()) }
}

impl<T: Data> Data for Option<T> {
    const MIN_ENCODED: usize = 1;
    const FIXED_SIZE: bool = T::FIXED_SIZE;

    fn schema() -> Schema {
        Schema::Option(Box::new(T::schema()))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        match take_array::<1>(input, "option")? {
            [0] => Ok(None),
            [1] => T::decode(input).map(Some),
            _ => Err(CodecError::invalid("option", "neither none nor some")),
        }
    }

    fn size_estimate(&self) -> usize {
        size_of::<Self>() + self.as_ref().map_or(0, heap_of)
    }
}

impl<K: Key> Key for Option<K> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(key) = self {
            key.encode_key(out);
        }
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        match take_array::<1>(input, "option key")? {
            [0] => Ok(None),
            [1] => K::decode_key(input).map(Some),
            _ => Err(CodecError::invalid("option key", "neither none nor some")),
        }
    }
}

impl<T: Data> Data for Box<T> {
    // Not that of T, so that a type may contain itself in a box.
    const MIN_ENCODED: usize = 0;
    const FIXED_SIZE: bool = false;

    fn schema() -> Schema {
        T::schema()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        T::decode(input).map(Box::new)
    }

    fn size_estimate(&self) -> usize {
        size_of::<Self>() + (**self).size_estimate()
    }
}

impl<K: Key> Key for Box<K> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        (**self).encode_key(out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        K::decode_key(input).map(Box::new)
    }
}

/// Writes how many and then each.
fn encode_all<'a, T: Data>(length: usize, values: impl Iterator<Item = &'a T>, out: &mut Vec<u8>) {
    write_varint(length as u64, out);
    values.for_each(|value| value.encode(out));
}

/// A length that the input can hold; for elements that may take no bytes, at most as many as there are bytes.
fn bounded_length<T: Data>(input: &mut &[u8], what: &'static str) -> Result<usize, CodecError> {
    read_length(input, T::MIN_ENCODED.max(1), what)
}

impl<T: Data> Data for Vec<T> {
    const MIN_ENCODED: usize = 1;
    const FIXED_SIZE: bool = false;

    fn schema() -> Schema {
        Schema::Vec(Box::new(T::schema()))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        encode_all(self.len(), self.iter(), out);
        if T::MIN_ENCODED == 0 {
            // Elements may take no bytes: padding keeps "at least a byte each" true for the decoder.
            out.resize(out.len() + self.len(), 0);
        }
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        let length = bounded_length::<T>(input, "vector")?;
        let values = (0..length).map(|_| T::decode(input)).collect::<Result<_, _>>()?;
        if T::MIN_ENCODED == 0 {
            take(input, length, "vector")?;
        }
        Ok(values)
    }

    fn size_estimate(&self) -> usize {
        size_of::<Self>() + self.capacity() * size_of::<T>() + self.iter().map(heap_of).sum::<usize>()
    }
}

impl<K: Key> Key for Vec<K> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        for key in self {
            out.push(1);
            key.encode_key(out);
        }
        out.push(0);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let mut keys = Self::new();
        loop {
            match take_array::<1>(input, "vector key")? {
                [0] => return Ok(keys),
                [1] => keys.push(K::decode_key(input)?),
                _ => return Err(CodecError::invalid("vector key", "neither an element nor the end")),
            }
        }
    }
}

impl<T: Data, const N: usize> Data for [T; N] {
    const MIN_ENCODED: usize = N * T::MIN_ENCODED;
    const FIXED_SIZE: bool = T::FIXED_SIZE;

    fn schema() -> Schema {
        Schema::Array(Box::new(T::schema()), N as u64)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|value| value.encode(out));
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        let values = (0..N).map(|_| T::decode(input)).collect::<Result<Vec<_>, _>>()?;
        Self::try_from(values).map_err(|_| CodecError::invalid("array", "another length"))
    }

    fn size_estimate(&self) -> usize {
        size_of::<Self>() + self.iter().map(heap_of).sum::<usize>()
    }
}

impl<K: Key, const N: usize> Key for [K; N] {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|key| key.encode_key(out));
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let keys = (0..N).map(|_| K::decode_key(input)).collect::<Result<Vec<_>, _>>()?;
        Self::try_from(keys).map_err(|_| CodecError::invalid("array key", "another length"))
    }
}

macro_rules! maps {
    ($($map:ident<$k:ident: $bound:path $(, $hasher:ident: $hash:path)?>;)*) => {$(
        impl<$k: Data + $bound + Eq, V: Data $(, $hasher: $hash + Default + Clone + Send + 'static)?> Data
            for $map<$k, V $(, $hasher)?>
        {
            const MIN_ENCODED: usize = 1;
            const FIXED_SIZE: bool = false;

            fn schema() -> Schema {
                Schema::Map(Box::new($k::schema()), Box::new(V::schema()))
            }

            fn encode(&self, out: &mut Vec<u8>) {
                write_varint(self.len() as u64, out);
                for (key, value) in self {
                    key.encode(out);
                    value.encode(out);
                }
            }

            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                let length = read_length(input, $k::MIN_ENCODED + V::MIN_ENCODED, "map")?;
                (0..length).map(|_| Ok(($k::decode(input)?, V::decode(input)?))).collect()
            }

            fn size_estimate(&self) -> usize {
                let owned: usize = self.iter().map(|(key, value)| heap_of(key) + heap_of(value)).sum();
                size_of::<Self>() + self.len() * (size_of::<$k>() + size_of::<V>() + 8) + owned
            }
        }
    )*};
}

maps! {
    BTreeMap<K: Ord>;
    HashMap<K: Hash, S: BuildHasher>;
}

macro_rules! sets {
    ($($set:ident<$t:ident: $bound:path $(, $hasher:ident: $hash:path)?>;)*) => {$(
        impl<$t: Data + $bound + Eq $(, $hasher: $hash + Default + Clone + Send + 'static)?> Data
            for $set<$t $(, $hasher)?>
        {
            const MIN_ENCODED: usize = 1;
            const FIXED_SIZE: bool = false;

            fn schema() -> Schema {
                Schema::Set(Box::new($t::schema()))
            }

            fn encode(&self, out: &mut Vec<u8>) {
                encode_all(self.len(), self.iter(), out);
            }

            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                let length = read_length(input, $t::MIN_ENCODED, "set")?;
                (0..length.min(input.len() + 1)).map(|_| $t::decode(input)).collect()
            }

            fn size_estimate(&self) -> usize {
                let owned: usize = self.iter().map(heap_of).sum();
                size_of::<Self>() + self.len() * (size_of::<$t>() + 8) + owned
            }
        }
    )*};
}

sets! {
    BTreeSet<T: Ord>;
    HashSet<T: Hash, S: BuildHasher>;
}

impl Data for Bytes {
    const MIN_ENCODED: usize = 1;
    const FIXED_SIZE: bool = false;

    fn schema() -> Schema {
        Schema::Bytes
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_varint(self.len() as u64, out);
        out.extend_from_slice(self);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        let length = read_length(input, 1, "bytes")?;
        Ok(Self::copy_from_slice(take(input, length, "bytes")?))
    }

    fn size_estimate(&self) -> usize {
        size_of::<Self>() + self.len()
    }
}

impl Key for Bytes {
    fn encode_key(&self, out: &mut Vec<u8>) {
        crate::key::encode_escaped(self, out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        crate::key::decode_escaped(input, "bytes key").map(Self::from)
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),+);)*) => {$(
        impl<$($name: Data),+> Data for ($($name,)+) {
            const MIN_ENCODED: usize = 0 $(+ $name::MIN_ENCODED)+;
            const FIXED_SIZE: bool = true $(&& $name::FIXED_SIZE)+;

            fn schema() -> Schema {
                Schema::Tuple(vec![$($name::schema()),+])
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$index.encode(out);)+
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(($($name::decode(input)?,)+))
            }

            #[inline]
            fn size_estimate(&self) -> usize {
                size_of::<Self>() $(+ heap_of(&self.$index))+
            }
        }

        impl<$($name: Key),+> Key for ($($name,)+) {
            fn encode_key(&self, out: &mut Vec<u8>) {
                $(self.$index.encode_key(out);)+
            }

            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(($($name::decode_key(input)?,)+))
            }
        }
    )*};
}

tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
}
