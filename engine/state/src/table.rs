//! A hash table by key group, with snapshots in steps.
//!
//! A small table is one hash table. A larger one is split into shards, one or more for each key group, so that growing one
//! of them moves few entries, and rows of a snapshot come by key group.
//!
//! Invariant while a snapshot is written: an entry belongs to it and is unwritten exactly when its version is not the
//! table's. Writing an entry, and inserting one, gives it the table's version. Nothing else is kept for a snapshot, and
//! without one a lookup has one branch more than a plain hash table.

use std::num::NonZeroU32;

use flott_core::{CodecError, Data, Key, KeyGroup, KeyGroupRange, KeyHash, MaxParallelism, Timestamp};
use hashbrown::HashTable;

use crate::format::{Chunk, ChunkWriter, PendingRows};
use crate::{Snapshot, SnapshotProgress};

/// The entries up to which all key groups share one hash table. Tests split early.
const UNSPLIT_ENTRIES: usize = if cfg!(test) { 16 } else { 8192 };

/// A split table has at least as many shards. A key group has several if there are fewer key groups.
const MIN_SHARDS: usize = if cfg!(test) { 8 } else { 256 };

struct Entry<K, V> {
    key: K,
    value: V,
    version: u32,
}

/// A value for each key, of the key groups that a subtask owns.
///
/// Keys come with their hashes, which whoever sends records by key has computed anyway.
///
/// ```
/// use flott_core::{Key, MaxParallelism};
/// use flott_state::Table;
///
/// let max = MaxParallelism::new(128).unwrap();
/// let mut counts = Table::<String, u64>::new(max.range(0, 1), max);
/// for word in ["to", "be", "or", "not", "to", "be"] {
///     let word = word.to_owned();
///     counts.update(word.key_hash(), &word, || 0, |count| *count += 1);
/// }
/// assert_eq!(counts.len(), 4);
/// assert_eq!(counts.get("be".to_owned().key_hash(), &"be".to_owned()), Some(&2));
/// ```
pub struct Table<K, V> {
    /// One for all key groups, or one or more for each, as `layout` says.
    shards: Vec<HashTable<Entry<K, V>>>,
    layout: Layout,
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    len: usize,
    version: u32,
    writing: Option<Box<Writing>>,
    /// The namespace it is written under.
    namespace: Timestamp,
    /// Where draining goes on.
    drained: Position,
}

/// Which shard an entry is in. Every lookup asks this, so it is as few instructions as can be.
#[derive(Clone, Copy)]
struct Layout {
    /// A key group has 2 to the power of this many shards.
    sub_bits: u32,
    /// The bits of the hash, from `32 - sub_bits` on, that number the shards of all key groups there are.
    mask: usize,
    /// The number of the first shard that this table has.
    first: usize,
    /// The number of key groups if it is no power of two: then it takes a division.
    modulus: Option<NonZeroU32>,
}

impl Layout {
    /// One shard for all.
    const WHOLE: Self = Self { sub_bits: 0, mask: 0, first: 0, modulus: None };

    fn split(key_groups: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        let sub_bits = MIN_SHARDS.div_ceil(key_groups.len().max(1)).next_power_of_two().trailing_zeros();
        let groups = max_parallelism.get();
        Self {
            sub_bits,
            mask: ((groups as usize) << sub_bits) - 1,
            first: usize::from(key_groups.start) << sub_bits,
            modulus: NonZeroU32::new(groups).filter(|groups| !groups.is_power_of_two()),
        }
    }

    /// The shard of a key; beyond all shards if its key group has none. The key group is that of [`KeyHash::group`]:
    /// bits 32 and up of the hash, modulo the number of key groups. The bits below part its shards. A hash table uses the
    /// lowest bits, and the highest 7.
    #[inline]
    fn shard(self, hash: KeyHash) -> usize {
        let number = (hash.bits() >> (32 - self.sub_bits)) as usize;
        match self.modulus {
            None => (number & self.mask).wrapping_sub(self.first),
            Some(modulus) => self.by_division(hash, modulus),
        }
    }

