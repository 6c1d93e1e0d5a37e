//! The local file system.
//!
//! A name in a folder is durable only once the folder is synced too; every call here that promises durability sees to both.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::error::FsError;
use crate::file_system::{Access, FileReader, FileStatus, FileSystem, FileWriter};
use crate::path::FsPath;

/// Files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalFileSystem;

/// How often something is tried again that others undo meanwhile.
const ATTEMPTS: u32 = 10;

struct LocalWriter {
    file: File,
    path: FsPath,
    /// Whether the file's name is durable.
    is_named: bool,
}

impl LocalWriter {
    fn boxed(file: File, path: &FsPath) -> Box<dyn FileWriter> {
        Box::new(Self { file, path: path.clone(), is_named: false })
    }

    fn sync_name(&mut self) -> io::Result<()> {
        if !self.is_named {
            sync_folder_of(Path::new(self.path.path()))?;
            self.is_named = true;
        }
        Ok(())
    }
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
        let synced = self.file.sync_data().and_then(|()| self.sync_name());
        synced.map_err(|error| FsError::io("write", &self.path, error))
    }

    fn close(mut self: Box<Self>) -> Result<(), FsError> {
        let synced = self.file.sync_all().and_then(|()| self.sync_name());
        synced.map_err(|error| FsError::io("write", &self.path, error))
    }
}

fn status_of(path: FsPath, metadata: &fs::Metadata) -> FileStatus {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    FileStatus {
        path,
        length: if metadata.is_file() { metadata.len() } else { 0 },
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

/// Makes the name of a file or folder durable.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some file systems keep names durable without being asked, and a folder that may be written but not read cannot be
        // asked for.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Creates a private file as a new one: one that is there may be open for others, or be a link to what is theirs.
fn create_private(path: &Path) -> io::Result<File> {
    let mut attempt = 1;
    loop {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => attempt += 1,
            opened => return opened,
        }
        ignore_missing(fs::remove_file(path))?;
    }
}

/// Refuses a file that is shorter than `length` bytes.
fn holds(file: &File, length: u64) -> io::Result<()> {
    let found = file.metadata()?.len();
    if found < length {
        let message = format!("it has {found} bytes, but {length} were written to it");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
    }
    Ok(())
}

/// Opens a file to write behind its first `length` bytes, and cuts off the others.
fn cut(path: &FsPath, length: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).open(path.path())?;
    holds(&file, length)?;
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length))?;
    Ok(file)
}

/// Puts a copy of the first `length` bytes in a file's place: who has the file open writes on into what nobody can find any more.
fn replace_by_start(path: &Path, length: u64) -> io::Result<()> {
    let file = File::open(path)?;
    holds(&file, length)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary =
        path.with_file_name(format!(".{name}.{:016x}.inprogress", RandomState::new().hash_one(0)));
    let copied = || {
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let bytes = io::copy(&mut (&file).take(length), &mut copy)?;
        if bytes < length {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "others cut it meanwhile"));
        }
        copy.set_permissions(file.metadata()?.permissions())?;
        copy.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder_of(path)
    };
    let copied = copied();
    if copied.is_err() {
        // What went wrong first is what counts.
        let _ = fs::remove_file(&temporary);
    }
    copied
}

/// Renames in two steps, for file systems that cannot refuse to replace: the name is taken at once, the old one goes after.
fn rename_by_link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    ignore_missing(fs::remove_file(from))
}

fn create_dirs(path: &Path, access: Access) -> io::Result<()> {
    let mut missing = Vec::new();
    for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
        match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => break,
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(folder),
            Err(error) => return Err(error),
        }
    }
    let mut builder = fs::DirBuilder::new();
    if access == Access::Private {
        builder.mode(0o700);
    }
    for folder in missing.into_iter().rev() {
        match builder.create(folder) {
            // Somebody else made it at the same time.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            created => created?,
        }
        sync_folder_of(folder)?;
    }
    Ok(())
}

fn delete_dir(path: &Path) -> io::Result<()> {
    if path.file_name().is_none() {
        let message = "it may be more than was meant; name the folder itself";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    for _ in 1..ATTEMPTS {
        // That something is missing may only mean that somebody else deletes in there.
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_ok() => {}
            deleted => return ignore_missing(deleted),
        }
    }
    fs::remove_dir_all(path)
}

