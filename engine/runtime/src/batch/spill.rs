//! The file to which an operator subtask spills: blocks are appended, read back by position, and freed.
//!
//! The file is private and has no name from the moment it is open, so it is gone when the process is, however that ends.
//! All that spills in one operator subtask goes to one file: one descriptor, however many runs and partitions there are.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FallocateFlags;

use super::error::BatchError;

/// Tells the files of one process apart.
static FILES: AtomicU64 = AtomicU64::new(0);

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    offset: u64,
    bytes: usize,
}

/// An open spill file.
#[derive(Debug)]
pub(super) struct SpillFile {
    file: File,
    path: PathBuf,
    end: u64,
    freed: u64,
}

impl SpillFile {
    /// A new, empty file in the folder `dir`.
    pub(super) fn create(dir: &Path) -> Result<Self, BatchError> {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("flott-spill-{}-{number}", std::process::id()));
        let create = || {
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        };
        match create() {
            Ok(file) => Ok(Self { file, path, end: 0, freed: 0 }),
            Err(source) => Err(BatchError::CreateSpill { path, source }),
        }
    }

    /// Writes a block at the end.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<Block, BatchError> {
        if let Err(source) = self.file.write_all_at(bytes, self.end) {
            let spilled = self.end - self.freed;
            return Err(BatchError::WriteSpill {
                path: self.path.clone(),
                bytes: bytes.len(),
                spilled,
                source,
            });
        }
        let block = Block { offset: self.end, bytes: bytes.len() };
        self.end += bytes.len() as u64;
        Ok(block)
    }

    /// Reads a block in place of what `into` held.
    pub(super) fn read(&self, block: Block, into: &mut Vec<u8>) -> Result<(), BatchError> {
        into.resize(block.bytes, 0);
        self.file.read_exact_at(into, block.offset).map_err(|source| BatchError::ReadSpill {
            path: self.path.clone(),
            offset: block.offset,
            bytes: block.bytes,
            source,
        })
    }

    /// Gives a block's place on the disk back, where the file system can; a block is freed once.
    pub(super) fn free(&mut self, block: Block) {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if rustix::fs::fallocate(&self.file, punch, block.offset, block.bytes as u64).is_ok() {
            self.freed += block.bytes as u64;
        }
    }
}

/// The operator's spill file, made when it is first needed.
#[derive(Debug)]
pub(super) struct Spill {
    dir: PathBuf,
    file: Option<SpillFile>,
}

impl Spill {
    /// Spills to a file in the folder `dir`.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, file: None }
    }

    /// The file to write to.
    pub(super) fn file(&mut self) -> Result<&mut SpillFile, BatchError> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(SpillFile::create(&self.dir)?)),
        }
    }

    /// How many bytes were written so far.
    #[cfg(test)]
    pub(super) fn written(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_and_the_file_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = SpillFile::create(dir.path()).unwrap();
        let first = file.append(&[1; 5000]).unwrap();
        let second = file.append(b"second").unwrap();
        let mut bytes = vec![9; 3];
        file.read(second, &mut bytes).unwrap();
        assert_eq!(bytes, b"second");
        file.read(first, &mut bytes).unwrap();
        assert_eq!(bytes, vec![1; 5000]);
        file.free(first);
        file.read(second, &mut bytes).unwrap();
        assert_eq!(bytes, b"second");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = SpillFile::create(Path::new("/no/such/folder")).unwrap_err().to_string();
        assert!(error.contains("/no/such/folder/flott-spill-"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_full_disk_says_where_and_how_much() {
        let file = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let mut spill = SpillFile { file, path: "/tmp/spill".into(), end: 300, freed: 100 };
        let error = spill.append(&[0; 70]).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot write 70 bytes to the spill file /tmp/spill after 200 bytes: No space left on device (os error \
             28); free space there or set io.tmp.dirs to a larger disk"
        );
    }
}
