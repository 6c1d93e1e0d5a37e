//! Text files as a source: files and folders, large files in splits.

use flott_core::Data;
use flott_core::time::NO_TIMESTAMP;
use flott_fs::text::{FileSplit, InvalidUtf8, LineError, LineReader, plan_splits};
use flott_fs::{FsPath, for_path};

use super::{Boundedness, NextSplit, ReadProgress, Source, SourceReader, SplitEnumerator};
use crate::collector::Collector;
use crate::error::{Fault, OperatorError};
use crate::metrics::OperatorMetrics;
use crate::operator::OperatorInfo;

/// The largest split, in bytes: small enough that readers end together, large enough that opening a file costs nothing.
const LARGEST_SPLIT: u64 = 64 * 1024 * 1024;

/// The smallest split that a file is cut into.
const SMALLEST_SPLIT: u64 = 1024 * 1024;

/// The longest line, in bytes.
const LONGEST_LINE: usize = 64 * 1024 * 1024;

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

/// A part of a file, and how far it has been read.
#[derive(Debug, Clone, PartialEq, Eq, Data)]
pub struct TextSplit {
    path: String,
    start: u64,
    length: u64,
    position: Option<u64>,
}

/// Gives out the splits of the files that were there at the start.
pub struct TextFileEnumerator {
    splits: Vec<TextSplit>,
    next: usize,
}

impl Source for TextFileSource {
    type Out = String;
    type Split = TextSplit;
    type Enumerator = TextFileEnumerator;
    type Reader = TextFileReader;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, readers: u32, _info: &OperatorInfo) -> Result<TextFileEnumerator, OperatorError> {
        let mut files = Vec::new();
        for path in &self.paths {
            let found = for_path(path).and_then(|fs| fs.list_files(path));
            files.extend(found.map_err(OperatorError::environment)?);
        }
        let bytes: u64 = files.iter().map(|file| file.length).sum();
        let target = (bytes / (u64::from(readers) * 4)).clamp(SMALLEST_SPLIT, LARGEST_SPLIT);
        let split = |split: FileSplit| TextSplit {
            path: split.path.to_string(),
            start: split.start,
            length: split.length,
            position: None,
        };
        Ok(TextFileEnumerator {
            splits: plan_splits(&files, target).into_iter().map(split).collect(),
            next: 0,
        })
    }

    fn reader(&self, info: &OperatorInfo) -> Result<TextFileReader, OperatorError> {
        Ok(TextFileReader {
            on_invalid: self.on_invalid,
            reader: None,
            metrics: info.metrics.clone(),
            counted: 0,
        })
    }
}

impl SplitEnumerator for TextFileEnumerator {
    type Split = TextSplit;
    /// The splits that are left: the files may change meanwhile.
    type Position = Vec<TextSplit>;

    fn restore(&mut self, left: Vec<TextSplit>) -> Result<(), OperatorError> {
        self.splits = left;
        self.next = 0;
        Ok(())
    }

    fn next_split(&mut self) -> Result<NextSplit<TextSplit>, OperatorError> {
        let Some(split) = self.splits.get(self.next) else { return Ok(NextSplit::End) };
        self.next += 1;
        Ok(NextSplit::Split(split.clone()))
    }

    fn position(&self) -> Vec<TextSplit> {
        self.splits[self.next..].to_vec()
    }
}

/// Reads the lines of a split.
pub struct TextFileReader {
    on_invalid: InvalidUtf8,
    reader: Option<LineReader>,
    metrics: std::sync::Arc<OperatorMetrics>,
    counted: u64,
}

impl TextFileReader {
    fn count_skipped(&mut self) {
        if let Some(reader) = &self.reader {
            self.metrics.count_skipped(reader.skipped() - self.counted);
            self.counted = reader.skipped();
        }
    }
}

fn failed(error: LineError) -> OperatorError {
    match error {
        LineError::File(error) => OperatorError::environment(error),
        wrong_input => OperatorError::new(Fault::User, wrong_input.to_string()),
    }
}

impl SourceReader for TextFileReader {
    type Out = String;
    type Split = TextSplit;

    fn start(&mut self, split: TextSplit) -> Result<(), OperatorError> {
        let path: FsPath = split.path.parse().map_err(OperatorError::environment)?;
        let file_split = FileSplit { path, start: split.start, length: split.length };
        let reader = LineReader::open(file_split, split.position, self.on_invalid, LONGEST_LINE);
        self.reader = Some(reader.map_err(failed)?);
        self.counted = 0;
        Ok(())
    }

    fn read(&mut self, out: &mut Collector<String>) -> Result<ReadProgress, OperatorError> {
        let Some(reader) = &mut self.reader else { return Ok(ReadProgress::SplitFinished) };
        while !out.is_full() {
            match reader.next_line().map_err(failed)? {
                Some(line) => out.emit(line.to_owned(), NO_TIMESTAMP),
                None => {
                    self.count_skipped();
                    self.reader = None;
                    return Ok(ReadProgress::SplitFinished);
                }
            }
        }
        self.count_skipped();
        Ok(ReadProgress::More)
    }

    fn position(&self) -> Option<TextSplit> {
        let reader = self.reader.as_ref()?;
        let split = reader.split();
        Some(TextSplit {
            path: split.path.to_string(),
            start: split.start,
            length: split.length,
            position: Some(reader.position()),
        })
    }
}
