//! Text files as lines, in splits that can be read side by side.
//!
//! The rule of splits: a split from `start` with `length` bytes holds the lines that begin in `start + 1 ..= start +
//! length`, and the first line of the file if `start` is 0. So every line belongs to one split, wherever the cuts are.

mod reader;

pub use reader::{InvalidUtf8, LineError, LineReader};

use crate::{FileStatus, FsPath};

/// A part of a file that one reader reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSplit {
    /// The file.
    pub path: FsPath,
    /// Where the split begins, in bytes.
    pub start: u64,
    /// How many bytes it has.
    pub length: u64,
}

/// Cuts files into splits of about `target` bytes; a rest of less than a tenth of that joins the split before it.
pub fn plan_splits(files: &[FileStatus], target: u64) -> Vec<FileSplit> {
    let target = target.max(1);
    let mut splits = Vec::new();
    for file in files {
        let mut start = 0;
        while start < file.length {
            let left = file.length - start;
            let length = if left < target + target / 10 { left } else { target };
            splits.push(FileSplit { path: file.path.clone(), start, length });
            start += length;
        }
    }
    splits
}
