//! Sources that make their records: a sequence of numbers, each mapped to a record.

use std::sync::Arc;

use flott_core::Data;
use flott_core::time::NO_TIMESTAMP;

use super::{Boundedness, NextSplit, ReadProgress, Source, SourceReader, SplitEnumerator};
use crate::collector::Collector;
use crate::error::OperatorError;
use crate::operator::OperatorInfo;

/// Emits `make(n)` for each `n` of a range, in order within a reader. The readers take turns, so that they
/// advance side by side.
pub struct SequenceSource<F> {
    from: u64,
    to: u64,
    make: Arc<F>,
}

impl<F> SequenceSource<F> {
    /// For `n` in `from..to`.
    pub fn new(from: u64, to: u64, make: F) -> Self {
        Self { from, to: to.max(from), make: Arc::new(make) }
    }
}

/// Every `step`-th number from `next` up to `to`, exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Data)]
pub struct SequenceSplit {
    next: u64,
    to: u64,
    step: u64,
}

/// Gives each reader its share.
pub struct SequenceEnumerator {
    from: u64,
    to: u64,
    readers: u64,
    given: u64,
}

impl<T: Data, F: Fn(u64) -> T + Send + Sync + 'static> Source for SequenceSource<F> {
    type Out = T;
    type Split = SequenceSplit;
    type Enumerator = SequenceEnumerator;
    type Reader = SequenceReader<F>;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, readers: u32, _info: &OperatorInfo) -> Result<SequenceEnumerator, OperatorError> {
        Ok(SequenceEnumerator { from: self.from, to: self.to, readers: u64::from(readers), given: 0 })
    }

    fn reader(&self, _info: &OperatorInfo) -> Result<SequenceReader<F>, OperatorError> {
        Ok(SequenceReader { make: Arc::clone(&self.make), split: None })
    }
}

impl SplitEnumerator for SequenceEnumerator {
    type Split = SequenceSplit;
    /// Shares given, and of how many.
    type Position = (u64, u64);

    fn restore(&mut self, (given, readers): (u64, u64)) -> Result<(), OperatorError> {
        self.given = given;
        self.readers = readers;
        Ok(())
    }

    fn next_split(&mut self) -> Result<NextSplit<SequenceSplit>, OperatorError> {
        if self.given == self.readers {
            return Ok(NextSplit::End);
        }
        let next = self.from + self.given;
        self.given += 1;
        Ok(NextSplit::Split(SequenceSplit { next, to: self.to, step: self.readers }))
    }

    fn position(&self) -> (u64, u64) {
        (self.given, self.readers)
    }
}

/// Makes the records of a share.
pub struct SequenceReader<F> {
    make: Arc<F>,
    split: Option<SequenceSplit>,
}

impl<T: Data, F: Fn(u64) -> T + Send + Sync + 'static> SourceReader for SequenceReader<F> {
    type Out = T;
    type Split = SequenceSplit;

    fn start(&mut self, split: SequenceSplit) -> Result<(), OperatorError> {
        self.split = Some(split);
        Ok(())
    }

    fn read(&mut self, out: &mut Collector<T>) -> Result<ReadProgress, OperatorError> {
        let Some(split) = &mut self.split else { return Ok(ReadProgress::SplitFinished) };
        while split.next < split.to {
            if out.is_full() {
                return Ok(ReadProgress::More);
            }
            out.emit((self.make)(split.next), NO_TIMESTAMP);
            split.next = split.next.saturating_add(split.step);
        }
        self.split = None;
        Ok(ReadProgress::SplitFinished)
    }

    fn position(&self) -> Option<SequenceSplit> {
        self.split.clone()
    }
}
