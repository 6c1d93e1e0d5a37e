//! The canonical encodings of options, boxes, shared pointers, vectors and arrays.

use std::sync::Arc;

use super::{Key, KeyHash};
use crate::codec::{CodecError, nested, nested_encode, take_array};

impl<K: Key> Key for Option<K> {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(key) = self {
            key.encode_key(out);
        }
    }

    #[inline]
    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        match take_array(input, "option key")? {
            [0] => Ok(None),
            [1] => K::decode_key(input).map(Some),
            [other] => Err(CodecError::invalid("option key", format!("neither 0 nor 1 but {other}"))),
        }
    }
}

macro_rules! pointers {
    ($($pointer:ident of $($bound:ident)+;)*) => {$(
        impl<K: $($bound +)+> Key for $pointer<K> {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                nested_encode("boxed key", || (**self).encode_key(out));
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                nested("boxed key", || K::decode_key(input).map(Self::new))
            }

            #[inline]
            fn key_hash(&self) -> KeyHash {
                (**self).key_hash()
            }
        }
    )*};
}

pointers! {
    Box of Key;
    Arc of Key Sync;
}

impl<K: Key> Key for Vec<K> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        nested_encode("vector key", || {
            for key in self {
                out.push(1);
                key.encode_key(out);
            }
        });
        out.push(0);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        nested("vector key", || {
            let mut keys = Self::new();
            loop {
                match take_array(input, "vector key")? {
                    [0] => return Ok(keys),
                    [1] => keys.push(K::decode_key(input)?),
                    [other] => {
                        return Err(CodecError::invalid(
                            "vector key",
                            format!("neither 0 nor 1 but {other}"),
                        ));
                    }
                }
            }
        })
    }
}

impl<K: Key, const N: usize> Key for [K; N] {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|key| key.encode_key(out));
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let mut keys = Vec::with_capacity(N);
        for _ in 0..N {
            keys.push(K::decode_key(input)?);
        }
        Self::try_from(keys).map_err(|_| CodecError::invalid("array key", "of another length"))
    }
}
