//! The canonical encodings of strings and bytes: as they are, but for escapes that keep the closing zero the only one.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::{Key, KeyHash};
use crate::codec::{CodecError, take, take_array};
use crate::data::Text;

/// Writes bytes so that they end: order-preserving, and no encoding is the beginning of another.
fn encode_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 1);
    let mut rest = bytes;
    while let Some(position) = rest.iter().position(|byte| *byte < 2) {
        let (plain, from_odd) = rest.split_at(position);
        out.extend_from_slice(plain);
        let [odd, after @ ..] = from_odd else { break };
        out.extend_from_slice(&[1, odd + 1]);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(0);
}

/// Reads what [`encode_escaped`] wrote.
fn decode_escaped(input: &mut &[u8], what: &'static str) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    loop {
        let plain = input.iter().position(|byte| *byte < 2).unwrap_or(input.len());
        bytes.extend_from_slice(take(input, plain, what)?);
        if take_array(input, what)? == [0] {
            return Ok(bytes);
        }
        match take_array(input, what)? {
            [escaped @ 1..=2] => bytes.push(escaped - 1),
            [other] => return Err(CodecError::invalid(what, format!("an unknown escape {other}"))),
        }
    }
}

#[inline]
fn escaped_hash(bytes: &[u8]) -> KeyHash {
    KeyHash::of_plain_text(bytes).unwrap_or_else(|| {
        let mut encoding = Vec::new();
        encode_escaped(bytes, &mut encoding);
        KeyHash::of(&encoding)
    })
}

macro_rules! text {
    ($($type:ty),*) => {$(
        impl Key for $type {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                encode_escaped(self.as_bytes(), out);
            }

            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                match String::from_utf8(decode_escaped(input, "string key")?) {
                    Ok(text) => Ok(text.into()),
                    Err(error) => Err(CodecError::invalid("string key", error.to_string())),
                }
            }

            #[inline]
            fn key_hash(&self) -> KeyHash {
                escaped_hash(self.as_bytes())
            }
        }
    )*};
}

text!(String, Box<str>, Arc<str>, Cow<'static, str>, Text);

impl Key for Bytes {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        encode_escaped(self, out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        decode_escaped(input, "bytes key").map(Self::from)
    }

    #[inline]
    fn key_hash(&self) -> KeyHash {
        escaped_hash(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Data;

    proptest! {
        #[test]
        fn text_is_a_string_to_everybody_else(string in ".{0,40}") {
            let text = Text::from(string.as_str());
            prop_assert_eq!(text.key_hash(), string.key_hash());
            let (mut one, mut other) = (Vec::new(), Vec::new());
            text.encode_key(&mut one);
            string.encode_key(&mut other);
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(Text::decode_key(&mut one.as_slice()), Ok(text.clone()));
            let (mut one, mut other) = (Vec::new(), Vec::new());
            text.encode(&mut one);
            string.encode(&mut other);
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(Text::decode(&mut one.as_slice()), Ok(text.clone()));
            prop_assert!(Text::decode(&mut &one[..one.len() - 1]).is_err());
            prop_assert_eq!(text.size_estimate() > size_of::<Text>(), string.len() > 24);
        }
    }
}
