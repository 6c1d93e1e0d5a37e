//! Event time: how records get their timestamps, and how far time is said to have come.
//!
//! A [`WatermarkStrategy`] is a value of the plan; [`Stamper`] is one running copy of it (one a source split, one a
//! subtask elsewhere), and [`WatermarkClock`] decides when what the stampers say is emitted: at most once an interval, and
//! never lower than before.
//!
//! ```
//! use std::time::Duration;
//! use flott_runtime::watermark::WatermarkStrategy;
//!
//! let strategy = WatermarkStrategy::<(u64, i64)>::for_bounded_out_of_orderness(Duration::from_secs(5))
//!     .with_timestamp_assigner(|record: &(u64, i64), _| record.1)
//!     .with_idleness(Duration::from_secs(30));
//! assert!(strategy.makes_watermarks());
//! ```

use std::sync::Arc;
use std::time::Duration;

use flott_core::time::NO_TIMESTAMP;
use flott_core::{Data, Records, Timestamp};

use crate::operator::Collector;

/// Says how far event time has come, from the records it is shown.
pub trait WatermarkGenerator<T>: 'static {
    /// Looks at records that carry their timestamps.
    fn on_batch(&mut self, records: &Records<T>);

    /// No record with this timestamp or a lower one is expected any more; [`NO_TIMESTAMP`] while that is unknown.
    fn watermark(&self) -> Timestamp;
}

type MakeGenerator<T> = Arc<dyn Fn() -> Box<dyn WatermarkGenerator<T>> + Send + Sync>;
type AssignTimestamps<T> = Arc<dyn Fn(&mut Records<T>) + Send + Sync>;

/// How a stream gets timestamps and watermarks.
pub struct WatermarkStrategy<T> {
    generator: Option<MakeGenerator<T>>,
    assigner: Option<AssignTimestamps<T>>,
    idleness: Option<Duration>,
    future_limit: Option<Duration>,
    alignment: Option<WatermarkAlignment>,
}

/// How far sources of a group may run ahead of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkAlignment {
    /// The group: sources of one job that say the same.
    pub group: String,
    /// What a source's watermark may be ahead of the lowest in the group.
    pub max_drift: Duration,
}

impl<T> Clone for WatermarkStrategy<T> {
    fn clone(&self) -> Self {
        Self {
            generator: self.generator.clone(),
            assigner: self.assigner.clone(),
            idleness: self.idleness,
            future_limit: self.future_limit,
            alignment: self.alignment.clone(),
        }
    }
}

impl<T> std::fmt::Debug for WatermarkStrategy<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatermarkStrategy")
            .field("makes_watermarks", &self.generator.is_some())
            .field("assigns_timestamps", &self.assigner.is_some())
            .field("idleness", &self.idleness)
            .field("future_limit", &self.future_limit)
            .field("alignment", &self.alignment)
            .finish()
    }
}

impl<T: Data> WatermarkStrategy<T> {
    fn of(generator: Option<MakeGenerator<T>>) -> Self {
        Self { generator, assigner: None, idleness: None, future_limit: None, alignment: None }
    }

    /// No watermarks: event time comes to nothing but the end.
    pub fn no_watermarks() -> Self {
        Self::of(None)
    }

    /// Timestamps never go down within a split (or a subtask, after the source).
    pub fn for_monotonous_timestamps() -> Self {
        Self::for_bounded_out_of_orderness(Duration::ZERO)
    }

    /// A record comes at most `bound` of event time behind the newest before it.
    pub fn for_bounded_out_of_orderness(bound: Duration) -> Self {
        let bound = millis(bound);
        Self::for_generator(move || BoundedOutOfOrderness { newest: NO_TIMESTAMP, bound })
    }

    /// A generator of the user's own; one is made for each split (or subtask, after the source).
    pub fn for_generator<G: WatermarkGenerator<T>>(make: impl Fn() -> G + Send + Sync + 'static) -> Self {
        Self::of(Some(Arc::new(move || Box::new(make()))))
    }

    /// Takes timestamps from the records: `assign` gets a record and the timestamp it has, or [`NO_TIMESTAMP`].
    #[must_use]
    pub fn with_timestamp_assigner(
        self,
        assign: impl Fn(&T, Timestamp) -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let assigner: AssignTimestamps<T> = Arc::new(move |records| records.stamp(&assign));
        Self { assigner: Some(assigner), ..self }
    }

    /// After `timeout` without records, others need not wait for this stream's watermark.
    #[must_use]
    pub fn with_idleness(self, timeout: Duration) -> Self {
        Self { idleness: Some(timeout), ..self }
    }

