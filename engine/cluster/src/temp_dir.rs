//! Folders for temporary files, which go with the process that made them, however that ends.
//!
//! Beside each folder lies a file that its process holds locked. Whoever makes the next folder removes those whose lock is free.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flott_core::config::{self, Configuration};
use flott_core::ids::JobId;
use flott_fs::FsPath;
use rustix::fs::{FlockOperation, flock};

const PREFIX: &str = "flott-";
const LOCK: &str = "lock";

/// A folder for temporary files that only the user may enter, removed when it is dropped.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    lock: PathBuf,
    _locked: File,
}

impl TempDir {
    /// Creates one in one of the configured folders, and removes what processes left there that were killed. Chance says which one, so that processes
    /// use all disks alike; where nothing can be made is passed over.
    ///
    /// # Errors
    /// [`flott_fs::FsError`] that names a folder, if nothing can be made in any.
    pub fn create(configuration: &Configuration) -> Result<Self, flott_fs::FsError> {
        let mut parents = configuration.get_optional(&config::TEMP_DIRS).unwrap_or_default();
        parents.sort_by_cached_key(|_| JobId::random());
        let last = parents.pop().unwrap_or_else(std::env::temp_dir);
        for parent in parents {
            match Self::create_in(&parent) {
                Err(error) => tracing::warn!(%error, "a folder for temporary files is passed over"),
                made => return made,
            }
        }
        Self::create_in(&last)
    }

    fn create_in(parent: &Path) -> Result<Self, flott_fs::FsError> {
        remove_left_behind(parent);
        let path = parent.join(format!("{PREFIX}{}", JobId::random()));
        let fs_path = FsPath::local(&path);
        let lock = path.with_extension(LOCK);
        let system = flott_fs::for_path(&fs_path)?;
        system.create_dirs(&FsPath::local(parent))?;
        let locked = locked_file(&lock)
            .map_err(|error| flott_fs::FsError::io("lock", &FsPath::local(&lock), error))?;
        system.create_dirs(&fs_path)?;
        Ok(Self { path, lock, _locked: locked })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "temporary files could not be removed");
        }
        let _ = fs::remove_file(&self.lock);
    }
}

/// A new file that is locked, and still there under its name: somebody may have taken it for left behind before it was locked.
fn locked_file(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        let (own, named) = (file.metadata()?, fs::metadata(path));
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (own.dev(), own.ino())) {
            return Ok(file);
        }
    }
}

fn remove_left_behind(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let lock = entry.path();
        let is_lock = lock.extension().is_some_and(|extension| extension == LOCK)
            && entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_lock {
            continue;
        }
        // Of another user, or removed meanwhile.
        let Ok(file) = OpenOptions::new().write(true).open(&lock) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let folder = lock.with_extension("");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(folder = %folder.display(), %error, "temporary files of a process that has ended could not be removed");
            }
            _ => drop(fs::remove_file(&lock)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_folders_are_used_but_those_that_cannot_be() {
        let parent = tempfile::tempdir().unwrap();
        let disks = ["a", "b", "broken"].map(|name| parent.path().join(name));
        fs::write(&disks[2], "no folder").unwrap();
        let configured = disks.each_ref().map(|disk| disk.to_str().unwrap()).join(",");
        let mut configuration = Configuration::new();
        configuration.set(config::TEMP_DIRS.key, &configured).unwrap();
        let made: Vec<_> = (0..64).map(|_| TempDir::create(&configuration).unwrap()).collect();
        for disk in &disks[..2] {
            assert!(made.iter().any(|made| made.path().starts_with(disk)), "{}", disk.display());
        }
        configuration.set(config::TEMP_DIRS.key, disks[2].to_str().unwrap()).unwrap();
        let error = TempDir::create(&configuration).unwrap_err().to_string();
        assert!(error.contains("broken"), "{error}");
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_lives_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let alive = TempDir::create_in(parent.path()).unwrap();
        fs::write(alive.path().join("data"), "x").unwrap();
        // As if its process had been killed: folder and lock file stay, the lock goes.
        let killed = TempDir::create_in(parent.path()).unwrap();
        fs::write(killed.path().join("data"), "x").unwrap();
        let left = killed.path().to_owned();
        let TempDir { _locked: locked, .. } = &killed;
        flock(locked, FlockOperation::Unlock).unwrap();
        std::mem::forget(killed);
        let next = TempDir::create_in(parent.path()).unwrap();
        assert!(!left.exists() && !left.with_extension(LOCK).exists());
        assert!(alive.path().join("data").exists() && next.path().exists());
        drop((alive, next));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
