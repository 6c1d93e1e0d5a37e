//! The trait of a file system, and what every file system can do by it.
//!
//! [`FileSystem`] is object safe and small: what can be made of other calls is a method of `dyn FileSystem` instead.

use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Seek, SeekFrom, Write};

use crate::error::{FsError, FsErrorKind};
use crate::locations::BlockLocation;
use crate::path::FsPath;

/// A file that is read.
pub trait FileReader: Read + Seek + Send {}

impl<T: Read + Seek + Send> FileReader for T {}

/// A file that is written. What was written counts only once [`sync`](Self::sync) or [`close`](Self::close) has returned; a
/// writer that is dropped leaves a file of any length.
pub trait FileWriter: Write + Send {
    /// Makes what was written so far durable, and that there is a file of this name.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    fn sync(&mut self) -> Result<(), FsError>;

    /// Makes everything durable and closes the file.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    fn close(self: Box<Self>) -> Result<(), FsError>;
}

/// What is known of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStatus {
    /// Where it is.
    pub path: FsPath,
    /// Its size in bytes; 0 for a folder.
    pub length: u64,
    /// When it was last changed, in milliseconds since the epoch.
    pub modified: i64,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// Who may read a new file or enter a new folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the user's umask says: for results.
    Ordinary,
    /// The user alone (files 0600, folders 0700): for what Flott keeps for itself.
    Private,
}

/// A file system. Every call blocks, for as long as disks and networks take: call it on I/O threads.
pub trait FileSystem: Send + Sync {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`FsError`] that names the file; [`IsDirectory`](FsErrorKind::IsDirectory) for a folder.
    fn open(&self, path: &FsPath) -> Result<Box<dyn FileReader>, FsError>;

    /// Creates a file, in place of one that is there. A private file is never the one that was there, whose readers may be others.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    fn create_with(&self, path: &FsPath, access: Access) -> Result<Box<dyn FileWriter>, FsError>;

    /// Opens a file to write behind its first `length` bytes; what is behind them is cut off.
    ///
    /// # Errors
    /// [`FsError`] that names the file; also if it is shorter than that. [`Unsupported`](FsErrorKind::Unsupported) where files
    /// can only be written once.
    fn resume(&self, path: &FsPath, length: u64) -> Result<Box<dyn FileWriter>, FsError>;

    /// Cuts a file to its first `length` bytes, durably. Whoever was writing it can change it no more.
    ///
    /// # Errors
    /// [`FsError`] that names the file; also if it is shorter than that. [`Unsupported`](FsErrorKind::Unsupported) where files
    /// can only be written once.
    fn truncate(&self, path: &FsPath, length: u64) -> Result<(), FsError>;

    /// Gives a file another name at once and durably, in place of a file that has it.
    ///
    /// # Errors
    /// [`FsError`] that names both.
    fn rename(&self, from: &FsPath, to: &FsPath) -> Result<(), FsError>;

    /// Gives a file another name at once and durably, unless something has it. Of several who try, one succeeds.
    ///
    /// # Errors
    /// [`FsError`] that names both; [`AlreadyExists`](FsErrorKind::AlreadyExists) if something has the name.
    fn rename_new(&self, from: &FsPath, to: &FsPath) -> Result<(), FsError>;

    /// Deletes a file; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`FsError`] that names the file; [`IsDirectory`](FsErrorKind::IsDirectory) for a folder.
    fn delete(&self, path: &FsPath) -> Result<(), FsError>;

    /// Deletes a folder with all in it, but not what links in it lead to; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`FsError`] that names the folder. A root is never deleted, nor are `.` and `..`.
    fn delete_dir(&self, path: &FsPath) -> Result<(), FsError>;

    /// Creates a folder and those above it, durably; folders that are there stay as they are.
    ///
    /// # Errors
    /// [`FsError`] that names the folder.
    fn create_dirs_with(&self, path: &FsPath, access: Access) -> Result<(), FsError>;

    /// What is known of a file or folder, or of the one that a link leads to.
    ///
    /// # Errors
    /// [`FsError`] that names it; also for what is neither file nor folder.
    fn status(&self, path: &FsPath) -> Result<FileStatus, FsError>;

    /// What is in a folder, by name. What is neither file nor folder, such as a link that leads nowhere, is in it as an empty
    /// file; [`status`](Self::status) tells.
    ///
    /// # Errors
    /// [`FsError`] that names the folder; also if it holds a name that no [`FsPath`] can say.
    fn list(&self, path: &FsPath) -> Result<Vec<FileStatus>, FsError>;

    /// Whether [`block_locations`](Self::block_locations) may say where files are.
    fn has_locations(&self) -> bool {
        false
    }

    /// The blocks that hold a range of a file, in order, and which hosts have each: where the range is best read. None, where that makes no
    /// difference or is not known. One call, however many blocks there are: ask for ranges, not for blocks.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    fn block_locations(
        &self,
        path: &FsPath,
        offset: u64,
        length: u64,
    ) -> Result<Vec<BlockLocation>, FsError> {
        let _ = (path, offset, length);
        Ok(Vec::new())
    }

    /// The path of a folder without links, so that one folder has one. Without links, that is the path itself.
    ///
    /// # Errors
    /// [`FsError`] that names the folder.
    fn real_path(&self, path: &FsPath) -> Result<FsPath, FsError> {
        Ok(path.clone())
    }
}

