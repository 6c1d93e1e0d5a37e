//! [`Ordered`]: floats that can be keys.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::Data;
use crate::codec::CodecError;
use crate::key::{Key, KeyHash};
use crate::schema::Schema;

/// A float with a total order, which can be a key: −0.0 equals 0.0, all NaN are equal, and NaN is greater than
/// everything else, infinity included.
///
/// As a key, −0.0 and the many NaN lose what told them apart; as a record they keep it.
///
/// ```
/// use flott_core::data::Ordered;
///
/// let mut numbers = [f64::NAN, 0.5, f64::INFINITY, -1.0].map(Ordered);
/// numbers.sort();
/// assert_eq!(numbers, [-1.0, 0.5, f64::INFINITY, f64::NAN].map(Ordered));
/// assert_eq!(Ordered(-0.0_f64), Ordered(0.0));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Ordered<F>(pub F);

impl<F> From<F> for Ordered<F> {
    fn from(value: F) -> Self {
        Self(value)
    }
}

macro_rules! ordered {
    ($($float:ident as $bits:ident, $nan:literal;)*) => {$(
        impl Ordered<$float> {
            const SIGN: $bits = 1 << ($bits::BITS - 1);

            /// Bits whose unsigned order is the order of the values. Frozen: it is the key's encoding.
            #[inline]
            fn rank(self) -> $bits {
                // Adding 0 makes −0 positive and leaves the rest.
                let bits = if self.0.is_nan() { $nan } else { (self.0 + 0.0).to_bits() };
                if bits & Self::SIGN == 0 { bits | Self::SIGN } else { !bits }
            }
        }

        impl PartialEq for Ordered<$float> {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                self.rank() == other.rank()
            }
        }

        impl Eq for Ordered<$float> {}

        impl PartialOrd for Ordered<$float> {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for Ordered<$float> {
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                self.rank().cmp(&other.rank())
            }
        }

        impl Hash for Ordered<$float> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.rank().hash(state);
            }
        }

        impl Data for Ordered<$float> {
            const MIN_ENCODED: usize = size_of::<$float>();
            const FIXED_SIZE: bool = true;

            fn schema() -> Schema {
                $float::schema()
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                $float::decode(input).map(Self)
            }

            #[inline]
            fn size_estimate(&self) -> usize {
                size_of::<Self>()
            }
        }

        impl Key for Ordered<$float> {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                self.rank().encode_key(out);
            }

            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                let rank = $bits::decode_key(input)?;
                let bits = if rank & Self::SIGN == 0 { !rank } else { rank & !Self::SIGN };
                let value = Self($float::from_bits(bits));
                if value.rank() == rank {
                    Ok(value)
                } else {
                    Err(CodecError::invalid("float key", "a negative zero or an odd NaN"))
                }
            }

            #[inline]
            fn key_hash(&self) -> KeyHash {
                self.rank().key_hash()
            }
        }
    )*};
}

ordered! {
    f32 as u32, 0x7FC0_0000;
    f64 as u64, 0x7FF8_0000_0000_0000;
}