    #[cold]
    fn by_division(self, hash: KeyHash, modulus: NonZeroU32) -> usize {
        let (high, low) = ((hash.bits() >> 32) as u32, hash.bits() as u32);
        let sub = u64::from(low) << self.sub_bits >> 32;
        (((high % modulus) as usize) << self.sub_bits | sub as usize).wrapping_sub(self.first)
    }
}

#[derive(Default)]
struct Position {
    shard: usize,
    bucket: usize,
}

/// The writing of a snapshot.
#[derive(Default)]
struct Writing {
    /// All shards before it are through, and this one up to the bucket.
    at: Position,
    /// Entries that changed before the writing came to them.
    pending: PendingRows,
}

impl<K: Key, V: Data> Table<K, V> {
    /// An empty table for these key groups.
    pub fn new(key_groups: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Self::in_namespace(key_groups, max_parallelism, 0, 0)
    }

    pub(crate) fn in_namespace(
        key_groups: KeyGroupRange,
        max_parallelism: MaxParallelism,
        namespace: Timestamp,
        version: u32,
    ) -> Self {
        Self {
            shards: vec![HashTable::new()],
            layout: Layout::WHOLE,
            key_groups,
            max_parallelism,
            len: 0,
            version,
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

    /// The value of a key.
    #[inline]
    pub fn get(&self, hash: KeyHash, key: &K) -> Option<&V> {
        let shard = self.shards.get(self.layout.shard(hash))?;
        shard.find(hash.bits(), |entry| entry.key == *key).map(|entry| &entry.value)
    }

    /// The value of a key, to change.
    #[inline]
    pub fn get_mut(&mut self, hash: KeyHash, key: &K) -> Option<&mut V> {
        let shard = self.shards.get_mut(self.layout.shard(hash))?;
        let entry = shard.find_mut(hash.bits(), |entry| entry.key == *key)?;
        if let Some(writing) = &mut self.writing {
            writing.touch(entry, self.version);
        }
        Some(&mut entry.value)
    }

    /// Sets the value of a key; returns the one it had.
    ///
    /// # Panics
    /// If the key is of a key group that the subtask does not own.
    #[inline]
    pub fn insert(&mut self, hash: KeyHash, key: K, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(hash, &key) {
            return Some(std::mem::replace(old, value));
        }
        self.insert_new(hash, key, value);
        None
    }

    /// Changes the value of a key in place, beginning with `first` if it has none, and returns what `change` returns.
    ///
    /// # Panics
    /// If the key is new and of a key group that the subtask does not own.
    #[inline]
    pub fn update<R>(
        &mut self,
        hash: KeyHash,
        key: &K,
        first: impl FnOnce() -> V,
        change: impl FnOnce(&mut V) -> R,
    ) -> R {
        if let Some(value) = self.get_mut(hash, key) {
            return change(value);
        }
        let mut value = first();
        let result = change(&mut value);
        self.insert_new(hash, key.clone(), value);
        result
    }

    /// Inserts a key that is not there.
    fn insert_new(&mut self, hash: KeyHash, key: K, value: V) {
        check_owned(self.key_groups, hash.group(self.max_parallelism));
        if self.len >= UNSPLIT_ENTRIES && self.shards.len() == 1 {
            self.split();
        }
        let index = self.layout.shard(hash);
        let shard = &mut self.shards[index];
        let full = shard.capacity() == shard.len();
        let entry = Entry { key, value, version: self.version };
        shard.insert_unique(hash.bits(), entry, |entry| entry.key.key_hash().bits());
        self.len += 1;
        if let Some(writing) = self.writing.as_mut().filter(|writing| writing.at.shard == index) {
            // Room where there was none: the hash table has grown or cleared up, and its entries have moved. Those that
            // are written are known by their version. (A key that took the place of a removed one makes no room.)
            if full && shard.capacity() > shard.len() {
                writing.at.bucket = 0;
            }
        }
    }

    /// Takes the value of a key.
    pub fn remove(&mut self, hash: KeyHash, key: &K) -> Option<V> {
        let shard = self.shards.get_mut(self.layout.shard(hash))?;
        let mut found = shard.find_entry(hash.bits(), |entry| entry.key == *key).ok()?;
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

    /// Takes entries out, in no order, and gives them to `take` until it returns false or none is left. The next call
    /// goes on where this one stopped; memory goes back on the way. What is inserted between two calls is drained, too.
    pub fn drain(&mut self, mut take: impl FnMut(K, V) -> bool) {
        while self.len > 0 {
            let Some(shard) = self.shards.get_mut(self.drained.shard) else {
                // Something was inserted behind: once more from the beginning.
                self.drained = Position::default();
                continue;
            };
            if shard.is_empty() || self.drained.bucket >= shard.num_buckets() {
                if shard.is_empty() {
                    *shard = HashTable::new();
                }
                self.drained = Position { shard: self.drained.shard + 1, bucket: 0 };
                continue;
            }
            let found = shard.get_bucket_entry(self.drained.bucket);
            self.drained.bucket += 1;
            let Ok(mut found) = found else { continue };
            if let Some(writing) = &mut self.writing {
                writing.touch(found.get_mut(), self.version);
            }
            let (Entry { key, value, .. }, _) = found.remove();
            self.len -= 1;
            if !take(key, value) {
                break;
            }
        }
        if self.len == 0 {
            // At most the shard in hand has not been given back.
            if let Some(shard) = self.shards.get_mut(self.drained.shard) {
                *shard = HashTable::new();
            }
            self.drained = Position::default();
        }
    }

    /// Splits the table into shards.
    fn split(&mut self) {
        self.layout = Layout::split(self.key_groups, self.max_parallelism);
        let all = std::mem::take(&mut self.shards[0]);
        let shards = self.key_groups.len() << self.layout.sub_bits;
        self.shards = (0..shards).map(|_| HashTable::with_capacity(all.len() / shards)).collect();
        for entry in all {
            let hash = entry.key.key_hash();
            self.shards[self.layout.shard(hash)]
                .insert_unique(hash.bits(), entry, |entry| entry.key.key_hash().bits());
        }
        self.drained = Position::default();
        if let Some(writing) = &mut self.writing {
            writing.at = Position::default();
        }
    }

    /// The key groups of a shard.
    fn groups_of(&self, shard: usize) -> KeyGroupRange {
        if self.shards.len() == 1 {
            return self.key_groups;
        }
        let group = self.key_groups.start + (shard >> self.layout.sub_bits) as u16;
        KeyGroupRange { start: group, end: group + 1 }
    }

    /// The version of the last snapshot that it has taken part in.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// What is there belongs to a snapshot with this version, which none of the entries has.
    pub(crate) fn begin_as(&mut self, version: u32) {
        self.version = version;
        self.writing = Some(Box::default());
    }

    /// Takes out what a removed table still has to add to the snapshot in the writing.
    pub(crate) fn take_pending(&mut self) -> Option<PendingRows> {
        self.writing.take().map(|writing| writing.pending)
    }

    /// What the values own beyond their places in the table: estimated from a few.
    fn heap_estimate(&self) -> usize {
        if K::FIXED_SIZE && V::FIXED_SIZE {
            return 0;
        }
        const SAMPLES: usize = 64;
        let (mut sampled, mut bytes) = (0, 0);
        for n in 0..SAMPLES {
            let shard = &self.shards[n * self.shards.len() / SAMPLES];
            let first = n * shard.num_buckets() / SAMPLES;
            let found = (first..shard.num_buckets()).take(SAMPLES).find_map(|place| shard.get_bucket(place));
            if let Some(Entry { key, value, .. }) = found {
                let estimate = key.size_estimate() + value.size_estimate();
                bytes += estimate.saturating_sub(size_of::<K>() + size_of::<V>());
                sampled += 1;
            }
        }
        self.len * bytes / sampled.max(1)
    }
}

impl Writing {
    /// An entry is about to change: keeps what it was if it still has to be written.
    #[inline]
    fn touch<K: Key, V: Data>(&mut self, entry: &mut Entry<K, V>, version: u32) {
        if entry.version != version {
            entry.version = version;
            self.pending.add(|out| entry.encode(out));
        }
    }
}

impl<K: Key, V: Data> Entry<K, V> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.key.encode(out);
        self.value.encode(out);
    }
}

impl<K: Key, V: Data> Snapshot for Table<K, V> {
    fn begin(&mut self) {
        self.begin_as(self.version.wrapping_add(1));
    }

