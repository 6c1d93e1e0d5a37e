//! Programs by the hash of their content: sent once, kept, started from a folder that only the user may enter.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use flott_core::ids::JobId;
use flott_fs::{FileReader, FsError, FsErrorKind, FsPath};
use sha2::{Digest, Sha256};

use crate::high_availability::Epoch;

/// How many programs that no job needs are kept.
const KEPT: usize = 16;

/// After this time nobody writes a draft any more: its writer has ended without removing it.
const DRAFT_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest program, in bytes.
pub const MAX_PROGRAM_BYTES: u64 = 4 << 30;

/// What is hashed at a time.
const PIECE_BYTES: usize = 256 << 10;

/// The SHA-256 of a program: 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(String);

impl ContentHash {
    /// The hash of a file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(Self::finished(hasher)),
                count => hasher.update(&piece[..count]),
            }
        }
    }

    fn finished(hasher: Sha256) -> Self {
        Self(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl FromStr for ContentHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_hash = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hash {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("'{text}' is not the hash of a program"))
        }
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a program cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system.
    #[error("cannot keep a program in {folder}: {source}; set io.tmp.dirs to a folder with room", folder = .folder.display())]
    Io {
        /// Where.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What came is something else.
    #[error(
        "the program that was sent is {found}, but {expected} was announced: it was damaged or changed on its way"
    )]
    OtherContent {
        /// What was announced.
        expected: ContentHash,
        /// What came.
        found: ContentHash,
    },
    /// It is not called by its hash.
    #[error("{path} cannot be taken as a program: {reason}", path = .path.display())]
    Misnamed {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It is too large.
    #[error("the program has more than {MAX_PROGRAM_BYTES} bytes")]
    TooLarge,
}

/// A folder with programs.
#[derive(Debug)]
pub struct ProgramStore {
    folder: PathBuf,
}

impl ProgramStore {
    /// An empty one in a folder of its own, which is made.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create(folder: PathBuf) -> Result<Self, StoreError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|source| StoreError::Io { folder: folder.clone(), source })?;
        Ok(Self { folder })
    }

    /// Where a program is, if it is there.
    pub fn get(&self, hash: &ContentHash) -> Option<PathBuf> {
        let path = self.folder.join(&hash.0);
        path.exists().then_some(path)
    }

    /// Whether a program was [adopted](Self::adopt).
    pub fn has_adopted(&self, hash: &ContentHash) -> bool {
        self.folder.join(&hash.0).is_symlink()
    }

    /// Takes a program that is on this machine already, under a name that is its hash: another has checked its content. It stays where
    /// it is.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Misnamed`] if its name is no hash.
    pub fn adopt(&self, path: &Path) -> Result<ContentHash, StoreError> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let hash: ContentHash =
            name.parse().map_err(|reason| StoreError::Misnamed { path: path.to_owned(), reason })?;
        let linked = std::path::absolute(path).and_then(|path| symlink(path, self.folder.join(&hash.0)));
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(self.io_error(error)),
            _ => Ok(hash),
        }
    }

    /// Takes a program piece by piece.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write(&self, hash: ContentHash) -> Result<ProgramWriter<'_>, StoreError> {
        let path = self.folder.join(format!("{}.part", JobId::random()));
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path);
        let file = file.map_err(|source| self.io_error(source))?;
        Ok(ProgramWriter { store: self, hash, path, file, hasher: Sha256::new(), written: 0 })
    }

    /// Removes the oldest programs that no job needs, if there are many.
    pub fn retain(&self, needed: &HashSet<ContentHash>) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut unneeded: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| {
                let hash = entry.file_name().to_str().and_then(|name| name.parse::<ContentHash>().ok());
                hash.is_some_and(|hash| !needed.contains(&hash))
            })
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        unneeded.sort();
        let surplus = unneeded.len().saturating_sub(KEPT);
        for (_, path) in unneeded.into_iter().take(surplus) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "an old program cannot be removed");
            }
        }
    }

    fn io_error(&self, source: io::Error) -> StoreError {
        StoreError::Io { folder: self.folder.clone(), source }
    }
}

