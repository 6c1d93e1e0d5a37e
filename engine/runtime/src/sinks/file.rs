//! The file sink: part files that appear under their names only when nothing can take them back.
//!
//! A subtask writes to a hidden file. A part that is full is pending: it is renamed when the checkpoint that holds it is
//! complete, or at the end of the job. A part that is not full goes on over checkpoints, which remember how long it was; a
//! restored subtask cuts it back to that, and begins another.
//!
//! So only the attempt that created a file adds to it. One that was cut off, and goes on because it does not know, does no harm
//! to the one in its place: what it creates has other names, what both cut or rename comes out the same, and nobody tells it
//! to commit what no checkpoint holds.
//!
//! The slot decides which bytes go to which part; an [`IoQueue`] does what it decided, so no disk holds up the slot.

mod part;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flott_core::ids::CheckpointId;
use flott_core::{Data, Timestamp};
use flott_fs::{Access, FsError, FsPath, for_path};
use flott_state::OperatorList;

use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::error::{Fault, OperatorError};
use crate::io_queue::{IoQueue, Ticket};
use crate::operator::{Operator, OperatorContext, Progress};
use part::{PartFile, PartNames, PartState, commit, cut, remove_orphans};

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

/// A part in the writing.
struct Part {
    state: PartState,
    /// The bytes it has once all that was submitted is written.
    length: u64,
}

/// Writes records to part files in a folder.
pub struct FileSink<T> {
    folder: FsPath,
    encode: Encode<T>,
    options: FileSinkOptions,
    buffer: Vec<u8>,
    part: Option<Part>,
    pending: Vec<PartState>,
    /// The number of the next part, once the folder was looked at.
    next_number: Arc<AtomicU64>,
    opened: Option<Opened>,
}

struct Opened {
    names: PartNames,
    files: IoQueue<PartFile>,
    states: Rc<RefCell<OperatorList<PartState>>>,
    /// The folder has been looked at.
    looked: Ticket,
    /// What the last barrier waits for.
    prepared: Ticket,
    /// The last commit.
    committed: Ticket,
}

fn not_opened() -> OperatorError {
    OperatorError::new(Fault::Flott, "the file sink is used before it was opened; this is a defect of Flott")
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
            next_number: Arc::default(),
            opened: None,
        }
    }

    /// Has something done with the file in hand, behind all that was submitted before.
    fn submit(
        &mut self,
        job: impl FnOnce(&mut PartFile) -> Result<(), FsError> + Send + 'static,
    ) -> Result<Ticket, OperatorError> {
        let opened = self.opened.as_mut().ok_or_else(not_opened)?;
        Ok(opened.files.submit(move |file| job(file).map_err(OperatorError::environment)))
    }

    /// Neither another job nor another sink of this one, which may write into the same folder, has parts of such names.
    fn names(context: &OperatorContext<'_>) -> PartNames {
        let job = context.info.job.to_string();
        let operator = context.state.context().operator.to_string();
        let prefix = format!("part-{}-{}-{}-", &job[..8], &operator[..8], context.info.subtask);
        PartNames::new(prefix, context.info.attempt)
    }

    fn write_out(&mut self, context: &OperatorContext<'_>) -> Result<(), OperatorError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.part.is_none() {
            let number = self.next_number.fetch_add(1, Ordering::AcqRel);
            let names = &self.opened.as_ref().ok_or_else(not_opened)?.names;
            let state = PartState {
                hidden: self.folder.join(&names.hidden(number)).to_string(),
                name: self.folder.join(&names.of(number)).to_string(),
                length: None,
                checkpoint: 0,
                began: context.processing_time,
            };
            let hidden = state.hidden.clone();
            self.submit(move |file| file.create(&hidden))?;
            self.part = Some(Part { state, length: 0 });
        }
        let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(BUFFER_BYTES));
        let length = self.part.as_mut().map_or(0, |part| {
            part.length += bytes.len() as u64;
            part.length
        });
        context.info.metrics.count_written(bytes.len() as u64);
        self.submit(move |file| file.write(&bytes))?;
        if length >= self.options.part_bytes {
            self.roll()?;
        }
        Ok(())
    }

    /// The part in hand is full.
    fn roll(&mut self) -> Result<(), OperatorError> {
        if let Some(part) = self.part.take() {
            self.submit(PartFile::close)?;
            self.pending.push(part.state);
        }
        Ok(())
    }

    fn begin_commit(&mut self, parts: Vec<PartState>) -> Result<(), OperatorError> {
        if parts.is_empty() {
            return Ok(());
        }
        let opened = self.opened.as_mut().ok_or_else(not_opened)?;
        let work = move |_: &mut PartFile| commit(&parts).map_err(OperatorError::environment);
        opened.committed = opened.files.submit_lasting(work);
        Ok(())
    }

    /// Takes up what a checkpoint holds.
    fn restore(&mut self, restored: Vec<PartState>) -> Result<(), OperatorError> {
        let mut complete = Vec::new();
        for state in restored {
            // Those of a completed checkpoint: their commit may have been lost with the failure.
            if state.checkpoint > 0 {
                complete.push(state);
                continue;
            }
            if let Some(length) = state.length {
                let hidden = state.hidden.clone();
                self.submit(move |_| cut(&hidden, length))?;
            }
            self.pending.push(PartState { length: None, ..state });
        }
        self.begin_commit(complete)
    }
}

