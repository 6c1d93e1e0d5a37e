//! Batches: what crosses an operator boundary, and the seam for other containers than rows.

use crate::codec::{CodecError, read_length, write_varint};
use crate::data::Data;
use crate::schema::Schema;
use crate::time::{NO_TIMESTAMP, Timestamp};

/// The most records a batch holds.
pub const MAX_BATCH_RECORDS: usize = 1024;

/// The bytes (by estimate) at which a batch is full; one record may go beyond.
pub const MAX_BATCH_BYTES: usize = 32 * 1024;

/// A container of records: rows today, columns for SQL. Exchanges, queues and codecs know no more than this of it.
pub trait Batch: Send + Sized + 'static {
    /// The number of records.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes of memory it takes.
    fn size_estimate(&self) -> usize;

    /// A copy, for a second reader of the same records.
    fn duplicate(&self) -> Self;

    /// Names and types of the records, known without a value.
    fn schema() -> Schema;

    /// Appends the encoded batch to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads an encoded batch, the whole of `input`.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes are not the encoding of a batch. Never panics.
    fn decode(input: &[u8]) -> Result<Self, CodecError>;
}

/// A batch of rows, with their event timestamps where they have any.
#[derive(Debug, Clone, PartialEq)]
pub struct Records<T> {
    values: Vec<T>,
    /// As many as there are values, or none at all when no record has a timestamp.
    times: Vec<Timestamp>,
    bytes: usize,
}

impl<T> Default for Records<T> {
    fn default() -> Self {
        Self { values: Vec::new(), times: Vec::new(), bytes: 0 }
    }
}

impl<T: Data> Records<T> {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record; `time` is [`NO_TIMESTAMP`] if it has none.
    #[inline]
    pub fn push(&mut self, value: T, time: Timestamp) {
        if !T::FIXED_SIZE {
            self.bytes += value.size_estimate();
        }
        if time != NO_TIMESTAMP || !self.times.is_empty() {
            self.push_time(time);
        }
        self.values.push(value);
    }

    #[inline]
    fn push_time(&mut self, time: Timestamp) {
        if self.times.len() < self.values.len() {
            self.times.resize(self.values.len(), NO_TIMESTAMP);
        }
        self.times.push(time);
    }

    /// The records.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The timestamp of record `index`, or [`NO_TIMESTAMP`].
    #[inline]
    pub fn time(&self, index: usize) -> Timestamp {
        self.times.get(index).copied().unwrap_or(NO_TIMESTAMP)
    }

    /// Whether a batch of this size should be passed on rather than added to.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.values.len() >= MAX_BATCH_RECORDS || self.bytes() >= MAX_BATCH_BYTES
    }

    #[inline]
    fn bytes(&self) -> usize {
        if T::FIXED_SIZE { self.values.len() * size_of::<T>() } else { self.bytes }
    }

    /// The records and their timestamps; the latter empty when no record has one.
    pub fn into_parts(self) -> (Vec<T>, Vec<Timestamp>) {
        (self.values, self.times)
    }

    /// A batch of records without timestamps.
    pub fn from_values(values: Vec<T>) -> Self {
        let bytes = if T::FIXED_SIZE { 0 } else { values.iter().map(T::size_estimate).sum() };
        Self { values, times: Vec::new(), bytes }
    }

    /// Makes room for as many records as a full batch of this type holds, given the size of the first.
    pub fn reserve_full(&mut self) {
        let by_size = MAX_BATCH_BYTES / size_of::<T>().max(1);
        self.values.reserve(by_size.clamp(1, MAX_BATCH_RECORDS));
    }
}

impl<T: Data> Batch for Records<T> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn size_estimate(&self) -> usize {
        self.bytes() + self.times.len() * size_of::<Timestamp>()
    }

    fn duplicate(&self) -> Self {
        self.clone()
    }

    fn schema() -> Schema {
        T::schema()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_varint(self.values.len() as u64, out);
        out.push(u8::from(!self.times.is_empty()));
        for time in &self.times {
            time.encode(out);
        }
        for value in &self.values {
            value.encode(out);
        }
    }

    fn decode(mut input: &[u8]) -> Result<Self, CodecError> {
        let input = &mut input;
        // A record of no bytes (a unit) is still bounded: no batch holds more than the limit.
        let length = read_length(input, T::MIN_ENCODED, "batch")?;
        if T::MIN_ENCODED == 0 && length > 2 * MAX_BATCH_RECORDS {
            return Err(CodecError::invalid("batch", format!("{length} records of no size")));
        }
        let timed = u8::decode(input)? != 0;
        let mut times = Vec::new();
        if timed {
            times.reserve(length);
            for _ in 0..length {
                times.push(Timestamp::decode(input)?);
            }
        }
        let mut values = Vec::with_capacity(length);
        for _ in 0..length {
            values.push(T::decode(input)?);
        }
        if !input.is_empty() {
            return Err(CodecError::invalid("batch", format!("{} bytes too many", input.len())));
        }
        Ok(Self { times, ..Self::from_values(values) })
    }
}

impl<T> Records<T> {
    /// Takes all records out, in order, with their timestamps.
    pub fn drain(&mut self) -> impl ExactSizeIterator<Item = (T, Timestamp)> + '_ {
        self.bytes = 0;
        let times = std::mem::take(&mut self.times);
        self.values
            .drain(..)
            .enumerate()
            .map(move |(index, value)| (value, times.get(index).copied().unwrap_or(NO_TIMESTAMP)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_records_and_timestamps() {
        let mut batch = Records::new();
        batch.push("a".to_owned(), NO_TIMESTAMP);
        batch.push("b".to_owned(), 7);
        batch.push("c".to_owned(), NO_TIMESTAMP);
        let mut bytes = Vec::new();
        batch.encode(&mut bytes);
        let mut read = Records::<String>::decode(&bytes).unwrap();
        assert_eq!(read.time(1), 7);
        assert_eq!(read.time(0), NO_TIMESTAMP);
        let all: Vec<_> = read.drain().collect();
        assert_eq!(all, [("a".into(), NO_TIMESTAMP), ("b".into(), 7), ("c".into(), NO_TIMESTAMP)]);
        bytes.push(0);
        assert!(Records::<String>::decode(&bytes).is_err());
    }

    #[test]
    fn a_batch_is_full_by_records_or_bytes() {
        let mut small = Records::new();
        (0..MAX_BATCH_RECORDS as u64).for_each(|n| {
            assert!(!small.is_full());
            small.push(n, NO_TIMESTAMP);
        });
        assert!(small.is_full());
        let mut large = Records::new();
        large.push("x".repeat(MAX_BATCH_BYTES), NO_TIMESTAMP);
        assert!(large.is_full());
    }
}