    /// Watermarks run at most `limit` ahead of the wall clock, whatever a broken clock wrote into a record.
    #[must_use]
    pub fn with_future_limit(self, limit: Duration) -> Self {
        Self { future_limit: Some(limit), ..self }
    }

    /// Readers of a source stop while their watermark is more than `max_drift` ahead of the lowest in `group`: those of all sources of the
    /// job with the same group. So what joins or merges them need not keep what the fastest has read. Without effect behind a source.
    #[must_use]
    pub fn with_watermark_alignment(self, group: &str, max_drift: Duration) -> Self {
        Self { alignment: Some(WatermarkAlignment { group: group.to_owned(), max_drift }), ..self }
    }

    /// With what its watermarks are aligned, if with anything.
    pub fn alignment(&self) -> Option<&WatermarkAlignment> {
        self.alignment.as_ref()
    }

    /// Whether watermarks are made at all.
    pub fn makes_watermarks(&self) -> bool {
        self.generator.is_some()
    }
}

fn millis(duration: Duration) -> Timestamp {
    Timestamp::try_from(duration.as_millis()).unwrap_or(Timestamp::MAX)
}

struct BoundedOutOfOrderness {
    newest: Timestamp,
    bound: Timestamp,
}

impl<T: Data> WatermarkGenerator<T> for BoundedOutOfOrderness {
    fn on_batch(&mut self, records: &Records<T>) {
        let newest = (0..records.values().len()).map(|index| records.time(index)).max();
        self.newest = self.newest.max(newest.unwrap_or(NO_TIMESTAMP));
    }

    fn watermark(&self) -> Timestamp {
        match self.newest {
            NO_TIMESTAMP => NO_TIMESTAMP,
            // A record of the same millisecond as the newest may still come.
            newest => newest.saturating_sub(self.bound).saturating_sub(1),
        }
    }
}

/// A strategy at work on one split or subtask.
pub struct Stamper<T> {
    assigner: Option<AssignTimestamps<T>>,
    generator: Option<Box<dyn WatermarkGenerator<T>>>,
    future_limit: Option<Timestamp>,
}

impl<T: Data> Stamper<T> {
    /// Begins to work by `strategy`.
    pub fn new(strategy: &WatermarkStrategy<T>) -> Self {
        Self {
            assigner: strategy.assigner.clone(),
            generator: strategy.generator.as_ref().map(|make| make()),
            future_limit: strategy.future_limit.map(millis),
        }
    }

    /// Gives the records in `out` their timestamps and takes note of them; returns whether there were any.
    ///
    /// To be called once for each record: after a step of an operator whose collector began empty.
    pub fn stamp(&mut self, out: &mut Collector<T>) -> bool {
        let records = out.records_mut();
        if records.values().is_empty() {
            return false;
        }
        if let Some(assign) = &self.assigner {
            assign(records);
        }
        if let Some(generator) = &mut self.generator {
            generator.on_batch(records);
        }
        true
    }

    /// How far event time has come when the wall clock shows `now`.
    pub fn watermark(&self, now: Timestamp) -> Timestamp {
        let watermark = self.generator.as_ref().map_or(NO_TIMESTAMP, |generator| generator.watermark());
        match self.future_limit {
            Some(limit) => watermark.min(now.saturating_add(limit)),
            None => watermark,
        }
    }
}

/// Decides when watermarks and idleness are emitted.
///
/// Invariant: what it emits never goes down.
#[derive(Debug, Clone)]
pub struct WatermarkClock {
    interval: Timestamp,
    idleness: Option<Timestamp>,
    emitted: Timestamp,
    /// When the next watermark may be emitted.
    due: Timestamp,
    /// Whether a watermark waits for `due`.
    waiting: bool,
    /// When the last records came, or the clock was started.
    active: Option<Timestamp>,
    idle: bool,
}

impl WatermarkClock {
    /// A clock that emits at most once in `interval`.
    pub fn new<T>(strategy: &WatermarkStrategy<T>, interval: Duration) -> Self {
        Self {
            interval: millis(interval),
            idleness: strategy.idleness.map(millis),
            emitted: NO_TIMESTAMP,
            due: NO_TIMESTAMP,
            waiting: false,
            active: None,
            idle: false,
        }
    }

    /// Whether it has emitted idleness, and no records came since.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// No records came, but not because there are none: idleness does not begin.
    pub fn note_held_back(&mut self, now: Timestamp) {
        self.active = Some(now);
    }

    /// Records came.
    pub fn note_records(&mut self, now: Timestamp) {
        self.active = Some(now);
        self.idle = false;
    }

