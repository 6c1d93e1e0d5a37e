//! Part files, where it may block.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;

use flott_core::{Data, Timestamp};
use flott_fs::{Access, FileWriter, FsError, FsErrorKind, FsPath, for_path};

/// What a checkpoint remembers of a part.
#[derive(Debug, Clone, PartialEq, Eq, Data)]
pub(super) struct PartState {
    pub(super) hidden: String,
    pub(super) name: String,
    /// Bytes written so far, for a part that goes on; none: it is full.
    pub(super) length: Option<u64>,
    /// The first checkpoint that holds it as full.
    pub(super) checkpoint: u64,
    pub(super) began: Timestamp,
}

/// What the names of a subtask's parts have in common, the hidden ones those of one attempt.
#[derive(Debug, Clone)]
pub(super) struct PartNames {
    /// Of all attempts.
    prefix: String,
    attempt: u32,
    /// In no other attempt's, should numbers of attempts come again.
    mark: u64,
}

impl PartNames {
    pub(super) fn new(prefix: String, attempt: u32) -> Self {
        let mark = RandomState::new().hash_one(&prefix) & u64::from(u32::MAX);
        Self { prefix, attempt, mark }
    }

    /// The name that readers see.
    pub(super) fn of(&self, number: u64) -> String {
        format!("{}{number}", self.prefix)
    }

    /// The name until then: `.NAME.ATTEMPT-MARK.inprogress`. An attempt that was cut off, and does not know it, has others.
    pub(super) fn hidden(&self, number: u64) -> String {
        format!(".{}.{}-{:08x}.inprogress", self.of(number), self.attempt, self.mark)
    }

    /// The number of a part of this subtask, and whose it is as long as it is hidden.
    fn parse(&self, name: &str) -> Option<(u64, Option<u32>)> {
        let Some(hidden) = name.strip_prefix('.') else {
            return Some((name.strip_prefix(&self.prefix)?.parse().ok()?, None));
        };
        let parts = hidden.strip_prefix(&self.prefix)?.strip_suffix(".inprogress")?;
        let (number, attempt) = parts.split_once('.')?;
        let (attempt, _) = attempt.split_once('-')?;
        Some((number.parse().ok()?, Some(attempt.parse().ok()?)))
    }
}

/// The file in hand.
#[derive(Default)]
pub(super) struct PartFile(Option<(FsPath, Box<dyn FileWriter>)>);

impl PartFile {
    pub(super) fn create(&mut self, hidden: &str) -> Result<(), FsError> {
        let path: FsPath = hidden.parse()?;
        let file = for_path(&path)?.create_with(&path, Access::Ordinary)?;
        self.0 = Some((path, file));
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        let Some((path, file)) = &mut self.0 else { return Ok(()) };
        file.write_all(bytes).map_err(|error| FsError::io("write", path, error))
    }

    pub(super) fn sync(&mut self) -> Result<(), FsError> {
        self.0.as_mut().map_or(Ok(()), |(_, file)| file.sync())
    }

    pub(super) fn close(&mut self) -> Result<(), FsError> {
        self.0.take().map_or(Ok(()), |(_, file)| file.close())
    }
}

/// Cuts a part back to what a checkpoint remembers, whoever was writing it. Once more, it changes nothing.
pub(super) fn cut(hidden: &str, length: u64) -> Result<(), FsError> {
    let path: FsPath = hidden.parse()?;
    for_path(&path)?.truncate(&path, length)
}

/// Gives full parts their names.
pub(super) fn commit(parts: &[PartState]) -> Result<(), FsError> {
    parts.iter().try_for_each(|state| {
        let (hidden, name): (FsPath, FsPath) = (state.hidden.parse()?, state.name.parse()?);
        let fs = for_path(&hidden)?;
        match fs.rename(&hidden, &name) {
            // An earlier attempt has done it.
            Err(error) if error.kind() == FsErrorKind::NotFound && fs.exists(&name)? => Ok(()),
            renamed => renamed,
        }
    })
}

/// Removes what earlier attempts of a subtask left that no checkpoint holds; with the first number that no part of it has.
pub(super) fn remove_orphans(folder: &FsPath, names: &PartNames, held: &[String]) -> Result<u64, FsError> {
    let fs = for_path(folder)?;
    let mut unused = 0;
    for file in fs.list(folder)? {
        let Some((number, attempt)) = names.parse(file.path.name()) else { continue };
        unused = unused.max(number + 1);
        // What a later attempt writes is not for one that was replaced to remove.
        let is_earlier = attempt.is_some_and(|attempt| attempt <= names.attempt);
        if is_earlier && !held.contains(&file.path.to_string()) {
            fs.delete(&file.path)?;
        }
    }
    Ok(unused)
}
