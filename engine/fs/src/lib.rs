//! File systems: one trait for local files, HDFS and object stores.
//!
//! Calls block, so they belong on threads that may. Paths carry their scheme; [`for_path`] finds the file system.
//!
//! ```
//! use flott_fs::{FsPath, for_path};
//! use std::io::Write;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path: FsPath = folder.path().join("greeting").display().to_string().parse()?;
//! let fs = for_path(&path)?;
//! let mut file = fs.create(&path)?;
//! file.write_all(b"hello")?;
//! file.close()?;
//! assert_eq!(fs.read(&path)?, b"hello");
//! # Ok(())
//! # }
//! ```

mod error;
mod local;
mod path;
pub mod text;

use std::io::{Read, Seek, Write};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

pub use error::{FsError, FsErrorKind};
pub use local::LocalFileSystem;
pub use path::FsPath;

/// A file that is read.
pub trait FileReader: Read + Seek + Send {}

impl<T: Read + Seek + Send> FileReader for T {}

/// A file that is written. What was written counts only once [`close`](Self::close) has returned.
pub trait FileWriter: Write + Send {
    /// Makes what was written so far durable.
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

/// Who may read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the user's umask says: for results.
    Ordinary,
    /// The user alone: for what Flott keeps for itself.
    Private,
}

/// A file system. Every call blocks.
pub trait FileSystem: Send + Sync {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    fn open(&self, path: &FsPath) -> Result<Box<dyn FileReader>, FsError>;

    /// Creates a file, in place of one that is there.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    fn create_with(&self, path: &FsPath, access: Access) -> Result<Box<dyn FileWriter>, FsError>;

    /// Opens a file to write behind its first `length` bytes; what is behind them is cut off.
    ///
    /// # Errors
    /// [`FsError`] that names the file; also if it is shorter than that.
    fn resume(&self, path: &FsPath, length: u64) -> Result<Box<dyn FileWriter>, FsError>;

    /// Gives a file another name at once, in place of a file that has it.
    ///
    /// # Errors
    /// [`FsError`] that names both.
    fn rename(&self, from: &FsPath, to: &FsPath) -> Result<(), FsError>;

    /// Deletes a file; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    fn delete(&self, path: &FsPath) -> Result<(), FsError>;

    /// Deletes a folder with all in it; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`FsError`] that names the folder.
    fn delete_dir(&self, path: &FsPath) -> Result<(), FsError>;

    /// Creates a folder and those above it.
    ///
    /// # Errors
    /// [`FsError`] that names the folder.
    fn create_dirs_with(&self, path: &FsPath, access: Access) -> Result<(), FsError>;

    /// What is known of a file or folder.
    ///
    /// # Errors
    /// [`FsError`] that names it.
    fn status(&self, path: &FsPath) -> Result<FileStatus, FsError>;

    /// What is in a folder, by name.
    ///
    /// # Errors
    /// [`FsError`] that names the folder.
    fn list(&self, path: &FsPath) -> Result<Vec<FileStatus>, FsError>;
}

impl dyn FileSystem {
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

    /// Writes a file that is there with all its content or not at all: under another name first, then renamed.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    pub fn write_atomically(&self, path: &FsPath, bytes: &[u8]) -> Result<(), FsError> {
        let temporary = path.with_name(&format!(".{}.inprogress", path.name()));
        let mut file = self.create(&temporary)?;
        file.write_all(bytes).map_err(|error| FsError::io("write", &temporary, error))?;
        file.close()?;
        self.rename(&temporary, path)
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

    /// The files at or below `path`, by path; names that begin with `.` or `_` are left out, with all below them.
    ///
    /// # Errors
    /// [`FsError`] that names what could not be read; also for folders nested more than 100 deep.
    pub fn list_files(&self, path: &FsPath) -> Result<Vec<FileStatus>, FsError> {
        let status = self.status(path)?;
        if !status.is_dir {
            return Ok(vec![status]);
        }
        let mut files = Vec::new();
        self.list_below(path, 0, &mut files)?;
        Ok(files)
    }

    fn list_below(&self, folder: &FsPath, depth: u32, files: &mut Vec<FileStatus>) -> Result<(), FsError> {
        if depth > 100 {
            let error =
                std::io::Error::other("folders are nested more than 100 deep; is there a loop of links?");
            return Err(FsError::io("list", folder, error));
        }
        for status in self.list(folder)? {
            if status.path.name().starts_with(['.', '_']) {
                continue;
            }
            if status.is_dir { self.list_below(&status.path, depth + 1, files)? } else { files.push(status) }
        }
        Ok(())
    }
}

type Registered = RwLock<Vec<(String, Arc<dyn FileSystem>)>>;

fn registered() -> &'static Registered {
    static FILE_SYSTEMS: OnceLock<Registered> = OnceLock::new();
    FILE_SYSTEMS.get_or_init(|| {
        let local: Arc<dyn FileSystem> = Arc::new(LocalFileSystem);
        RwLock::new(vec![("file".to_owned(), local)])
    })
}

/// Adds the file system of a scheme, in place of one that is there.
pub fn register(scheme: &str, fs: Arc<dyn FileSystem>) {
    let mut all = registered().write().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(known, _)| known != scheme);
    all.push((scheme.to_owned(), fs));
}

/// The file system of a path.
///
/// # Errors
/// [`FsErrorKind::UnsupportedScheme`] if nobody registered the path's scheme.
pub fn for_path(path: &FsPath) -> Result<Arc<dyn FileSystem>, FsError> {
    let all = registered().read().unwrap_or_else(PoisonError::into_inner);
    let found = all.iter().find(|(scheme, _)| scheme == path.scheme()).map(|(_, fs)| Arc::clone(fs));
    found.ok_or_else(|| FsError::unsupported_scheme(path))
}
