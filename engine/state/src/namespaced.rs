//! Tables by namespace: a window's end, say. Windows fire whole, so each has a table of its own.

use std::collections::BTreeMap;

use flott_core::{CodecError, Data, Key, KeyGroupRange, MaxParallelism, Timestamp};

use crate::format::{Chunk, ChunkWriter};
use crate::table::Table;
use crate::{Snapshot, SnapshotProgress};

/// A value for each namespace and key.
pub struct NamespacedTable<K, V> {
    tables: BTreeMap<Timestamp, Table<K, V>>,
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    /// While a snapshot is written: the namespaces that are through.
    written_to: Option<Timestamp>,
}

impl<K: Key, V: Data> NamespacedTable<K, V> {
    /// An empty one.
    pub fn new(key_groups: KeyGroupRange, max_parallelism: MaxParallelism) -> Self {
        Self { tables: BTreeMap::new(), key_groups, max_parallelism, written_to: None }
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
        self.tables.get_mut(&namespace)
    }

    /// A namespace's table, made if it is not there.
    pub fn table(&mut self, namespace: Timestamp) -> &mut Table<K, V> {
        let (groups, max) = (self.key_groups, self.max_parallelism);
        self.tables.entry(namespace).or_insert_with(|| Table::in_namespace(groups, max, namespace))
    }

    /// Drops a namespace, once its table has been drained; one that still is in a snapshot in the writing stays, empty,
    /// until it is written.
    pub fn remove_drained(&mut self, namespace: Timestamp) {
        if self.tables.get(&namespace).is_some_and(|table| table.is_empty() && !table.is_writing()) {
            self.tables.remove(&namespace);
        }
    }
}

impl<K: Key, V: Data> Snapshot for NamespacedTable<K, V> {
    fn begin(&mut self) {
        self.tables.values_mut().for_each(Snapshot::begin);
        self.written_to = None;
    }

    fn write_step(&mut self, out: &mut ChunkWriter<'_>) -> SnapshotProgress {
        loop {
            let from = self.written_to.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
            let next = self.tables.range_mut((from, std::ops::Bound::Unbounded)).next();
            let Some((namespace, table)) = next else {
                self.written_to = None;
                return SnapshotProgress::Done;
            };
            let namespace = *namespace;
            // A table that came after the beginning writes nothing.
            if table.write_step(out) == SnapshotProgress::More {
                return SnapshotProgress::More;
            }
            self.written_to = Some(namespace);
            if out.is_over() {
                return SnapshotProgress::More;
            }
        }
    }

    fn cancel(&mut self) {
        self.tables.values_mut().for_each(Snapshot::cancel);
        self.written_to = None;
    }

    fn restore(&mut self, chunk: &Chunk<'_>) -> Result<(), CodecError> {
        if chunk.groups.intersects(self.key_groups) {
            self.table(chunk.namespace).restore(chunk)?;
            if self.get(chunk.namespace).is_some_and(Table::is_empty) {
                self.tables.remove(&chunk.namespace);
            }
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.tables.values().map(Table::len).sum()
    }
}
