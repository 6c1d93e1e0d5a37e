//! The primitives of the binary codec: fixed-width little-endian numbers, variable-length lengths, and bounds on both.
//!
//! Decoding never panics and never allocates more than the input could hold, whatever the bytes say.

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
        None => Err(CodecError::Truncated { what, missing: n - input.len() }),
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
        None => Err(CodecError::Truncated { what, missing: N - input.len() }),
    }
}

/// Writes an unsigned number in 7-bit groups, least significant first (LEB128): one byte below 128, ten at most.
#[inline]
pub fn write_varint(mut value: u64, out: &mut Vec<u8>) {
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
    Err(CodecError::invalid(what, "a length of more than 64 bits"))
}

/// Reads a length that [`write_varint`] wrote, of things that take at least `min_bytes` bytes each, and refuses one that
/// the rest of the input cannot hold.
///
/// # Errors
/// [`CodecError`] if there is no number or the input is too short for that many things.
#[inline]
pub fn read_length(input: &mut &[u8], min_bytes: usize, what: &'static str) -> Result<usize, CodecError> {
    let length = read_varint(input, what)?;
    let needed = usize::try_from(length).ok().and_then(|n| n.checked_mul(min_bytes));
    match needed {
        Some(needed) if needed <= input.len() => Ok(length as usize),
        _ => Err(CodecError::Truncated {
            what,
            missing: needed.unwrap_or(usize::MAX).saturating_sub(input.len()),
        }),
    }
}

/// How deeply values may stand inside each other before a decoder gives up.
const DEEPEST: u32 = 500;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Decodes a named type by `decode`, unless it stands too deeply inside itself: bytes must not exhaust the stack.
///
/// # Errors
/// [`CodecError::Invalid`] beyond a depth of 500; what `decode` returns.
#[inline]
pub fn nested<T>(
    what: &'static str,
    decode: impl FnOnce() -> Result<T, CodecError>,
) -> Result<T, CodecError> {
    let depth = DEPTH.get();
    if depth >= DEEPEST {
        return Err(CodecError::invalid(what, "nested too deeply"));
    }
    DEPTH.set(depth + 1);
    let result = decode();
    DEPTH.set(depth);
    result
}

/// The least of some numbers, or 0; for the derives.
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
