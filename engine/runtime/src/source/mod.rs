//! Sources: an enumerator finds splits, readers read them. Both are operators; splits travel from one to the other
//! through an ordinary exchange whose credit is the request for the next split, so barriers and restarts need
//! nothing special.

mod collection;
mod enumerator;
mod file;
mod locality;
mod reader;
mod sequence;
mod socket;

pub use collection::{ChunkEnumerator, ChunkPosition, ChunkReader, CollectionSource};
pub use enumerator::EnumeratorOperator;
pub use file::TextFileSource;
pub use reader::SourceReaderOperator;
pub use sequence::{
    FromIndex, Generate, GeneratorSource, IndexEnumerator, IndexLayout, IndexRange, IndexReader, IndexSource,
    Numbers, SequenceSource,
};
pub use socket::SocketTextSource;

use flott_core::{Data, Timestamp};
use flott_fs::FsPath;

use crate::collector::Collector;
use crate::error::OperatorError;
pub use crate::exchange::readers::ReaderInfo;
use crate::operator::OperatorInfo;

/// Whether a source ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundedness {
    /// It ends by itself.
    Bounded,
    /// It goes on until the job is cancelled.
    Unbounded,
}

/// A source of records: what users write to connect a system.
pub trait Source: Send + Sync + 'static {
    /// The type of the records.
    type Out: Data;
    /// A part that one reader reads, with the position in it: what is checkpointed.
    type Split: Data;
    /// Finds the splits.
    type Enumerator: SplitEnumerator<Split = Self::Split>;
    /// Reads splits.
    type Reader: SourceReader<Out = Self::Out, Split = Self::Split>;

    /// Whether the source ends.
    fn boundedness(&self) -> Boundedness;

    /// The files and folders that it reads, if it reads any: where TaskManagers are started for a job, they are started near them.
    fn reads(&self) -> Vec<FsPath> {
        Vec::new()
    }

    /// Makes the one enumerator; `readers` is how many readers there are, and [`OperatorInfo::readers`] says where.
    ///
    /// # Errors
    /// What keeps it from starting.
    fn enumerator(&self, readers: u32, info: &OperatorInfo) -> Result<Self::Enumerator, OperatorError>;

    /// Makes a reader.
    ///
    /// # Errors
    /// What keeps it from starting.
    fn reader(&self, info: &OperatorInfo) -> Result<Self::Reader, OperatorError>;
}

/// What an enumerator answers when it is asked for a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextSplit<S> {
    /// The next split for the reader.
    Split(S),
    /// None for this reader now; the task's waker is called when there may be one.
    Waiting,
    /// There will be no more, for any reader.
    End,
}

/// Finds the splits of a source. One runs for all readers.
pub trait SplitEnumerator: 'static {
    /// What the readers get.
    type Split: Data;
    /// What is checkpointed, so that a restored enumerator goes on behind the splits it has given.
    type Position: Data;

    /// Goes on from a checkpoint; called before anything else, if at all.
    ///
    /// # Errors
    /// What keeps it from going on.
    fn restore(&mut self, position: Self::Position) -> Result<(), OperatorError>;

    /// The next split, for a reader that has room for it: one whose data is where the reader runs, if that makes a difference. Other
    /// readers are asked for if this one has to wait. It must not block.
    ///
    /// # Errors
    /// An error fails the task.
    fn next_split(&mut self, reader: &ReaderInfo<'_>) -> Result<NextSplit<Self::Split>, OperatorError>;

    /// The position behind all splits given so far.
    fn position(&self) -> Self::Position;
}

/// How a reader's step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadProgress {
    /// There may be more to read at once.
    More,
    /// Nothing now; the task's waker is called when there may be more.
    Waiting,
    /// What comes next is being fetched; the task's waker is called when it is here. The source is not idle meanwhile.
    Fetching,
    /// The split is read to its end.
    SplitFinished,
}

/// Reads splits, one at a time.
pub trait SourceReader: 'static {
    /// The type of the records.
    type Out: Data;
    /// What it reads.
    type Split: Data;

    /// Begins a split, at the position it carries.
    ///
    /// # Errors
    /// An error fails the task.
    fn start(&mut self, split: Self::Split) -> Result<(), OperatorError>;

    /// Emits records of the split until `out` is full or nothing is there, with the timestamps the system gave them.
    /// It must not block. The operator around it stamps the batch by the source's watermark strategy.
    ///
    /// # Errors
    /// An error fails the task.
    fn read(&mut self, out: &mut Collector<Self::Out>) -> Result<ReadProgress, OperatorError>;

    /// The split in hand with the position behind the last record emitted.
    fn position(&self) -> Option<Self::Split>;

    /// The processing time at which [`read`](Self::read) should be called though nothing woke the task, if any.
    fn next_timer(&self) -> Option<Timestamp> {
        None
    }
}
