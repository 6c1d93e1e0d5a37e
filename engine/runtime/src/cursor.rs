//! A cursor over a batch: gives records until the batch is through or the slot's time is up.

use std::time::{Duration, Instant};

use flott_core::{Data, Records, Timestamp};

/// How long an operator may hold its slot before it yields at a record boundary.
pub const QUANTUM: Duration = Duration::from_millis(2);

/// Records to take, one after the other.
pub struct Cursor<T> {
    values: std::vec::IntoIter<T>,
    times: std::vec::IntoIter<Timestamp>,
    /// Records to give before the clock is read again.
    until_check: u32,
    /// What `until_check` starts from: a guess at how many records take an eighth of the quantum.
    check_every: u32,
    checked: Instant,
    deadline: Instant,
    paused: bool,
    /// Whether the operator still works on a record it took.
    held: bool,
}

impl<T> Cursor<T> {
    /// A cursor with nothing in it.
    pub(crate) fn empty() -> Self {
        let now = Instant::now();
        Self {
            values: Vec::new().into_iter(),
            times: Vec::new().into_iter(),
            until_check: 1,
            check_every: 1,
            checked: now,
            deadline: now,
            paused: false,
            held: false,
        }
    }

    /// Whether the batch is through; a paused cursor is not.
    #[inline]
    pub fn is_exhausted(&self) -> bool {
        self.values.as_slice().is_empty() && !self.held
    }

    /// Says, before the operator returns, that it is not through with the last record it took: the batch is not through
    /// before a step that ends without this. No barrier comes between, so what is held need not be in the state.
    #[inline]
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Starts a step: the cursor gives records until the quantum is over.
    pub(crate) fn begin_step(&mut self, now: Instant) {
        self.checked = now;
        self.deadline = now + QUANTUM;
        self.until_check = self.check_every;
        self.paused = false;
        self.held = false;
    }

    /// The next record and its timestamp; none when the batch is through or it is time to yield.
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "it is no iterator: after a pause it goes on")]
    pub fn next(&mut self) -> Option<(T, Timestamp)> {
        if self.until_check == 0 && self.read_clock() {
            return None;
        }
        self.until_check -= 1;
        let value = self.values.next()?;
        let time = self.times.next().unwrap_or(flott_core::time::NO_TIMESTAMP);
        Some((value, time))
    }

    /// Whether the quantum is over; also learns how often to look.
    #[cold]
    fn read_clock(&mut self) -> bool {
        if self.paused {
            return true;
        }
        let now = Instant::now();
        let took = now.duration_since(self.checked);
        self.checked = now;
        self.check_every = match took {
            took if took > QUANTUM / 4 => (self.check_every / 2).max(1),
            took if took < QUANTUM / 16 => (self.check_every * 2).min(4096),
            _ => self.check_every,
        };
        self.until_check = self.check_every;
        if now >= self.deadline {
            self.paused = true;
            self.until_check = 0;
        }
        self.paused
    }
}

impl<T: Data> Cursor<T> {
    /// Puts a batch in, in place of the one that is through.
    pub(crate) fn fill(&mut self, batch: Records<T>) {
        let (values, times) = batch.into_parts();
        self.values = values.into_iter();
        self.times = times.into_iter();
    }
}