impl<T: Data> Operator for FileSink<T> {
    type In = T;
    type Out = ();

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let states = context.state.list::<PartState>("parts")?;
        let restored = states.borrow_mut().take();
        let files = IoQueue::new(PartFile::default(), context.info);
        let none = files.last();
        let names = Self::names(context);
        self.opened = Some(Opened {
            names: names.clone(),
            files,
            states,
            looked: none,
            prepared: none,
            committed: none,
        });
        if context.info.ended {
            // What the earlier attempt left is what is to be committed.
            return Ok(());
        }
        let folder = self.folder.clone();
        self.submit(move |_| for_path(&folder)?.create_dirs_with(&folder, Access::Ordinary))?;
        self.restore(restored)?;
        let held: Vec<String> = self.pending.iter().map(|state| state.hidden.clone()).collect();
        let folder = self.folder.clone();
        let next_number = Arc::clone(&self.next_number);
        let looked = self.submit(move |_| {
            next_number.store(remove_orphans(&folder, &names, &held)?, Ordering::Release);
            Ok(())
        })?;
        if let Some(opened) = &mut self.opened {
            (opened.looked, opened.prepared, opened.committed) = (looked, looked, looked);
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        // After a failure it is, so that it comes to be seen.
        self.opened.as_ref().is_none_or(|opened| {
            opened.files.has_room() && opened.files.is_done(opened.looked).unwrap_or(true)
        })
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<()>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let opened = self.opened.as_ref().ok_or_else(not_opened)?;
        opened.files.is_done(opened.looked)?;
        while self.is_ready() {
            // One buffer, then the queue is asked again.
            while self.buffer.len() < BUFFER_BYTES {
                let Some((record, _)) = input.next() else { return Ok(()) };
                (self.encode)(&record, &mut self.buffer);
            }
            self.write_out(context)?;
        }
        Ok(())
    }

    fn end(
        &mut self,
        _: &mut Collector<()>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        self.write_out(context)?;
        self.roll()?;
        let opened = self.opened.as_ref().ok_or_else(not_opened)?;
        let written = opened.files.is_done(opened.files.last())?;
        Ok(if written { Progress::Done } else { Progress::Waiting })
    }

    fn prepare_snapshot(
        &mut self,
        checkpoint: CheckpointId,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        self.write_out(context)?;
        let age = self.part.as_ref().map_or(0, |part| context.processing_time - part.state.began);
        if age >= self.options.part_age {
            self.roll()?;
        }
        if self.part.is_some() {
            self.submit(PartFile::sync)?;
        }
        for state in self.pending.iter_mut().filter(|state| state.checkpoint == 0) {
            state.checkpoint = checkpoint.0;
        }
        let going_on =
            self.part.iter().map(|part| PartState { length: Some(part.length), ..part.state.clone() });
        let parts = self.pending.iter().cloned().chain(going_on).collect();
        let opened = self.opened.as_mut().ok_or_else(not_opened)?;
        opened.prepared = opened.files.last();
        opened.states.borrow_mut().set(parts);
        Ok(())
    }

    fn is_prepared(&mut self) -> Result<bool, OperatorError> {
        let opened = self.opened.as_ref().ok_or_else(not_opened)?;
        opened.files.is_done(opened.prepared)
    }

    fn checkpoint_complete(
        &mut self,
        checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let is_complete = |state: &PartState| (1..=checkpoint.0).contains(&state.checkpoint);
        let (complete, later) = std::mem::take(&mut self.pending).into_iter().partition(is_complete);
        self.pending = later;
        self.begin_commit(complete)
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
        let decoded = |handle: &Vec<u8>| PartState::decode(&mut handle.as_slice());
        let parts: Result<Vec<_>, _> = handles.iter().map(decoded).collect();
        let parts = parts.map_err(|error| {
            OperatorError::new(Fault::Flott, format!("a commit handle of the file sink is damaged: {error}"))
        })?;
        self.begin_commit(parts)
    }

