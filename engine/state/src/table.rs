//! A hash table by key group, with snapshots in steps.
//!
//! Invariant while a snapshot is written: an entry belongs to it and is unwritten exactly when its version is below the
//! table's. Writing an entry, and inserting one, gives it the table's version.

use flott_core::time::NO_TIMESTAMP;
use flott_core::{CodecError, Data, Key, KeyGroup, KeyGroupRange, KeyHash, MaxParallelism, Timestamp};
use hashbrown::HashTable;

use crate::format::{Chunk, ChunkWriter};
use crate::{Snapshot, SnapshotProgress};

/// The entries up to which all key groups share one hash table.
const UNSPLIT_ENTRIES: usize = 8192;

struct Entry<K, V> {
    key: K,
    value: V,
    version: u32,
}

/// A value for each key, of the key groups that a subtask owns.
pub struct Table<K, V> {
    /// One for all key groups, or one for each.
    shards: Vec<HashTable<Entry<K, V>>>,
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    len: usize,
    version: u32,
    writing: Option<Writing>,
    /// The namespace it is written under.
    namespace: Timestamp,
    /// Where draining goes on.
    drained: Position,
}

#[derive(Default)]
struct Position {
    shard: usize,
    bucket: usize,
}

/// The writing of a snapshot.
struct Writing {
    at: Position,
    /// The buckets of the shard in hand; a change means that it has grown and is walked from its beginning.
    buckets: usize,
    /// Rows of entries that were touched before they were written.
    touched: Vec<u8>,
    touched_rows: usize,
}

impl<K: Key, V: Data> Table<K, V> {
    /// An empty table for these key groups.
    pub fn new(key_groups: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Self::in_namespace(key_groups, max_parallelism, NO_TIMESTAMP)
    }

    pub(crate) fn in_namespace(
        key_groups: KeyGroupRange,
        max_parallelism: MaxParallelism,
        namespace: Timestamp,
    ) -> Self {
        Self {
            shards: vec![HashTable::new()],
            key_groups,
            max_parallelism,
            len: 0,
            version: 0,
            writing: None,
            namespace,
            drained: Position::default(),
        }
    }

    /// How many keys have a value.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn shard(&self, hash: KeyHash) -> usize {
        if self.shards.len() == 1 {
            return 0;
        }
        let group = hash.group(self.max_parallelism).index();
        usize::from(group.wrapping_sub(self.key_groups.start)).min(self.shards.len() - 1)
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, hash: KeyHash, key: &K) -> Option<&V> {
        let shard = &self.shards[self.shard(hash)];
        shard.find(hash.bits(), |entry| entry.key == *key).map(|entry| &entry.value)
    }

    /// The value of a key, to change.
    #[inline]
    pub fn get_mut(&mut self, hash: KeyHash, key: &K) -> Option<&mut V> {
        let shard = self.shard(hash);
        let entry = self.shards[shard].find_mut(hash.bits(), |entry| entry.key == *key)?;
        if let Some(writing) = &mut self.writing {
            writing.touch(entry, self.version);
        }
        Some(&mut entry.value)
    }

    /// Sets the value of a key; returns the one it had.
    pub fn insert(&mut self, hash: KeyHash, key: K, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(hash, &key) {
            return Some(std::mem::replace(old, value));
        }
        if self.shards.len() == 1 && self.len >= UNSPLIT_ENTRIES && self.writing.is_none() {
            self.split();
        }
        let shard = self.shard(hash);
        let entry = Entry { key, value, version: self.version };
        self.shards[shard].insert_unique(hash.bits(), entry, |entry| entry.key.key_hash().bits());
        self.len += 1;
        None
    }

    /// Takes the value of a key.
    pub fn remove(&mut self, hash: KeyHash, key: &K) -> Option<V> {
        let shard = self.shard(hash);
        let Ok(mut found) = self.shards[shard].find_entry(hash.bits(), |entry| entry.key == *key) else {
            return None;
        };
        if let Some(writing) = &mut self.writing {
            writing.touch(found.get_mut(), self.version);
        }
        self.len -= 1;
        Some(found.remove().0.value)
    }

    /// Every key with its value, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|entry| (&entry.key, &entry.value)))
    }

    /// Takes entries out, in no order, and gives them to `take` until it returns false or none is left. Nothing may be
    /// inserted between the first call and the one after which the table [is empty](Self::is_empty).
    pub fn drain(&mut self, mut take: impl FnMut(K, V) -> bool) {
        let Position { shard, bucket } = &mut self.drained;
        while let Some(table) = self.shards.get_mut(*shard) {
            while *bucket < table.num_buckets() && !table.is_empty() {
                let found = table.get_bucket_entry(*bucket);
                *bucket += 1;
                let Ok(mut found) = found else { continue };
                if let Some(writing) = &mut self.writing {
                    writing.touch(found.get_mut(), self.version);
                }
                let (Entry { key, value, .. }, _) = found.remove();
                self.len -= 1;
                if !take(key, value) {
                    return;
                }
            }
            *table = HashTable::new();
            *shard += 1;
            *bucket = 0;
        }
        self.drained = Position::default();
    }

    /// Gives every key group its own hash table, so that growing one moves few entries.
    fn split(&mut self) {
        if self.key_groups.len() <= 1 {
            return;
        }
        let all = std::mem::take(&mut self.shards[0]);
        let room = all.len() * 2 / self.key_groups.len();
        let shards = (0..self.key_groups.len()).map(|_| HashTable::with_capacity(room));
        self.shards = shards.collect();
        for entry in all {
            let hash = entry.key.key_hash();
            let shard = self.shard(hash);
            self.shards[shard].insert_unique(hash.bits(), entry, |entry| entry.key.key_hash().bits());
        }
    }

    /// Whether a snapshot of it is being written.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The key groups of a shard.
    fn groups_of(&self, shard: usize) -> KeyGroupRange {
        if self.shards.len() == 1 {
            return self.key_groups;
        }
        let group = self.key_groups.start + shard as u16;
        KeyGroupRange { start: group, end: group + 1 }
    }

    /// Whether `hash` is of a key group that is not this table's.
    fn is_foreign(&self, hash: KeyHash) -> bool {
        !self.key_groups.contains(KeyGroup::new(hash.group(self.max_parallelism).index()))
    }
}

