//! `Data` of numbers, `bool`, `char`, `()` and `PhantomData`.

use std::marker::PhantomData;

use super::Data;
use crate::codec::{CodecError, take, take_array};
use crate::schema::Schema;

macro_rules! fixed_width {
    ($($type:ty, $schema:ident;)*) => {$(
        impl Data for $type {
            const MIN_ENCODED: usize = size_of::<$type>();
            const FIXED_SIZE: bool = true;

            fn schema() -> Schema {
                Schema::$schema
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(Self::from_le_bytes(take_array(input, stringify!($type))?))
            }

            #[inline]
            fn size_estimate(&self) -> usize {
                size_of::<$type>()
            }

            // The three below become block copies on little-endian machines.

            #[inline]
            fn encode_all(values: &[Self], out: &mut Vec<u8>) {
                let start = out.len();
                out.resize(start + size_of_val(values), 0);
                let (chunks, _) = out[start..].as_chunks_mut();
                for (chunk, value) in chunks.iter_mut().zip(values) {
                    *chunk = value.to_le_bytes();
                }
            }

            #[inline]
            fn decode_all(length: usize, input: &mut &[u8]) -> Result<Vec<Self>, CodecError> {
                let bytes = take(input, length.saturating_mul(size_of::<Self>()), stringify!($type))?;
                let (chunks, _) = bytes.as_chunks();
                Ok(chunks.iter().map(|chunk| Self::from_le_bytes(*chunk)).collect())
            }

            #[inline]
            fn decode_array<const N: usize>(input: &mut &[u8]) -> Result<[Self; N], CodecError> {
                let bytes = take(input, N.saturating_mul(size_of::<Self>()), stringify!($type))?;
                let (chunks, _) = bytes.as_chunks();
                let mut values = [<$type>::default(); N];
                for (value, chunk) in values.iter_mut().zip(chunks) {
                    *value = Self::from_le_bytes(*chunk);
                }
                Ok(values)
            }
        }
    )*};
}

fixed_width! {
    u8, U8; u16, U16; u32, U32; u64, U64; u128, U128;
    i8, I8; i16, I16; i32, I32; i64, I64; i128, I128;
    f32, F32; f64, F64;
}

macro_rules! pointer_sized {
    ($($type:ident as $wide:ident, $schema:ident;)*) => {$(
        /// Written with 64 bits, so that every machine reads it.
        impl Data for $type {
            const MIN_ENCODED: usize = 8;
            const FIXED_SIZE: bool = true;

            fn schema() -> Schema {
                Schema::$schema
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                (*self as $wide).encode(out);
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                let wide = $wide::decode(input)?;
                Self::try_from(wide)
                    .map_err(|_| CodecError::invalid(stringify!($type), "too large for this machine"))
            }

            #[inline]
            fn size_estimate(&self) -> usize {
                size_of::<Self>()
            }
        }
    )*};
}

pointer_sized! {
    usize as u64, U64;
    isize as i64, I64;
}

impl Data for bool {
    const MIN_ENCODED: usize = 1;
    const FIXED_SIZE: bool = true;

    fn schema() -> Schema {
        Schema::Bool
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        match take_array(input, "bool")? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(CodecError::invalid("bool", format!("neither 0 nor 1 but {other}"))),
        }
    }

    #[inline]
    fn size_estimate(&self) -> usize {
        size_of::<Self>()
    }
}

impl Data for char {
    const MIN_ENCODED: usize = 4;
    const FIXED_SIZE: bool = true;

    fn schema() -> Schema {
        Schema::Char
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        u32::from(*self).encode(out);
    }

    #[inline]
    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        let code = u32::from_le_bytes(take_array(input, "char")?);
        Self::from_u32(code).ok_or_else(|| CodecError::invalid("char", format!("no character {code:#x}")))
    }

    #[inline]
    fn size_estimate(&self) -> usize {
        size_of::<Self>()
    }
}

macro_rules! without_bytes {
    ($($type:ty, $value:expr, [$($generics:tt)*];)*) => {$(
        impl<$($generics)*> Data for $type {
            const MIN_ENCODED: usize = 0;
            const FIXED_SIZE: bool = true;

            fn schema() -> Schema {
                Schema::Unit
            }

            #[inline]
            fn encode(&self, _out: &mut Vec<u8>) {}

            #[inline]
            fn decode(_input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok($value)
            }

            #[inline]
            fn size_estimate(&self) -> usize {
                0
            }
        }
    )*};
}

without_bytes! {
    (), (), [];
    PhantomData<T>, Self, [T: Send + 'static];
}
