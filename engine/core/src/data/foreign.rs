//! [`Serde`]: records of foreign types.
//!
//! They are written as MessagePack with field names: a format that describes itself reads back whatever serde's
//! attributes (`skip`, `skip_serializing_if`, `flatten`, `untagged`) make of a type, which a more compact one does not.

mod structure;

use std::any::type_name;
use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Data;
use crate::codec::{CodecError, read_length, refuse, take, write_varint};
use crate::schema::Schema;

/// A value of a foreign type that has serde's traits: it runs everywhere, and its state cannot evolve.
///
/// As with JSON, an option inside an option loses the difference between `None` and `Some(None)`, and values nest no
/// deeper than 128 levels.
///
/// ```
/// use flott_core::{Data, data::Serde};
///
/// let value = Serde(std::time::Duration::from_millis(1500));
/// let mut bytes = Vec::new();
/// value.encode(&mut bytes);
/// assert_eq!(Serde::decode(&mut bytes.as_slice()), Ok(value));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Serde<T>(pub T);

impl<T: Serialize + DeserializeOwned + Clone + Send + 'static> Data for Serde<T> {
    const MIN_ENCODED: usize = 1;
    const FIXED_SIZE: bool = false;

    fn schema() -> Schema {
        Schema::Opaque(type_name::<T>().to_owned())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let bytes = match rmp_serde::to_vec_named(&self.0) {
            Ok(bytes) => bytes,
            Err(error) => refuse(type_name::<T>(), &error),
        };
        if let Err(error) = structure::check(&bytes) {
            refuse(type_name::<T>(), &error);
        }
        write_varint(bytes.len() as u64, out);
        out.extend_from_slice(&bytes);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        let length = read_length(input, 1, "serde value")?;
        let bytes = take(input, length, "serde value")?;
        structure::check(bytes)?;
        match rmp_serde::from_slice(bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(CodecError::invalid("serde value", format!("{}: {error}", type_name::<T>()))),
        }
    }

    /// The size of the value on the stack and, for what it owns, that of its encoding without names.
    fn size_estimate(&self) -> usize {
        let mut counter = Counter(0);
        // A value that cannot be written fails in `encode`; here what was counted until then will do.
        let _ = rmp_serde::encode::write(&mut counter, &self.0);
        size_of::<Self>() + counter.0
    }
}

/// Counts bytes.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