impl Writing {
    /// An entry is about to change: writes it first if it still has to be.
    #[inline]
    fn touch<K: Key, V: Data>(&mut self, entry: &mut Entry<K, V>, version: u32) {
        if entry.version < version {
            entry.version = version;
            entry.key.encode(&mut self.touched);
            entry.value.encode(&mut self.touched);
            self.touched_rows += 1;
        }
    }
}

impl<K: Key, V: Data> Snapshot for Table<K, V> {
    fn begin(&mut self) {
        self.version += 1;
        self.writing =
            Some(Writing { at: Position::default(), buckets: 0, touched: Vec::new(), touched_rows: 0 });
    }

    fn write_step(&mut self, out: &mut ChunkWriter<'_>) -> SnapshotProgress {
        let Some(mut writing) = self.writing.take() else { return SnapshotProgress::Done };
        let mut rows = Vec::new();
        while !out.is_over() && writing.at.shard < self.shards.len() {
            let groups = self.groups_of(writing.at.shard);
            let shard = &mut self.shards[writing.at.shard];
            if shard.num_buckets() != writing.buckets {
                writing.buckets = shard.num_buckets();
                writing.at.bucket = 0;
            }
            rows.clear();
            let (mut count, limit, first) = (0, out.left(), writing.at.bucket);
            while writing.at.bucket < writing.buckets
                && rows.len() < limit
                && writing.at.bucket - first < 65_536
            {
                if let Some(entry) = shard.get_bucket_mut(writing.at.bucket)
                    && entry.version < self.version
                {
                    entry.version = self.version;
                    entry.key.encode(&mut rows);
                    entry.value.encode(&mut rows);
                    count += 1;
                }
                writing.at.bucket += 1;
            }
            out.chunk(self.namespace, groups, count, &rows);
            if writing.at.bucket >= writing.buckets {
                writing.at = Position { shard: writing.at.shard + 1, bucket: 0 };
                writing.buckets = 0;
            } else if count == 0 {
                break;
            }
        }
        if writing.at.shard < self.shards.len() {
            self.writing = Some(writing);
            return SnapshotProgress::More;
        }
        out.chunk(self.namespace, self.key_groups, writing.touched_rows, &writing.touched);
        SnapshotProgress::Done
    }

    fn cancel(&mut self) {
        self.writing = None;
    }

    fn restore(&mut self, chunk: &Chunk<'_>) -> Result<(), CodecError> {
        if !chunk.groups.intersects(self.key_groups) {
            return Ok(());
        }
        let mut input = chunk.payload;
        for _ in 0..chunk.rows {
            let key = K::decode(&mut input)?;
            let value = V::decode(&mut input)?;
            let hash = key.key_hash();
            if !self.is_foreign(hash) {
                self.insert(hash, key, value);
            }
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.len
    }
}
