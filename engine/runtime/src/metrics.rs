//! Counters of an operator subtask, and what a subtask spends its time on, read by others while it runs.
//!
//! A subtask is at one thing at a time: it works, waits for its slot's thread, is back-pressured (it has something to do, and no room for
//! what comes of it), or idle. Its slot notes what begins at the ends of its turns, with clock readings that are there anyway.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flott_core::time::NO_TIMESTAMP;

/// What an operator subtask has done so far.
#[derive(Debug)]
pub struct OperatorMetrics {
    /// Records taken.
    pub records_in: AtomicU64,
    /// Records given.
    pub records_out: AtomicU64,
    /// Records that came after their time and were dropped or sent to a side output.
    pub late_records: AtomicU64,
    /// Records that were skipped because they could not be read.
    pub skipped_records: AtomicU64,
    /// Bytes that a source has read from where its records are, if it knows.
    pub bytes_read: AtomicU64,
    /// Bytes that a sink has written to where they go, if it knows.
    pub bytes_written: AtomicU64,
    /// The watermark that last came in.
    pub watermark: AtomicI64,
    /// About how many bytes of memory its state and its part of managed memory take; as of the last second.
    pub memory_bytes: AtomicU64,
}

impl Default for OperatorMetrics {
    fn default() -> Self {
        Self {
            records_in: AtomicU64::new(0),
            records_out: AtomicU64::new(0),
            late_records: AtomicU64::new(0),
            skipped_records: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            watermark: AtomicI64::new(NO_TIMESTAMP),
            memory_bytes: AtomicU64::new(0),
        }
    }
}

