//! The primitives of the binary codec: fixed-width little-endian numbers, variable-length lengths, and bounds on both.
//!
//! Decoding never panics, never allocates more than the input could hold and never exhausts the stack, whatever the
//! bytes say.
//!
//! ```
//! use flott_core::codec::{read_length, write_varint};
//!
//! let mut bytes = Vec::new();
//! write_varint(3, &mut bytes);
//! bytes.extend_from_slice(b"ab");
//! // Three things of a byte each do not fit into the two bytes that are left.
//! assert!(read_length(&mut bytes.as_slice(), 1, "list").is_err());
//! ```

use std::cell::Cell;

/// Why bytes could not be read as a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The input ended inside a value.
    #[error("the encoded {what} ends early: {missing} more bytes expected")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// How many bytes are missing.
        missing: usize,
    },
    /// The bytes are not a legal encoding of the type.
    #[error("the encoded {what} is not valid: {reason}")]
    Invalid {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl CodecError {
    /// An [`CodecError::Invalid`] about `what`.
    pub fn invalid(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { what, reason: reason.into() }
    }

    /// Apart and never inlined, so that the way without errors stays short.
    #[cold]
    #[inline(never)]
    fn truncated(what: &'static str, missing: usize) -> Self {
        Self::Truncated { what, missing }
    }
}

/// Takes the first `n` bytes of `input`.
///
/// # Errors
/// [`CodecError::Truncated`] if `input` is shorter.
#[inline]
pub fn take<'a>(input: &mut &'a [u8], n: usize, what: &'static str) -> Result<&'a [u8], CodecError> {
    match input.split_at_checked(n) {
        Some((head, tail)) => {
            *input = tail;
            Ok(head)
        }
        None => Err(CodecError::truncated(what, n - input.len())),
    }
}

/// Takes the first `N` bytes of `input` as an array.
///
/// # Errors
/// [`CodecError::Truncated`] if `input` is shorter.
#[inline]
pub fn take_array<const N: usize>(input: &mut &[u8], what: &'static str) -> Result<[u8; N], CodecError> {
    match input.split_first_chunk::<N>() {
        Some((head, tail)) => {
            *input = tail;
            Ok(*head)
        }
        None => Err(CodecError::truncated(what, N - input.len())),
    }
}

/// Writes an unsigned number in 7-bit groups, least significant first (LEB128): one byte below 128, ten at most.
#[inline]
pub fn write_varint(value: u64, out: &mut Vec<u8>) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        write_long_varint(value, out);
    }
}

fn write_long_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads what [`write_varint`] wrote.
///
/// # Errors
/// [`CodecError`] if the input ends early or the number has more than 64 bits.
#[inline]
pub fn read_varint(input: &mut &[u8], what: &'static str) -> Result<u64, CodecError> {
    match **input {
        [byte @ 0..0x80, ref rest @ ..] => {
            *input = rest;
            Ok(u64::from(byte))
        }
        _ => read_long_varint(input, what),
    }
}

fn read_long_varint(input: &mut &[u8], what: &'static str) -> Result<u64, CodecError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take_array::<1>(input, what)?;
        let bits = u64::from(byte & 0x7F);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(CodecError::invalid(what, "a number of more than 64 bits"))
}

/// Reads a length that [`write_varint`] wrote, of things that take at least `min_bytes` bytes each, and refuses one that
/// the rest of the input cannot hold.
///
/// # Errors
/// [`CodecError`] if there is no number or the input is too short for that many things.
#[inline]
pub fn read_length(input: &mut &[u8], min_bytes: usize, what: &'static str) -> Result<usize, CodecError> {
    let length = usize::try_from(read_varint(input, what)?).unwrap_or(usize::MAX);
    let needed = length.saturating_mul(min_bytes);
    if needed <= input.len() { Ok(length) } else { Err(CodecError::truncated(what, needed - input.len())) }
}

/// How many values may stand inside each other, counted at each box, vector, map or set: 200, which the stack of a
/// thread holds with ease, also in a debug build.
pub const MAX_DEPTH: u32 = 200;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// One level deeper until dropped, also by a panic.
struct Deeper(u32);

impl Deeper {
    #[inline]
    fn enter() -> Option<Self> {
        let depth = DEPTH.get();
        (depth < MAX_DEPTH).then(|| {
            DEPTH.set(depth + 1);
            Self(depth)
        })
    }
}