    /// Emits `watermark` if it is higher than the one before and the interval is over, and idleness if it is time for that.
    pub fn tick<T: Data>(&mut self, watermark: Timestamp, now: Timestamp, out: &mut Collector<T>) {
        self.waiting = watermark > self.emitted;
        if self.waiting && now >= self.due {
            self.emit(watermark, now, out);
        }
        let active = *self.active.get_or_insert(now);
        let timeout = self.idleness.filter(|timeout| !self.idle && now >= active.saturating_add(*timeout));
        if timeout.is_some() {
            self.idle = true;
            out.emit_idle();
        }
    }

    /// Emits `watermark` at once if it is higher than the one before.
    pub fn emit<T: Data>(&mut self, watermark: Timestamp, now: Timestamp, out: &mut Collector<T>) {
        if watermark > self.emitted {
            self.emitted = watermark;
            self.due = now.saturating_add(self.interval);
            out.emit_watermark(watermark);
        }
        self.waiting = false;
    }

    /// When [`tick`](Self::tick) should be called next, if nothing else happens.
    pub fn next_timer(&self) -> Option<Timestamp> {
        let watermark = self.waiting.then_some(self.due);
        let idle = match (self.idleness, self.active) {
            (Some(timeout), Some(active)) if !self.idle => Some(active.saturating_add(timeout)),
            _ => None,
        };
        [watermark, idle].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use flott_core::time::NO_TIMESTAMP;

    use super::*;
    use crate::collector::Emitted;

    fn emitted(out: &mut Collector<i64>) -> (Vec<(i64, Timestamp)>, Vec<Timestamp>, usize) {
        let (mut records, mut watermarks, mut idle) = (Vec::new(), Vec::new(), 0);
        out.take(|emitted| match emitted {
            Emitted::Main(batch) => records.extend(batch.downcast::<Records<i64>>().unwrap().drain()),
            Emitted::Side(..) => {}
            Emitted::Watermark(watermark) => watermarks.push(watermark),
            Emitted::Idle => idle += 1,
        });
        (records, watermarks, idle)
    }

    #[test]
    fn timestamps_are_taken_from_the_records_and_the_watermark_stays_behind_the_newest() {
        let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_millis(5))
            .with_timestamp_assigner(|record: &i64, _| *record * 10);
        let mut stamper = Stamper::new(&strategy);
        let mut out = Collector::new();
        assert!(!stamper.stamp(&mut out));
        assert_eq!(stamper.watermark(0), NO_TIMESTAMP);
        for record in [3, 9, 1] {
            out.emit_untimed(record);
        }
        assert!(stamper.stamp(&mut out));
        assert_eq!(emitted(&mut out).0, [(3, 30), (9, 90), (1, 10)]);
        assert_eq!(stamper.watermark(0), 84);
    }

    #[test]
    fn a_record_from_the_future_does_not_drag_the_watermark_along() {
        let strategy = WatermarkStrategy::<i64>::for_monotonous_timestamps()
            .with_future_limit(Duration::from_millis(100));
        let mut stamper = Stamper::new(&strategy);
        let mut out = Collector::new();
        out.emit(1, 1_000_000);
        stamper.stamp(&mut out);
        assert_eq!(stamper.watermark(500), 600);
        assert_eq!(stamper.watermark(2_000_000), 999_999);
    }

    #[test]
    fn watermarks_come_once_an_interval_and_never_go_down() {
        let strategy = WatermarkStrategy::<i64>::for_monotonous_timestamps();
        let mut clock = WatermarkClock::new(&strategy, Duration::from_millis(200));
        let mut out = Collector::<i64>::new();
        clock.tick(10, 1_000, &mut out);
        assert_eq!(emitted(&mut out).1, [10]);
        clock.tick(20, 1_100, &mut out);
        assert!(emitted(&mut out).1.is_empty());
        assert_eq!(clock.next_timer(), Some(1_200));
        clock.tick(20, 1_200, &mut out);
        assert_eq!(emitted(&mut out).1, [20]);
        clock.tick(15, 1_900, &mut out);
        assert!(emitted(&mut out).1.is_empty());
        assert_eq!(clock.next_timer(), None);
    }

    #[test]
    fn a_silent_stream_becomes_idle_once() {
        let strategy = WatermarkStrategy::<i64>::no_watermarks().with_idleness(Duration::from_millis(50));
        let mut clock = WatermarkClock::new(&strategy, Duration::from_millis(200));
        let mut out = Collector::<i64>::new();
        clock.tick(NO_TIMESTAMP, 0, &mut out);
        assert_eq!(clock.next_timer(), Some(50));
        clock.tick(NO_TIMESTAMP, 50, &mut out);
        clock.tick(NO_TIMESTAMP, 60, &mut out);
        assert_eq!(emitted(&mut out).2, 1);
        clock.note_records(70);
        clock.tick(NO_TIMESTAMP, 120, &mut out);
        assert_eq!(emitted(&mut out).2, 1);
    }
}
