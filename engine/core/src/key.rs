//! [`Key`], its frozen order-preserving encoding, the frozen hash of that encoding, and key groups.
//!
//! The encoding and the hash never change: they decide which subtask owns a key, and checkpoints rely on it.
//!
//! # Encoding
//! Equal bytes exactly when the values are equal; byte order is value order.
//! - unsigned numbers: big endian; signed numbers: big endian with the sign bit flipped
//! - `bool`: one byte 0 or 1; `char`: as `u32`
//! - strings and bytes: each byte as it is, but 0x00 as 0x01 0x01 and 0x01 as 0x01 0x02; then 0x00
//! - floats ([`Ordered`](crate::data::Ordered)): the bits, all flipped if negative, else the sign flipped; −0.0 as 0.0; NaN
//!   as the positive quiet one
//! - tuples, arrays and structs: the parts in order; enums: the variant's position as `u32`, then its fields
//! - options: 0x00 for none, 0x01 and the value; vectors: 0x01 and the element for each, then 0x00
//! - `usize` and `isize` as 64 bits; boxes and shared pointers as what they hold; `()` as nothing
//!
//! "Bytes" are `bytes::Bytes`; a `Vec<u8>` is a vector, and takes twice as much.
//!
//! # Hash
//! Version 1 reads the encoding in little-endian words of 8 bytes, the last one padded with zeros:
//! `h = fold(h ^ word, M1)` for each, then `fold(h ^ length, M2)`, where `fold(a, b)` is the exclusive or of the halves of
//! the 128-bit product (the mixing step of Wang Yi's wyhash). The key group is the high half modulo the max parallelism;
//! hash tables inside a key group use the low half, so both stay evenly spread.

mod containers;
mod group;
mod hash;
mod scalars;
mod text;

use std::cell::Cell;

pub use group::{KeyGroup, KeyGroupRange, MaxParallelism};
pub use hash::KeyHash;

use crate::data::Data;

/// Scratch space beyond this is given back after use.
const SCRATCH_BYTES: usize = 4096;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A type by which a stream can be partitioned: it has the canonical encoding of this module.
///
/// Derive it with `#[derive(Clone, PartialEq, Eq, Data, Key)]`; the order of the variants and fields is then frozen too.
/// Bare floats and maps are no keys (see [`Ordered`](crate::data::Ordered)).
///
/// ```
/// use flott_core::{Data, Key};
///
/// #[derive(Clone, PartialEq, Eq, Data, Key)]
/// enum Account { Guest, Member { id: u64 } }
///
/// let mut bytes = Vec::new();
/// Account::Member { id: 7 }.encode_key(&mut bytes);
/// assert_eq!(bytes, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7]);
/// ```
///
/// ```compile_fail
/// #[derive(Clone, PartialEq, flott_core::Data, flott_core::Key)]
/// struct Price(f64);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be (part of) a key",
    note = "derive it: `#[derive(Clone, PartialEq, Eq, Data, Key)]`; a float is one as `Ordered<f64>`; maps and sets are none"
)]
pub trait Key: Data + Eq {
    /// Appends the canonical encoding to `out`.
    fn encode_key(&self, out: &mut Vec<u8>);

    /// Takes a canonical encoding off the front of `input`.
    ///
    /// # Errors
    /// [`CodecError`](crate::CodecError) if the bytes are not the encoding of a key. Never panics.
    fn decode_key(input: &mut &[u8]) -> Result<Self, crate::CodecError>;

    /// The hash of the canonical encoding. Overridden only to be faster, never to be different.
    #[inline]
    fn key_hash(&self) -> KeyHash {
        // The scratch space is taken, so a key whose encoding hashes another key finds an empty one, not this.
        let mut bytes = SCRATCH.try_with(Cell::take).unwrap_or_default();
        bytes.clear();
        self.encode_key(&mut bytes);
        let hash = KeyHash::of(&bytes);
        if bytes.capacity() <= SCRATCH_BYTES {
            // Without scratch space (the thread is ending) the next one allocates.
            let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
        }
        hash
    }
}
