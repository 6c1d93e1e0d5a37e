//! Reads the lines of a split.

use std::io::{Read, Seek, SeekFrom};

use memchr::memchr;

use super::FileSplit;
use crate::error::FsError;
use crate::{FileReader, FsPath, for_path};

/// What is read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// What to do with a line that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidUtf8 {
    /// Stop with an error that names file and offset.
    Fail,
    /// Leave the line out and count it.
    Skip,
}

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FsError),
    /// The line is not text.
    #[error("{path} is not UTF-8 at byte {offset}; skip such lines if that is expected")]
    NotUtf8 {
        /// The file.
        path: FsPath,
        /// Where the first wrong byte is.
        offset: u64,
    },
    /// The line is too long.
    #[error("the line at byte {offset} of {path} is longer than {limit} bytes")]
    TooLong {
        /// The file.
        path: FsPath,
        /// Where the line begins.
        offset: u64,
        /// What is allowed.
        limit: usize,
    },
}

/// Reads the lines of a split, without their ends (`\n` or `\r\n`).
pub struct LineReader {
    file: Box<dyn FileReader>,
    split: FileSplit,
    buffer: Vec<u8>,
    /// The part of the buffer that is still to be given.
    from: usize,
    to: usize,
    /// The file offset of `buffer[from]`.
    offset: u64,
    end_of_file: bool,
    on_invalid: InvalidUtf8,
    longest: usize,
    skipped: u64,
}

impl LineReader {
    /// Opens a split. `position` is where an earlier reader of the split came to, by [`position`](Self::position).
    ///
    /// # Errors
    /// [`LineError`] that names the file.
    pub fn open(
        split: FileSplit,
        position: Option<u64>,
        on_invalid: InvalidUtf8,
        longest: usize,
    ) -> Result<Self, LineError> {
        let mut file = for_path(&split.path)?.open(&split.path)?;
        let offset = position.unwrap_or(split.start);
        let seek = file.seek(SeekFrom::Start(offset));
        seek.map_err(|error| FsError::io("read", &split.path, error))?;
        let mut reader = Self {
            file,
            split,
            buffer: vec![0; BUFFER_BYTES],
            from: 0,
            to: 0,
            offset,
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
            match std::str::from_utf8(&self.buffer[start..end]) {
                Ok(_) => {}
                Err(_) if self.on_invalid == InvalidUtf8::Skip => {
                    self.skipped += 1;
                    continue;
                }
                Err(error) => {
                    let behind = (self.from - start - error.valid_up_to()) as u64;
                    let offset = self.offset - behind;
                    return Err(LineError::NotUtf8 { path: self.split.path.clone(), offset });
                }
            }
            // Checked just now; asking again is what the borrow checker needs and costs little for a line.
            return Ok(std::str::from_utf8(&self.buffer[start..end]).ok());
        }
    }

    /// Finds the next line in the buffer and moves behind it.
    fn next_range(&mut self) -> Result<Option<(usize, usize)>, LineError> {
        if self.offset > self.split.start + self.split.length {
            return Ok(None);
        }
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.from + searched..self.to];
            if let Some(found) = memchr(b'\n', unread) {
                let start = self.from;
                let end = start + searched + found;
                self.offset += (end + 1 - start) as u64;
                self.from = end + 1;
                let end = if end > start && self.buffer[end - 1] == b'\r' { end - 1 } else { end };
                return Ok(Some((start, end)));
            }
            searched = self.to - self.from;
            if searched > self.longest {
                let (path, offset) = (self.split.path.clone(), self.offset);
                return Err(LineError::TooLong { path, offset, limit: self.longest });
            }
            if self.end_of_file {
                let (start, end) = (self.from, self.to);
                self.offset += (end - start) as u64;
                self.from = end;
                let end = if end > start && self.buffer[end - 1] == b'\r' { end - 1 } else { end };
                return Ok((self.to > start).then_some((start, end)));
            }
            self.fill()?;
        }
    }

    /// Reads more behind what is unread.
    fn fill(&mut self) -> Result<(), LineError> {
        self.buffer.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        if self.to == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = loop {
            match self.file.read(&mut self.buffer[self.to..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let read = read.map_err(|error| FsError::io("read", &self.split.path, error))?;
        self.to += read;
        self.end_of_file = read == 0;
        Ok(())
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::FileStatus;
    use crate::text::plan_splits;

    fn read_all(mut reader: LineReader) -> Result<Vec<String>, LineError> {
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line()? {
            lines.push(line.to_owned());
        }
        Ok(lines)
    }

    proptest! {
        #[test]
        fn every_line_is_read_once_however_the_file_is_cut(
            text in "([ab]{0,5}(\n|\r\n|\n\n)){0,20}[ab]{0,3}", target in 1_u64..30, stop in 0_usize..5,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = FsPath::local(&folder.path().join("text"));
            std::fs::write(path.path(), &text).unwrap();
            let file = FileStatus { path, length: text.len() as u64, modified: 0, is_dir: false };
            let mut lines = Vec::new();
            for split in plan_splits(&[file], target) {
                // A reader stops after a few lines, another goes on where it was.
                let mut first = LineReader::open(split.clone(), None, InvalidUtf8::Fail, 1000).unwrap();
                for _ in 0..stop {
                    lines.extend(first.next_line().unwrap().map(str::to_owned));
                }
                let position = Some(first.position());
                lines.extend(read_all(LineReader::open(split, position, InvalidUtf8::Fail, 1000).unwrap()).unwrap());
            }
            let expected: Vec<&str> = text.lines().map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
            prop_assert_eq!(lines, expected);
        }
    }

    #[test]
    fn what_is_not_text_fails_with_its_place_or_is_skipped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = FsPath::local(&folder.path().join("binary"));
        std::fs::write(path.path(), b"good\nba\xFFd\nlong line\nend").unwrap();
        let split = FileSplit { path: path.clone(), start: 0, length: 30 };
        let error =
            read_all(LineReader::open(split.clone(), None, InvalidUtf8::Fail, 100).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{path} is not UTF-8 at byte 7; skip such lines if that is expected")
        );
        let mut reader = LineReader::open(split, None, InvalidUtf8::Skip, 100).unwrap();
        assert_eq!(reader.next_line().unwrap(), Some("good"));
        assert_eq!(reader.next_line().unwrap(), Some("long line"));
        assert_eq!(reader.skipped(), 1);
        let long = FileSplit { path: path.clone(), start: 0, length: 0 };
        std::fs::write(path.path(), "x".repeat(1000)).unwrap();
        let error = read_all(LineReader::open(long, None, InvalidUtf8::Fail, 100).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), format!("the line at byte 0 of {path} is longer than 100 bytes"));
    }
}