impl dyn FileSystem {
    /// Opens a file for reading from its byte `offset` on; behind its end there is nothing to read.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    pub fn open_at(&self, path: &FsPath, offset: u64) -> Result<Box<dyn FileReader>, FsError> {
        let mut file = self.open(path)?;
        file.seek(SeekFrom::Start(offset)).map_err(|error| FsError::io("read", path, error))?;
        Ok(file)
    }

    /// Creates a file of Flott's own, which only the user may read.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    pub fn create(&self, path: &FsPath) -> Result<Box<dyn FileWriter>, FsError> {
        self.create_with(path, Access::Private)
    }

    /// Creates folders of Flott's own, which only the user may enter.
    ///
    /// # Errors
    /// [`FsError`] that names the folder.
    pub fn create_dirs(&self, path: &FsPath) -> Result<(), FsError> {
        self.create_dirs_with(path, Access::Private)
    }

    /// Reads a whole file, which must be small.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    pub fn read(&self, path: &FsPath) -> Result<Vec<u8>, FsError> {
        let mut bytes = Vec::new();
        self.open(path)?.read_to_end(&mut bytes).map_err(|error| FsError::io("read", path, error))?;
        Ok(bytes)
    }

    /// Writes atomically (as `write_atomically_with` does) a file of Flott's own, which only the user may read.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    pub fn write_atomically(&self, path: &FsPath, bytes: &[u8]) -> Result<(), FsError> {
        self.write_atomically_with(path, bytes, Access::Private)
    }

    /// Writes a file that is there durably with all its content, or is as it was: under a hidden name of its own first, then
    /// renamed. Of several who write at once, one is last. A process that dies in between leaves `.NAME.….inprogress`.
    ///
    /// ```
    /// use flott_fs::{Access, FsPath, for_path};
    ///
    /// let folder = tempfile::tempdir().expect("a folder");
    /// let path = FsPath::local(folder.path()).join("pointer");
    /// let fs = for_path(&path)?;
    /// fs.write_atomically_with(&path, b"41", Access::Ordinary)?;
    /// fs.write_atomically_with(&path, b"42", Access::Ordinary)?;
    /// assert_eq!(fs.read(&path)?, b"42");
    /// # Ok::<(), flott_fs::FsError>(())
    /// ```
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    pub fn write_atomically_with(&self, path: &FsPath, bytes: &[u8], access: Access) -> Result<(), FsError> {
        // Others, on other machines too, may be writing the same file: each needs a name that nobody else has.
        let unique = RandomState::new().hash_one(path);
        let temporary = path.with_name(&format!(".{}.{unique:016x}.inprogress", path.name()));
        let write = || {
            let mut file = self.create_with(&temporary, access)?;
            file.write_all(bytes).map_err(|error| FsError::io("write", &temporary, error))?;
            file.close()?;
            self.rename(&temporary, path)
        };
        let written = write();
        if written.is_err() {
            // What went wrong first is what counts; that the rest cannot be cleared away either follows from it.
            let _ = self.delete(&temporary);
        }
        written
    }

    /// Whether there is such a file or folder.
    ///
    /// # Errors
    /// [`FsError`] if that cannot be told.
    pub fn exists(&self, path: &FsPath) -> Result<bool, FsError> {
        match self.status(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == FsErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
