//! Sources that compute their records: [`GeneratorSource`] from the index of each, [`SequenceSource`] a row of numbers.
//!
//! Each reader gets one split: every n-th index, so that event times that rise with the index come forward together, or a
//! range of adjacent ones.

use std::marker::PhantomData;
use std::sync::Arc;

use flott_core::{Data, Timestamp};

use super::{Boundedness, NextSplit, ReadProgress, ReaderInfo, Source, SourceReader, SplitEnumerator};
use crate::error::OperatorError;
use crate::operator::{Collector, OperatorInfo};
use crate::slot::wall_clock_millis;

/// The indices `next`, `next + stride`, … below `end`: a split, and the position in it.
#[derive(Debug, Clone, PartialEq, Eq, Data)]
pub struct IndexRange {
    /// The next index.
    pub next: u64,
    /// The first index that is not in it.
    pub end: u64,
    /// What an index is more than the one before; at least 1.
    pub stride: u64,
}

impl IndexRange {
    /// How many indices are left.
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.next).div_ceil(self.stride.max(1))
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.next >= self.end
    }
}

/// How indices are dealt out to readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexLayout {
    /// Reader t of n gets t, t + n, t + 2n, …
    Strides,
    /// Each reader gets adjacent ones.
    Ranges,
}

/// Gives out the splits of `count` indices, one a reader.
pub struct IndexEnumerator {
    count: u64,
    layout: IndexLayout,
    readers: u64,
    given: u64,
}

impl IndexEnumerator {
    fn new(count: u64, layout: IndexLayout, readers: u32) -> Self {
        Self { count, layout, readers: u64::from(readers.max(1)), given: 0 }
    }

    fn split(&self, index: u64) -> IndexRange {
        let bound =
            |index: u64| (u128::from(self.count) * u128::from(index) / u128::from(self.readers)) as u64;
        match self.layout {
            IndexLayout::Strides => IndexRange { next: index, end: self.count, stride: self.readers },
            IndexLayout::Ranges => IndexRange { next: bound(index), end: bound(index + 1), stride: 1 },
        }
    }
}

impl SplitEnumerator for IndexEnumerator {
    type Split = IndexRange;
    /// How many splits were given, of how many: the number of readers may be another after a restore.
    type Position = (u64, u64);

    fn restore(&mut self, (given, of): (u64, u64)) -> Result<(), OperatorError> {
        (self.given, self.readers) = (given, of.max(1));
        Ok(())
    }

    fn next_split(&mut self, _reader: &ReaderInfo<'_>) -> Result<NextSplit<IndexRange>, OperatorError> {
        while self.given < self.readers {
            let split = self.split(self.given);
            self.given += 1;
            if !split.is_empty() {
                return Ok(NextSplit::Split(split));
            }
        }
        Ok(NextSplit::End)
    }

    fn position(&self) -> (u64, u64) {
        (self.given, self.readers)
    }
}

/// Computes a record from its index.
pub trait Generate: Send + Sync + 'static {
    /// The records.
    type Out: Data;

    /// The record with this index.
    fn record(&self, index: u64) -> Self::Out;
}

/// Computes records by a function of the user.
pub struct FromIndex<T, F> {
    function: F,
    records: PhantomData<fn() -> T>,
}

impl<T: Data, F: Fn(u64) -> T + Send + Sync + 'static> Generate for FromIndex<T, F> {
    type Out = T;

    #[inline]
    fn record(&self, index: u64) -> T {
        (self.function)(index)
    }
}

/// Adjacent numbers.
pub struct Numbers {
    from: i64,
}

impl Generate for Numbers {
    type Out = i64;

    #[inline]
    fn record(&self, index: u64) -> i64 {
        self.from.wrapping_add_unsigned(index)
    }
}

/// A bounded source whose records are computed.
pub struct IndexSource<G> {
    count: u64,
    layout: IndexLayout,
    records_per_second: Option<f64>,
    generate: Arc<G>,
}

/// Records that a function computes from their index.
pub type GeneratorSource<T, F> = IndexSource<FromIndex<T, F>>;

/// A row of numbers.
pub type SequenceSource = IndexSource<Numbers>;

impl<T: Data, F: Fn(u64) -> T + Send + Sync + 'static> GeneratorSource<T, F> {
    /// The records that `function` computes from 0 up to `count`, exclusive, dealt out in strides.
    pub fn new(count: u64, function: F) -> Self {
        let generate = Arc::new(FromIndex { function, records: PhantomData });
        Self { count, layout: IndexLayout::Strides, records_per_second: None, generate }
    }
}

impl SequenceSource {
    /// The numbers `from`, … `to`, at most 2⁶⁴ − 1 of them, dealt out in ranges.
    pub fn new(from: i64, to: i64) -> Self {
        let count = if from > to { 0 } else { to.abs_diff(from).saturating_add(1) };
        Self {
            count,
            layout: IndexLayout::Ranges,
            records_per_second: None,
            generate: Arc::new(Numbers { from }),
        }
    }
}

impl<G> IndexSource<G> {
    /// Deals indices out to readers by `layout`.
    #[must_use]
    pub fn with_layout(self, layout: IndexLayout) -> Self {
        Self { layout, ..self }
    }

    /// Gives at most so many records a second, all readers together.
    #[must_use]
    pub fn with_records_per_second(self, records: f64) -> Self {
        Self { records_per_second: Some(records), ..self }
    }
}

