//! Timers: times with keys, in the order of time.
//!
//! Timers of one time are in the order of their keys' canonical encodings, so they fire in the same order in every run. The
//! encoding is all that is kept of a key; up to 16 bytes of it without a place on the heap. Invariant while a snapshot is
//! written: a timer belongs to it and is unwritten exactly when its version is not that of the set.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Bound;

use flott_core::{CodecError, Data, Key, KeyGroupRange, MaxParallelism, Timestamp};

use crate::format::{Chunk, ChunkWriter, PendingRows};
use crate::table::check_owned;
use crate::{Snapshot, SnapshotProgress};

/// A set of times, each with a key. Registering one twice is registering it once.
///
/// ```
/// use flott_core::MaxParallelism;
/// use flott_state::Timers;
///
/// # fn main() -> Result<(), flott_core::CodecError> {
/// let max = MaxParallelism::new(128).unwrap();
/// let mut timers = Timers::<String>::new(max.range(0, 1), max);
/// timers.register(20, &"late".to_owned());
/// timers.register(10, &"early".to_owned());
/// timers.register(10, &"early".to_owned());
/// assert_eq!(timers.pop_due(15)?, Some((10, "early".to_owned())));
/// assert_eq!(timers.pop_due(15)?, None);
/// assert_eq!(timers.first_time(), Some(20));
/// # Ok(())
/// # }
/// ```
pub struct Timers<K> {
    timers: BTreeMap<Timer, Mark>,
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    version: u32,
    writing: Option<Writing>,
    /// For encodings, so that looking for a timer does not allocate.
    scratch: Vec<u8>,
    key: PhantomData<fn() -> K>,
}

/// The writing of a snapshot.
#[derive(Default)]
struct Writing {
    /// The timers up to this one are through.
    written_to: Option<Timer>,
    /// Timers that were taken away before the writing came to them.
    pending: PendingRows,
}

/// The bytes of a key's encoding that need no place on the heap.
const SHORT: usize = 16;

/// A time and the canonical encoding of a key. The order is theirs: no encoding of a type is the beginning of another, so
/// what pads a short one never decides.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    time: Timestamp,
    /// The first bytes, big endian, padded with zeros.
    first: [u64; SHORT / 8],
    rest: Box<[u8]>,
}

/// What is kept beside a timer.
#[derive(Clone, Copy)]
struct Mark {
    version: u32,
    /// How many bytes of the encoding are in `first`.
    short: u8,
}

impl Timer {
    fn new(time: Timestamp, encoding: &[u8]) -> (Self, u8) {
        let (first, rest) = encoding.split_at(encoding.len().min(SHORT));
        let mut padded = [0; SHORT];
        padded[..first.len()].copy_from_slice(first);
        let timer = Self {
            time,
            first: [0, 8].map(|at| u64::from_be_bytes(std::array::from_fn(|n| padded[at + n]))),
            rest: rest.into(),
        };
        (timer, first.len() as u8)
    }

    /// Appends the key's encoding, of which the first `short` bytes are in `first`.
    fn encode_key(&self, short: u8, out: &mut Vec<u8>) {
        for (word, at) in self.first.iter().zip([0, 8]) {
            out.extend_from_slice(&word.to_be_bytes()[..usize::from(short).saturating_sub(at).min(8)]);
        }
        out.extend_from_slice(&self.rest);
    }

    /// Appends the row in a snapshot.
    fn encode(&self, mark: Mark, out: &mut Vec<u8>) {
        self.time.encode(out);
        self.encode_key(mark.short, out);
    }
}

impl<K: Key> Timers<K> {
    /// None registered.
    pub fn new(key_groups: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Self {
            timers: BTreeMap::new(),
            key_groups,
            max_parallelism,
            version: 0,
            writing: None,
            scratch: Vec::new(),
            key: PhantomData,
        }
    }

    fn timer(&mut self, time: Timestamp, key: &K) -> (Timer, u8) {
        self.scratch.clear();
        key.encode_key(&mut self.scratch);
        Timer::new(time, &self.scratch)
    }

    /// Registers a timer of `key` at `time`.
    ///
    /// # Panics
    /// If the key is of a key group that the subtask does not own.
    pub fn register(&mut self, time: Timestamp, key: &K) {
        check_owned(self.key_groups, key.key_hash().group(self.max_parallelism));
        let (timer, short) = self.timer(time, key);
        self.timers.entry(timer).or_insert(Mark { version: self.version, short });
    }

    /// Deletes a timer, if it is there.
    pub fn delete(&mut self, time: Timestamp, key: &K) {
        let (timer, _) = self.timer(time, key);
        if let Some(mark) = self.timers.remove(&timer) {
            self.removed(&timer, mark);
        }
    }

    /// A timer has been taken away: keeps it if it still has to be written.
    fn removed(&mut self, timer: &Timer, mark: Mark) {
        if let Some(writing) = self.writing.as_mut().filter(|_| mark.version != self.version) {
            writing.pending.add(|out| timer.encode(mark, out));
        }
    }

