//! The states of one operator subtask, by name.

use std::cell::RefCell;
use std::rc::Rc;

use flott_core::ids::{CheckpointId, OperatorId};
use flott_core::{CodecError, Data, Key, KeyGroupRange, MaxParallelism, Schema};

use crate::error::StateError;
use crate::format::{self, ChunkWriter, Descriptor, StateKind};
use crate::list::OperatorList;
use crate::namespaced::NamespacedTable;
use crate::table::Table;
use crate::timers::Timers;
use crate::{Snapshot, SnapshotProgress};

/// Whose state it is.
#[derive(Debug, Clone)]
pub struct StateContext {
    /// The operator.
    pub operator: OperatorId,
    /// The subtask.
    pub subtask: u32,
    /// Of how many.
    pub parallelism: u32,
    /// How many key groups there are.
    pub max_parallelism: MaxParallelism,
    /// Those the subtask owns.
    pub key_groups: KeyGroupRange,
    /// Whether what is restored is of all subtasks, so that lists are dealt out, or of this one alone.
    pub redistribute: bool,
}

impl StateContext {
    /// An operator with a single subtask.
    pub fn single(operator: OperatorId) -> Self {
        let max_parallelism = MaxParallelism::default_for(1);
        Self {
            operator,
            subtask: 0,
            parallelism: 1,
            max_parallelism,
            key_groups: max_parallelism.range(0, 1),
            redistribute: true,
        }
    }
}

/// The states of one operator subtask. They are declared by name and type when the operator opens, and restored as they
/// are declared.
pub struct OperatorState {
    context: StateContext,
    states: Vec<(Descriptor, Rc<RefCell<dyn Snapshot>>)>,
    /// Earlier snapshots, in the order of the subtasks that wrote them.
    restored: Vec<Vec<u8>>,
    writing: Option<Writing>,
}

struct Writing {
    checkpoint: CheckpointId,
    header_written: bool,
    state: usize,
    chunks: u64,
}

impl OperatorState {
    /// Nothing to restore.
    pub fn new(context: StateContext) -> Self {
        Self { context, states: Vec::new(), restored: Vec::new(), writing: None }
    }

    /// Goes on from snapshots of all subtasks the operator had, in their order.
    ///
    /// # Errors
    /// [`StateError::Damaged`] if one of them is not what was written.
    pub fn restore(context: StateContext, snapshots: Vec<Vec<u8>>) -> Result<Self, StateError> {
        for snapshot in &snapshots {
            let parsed = format::parse(snapshot).map_err(|error| damaged(&context, error))?;
            if parsed.operator != context.operator {
                let reason = format!("it was written by operator {}", parsed.operator);
                return Err(StateError::Damaged { operator: context.operator, reason });
            }
        }
        Ok(Self { restored: snapshots, ..Self::new(context) })
    }

    /// Whose state it is.
    pub fn context(&self) -> &StateContext {
        &self.context
    }

    /// Declares a value a key.
    ///
    /// # Errors
    /// [`StateError`] if the name is taken, or the checkpoint holds another type under it.
    pub fn table<K: Key, V: Data>(&mut self, name: &str) -> Result<Rc<RefCell<Table<K, V>>>, StateError> {
        let (groups, max) = (self.context.key_groups, self.context.max_parallelism);
        self.declare(name, StateKind::Table, K::schema(), V::schema(), Table::new(groups, max))
    }

    /// Declares a value a namespace and key.
    ///
    /// # Errors
    /// See [`table`](Self::table).
    pub fn namespaced<K: Key, V: Data>(
        &mut self,
        name: &str,
    ) -> Result<Rc<RefCell<NamespacedTable<K, V>>>, StateError> {
        let (groups, max) = (self.context.key_groups, self.context.max_parallelism);
        self.declare(name, StateKind::Namespaced, K::schema(), V::schema(), NamespacedTable::new(groups, max))
    }

    /// Declares timers.
    ///
    /// # Errors
    /// See [`table`](Self::table).
    pub fn timers<K: Key>(&mut self, name: &str) -> Result<Rc<RefCell<Timers<K>>>, StateError> {
        let (groups, max) = (self.context.key_groups, self.context.max_parallelism);
        self.declare(name, StateKind::Timers, K::schema(), Schema::Unit, Timers::new(groups, max))
    }

    /// Declares a list without keys.
    ///
    /// # Errors
    /// See [`table`](Self::table).
    pub fn list<T: Data>(&mut self, name: &str) -> Result<Rc<RefCell<OperatorList<T>>>, StateError> {
        let StateContext { subtask, parallelism, redistribute, .. } = self.context;
        let list =
            if redistribute { OperatorList::new(subtask, parallelism) } else { OperatorList::new(0, 1) };
        self.declare(name, StateKind::List, Schema::Unit, T::schema(), list)
    }

