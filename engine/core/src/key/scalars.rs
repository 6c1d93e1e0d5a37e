//! The canonical encodings of numbers, `bool`, `char`, `()` and `PhantomData`.

use std::marker::PhantomData;

use super::{Key, KeyHash};
use crate::codec::{CodecError, take_array};
use crate::data::Data;

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

impl Key for u128 {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    #[inline]
    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(Self::from_be_bytes(take_array(input, "u128 key")?))
    }

    #[inline]
    fn key_hash(&self) -> KeyHash {
        let swapped = self.swap_bytes();
        KeyHash::of_two_words(swapped as u64, (swapped >> 64) as u64, 16)
    }
}

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

signed!(i8 as u8, i16 as u16, i32 as u32, i64 as u64, i128 as u128);

macro_rules! pointer_sized {
    ($($type:ty as $wide:ty),*) => {$(
        impl Key for $type {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                (*self as $wide).encode_key(out);
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                Self::try_from(<$wide>::decode_key(input)?).map_err(|_| {
                    CodecError::invalid(concat!(stringify!($type), " key"), "too large for this machine")
                })
            }

            #[inline]
            fn key_hash(&self) -> KeyHash {
                (*self as $wide).key_hash()
            }
        }
    )*};
}

pointer_sized!(usize as u64, isize as i64);

impl Key for bool {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }

    #[inline]
    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        Self::decode(input)
    }

    #[inline]
    fn key_hash(&self) -> KeyHash {
        u8::from(*self).key_hash()
    }
}

impl Key for char {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        u32::from(*self).encode_key(out);
    }

    #[inline]
    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let code = u32::decode_key(input)?;
        Self::from_u32(code).ok_or_else(|| CodecError::invalid("char key", format!("no character {code:#x}")))
    }

    #[inline]
    fn key_hash(&self) -> KeyHash {
        u32::from(*self).key_hash()
    }
}

impl Key for () {
    #[inline]
    fn encode_key(&self, _out: &mut Vec<u8>) {}

    #[inline]
    fn decode_key(_input: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(())
    }

    #[inline]
    fn key_hash(&self) -> KeyHash {
        KeyHash::of(&[])
    }
}

impl<T: Send + 'static> Key for PhantomData<T> {
    #[inline]
    fn encode_key(&self, _out: &mut Vec<u8>) {}

    #[inline]
    fn decode_key(_input: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(Self)
    }

    #[inline]
    fn key_hash(&self) -> KeyHash {
        KeyHash::of(&[])
    }
}
