//! A file system in memory, for metadata of checkpoints.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flott_fs::{Access, FileReader, FileStatus, FileSystem, FileWriter, FsError, FsPath};

type Files = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Default)]
pub(super) struct MemoryFiles(Arc<Mutex<Files>>);

struct Writer {
    files: MemoryFiles,
    path: String,
    bytes: Vec<u8>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FileWriter for Writer {
    fn sync(&mut self) -> Result<(), FsError> {
        self.files.files().insert(self.path.clone(), self.bytes.clone());
        Ok(())
    }

    fn close(mut self: Box<Self>) -> Result<(), FsError> {
        self.sync()
    }
}

impl MemoryFiles {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is such a file.
    pub(super) fn exists(&self, file: &FsPath) -> bool {
        self.files().contains_key(&file.to_string())
    }

    /// How many files there are below a folder.
    pub(super) fn below(&self, folder: &FsPath) -> usize {
        let prefix = format!("{folder}/");
        self.files().range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix)).count()
    }
}

fn missing(action: &'static str, path: &FsPath) -> FsError {
    FsError::io(action, path, io::ErrorKind::NotFound.into())
}

fn unsupported(action: &'static str, path: &FsPath) -> FsError {
    FsError::io(action, path, io::ErrorKind::Unsupported.into())
}

impl FileSystem for MemoryFiles {
    fn open(&self, path: &FsPath) -> Result<Box<dyn FileReader>, FsError> {
        let bytes = self.files().get(&path.to_string()).cloned();
        Ok(Box::new(Cursor::new(bytes.ok_or_else(|| missing("open", path))?)))
    }

    fn create_with(&self, path: &FsPath, _: Access) -> Result<Box<dyn FileWriter>, FsError> {
        Ok(Box::new(Writer { files: self.clone(), path: path.to_string(), bytes: Vec::new() }))
    }

    fn resume(&self, path: &FsPath, _: u64) -> Result<Box<dyn FileWriter>, FsError> {
        Err(unsupported("resume", path))
    }

    fn truncate(&self, path: &FsPath, _: u64) -> Result<(), FsError> {
        Err(unsupported("truncate", path))
    }

    fn rename(&self, from: &FsPath, to: &FsPath) -> Result<(), FsError> {
        let mut files = self.files();
        let bytes = files.remove(&from.to_string()).ok_or_else(|| missing("rename", from))?;
        files.insert(to.to_string(), bytes);
        Ok(())
    }

    fn rename_new(&self, from: &FsPath, _: &FsPath) -> Result<(), FsError> {
        Err(unsupported("rename", from))
    }

    fn delete(&self, path: &FsPath) -> Result<(), FsError> {
        self.files().remove(&path.to_string());
        Ok(())
    }

    fn delete_dir(&self, path: &FsPath) -> Result<(), FsError> {
        let prefix = format!("{path}/");
        self.files().retain(|path, _| !path.starts_with(&prefix));
        Ok(())
    }

    fn create_dirs_with(&self, _: &FsPath, _: Access) -> Result<(), FsError> {
        Ok(())
    }

    fn status(&self, path: &FsPath) -> Result<FileStatus, FsError> {
        let length = self.files().get(&path.to_string()).map(|bytes| bytes.len() as u64);
        if length.is_none() && self.below(path) == 0 {
            return Err(missing("look at", path));
        }
        let (is_dir, length) = (length.is_none(), length.unwrap_or(0));
        Ok(FileStatus { path: path.clone(), length, modified: 0, is_dir })
    }

    fn list(&self, path: &FsPath) -> Result<Vec<FileStatus>, FsError> {
        let prefix = format!("{path}/");
        let mut names: Vec<String> = self
            .files()
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix)?.split('/').next().map(str::to_owned))
            .collect();
        names.dedup();
        names.into_iter().map(|name| self.status(&path.join(&name))).collect()
    }
}