    /// How many timers there are.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// The earliest time.
    pub fn first_time(&self) -> Option<Timestamp> {
        self.timers.first_key_value().map(|(timer, _)| timer.time)
    }

    /// Takes the earliest timer, if it is due at `now`.
    ///
    /// # Errors
    /// [`CodecError`] if the key's type does not decode what it has encoded.
    pub fn pop_due(&mut self, now: Timestamp) -> Result<Option<(Timestamp, K)>, CodecError> {
        let Some(first) = self.timers.first_entry().filter(|first| first.key().time <= now) else {
            return Ok(None);
        };
        let (timer, mark) = first.remove_entry();
        self.removed(&timer, mark);
        self.scratch.clear();
        timer.encode_key(mark.short, &mut self.scratch);
        Ok(Some((timer.time, K::decode_key(&mut self.scratch.as_slice())?)))
    }
}

impl<K: Key> Snapshot for Timers<K> {
    fn begin(&mut self) {
        self.version = self.version.wrapping_add(1);
        self.writing = Some(Writing::default());
    }

    fn write_step(&mut self, out: &mut ChunkWriter<'_>) -> SnapshotProgress {
        let Some(writing) = &mut self.writing else { return SnapshotProgress::Done };
        if !writing.pending.write(0, self.key_groups, out) || out.is_over() {
            return SnapshotProgress::More;
        }
        let from = writing.written_to.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        for (timer, mark) in self.timers.range_mut::<Timer, _>((from, Bound::Unbounded)) {
            if mark.version == self.version {
                out.spend(1);
            } else {
                mark.version = self.version;
                out.row(0, self.key_groups, |out| timer.encode(*mark, out));
            }
            if out.is_over() {
                writing.written_to = Some(timer.clone());
                return SnapshotProgress::More;
            }
        }
        self.writing = None;
        SnapshotProgress::Done
    }

    fn cancel(&mut self) {
        self.writing = None;
    }

    fn restore(&mut self, chunk: &Chunk<'_>) -> Result<(), CodecError> {
        chunk.for_each_row(|input| {
            let time = Timestamp::decode(input)?;
            let key = K::decode_key(input)?;
            if !self.key_groups.contains(key.key_hash().group(self.max_parallelism)) {
                return Ok(());
            }
            let (timer, short) = self.timer(time, &key);
            match self.timers.insert(timer, Mark { version: self.version, short }) {
                Some(_) => Err(CodecError::invalid("chunk", "a timer is in the state twice")),
                None => Ok(()),
            }
        })
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn bytes_estimate(&self) -> usize {
        // Nodes of the tree are between half full and full.
        let own = (size_of::<Timer>() + size_of::<Mark>()) * 4 / 3;
        let rest = self.timers.first_key_value().map_or(0, |(timer, _)| timer.rest.len());
        self.timers.len() * (own + rest) + self.pending_bytes()
    }

    fn pending_bytes(&self) -> usize {
        self.writing.as_ref().map_or(0, |writing| writing.pending.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timers<K: Key>() -> Timers<K> {
        let max = MaxParallelism::default_for(1);
        Timers::new(max.range(0, 1), max)
    }

    #[test]
    fn timers_come_by_time_and_then_by_key() {
        let mut set = timers::<String>();
        let mut expected = Vec::new();
        // Around the length from which on encodings are cut in two; with bytes that look like padding.
        for length in [0, 1, 7, 8, 9, 14, 15, 16, 17, 40] {
            for last in ["", "\0", "\x01", "a", "b"] {
                for time in [-5, 7] {
                    let key = "x".repeat(length) + last;
                    set.register(time, &key);
                    set.register(time, &key);
                    expected.push((time, key));
                }
            }
        }
        expected.sort();
        expected.dedup();
        assert_eq!(set.len(), expected.len());
        let deleted = expected.remove(11);
        set.delete(deleted.0, &deleted.1);
        set.delete(8, &deleted.1);
        assert_eq!(set.first_time(), Some(-5));
        let mut popped = Vec::new();
        while let Some(timer) = set.pop_due(-5).unwrap() {
            popped.push(timer);
        }
        assert!(popped.iter().all(|(time, _)| *time == -5));
        while let Some(timer) = set.pop_due(7).unwrap() {
            popped.push(timer);
        }
        assert_eq!(popped, expected);
        assert!(set.is_empty());
    }

    #[test]
    fn a_key_without_bytes_has_timers() {
        let mut set = timers::<()>();
        set.register(1, &());
        set.register(1, &());
        assert_eq!(set.pop_due(1), Ok(Some((1, ()))));
        assert_eq!(set.pop_due(1), Ok(None));
    }

    #[test]
    #[should_panic(expected = "a key selector must always select the same key")]
    fn a_key_of_another_subtask_is_refused() {
        let max = MaxParallelism::new(2).unwrap();
        let mut timers = Timers::new(max.range(0, 2), max);
        (0..20_u32).for_each(|key| timers.register(1, &key));
    }
}
