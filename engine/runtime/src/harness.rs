//! Drives one operator by hand, for tests: records, watermarks and processing time go in, what it emits comes out, and its
//! state can be snapshotted and restored at any point between two steps.
//!
//! ```
//! use flott_runtime::harness::Harness;
//! use flott_runtime::operators::Map;
//!
//! let mut harness = Harness::new(Map::new(|n: u64| n + 1));
//! harness.push_at(1, 10);
//! assert_eq!(harness.take_output(), [(2, 10)]);
//! ```
//!
//! What the operator reports as an error fails the test by a panic, except where a method returns a `Result`.

#![allow(clippy::expect_used, clippy::panic, reason = "for tests: what goes wrong must fail the test")]

mod config;

pub use config::HarnessConfig;

use std::time::{Duration, Instant};

use flott_core::ids::CheckpointId;
use flott_core::time::{MAX_WATERMARK, NO_TIMESTAMP};
use flott_core::{Data, Records, Timestamp};
use flott_state::{OperatorState, SnapshotProgress, StateContext};

use crate::collector::Emitted;
use crate::element::AnyBatch;
use crate::error::OperatorError;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, OperatorInfo, OutputTag, Progress};
use crate::operators::{Checked, ElementChecker};

/// How long an operator may wait for other threads.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Something the operator emitted, or passed on.
#[derive(Debug, Clone, PartialEq)]
pub enum Emission<T> {
    /// A record and its timestamp.
    Record(T, Timestamp),
    /// A watermark.
    Watermark(Timestamp),
    /// Nothing will come for a while.
    Idle,
}

/// What the operator is in the midst of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Current {
    Nothing,
    Batch,
    Watermark(Timestamp),
    End,
}

/// An operator under test. See the module.
pub struct Harness<O: Operator> {
    operator: O,
    cursor: Cursor<O::In>,
    collector: Collector<O::Out>,
    state: OperatorState,
    info: OperatorInfo,
    watermark: Timestamp,
    processing_time: Timestamp,
    current: Current,
    emissions: Vec<Emission<O::Out>>,
    sides: Vec<(String, AnyBatch)>,
    checker: ElementChecker,
    checkpoints: u64,
    steps: usize,
}

impl<O: Operator> Harness<O> {
    /// Opens an operator with a single subtask.
    pub fn new(operator: O) -> Self {
        Self::with_config(operator, HarnessConfig::default())
    }

    /// Opens an operator.
    pub fn with_config(operator: O, config: HarnessConfig) -> Self {
        Self::try_open(operator, config, Vec::new()).unwrap_or_else(|error| panic!("cannot open: {error}"))
    }

    /// Opens an operator that goes on from a snapshot.
    pub fn restore(operator: O, snapshot: Vec<u8>) -> Self {
        Self::restore_with_config(operator, HarnessConfig::default(), vec![snapshot])
    }

    /// Opens an operator that goes on from the snapshots of all subtasks there were, in their order.
    pub fn restore_with_config(operator: O, config: HarnessConfig, snapshots: Vec<Vec<u8>>) -> Self {
        Self::try_open(operator, config, snapshots).unwrap_or_else(|error| panic!("cannot restore: {error}"))
    }

