//! Tables by namespace: a window's end, say. Windows fire whole, so each has a table of its own.
//!
//! A snapshot begins at once for however many namespaces: each table joins it when it is next changed, or when the writing
//! comes to it. Invariant: a table whose version is not this one's has not joined; one that is made meanwhile has this
//! version, and nothing to write.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use flott_core::{CodecError, Data, Key, KeyGroupRange, MaxParallelism, Timestamp};

use crate::format::{Chunk, ChunkWriter, PendingRows};
use crate::table::Table;
use crate::{Snapshot, SnapshotProgress};

/// A value for each namespace and key.
///
/// ```
/// use flott_core::{Key, MaxParallelism};
/// use flott_state::NamespacedTable;
///
/// let max = MaxParallelism::new(128).unwrap();
/// let mut windows = NamespacedTable::<u64, u64>::new(max.range(0, 1), max);
/// windows.table(1000).insert(7_u64.key_hash(), 7, 1);
/// windows.table(2000).insert(7_u64.key_hash(), 7, 5);
/// // The window that ends at 1000 fires, an entry a step.
/// let mut fired = Vec::new();
/// while let Some(window) = windows.get_mut(1000).filter(|window| !window.is_empty()) {
///     window.drain(|key, value| {
///         fired.push((key, value));
///         false
///     });
/// }
/// windows.remove_drained(1000);
/// assert_eq!((fired, windows.first()), (vec![(7, 1)], Some(2000)));
/// ```
pub struct NamespacedTable<K, V> {
    tables: BTreeMap<Timestamp, Table<K, V>>,
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    version: u32,
    writing: Option<Writing>,
}

/// The writing of a snapshot.
#[derive(Default)]
struct Writing {
    /// Namespaces that were changed: they come first, as long as their tables keep old values.
    changed: Vec<Timestamp>,
    /// Besides, the namespaces up to this one are through.
    written_to: Option<Timestamp>,
    /// What removed tables still have to add.
    removed: Vec<(Timestamp, PendingRows)>,
}

impl<K: Key, V: Data> NamespacedTable<K, V> {
    /// An empty one.
    pub fn new(key_groups: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Self { tables: BTreeMap::new(), key_groups, max_parallelism, version: 0, writing: None }
    }

    /// The lowest namespace.
    pub fn first(&self) -> Option<Timestamp> {
        self.tables.first_key_value().map(|(namespace, _)| *namespace)
    }

    /// The namespaces, lowest first.
    pub fn namespaces(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.tables.keys().copied()
    }

    /// A namespace's table.
    pub fn get(&self, namespace: Timestamp) -> Option<&Table<K, V>> {
        self.tables.get(&namespace)
    }

    /// A namespace's table, to change.
    pub fn get_mut(&mut self, namespace: Timestamp) -> Option<&mut Table<K, V>> {
        let table = self.tables.get_mut(&namespace)?;
        if let Some(writing) = &mut self.writing {
            writing.changing(namespace, table, self.version);
        }
        Some(table)
    }

    /// A namespace's table, made if it is not there.
    pub fn table(&mut self, namespace: Timestamp) -> &mut Table<K, V> {
        let table = match self.tables.entry(namespace) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let (groups, max) = (self.key_groups, self.max_parallelism);
                entry.insert(Table::in_namespace(groups, max, namespace, self.version))
            }
        };
        if let Some(writing) = &mut self.writing {
            writing.changing(namespace, table, self.version);
        }
        table
    }

    /// Drops a namespace if its table is empty, for instance once it has been [drained](Table::drain).
    pub fn remove_drained(&mut self, namespace: Timestamp) {
        let Entry::Occupied(entry) = self.tables.entry(namespace) else { return };
        if entry.get().is_empty() {
            let mut table = entry.remove();
            if let (Some(writing), Some(pending)) = (&mut self.writing, table.take_pending()) {
                writing.removed.push((namespace, pending));
            }
        }
    }

    /// How many keys in namespaces have a value.
    pub fn len(&self) -> usize {
        self.tables.values().map(Table::len).sum()
    }

    /// Whether no key has a value in any namespace.
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(Table::is_empty)
    }
}

impl Writing {
    /// `table` is about to change: it joins the snapshot, if it has not yet.
    #[inline]
    fn changing<K: Key, V: Data>(&mut self, namespace: Timestamp, table: &mut Table<K, V>, version: u32) {
        if table.version() != version {
            table.begin_as(version);
            self.changed.push(namespace);
        }
    }
}

impl<K: Key, V: Data> Snapshot for NamespacedTable<K, V> {
    fn begin(&mut self) {
        self.version = self.version.wrapping_add(1);
        self.writing = Some(Writing::default());
    }

    fn write_step(&mut self, out: &mut ChunkWriter<'_>) -> SnapshotProgress {
        let Some(writing) = &mut self.writing else { return SnapshotProgress::Done };
        while let Some((namespace, pending)) = writing.removed.last_mut() {
            if !pending.write(*namespace, self.key_groups, out) {
                return SnapshotProgress::More;
            }
            writing.removed.pop();
        }
        while let Some(namespace) = writing.changed.last() {
            // It may have been removed since, or removed and made again.
            let table = self.tables.get_mut(namespace);
            if table.is_some_and(|table| table.write_step(out) == SnapshotProgress::More) {
                return SnapshotProgress::More;
            }
            writing.changed.pop();
        }
        while !out.is_over() {
            let from = writing.written_to.map_or(Bound::Unbounded, Bound::Excluded);
            let Some((namespace, table)) = self.tables.range_mut((from, Bound::Unbounded)).next() else {
                self.writing = None;
                return SnapshotProgress::Done;
            };
            if table.version() != self.version {
                table.begin_as(self.version);
            }
            if table.write_step(out) == SnapshotProgress::More {
                return SnapshotProgress::More;
            }
            // Only now: a step of the least budget must still take its table further.
            out.spend(1);
            writing.written_to = Some(*namespace);
        }
        SnapshotProgress::More
    }

    fn cancel(&mut self) {
        self.tables.values_mut().for_each(Snapshot::cancel);
        self.writing = None;
    }

    fn restore(&mut self, chunk: &Chunk<'_>) -> Result<(), CodecError> {
        let namespace = chunk.header.namespace;
        let restored = self.table(namespace).restore(chunk);
        // None of the rows may have been of the subtask's key groups.
        self.remove_drained(namespace);
        restored
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn bytes_estimate(&self) -> usize {
        self.tables.values().map(Snapshot::bytes_estimate).sum()
    }

    fn pending_bytes(&self) -> usize {
        let removed = self.writing.iter().flat_map(|writing| &writing.removed);
        let tables = self.tables.values().map(Snapshot::pending_bytes);
        tables.sum::<usize>() + removed.map(|(_, pending)| pending.bytes()).sum::<usize>()
    }
}
