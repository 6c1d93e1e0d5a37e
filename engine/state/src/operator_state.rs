//! The states of one operator subtask, by name.

use std::cell::RefCell;
use std::rc::Rc;

use flott_core::ids::{CheckpointId, OperatorId};
use flott_core::{Data, Key, KeyGroupRange, MaxParallelism, Schema};

use crate::error::StateError;
use crate::format::{
    ChunkWriter, Descriptor, FormatError, Header, SnapshotReader, SnapshotSource, StateKind, StreamWriter,
};
use crate::list::OperatorList;
use crate::namespaced::NamespacedTable;
use crate::table::Table;
use crate::timers::Timers;
use crate::value::{CurrentKey, ValueState};
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
    restored: Vec<SnapshotReader>,
    /// Whether all states are declared.
    complete: bool,
    writing: Option<Writing>,
}

struct Writing {
    checkpoint: CheckpointId,
    header_written: bool,
    /// The state in hand.
    state: usize,
    stream: StreamWriter,
}

impl OperatorState {
    /// Nothing to restore.
    pub fn new(context: StateContext) -> Self {
        Self { context, states: Vec::new(), restored: Vec::new(), complete: false, writing: None }
    }

    /// Goes on from snapshots of all subtasks the operator had, in their order. Only what stands at their beginnings and
    /// ends is read here.
    ///
    /// # Errors
    /// [`StateError::Unreadable`] if one of them is not what was written, or cannot be read;
    /// [`StateError::OtherOperator`].
    pub fn restore(
        context: StateContext,
        snapshots: impl IntoIterator<Item = impl Into<SnapshotSource>>,
    ) -> Result<Self, StateError> {
        let operator = context.operator;
        let mut restored = Vec::new();
        for (snapshot, source) in snapshots.into_iter().enumerate() {
            let reader = SnapshotReader::open(source).map_err(|error| StateError::Unreadable {
                operator,
                snapshot,
                error,
            })?;
            let writer = reader.header().operator;
            if writer != operator {
                return Err(StateError::OtherOperator { operator, snapshot, writer });
            }
            restored.push(reader);
        }
        Ok(Self { restored, ..Self::new(context) })
    }

    /// Whose state it is.
    pub fn context(&self) -> &StateContext {
        &self.context
    }

    /// Declares a value a key.
    ///
    /// # Errors
    /// [`StateError`] if the name is taken, if the checkpoint holds another type under it or another max parallelism, or
    /// if it cannot be read.
    pub fn table<K: Key, V: Data>(&mut self, name: &str) -> Result<Rc<RefCell<Table<K, V>>>, StateError> {
        let (groups, max) = (self.context.key_groups, self.context.max_parallelism);
        self.declare(name, StateKind::Table, K::schema(), V::schema(), Table::new(groups, max))
    }