    fn declare<S: Snapshot + 'static>(
        &mut self,
        name: &str,
        kind: StateKind,
        key: Schema,
        value: Schema,
        mut state: S,
    ) -> Result<Rc<RefCell<S>>, StateError> {
        let descriptor = Descriptor { name: name.to_owned(), kind, key, value };
        if self.states.iter().any(|(other, _)| other.name == name) {
            return Err(StateError::DeclaredTwice {
                operator: self.context.operator,
                state: name.to_owned(),
            });
        }
        for snapshot in &self.restored {
            restore_from(snapshot, &descriptor, &mut state, &self.context)?;
        }
        let state = Rc::new(RefCell::new(state));
        self.states.push((descriptor, Rc::clone(&state) as Rc<RefCell<dyn Snapshot>>));
        Ok(state)
    }

    /// All states are declared: what the snapshots hold besides is refused, or dropped if `allow_unclaimed`.
    ///
    /// # Errors
    /// [`StateError::Unclaimed`].
    pub fn finish_declarations(&mut self, allow_unclaimed: bool) -> Result<(), StateError> {
        for snapshot in std::mem::take(&mut self.restored) {
            let parsed = format::parse(&snapshot).map_err(|error| damaged(&self.context, error))?;
            let unclaimed = parsed
                .descriptors
                .into_iter()
                .find(|written| !self.states.iter().any(|(declared, _)| declared.name == written.name));
            if let Some(written) = unclaimed.filter(|_| !allow_unclaimed) {
                return Err(StateError::Unclaimed { operator: self.context.operator, state: written.name });
            }
        }
        Ok(())
    }

    /// What is there now belongs to the snapshot for `checkpoint`.
    ///
    /// # Errors
    /// [`StateError::SnapshotInProgress`] if an earlier one is still being written.
    pub fn begin_snapshot(&mut self, checkpoint: CheckpointId) -> Result<(), StateError> {
        if let Some(writing) = &self.writing {
            let (operator, writing) = (self.context.operator, writing.checkpoint);
            return Err(StateError::SnapshotInProgress { operator, checkpoint, writing });
        }
        self.states.iter().for_each(|(_, state)| state.borrow_mut().begin());
        self.writing = Some(Writing { checkpoint, header_written: false, state: 0, chunks: 0 });
        Ok(())
    }

    /// Writes about `budget` bytes of the snapshot behind what `out` holds. An operator without state writes nothing.
    ///
    /// # Errors
    /// None now; backends that do I/O will have some.
    pub fn write_step(&mut self, out: &mut Vec<u8>, budget: usize) -> Result<SnapshotProgress, StateError> {
        let Some(writing) = &mut self.writing else { return Ok(SnapshotProgress::Done) };
        if self.states.is_empty() {
            self.writing = None;
            return Ok(SnapshotProgress::Done);
        }
        let end = out.len() + budget;
        if !writing.header_written {
            let descriptors: Vec<_> = self.states.iter().map(|(descriptor, _)| descriptor).collect();
            format::write_header(self.context.operator, &descriptors, out);
            writing.header_written = true;
        }
        while let Some((_, state)) = self.states.get(writing.state) {
            let left = end.saturating_sub(out.len()).max(1);
            let mut chunks = ChunkWriter::new(out, writing.state, left, &mut writing.chunks);
            if state.borrow_mut().write_step(&mut chunks) == SnapshotProgress::More {
                return Ok(SnapshotProgress::More);
            }
            writing.state += 1;
            if out.len() >= end {
                return Ok(SnapshotProgress::More);
            }
        }
        format::write_trailer(writing.chunks, out);
        self.writing = None;
        Ok(SnapshotProgress::Done)
    }

    /// Gives up the snapshot for `checkpoint`, if it is being written.
    pub fn cancel_snapshot(&mut self, checkpoint: CheckpointId) {
        if self.writing.as_ref().is_some_and(|writing| writing.checkpoint == checkpoint) {
            self.states.iter().for_each(|(_, state)| state.borrow_mut().cancel());
            self.writing = None;
        }
    }

    /// How many entries all states have.
    pub fn entries(&self) -> usize {
        self.states.iter().map(|(_, state)| state.borrow().len()).sum()
    }
}

fn damaged(context: &StateContext, error: CodecError) -> StateError {
    StateError::Damaged { operator: context.operator, reason: error.to_string() }
}

fn restore_from(
    snapshot: &[u8],
    declared: &Descriptor,
    state: &mut impl Snapshot,
    context: &StateContext,
) -> Result<(), StateError> {
    let parsed = format::parse(snapshot).map_err(|error| damaged(context, error))?;
    let Some(position) = parsed.descriptors.iter().position(|written| written.name == declared.name) else {
        return Ok(());
    };
    let written = &parsed.descriptors[position];
    if written != declared {
        return Err(StateError::SchemaChanged {
            operator: context.operator,
            state: declared.name.clone(),
            written: written.type_name(),
            declared: declared.type_name(),
        });
    }
    for chunk in parsed.chunks.iter().filter(|chunk| chunk.state == position) {
        state.restore(chunk).map_err(|error| damaged(context, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
