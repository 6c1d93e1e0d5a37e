//! The file sink: part files that appear under their names only when nothing can take them back.
//!
//! A subtask writes to a hidden file. A part that is full is pending: it is renamed when the checkpoint that holds it is
//! complete, or at the end of the job. A part that is not full goes on over checkpoints, which remember how long it was; a
//! restored subtask cuts it back to that.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;

use flott_core::ids::CheckpointId;
use flott_core::{Data, Timestamp};
use flott_fs::{Access, FileWriter, FsError, FsErrorKind, FsPath, for_path};
use flott_state::OperatorList;

use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::error::{Fault, OperatorError};
use crate::operator::{Operator, OperatorContext, Progress};

/// Writes a record behind what the buffer holds, line end and all.
pub type Encode<T> = Arc<dyn Fn(&T, &mut Vec<u8>) + Send + Sync>;

/// The bytes that are collected before they are written to the file.
const BUFFER_BYTES: usize = 128 * 1024;

/// When a part is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSinkOptions {
    /// By size, in bytes.
    pub part_bytes: u64,
    /// By age, in milliseconds.
    pub part_age: Timestamp,
}

impl Default for FileSinkOptions {
    fn default() -> Self {
        Self { part_bytes: 128 * 1024 * 1024, part_age: 60_000 }
    }
}

/// What a checkpoint remembers of a part.
#[derive(Debug, Clone, PartialEq, Eq, Data)]
struct PartState {
    hidden: String,
    name: String,
    /// Bytes written so far, for a part that goes on; none: it is full.
    length: Option<u64>,
    /// The first checkpoint that holds it as full.
    checkpoint: u64,
    began: Timestamp,
}

/// Writes records to part files in a folder.
pub struct FileSink<T> {
    folder: FsPath,
    encode: Encode<T>,
    options: FileSinkOptions,
    buffer: Vec<u8>,
    part: Option<Part>,
    pending: Vec<PartState>,
    counter: u64,
    states: Option<Rc<RefCell<OperatorList<PartState>>>>,
}

struct Part {
    file: Box<dyn FileWriter>,
    state: PartState,
    length: u64,
}

impl<T: Data> FileSink<T> {
    /// Into `folder`, in the bytes that `encode` writes.
    pub fn new(folder: FsPath, encode: Encode<T>, options: FileSinkOptions) -> Self {
        Self {
            folder,
            encode,
            options,
            buffer: Vec::new(),
            part: None,
            pending: Vec::new(),
            counter: 0,
            states: None,
        }
    }

    fn part_prefix(context: &OperatorContext<'_>) -> String {
        let job = context.info.job.to_string();
        format!("part-{}-{}-", &job[..8], context.info.subtask)
    }

    fn write_out(&mut self, context: &OperatorContext<'_>) -> Result<(), FsError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let part = match &mut self.part {
            Some(part) => part,
            None => {
                let name = format!("{}{}", Self::part_prefix(context), self.counter);
                self.counter += 1;
                let hidden = self.folder.join(&format!(".{name}.inprogress"));
                let file = for_path(&hidden)?.create_with(&hidden, Access::Ordinary)?;
                let state = PartState {
                    hidden: hidden.to_string(),
                    name: self.folder.join(&name).to_string(),
                    length: None,
                    checkpoint: 0,
                    began: context.processing_time,
                };
                self.part.insert(Part { file, state, length: 0 })
            }
        };
        let path = || part.state.hidden.parse::<FsPath>().unwrap_or_else(|_| self.folder.clone());
        if let Err(error) = part.file.write_all(&self.buffer) {
            return Err(FsError::io("write", &path(), error));
        }
        part.length += self.buffer.len() as u64;
        self.buffer.clear();
        if part.length >= self.options.part_bytes {
            self.roll()?;
        }
        Ok(())
    }

    /// The part in hand is full.
    fn roll(&mut self) -> Result<(), FsError> {
        if let Some(part) = self.part.take() {
            part.file.close()?;
            self.pending.push(part.state);
        }
        Ok(())
    }

    fn commit_part(state: &PartState) -> Result<(), FsError> {
        let (hidden, name): (FsPath, FsPath) = (state.hidden.parse()?, state.name.parse()?);
        let fs = for_path(&hidden)?;
        match fs.rename(&hidden, &name) {
            // An earlier attempt has done it.
            Err(error) if error.kind() == FsErrorKind::NotFound && fs.exists(&name)? => Ok(()),
            renamed => renamed,
        }
    }

    /// Goes on with a part, cut back to what the checkpoint remembers.
    fn resume(&mut self, state: PartState, length: u64) -> Result<(), FsError> {
        let state = PartState { length: None, ..state };
        let hidden: FsPath = state.hidden.parse()?;
        let file = for_path(&hidden)?.resume(&hidden, length)?;
        match self.part {
            None => self.part = Some(Part { file, state, length }),
            // With fewer subtasks than there were, one may get two: the second is full as it is.
            Some(_) => {
                file.close()?;
                self.pending.push(state);
            }
        }
        Ok(())
    }

    /// Removes what earlier attempts of this subtask left that no checkpoint holds.
    fn remove_orphans(&mut self, context: &OperatorContext<'_>) -> Result<(), FsError> {
        let prefix = Self::part_prefix(context);
        let hidden_prefix = format!(".{prefix}");
        let fs = for_path(&self.folder)?;
        let held: Vec<&str> = self
            .part
            .iter()
            .map(|part| &part.state)
            .chain(&self.pending)
            .map(|state| state.hidden.as_str())
            .collect();
        for file in fs.list(&self.folder)? {
            let name = file.path.name();
            let number = name.strip_prefix(&hidden_prefix).and_then(|rest| rest.strip_suffix(".inprogress"));
            let committed = name.strip_prefix(&prefix).and_then(|rest| rest.parse::<u64>().ok());
            if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()).or(committed) {
                self.counter = self.counter.max(number + 1);
            }
            if number.is_some() && !held.contains(&file.path.to_string().as_str()) {
                fs.delete(&file.path)?;
            }
        }
        Ok(())
    }
}