    fn is_committed(&mut self) -> Result<bool, OperatorError> {
        let opened = self.opened.as_ref().ok_or_else(not_opened)?;
        opened.files.is_done(opened.committed)
    }

    fn close(&mut self) {
        if let Some(opened) = &mut self.opened {
            opened.files.close();
        }
    }

    fn is_closed(&mut self) -> bool {
        self.opened.as_ref().is_none_or(|opened| opened.files.rests())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use flott_core::ids::OperatorId;

    use super::*;
    use crate::harness::{Harness, HarnessConfig};

    fn sink(folder: &std::path::Path, part_bytes: u64) -> FileSink<u64> {
        let encode = |n: &u64, out: &mut Vec<u8>| out.extend_from_slice(format!("{n}\n").as_bytes());
        let options = FileSinkOptions { part_bytes, ..FileSinkOptions::default() };
        FileSink::new(FsPath::local(folder), Arc::new(encode), options)
    }

    /// The numbers in all files that readers see, and how many files they do not see.
    fn seen(folder: &std::path::Path) -> (Vec<u64>, usize) {
        let (mut numbers, mut hidden) = (Vec::new(), 0);
        for file in fs::read_dir(folder).unwrap().flatten() {
            if file.file_name().to_string_lossy().starts_with('.') {
                hidden += 1;
            } else {
                let text = fs::read_to_string(file.path()).unwrap();
                numbers.extend(text.lines().map(|line| line.parse::<u64>().unwrap()));
            }
        }
        numbers.sort();
        (numbers, hidden)
    }

    fn write(harness: &mut Harness<FileSink<u64>>, numbers: std::ops::Range<u64>) {
        harness.begin(numbers.map(|n| (n, 0)).collect());
        harness.settle().unwrap();
    }

    fn end(harness: &mut Harness<FileSink<u64>>) -> Vec<Vec<u8>> {
        harness.begin_end();
        harness.settle().unwrap();
        harness.final_handles()
    }

    #[test]
    fn full_parts_are_seen_when_their_checkpoint_is_complete_and_the_rest_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut harness = Harness::new(sink(folder.path(), 1));
        write(&mut harness, 0..10);
        let checkpoint = harness.begin_snapshot();
        harness.settle().unwrap();
        write(&mut harness, 10..20);
        assert!(seen(folder.path()).0.is_empty());
        harness.complete_checkpoint(checkpoint);
        harness.settle().unwrap();
        assert!(seen(folder.path()).0.into_iter().eq(0..10));
        let handles = end(&mut harness);
        assert!(seen(folder.path()).0.into_iter().eq(0..10));
        // A second time it does nothing.
        for _ in 0..2 {
            harness.commit(&handles);
            harness.settle().unwrap();
        }
        assert!(seen(folder.path()).0.into_iter().eq(0..20));
        assert_eq!(seen(folder.path()).1, 0);
    }

    #[test]
    fn a_restored_sink_cuts_its_part_back_and_removes_what_no_checkpoint_holds() {
        let folder = tempfile::tempdir().unwrap();
        let mut harness = Harness::new(sink(folder.path(), 1 << 20));
        write(&mut harness, 0..10);
        let snapshot = harness.snapshot();
        harness.settle().unwrap();
        write(&mut harness, 100..100_000);
        harness.begin_snapshot();
        harness.settle().unwrap();
        drop(harness);
        let hidden = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().file_name();
        let orphan = hidden.to_string_lossy().replace("-0.0-", "-7.0-");
        fs::write(folder.path().join(orphan), "1").unwrap();
        assert_eq!(seen(folder.path()).1, 2);
        let mut harness = Harness::restore(sink(folder.path(), 1 << 20), snapshot);
        write(&mut harness, 10..20);
        let handles = end(&mut harness);
        harness.commit(&handles);
        harness.settle().unwrap();
        let (numbers, hidden) = seen(folder.path());
        assert!(numbers.into_iter().eq(0..20));
        assert_eq!(hidden, 0);
    }

