//! Which windows a timestamp lies in.
//!
//! Windows of one assigner have one size, so a window is known by its end, under which its state is kept.
//!
//! ```
//! use std::time::Duration;
//! use flott_runtime::operators::{SlidingEventTimeWindows, TimeWindow, WindowAssigner};
//!
//! let windows = SlidingEventTimeWindows::of(Duration::from_millis(10), Duration::from_millis(5));
//! assert_eq!(windows.all(12), [TimeWindow::new(10, 20), TimeWindow::new(5, 15)]);
//! ```

use std::time::Duration;

use flott_core::{Data, Timestamp};

/// A span of event time: from `start` up to `end`, exclusive, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Data)]
pub struct TimeWindow {
    /// The first timestamp in it.
    pub start: Timestamp,
    /// The first timestamp behind it.
    pub end: Timestamp,
}

impl TimeWindow {
    /// From `start` up to `end`, exclusive.
    pub fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }

    /// The last timestamp in it: what its results carry, and the watermark that fires it.
    #[inline]
    pub fn max_timestamp(&self) -> Timestamp {
        self.end.saturating_sub(1)
    }

    /// Whether `time` lies in it.
    #[inline]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.start <= time && time < self.end
    }
}

/// Finds the windows of a timestamp. All windows have one size.
pub trait WindowAssigner: Clone + Send + Sync + 'static {
    /// Whether a timestamp may lie in several windows.
    const OVERLAPPING: bool;

    /// Whether the sizes make sense; to be asked before anything else.
    ///
    /// # Errors
    /// What is wrong with them.
    fn validate(&self) -> Result<(), String>;

    /// The last window that contains `time`.
    fn latest(&self, time: Timestamp) -> Option<TimeWindow>;

    /// The last window before `window` that contains `time`.
    fn earlier(&self, window: TimeWindow, time: Timestamp) -> Option<TimeWindow>;

    /// The window that ends at `end`.
    fn ending(&self, end: Timestamp) -> TimeWindow;

    /// All windows that contain `time`, the last one first.
    fn all(&self, time: Timestamp) -> Vec<TimeWindow> {
        std::iter::successors(self.latest(time), |window| self.earlier(*window, time)).collect()
    }
}

fn millis(duration: Duration) -> Timestamp {
    Timestamp::try_from(duration.as_millis()).unwrap_or(Timestamp::MAX)
}

/// The start of the last of windows `slide` apart that begins at or before `time`.
#[inline]
fn last_start(time: Timestamp, slide: Timestamp, offset: Timestamp) -> Timestamp {
    time.saturating_sub(time.saturating_sub(offset).rem_euclid(slide))
}

fn at_least_a_millisecond(what: &str, value: Timestamp) -> Result<(), String> {
    if value > 0 { Ok(()) } else { Err(format!("the {what} of a window must be at least 1 ms")) }
}

/// Windows side by side: each timestamp lies in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TumblingEventTimeWindows {
    size: Timestamp,
    offset: Timestamp,
}

impl TumblingEventTimeWindows {
    /// Windows of `size`, whole milliseconds, one of which starts at the epoch.
    pub fn of(size: Duration) -> Self {
        Self { size: millis(size), offset: 0 }
    }

    /// Has one of them start `offset` milliseconds after the epoch, or before it: days by a local clock, say.
    #[must_use]
    pub fn with_offset(self, offset: Timestamp) -> Self {
        Self { offset, ..self }
    }
}

impl WindowAssigner for TumblingEventTimeWindows {
    const OVERLAPPING: bool = false;

    fn validate(&self) -> Result<(), String> {
        at_least_a_millisecond("size", self.size)
    }

    #[inline]
    fn latest(&self, time: Timestamp) -> Option<TimeWindow> {
        let start = last_start(time, self.size, self.offset);
        Some(TimeWindow::new(start, start.saturating_add(self.size)))
    }

    fn earlier(&self, _window: TimeWindow, _time: Timestamp) -> Option<TimeWindow> {
        None
    }

    fn ending(&self, end: Timestamp) -> TimeWindow {
        TimeWindow::new(end.saturating_sub(self.size), end)
    }
}

