//! The local file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::time::UNIX_EPOCH;

use crate::error::FsError;
use crate::path::FsPath;
use crate::{Access, FileReader, FileStatus, FileSystem, FileWriter};

/// Files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalFileSystem;

struct LocalWriter {
    file: File,
    path: FsPath,
}

impl Write for LocalWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl FileWriter for LocalWriter {
    fn sync(&mut self) -> Result<(), FsError> {
        self.file.sync_data().map_err(|error| FsError::io("write", &self.path, error))
    }

    fn close(self: Box<Self>) -> Result<(), FsError> {
        self.file.sync_all().map_err(|error| FsError::io("write", &self.path, error))
    }
}

fn status_of(path: FsPath, metadata: &fs::Metadata) -> FileStatus {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    FileStatus {
        path,
        length: if metadata.is_dir() { 0 } else { metadata.len() },
        modified: modified.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        is_dir: metadata.is_dir(),
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Makes a name in a folder durable.
fn sync_folder_of(path: &FsPath) -> io::Result<()> {
    let folder = path.parent().map_or_else(|| ".".to_owned(), |parent| parent.path().to_owned());
    File::open(folder)?.sync_all()
}

impl FileSystem for LocalFileSystem {
    fn open(&self, path: &FsPath) -> Result<Box<dyn FileReader>, FsError> {
        match File::open(path.path()) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(FsError::io("open", path, error)),
        }
    }

    fn create_with(&self, path: &FsPath, access: Access) -> Result<Box<dyn FileWriter>, FsError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        if access == Access::Private {
            options.mode(0o600);
        }
        match options.open(path.path()) {
            Ok(file) => Ok(Box::new(LocalWriter { file, path: path.clone() })),
            Err(error) => Err(FsError::io("create", path, error)),
        }
    }

    fn resume(&self, path: &FsPath, length: u64) -> Result<Box<dyn FileWriter>, FsError> {
        let resume = || {
            let mut file = OpenOptions::new().write(true).open(path.path())?;
            let found = file.metadata()?.len();
            if found < length {
                let message = format!("it has {found} bytes, but {length} were written to it");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            file.set_len(length)?;
            file.seek(SeekFrom::Start(length))?;
            Ok(file)
        };
        match resume() {
            Ok(file) => Ok(Box::new(LocalWriter { file, path: path.clone() })),
            Err(error) => Err(FsError::io("go on writing", path, error)),
        }
    }

    fn rename(&self, from: &FsPath, to: &FsPath) -> Result<(), FsError> {
        let renamed = fs::rename(from.path(), to.path()).and_then(|()| sync_folder_of(to));
        renamed.map_err(|error| {
            let kind = error.kind();
            let message = format!("renaming it to {to} failed: {error}");
            FsError::io("rename", from, io::Error::new(kind, message))
        })
    }

    fn delete(&self, path: &FsPath) -> Result<(), FsError> {
        ignore_missing(fs::remove_file(path.path())).map_err(|error| FsError::io("delete", path, error))
    }

    fn delete_dir(&self, path: &FsPath) -> Result<(), FsError> {
        ignore_missing(fs::remove_dir_all(path.path())).map_err(|error| FsError::io("delete", path, error))
    }

    fn create_dirs_with(&self, path: &FsPath, access: Access) -> Result<(), FsError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        if access == Access::Private {
            builder.mode(0o700);
        }
        builder.create(path.path()).map_err(|error| FsError::io("create the folder", path, error))
    }

    fn status(&self, path: &FsPath) -> Result<FileStatus, FsError> {
        match fs::metadata(path.path()) {
            Ok(metadata) => Ok(status_of(path.clone(), &metadata)),
            Err(error) => Err(FsError::io("look at", path, error)),
        }
    }

    fn list(&self, path: &FsPath) -> Result<Vec<FileStatus>, FsError> {
        let list = || {
            let mut found = Vec::new();
            for entry in fs::read_dir(path.path())? {
                let entry = entry?;
                let child = path.join(&entry.file_name().to_string_lossy());
                match fs::metadata(entry.path()) {
                    Ok(metadata) => found.push(status_of(child, &metadata)),
                    // It was deleted meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            found.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(found)
        };
        list().map_err(|error| FsError::io("list", path, error))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{FsErrorKind, for_path};

    #[test]
    fn files_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let root = FsPath::local(folder.path());
        let fs = for_path(&root).unwrap();
        let dir = root.join("a/b");
        fs.create_dirs(&dir).unwrap();
        let file = dir.join("x");
        fs.write_atomically(&file, b"0123456789").unwrap();
        assert_eq!(std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let mut writer = fs.resume(&file, 4).unwrap();
        writer.write_all(b"!").unwrap();
        writer.close().unwrap();
        assert_eq!(fs.read(&file).unwrap(), b"0123!");
        assert_eq!(fs.resume(&file, 99).err().unwrap().kind(), FsErrorKind::Other);
        fs.create_with(&dir.join("_hidden"), Access::Ordinary).unwrap().close().unwrap();
        fs.create_with(&root.join("top"), Access::Ordinary).unwrap().close().unwrap();
        let names: Vec<_> =
            fs.list_files(&root).unwrap().into_iter().map(|f| f.path.name().to_owned()).collect();
        assert_eq!(names, ["x", "top"]);
        fs.rename(&file, &root.join("y")).unwrap();
        assert!(!fs.exists(&file).unwrap() && fs.exists(&root.join("y")).unwrap());
        fs.delete(&file).unwrap();
        fs.delete_dir(&root.join("a")).unwrap();
        let missing = fs.read(&file).unwrap_err();
        assert_eq!(missing.kind(), FsErrorKind::NotFound);
        assert!(missing.to_string().contains("a/b/x"));
    }

    #[test]
    fn a_scheme_nobody_knows_is_an_error_that_names_it() {
        let error = for_path(&"s9://bucket/x".parse().unwrap()).err().unwrap();
        assert_eq!(error.to_string(), "cannot use s9://bucket/x: this program has no file system for 's9:'");
    }
}
