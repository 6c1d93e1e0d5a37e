//! The files of the HA store: `DIR/JOB/NAME`.

use flott_core::ids::JobId;
use flott_fs::{FsError, FsErrorKind, FsPath};

use crate::high_availability::StoreError;

/// The files of jobs. Calls block. A file is there whole or not at all.
pub trait BlobStore: Send + Sync {
    /// Writes a file.
    ///
    /// # Errors
    /// [`StoreError`] that names it.
    fn write(&self, job: JobId, name: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Reads a file.
    ///
    /// # Errors
    /// [`StoreError`] that names it.
    fn read(&self, job: JobId, name: &str) -> Result<Vec<u8>, StoreError>;

    /// Where a file is, for people.
    fn place(&self, job: JobId, name: &str) -> String;

    /// Deletes a file; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`StoreError`] that names it.
    fn remove(&self, job: JobId, name: &str) -> Result<(), StoreError>;

    /// Deletes all files of a job but one.
    ///
    /// # Errors
    /// [`StoreError`] that names one of them.
    fn remove_others(&self, job: JobId, kept: &str) -> Result<(), StoreError>;

    /// Deletes all files of a job.
    ///
    /// # Errors
    /// [`StoreError`] that names its folder.
    fn remove_all(&self, job: JobId) -> Result<(), StoreError>;

    /// The jobs that have files.
    ///
    /// # Errors
    /// [`StoreError`] that names the folder.
    fn jobs(&self) -> Result<Vec<JobId>, StoreError>;
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

    fn folder(&self, job: JobId) -> FsPath {
        self.directory.join(&job.to_string())
    }
}

impl BlobStore for FileBlobs {
    fn write(&self, job: JobId, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let folder = self.folder(job);
        let fs = flott_fs::for_path(&folder)?;
        fs.create_dirs(&folder)?;
        Ok(fs.write_atomically(&folder.join(name), bytes)?)
    }

    fn read(&self, job: JobId, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.folder(job).join(name);
        flott_fs::for_path(&path)?.read(&path).map_err(|error| match error.kind() {
            FsErrorKind::NotFound => {
                StoreError::Damaged { path: path.to_string(), reason: "it is not there".to_owned() }
            }
            _ => error.into(),
        })
    }

    fn place(&self, job: JobId, name: &str) -> String {
        self.folder(job).join(name).to_string()
    }

    fn remove(&self, job: JobId, name: &str) -> Result<(), StoreError> {
        let path = self.folder(job).join(name);
        Ok(flott_fs::for_path(&path)?.delete(&path)?)
    }

    fn remove_others(&self, job: JobId, kept: &str) -> Result<(), StoreError> {
        let folder = self.folder(job);
        let fs = flott_fs::for_path(&folder)?;
        for entry in fs.list(&folder)?.iter().filter(|entry| entry.path.name() != kept) {
            fs.delete(&entry.path)?;
        }
        Ok(())
    }

    fn remove_all(&self, job: JobId) -> Result<(), StoreError> {
        let folder = self.folder(job);
        Ok(flott_fs::for_path(&folder)?.delete_dir(&folder)?)
    }

    fn jobs(&self) -> Result<Vec<JobId>, StoreError> {
        let listed = flott_fs::for_path(&self.directory)?.list(&self.directory)?;
        Ok(listed.iter().filter_map(|entry| entry.path.name().parse().ok()).collect())
    }
}