    fn write_step(&mut self, out: &mut ChunkWriter<'_>) -> SnapshotProgress {
        let Some(mut writing) = self.writing.take() else { return SnapshotProgress::Done };
        let Writing { at, pending } = &mut *writing;
        let mut through = pending.write(self.namespace, self.key_groups, out);
        while at.shard < self.shards.len() && !out.is_over() {
            let groups = self.groups_of(at.shard);
            let shard = &mut self.shards[at.shard];
            let buckets = shard.num_buckets();
            while at.bucket < buckets && !out.is_over() {
                match shard.get_bucket_mut(at.bucket) {
                    Some(entry) if entry.version != self.version => {
                        entry.version = self.version;
                        out.row(self.namespace, groups, |out| entry.encode(out));
                    }
                    _ => out.spend(1),
                }
                at.bucket += 1;
            }
            if at.bucket >= buckets {
                *at = Position { shard: at.shard + 1, bucket: 0 };
                out.spend(1);
            }
        }
        through &= at.shard >= self.shards.len();
        if through {
            return SnapshotProgress::Done;
        }
        self.writing = Some(writing);
        SnapshotProgress::More
    }

    fn cancel(&mut self) {
        self.writing = None;
    }

    fn restore(&mut self, chunk: &Chunk<'_>) -> Result<(), CodecError> {
        chunk.for_each_row(|input| {
            let key = K::decode(input)?;
            let value = V::decode(input)?;
            let hash = key.key_hash();
            let owned = self.key_groups.contains(hash.group(self.max_parallelism));
            if owned && self.insert(hash, key, value).is_some() {
                return Err(CodecError::invalid("chunk", "a key is in the state twice"));
            }
            Ok(())
        })
    }

    fn len(&self) -> usize {
        self.len
    }

    fn bytes_estimate(&self) -> usize {
        let places: usize = self.shards.iter().map(|shard| shard.allocation_size()).sum();
        size_of::<Self>()
            + self.shards.len() * size_of::<HashTable<Entry<K, V>>>()
            + places
            + self.heap_estimate()
            + self.pending_bytes()
    }

    fn pending_bytes(&self) -> usize {
        self.writing.as_ref().map_or(0, |writing| writing.pending.bytes())
    }
}

/// Lets only keys of the subtask's own key groups into its state: others would be lost when it is restored.
///
/// # Panics
/// If `group` is not of `owned`. The records were sent here by another key than is used here, which only a key selector can
/// do that is not a function; the task fails then.
#[expect(clippy::panic, reason = "state has no error to return for it, and going on would lose the value")]
pub(crate) fn check_owned(owned: KeyGroupRange, group: KeyGroup) {
    if !owned.contains(group) {
        let (group, KeyGroupRange { start, end }) = (group.index(), owned);
        panic!(
            "a key of key group {group} came to a subtask with the key groups {start} to {end}: a key selector must \
             always select the same key of a record, and equal keys must be encoded equally"
        );
    }
}

#[cfg(test)]
mod tests;