    /// Opens an operator; it goes on from `snapshots` if there are any.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub fn try_open(
        mut operator: O,
        config: HarnessConfig,
        snapshots: Vec<Vec<u8>>,
    ) -> Result<Self, OperatorError> {
        let restored = !snapshots.is_empty();
        let context = StateContext {
            operator: config.operator,
            subtask: config.subtask,
            parallelism: config.parallelism,
            max_parallelism: config.max_parallelism,
            key_groups: config.max_parallelism.range(config.subtask, config.parallelism),
            redistribute: true,
        };
        let mut state = OperatorState::restore(context, snapshots)?;
        let info = config.info(restored);
        operator.open(&mut OperatorContext {
            state: &mut state,
            info: &info,
            watermark: NO_TIMESTAMP,
            processing_time: config.processing_time,
        })?;
        state.finish_declarations(false)?;
        Ok(Self {
            operator,
            cursor: Cursor::empty(),
            collector: Collector::new(),
            state,
            info,
            watermark: NO_TIMESTAMP,
            processing_time: config.processing_time,
            current: Current::Nothing,
            emissions: Vec::new(),
            sides: Vec::new(),
            checker: ElementChecker::new(),
            checkpoints: 0,
            steps: 0,
        })
    }

    /// The operator.
    pub fn operator(&self) -> &O {
        &self.operator
    }

    /// The operator, to change.
    pub fn operator_mut(&mut self) -> &mut O {
        &mut self.operator
    }

    /// Who and where it is, with its counters.
    pub fn info(&self) -> &OperatorInfo {
        &self.info
    }

    /// How many entries its states have; a list counts its elements, and operators keep the watermark in one.
    pub fn state_entries(&self) -> usize {
        self.state.entries()
    }

    /// How often it was called to work.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Gives it a record without timestamp and lets it work.
    pub fn push(&mut self, record: O::In) {
        self.push_at(record, NO_TIMESTAMP);
    }

    /// Gives it a record and lets it work.
    pub fn push_at(&mut self, record: O::In, time: Timestamp) {
        self.begin(vec![(record, time)]);
        self.finish();
    }

    /// Gives it records without timestamps, as one batch, and lets it work.
    pub fn push_all(&mut self, records: impl IntoIterator<Item = O::In>) {
        self.begin(records.into_iter().map(|record| (record, NO_TIMESTAMP)).collect());
        self.finish();
    }

    /// Gives it a record and lets it work.
    ///
    /// # Errors
    /// The operator's.
    pub fn try_push_at(&mut self, record: O::In, time: Timestamp) -> Result<(), OperatorError> {
        self.begin(vec![(record, time)]);
        while !self.try_step()? {}
        Ok(())
    }

    /// Event time comes to `watermark`: lets it emit all that this makes complete.
    pub fn watermark(&mut self, watermark: Timestamp) {
        self.begin_watermark(watermark);
        self.finish();
    }

    /// All input has come: lets it emit the rest.
    pub fn end(&mut self) {
        self.watermark(MAX_WATERMARK);
        self.begin_end();
        self.finish();
    }

    /// Begins a batch; [`step`](Self::step) works on it.
    pub fn begin(&mut self, records: Vec<(O::In, Timestamp)>) {
        assert_eq!(self.current, Current::Nothing, "the operator is not through with what came before");
        let mut batch = Records::new();
        records.into_iter().for_each(|(record, time)| batch.push(record, time));
        self.cursor.fill(batch);
        self.current = Current::Batch;
    }

    /// Begins a watermark; [`step`](Self::step) works on it.
    pub fn begin_watermark(&mut self, watermark: Timestamp) {
        assert_eq!(self.current, Current::Nothing, "the operator is not through with what came before");
        self.watermark = watermark;
        self.current = Current::Watermark(watermark);
    }

    /// Begins the end; [`step`](Self::step) works on it.
    pub fn begin_end(&mut self) {
        assert_eq!(self.current, Current::Nothing, "the operator is not through with what came before");
        self.current = Current::End;
    }

    /// One step of what was begun; true when it is through.
    pub fn step(&mut self) -> bool {
        self.try_step().unwrap_or_else(|error| panic!("the operator failed: {error}"))
    }

    /// Whether what was begun is through.
    pub fn is_through(&self) -> bool {
        self.current == Current::Nothing
    }

    /// Steps until what was begun is through, and what the operator has left to other threads is done.
    ///
    /// # Errors
    /// The operator's.
    pub fn settle(&mut self) -> Result<(), OperatorError> {
        let deadline = Instant::now() + LONGEST_WAIT;
        loop {
            self.try_step()?;
            if self.is_through() && self.operator.is_prepared()? && self.operator.is_committed()? {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "the operator does not come to an end of it");
            std::thread::yield_now();
        }
    }

    fn finish(&mut self) {
        while !self.step() {}
    }

    /// One step of what was begun; true when it is through, or waits for the outside.
    ///
    /// # Errors
    /// The operator's.
    pub fn try_step(&mut self) -> Result<bool, OperatorError> {
        self.steps += 1;
        let current = self.current;
        let (operator, cursor, out) = (&mut self.operator, &mut self.cursor, &mut self.collector);
        let context = &mut OperatorContext {
            state: &mut self.state,
            info: &self.info,
            watermark: self.watermark,
            processing_time: self.processing_time,
        };
        let progress = match current {
            Current::Nothing => Progress::Done,
            Current::Batch => {
                cursor.begin_step(Instant::now());
                operator.process(cursor, out, context)?;
                match cursor.is_exhausted() {
                    true => Progress::Done,
                    false if operator.is_ready() => Progress::More,
                    false => Progress::Waiting,
                }
            }
            Current::Watermark(watermark) => operator.watermark(watermark, out, context)?,
            Current::End => operator.end(out, context)?,
        };
        self.take_emitted()?;
        if progress == Progress::Done {
            self.current = Current::Nothing;
            match current {
                Current::Watermark(watermark) => {
                    if let Some(watermark) = self.operator.forward_watermark(watermark) {
                        self.note(Emission::Watermark(watermark))?;
                    }
                }
                Current::End => self.checker.check(&self.info.name, Checked::End)?,
                Current::Nothing | Current::Batch => {}
            }
        }
        Ok(progress != Progress::More)
    }

    /// Lets it emit without input, once.
    pub fn advance(&mut self) -> Progress {
        self.outside_of_input(|operator, out, context| operator.advance(out, context))
    }

    /// The clock comes to `now`: due timers are called.
    pub fn set_processing_time(&mut self, now: Timestamp) {
        self.processing_time = now;
        while self.operator.next_timer().is_some_and(|at| at <= now) {
            while self.outside_of_input(|operator, out, context| operator.timer(now, out, context))
                == Progress::More
            {}
        }
    }

    fn outside_of_input(
        &mut self,
        call: impl FnOnce(
            &mut O,
            &mut Collector<O::Out>,
            &mut OperatorContext<'_>,
        ) -> Result<Progress, OperatorError>,
    ) -> Progress {
        self.steps += 1;
        let mut context = OperatorContext {
            state: &mut self.state,
            info: &self.info,
            watermark: self.watermark,
            processing_time: self.processing_time,
        };
        let progress = call(&mut self.operator, &mut self.collector, &mut context);
        let progress = progress.and_then(|progress| self.take_emitted().map(|()| progress));
        progress.unwrap_or_else(|error| panic!("the operator failed: {error}"))
    }

    fn take_emitted(&mut self) -> Result<(), OperatorError> {
        let (mut elements, mut failed) = (Vec::new(), None);
        let sides = &mut self.sides;
        self.collector.take(|emitted| match emitted {
            Emitted::Main(batch) => match batch.downcast::<Records<O::Out>>() {
                Ok(mut records) => {
                    elements.extend(records.drain().map(|(record, time)| Emission::Record(record, time)));
                }
                Err(error) => failed = Some(error),
            },
            Emitted::Side(tag, batch) => sides.push((tag.to_owned(), batch)),
            Emitted::Watermark(watermark) => elements.push(Emission::Watermark(watermark)),
            Emitted::Idle => elements.push(Emission::Idle),
        });
        failed
            .map_or(Ok(()), |error| Err(error.into()))
            .and_then(|()| elements.into_iter().try_for_each(|element| self.note(element)))
    }

    fn note(&mut self, element: Emission<O::Out>) -> Result<(), OperatorError> {
        let checked = match &element {
            Emission::Record(..) => Checked::Batch,
            Emission::Watermark(watermark) => Checked::Watermark(*watermark),
            Emission::Idle => Checked::Idle,
        };
        self.checker.check(&self.info.name, checked)?;
        self.emissions.push(element);
        Ok(())
    }

    /// Everything emitted to the main output since the last call, in order.
    pub fn take_emissions(&mut self) -> Vec<Emission<O::Out>> {
        std::mem::take(&mut self.emissions)
    }

    fn take_some<R>(
        &mut self,
        pick: impl Fn(&Emission<O::Out>) -> bool,
        map: impl FnMut(Emission<O::Out>) -> R,
    ) -> Vec<R> {
        self.emissions.extract_if(.., |emission| pick(emission)).map(map).collect()
    }

    /// The records emitted since the last call, with their timestamps.
    pub fn take_output(&mut self) -> Vec<(O::Out, Timestamp)> {
        let records = self.take_some(
            |e| matches!(e, Emission::Record(..)),
            |emission| match emission {
                Emission::Record(record, time) => Some((record, time)),
                Emission::Watermark(_) | Emission::Idle => None,
            },
        );
        records.into_iter().flatten().collect()
    }

    /// The records emitted since the last call.
    pub fn take_records(&mut self) -> Vec<O::Out> {
        self.take_output().into_iter().map(|(record, _)| record).collect()
    }

    /// The watermarks emitted or passed on since the last call.
    pub fn take_watermarks(&mut self) -> Vec<Timestamp> {
        let watermarks = self.take_some(
            |e| matches!(e, Emission::Watermark(_)),
            |emission| match emission {
                Emission::Watermark(watermark) => Some(watermark),
                Emission::Record(..) | Emission::Idle => None,
            },
        );
        watermarks.into_iter().flatten().collect()
    }

    /// How often it became idle since the last call.
    pub fn take_idle(&mut self) -> usize {
        self.take_some(|e| matches!(e, Emission::Idle), |_| ()).len()
    }

    /// The records emitted to a side output since the last call, with their timestamps.
    pub fn take_side_output<S: Data>(&mut self, tag: &OutputTag<S>) -> Vec<(S, Timestamp)> {
        let batches = self.sides.extract_if(.., |(name, _)| name == tag.name());
        let records = batches.flat_map(|(_, batch)| {
            let mut records: Records<S> = batch.downcast().expect("the tag has the type of the side output");
            records.drain().collect::<Vec<_>>()
        });
        records.collect()
    }

    /// A snapshot of its state, as at a barrier.
    pub fn snapshot(&mut self) -> Vec<u8> {
        self.begin_snapshot();
        self.write_snapshot()
    }

    /// The barrier of a checkpoint has come; the snapshot is written by [`write_snapshot`](Self::write_snapshot), and may be
    /// after other calls. Returns the checkpoint's id.
    pub fn begin_snapshot(&mut self) -> CheckpointId {
        self.checkpoints += 1;
        let checkpoint = CheckpointId(self.checkpoints);
        self.call(|operator, context| {
            operator.prepare_snapshot(checkpoint, context)?;
            context.state.begin_snapshot(checkpoint)?;
            Ok(())
        });
        checkpoint
    }

    /// Writes the snapshot that was begun.
    pub fn write_snapshot(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.state.write_step(&mut bytes, 4096).expect("heap state can be written")
            == SnapshotProgress::More
        {}
        bytes
    }

    /// A checkpoint is complete and durable.
    pub fn complete_checkpoint(&mut self, checkpoint: CheckpointId) {
        self.call(|operator, context| operator.checkpoint_complete(checkpoint, context));
    }

    /// What must be committed once the job has ended.
    pub fn final_handles(&mut self) -> Vec<Vec<u8>> {
        self.call(|operator, context| operator.final_handles(context))
    }

    /// Commits handles.
    pub fn commit(&mut self, handles: &[Vec<u8>]) {
        self.call(|operator, context| operator.commit(handles, context));
    }

    fn call<R>(
        &mut self,
        call: impl FnOnce(&mut O, &mut OperatorContext<'_>) -> Result<R, OperatorError>,
    ) -> R {
        let mut context = OperatorContext {
            state: &mut self.state,
            info: &self.info,
            watermark: self.watermark,
            processing_time: self.processing_time,
        };
        let called = call(&mut self.operator, &mut context);
        called.unwrap_or_else(|error| panic!("the operator failed: {error}"))
    }
}

impl<O: Operator> Drop for Harness<O> {
    fn drop(&mut self) {
        self.operator.close();
    }
}
