//! Text files as a source: files and folders, large files in splits.
//!
//! Disks and networks are read on I/O threads, a few blocks ahead; the slot finds the lines. A split goes to a reader on a host that has
//! its blocks, as long as such a one has room for it.

mod enumerator;

pub use enumerator::TextFileEnumerator;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use flott_core::Data;
use flott_core::time::NO_TIMESTAMP;
use flott_fs::FsPath;
use flott_fs::text::{
    Block, BlockReader, FileSplit, InvalidUtf8, LineError, LineSplitter, Next, PlannedSplit,
};

use super::{Boundedness, ReadProgress, Source, SourceReader};
use crate::collector::Collector;
use crate::error::{Fault, OperatorError};
use crate::io_queue::IoQueue;
use crate::metrics::OperatorMetrics;
use crate::operator::OperatorInfo;

/// The longest line, in bytes.
const LONGEST_LINE: usize = 64 * 1024 * 1024;

/// Blocks that are read before the slot asks for them.
const BLOCKS_AHEAD: usize = 2;

/// Lines of text files. Folders are read with all below them; names that begin with `.` or `_` are left out.
pub struct TextFileSource {
    paths: Vec<FsPath>,
    on_invalid: InvalidUtf8,
}

impl TextFileSource {
    /// The files at or below `paths`.
    pub fn new(paths: Vec<FsPath>, on_invalid: InvalidUtf8) -> Self {
        Self { paths, on_invalid }
    }
}

/// A part of a file as it was when it was found, and how far it has been read.
#[derive(Debug, Clone, PartialEq, Eq, Data)]
pub struct TextSplit {
    path: String,
    start: u64,
    length: u64,
    file_len: u64,
    mtime: i64,
    position: Option<u64>,
}

impl TextSplit {
    fn of(PlannedSplit { split, file_len, mtime }: PlannedSplit) -> Self {
        let FileSplit { path, start, length } = split;
        Self { path: path.to_string(), start, length, file_len, mtime, position: None }
    }

    fn planned(&self) -> Result<PlannedSplit, OperatorError> {
        let path: FsPath = self.path.parse().map_err(OperatorError::environment)?;
        let split = FileSplit { path, start: self.start, length: self.length };
        Ok(PlannedSplit { split, file_len: self.file_len, mtime: self.mtime })
    }
}

impl Source for TextFileSource {
    type Out = String;
    type Split = TextSplit;
    type Enumerator = TextFileEnumerator;
    type Reader = TextFileReader;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn reads(&self) -> Vec<FsPath> {
        self.paths.clone()
    }

    fn enumerator(&self, readers: u32, info: &OperatorInfo) -> Result<TextFileEnumerator, OperatorError> {
        Ok(TextFileEnumerator::new(self.paths.clone(), readers, info))
    }

    fn reader(&self, info: &OperatorInfo) -> Result<TextFileReader, OperatorError> {
        Ok(TextFileReader {
            on_invalid: self.on_invalid,
            file: IoQueue::new(None, info),
            split: None,
            metrics: info.metrics.clone(),
        })
    }
}

/// Blocks that were read; none behind the last.
type Blocks = Mutex<VecDeque<Option<Block>>>;

/// Reads the lines of a split.
pub struct TextFileReader {
    on_invalid: InvalidUtf8,
    file: IoQueue<Option<BlockReader>>,
    split: Option<OpenSplit>,
    metrics: Arc<OperatorMetrics>,
}

struct OpenSplit {
    split: TextSplit,
    lines: LineSplitter,
    /// Once nobody else has them, what is still to be read of the split is not.
    blocks: Arc<Blocks>,
    /// Bytes and skipped lines that the metrics know of.
    counted: (u64, u64),
}

fn failed(error: LineError) -> OperatorError {
    match error {
        LineError::File(error) => OperatorError::environment(error),
        wrong_input => OperatorError::new(Fault::User, wrong_input.to_string()),
    }
}

/// Has the next block read, in the memory of one that is used up.
fn request(file: &mut IoQueue<Option<BlockReader>>, blocks: &Arc<Blocks>, used: Block) {
    let blocks: Weak<Blocks> = Arc::downgrade(blocks);
    file.submit(move |reader| {
        if let (Some(blocks), Some(reader)) = (blocks.upgrade(), reader) {
            let block = reader.read(used).map_err(failed)?;
            blocks.lock().unwrap_or_else(PoisonError::into_inner).push_back(block);
        }
        Ok(())
    });
}

impl OpenSplit {
    /// Emits lines until `out` is full, the split is through, or a block is missing.
    fn read(
        &mut self,
        file: &mut IoQueue<Option<BlockReader>>,
        out: &mut Collector<String>,
    ) -> Result<ReadProgress, OperatorError> {
        while !out.is_full() {
            match self.lines.next_line().map_err(failed)? {
                Next::Line(line) => out.emit(line.to_owned(), NO_TIMESTAMP),
                Next::End => return Ok(ReadProgress::SplitFinished),
                Next::Block => {
                    let next = self.blocks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(block) = next else {
                        file.is_done(file.last())?;
                        return Ok(ReadProgress::Fetching);
                    };
                    let is_last = block.is_none();
                    let used = self.lines.feed(block);
                    if !is_last {
                        request(file, &self.blocks, used);
                    }
                }
            }
        }
        Ok(ReadProgress::More)
    }
}

impl SourceReader for TextFileReader {
    type Out = String;
    type Split = TextSplit;

    fn start(&mut self, split: TextSplit) -> Result<(), OperatorError> {
        let (planned, position) = (split.planned()?, split.position);
        let lines = LineSplitter::new(planned.split.clone(), position, self.on_invalid, LONGEST_LINE);
        let blocks = Arc::<Blocks>::default();
        self.file.submit(move |reader| {
            *reader = Some(BlockReader::open(&planned, position).map_err(failed)?);
            Ok(())
        });
        for _ in 0..BLOCKS_AHEAD {
            request(&mut self.file, &blocks, Block::default());
        }
        self.split = Some(OpenSplit { split, lines, blocks, counted: (0, 0) });
        Ok(())
    }

    fn read(&mut self, out: &mut Collector<String>) -> Result<ReadProgress, OperatorError> {
        let Some(split) = &mut self.split else { return Ok(ReadProgress::SplitFinished) };
        let progress = split.read(&mut self.file, out)?;
        let (bytes, skipped) = (split.lines.bytes(), split.lines.skipped());
        self.metrics.count_read(bytes - split.counted.0);
        self.metrics.count_skipped(skipped - split.counted.1);
        split.counted = (bytes, skipped);
        if progress == ReadProgress::SplitFinished {
            self.split = None;
        }
        Ok(progress)
    }

    fn position(&self) -> Option<TextSplit> {
        let OpenSplit { split, lines, .. } = self.split.as_ref()?;
        Some(TextSplit { position: lines.position(), ..split.clone() })
    }
}
