//! `Data` of maps and sets: the elements in the collection's own order, which is any for the hashed ones.
//!
//! An element that comes twice is refused, which also bounds elements that take no bytes: at most one differs from
//! all that take some.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use super::{Data, heap_bytes};
use crate::codec::{CodecError, nested, nested_encode, read_length, write_varint};
use crate::schema::Schema;

/// What a hash table or a search tree keeps beside an entry, roughly.
const ENTRY_OVERHEAD: usize = 8;

/// Reads how many distinct elements follow, of which one may take no bytes.
fn distinct_length(
    input: &mut &[u8],
    key_bytes: usize,
    min_bytes: usize,
    what: &'static str,
) -> Result<usize, CodecError> {
    let length = read_length(input, min_bytes, what)?;
    if key_bytes == 0 && length > input.len() + 1 {
        return Err(CodecError::invalid(what, format!("{length} distinct keys in {} bytes", input.len())));
    }
    Ok(length)
}

fn duplicate(what: &'static str) -> CodecError {
    CodecError::invalid(what, "the same key twice")
}

macro_rules! maps {
    ($($map:ident<K: $bound:path $(, $hasher:ident: $hash:path)?>;)*) => {$(
        impl<K: Data + $bound + Eq, V: Data $(, $hasher: $hash + Default + Clone + Send + 'static)?> Data
            for $map<K, V $(, $hasher)?>
        {
            const MIN_ENCODED: usize = 1;
            const FIXED_SIZE: bool = false;

            fn schema() -> Schema {
                Schema::Map(Box::new(K::schema()), Box::new(V::schema()))
            }

            fn encode(&self, out: &mut Vec<u8>) {
                write_varint(self.len() as u64, out);
                nested_encode("map", || {
                    for (key, value) in self {
                        key.encode(out);
                        value.encode(out);
                    }
                });
            }

            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                let length = distinct_length(input, K::MIN_ENCODED, K::MIN_ENCODED + V::MIN_ENCODED, "map")?;
                nested("map", || {
                    let mut map = Self::default();
                    for _ in 0..length {
                        if map.insert(K::decode(input)?, V::decode(input)?).is_some() {
                            return Err(duplicate("map"));
                        }
                    }
                    Ok(map)
                })
            }

            fn size_estimate(&self) -> usize {
                let owned: usize = if K::FIXED_SIZE && V::FIXED_SIZE {
                    0
                } else {
                    self.iter().map(|(key, value)| heap_bytes(key) + heap_bytes(value)).sum()
                };
                size_of::<Self>() + self.len() * (size_of::<K>() + size_of::<V>() + ENTRY_OVERHEAD) + owned
            }
        }
    )*};
}

maps! {
    BTreeMap<K: Ord>;
    HashMap<K: Hash, S: BuildHasher>;
}

macro_rules! sets {
    ($($set:ident<T: $bound:path $(, $hasher:ident: $hash:path)?>;)*) => {$(
        impl<T: Data + $bound + Eq $(, $hasher: $hash + Default + Clone + Send + 'static)?> Data
            for $set<T $(, $hasher)?>
        {
            const MIN_ENCODED: usize = 1;
            const FIXED_SIZE: bool = false;

            fn schema() -> Schema {
                Schema::Set(Box::new(T::schema()))
            }

            fn encode(&self, out: &mut Vec<u8>) {
                write_varint(self.len() as u64, out);
                nested_encode("set", || self.iter().for_each(|value| value.encode(out)));
            }

            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                let length = distinct_length(input, T::MIN_ENCODED, T::MIN_ENCODED, "set")?;
                nested("set", || {
                    let mut set = Self::default();
                    for _ in 0..length {
                        if !set.insert(T::decode(input)?) {
                            return Err(duplicate("set"));
                        }
                    }
                    Ok(set)
                })
            }

            fn size_estimate(&self) -> usize {
                let owned: usize = if T::FIXED_SIZE { 0 } else { self.iter().map(heap_bytes).sum() };
                size_of::<Self>() + self.len() * (size_of::<T>() + ENTRY_OVERHEAD) + owned
            }
        }
    )*};
}

sets! {
    BTreeSet<T: Ord>;
    HashSet<T: Hash, S: BuildHasher>;
}
