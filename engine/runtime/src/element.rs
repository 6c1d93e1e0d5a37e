//! What flows through a channel, and batches whose type only the operators on both sides know.
//!
//! A channel carries, in this order:
//!
//! ```text
//! channel := ( batch | watermark | idle | barrier )* end
//! ```
//!
//! A batch or a watermark after `idle` ends the idleness. Nothing follows `end`.

use std::any::Any;
use std::fmt;

use bytes::Bytes;
use flott_core::ids::CheckpointId;
use flott_core::{Batch, Timestamp};

/// A batch with its type erased: one virtual call a batch, none a record.
pub struct AnyBatch(Box<dyn ErasedBatch>);

/// What the runtime needs of a batch without knowing its type; every [`Batch`] has it.
trait ErasedBatch: Send {
    fn len(&self) -> usize;
    fn size_estimate(&self) -> usize;
    fn duplicate(&self) -> AnyBatch;
    fn encode(&self, out: &mut Vec<u8>);
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<B: Batch> ErasedBatch for B {
    fn len(&self) -> usize {
        Batch::len(self)
    }

    fn size_estimate(&self) -> usize {
        Batch::size_estimate(self)
    }

    fn duplicate(&self) -> AnyBatch {
        AnyBatch::new(Batch::duplicate(self))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        Batch::encode(self, out);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl AnyBatch {
    /// Erases the type of a batch.
    pub fn new<B: Batch>(batch: B) -> Self {
        Self(Box::new(batch))
    }

    /// The batch as what it is.
    ///
    /// # Errors
    /// [`WrongBatchType`] if it holds another type: the two ends of an edge disagree, a defect of Flott.
    pub fn downcast<B: Batch>(self) -> Result<B, WrongBatchType> {
        match self.0.into_any().downcast::<B>() {
            Ok(batch) => Ok(*batch),
            Err(_) => Err(WrongBatchType { expected: std::any::type_name::<B>() }),
        }
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes of memory it takes.
    pub fn size_estimate(&self) -> usize {
        self.0.size_estimate()
    }

    /// A copy, for a second reader.
    pub fn duplicate(&self) -> Self {
        self.0.duplicate()
    }

    /// Appends the encoded batch to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl fmt::Debug for AnyBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyBatch({} records)", self.len())
    }
}

/// A batch arrived where another type was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a batch of another type arrived where {expected} was expected; this is a defect of Flott, please report it"
)]
pub struct WrongBatchType {
    expected: &'static str,
}

/// Separates the records before a checkpoint from those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
}

/// One thing in a channel; see the module for the order.
#[derive(Debug)]
pub enum Element {
    /// Records, as they are: from a producer in the same process.
    Batch(AnyBatch),
    /// Records, encoded: from another process. The reading gate decodes them.
    Encoded(Bytes),
    /// No record with a timestamp at or below this will follow (late ones aside).
    Watermark(Timestamp),
    /// Nothing will come for a while: do not wait for this channel's watermark.
    Idle,
    /// The records before it belong to the checkpoint, those after it do not.
    Barrier(Barrier),
    /// Nothing will follow. It implies the highest watermark.
    End,
}

impl Element {
    /// The bytes that count against a channel's bound; control elements bypass it.
    pub fn charged_bytes(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.size_estimate().max(1),
            Self::Encoded(bytes) => bytes.len().max(1),
            Self::Watermark(_) | Self::Idle | Self::Barrier(_) | Self::End => 0,
        }
    }
}
