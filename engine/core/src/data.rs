//! [`Data`]: what a record type must offer, so that it can cross a process boundary and be kept in state.

mod containers;
mod scalars;

pub use scalars::{Ordered, Serde};

use crate::codec::{CodecError, read_length, take, take_array, write_varint};
use crate::schema::Schema;

/// A type whose values can be records: it has a schema known without a value, a binary codec and a size estimate.
///
/// Derive it with `#[derive(Clone, Data)]`. Primitives, strings, tuples, options, vectors and maps have it.
///
/// ```
/// use flott_core::Data;
///
/// #[derive(Clone, Debug, PartialEq, Data)]
/// struct Click { user: String, at: i64 }
///
/// let click = Click { user: "ada".into(), at: 7 };
/// let mut bytes = Vec::new();
/// click.encode(&mut bytes);
/// assert_eq!(Click::decode(&mut bytes.as_slice()), Ok(click));
/// ```
pub trait Data: Clone + Send + 'static {
    /// The fewest bytes an encoded value can take; bounds what a decoder allocates before it has read anything.
    const MIN_ENCODED: usize;

    /// Whether every value takes the same memory (nothing on the heap), so that one estimate serves all.
    const FIXED_SIZE: bool;

    /// The names and types of the record's parts.
    fn schema() -> Schema;

    /// Appends the encoded value to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes an encoded value off the front of `input`.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes are not the encoding of a value. Never panics.
    fn decode(input: &mut &[u8]) -> Result<Self, CodecError>;

    /// About how many bytes of memory the value takes, with what it owns on the heap.
    fn size_estimate(&self) -> usize;
}

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
        }
    )*};
}

fixed_width! {
    u8, U8; u16, U16; u32, U32; u64, U64; u128, U128;
    i8, I8; i16, I16; i32, I32; i64, I64; i128, I128;
    f32, F32; f64, F64;
}

impl Data for String {
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
        let length = read_length(input, 1, "string")?;
        let bytes = take(input, length, "string")?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(CodecError::invalid("string", error.to_string())),
        }
    }

    #[inline]
    fn size_estimate(&self) -> usize {
        size_of::<Self>() + self.capacity()
    }
}
