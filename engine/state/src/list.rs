//! Operator state without keys: a list whose elements are dealt out anew when the parallelism changes.

use flott_core::{CodecError, Data, KeyGroupRange};

use crate::format::{Chunk, ChunkWriter, PendingRows};
use crate::{Snapshot, SnapshotProgress};

/// A list of elements: source splits, pending commits. A subtask that is restored gets every n-th element of all lists
/// there were, in the order of the subtasks that wrote them; n is the new parallelism.
///
/// ```
/// use flott_core::ids::OperatorId;
/// use flott_state::{OperatorState, StateContext, StateError};
///
/// # fn main() -> Result<(), StateError> {
/// let mut state = OperatorState::new(StateContext::single(OperatorId::from_uid("files")));
/// let splits = state.list::<String>("splits")?;
/// splits.borrow_mut().push("part-0".to_owned());
/// assert_eq!(splits.borrow().get(), ["part-0".to_owned()]);
/// # Ok(())
/// # }
/// ```
pub struct OperatorList<T> {
    elements: Vec<T>,
    writing: Option<Writing<T>>,
    /// Dealing out: elements seen so far, and which of how many subtasks this is.
    seen: u32,
    subtask: u32,
    parallelism: u32,
}

/// The writing of a snapshot: of the elements from `next` up to `end`, which stay where they are as long as elements are only
/// added.
struct Writing<T> {
    next: usize,
    end: usize,
    /// What the list was, if it was replaced.
    replaced: Option<Vec<T>>,
    /// What was encoded because it was taken.
    pending: PendingRows,
}

/// A list's rows belong to no key group.
const NO_GROUPS: KeyGroupRange = KeyGroupRange { start: 0, end: 0 };

impl<T: Data> OperatorList<T> {
    pub(crate) fn new(subtask: u32, parallelism: u32) -> Self {
        Self { elements: Vec::new(), writing: None, seen: 0, subtask, parallelism: parallelism.max(1) }
    }

    /// The elements.
    pub fn get(&self) -> &[T] {
        &self.elements
    }

    /// Replaces the elements.
    pub fn set(&mut self, elements: Vec<T>) {
        let old = std::mem::replace(&mut self.elements, elements);
        if let Some(writing) = self.writing.as_mut().filter(|writing| writing.replaced.is_none()) {
            writing.replaced = Some(old);
        }
    }

    /// Takes the elements.
    pub fn take(&mut self) -> Vec<T> {
        if let Some(writing) = self.writing.as_mut().filter(|writing| writing.replaced.is_none()) {
            for element in self.elements.iter().take(writing.end).skip(writing.next) {
                writing.pending.add(|out| element.encode(out));
            }
            writing.next = writing.end;
        }
        std::mem::take(&mut self.elements)
    }

    /// Adds an element.
    pub fn push(&mut self, element: T) {
        self.elements.push(element);
    }
}

impl<T: Data> Snapshot for OperatorList<T> {
    fn begin(&mut self) {
        let end = self.elements.len();
        self.writing = Some(Writing { next: 0, end, replaced: None, pending: PendingRows::default() });
    }

    fn write_step(&mut self, out: &mut ChunkWriter<'_>) -> SnapshotProgress {
        let Some(writing) = &mut self.writing else { return SnapshotProgress::Done };
        let elements = writing.replaced.as_ref().unwrap_or(&self.elements);
        for element in elements.iter().take(writing.end).skip(writing.next) {
            if out.is_over() {
                return SnapshotProgress::More;
            }
            out.row(0, NO_GROUPS, |out| element.encode(out));
            writing.next += 1;
        }
        if !writing.pending.write(0, NO_GROUPS, out) {
            return SnapshotProgress::More;
        }
        self.writing = None;
        SnapshotProgress::Done
    }

    fn cancel(&mut self) {
        self.writing = None;
    }

    fn restore(&mut self, chunk: &Chunk<'_>) -> Result<(), CodecError> {
        chunk.for_each_row(|input| {
            let element = T::decode(input)?;
            if self.seen == self.subtask {
                self.elements.push(element);
            }
            self.seen = (self.seen + 1) % self.parallelism;
            Ok(())
        })
    }

    fn len(&self) -> usize {
        self.elements.len()
    }

    fn bytes_estimate(&self) -> usize {
        let replaced = self.writing.as_ref().and_then(|writing| writing.replaced.as_ref());
        let elements = self.elements.iter().chain(replaced.into_iter().flatten());
        elements.map(Data::size_estimate).sum::<usize>() + self.pending_bytes()
    }

    fn pending_bytes(&self) -> usize {
        self.writing.as_ref().map_or(0, |writing| writing.pending.bytes())
    }
}
