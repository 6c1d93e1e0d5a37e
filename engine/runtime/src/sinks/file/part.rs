//! Part files, where it may block.

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

    /// Goes on with a part, cut back to what a checkpoint remembers.
    pub(super) fn resume(&mut self, hidden: &str, length: u64) -> Result<(), FsError> {
        let path: FsPath = hidden.parse()?;
        let file = for_path(&path)?.resume(&path, length)?;
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
pub(super) fn remove_orphans(folder: &FsPath, prefix: &str, held: &[String]) -> Result<u64, FsError> {
    let hidden_prefix = format!(".{prefix}");
    let fs = for_path(folder)?;
    let mut unused = 0;
    for file in fs.list(folder)? {
        let name = file.path.name();
        let number = name.strip_prefix(&hidden_prefix).and_then(|rest| rest.strip_suffix(".inprogress"));
        let committed = name.strip_prefix(prefix).and_then(|rest| rest.parse::<u64>().ok());
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()).or(committed) {
            unused = unused.max(number + 1);
        }
        if number.is_some() && !held.contains(&file.path.to_string()) {
            fs.delete(&file.path)?;
        }
    }
    Ok(unused)
}
