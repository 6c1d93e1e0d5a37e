//! Reads the lines of a split.
//!
//! The buffer holds the bytes of the file from the next line on; only the piece of a line at its end is ever moved. After each
//! line, `offset` is the place where another reader can go on.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use memchr::memchr;

use super::error::LineError;
use super::split::{FileSplit, PlannedSplit};
use crate::error::FsError;
use crate::file_system::FileReader;
use crate::registry::for_path;

/// What is read at a time.
const BUFFER_BYTES: usize = 1024 * 1024;

/// What to do with a line that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidUtf8 {
    /// Stop with an error that names file and offset.
    Fail,
    /// Leave the line out and count it.
    Skip,
}

/// Reads the lines of a split, without their ends (`\n` or `\r\n`). After an error, what it gives is not specified.
pub struct LineReader {
    file: Box<dyn FileReader>,
    split: FileSplit,
    buffer: Vec<u8>,
    /// The size of the buffer, unless a line is longer.
    buffer_bytes: usize,
    /// The part of the buffer that is still to be given.
    from: usize,
    to: usize,
    /// The file offset of `buffer[from]`.
    offset: u64,
    /// Where the file ends for this reader, whatever it has grown by.
    cap: u64,
    /// The length the file must have.
    needed: u64,
    end_of_file: bool,
    on_invalid: InvalidUtf8,
    longest: usize,
    skipped: u64,
}

impl LineReader {
    /// Opens a split to read lines of at most `longest` bytes. `position` is where an earlier reader of the split came to, by
    /// [`position`](Self::position).
    ///
    /// # Errors
    /// [`LineError`] that names the file.
    pub fn open(
        split: FileSplit,
        position: Option<u64>,
        on_invalid: InvalidUtf8,
        longest: usize,
    ) -> Result<Self, LineError> {
        let needed = split.end();
        Self::start(split, u64::MAX, needed, position, on_invalid, longest, BUFFER_BYTES)
    }

    /// Opens a split as [`open`](Self::open) does, and reads of the file what was there when the split was planned: a file that
    /// has grown is read up to the length it had, so a reader that goes on after a failure gives the same lines. That a file was
    /// rewritten and is longer than before cannot be told.
    ///
    /// # Errors
    /// [`LineError`] that names the file; also if the file is shorter than it was, or as long but changed.
    pub fn open_planned(
        planned: &PlannedSplit,
        position: Option<u64>,
        on_invalid: InvalidUtf8,
        longest: usize,
    ) -> Result<Self, LineError> {
        let PlannedSplit { split, file_len, mtime } = planned.clone();
        let found = for_path(&split.path)?.status(&split.path)?;
        if found.length < file_len {
            return Err(LineError::Shorter { path: split.path, planned: file_len, found: found.length });
        }
        if found.length == file_len && found.modified != mtime {
            return Err(LineError::Rewritten { path: split.path, planned: mtime, found: found.modified });
        }
        Self::start(split, file_len, file_len, position, on_invalid, longest, BUFFER_BYTES)
    }

    fn start(
        split: FileSplit,
        cap: u64,
        needed: u64,
        position: Option<u64>,
        on_invalid: InvalidUtf8,
        longest: usize,
        buffer_bytes: usize,
    ) -> Result<Self, LineError> {
        let offset = position.unwrap_or(split.start);
        let file = for_path(&split.path)?.open_at(&split.path, offset)?;
        let mut reader = Self {
            file,
            split,
            buffer: vec![0; buffer_bytes],
            buffer_bytes,
            from: 0,
            to: 0,
            offset,
            cap,
            needed,
            end_of_file: false,
            on_invalid,
            longest,
            skipped: 0,
        };
        if position.is_none() && reader.split.start > 0 {
            // The line that begins before, or at, the start belongs to the split before.
            reader.skip_line()?;
        }
        Ok(reader)
    }

    /// The byte at which the next line begins: where another reader goes on.
    pub fn position(&self) -> u64 {
        self.offset
    }

    /// The split.
    pub fn split(&self) -> &FileSplit {
        &self.split
    }

