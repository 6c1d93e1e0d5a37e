//! Keyed and operator state, timers, and their snapshots.
//!
//! An operator's state lives on the operator's slot thread and is declared by name and type when the operator opens. A
//! snapshot is written by that thread in small steps between batches: an entry that is touched before it was written is
//! encoded first, with its old value, so no copy of the state is ever made and no lock is taken.
//!
//! All of it is generic down to the entry: a lookup is a few inlined lines, without a virtual call. What a snapshot looks like
//! is in [`format`](mod@format).
//!
//! ```
//! use flott_core::{Key, MaxParallelism};
//! use flott_core::ids::{CheckpointId, OperatorId};
//! use flott_state::{OperatorState, SnapshotProgress, StateContext};
//!
//! # fn main() -> Result<(), flott_state::StateError> {
//! let context = StateContext::single(OperatorId::from_uid("counts"));
//! let mut state = OperatorState::new(context.clone());
//! let counts = state.table::<String, u64>("count")?;
//! let word = "flott".to_owned();
//! counts.borrow_mut().insert(word.key_hash(), word.clone(), 1);
//!
//! let mut snapshot = Vec::new();
//! state.begin_snapshot(CheckpointId(1))?;
//! *counts.borrow_mut().get_mut(word.key_hash(), &word).unwrap() = 2;
//! while state.write_step(&mut snapshot, 4096)? == SnapshotProgress::More {}
//!
//! let mut restored = OperatorState::restore(context, [snapshot])?;
//! let counts = restored.table::<String, u64>("count")?;
//! assert_eq!(counts.borrow().get(word.key_hash(), &word), Some(&1));
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")
)]

mod error;
pub mod format;
mod list;
mod namespaced;
mod operator_state;
mod table;
mod timers;
mod value;

pub use error::StateError;
pub use list::OperatorList;
pub use namespaced::NamespacedTable;
pub use operator_state::{OperatorState, StateContext};
pub use table::Table;
pub use timers::Timers;
pub use value::{CurrentKey, ValueState};

use flott_core::CodecError;
use format::{Chunk, ChunkWriter};

/// How a step of writing a snapshot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotProgress {
    /// There is more to write.
    More,
    /// All is written.
    Done,
}

/// What a kind of state must offer to be in snapshots; with it, a state of any backend joins [`OperatorState`].
trait Snapshot {
    /// From now on, what is there belongs to the snapshot. Takes the same short time however much there is.
    fn begin(&mut self);

    /// Writes until `out` is over its budget or all is written.
    fn write_step(&mut self, out: &mut ChunkWriter<'_>) -> SnapshotProgress;

    /// The snapshot is not wanted any more.
    fn cancel(&mut self);

    /// Takes in the rows of a chunk that are the subtask's.
    fn restore(&mut self, chunk: &Chunk<'_>) -> Result<(), CodecError>;

    /// How many entries there are.
    fn len(&self) -> usize;

    /// About how many bytes of memory it takes.
    fn bytes_estimate(&self) -> usize;

    /// How many bytes of old values wait to be written.
    fn pending_bytes(&self) -> usize;
}
