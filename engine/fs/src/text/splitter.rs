//! Finds the lines of a split in the blocks of its file, without reading any.
//!
//! The block in hand holds the bytes of the file from the next line on; only the piece of a line at its end is ever copied. After each
//! line, `offset` is the place where another reader can go on.

use memchr::memchr;

use super::block::Block;
use super::error::LineError;
use super::split::FileSplit;

/// What to do with a line that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidUtf8 {
    /// Stop with an error that names file and offset.
    Fail,
    /// Leave the line out and count it.
    Skip,
}

/// What comes next in a split.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// A line, without its end (`\n` or `\r\n`).
    Line(T),
    /// That depends on the next block.
    Block,
    /// The split is through.
    End,
}

/// Takes blocks and gives lines. After an error, what it gives is not specified.
///
/// ```
/// use flott_fs::text::{Block, BlockReader, InvalidUtf8, LineSplitter, Next, plan_splits};
/// use flott_fs::{Access, FsPath, for_path};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = FsPath::local(folder.path()).join("poem");
/// # for_path(&path)?.write_atomically_with(&path, b"the boat\nis afloat", Access::Ordinary)?;
/// let planned = plan_splits(&for_path(&path)?.list_files(&path)?, 1024, 1).remove(0);
/// let mut blocks = BlockReader::open(&planned, None)?;
/// let mut splitter = LineSplitter::new(planned.split, None, InvalidUtf8::Fail, 1024);
/// let (mut lines, mut used) = (Vec::new(), Block::default());
/// loop {
///     match splitter.next_line()? {
///         Next::Line(line) => lines.push(line.to_owned()),
///         Next::Block => used = splitter.feed(blocks.read(used)?),
///         Next::End => break,
///     }
/// }
/// assert_eq!(lines, ["the boat", "is afloat"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LineSplitter {
    split: FileSplit,
    block: Block,
    /// The file offset of the block's next byte.
    offset: u64,
    /// The bytes from there that hold no end of a line.
    searched: usize,
    /// The line in hand began before the split, and belongs to the split before.
    skips_first: bool,
    /// Where its first line begins.
    first: u64,
    end_of_file: bool,
    on_invalid: InvalidUtf8,
    longest: usize,
    skipped: u64,
}

impl LineSplitter {
    /// For lines of at most `longest` bytes. `position` is where an earlier reader of the split came to, by
    /// [`position`](Self::position): there the first block has to begin.
    pub fn new(split: FileSplit, position: Option<u64>, on_invalid: InvalidUtf8, longest: usize) -> Self {
        Self {
            block: Block::default(),
            offset: position.unwrap_or(split.start),
            searched: 0,
            skips_first: position.is_none() && split.start > 0,
            first: position.unwrap_or(split.start),
            end_of_file: false,
            on_invalid,
            longest,
            skipped: 0,
            split,
        }
    }

    /// The byte at which the next line begins: where another reader goes on. None before the split's first line is found: another
    /// reader begins with the split.
    pub fn position(&self) -> Option<u64> {
        (!self.skips_first).then_some(self.offset)
    }

    /// How many bytes its lines had, their ends included. All splits of a file together: its length.
    pub fn bytes(&self) -> u64 {
        if self.skips_first { 0 } else { self.offset - self.first }
    }

    /// The split.
    pub fn split(&self) -> &FileSplit {
        &self.split
    }

    /// Lines left out because they are not UTF-8.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes the next block of the file, or that there is none; gives back one that is used up.
    pub fn feed(&mut self, block: Option<Block>) -> Block {
        let Some(mut block) = block else {
            self.end_of_file = true;
            return Block::default();
        };
        let own = &mut self.block;
        let left = own.to - own.from;
        if left <= block.from {
            let from = block.from - left;
            block.bytes[from..block.from].copy_from_slice(&own.bytes[own.from..own.to]);
            block.from = from;
            return std::mem::replace(own, block);
        }
        // A long line grows until its end is found.
        own.bytes.truncate(own.to);
        own.bytes.drain(..own.from);
        own.bytes.extend_from_slice(&block.bytes[block.from..block.to]);
        (own.from, own.to) = (0, own.bytes.len());
        block
    }

    /// The next line.
    ///
    /// # Errors
    /// [`LineError`] that names file and offset.
    #[inline]
    pub fn next_line(&mut self) -> Result<Next<&str>, LineError> {
        loop {
            let (start, end) = match self.next_range()? {
                Next::Line(range) => range,
                Next::Block => return Ok(Next::Block),
                Next::End => return Ok(Next::End),
            };
            // A line that may be skipped is looked at twice: the borrow checker wants the decision before the result.
            if self.on_invalid == InvalidUtf8::Skip
                && std::str::from_utf8(&self.block.bytes[start..end]).is_err()
            {
                self.skipped += 1;
                continue;
            }
            return match std::str::from_utf8(&self.block.bytes[start..end]) {
                Ok(line) => Ok(Next::Line(line)),
                Err(error) => {
                    let begin = self.offset - (self.block.from - start) as u64;
                    let offset = begin + error.valid_up_to() as u64;
                    Err(LineError::NotUtf8 { path: self.split.path.clone(), offset })
                }
            };
        }
    }

    /// Finds the next line in the block and moves behind it.
    #[inline]
    fn next_range(&mut self) -> Result<Next<(usize, usize)>, LineError> {
        loop {
            if self.offset > self.split.end() {
                return Ok(Next::End);
            }
            let Block { bytes, from, to } = &self.block;
            let (from, to) = (*from, *to);
            if let Some(found) = memchr(b'\n', &bytes[from + self.searched..to]) {
                let end = from + self.searched + found;
                let line = self.take_line(end, end + 1);
                if std::mem::take(&mut self.skips_first) {
                    self.first = self.offset;
                    continue;
                }
                return line.map(Next::Line);
            }
            self.searched = to - from;
            if self.skips_first {
                self.move_to(to);
            }
            if !self.end_of_file {
                // The end of the line, of two bytes at most, does not count.
                if self.searched >= self.longest.saturating_add(2) {
                    return Err(self.too_long());
                }
                return Ok(Next::Block);
            }
            return if self.searched == 0 { Ok(Next::End) } else { self.take_line(to, to).map(Next::Line) };
        }
    }

    fn move_to(&mut self, next: usize) {
        self.offset += (next - self.block.from) as u64;
        self.block.from = next;
        self.searched = 0;
    }

    /// Takes what comes before `end` as a line and goes on at `next`.
    fn take_line(&mut self, end: usize, next: usize) -> Result<(usize, usize), LineError> {
        let start = self.block.from;
        let end = if self.block.bytes[start..end].ends_with(b"\r") { end - 1 } else { end };
        if end - start > self.longest && !self.skips_first {
            return Err(self.too_long());
        }
        self.move_to(next);
        Ok((start, end))
    }

    fn too_long(&self) -> LineError {
        LineError::TooLong { path: self.split.path.clone(), offset: self.offset, limit: self.longest }
    }
}

#[cfg(test)]
mod tests;