    #[test]
    fn sinks_that_share_a_folder_leave_each_others_parts_alone() {
        let folder = tempfile::tempdir().unwrap();
        let config = |uid| HarnessConfig { operator: OperatorId::from_uid(uid), ..HarnessConfig::default() };
        let mut one = Harness::with_config(sink(folder.path(), 1 << 20), config("one"));
        let mut other = Harness::with_config(sink(folder.path(), 1 << 20), config("other"));
        write(&mut one, 0..10);
        write(&mut other, 20..30);
        let snapshots = [one, other].map(|mut harness| {
            let snapshot = harness.snapshot();
            harness.settle().unwrap();
            snapshot
        });
        let sinks = ["one", "other"].into_iter().zip(snapshots);
        let restored = sinks.map(|(uid, snapshot)| {
            Harness::restore_with_config(sink(folder.path(), 1 << 20), config(uid), vec![snapshot])
        });
        let [mut one, mut other]: [_; 2] = restored.collect::<Vec<_>>().try_into().ok().unwrap();
        write(&mut one, 10..20);
        write(&mut other, 30..40);
        for mut harness in [one, other] {
            let handles = end(&mut harness);
            harness.commit(&handles);
            harness.settle().unwrap();
        }
        let (numbers, hidden) = seen(folder.path());
        assert!(numbers.into_iter().eq(0..40));
        assert_eq!(hidden, 0);
    }

    #[test]
    fn an_attempt_that_was_cut_off_does_no_harm_to_the_one_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let new = || sink(folder.path(), 1 << 20);
        let attempt = |attempt| HarnessConfig { attempt, ..HarnessConfig::default() };
        let snapshot_of = |harness: &mut Harness<FileSink<u64>>| {
            let snapshot = harness.snapshot();
            harness.settle().unwrap();
            snapshot
        };
        let mut first = Harness::new(new());
        write(&mut first, 0..10);
        let snapshot = snapshot_of(&mut first);
        // Both look at the folder before either writes: they come upon the same number.
        let restore = |number| Harness::restore_with_config(new(), attempt(number), vec![snapshot.clone()]);
        let (mut cut_off, mut real) = (restore(1), restore(2));
        for harness in [&mut cut_off, &mut real] {
            harness.begin(Vec::new());
            harness.settle().unwrap();
        }
        // The one in whose place they are goes on with the part that they have cut.
        write(&mut first, 10..1_000);
        snapshot_of(&mut first);
        write(&mut real, 10..15);
        let snapshot = snapshot_of(&mut real);
        write(&mut cut_off, 10..1_000);
        snapshot_of(&mut cut_off);
        // Neither does one that opens late.
        let mut late = restore(1);
        write(&mut late, 10..1_000);
        snapshot_of(&mut late);
        drop((first, real, late));
        let mut next = Harness::restore_with_config(new(), attempt(3), vec![snapshot]);
        write(&mut next, 15..20);
        let handles = end(&mut next);
        next.commit(&handles);
        next.settle().unwrap();
        let (numbers, hidden) = seen(folder.path());
        assert!(numbers.into_iter().eq(0..20));
        assert_eq!(hidden, 0);
    }

    #[test]
    fn a_slow_disk_is_given_no_more_than_fits_the_queue() {
        let folder = tempfile::tempdir().unwrap();
        const RECORD: usize = 200_000;
        let encode = |_: &u64, out: &mut Vec<u8>| out.resize(out.len() + RECORD, b'x');
        let sink = FileSink::new(FsPath::local(folder.path()), Arc::new(encode), FileSinkOptions::default());
        let mut harness = Harness::new(sink);
        harness.settle().unwrap();
        let (go, gone) = std::sync::mpsc::sync_channel::<()>(1);
        let blocked = move |_: &mut PartFile| {
            let _ = gone.recv();
            Ok(())
        };
        harness.operator_mut().submit(blocked).unwrap();
        // Each fills the buffer alone, and comes in a batch of its own.
        let taken = (0..100).position(|n| {
            harness.begin(vec![(n, 0)]);
            harness.step();
            !harness.is_through()
        });
        assert!(taken.is_some_and(|taken| taken < 10), "{taken:?} batches were taken");
        go.send(()).unwrap();
        harness.settle().unwrap();
        let handles = end(&mut harness);
        harness.commit(&handles);
        harness.settle().unwrap();
        let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().len(), RECORD as u64 * (taken.unwrap() as u64 + 1));
    }

    #[test]
    fn what_the_disk_refuses_is_an_error_of_the_next_call() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let mut harness = Harness::new(sink(&file, 1));
        harness.begin(vec![(1, 0)]);
        let error = harness.settle().unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
    }
}
