//! A sink that counts: two sums over all records, each subtask's added when its input ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flott::prelude::*;
use flott::runtime::operator::{OperatorInfo, Progress};

/// The two sums of a job, for the program that ran it.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<[AtomicU64; 2]>);

impl Counts {
    /// Both sums, complete once the job has finished.
    pub fn get(&self) -> (u64, u64) {
        (self.0[0].load(Ordering::Acquire), self.0[1].load(Ordering::Acquire))
    }
}

/// Adds up what `count` says of each record.
pub struct CountingSink<F> {
    counts: Counts,
    count: F,
}

impl<F> CountingSink<F> {
    /// A sink that adds up into `counts`.
    pub fn new(counts: &Counts, count: F) -> Self {
        Self { counts: counts.clone(), count }
    }
}

impl<T, F> Sink<T> for CountingSink<F>
where
    T: Data,
    F: Fn(&T) -> (u64, u64) + Clone + Send + Sync + 'static,
{
    type Writer = CountingWriter<F>;

    fn writer(&self, _info: &OperatorInfo) -> Result<Self::Writer, OperatorError> {
        Ok(CountingWriter { counts: self.counts.clone(), count: self.count.clone(), sums: (0, 0) })
    }
}

/// What one subtask has counted.
pub struct CountingWriter<F> {
    counts: Counts,
    count: F,
    sums: (u64, u64),
}

impl<T, F: Fn(&T) -> (u64, u64) + 'static> SinkWriter<T> for CountingWriter<F> {
    #[inline]
    fn write(&mut self, record: T, _time: Timestamp) -> Result<(), OperatorError> {
        let (first, second) = (self.count)(&record);
        self.sums = (self.sums.0.wrapping_add(first), self.sums.1.wrapping_add(second));
        Ok(())
    }

    fn flush(&mut self) -> Result<Progress, OperatorError> {
        let (first, second) = std::mem::take(&mut self.sums);
        self.counts.0[0].fetch_add(first, Ordering::AcqRel);
        self.counts.0[1].fetch_add(second, Ordering::AcqRel);
        Ok(Progress::Done)
    }
}
