//! The files of the HA store: `DIR/JOB-EPOCH/NAME`.
//!
//! Who deletes files may have been a leader long ago: nothing on a file system tells. So a leader deletes nothing of a later one, and a job
//! that is taken is written where no earlier leader has anything to delete.

use std::fmt;
use std::str::FromStr;

use flott_core::ids::JobId;
use flott_fs::{FsError, FsErrorKind, FsPath};

use crate::high_availability::{Epoch, StoreError};

/// Where the files of a job are, from when a leader has taken it, whoever leads then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobFolder {
    /// The job.
    pub job: JobId,
    /// The leader that has taken it; 0: one that wrote format version 1, which did not say.
    pub epoch: Epoch,
}

impl fmt::Display for JobFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            Epoch(0) => write!(f, "{}", self.job),
            Epoch(epoch) => write!(f, "{}-{epoch}", self.job),
        }
    }
}

impl FromStr for JobFolder {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let (job, epoch) = name.split_once('-').unwrap_or((name, "0"));
        Ok(Self { job: job.parse().map_err(|_| ())?, epoch: Epoch(epoch.parse().map_err(|_| ())?) })
    }
}

/// The files of jobs. Calls block. A file is there whole or not at all.
pub trait BlobStore: Send + Sync {
    /// Writes a file.
    ///
    /// # Errors
    /// [`StoreError`] that names it.
    fn write(&self, folder: JobFolder, name: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Reads a file.
    ///
    /// # Errors
    /// [`StoreError`] that names it.
    fn read(&self, folder: JobFolder, name: &str) -> Result<Vec<u8>, StoreError>;

    /// Where a file is, for people.
    fn place(&self, folder: JobFolder, name: &str) -> String;

    /// Deletes a file; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`StoreError`] that names it.
    fn remove(&self, folder: JobFolder, name: &str) -> Result<(), StoreError>;

    /// Deletes all files of a folder but one.
    ///
    /// # Errors
    /// [`StoreError`] that names one of them.
    fn remove_others(&self, folder: JobFolder, kept: &str) -> Result<(), StoreError>;

    /// Deletes a folder with all its files.
    ///
    /// # Errors
    /// [`StoreError`] that names its folder.
    fn remove_all(&self, folder: JobFolder) -> Result<(), StoreError>;

    /// The folders that there are.
    ///
    /// # Errors
    /// [`StoreError`] that names the folder.
    fn folders(&self) -> Result<Vec<JobFolder>, StoreError>;
}

/// Files on a file system.
#[derive(Debug)]
pub struct FileBlobs {
    directory: FsPath,
}

impl FileBlobs {
    /// In a directory, which is made.
    ///
    /// # Errors
    /// [`FsError`] that names it.
    pub fn new(directory: FsPath) -> Result<Self, FsError> {
        flott_fs::for_path(&directory)?.create_dirs(&directory)?;
        Ok(Self { directory })
    }

    fn path(&self, folder: JobFolder) -> FsPath {
        self.directory.join(&folder.to_string())
    }
}

impl BlobStore for FileBlobs {
    fn write(&self, folder: JobFolder, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let folder = self.path(folder);
        let fs = flott_fs::for_path(&folder)?;
        fs.create_dirs(&folder)?;
        Ok(fs.write_atomically(&folder.join(name), bytes)?)
    }

    fn read(&self, folder: JobFolder, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.path(folder).join(name);
        flott_fs::for_path(&path)?.read(&path).map_err(|error| match error.kind() {
            FsErrorKind::NotFound => {
                StoreError::Damaged { path: path.to_string(), reason: "it is not there".to_owned() }
            }
            _ => error.into(),
        })
    }

    fn place(&self, folder: JobFolder, name: &str) -> String {
        self.path(folder).join(name).to_string()
    }

    fn remove(&self, folder: JobFolder, name: &str) -> Result<(), StoreError> {
        let path = self.path(folder).join(name);
        Ok(flott_fs::for_path(&path)?.delete(&path)?)
    }

    fn remove_others(&self, folder: JobFolder, kept: &str) -> Result<(), StoreError> {
        let folder = self.path(folder);
        let fs = flott_fs::for_path(&folder)?;
        for entry in fs.list(&folder)?.iter().filter(|entry| entry.path.name() != kept) {
            fs.delete(&entry.path)?;
        }
        Ok(())
    }

    fn remove_all(&self, folder: JobFolder) -> Result<(), StoreError> {
        let folder = self.path(folder);
        Ok(flott_fs::for_path(&folder)?.delete_dir(&folder)?)
    }

    fn folders(&self) -> Result<Vec<JobFolder>, StoreError> {
        let listed = flott_fs::for_path(&self.directory)?.list(&self.directory)?;
        Ok(listed.iter().filter_map(|entry| entry.path.name().parse().ok()).collect())
    }
}
