//! Reads a file block by block: the part that blocks, apart from the lines.

use std::io::{ErrorKind, Seek, SeekFrom};

use super::error::LineError;
use super::split::PlannedSplit;
use crate::error::FsError;
use crate::file_system::FileReader;
use crate::path::FsPath;
use crate::registry::for_path;

/// What is read at a time.
pub(super) const BLOCK_BYTES: usize = 1024 * 1024;

/// What is read at a time behind a split, for the end of its last line.
const BLOCK_BYTES_BEHIND: usize = 64 * 1024;

/// Bytes of a file, with room before them for the piece of a line that the block before ends with.
#[derive(Debug, Default)]
pub struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Reads the blocks of a split, and those behind it until nobody wants more.
pub struct BlockReader {
    file: Box<dyn FileReader>,
    path: FsPath,
    /// Where the next block begins.
    at: u64,
    split_end: u64,
    /// Where the file ends for this reader, whatever it has grown by.
    file_len: u64,
    block_bytes: usize,
}

impl BlockReader {
    /// Opens a split. `position` is where an earlier reader of the split came to. Of the file is read what was there when the
    /// split was planned: a file that has grown is read up to the length it had, so a reader that goes on after a failure gives
    /// the same lines. That a file was rewritten and is longer than before cannot be told.
    ///
    /// # Errors
    /// [`LineError`] that names the file; also if the file is shorter than it was, or as long but changed.
    pub fn open(planned: &PlannedSplit, position: Option<u64>) -> Result<Self, LineError> {
        let PlannedSplit { split, file_len, mtime } = planned;
        let found = for_path(&split.path)?.status(&split.path)?;
        let path = split.path.clone();
        if found.length < *file_len {
            return Err(LineError::Shorter { path, planned: *file_len, found: found.length });
        }
        if found.length == *file_len && found.modified != *mtime {
            return Err(LineError::Rewritten { path, planned: *mtime, found: found.modified });
        }
        Self::start(planned, position, BLOCK_BYTES)
    }

    pub(super) fn start(
        planned: &PlannedSplit,
        position: Option<u64>,
        block_bytes: usize,
    ) -> Result<Self, LineError> {
        let split = &planned.split;
        let at = position.unwrap_or(split.start);
        let file = for_path(&split.path)?.open_at(&split.path, at)?;
        let (path, split_end) = (split.path.clone(), split.end());
        Ok(Self { file, path, at, split_end, file_len: planned.file_len, block_bytes })
    }

    /// The next block, in the memory of one that is used up; none at the end of the file. It blocks.
    ///
    /// # Errors
    /// [`LineError`] that names the file; also if it is shorter than it must be.
    pub fn read(&mut self, used: Block) -> Result<Option<Block>, LineError> {
        let headroom = self.block_bytes / 8;
        let mut bytes = used.bytes;
        if bytes.len() != headroom + self.block_bytes {
            bytes = vec![0; headroom + self.block_bytes];
        }
        let of_split = self.split_end.saturating_sub(self.at);
        let of_split = usize::try_from(of_split).unwrap_or(usize::MAX).saturating_add(BLOCK_BYTES_BEHIND);
        let of_file = usize::try_from(self.file_len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = self.block_bytes.min(of_split).min(of_file);
        let read = loop {
            match self.file.read(&mut bytes[headroom..headroom + wanted]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(|error| FsError::io("read", &self.path, error))?,
            }
        };
        if read == 0 && self.at < self.file_len {
            return Err(self.shorter()?);
        }
        self.at += read as u64;
        Ok((read > 0).then_some(Block { bytes, from: headroom, to: headroom + read }))
    }

    fn shorter(&mut self) -> Result<LineError, FsError> {
        let path = self.path.clone();
        let found = self.file.seek(SeekFrom::End(0)).map_err(|error| FsError::io("read", &path, error))?;
        Ok(LineError::Shorter { path, planned: self.file_len, found })
    }
}
