//! The structure of a MessagePack value, checked without reading what is in it: one value, the whole of the bytes,
//! nested no deeper than a decoder's stack holds. (The deserializer itself does not count the levels of enums.)

use crate::codec::{CodecError, take, take_array};

/// How many values of a foreign type may stand inside each other.
const MAX_FOREIGN_DEPTH: usize = 128;

const WHAT: &str = "serde value";

/// What the first bytes of a value say about the rest of it.
enum Next {
    /// So many bytes belong to it.
    Bytes(u64),
    /// So many values belong to it.
    Values(u64),
}

/// Reads a big-endian length of `N` bytes.
fn length<const N: usize>(input: &mut &[u8]) -> Result<u64, CodecError> {
    let bytes: [u8; N] = take_array(input, WHAT)?;
    Ok(bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)))
}

fn next(input: &mut &[u8]) -> Result<Next, CodecError> {
    let [marker] = take_array(input, WHAT)?;
    Ok(match marker {
        // Small numbers, nil, false, true.
        0x00..=0x7F | 0xC0 | 0xC2 | 0xC3 | 0xE0..=0xFF => Next::Bytes(0),
        0x80..=0x8F => Next::Values(u64::from(marker & 0x0F) * 2),
        0x90..=0x9F => Next::Values(u64::from(marker & 0x0F)),
        0xA0..=0xBF => Next::Bytes(u64::from(marker & 0x1F)),
        0xC1 => return Err(CodecError::invalid(WHAT, "the byte 0xc1 begins no value")),
        // Bytes and strings.
        0xC4 | 0xD9 => Next::Bytes(length::<1>(input)?),
        0xC5 | 0xDA => Next::Bytes(length::<2>(input)?),
        0xC6 | 0xDB => Next::Bytes(length::<4>(input)?),
        // Extensions, with a byte for their type.
        0xC7 => Next::Bytes(length::<1>(input)? + 1),
        0xC8 => Next::Bytes(length::<2>(input)? + 1),
        0xC9 => Next::Bytes(length::<4>(input)? + 1),
        0xD4..=0xD8 => Next::Bytes((1 << (marker - 0xD4)) + 1),
        // Numbers.
        0xCC | 0xD0 => Next::Bytes(1),
        0xCD | 0xD1 => Next::Bytes(2),
        0xCA | 0xCE | 0xD2 => Next::Bytes(4),
        0xCB | 0xCF | 0xD3 => Next::Bytes(8),
        // Arrays and maps.
        0xDC => Next::Values(length::<2>(input)?),
        0xDD => Next::Values(length::<4>(input)?),
        0xDE => Next::Values(length::<2>(input)? * 2),
        0xDF => Next::Values(length::<4>(input)? * 2),
    })
}

/// Checks that `bytes` are one value and nothing else, not nested too deeply.
///
/// # Errors
/// [`CodecError`] if they are not.
pub fn check(bytes: &[u8]) -> Result<(), CodecError> {
    let input = &mut &bytes[..];
    // How many values are to come, in each of the arrays and maps that are open.
    let mut open = Vec::new();
    let mut to_come = 1_u64;
    loop {
        while to_come == 0 {
            match open.pop() {
                Some(outer) => to_come = outer,
                None if input.is_empty() => return Ok(()),
                None => return Err(CodecError::invalid(WHAT, format!("{} bytes too many", input.len()))),
            }
        }
        to_come -= 1;
        match next(input)? {
            Next::Bytes(length) => {
                take(input, usize::try_from(length).unwrap_or(usize::MAX), WHAT)?;
            }
            Next::Values(_) if open.len() == MAX_FOREIGN_DEPTH => {
                let reason = format!("nested deeper than {MAX_FOREIGN_DEPTH}");
                return Err(CodecError::invalid(WHAT, reason));
            }
            Next::Values(values) => {
                open.push(to_come);
                to_come = values;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    fn written(value: &impl Serialize) -> Vec<u8> {
        rmp_serde::to_vec_named(value).unwrap()
    }

    proptest! {
        #[test]
        fn every_value_passes_whole_and_only_whole(
            numbers in any::<(u64, i64, u16, i16, u8, i8, f32, f64)>(),
            text in any::<(String, Option<char>, bool)>(),
            bytes in vec(any::<u128>(), 0..20),
            map in any::<BTreeMap<i32, Vec<u32>>>(),
        ) {
            let value = (numbers, text, bytes, map);
            let mut bytes = written(&value);
            prop_assert_eq!(check(&bytes), Ok(()));
            for cut in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
                prop_assert!(check(&bytes[..cut]).is_err());
            }
            bytes.push(0);
            prop_assert!(check(&bytes).is_err());
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in vec(any::<u8>(), 0..64)) {
            let _ = check(&bytes);
        }
    }

    #[test]
    fn long_strings_arrays_and_maps_pass() {
        for length in [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            let map: BTreeMap<u32, ()> = (0..length).map(|n| (n, ())).collect();
            let text = "x".repeat(length as usize);
            assert_eq!(check(&written(&(map, vec![1_u8; length as usize], text))), Ok(()), "{length}");
        }
    }

    #[test]
    fn extensions_are_as_long_as_they_say() {
        let extensions = [
            vec![0xD4, 1, 0],
            vec![0xD6, 1, 0, 0, 0, 0],
            vec![0xC7, 2, 1, 0, 0],
            vec![0xC8, 0, 1, 9, 0],
            vec![0xC9, 0, 0, 0, 0, 9],
        ];
        for bytes in extensions {
            assert_eq!(check(&bytes), Ok(()), "{bytes:?}");
            assert!(check(&bytes[..bytes.len() - 1]).is_err());
        }
        assert!(check(&[0xC1]).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |levels: usize| [vec![0x91; levels], vec![0xC0]].concat();
        assert_eq!(check(&deep(MAX_FOREIGN_DEPTH)), Ok(()));
        assert!(check(&deep(MAX_FOREIGN_DEPTH + 1)).is_err());
        // Many beside each other are not deep.
        assert_eq!(check(&[vec![0xDC, 0x03, 0xE8], [0x91, 0xC0].repeat(1000)].concat()), Ok(()));
    }
}