impl<G: Generate> Source for IndexSource<G> {
    type Out = G::Out;
    type Split = IndexRange;
    type Enumerator = IndexEnumerator;
    type Reader = IndexReader<G>;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, readers: u32, _info: &OperatorInfo) -> Result<IndexEnumerator, OperatorError> {
        Ok(IndexEnumerator::new(self.count, self.layout, readers))
    }

    fn reader(&self, info: &OperatorInfo) -> Result<IndexReader<G>, OperatorError> {
        let pace = self.records_per_second.map(|all| Pace::new(all / f64::from(info.parallelism.max(1))));
        Ok(IndexReader { split: None, generate: Arc::clone(&self.generate), pace, next_timer: None })
    }
}

/// How many records may have been given by a time.
struct Pace {
    per_milli: f64,
    started: Option<Timestamp>,
    given: u64,
}

impl Pace {
    fn new(per_second: f64) -> Self {
        Self { per_milli: per_second / 1000.0, started: None, given: 0 }
    }

    /// How many more may be given at `now`, in milliseconds.
    fn allowance(&mut self, now: Timestamp) -> u64 {
        let started = *self.started.get_or_insert(now);
        let due = now.saturating_sub(started) as f64 * self.per_milli;
        (due as u64).saturating_sub(self.given)
    }
}

/// Computes the records of a split.
pub struct IndexReader<G> {
    split: Option<IndexRange>,
    generate: Arc<G>,
    pace: Option<Pace>,
    next_timer: Option<Timestamp>,
}

impl<G: Generate> IndexReader<G> {
    /// Emits records up to the index `end`; whether all were.
    fn emit_up_to(&mut self, end: u64, out: &mut Collector<G::Out>) -> bool {
        let Some(split) = &mut self.split else { return true };
        while split.next < end {
            if out.is_full() {
                return false;
            }
            out.emit_untimed(self.generate.record(split.next));
            split.next = split.next.saturating_add(split.stride);
        }
        true
    }
}

impl<G: Generate> SourceReader for IndexReader<G> {
    type Out = G::Out;
    type Split = IndexRange;

    fn start(&mut self, split: IndexRange) -> Result<(), OperatorError> {
        self.split = Some(IndexRange { stride: split.stride.max(1), ..split });
        Ok(())
    }

    fn read(&mut self, out: &mut Collector<G::Out>) -> Result<ReadProgress, OperatorError> {
        let Some(split) = self.split.clone() else { return Ok(ReadProgress::SplitFinished) };
        let Some(pace) = &mut self.pace else {
            if !self.emit_up_to(split.end, out) {
                return Ok(ReadProgress::More);
            }
            self.split = None;
            return Ok(ReadProgress::SplitFinished);
        };
        let now = wall_clock_millis();
        let allowed = split.next.saturating_add(pace.allowance(now).saturating_mul(split.stride));
        let through = self.emit_up_to(allowed.min(split.end), out);
        let position = self.split.as_ref().map_or(split.end, |split| split.next);
        let given = position.saturating_sub(split.next) / split.stride;
        if let Some(pace) = &mut self.pace {
            pace.given += given;
        }
        if position >= split.end {
            self.split = None;
            return Ok(ReadProgress::SplitFinished);
        }
        self.next_timer = through.then_some(now.saturating_add(1));
        Ok(if through { ReadProgress::Waiting } else { ReadProgress::More })
    }

    fn position(&self) -> Option<IndexRange> {
        self.split.clone()
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.next_timer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::harness::Harness;
    use crate::source::SourceReaderOperator;
    use crate::watermark::WatermarkStrategy;

    fn splits(count: u64, layout: IndexLayout, readers: u32) -> Vec<IndexRange> {
        let mut enumerator = IndexEnumerator::new(count, layout, readers);
        let reader = ReaderInfo { index: 0, host: None };
        let next = || match enumerator.next_split(&reader) {
            Ok(NextSplit::Split(split)) => Some(split),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    fn indices(split: &IndexRange) -> Vec<u64> {
        (split.next..split.end).step_by(split.stride as usize).collect()
    }

    proptest! {
        #[test]
        fn every_index_is_in_one_split(
            count in 0..500_u64, readers in 1..9_u32,
            layout in prop_oneof![Just(IndexLayout::Strides), Just(IndexLayout::Ranges)],
        ) {
            let splits = splits(count, layout, readers);
            prop_assert!(splits.iter().all(|split| split.len() == indices(split).len() as u64 && !split.is_empty()));
            let mut all: Vec<_> = splits.iter().flat_map(indices).collect();
            all.sort();
            prop_assert!(all.into_iter().eq(0..count));
            let (longest, shortest) = (splits.iter().map(IndexRange::len).max(), splits.iter().map(IndexRange::len).min());
            prop_assert!(count < u64::from(readers) || longest.zip(shortest).is_some_and(|(l, s)| l - s <= 1));
        }
    }

    #[test]
    fn a_sequence_is_the_numbers_between_its_ends() {
        let read = |from, to| {
            let source = Arc::new(SequenceSource::new(from, to));
            let (count, layout) = (source.count, source.layout);
            let mut harness =
                Harness::new(SourceReaderOperator::new(source, WatermarkStrategy::no_watermarks()));
            splits(count, layout, 3).into_iter().for_each(|split| harness.push(split));
            harness.end();
            harness.take_records()
        };
        assert_eq!(read(-2, 3), [-2, -1, 0, 1, 2, 3]);
        assert_eq!(read(3, 3), [3]);
        assert!(read(4, 3).is_empty());
        assert_eq!(SequenceSource::new(i64::MIN, i64::MAX).count, u64::MAX);
    }

    #[test]
    fn the_pace_is_kept_from_the_start_on() {
        let mut pace = Pace::new(2500.0);
        assert_eq!(pace.allowance(1000), 0);
        assert_eq!(pace.allowance(1001), 2);
        pace.given = 2;
        assert_eq!(pace.allowance(1004), 8);
        assert_eq!(pace.allowance(2000), 2498);
    }
}