/// The programs that several JobManagers share, in a directory of any file system: `DIR/HASH-EPOCH`.
///
/// A leader gives the programs that it needs names of its own, and removes none that a later one has named: who removes a program may have been a
/// leader long ago, and misses it then.
#[derive(Debug)]
pub struct SharedPrograms {
    directory: FsPath,
}

/// How often a program is looked for that another leader renames meanwhile.
const LOOKS: u32 = 3;

/// A program that is shared, under the name that the leader gave it who last needed it; 0: nobody has yet, who knows names with an epoch.
fn parse_shared(name: &str) -> Option<(ContentHash, Epoch)> {
    let (hash, epoch) = name.split_once('-').unwrap_or((name, "0"));
    Some((hash.parse().ok()?, Epoch(epoch.parse().ok()?)))
}

impl SharedPrograms {
    /// In a directory, which is made.
    ///
    /// # Errors
    /// [`FsError`] that names it.
    pub fn new(directory: FsPath) -> Result<Self, FsError> {
        flott_fs::for_path(&directory)?.create_dirs(&directory)?;
        Ok(Self { directory })
    }

    /// Where a program is, under its latest name.
    fn find(&self, hash: &ContentHash) -> Result<Option<(Epoch, FsPath)>, FsError> {
        let entries = flott_fs::for_path(&self.directory)?.list(&self.directory)?.into_iter();
        let named = entries.filter_map(|entry| {
            let (found, epoch) = parse_shared(entry.path.name())?;
            (found == *hash).then_some((epoch, entry.path))
        });
        Ok(named.max_by_key(|(epoch, _)| *epoch))
    }

    /// Takes a program from this machine, if it is not here already. No earlier leader than `epoch` removes it then. Blocks.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    pub fn put(&self, hash: &ContentHash, epoch: Epoch, file: &Path) -> Result<(), FsError> {
        let path = self.directory.join(&format!("{hash}-{}", epoch.0));
        let fs = flott_fs::for_path(&path)?;
        match self.find(hash)? {
            Some((named, _)) if named >= epoch => return Ok(()),
            Some((_, earlier)) => match fs.rename(&earlier, &path) {
                // Just now an earlier leader has removed it.
                Err(error) if error.kind() == FsErrorKind::NotFound => {}
                renamed => return renamed,
            },
            None => {}
        }
        let draft = self.directory.join(&format!(".{hash}.{}.inprogress", JobId::random()));
        let write = || {
            let local = FsPath::local(file);
            let mut from = File::open(file).map_err(|error| FsError::io("read", &local, error))?;
            let mut to = fs.create(&draft)?;
            io::copy(&mut from, &mut to).map_err(|error| FsError::io("write", &draft, error))?;
            to.close()?;
            fs.rename(&draft, &path)
        };
        write().inspect_err(|_| drop(fs.delete(&draft)))
    }

    /// Brings a program to this machine; none: it is not here. Blocks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn fetch(&self, hash: &ContentHash, store: &ProgramStore) -> Result<Option<PathBuf>, StoreError> {
        let failed = |error: FsError| store.io_error(io::Error::other(error.to_string()));
        let Some(mut from) = self.open(hash).map_err(failed)? else { return Ok(None) };
        let mut writer = store.write(hash.clone())?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match from.read(&mut piece).map_err(|error| store.io_error(error))? {
                0 => return writer.finish().map(Some),
                count => writer.piece(&piece[..count])?,
            }
        }
    }

    fn open(&self, hash: &ContentHash) -> Result<Option<Box<dyn FileReader>>, FsError> {
        let fs = flott_fs::for_path(&self.directory)?;
        for _ in 0..LOOKS {
            let Some((_, path)) = self.find(hash)? else { break };
            match fs.open(&path) {
                Err(error) if error.kind() == FsErrorKind::NotFound => {}
                opened => return opened.map(Some),
            }
        }
        Ok(None)
    }

    /// The leader `epoch` removes the oldest programs that no job needs, if there are many, and what is left of programs that never came whole:
    /// drafts so old that nobody can still be writing them. Blocks.
    pub fn retain(&self, needed: &HashSet<ContentHash>, epoch: Epoch) {
        for path in self.surplus(needed, epoch).unwrap_or_default() {
            self.remove(&path);
        }
    }

    /// What [`retain`](Self::retain) removes.
    fn surplus(&self, needed: &HashSet<ContentHash>, epoch: Epoch) -> Result<Vec<FsPath>, FsError> {
        let entries = flott_fs::for_path(&self.directory)?.list(&self.directory)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let given_up = i64::try_from(now.saturating_sub(DRAFT_AGE).as_millis()).unwrap_or(i64::MAX);
        let (mut surplus, mut unneeded) = (Vec::new(), Vec::new());
        for entry in entries {
            match parse_shared(entry.path.name()) {
                Some((hash, named)) if named > epoch || needed.contains(&hash) => {}
                Some(_) => unneeded.push((entry.modified, entry.path)),
                None if !entry.is_dir && entry.modified < given_up => surplus.push(entry.path),
                None => {}
            }
        }
        unneeded.sort_by_key(|(modified, _)| *modified);
        let many = unneeded.len().saturating_sub(KEPT);
        surplus.extend(unneeded.into_iter().take(many).map(|(_, path)| path));
        Ok(surplus)
    }

    fn remove(&self, path: &FsPath) {
        if let Err(error) = flott_fs::for_path(path).and_then(|fs| fs.delete(path)) {
            tracing::warn!(%path, %error, "an old program cannot be removed");
        }
    }
}

