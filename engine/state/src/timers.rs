//! Timers: times with keys, in the order of time.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Bound;

use flott_core::{CodecError, Key, KeyGroupRange, KeyHash, MaxParallelism, Timestamp};

use crate::format::{Chunk, ChunkWriter};
use crate::{Snapshot, SnapshotProgress};

type At = (Timestamp, Box<[u8]>);

/// A set of times, each with a key. Registering one twice is registering it once.
pub struct Timers<K> {
    /// By time, then by the key's canonical encoding; with the version of the entry, as in a [`Table`](crate::Table).
    timers: BTreeMap<At, u32>,
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    version: u32,
    writing: Option<Writing>,
    key: PhantomData<fn() -> K>,
}

#[derive(Default)]
struct Writing {
    written_to: Option<At>,
    touched: Vec<At>,
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
            key: PhantomData,
        }
    }

    fn at(time: Timestamp, key: &K) -> At {
        let mut bytes = Vec::with_capacity(16);
        key.encode_key(&mut bytes);
        (time, bytes.into_boxed_slice())
    }

    /// Registers a timer of `key` at `time`.
    pub fn register(&mut self, time: Timestamp, key: &K) {
        self.timers.entry(Self::at(time, key)).or_insert(self.version);
    }

    /// Deletes a timer, if it is there.
    pub fn delete(&mut self, time: Timestamp, key: &K) {
        self.take(&Self::at(time, key));
    }

    fn take(&mut self, at: &At) {
        if let Some((at, version)) = self.timers.remove_entry(at)
            && let Some(writing) = self.writing.as_mut().filter(|_| version < self.version)
            && writing.written_to.as_ref().is_none_or(|to| at > *to)
        {
            writing.touched.push(at);
        }
    }

    /// The earliest time.
    pub fn first_time(&self) -> Option<Timestamp> {
        self.timers.first_key_value().map(|((time, _), _)| *time)
    }

    /// Takes the earliest timer, if it is due at `now`.
    ///
    /// # Errors
    /// [`CodecError`] if the key does not decode: never, unless its type breaks its promise.
    pub fn pop_due(&mut self, now: Timestamp) -> Result<Option<(Timestamp, K)>, CodecError> {
        let Some((at, _)) = self.timers.first_key_value().filter(|((time, _), _)| *time <= now) else {
            return Ok(None);
        };
        let (at, key) = (at.clone(), K::decode_key(&mut &*at.1)?);
        self.take(&at);
        Ok(Some((at.0, key)))
    }

    fn write(&self, timers: &[&At], out: &mut ChunkWriter<'_>) {
        for same_time in timers.chunk_by(|a, b| a.0 == b.0) {
            let rows: Vec<u8> = same_time.iter().flat_map(|at| at.1.iter().copied()).collect();
            out.chunk(same_time[0].0, self.key_groups, same_time.len(), &rows);
        }
    }
}

impl<K: Key> Snapshot for Timers<K> {
    fn begin(&mut self) {
        self.version += 1;
        self.writing = Some(Writing::default());
    }

    fn write_step(&mut self, out: &mut ChunkWriter<'_>) -> SnapshotProgress {
        let Some(mut writing) = self.writing.take() else { return SnapshotProgress::Done };
        while !out.is_over() {
            let from = writing.written_to.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let some: Vec<_> = self.timers.range((from, Bound::Unbounded)).take(256).collect();
            let Some((last, _)) = some.last() else {
                writing.touched.sort();
                self.write(&writing.touched.iter().collect::<Vec<_>>(), out);
                return SnapshotProgress::Done;
            };
            let last = (*last).clone();
            let unwritten: Vec<_> =
                some.iter().filter(|(_, v)| **v < self.version).map(|(at, _)| *at).collect();
            self.write(&unwritten, out);
            writing.written_to = Some(last);
        }
        self.writing = Some(writing);
        SnapshotProgress::More
    }

    fn cancel(&mut self) {
        self.writing = None;
    }

    fn restore(&mut self, chunk: &Chunk<'_>) -> Result<(), CodecError> {
        let mut input = chunk.payload;
        for _ in 0..chunk.rows {
            let key = K::decode_key(&mut input)?;
            let hash: KeyHash = key.key_hash();
            if self.key_groups.contains(hash.group(self.max_parallelism)) {
                self.register(chunk.namespace, &key);
            }
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.timers.len()
    }
}
