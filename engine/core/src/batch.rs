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
            self.stamp_the_first();
        }
        self.times.push(time);
    }

    /// The first record with a timestamp came after some without.
    #[cold]
    fn stamp_the_first(&mut self) {
        self.times.resize(self.values.len(), NO_TIMESTAMP);
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

    /// Gives each record the timestamp that `time` says, given the record and the timestamp it had, if any.
    pub fn stamp(&mut self, mut time: impl FnMut(&T, Timestamp) -> Timestamp) {
        self.times.resize(self.values.len(), NO_TIMESTAMP);
        for (value, stamp) in self.values.iter().zip(&mut self.times) {
            *stamp = time(value, *stamp);
        }
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

    /// How many records, whether they have timestamps, those, and the records.
    fn encode(&self, out: &mut Vec<u8>) {
        write_varint(self.values.len() as u64, out);
        out.push(u8::from(!self.times.is_empty()));
        Timestamp::encode_all(&self.times, out);
        T::encode_all(&self.values, out);
    }

    fn decode(mut input: &[u8]) -> Result<Self, CodecError> {
        let input = &mut input;
        let length = read_length(input, T::MIN_ENCODED, "batch")?;
        let times = if bool::decode(input)? { Timestamp::decode_all(length, input)? } else { Vec::new() };
        let values = T::decode_all(length, input)?;
        if !input.is_empty() {
            return Err(CodecError::invalid("batch", format!("{} bytes too many", input.len())));
        }
        Ok(Self { times, ..Self::from_values(values) })
    }
}

impl<T> Records<T> {
    /// Takes all records out, in order, with their timestamps; what it had allocated is kept for the next ones.
    #[inline]
    pub fn drain(&mut self) -> impl ExactSizeIterator<Item = (T, Timestamp)> + '_ {
        self.bytes = 0;
        let mut times = self.times.drain(..);
        self.values.drain(..).map(move |value| (value, times.next().unwrap_or(NO_TIMESTAMP)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded<T: Data>(batch: &Records<T>) -> Vec<u8> {
        let mut bytes = Vec::new();
        batch.encode(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn a_batch_is_read_as_it_was_written(
            records in proptest::collection::vec((any::<(String, u64)>(), prop_oneof![Just(NO_TIMESTAMP), any::<i64>()]), 0..50),
        ) {
            let mut batch = Records::new();
            for (record, time) in records.clone() {
                batch.push(record, time);
            }
            let mut read = Records::<(String, u64)>::decode(&encoded(&batch)).unwrap();
            prop_assert_eq!(&read, &batch.duplicate());
            prop_assert_eq!(read.size_estimate(), batch.size_estimate());
            prop_assert_eq!(read.drain().collect::<Vec<_>>(), records);
            prop_assert_eq!(read, Records::new());
        }

        #[test]
        fn a_damaged_batch_is_refused_or_is_another_batch(
            records in proptest::collection::vec(any::<(String, Option<u8>)>(), 0..20),
            place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
        ) {
            let bytes = encoded(&Records::from_values(records));
            prop_assert!(Records::<(String, Option<u8>)>::decode(&bytes[..cut.index(bytes.len())]).is_err());
            let mut damaged = bytes;
            let place = place.index(damaged.len());
            damaged[place] = byte;
            if let Ok(batch) = Records::<(String, Option<u8>)>::decode(&damaged) {
                prop_assert_eq!(Records::decode(&encoded(&batch)), Ok(batch));
            }
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Records::<(String, u64)>::decode(&bytes);
            let _ = Records::<Vec<Option<Box<u32>>>>::decode(&bytes);
            let _ = Records::<()>::decode(&bytes);
            let _ = Records::<[u8; 0]>::decode(&bytes);
        }
    }

    #[test]
    fn a_batch_keeps_records_and_timestamps() {
        let mut batch = Records::new();
        batch.push("a".to_owned(), NO_TIMESTAMP);
        batch.push("b".to_owned(), 7);
        batch.push("c".to_owned(), NO_TIMESTAMP);
        let mut bytes = encoded(&batch);
        let mut read = Records::<String>::decode(&bytes).unwrap();
        assert_eq!((read.time(0), read.time(1), read.time(9)), (NO_TIMESTAMP, 7, NO_TIMESTAMP));
        let all: Vec<_> = read.drain().collect();
        assert_eq!(all, [("a".into(), NO_TIMESTAMP), ("b".into(), 7), ("c".into(), NO_TIMESTAMP)]);
        bytes.push(0);
        assert!(Records::<String>::decode(&bytes).is_err());
    }

    #[test]
    fn a_drain_that_is_dropped_half_way_empties_the_batch() {
        let mut batch = Records::new();
        (0..10).for_each(|n| batch.push(n, n));
        assert_eq!(batch.drain().next(), Some((0, 0)));
        assert_eq!(batch, Records::new());
        batch.push(3, NO_TIMESTAMP);
        assert_eq!(batch.into_parts(), (vec![3], vec![]));
    }

    #[test]
    fn stamping_gives_every_record_a_timestamp() {
        let mut batch = Records::from_values(vec![3_i64, 5]);
        batch.stamp(|value, before| if before == NO_TIMESTAMP { *value } else { 0 });
        assert_eq!((batch.time(0), batch.time(1)), (3, 5));
        batch.stamp(|value, before| value + before);
        assert_eq!(batch.into_parts(), (vec![3, 5], vec![6, 10]));
    }

    #[test]
    fn a_batch_is_full_by_records_or_bytes() {
        let mut small = Records::new();
        small.reserve_full();
        (0..MAX_BATCH_RECORDS as u64).for_each(|n| {
            assert!(!small.is_full());
            small.push(n, NO_TIMESTAMP);
        });
        assert!(small.is_full());
        let mut large = Records::new();
        large.push("x".repeat(MAX_BATCH_BYTES), NO_TIMESTAMP);
        assert!(large.is_full());
        large.drain().for_each(drop);
        assert!(!large.is_full());
    }

    #[test]
    fn records_without_bytes_are_counted_but_not_without_bounds() {
        let units = Records::from_values(vec![(); 5000]);
        assert_eq!(Records::<()>::decode(&encoded(&units)).map(|batch| batch.len()), Ok(5000));
        let mut endless = Vec::new();
        write_varint(u64::MAX, &mut endless);
        endless.push(0);
        assert!(Records::<()>::decode(&endless).is_err());
        endless.truncate(10);
        endless.push(1);
        assert!(Records::<()>::decode(&endless).is_err());
    }
}
