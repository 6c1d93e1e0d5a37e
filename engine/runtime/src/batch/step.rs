//! How long a step may take.

use std::time::Instant;

use crate::cursor::QUANTUM;

/// How often the clock is read: once in so many pieces of work.
const PIECES: u32 = 64;

/// The time of one step; pieces of work of a few microseconds at most are done until it is over.
pub(super) struct Step {
    deadline: Instant,
    until_check: u32,
}

impl Step {
    /// A step that begins now.
    pub(super) fn begin() -> Self {
        Self { deadline: Instant::now() + QUANTUM, until_check: PIECES }
    }

    /// A step without end, for work away from a slot.
    #[cfg(test)]
    pub(super) fn endless() -> Self {
        Self { deadline: Instant::now() + std::time::Duration::from_secs(86_400), until_check: u32::MAX }
    }

    /// Counts a piece of work; true when it is time to yield.
    #[inline]
    pub(super) fn is_over(&mut self) -> bool {
        self.until_check -= 1;
        if self.until_check > 0 {
            return false;
        }
        self.until_check = PIECES;
        Instant::now() >= self.deadline
    }
}
