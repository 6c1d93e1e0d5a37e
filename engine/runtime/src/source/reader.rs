//! The operator around a source's readers: splits come in as records, what is read goes out with timestamps and watermarks.
//!
//! A reader reads one split at a time, and takes the next one when it is through: until then the operator
//! [holds its input](Operator::holds_input), so the enumerator gives splits to readers that are free. Only after a restore with a
//! lower parallelism may there be several; then the reader takes turns, so that they come forward together.
//!
//! Invariant: the watermark is that of the split that is furthest behind; a split that was not begun holds it back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flott_core::Timestamp;
use flott_core::ids::CheckpointId;
use flott_core::time::{MAX_WATERMARK, NO_TIMESTAMP};
use flott_state::OperatorList;

use super::{ReadProgress, Source, SourceReader};
use crate::error::{Fault, OperatorError};
use crate::operator::{Collector, Cursor, Operator, OperatorContext, Progress};
use crate::watermark::{Stamper, WatermarkClock, WatermarkStrategy};

/// Runs the readers of a source.
pub struct SourceReaderOperator<S: Source> {
    source: Arc<S>,
    strategy: WatermarkStrategy<S::Out>,
    /// The split in hand is known to the reader; this is what stamps its records.
    active: Option<Stamper<S::Out>>,
    /// Splits that wait for their turn, with what stamps those that were begun.
    waiting: VecDeque<WaitingSplit<S>>,
    /// When the next waiting split has its turn. The turn of the one in hand begins when it has been fetched.
    turn_ends: Timestamp,
    /// The watermark beyond which nothing is read, if watermarks are aligned.
    limit: Option<Timestamp>,
    /// Nothing is read because of that.
    held_back: bool,
    opened: Option<Opened<S>>,
}

/// A split, and what stamps its records if it was begun.
type WaitingSplit<S> = (<S as Source>::Split, Option<Stamper<<S as Source>::Out>>);

struct Opened<S: Source> {
    reader: S::Reader,
    clock: WatermarkClock,
    turn: Timestamp,
    splits: Rc<RefCell<OperatorList<S::Split>>>,
}

impl<S: Source> SourceReaderOperator<S> {
    /// Reads the splits of `source`; records get timestamps and watermarks by `strategy`.
    pub fn new(source: Arc<S>, strategy: WatermarkStrategy<S::Out>) -> Self {
        let turn_ends = NO_TIMESTAMP;
        Self {
            source,
            strategy,
            active: None,
            waiting: VecDeque::new(),
            turn_ends,
            limit: None,
            held_back: false,
            opened: None,
        }
    }

    /// How far all splits in hand have come.
    fn furthest_behind(&self, now: Timestamp) -> Timestamp {
        let waiting = self.waiting.iter().map(|(_, stamper)| stamper.as_ref());
        let stampers = waiting.chain(self.active.iter().map(Some));
        stampers
            .map(|stamper| stamper.map_or(NO_TIMESTAMP, |s| s.watermark(now)))
            .min()
            .unwrap_or(NO_TIMESTAMP)
    }

    /// Reads from the split in hand, or begins the next one; [`Progress::Done`] when there is none.
    fn step(
        &mut self,
        out: &mut Collector<S::Out>,
        context: &OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        let now = context.processing_time;
        self.take_turns(now)?;
        let mut opened = self.opened.take().ok_or_else(not_opened)?;
        let progress = self.read(&mut opened, now, out);
        let holds_back_others = self.holds_input() && !opened.clock.is_idle();
        let watermark = if holds_back_others { self.furthest_behind(now) } else { MAX_WATERMARK };
        context.info.metrics.watermark.store(watermark, Ordering::Relaxed);
        self.opened = Some(opened);
        progress
    }

    fn read(
        &mut self,
        opened: &mut Opened<S>,
        now: Timestamp,
        out: &mut Collector<S::Out>,
    ) -> Result<Progress, OperatorError> {
        if self.active.is_none() {
            let Some((split, stamper)) = self.waiting.pop_front() else {
                opened.clock.tick(NO_TIMESTAMP, now, out);
                return Ok(Progress::Done);
            };
            opened.reader.start(split)?;
            self.active = Some(stamper.unwrap_or_else(|| Stamper::new(&self.strategy)));
            self.turn_ends = Timestamp::MAX;
        }
        let ahead = self.furthest_behind(now);
        self.held_back = self.limit.is_some_and(|limit| ahead > limit);
        if self.held_back {
            opened.clock.note_held_back(now);
            opened.clock.tick(ahead, now, out);
            return Ok(Progress::Waiting);
        }
        let read = opened.reader.read(out)?;
        if read == ReadProgress::Fetching {
            opened.clock.note_held_back(now);
        }
        let has_records = self.active.as_mut().is_some_and(|stamper| stamper.stamp(out));
        if has_records {
            opened.clock.note_records(now);
        }
        if self.turn_ends == Timestamp::MAX && (has_records || read != ReadProgress::Fetching) {
            self.turn_ends = now.saturating_add(opened.turn);
        }
        let watermark = self.furthest_behind(now);
        Ok(match read {
            ReadProgress::SplitFinished => {
                // The end of a split waits for no interval.
                opened.clock.emit(watermark, now, out);
                self.active = None;
                if self.waiting.is_empty() { Progress::Done } else { Progress::More }
            }
            ReadProgress::More => {
                opened.clock.tick(watermark, now, out);
                Progress::More
            }
            ReadProgress::Waiting | ReadProgress::Fetching => {
                opened.clock.tick(watermark, now, out);
                Progress::Waiting
            }
        })
    }

