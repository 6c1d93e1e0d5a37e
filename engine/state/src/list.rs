//! Operator state without keys: a list whose elements are dealt out anew when the parallelism changes.

use flott_core::{CodecError, Data, KeyGroupRange};

use crate::format::{Chunk, ChunkWriter};
use crate::{Snapshot, SnapshotProgress};

/// A list of elements: source splits, pending commits. It should be short: a snapshot copies it.
pub struct OperatorList<T> {
    elements: Vec<T>,
    writing: Option<(Vec<u8>, usize)>,
    /// Dealing out: elements seen so far, and which of how many subtasks this is.
    seen: u32,
    subtask: u32,
    parallelism: u32,
}

impl<T: Data> OperatorList<T> {
    pub(crate) fn new(subtask: u32, parallelism: u32) -> Self {
        Self { elements: Vec::new(), writing: None, seen: 0, subtask, parallelism }
    }

    /// The elements.
    pub fn get(&self) -> &[T] {
        &self.elements
    }

    /// Replaces the elements.
    pub fn set(&mut self, elements: Vec<T>) {
        self.elements = elements;
    }

    /// Takes the elements.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.elements)
    }

    /// Adds an element.
    pub fn push(&mut self, element: T) {
        self.elements.push(element);
    }
}

impl<T: Data> Snapshot for OperatorList<T> {
    fn begin(&mut self) {
        let mut rows = Vec::new();
        self.elements.iter().for_each(|element| element.encode(&mut rows));
        self.writing = Some((rows, self.elements.len()));
    }

    fn write_step(&mut self, out: &mut ChunkWriter<'_>) -> SnapshotProgress {
        if let Some((rows, count)) = self.writing.take() {
            out.chunk(0, KeyGroupRange { start: 0, end: 0 }, count, &rows);
        }
        SnapshotProgress::Done
    }

    fn cancel(&mut self) {
        self.writing = None;
    }

    fn restore(&mut self, chunk: &Chunk<'_>) -> Result<(), CodecError> {
        let mut input = chunk.payload;
        for _ in 0..chunk.rows {
            let element = T::decode(&mut input)?;
            if self.seen % self.parallelism == self.subtask {
                self.elements.push(element);
            }
            self.seen += 1;
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.elements.len()
    }
}