/// Windows that start `slide` apart: each timestamp lies in about size / slide of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingEventTimeWindows {
    size: Timestamp,
    slide: Timestamp,
    offset: Timestamp,
}

impl SlidingEventTimeWindows {
    /// Windows of `size`, whole milliseconds, every `slide`, one of which starts at the epoch.
    pub fn of(size: Duration, slide: Duration) -> Self {
        Self { size: millis(size), slide: millis(slide), offset: 0 }
    }

    /// Has one of them start `offset` milliseconds after the epoch, or before it.
    #[must_use]
    pub fn with_offset(self, offset: Timestamp) -> Self {
        Self { offset, ..self }
    }

    fn starting(&self, start: Timestamp, time: Timestamp) -> Option<TimeWindow> {
        let window = TimeWindow::new(start, start.saturating_add(self.size));
        window.contains(time).then_some(window)
    }
}

impl WindowAssigner for SlidingEventTimeWindows {
    const OVERLAPPING: bool = true;

    fn validate(&self) -> Result<(), String> {
        at_least_a_millisecond("size", self.size)?;
        at_least_a_millisecond("slide", self.slide)
    }

    fn latest(&self, time: Timestamp) -> Option<TimeWindow> {
        // Windows that are further apart than they are long leave gaps.
        self.starting(last_start(time, self.slide, self.offset), time)
    }

    fn earlier(&self, window: TimeWindow, time: Timestamp) -> Option<TimeWindow> {
        self.starting(window.start.checked_sub(self.slide)?, time)
    }

    fn ending(&self, end: Timestamp) -> TimeWindow {
        TimeWindow::new(end.saturating_sub(self.size), end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn tumbling_windows_start_at_multiples_of_their_size_also_before_the_epoch() {
        let windows = TumblingEventTimeWindows::of(ms(10));
        assert_eq!(windows.all(0), [TimeWindow::new(0, 10)]);
        assert_eq!(windows.all(9), [TimeWindow::new(0, 10)]);
        assert_eq!(windows.all(-1), [TimeWindow::new(-10, 0)]);
        assert_eq!(windows.with_offset(-3).all(6), [TimeWindow::new(-3, 7)]);
        assert_eq!(windows.with_offset(-3).all(7), [TimeWindow::new(7, 17)]);
    }

    #[test]
    fn sliding_windows_may_leave_gaps() {
        let windows = SlidingEventTimeWindows::of(ms(3), ms(10));
        assert_eq!(windows.all(12), [TimeWindow::new(10, 13)]);
        assert!(windows.all(13).is_empty());
    }

    #[test]
    fn windows_of_no_size_are_refused() {
        let error = TumblingEventTimeWindows::of(Duration::from_nanos(5)).validate();
        assert_eq!(error, Err("the size of a window must be at least 1 ms".to_owned()));
        assert!(SlidingEventTimeWindows::of(ms(1), ms(0)).validate().is_err());
        assert!(SlidingEventTimeWindows::of(ms(1), ms(1)).validate().is_ok());
    }

    proptest! {
        #[test]
        fn the_windows_of_a_timestamp_are_those_that_contain_it(
            time in -1000..1000_i64, size in 1..50_i64, slide in 1..50_i64, offset in -100..100_i64,
        ) {
            let windows = SlidingEventTimeWindows::of(ms(size as u64), ms(slide as u64)).with_offset(offset);
            let starts = (-2000..2000_i64).rev().filter(|start| (start - offset).rem_euclid(slide) == 0);
            let all = starts.map(|start| TimeWindow::new(start, start + size));
            let expected: Vec<_> = all.filter(|window| window.contains(time)).collect();
            prop_assert_eq!(windows.all(time), expected.clone());
            for window in expected {
                prop_assert_eq!(windows.ending(window.end), window);
            }
        }

        #[test]
        fn no_timestamp_is_too_low_or_too_high(time in any::<i64>(), size in 1..u64::MAX, offset in any::<i64>()) {
            let _ = TumblingEventTimeWindows::of(ms(size)).with_offset(offset).all(time);
            let _ = SlidingEventTimeWindows::of(ms(size), ms(size / 3 + 1)).with_offset(offset).all(time);
        }
    }
}