impl Drop for Deeper {
    #[inline]
    fn drop(&mut self) {
        DEPTH.set(self.0);
    }
}

/// Decodes what stands inside a value by `decode`, unless that is too deep: bytes must not exhaust the stack. The
/// containers do this; a codec written by hand needs it only if a type holds itself in a container of its own.
///
/// # Errors
/// [`CodecError::Invalid`] beyond [`MAX_DEPTH`]; what `decode` returns.
#[inline]
pub fn nested<T>(
    what: &'static str,
    decode: impl FnOnce() -> Result<T, CodecError>,
) -> Result<T, CodecError> {
    match Deeper::enter() {
        Some(_deeper) => decode(),
        None => Err(CodecError::invalid(what, format!("nested deeper than {MAX_DEPTH}"))),
    }
}

/// Encodes what stands inside a value by `encode`: the counterpart of [`nested`], so that nothing is written that cannot
/// be read again.
///
/// # Panics
/// Beyond [`MAX_DEPTH`].
#[inline]
pub fn nested_encode<T>(what: &'static str, encode: impl FnOnce() -> T) -> T {
    match Deeper::enter() {
        Some(_deeper) => encode(),
        None => refuse(what, &format_args!("it is nested deeper than {MAX_DEPTH}")),
    }
}

/// Gives up on a value that has no encoding. A panic, because the value is the user's mistake and the task must fail
/// here: bytes that nobody can read would be noticed only when a checkpoint is restored.
///
/// # Panics
/// Always.
#[cold]
#[expect(clippy::panic, reason = "encoding has no error to return, and going on would lose the value")]
pub(crate) fn refuse(what: &str, reason: &dyn std::fmt::Display) -> ! {
    panic!("cannot encode a value of type {what}: {reason}")
}

/// The least of some numbers, or 0; for the derives.
#[doc(hidden)]
pub const fn least(numbers: &[usize]) -> usize {
    let mut least = usize::MAX;
    let mut index = 0;
    while index < numbers.len() {
        if numbers[index] < least {
            least = numbers[index];
        }
        index += 1;
    }
    if numbers.is_empty() { 0 } else { least }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_are_read_as_written(value in any::<u64>(), shift in 0_u32..64, rest in any::<[u8; 3]>()) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            write_varint(value, &mut bytes);
            prop_assert!(bytes.len() <= 10);
            for cut in 0..bytes.len() {
                prop_assert!(read_varint(&mut &bytes[..cut], "number").is_err());
            }
            bytes.extend_from_slice(&rest);
            let mut input = bytes.as_slice();
            prop_assert_eq!(read_varint(&mut input, "number"), Ok(value));
            prop_assert_eq!(input, rest);
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let mut largest = [0xFF; 10];
        largest[9] = 1;
        assert_eq!(read_varint(&mut largest.as_slice(), "number"), Ok(u64::MAX));
        largest[9] = 2;
        assert!(read_varint(&mut largest.as_slice(), "number").is_err());
        assert!(read_varint(&mut [0x80; 20].as_slice(), "number").is_err());
    }

    #[test]
    fn a_length_the_input_cannot_hold_is_refused() {
        let mut bytes = Vec::new();
        write_varint(u64::MAX, &mut bytes);
        bytes.extend_from_slice(&[0; 64]);
        for min_bytes in [1, 8, usize::MAX] {
            assert!(matches!(
                read_length(&mut bytes.as_slice(), min_bytes, "list"),
                Err(CodecError::Truncated { what: "list", .. })
            ));
        }
        assert_eq!(read_length(&mut [2, 0, 0].as_slice(), 1, "list"), Ok(2));
        assert_eq!(
            read_length(&mut [2, 0, 0].as_slice(), 8, "list").unwrap_err().to_string(),
            "the encoded list ends early: 14 more bytes expected"
        );
    }

    #[test]
    fn the_depth_is_given_back_after_an_error_and_after_a_panic() {
        fn dive(levels: u32) -> Result<(), CodecError> {
            if levels == 0 { Ok(()) } else { nested("well", || dive(levels - 1)) }
        }
        for _ in 0..3 {
            assert_eq!(dive(MAX_DEPTH), Ok(()));
            assert!(dive(MAX_DEPTH + 1).unwrap_err().to_string().contains("nested deeper than 200"));
            let panicked = std::panic::catch_unwind(|| nested_encode("well", || panic!("in the middle")));
            assert!(panicked.is_err());
        }
    }
}
