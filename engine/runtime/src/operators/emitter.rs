//! What user functions emit through: a collector and the timestamp that what they emit gets.

use flott_core::{Data, Timestamp};

use crate::operator::{Collector, OutputTag};

/// Takes what a user function makes of one record; see [`FlatMapInto`](super::FlatMapInto).
pub struct Emitter<'a, T> {
    out: &'a mut Collector<T>,
    time: Timestamp,
}

impl<'a, T: Data> Emitter<'a, T> {
    /// Emits into `out`, with the timestamp `time`.
    #[inline]
    pub fn new(out: &'a mut Collector<T>, time: Timestamp) -> Self {
        Self { out, time }
    }

    /// The timestamp of the record in hand, or [`NO_TIMESTAMP`](flott_core::time::NO_TIMESTAMP).
    #[inline]
    pub fn timestamp(&self) -> Timestamp {
        self.time
    }

    /// Emits a record with the timestamp of the record in hand.
    #[inline]
    pub fn emit(&mut self, record: T) {
        self.out.emit(record, self.time);
    }

    /// Emits a record with a timestamp of its own.
    #[inline]
    pub fn emit_at(&mut self, record: T, time: Timestamp) {
        self.out.emit(record, time);
    }

    /// Emits a record to a side output, with the timestamp of the record in hand.
    pub fn emit_to<S: Data>(&mut self, tag: &OutputTag<S>, record: S) {
        self.out.emit_to(tag, record, self.time);
    }
}