impl FileSystem for LocalFileSystem {
    fn open(&self, path: &FsPath) -> Result<Box<dyn FileReader>, FsError> {
        let open = || {
            let file = File::open(path.path())?;
            if file.metadata()?.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok(file)
        };
        match open() {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(FsError::io("open", path, error)),
        }
    }

    fn create_with(&self, path: &FsPath, access: Access) -> Result<Box<dyn FileWriter>, FsError> {
        let created = match access {
            Access::Ordinary => File::create(path.path()),
            Access::Private => create_private(Path::new(path.path())),
        };
        match created {
            Ok(file) => Ok(LocalWriter::boxed(file, path)),
            Err(error) => Err(FsError::io("create", path, error)),
        }
    }

    fn resume(&self, path: &FsPath, length: u64) -> Result<Box<dyn FileWriter>, FsError> {
        match cut(path, length) {
            Ok(file) => Ok(LocalWriter::boxed(file, path)),
            Err(error) => Err(FsError::io("go on writing", path, error)),
        }
    }

    fn truncate(&self, path: &FsPath, length: u64) -> Result<(), FsError> {
        replace_by_start(Path::new(path.path()), length).map_err(|error| FsError::io("truncate", path, error))
    }

    fn rename(&self, from: &FsPath, to: &FsPath) -> Result<(), FsError> {
        let renamed = fs::rename(from.path(), to.path()).and_then(|()| sync_folder_of(Path::new(to.path())));
        renamed.map_err(|error| FsError::rename(from, to, error))
    }

    fn rename_new(&self, from: &FsPath, to: &FsPath) -> Result<(), FsError> {
        let (old, new) = (Path::new(from.path()), Path::new(to.path()));
        let renamed = match rustix::fs::renameat_with(CWD, old, CWD, new, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rename_by_link(old, new),
            renamed => renamed.map_err(io::Error::from),
        };
        renamed.and_then(|()| sync_folder_of(new)).map_err(|error| FsError::rename(from, to, error))
    }

    fn delete(&self, path: &FsPath) -> Result<(), FsError> {
        ignore_missing(fs::remove_file(path.path())).map_err(|error| FsError::io("delete", path, error))
    }

    fn delete_dir(&self, path: &FsPath) -> Result<(), FsError> {
        delete_dir(Path::new(path.path())).map_err(|error| FsError::io("delete the folder", path, error))
    }

    fn create_dirs_with(&self, path: &FsPath, access: Access) -> Result<(), FsError> {
        create_dirs(Path::new(path.path()), access)
            .map_err(|error| FsError::io("create the folder", path, error))
    }

    fn status(&self, path: &FsPath) -> Result<FileStatus, FsError> {
        let metadata = fs::metadata(path.path()).and_then(|metadata| {
            if metadata.is_file() || metadata.is_dir() {
                return Ok(metadata);
            }
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a folder"))
        });
        match metadata {
            Ok(metadata) => Ok(status_of(path.clone(), &metadata)),
            Err(error) => Err(FsError::io("look at", path, error)),
        }
    }

    fn list(&self, path: &FsPath) -> Result<Vec<FileStatus>, FsError> {
        let list = || {
            let mut found = Vec::new();
            for entry in fs::read_dir(path.path())? {
                let entry = entry?;
                let name = entry.file_name().into_string().map_err(|name| {
                    let message = format!("the name {name:?} in it is not UTF-8; give the file another");
                    io::Error::new(io::ErrorKind::InvalidFilename, message)
                })?;
                // Of a link that leads nowhere, what is known is the link.
                let metadata = fs::metadata(entry.path()).or_else(|_| entry.metadata());
                match metadata {
                    Ok(metadata) => found.push(status_of(path.join(&name), &metadata)),
                    // It was deleted meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            Ok(found)
        };
        list().map_err(|error| FsError::io("list", path, error))
    }

    fn real_path(&self, path: &FsPath) -> Result<FsPath, FsError> {
        match fs::canonicalize(path.path()) {
            Ok(real) => Ok(FsPath::local(&real)),
            Err(error) => Err(FsError::io("look at", path, error)),
        }
    }
}

#[cfg(test)]
mod tests;