impl OperatorMetrics {
    /// Counts one late record.
    pub fn count_late(&self) {
        self.late_records.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts records that were skipped.
    pub fn count_skipped(&self, records: u64) {
        self.skipped_records.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts bytes that a source has read.
    pub fn count_read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that a sink has written.
    pub fn count_written(&self, bytes: u64) {
        self.bytes_written.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What a subtask is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Activity {
    /// Nothing is known of it.
    Unknown,
    /// Nothing to do.
    Idle,
    /// No room for what it would emit.
    BackPressured,
    /// It could go on, and others have the thread.
    Waiting,
    /// It has the thread.
    Working,
}

impl Activity {
    const BITS: u32 = 3;

    fn of_bits(packed: u64) -> Self {
        match packed & ((1 << Self::BITS) - 1) {
            1 => Self::Idle,
            2 => Self::BackPressured,
            3 => Self::Waiting,
            4 => Self::Working,
            _ => Self::Unknown,
        }
    }
}

/// What a subtask spent its time on, from its start. What is left up to `at_micros` it was idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskTimes {
    /// When that was so, in microseconds from some point in time that stays; 0: nothing is known.
    pub at_micros: u64,
    /// It had its slot's thread, in microseconds.
    pub working_micros: u64,
    /// It could have gone on, but others had the thread, in microseconds.
    pub waiting_micros: u64,
    /// There was no room for what it would have emitted, in microseconds.
    pub back_pressured_micros: u64,
}

impl TaskTimes {
    /// The time in which it was neither idle nor back-pressured, in microseconds.
    pub const fn busy_micros(&self) -> u64 {
        self.working_micros.saturating_add(self.waiting_micros)
    }
}

/// What a subtask has done as a whole.
#[derive(Debug, Default)]
pub struct TaskMetrics {
    /// Bytes taken from channels, as they lie in memory, or encoded if they come from another process.
    pub bytes_in: AtomicU64,
    /// Bytes given to channels, by the same measure.
    pub bytes_out: AtomicU64,
    at_micros: AtomicU64,
    working_nanos: AtomicU64,
    waiting_nanos: AtomicU64,
    back_pressured_nanos: AtomicU64,
    /// What it is at, in the low bits, and since when, in nanoseconds of the steady clock.
    now: AtomicU64,
}

impl TaskMetrics {
    /// What it spent its time on: up to now if it runs in this process, else as it was last told.
    pub fn times(&self) -> TaskTimes {
        let (at, mut working) = (nanos(Instant::now()), self.working_nanos.load(Ordering::Relaxed));
        let mut waiting = self.waiting_nanos.load(Ordering::Relaxed);
        let mut back_pressured = self.back_pressured_nanos.load(Ordering::Relaxed);
        let packed = self.now.load(Ordering::Acquire);
        let so_far = at.saturating_sub(packed >> Activity::BITS);
        let mut at_micros = at / 1000;
        match Activity::of_bits(packed) {
            Activity::Unknown => at_micros = self.at_micros.load(Ordering::Relaxed),
            Activity::Idle => {}
            Activity::BackPressured => back_pressured += so_far,
            Activity::Waiting => waiting += so_far,
            Activity::Working => working += so_far,
        }
        TaskTimes {
            at_micros,
            working_micros: working / 1000,
            waiting_micros: waiting / 1000,
            back_pressured_micros: back_pressured / 1000,
        }
    }

    /// Notes what another process told of it.
    pub fn told(&self, times: TaskTimes) {
        self.working_nanos.store(times.working_micros.saturating_mul(1000), Ordering::Relaxed);
        self.waiting_nanos.store(times.waiting_micros.saturating_mul(1000), Ordering::Relaxed);
        self.back_pressured_nanos.store(times.back_pressured_micros.saturating_mul(1000), Ordering::Relaxed);
        self.at_micros.store(times.at_micros, Ordering::Relaxed);
    }
}

/// A steady clock reading as a number: nanoseconds since the first one of this process.
pub(crate) fn nanos(instant: Instant) -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let epoch = *EPOCH.get_or_init(|| Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or(instant));
    u64::try_from(instant.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX >> Activity::BITS)
}

/// Keeps a subtask's times, on its slot's thread.
#[derive(Debug)]
pub(crate) struct TaskClock {
    metrics: std::sync::Arc<TaskMetrics>,
    activity: Activity,
    since: u64,
    totals: [u64; 3],
}

impl TaskClock {
    pub(crate) fn new(metrics: std::sync::Arc<TaskMetrics>, now: Instant) -> Self {
        let clock = Self { metrics, activity: Activity::Waiting, since: nanos(now), totals: [0; 3] };
        clock.publish();
        clock
    }

    pub(crate) fn metrics(&self) -> &std::sync::Arc<TaskMetrics> {
        &self.metrics
    }

    /// A turn begins; it was woken for it at `woken_at`, if that is later than the end of its last.
    pub(crate) fn begin_turn(&mut self, now: Instant, woken_at: u64) {
        let now = nanos(now);
        if matches!(self.activity, Activity::Idle | Activity::BackPressured)
            && woken_at > self.since
            && woken_at < now
        {
            self.enter(Activity::Waiting, woken_at);
        }
        self.enter(Activity::Working, now);
        self.publish();
    }

    /// A turn has ended; until the next one the subtask is at `next`.
    pub(crate) fn end_turn(&mut self, now: Instant, next: Activity) {
        self.enter(next, nanos(now));
        self.publish();
    }

    fn enter(&mut self, next: Activity, now: u64) {
        let spent = now.saturating_sub(self.since);
        match self.activity {
            Activity::Working => self.totals[0] += spent,
            Activity::Waiting => self.totals[1] += spent,
            Activity::BackPressured => self.totals[2] += spent,
            Activity::Idle | Activity::Unknown => {}
        }
        (self.activity, self.since) = (next, now);
    }

    fn publish(&self) {
        let [working, waiting, back_pressured] = self.totals;
        self.metrics.working_nanos.store(working, Ordering::Relaxed);
        self.metrics.waiting_nanos.store(waiting, Ordering::Relaxed);
        self.metrics.back_pressured_nanos.store(back_pressured, Ordering::Relaxed);
        // A reader in between takes a turn's end for its beginning; the next reading is right again.
        self.metrics.now.store(self.since << Activity::BITS | self.activity as u64, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_is_spent_on_one_thing() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let metrics = std::sync::Arc::new(TaskMetrics::default());
        assert_eq!(metrics.times(), TaskTimes::default());
        let mut clock = TaskClock::new(std::sync::Arc::clone(&metrics), start);
        clock.begin_turn(after(5), 0);
        clock.end_turn(after(7), Activity::BackPressured);
        // Woken at 10, and others had the thread until 11.
        clock.begin_turn(after(11), nanos(after(10)));
        clock.end_turn(after(20), Activity::Idle);
        clock.begin_turn(after(50), 0);
        clock.end_turn(after(51), Activity::Waiting);
        clock.begin_turn(after(53), nanos(after(52)));
        clock.end_turn(after(54), Activity::Idle);
        let times = metrics.times();
        let millis = |micros: u64| (micros + 500) / 1000;
        assert_eq!(millis(times.working_micros), 2 + 9 + 1 + 1);
        assert_eq!(millis(times.waiting_micros), 5 + 1 + 2);
        assert_eq!(millis(times.back_pressured_micros), 3);
        assert_eq!(millis(times.busy_micros()), 21);
    }

    #[test]
    fn what_is_told_is_what_is_read() {
        let told = TaskTimes { at_micros: 9, working_micros: 1, waiting_micros: 2, back_pressured_micros: 3 };
        let metrics = TaskMetrics::default();
        metrics.told(told);
        assert_eq!(metrics.times(), told);
    }
}