    /// Puts the split in hand behind the waiting ones when its turn is over.
    fn take_turns(&mut self, now: Timestamp) -> Result<(), OperatorError> {
        if self.waiting.is_empty() || now < self.turn_ends {
            return Ok(());
        }
        let opened = self.opened.as_ref().ok_or_else(not_opened)?;
        if let Some((stamper, split)) = self.active.take().zip(opened.reader.position()) {
            self.waiting.push_back((split, Some(stamper)));
        }
        Ok(())
    }
}

fn not_opened() -> OperatorError {
    OperatorError::new(Fault::Flott, "a source was read before it was opened; this is a defect of Flott")
}

impl<S: Source> Operator for SourceReaderOperator<S> {
    type In = S::Split;
    type Out = S::Out;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let splits: Rc<RefCell<OperatorList<S::Split>>> = context.state.list("splits")?;
        self.waiting = splits.borrow_mut().take().into_iter().map(|split| (split, None)).collect();
        let interval = context.info.auto_watermark_interval;
        self.opened = Some(Opened {
            reader: self.source.reader(context.info)?,
            clock: WatermarkClock::new(&self.strategy, interval),
            turn: Timestamp::try_from(interval.as_millis()).unwrap_or(Timestamp::MAX),
            splits,
        });
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<S::Split>,
        _out: &mut Collector<S::Out>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while let Some((split, _)) = input.next() {
            self.waiting.push_back((split, None));
        }
        Ok(())
    }

    fn forward_watermark(&self, _watermark: Timestamp) -> Option<Timestamp> {
        None
    }

    fn advance(
        &mut self,
        out: &mut Collector<S::Out>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        self.step(out, context)
    }

    fn holds_input(&self) -> bool {
        self.active.is_some() || !self.waiting.is_empty()
    }

    fn align_watermarks(&mut self, lowest: Timestamp) {
        let drift = self.strategy.alignment().map(|alignment| alignment.max_drift);
        self.limit = drift.map(|drift| {
            lowest.saturating_add(Timestamp::try_from(drift.as_millis()).unwrap_or(Timestamp::MAX))
        });
    }

    fn next_timer(&self) -> Option<Timestamp> {
        let opened = self.opened.as_ref()?;
        let reads = self.active.is_some() && !self.held_back;
        let reader = if reads { opened.reader.next_timer() } else { None };
        let takes_turns = reads && !self.waiting.is_empty() && self.turn_ends < Timestamp::MAX;
        let turn = takes_turns.then_some(self.turn_ends);
        [reader, turn, opened.clock.next_timer()].into_iter().flatten().min()
    }

    fn timer(
        &mut self,
        _now: Timestamp,
        out: &mut Collector<S::Out>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        // The task goes on with `advance`.
        self.step(out, context)?;
        Ok(Progress::Done)
    }

    fn end(
        &mut self,
        out: &mut Collector<S::Out>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        // There will be no more splits; those in hand are read to their ends.
        if self.holds_input() { self.step(out, context) } else { Ok(Progress::Done) }
    }

    fn prepare_snapshot(
        &mut self,
        _checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let opened = self.opened.as_ref().ok_or_else(not_opened)?;
        let active = self.active.as_ref().and_then(|_| opened.reader.position());
        let waiting = self.waiting.iter().map(|(split, _)| split.clone());
        opened.splits.borrow_mut().set(active.into_iter().chain(waiting).collect());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::harness::{Emission, Harness, HarnessConfig};
    use crate::source::{GeneratorSource, IndexRange};

    type Numbers = GeneratorSource<i64, fn(u64) -> i64>;

    fn operator() -> SourceReaderOperator<Numbers> {
        let strategy =
            WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|n: &i64, _| *n);
        SourceReaderOperator::new(Arc::new(Numbers::new(100_000, |index| index as i64)), strategy)
    }

    fn split(next: u64, end: u64) -> IndexRange {
        IndexRange { next, end, stride: 1 }
    }

    #[test]
    fn a_split_is_held_until_it_is_read_and_ends_with_its_watermark() {
        let mut harness = Harness::new(operator());
        assert_eq!(harness.advance(), Progress::Done);
        harness.push(split(0, 1500));
        assert!(harness.operator().holds_input());
        assert!(harness.take_output().is_empty());
        assert_eq!(harness.advance(), Progress::More);
        assert_eq!(harness.take_output()[1023], (1023, 1023));
        assert_eq!(harness.take_watermarks(), [1022]);
        assert_eq!(harness.advance(), Progress::Done);
        assert!(!harness.operator().holds_input());
        assert_eq!(harness.take_output().len(), 476);
        assert_eq!(harness.take_watermarks(), [1498]);
        assert_eq!(harness.advance(), Progress::Done);
    }

    #[test]
    fn the_watermark_comes_by_the_clock_when_nothing_is_read() {
        let mut harness = Harness::new(operator());
        harness.push(split(0, 5000));
        harness.advance();
        harness.advance();
        assert_eq!(harness.take_watermarks(), [1022]);
        harness.set_processing_time(200);
        assert_eq!(harness.take_watermarks().len(), 1);
    }

    #[test]
    fn a_restored_reader_goes_on_behind_the_last_record() {
        let mut harness = Harness::new(operator());
        harness.push(split(10, 3000));
        harness.advance();
        harness.advance();
        let before = harness.take_records();
        let mut restored = Harness::restore(operator(), harness.snapshot());
        assert!(restored.operator().holds_input());
        restored.end();
        let records: Vec<_> = before.into_iter().chain(restored.take_records()).collect();
        assert!(records.into_iter().eq(10..3000));
    }

    #[test]
    fn splits_of_other_readers_are_read_in_turns_and_the_watermark_waits_for_the_last() {
        let config =
            HarnessConfig { auto_watermark_interval: Duration::from_millis(10), ..HarnessConfig::default() };
        let snapshots: Vec<_> = [split(0, 10_000), split(50_000, 60_000)]
            .map(|split| {
                let mut harness = Harness::new(operator());
                harness.push(split);
                harness.snapshot()
            })
            .to_vec();
        let mut harness = Harness::restore_with_config(operator(), config, snapshots);
        let mut time = 0;
        harness.begin_end();
        while !harness.step() {
            time += 4;
            harness.set_processing_time(time);
        }
        let emissions = harness.take_emissions();
        let mut watermark = NO_TIMESTAMP;
        let (mut numbers, mut switches, mut low) = (Vec::new(), 0, true);
        for emission in emissions {
            match emission {
                Emission::Record(n, time) => {
                    assert!(time > watermark, "{n} is late: the watermark is {watermark}");
                    switches += usize::from(low != (n < 50_000));
                    low = n < 50_000;
                    numbers.push(n);
                }
                Emission::Watermark(at) => watermark = at,
                Emission::Idle => {}
            }
        }
        numbers.sort();
        assert!(numbers.into_iter().eq((0..10_000).chain(50_000..60_000)));
        assert!(switches > 2, "{switches} turns");
        assert!(watermark > 9_000);
    }

    #[test]
    fn an_aligned_reader_waits_for_the_group() {
        let strategy = WatermarkStrategy::for_monotonous_timestamps()
            .with_timestamp_assigner(|n: &i64, _| *n)
            .with_idleness(Duration::from_secs(1))
            .with_watermark_alignment("all", Duration::from_millis(500));
        // At this pace it wants to be called again and again.
        let source = Numbers::new(100_000, |index| index as i64).with_records_per_second(1e9);
        let source = Arc::new(source);
        let mut harness = Harness::new(SourceReaderOperator::new(source, strategy));
        let watermark = |harness: &Harness<SourceReaderOperator<Numbers>>| {
            harness.info().metrics.watermark.load(Ordering::Relaxed)
        };
        harness.advance();
        assert_eq!(watermark(&harness), MAX_WATERMARK, "without a split it holds nobody back");
        harness.push(split(0, 100_000));
        harness.operator_mut().align_watermarks(0);
        let until_held_back = |harness: &mut Harness<SourceReaderOperator<Numbers>>| {
            let deadline = std::time::Instant::now() + Duration::from_secs(30);
            harness.advance();
            while !harness.operator().held_back {
                assert!(std::time::Instant::now() < deadline);
                harness.advance();
            }
        };
        until_held_back(&mut harness);
        // One batch beyond the limit, at which it notices.
        assert_eq!((harness.take_output().len(), watermark(&harness)), (1024, 1022));
        harness.operator_mut().align_watermarks(3_000);
        until_held_back(&mut harness);
        assert_eq!(harness.take_output().len(), 3 * 1024);
        // Held back for long, it is not idle, and nothing wakes it before that could begin.
        harness.set_processing_time(60_000);
        assert_eq!((harness.take_idle(), harness.operator().next_timer()), (0, Some(61_000)));
        harness.operator_mut().align_watermarks(MAX_WATERMARK);
        harness.end();
        assert_eq!(harness.take_output().len(), 100_000 - 4 * 1024);
        assert_eq!(watermark(&harness), MAX_WATERMARK);
    }

    #[test]
    fn without_splits_a_reader_becomes_idle_by_the_timeout() {
        let strategy = WatermarkStrategy::no_watermarks().with_idleness(Duration::from_millis(100));
        let source = Arc::new(Numbers::new(10, |index| index as i64));
        let mut harness = Harness::new(SourceReaderOperator::new(source, strategy));
        harness.advance();
        harness.set_processing_time(99);
        assert_eq!(harness.take_idle(), 0);
        harness.set_processing_time(100);
        assert_eq!(harness.take_idle(), 1);
        harness.set_processing_time(1000);
        assert_eq!(harness.take_idle(), 0);
    }
}