    /// Declares a value a key, for a function that is called with one key at a time: that which `key` is set to.
    ///
    /// # Errors
    /// See [`table`](Self::table).
    pub fn value_state<K: Key, V: Data>(
        &mut self,
        name: &str,
        key: &CurrentKey<K>,
    ) -> Result<ValueState<K, V>, StateError> {
        Ok(ValueState::new(self.table(name)?, key.clone()))
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
        let operator = self.context.operator;
        if self.states.iter().any(|(other, _)| other.name == name) {
            return Err(StateError::DeclaredTwice { operator, state: descriptor.name });
        }
        if self.complete || self.writing.is_some() {
            return Err(StateError::DeclaredLate { operator, state: descriptor.name });
        }
        for (snapshot, reader) in self.restored.iter_mut().enumerate() {
            let Some(position) = position_in(reader, &descriptor, &self.context)? else { continue };
            restore_from(reader, position, &descriptor, &mut state, self.context.key_groups)
                .map_err(|error| StateError::Unreadable { operator, snapshot, error })?;
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
        let restored = std::mem::take(&mut self.restored);
        self.complete = true;
        let mut written = restored.iter().flat_map(|reader| &reader.header().states);
        let unclaimed = written.find(|written| self.states.iter().all(|(own, _)| own.name != written.name));
        match unclaimed.filter(|_| !allow_unclaimed) {
            Some(written) => {
                Err(StateError::Unclaimed { operator: self.context.operator, state: written.name.clone() })
            }
            None => Ok(()),
        }
    }

    /// What is there now belongs to the snapshot for `checkpoint`. Takes the same short time however much there is.
    ///
    /// # Errors
    /// [`StateError::SnapshotInProgress`] if an earlier one is still being written.
    pub fn begin_snapshot(&mut self, checkpoint: CheckpointId) -> Result<(), StateError> {
        if let Some(writing) = &self.writing {
            let (operator, writing) = (self.context.operator, writing.checkpoint);
            return Err(StateError::SnapshotInProgress { operator, checkpoint, writing });
        }
        self.states.iter().for_each(|(_, state)| state.borrow_mut().begin());
        let stream = StreamWriter::default();
        self.writing = Some(Writing { checkpoint, header_written: false, state: 0, stream });
        Ok(())
    }

    /// Writes about `budget` bytes of the snapshot behind what `out` holds; an entry is never cut. What a step has written
    /// may be taken out of `out` before the next. An operator without state writes nothing.
    ///
    /// # Errors
    /// None with state on the heap; a backend that does I/O has some.
    pub fn write_step(&mut self, out: &mut Vec<u8>, budget: usize) -> Result<SnapshotProgress, StateError> {
        let Some(mut writing) = self.writing.take() else { return Ok(SnapshotProgress::Done) };
        if self.states.is_empty() {
            return Ok(SnapshotProgress::Done);
        }
        let start = out.len();
        if !writing.header_written {
            StreamWriter::header(&self.header(), out);
            writing.header_written = true;
        }
        while let Some((_, state)) = self.states.get(writing.state) {
            let left = budget.saturating_sub(out.len() - start);
            let mut chunks = ChunkWriter::new(out, &mut writing.stream, writing.state, left);
            let progress = state.borrow_mut().write_step(&mut chunks);
            let over = chunks.is_over();
            chunks.close();
            if progress == SnapshotProgress::Done {
                writing.state += 1;
            }
            if over || progress == SnapshotProgress::More {
                writing.stream.end_step(out.len() - start);
                self.writing = Some(writing);
                return Ok(SnapshotProgress::More);
            }
        }
        writing.stream.footer(out.len() - start, out);
        Ok(SnapshotProgress::Done)
    }

    fn header(&self) -> Header {
        Header {
            operator: self.context.operator,
            subtask: self.context.subtask,
            parallelism: self.context.parallelism,
            max_parallelism: self.context.max_parallelism.get(),
            states: self.states.iter().map(|(descriptor, _)| descriptor.clone()).collect(),
        }
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

    /// About how many bytes of memory all states take. What entries own beyond their places in a table is estimated from a
    /// few of them.
    pub fn bytes_estimate(&self) -> usize {
        self.states.iter().map(|(_, state)| state.borrow().bytes_estimate()).sum()
    }

    /// How many bytes of old values are kept for the snapshot in the writing, because their entries changed before it came to
    /// them. It grows when state changes faster than steps are taken.
    pub fn pending_bytes(&self) -> usize {
        let states = self.states.iter().filter(|_| self.writing.is_some());
        states.map(|(_, state)| state.borrow().pending_bytes()).sum()
    }
}

/// Where the declared state stands in a snapshot, if it is there and can be read as what it is declared.
fn position_in(
    reader: &SnapshotReader,
    declared: &Descriptor,
    context: &StateContext,
) -> Result<Option<usize>, StateError> {
    let header = reader.header();
    let Some(position) = header.states.iter().position(|written| written.name == declared.name) else {
        return Ok(None);
    };
    let (operator, state) = (context.operator, declared.name.clone());
    let written = &header.states[position];
    if !written.compatible_with(declared) {
        let (written, declared) = (written.type_name(), declared.type_name());
        return Err(StateError::SchemaChanged { operator, state, written, declared });
    }
    let (written, declared_max) = (header.max_parallelism, context.max_parallelism.get());
    if declared.kind.is_keyed() && written != declared_max {
        return Err(StateError::MaxParallelismChanged { operator, state, written, declared: declared_max });
    }
    Ok(Some(position))
}

/// Reads those chunks of a state that may hold rows of the subtask's key groups.
fn restore_from(
    reader: &mut SnapshotReader,
    position: usize,
    declared: &Descriptor,
    state: &mut impl Snapshot,
    key_groups: KeyGroupRange,
) -> Result<(), FormatError> {
    for index in 0..reader.chunk_count() {
        let wanted = reader.chunk_header(index).is_some_and(|chunk| {
            chunk.state as usize == position
                && (!declared.kind.is_keyed() || chunk.groups.intersects(key_groups))
        });
        if wanted {
            let restored = state.restore(&reader.chunk(index)?);
            restored.map_err(|error| {
                FormatError::invalid(format!("chunk {index} of state '{}'", declared.name), error)
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