/// A program on its way into a store. Dropped before it is [`finished`](Self::finish), it leaves nothing.
pub struct ProgramWriter<'a> {
    store: &'a ProgramStore,
    hash: ContentHash,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    written: u64,
}

impl ProgramWriter<'_> {
    /// The next piece.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn piece(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.written += bytes.len() as u64;
        if self.written > MAX_PROGRAM_BYTES {
            return Err(StoreError::TooLarge);
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|source| self.store.io_error(source))
    }

    /// All pieces are there.
    ///
    /// # Errors
    /// [`StoreError::OtherContent`] if they are not what was announced.
    pub fn finish(self) -> Result<PathBuf, StoreError> {
        let found = ContentHash::finished(self.hasher.clone());
        if found != self.hash {
            return Err(StoreError::OtherContent { expected: self.hash.clone(), found });
        }
        let path = self.store.folder.join(&self.hash.0);
        fs::rename(&self.path, &path).map_err(|source| self.store.io_error(source))?;
        Ok(path)
    }
}

impl Drop for ProgramWriter<'_> {
    fn drop(&mut self) {
        // Gone already, if it was finished.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn hash_of(bytes: &[u8]) -> ContentHash {
        ContentHash::finished(Sha256::new_with_prefix(bytes))
    }

    #[test]
    fn a_program_comes_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = ProgramStore::create(folder.path().join("programs")).unwrap();
        let hash = hash_of(b"a program");
        let mut writer = store.write(hash.clone()).unwrap();
        writer.piece(b"a prog").unwrap();
        assert_eq!(store.get(&hash), None);
        writer.piece(b"ram").unwrap();
        let path = writer.finish().unwrap();
        assert_eq!(store.get(&hash), Some(path.clone()));
        assert_eq!(ContentHash::of_file(&path).unwrap(), hash);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);

        let mut writer = store.write(hash_of(b"another")).unwrap();
        writer.piece(b"damaged").unwrap();
        assert!(writer.finish().unwrap_err().to_string().contains("damaged or changed"));
        drop(store.write(hash_of(b"given up")).unwrap());
        assert_eq!(fs::read_dir(folder.path().join("programs")).unwrap().count(), 1);
    }

    #[test]
    fn a_program_that_is_there_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = ProgramStore::create(folder.path().join("programs")).unwrap();
        let path = folder.path().join(hash_of(b"here").to_string());
        fs::write(&path, b"here").unwrap();
        for _ in 0..2 {
            let hash = store.adopt(&path).unwrap();
            assert_eq!(fs::read(store.get(&hash).unwrap()).unwrap(), b"here");
            assert!(store.has_adopted(&hash) && !store.has_adopted(&hash_of(b"another")));
        }
        assert!(matches!(store.adopt(folder.path()), Err(StoreError::Misnamed { .. })));
    }

    #[test]
    fn old_programs_go_unless_they_are_needed() {
        let folder = tempfile::tempdir().unwrap();
        let store = ProgramStore::create(folder.path().to_owned()).unwrap();
        let hashes: Vec<ContentHash> = (0..KEPT as u8 + 3)
            .map(|number| {
                let hash = hash_of(&[number]);
                let mut writer = store.write(hash.clone()).unwrap();
                writer.piece(&[number]).unwrap();
                let path = writer.finish().unwrap();
                let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(number));
                File::open(path).unwrap().set_modified(at).unwrap();
                hash
            })
            .collect();
        store.retain(&HashSet::from([hashes[0].clone()]));
        let kept: Vec<bool> = hashes.iter().take(4).map(|hash| store.get(hash).is_some()).collect();
        assert_eq!(kept, [true, false, false, true]);
    }

    #[test]
    fn drafts_of_others_stay_while_they_may_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let shared = SharedPrograms::new(FsPath::local(folder.path())).unwrap();
        for (name, age) in [(".a.inprogress", Duration::from_secs(60)), (".b.inprogress", DRAFT_AGE * 2)] {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        shared.retain(&HashSet::new(), Epoch(1));
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), [".a.inprogress"]);
    }

    #[test]
    fn an_old_leader_removes_no_program_that_a_later_one_needs() {
        let folder = tempfile::tempdir().unwrap();
        let shared = SharedPrograms::new(FsPath::local(&folder.path().join("shared"))).unwrap();
        let store = ProgramStore::create(folder.path().join("programs")).unwrap();
        let file = folder.path().join("program");
        let hashes: Vec<ContentHash> = (0..KEPT as u8 + 2)
            .map(|number| {
                fs::write(&file, [number]).unwrap();
                let hash = hash_of(&[number]);
                shared.put(&hash, Epoch(1), &file).unwrap();
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(number));
                let kept = folder.path().join("shared").join(format!("{hash}-1"));
                File::open(kept).unwrap().set_modified(at).unwrap();
                hash
            })
            .collect();
        let surplus = shared.surplus(&HashSet::new(), Epoch(2)).unwrap();
        assert_eq!(surplus.len(), 2);
        // Another one leads meanwhile, and a job needs the first of them.
        shared.put(&hashes[0], Epoch(3), Path::new("/not/read")).unwrap();
        surplus.iter().for_each(|path| shared.remove(path));
        assert!(shared.fetch(&hashes[0], &store).unwrap().is_some());
        assert!(shared.fetch(&hashes[1], &store).unwrap().is_none());
        assert!(
            !shared
                .surplus(&HashSet::new(), Epoch(2))
                .unwrap()
                .iter()
                .any(|path| path.name().ends_with("-3"))
        );
        // An old leader that needs it leaves it the name.
        shared.put(&hashes[0], Epoch(2), Path::new("/not/read")).unwrap();
        assert_eq!(shared.find(&hashes[0]).unwrap().map(|(epoch, _)| epoch), Some(Epoch(3)));
    }

    #[test]
    fn a_hash_is_no_path() {
        for text in ["", "../../etc/passwd", &"A".repeat(64), &"g".repeat(64)] {
            assert!(text.parse::<ContentHash>().is_err());
        }
    }
}
