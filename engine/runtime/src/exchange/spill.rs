//! What a blocking exchange keeps until its consumer starts: first in memory, then in a file that has no name.
//!
//! ```text
//! file := ( length:u32 bytes )*
//! ```

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// What is kept in memory before it is written.
const WRITE_BYTES: usize = 256 * 1024;

/// What is read at a time.
const READ_BYTES: usize = 256 * 1024;

/// A queue of encoded batches on disk, which can be read again.
pub(super) struct SpillQueue {
    folder: PathBuf,
    file: Option<File>,
    unwritten: Vec<u8>,
    written: u64,
    read: u64,
    /// What was read from the file and not given yet.
    buffer: VecDeque<Bytes>,
    error: Option<String>,
}

impl SpillQueue {
    /// An empty one; its file will be in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            file: None,
            unwritten: Vec::new(),
            written: 0,
            read: 0,
            buffer: VecDeque::new(),
            error: None,
        }
    }

    /// Why the file could not be written, if it could not.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.read == self.written + self.unwritten.len() as u64
    }

    /// Adds a batch, which `encode` writes.
    pub(super) fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = self.unwritten.len();
        self.unwritten.extend_from_slice(&[0; 4]);
        encode(&mut self.unwritten);
        let length = (self.unwritten.len() - start - 4) as u32;
        self.unwritten[start..start + 4].copy_from_slice(&length.to_le_bytes());
        if self.unwritten.len() >= WRITE_BYTES
            && self.error.is_none()
            && let Err(error) = self.write_out()
        {
            let folder = self.folder.display();
            let message = format!(
                "cannot write an exchange's records to {folder}: {error}; set io.tmp.dirs to a folder with room"
            );
            self.error = Some(message);
        }
        length as usize
    }

    fn write_out(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let name = format!("exchange-{}", flott_core::ids::JobId::random());
                let path = self.folder.join(name);
                let mut options = std::fs::OpenOptions::new();
                let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
                // Without a name it goes with the last who has it open.
                std::fs::remove_file(&path)?;
                self.file.insert(file)
            }
        };
        file.write_all(&self.unwritten)?;
        self.written += self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }

    /// Reads it all once more.
    pub(super) fn rewind(&mut self) {
        self.buffer.clear();
        self.read = 0;
    }

    /// Takes the oldest batch.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if self.buffer.is_empty()
            && let Err(error) = self.read_some()
        {
            self.error = Some(format!("cannot read an exchange's records back: {error}"));
            return None;
        }
        self.buffer.pop_front()
    }

    fn read_some(&mut self) -> io::Result<()> {
        if self.read >= self.written {
            // Nothing is left in the file: the rest need not go there.
            let from = usize::try_from(self.read - self.written).unwrap_or(usize::MAX);
            let rest = std::mem::take(&mut self.unwritten);
            self.read += self.split(rest.get(from..).unwrap_or_default()) as u64;
            self.unwritten = rest;
            return Ok(());
        }
        let Some(file) = &self.file else { return Ok(()) };
        let left = usize::try_from(self.written - self.read).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(READ_BYTES)];
        file.read_exact_at(&mut bytes, self.read)?;
        // At least one whole batch is needed.
        if let Some(length) = bytes.first_chunk::<4>() {
            let needed = 4 + u32::from_le_bytes(*length) as usize;
            if needed > bytes.len() {
                bytes = vec![0; needed];
                file.read_exact_at(&mut bytes, self.read)?;
            }
        }
        self.read += self.split(&bytes) as u64;
        Ok(())
    }

    /// Takes whole batches out of `bytes`; returns how far they reach.
    fn split(&mut self, bytes: &[u8]) -> usize {
        let all = Bytes::copy_from_slice(bytes);
        let mut at = 0;
        while let Some(length) = bytes[at..].first_chunk::<4>() {
            let end = at + 4 + u32::from_le_bytes(*length) as usize;
            if end > bytes.len() {
                break;
            }
            self.buffer.push_back(all.slice(at + 4..end));
            at = end;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn batches_come_back_in_order(sizes in proptest::collection::vec(0_usize..400_000, 0..12), early in 0_usize..5) {
            let folder = tempfile::tempdir().unwrap();
            let mut queue = SpillQueue::new(folder.path());
            let mut all = Vec::new();
            let batch = |index: usize, size: usize| vec![index as u8; size];
            let mut expected: VecDeque<Vec<u8>> = VecDeque::new();
            for (index, size) in sizes.iter().enumerate() {
                queue.push(|out| out.extend(batch(index, *size)));
                expected.push_back(batch(index, *size));
                all.push(batch(index, *size));
                if index < early {
                    prop_assert_eq!(queue.pop().map(|b| b.to_vec()), expected.pop_front());
                }
            }
            while let Some(next) = expected.pop_front() {
                prop_assert!(!queue.is_empty());
                prop_assert_eq!(queue.pop().map(|b| b.to_vec()), Some(next));
            }
            prop_assert!(queue.is_empty() && queue.pop().is_none());
            queue.rewind();
            for batch in all {
                prop_assert_eq!(queue.pop().map(|b| b.to_vec()), Some(batch));
            }
            prop_assert!(queue.is_empty() && queue.pop().is_none());
            prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let mut queue = SpillQueue::new(Path::new("/nonexistent/folder"));
        queue.push(|out| out.resize(WRITE_BYTES, 0));
        assert!(queue.error().unwrap().contains("/nonexistent/folder"));
    }
}
