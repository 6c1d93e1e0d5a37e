//! [`Data`]: what a record type must offer, so that it can cross a process boundary and be kept in state.
//!
//! # Encoding
//! State snapshots hold these bytes, so they stay readable for ever:
//! - numbers: fixed width, little endian; `usize` and `isize` with 64 bits; `bool` a byte 0 or 1; `char` as `u32`
//! - strings and bytes: the length as a varint (see [`codec`](crate::codec)), then the bytes
//! - options: a byte 0, or 1 and the value; vectors, sets and maps: the length as a varint, then the elements
//! - tuples, arrays, structs: the parts in order; enums: the variant's position as a varint, then its parts
//! - boxes and shared pointers: as what they hold
//!
//! Equal schemas mean the same encoding: a `Vec<Box<T>>` reads what a `Vec<T>` wrote.

mod collections;
mod containers;
mod foreign;
mod ordered;
mod scalars;
mod text;
mod tuples;

pub use foreign::Serde;
pub use ordered::Ordered;
pub use text::Text;

use crate::codec::CodecError;
use crate::schema::Schema;

/// A type whose values can be records: it has a schema known without a value, a binary codec and a size estimate.
///
/// Derive it with `#[derive(Clone, Data)]`. Primitives, strings, tuples, options, vectors and maps have it. A type may
/// hold itself in a box, a vector or a map, up to [`MAX_DEPTH`](crate::codec::MAX_DEPTH) levels.
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
///
/// A type that borrows cannot be a record, and neither can a union:
///
/// ```compile_fail
/// #[derive(Clone, flott_core::Data)]
/// struct Word<'a>(&'a str);
/// ```
/// ```compile_fail
/// #[derive(Clone, Copy, flott_core::Data)]
/// union Bits { int: u32, float: f32 }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be (part of) a record",
    note = "derive it: `#[derive(Clone, Data)]`; a foreign type with serde's traits travels as `Serde<{Self}>`"
)]
pub trait Data: Clone + Send + 'static {
    /// The fewest bytes an encoded value can take; bounds what a decoder allocates before it has read anything.
    const MIN_ENCODED: usize;

    /// Whether every value takes the same memory (nothing on the heap), so that one estimate serves all.
    const FIXED_SIZE: bool;

    /// The names and types of the record's parts.
    fn schema() -> Schema;

    /// Appends the encoded value to `out`.
    ///
    /// # Panics
    /// If the value has no encoding: it is nested too deeply, or a foreign type's serde code fails. The task fails then.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes an encoded value off the front of `input`.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes are not the encoding of a value. Never panics.
    fn decode(input: &mut &[u8]) -> Result<Self, CodecError>;

    /// About how many bytes of memory the value takes, with what it owns on the heap.
    fn size_estimate(&self) -> usize;

    /// Appends the encodings of `values`, one after the other. Overridden only to be faster.
    #[doc(hidden)]
    #[inline]
    fn encode_all(values: &[Self], out: &mut Vec<u8>) {
        out.reserve(values.len() * Self::MIN_ENCODED);
        values.iter().for_each(|value| value.encode(out));
    }

    /// Takes `length` values off the front of `input`. Overridden only to be faster.
    #[doc(hidden)]
    #[inline]
    fn decode_all(length: usize, input: &mut &[u8]) -> Result<Vec<Self>, CodecError> {
        containers::decode_each(length, input)
    }

    /// Takes an array's values off the front of `input`. Overridden only to be faster.
    #[doc(hidden)]
    #[inline]
    fn decode_array<const N: usize>(input: &mut &[u8]) -> Result<[Self; N], CodecError> {
        containers::decode_array_by_vector(input)
    }
}

/// The bytes a value owns beyond its own; for the derives and the containers.
#[doc(hidden)]
#[inline]
pub fn heap_bytes<T: Data>(value: &T) -> usize {
    if T::FIXED_SIZE { 0 } else { value.size_estimate().saturating_sub(size_of::<T>()) }
}