impl<T: Data> Operator for FileSink<T> {
    type In = T;
    type Out = ();

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let states = context.state.list::<PartState>("parts")?;
        let restored = states.borrow_mut().take();
        if context.info.ended {
            // What the earlier attempt left is what is to be committed.
            return Ok(());
        }
        self.states = Some(states);
        let open = || {
            for_path(&self.folder)?.create_dirs_with(&self.folder, Access::Ordinary)?;
            for state in restored {
                match state.length {
                    Some(length) => self.resume(state, length)?,
                    None => self.pending.push(state),
                }
            }
            // Full parts of a completed checkpoint: their commit may have been lost with the failure.
            for state in std::mem::take(&mut self.pending) {
                if state.checkpoint > 0 { Self::commit_part(&state)? } else { self.pending.push(state) }
            }
            self.remove_orphans(context)
        };
        open().map_err(OperatorError::environment)
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<()>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while let Some((record, _)) = input.next() {
            (self.encode)(&record, &mut self.buffer);
            if self.buffer.len() >= BUFFER_BYTES {
                self.write_out(context).map_err(OperatorError::environment)?;
            }
        }
        Ok(())
    }

    fn end(
        &mut self,
        _: &mut Collector<()>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        self.write_out(context).and_then(|()| self.roll()).map_err(OperatorError::environment)?;
        Ok(Progress::Done)
    }

    fn prepare_snapshot(
        &mut self,
        checkpoint: CheckpointId,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let mut prepare = || {
            self.write_out(context)?;
            let age = self.part.as_ref().map_or(0, |part| context.processing_time - part.state.began);
            if age >= self.options.part_age {
                self.roll()?;
            }
            if let Some(part) = &mut self.part {
                part.file.sync()?;
            }
            Ok(())
        };
        prepare().map_err(|error: FsError| OperatorError::environment(error))?;
        for state in self.pending.iter_mut().filter(|state| state.checkpoint == 0) {
            state.checkpoint = checkpoint.0;
        }
        let going_on =
            self.part.iter().map(|part| PartState { length: Some(part.length), ..part.state.clone() });
        if let Some(states) = &self.states {
            states.borrow_mut().set(self.pending.iter().cloned().chain(going_on).collect());
        }
        Ok(())
    }

    fn checkpoint_complete(
        &mut self,
        checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        for state in std::mem::take(&mut self.pending) {
            if (1..=checkpoint.0).contains(&state.checkpoint) {
                Self::commit_part(&state).map_err(OperatorError::environment)?;
            } else {
                self.pending.push(state);
            }
        }
        Ok(())
    }

    fn final_handles(&mut self, _: &mut OperatorContext<'_>) -> Result<Vec<Vec<u8>>, OperatorError> {
        let encoded = |state: PartState| {
            let mut bytes = Vec::new();
            state.encode(&mut bytes);
            bytes
        };
        Ok(self.pending.drain(..).map(encoded).collect())
    }

    fn commit(&mut self, handles: &[Vec<u8>], _: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        for handle in handles {
            let state = PartState::decode(&mut handle.as_slice()).map_err(|error| {
                OperatorError::new(
                    Fault::Flott,
                    format!("a commit handle of the file sink is damaged: {error}"),
                )
            })?;
            Self::commit_part(&state).map_err(OperatorError::environment)?;
        }
        Ok(())
    }
}
