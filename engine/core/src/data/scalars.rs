//! `Data` and `Key` of the small types that are not plain numbers, and [`Ordered`] floats and [`Serde`] values.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Data;
use crate::codec::{CodecError, read_length, take, take_array, write_varint};
use crate::key::Key;
use crate::schema::Schema;

impl Data for () {
    const MIN_ENCODED: usize = 0;
    const FIXED_SIZE: bool = true;

    fn schema() -> Schema {
        Schema::Unit
    }

    fn encode(&self, _out: &mut Vec<u8>) {}

    fn decode(_input: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(())
    }

    fn size_estimate(&self) -> usize {
        0
    }
}

impl Key for () {
    fn encode_key(&self, _out: &mut Vec<u8>) {}

    fn decode_key(_input: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(())
    }
}

impl Data for bool {
    const MIN_ENCODED: usize = 1;
    const FIXED_SIZE: bool = true;

    fn schema() -> Schema {
        Schema::Bool
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        match take_array::<1>(input, "bool")? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(CodecError::invalid("bool", "neither 0 nor 1")),
        }
    }

    fn size_estimate(&self) -> usize {
        1
    }
}

impl Key for bool {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        Self::decode(input)
    }
}

impl Data for char {
    const MIN_ENCODED: usize = 4;
    const FIXED_SIZE: bool = true;

    fn schema() -> Schema {
        Schema::Char
    }

    fn encode(&self, out: &mut Vec<u8>) {
        u32::from(*self).encode(out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        let code = u32::decode(input)?;
        Self::from_u32(code).ok_or_else(|| CodecError::invalid("char", format!("no character {code:#x}")))
    }

    fn size_estimate(&self) -> usize {
        4
    }
}

impl Key for char {
    fn encode_key(&self, out: &mut Vec<u8>) {
        u32::from(*self).encode_key(out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let code = u32::decode_key(input)?;
        Self::from_u32(code).ok_or_else(|| CodecError::invalid("char key", format!("no character {code:#x}")))
    }
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

            fn encode(&self, out: &mut Vec<u8>) {
                (*self as $wide).encode(out);
            }

            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                let wide = $wide::decode(input)?;
                Self::try_from(wide).map_err(|_| CodecError::invalid(stringify!($type), "too large for this machine"))
            }

            fn size_estimate(&self) -> usize {
                size_of::<Self>()
            }
        }

        impl Key for $type {
            fn encode_key(&self, out: &mut Vec<u8>) {
                (*self as $wide).encode_key(out);
            }

            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                let wide = $wide::decode_key(input)?;
                Self::try_from(wide).map_err(|_| CodecError::invalid(stringify!($type), "too large for this machine"))
            }
        }
    )*};
}

pointer_sized! {
    usize as u64, U64;
    isize as i64, I64;
}

/// A float that can be a key: −0.0 equals 0.0, all NaN are equal, and NaN is greater than everything else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ordered<F>(pub F);

macro_rules! ordered {
    ($($float:ident as $bits:ident;)*) => {$(
        impl Ordered<$float> {
            /// Bits whose unsigned order is the order of the values.
            fn order(self) -> $bits {
                const SIGN: $bits = 1 << ($bits::BITS - 1);
                let value = if self.0.is_nan() { $float::NAN.abs() } else { self.0 + 0.0 };
                let bits = value.to_bits();
                if bits & SIGN == 0 { bits | SIGN } else { !bits }
            }
        }

        impl PartialEq for Ordered<$float> {
            fn eq(&self, other: &Self) -> bool {
                self.order() == other.order()
            }
        }

        impl Eq for Ordered<$float> {}

        impl PartialOrd for Ordered<$float> {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for Ordered<$float> {
            fn cmp(&self, other: &Self) -> Ordering {
                self.order().cmp(&other.order())
            }
        }

        impl Hash for Ordered<$float> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.order().hash(state);
            }
        }

        impl Data for Ordered<$float> {
            const MIN_ENCODED: usize = size_of::<$float>();
            const FIXED_SIZE: bool = true;

            fn schema() -> Schema {
                $float::schema()
            }

            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }

            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                $float::decode(input).map(Self)
            }

            fn size_estimate(&self) -> usize {
                size_of::<Self>()
            }
        }

        impl Key for Ordered<$float> {
            fn encode_key(&self, out: &mut Vec<u8>) {
                self.order().encode_key(out);
            }

            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                const SIGN: $bits = 1 << ($bits::BITS - 1);
                let order = $bits::decode_key(input)?;
                let bits = if order & SIGN == 0 { !order } else { order & !SIGN };
                Ok(Self($float::from_bits(bits)))
            }
        }
    )*};
}

ordered! {
    f32 as u32;
    f64 as u64;
}

/// A value of a foreign type that has serde's traits: it runs everywhere, and its state cannot evolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Serde<T>(pub T);

impl<T: Serialize + DeserializeOwned + Clone + Send + 'static> Data for Serde<T> {
    const MIN_ENCODED: usize = 1;
    const FIXED_SIZE: bool = false;

    fn schema() -> Schema {
        Schema::Opaque(std::any::type_name::<T>().to_owned())
    }

    /// A value that serde cannot write (a map with odd keys, say) is written as nothing and refused when read.
    fn encode(&self, out: &mut Vec<u8>) {
        let bytes = postcard::to_allocvec(&self.0).unwrap_or_default();
        write_varint(bytes.len() as u64, out);
        out.extend_from_slice(&bytes);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        let length = read_length(input, 1, "serde value")?;
        let bytes = take(input, length, "serde value")?;
        match postcard::from_bytes(bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(CodecError::invalid("serde value", error.to_string())),
        }
    }

    fn size_estimate(&self) -> usize {
        let size = postcard::experimental::serialized_size(&self.0).unwrap_or_default();
        size_of::<T>() + size
    }
}