    /// Lines left out because they are not UTF-8.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next line; none at the end of the split.
    ///
    /// # Errors
    /// [`LineError`] that names file and offset.
    pub fn next_line(&mut self) -> Result<Option<&str>, LineError> {
        loop {
            let Some((start, end)) = self.next_range()? else { return Ok(None) };
            // A line that may be skipped is looked at twice: the borrow checker wants the decision before the result.
            if self.on_invalid == InvalidUtf8::Skip && std::str::from_utf8(&self.buffer[start..end]).is_err()
            {
                self.skipped += 1;
                continue;
            }
            return match std::str::from_utf8(&self.buffer[start..end]) {
                Ok(line) => Ok(Some(line)),
                Err(error) => {
                    let begin = self.offset - (self.from - start) as u64;
                    let offset = begin + error.valid_up_to() as u64;
                    Err(LineError::NotUtf8 { path: self.split.path.clone(), offset })
                }
            };
        }
    }

    /// The bytes of the next line, UTF-8 or not; none at the end of the split.
    ///
    /// # Errors
    /// [`LineError`] that names file and offset.
    pub fn next_line_bytes(&mut self) -> Result<Option<&[u8]>, LineError> {
        Ok(self.next_range()?.map(|(start, end)| &self.buffer[start..end]))
    }

    /// Finds the next line in the buffer and moves behind it.
    fn next_range(&mut self) -> Result<Option<(usize, usize)>, LineError> {
        if self.offset > self.split.end() {
            return Ok(None);
        }
        let mut searched = 0;
        loop {
            if let Some(found) = memchr(b'\n', &self.buffer[self.from + searched..self.to]) {
                let end = self.from + searched + found;
                return self.take_line(end, end + 1).map(Some);
            }
            searched = self.to - self.from;
            if self.end_of_file {
                return if searched == 0 { Ok(None) } else { self.take_line(self.to, self.to).map(Some) };
            }
            // The end of the line, of two bytes at most, does not count.
            if searched >= self.longest.saturating_add(2) {
                return Err(self.too_long());
            }
            self.fill()?;
        }
    }

    /// Takes what comes before `end` as a line and goes on at `next`.
    fn take_line(&mut self, end: usize, next: usize) -> Result<(usize, usize), LineError> {
        let start = self.from;
        let end = if self.buffer[start..end].ends_with(b"\r") { end - 1 } else { end };
        if end - start > self.longest {
            return Err(self.too_long());
        }
        self.offset += (next - start) as u64;
        self.from = next;
        Ok((start, end))
    }

    fn too_long(&self) -> LineError {
        LineError::TooLong { path: self.split.path.clone(), offset: self.offset, limit: self.longest }
    }

    /// Reads more behind what is unread, into a buffer that has grown if that fills it.
    fn fill(&mut self) -> Result<(), LineError> {
        self.buffer.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        if self.to == self.buffer.len() {
            let largest = self.longest.saturating_add(2).max(self.buffer_bytes);
            self.buffer.resize(self.buffer.len().saturating_mul(2).min(largest), 0);
        } else if self.buffer.len() > self.buffer_bytes && self.to < self.buffer_bytes {
            // The long line is behind.
            self.buffer.truncate(self.buffer_bytes);
            self.buffer.shrink_to_fit();
        }
        let reached = self.offset + self.to as u64;
        let wanted = usize::try_from(self.cap.saturating_sub(reached)).unwrap_or(usize::MAX);
        let room = wanted.min(self.buffer.len() - self.to);
        let read = loop {
            match self.file.read(&mut self.buffer[self.to..self.to + room]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(|error| FsError::io("read", &self.split.path, error))?,
            }
        };
        if read == 0 && reached < self.needed {
            return Err(self.shorter()?);
        }
        self.to += read;
        self.end_of_file = read == 0;
        Ok(())
    }

    fn shorter(&mut self) -> Result<LineError, FsError> {
        let path = self.split.path.clone();
        let found = self.file.seek(SeekFrom::End(0)).map_err(|error| FsError::io("read", &path, error))?;
        Ok(LineError::Shorter { path, planned: self.needed, found })
    }

    fn skip_line(&mut self) -> Result<(), LineError> {
        loop {
            if let Some(found) = memchr(b'\n', &self.buffer[self.from..self.to]) {
                self.offset += (found + 1) as u64;
                self.from += found + 1;
                return Ok(());
            }
            self.offset += (self.to - self.from) as u64;
            self.from = self.to;
            if self.end_of_file {
                return Ok(());
            }
            self.fill()?;
        }
    }
}

#[cfg(test)]
mod tests;
