//! Format 0: Hadoop's own encoding, `Writable`.
//!
//! Numbers are variable-length: one byte for −112 ..= 127, else a byte that says sign and length and 1 to 8 bytes, the highest first.
//! Texts and byte strings are their length and their bytes.

use super::{Credentials, Token};

/// What is left to read.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("they end too early")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn number(&mut self) -> Result<i64, String> {
        let first = i8::from_be_bytes([self.take(1)?[0]]);
        if first >= -112 {
            return Ok(first.into());
        }
        let is_negative = first < -120;
        let length = if is_negative { -120 - i16::from(first) } else { -112 - i16::from(first) };
        let bytes = self.take(usize::from(length.unsigned_abs()))?;
        let value = bytes.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)).cast_signed();
        Ok(if is_negative { !value } else { value })
    }

    fn count(&mut self) -> Result<usize, String> {
        let number = self.number()?;
        usize::try_from(number).map_err(|_| format!("a length in them is {number}"))
    }

    fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.count()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<String, String> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "a name in them is not UTF-8".to_owned())
    }
}

/// Reads what follows magic and version. A count is only believed as far as there are bytes.
pub(super) fn read(mut input: Input<'_>) -> Result<Credentials, String> {
    let mut credentials = Credentials::default();
    for _ in 0..input.count()? {
        let alias = input.text()?;
        let (identifier, password) = (input.bytes()?.to_vec(), input.bytes()?.to_vec());
        let (kind, service) = (input.text()?, input.text()?);
        credentials.insert(alias, Token { kind, service, identifier, password });
    }
    for _ in 0..input.count()? {
        let alias = input.text()?;
        credentials.insert_secret(alias, input.bytes()?.to_vec());
    }
    Ok(credentials)
}

fn write_number(out: &mut Vec<u8>, value: usize) {
    match i8::try_from(value) {
        Ok(byte) => out.extend(byte.to_be_bytes()),
        Err(_) => {
            let bytes = value.to_be_bytes();
            let significant = &bytes[value.leading_zeros() as usize / 8..];
            let length = i8::try_from(significant.len()).unwrap_or(8);
            out.extend((-112 - length).to_be_bytes());
            out.extend(significant);
        }
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_number(out, bytes.len());
    out.extend(bytes);
}

/// Writes what follows magic and version.
pub(super) fn write(credentials: &Credentials, out: &mut Vec<u8>) {
    write_number(out, credentials.tokens.len());
    for (alias, token) in &credentials.tokens {
        write_bytes(out, alias.as_bytes());
        write_bytes(out, &token.identifier);
        write_bytes(out, &token.password);
        write_bytes(out, token.kind.as_bytes());
        write_bytes(out, token.service.as_bytes());
    }
    write_number(out, credentials.secrets.len());
    for (alias, secret) in &credentials.secrets {
        write_bytes(out, alias.as_bytes());
        write_bytes(out, secret);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_java_writes_them() {
        // What WritableUtils.writeVLong gives.
        let vectors: [(usize, &[u8]); 5] = [
            (0, &[0]),
            (127, &[127]),
            (128, &[0x8f, 0x80]),
            (300, &[0x8e, 1, 44]),
            (1 << 32, &[0x8b, 1, 0, 0, 0, 0]),
        ];
        for (value, bytes) in vectors {
            let mut out = Vec::new();
            write_number(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(Input(&out).count(), Ok(value));
        }
        assert_eq!(Input(&[0x87, 0x80]).number(), Ok(-129));
        assert_eq!(Input(&[0xff]).count(), Err("a length in them is -1".to_owned()));
    }

    proptest! {
        #[test]
        fn a_number_comes_back(value: u32, bytes: Vec<u8>) {
            let mut out = Vec::new();
            write_number(&mut out, value as usize);
            prop_assert_eq!(Input(&out).count(), Ok(value as usize));
            let _ = Input(&bytes).number();
        }
    }
}
