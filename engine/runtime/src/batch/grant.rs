//! Managed memory that grows in steps while it is used.

use flott_core::memory::{ManagedMemory, Reservation, SEGMENT_BYTES};

/// The fewest segments a batch operator works in.
pub(super) const MIN_SEGMENTS: usize = 8;

/// The most segments asked for ahead of need.
const LARGEST_STEP: usize = 32;

/// As many segments as hold `bytes`.
pub(super) fn segments_for(bytes: usize) -> usize {
    bytes.div_ceil(SEGMENT_BYTES)
}

/// Reserves `segments`, or as many fewer as can be had.
pub(super) fn reserve_up_to(memory: &ManagedMemory, segments: usize) -> Option<Reservation> {
    let mut wanted = segments;
    while wanted > 0 {
        if let Some(reservation) = memory.reserve(wanted) {
            return Some(reservation);
        }
        // Others may reserve at the same time, so what is free now may not be for long.
        wanted = memory.free_segments().min(wanted - 1);
    }
    None
}

/// A reservation that only grows, until it is given back whole.
#[derive(Debug)]
pub(super) struct Grant {
    memory: ManagedMemory,
    held: Option<Reservation>,
    /// Kept apart so that the common question costs a comparison.
    bytes: usize,
}

impl Grant {
    /// Nothing, of this budget.
    pub(super) fn new(memory: ManagedMemory) -> Self {
        Self { memory, held: None, bytes: 0 }
    }

    /// Whether `bytes` in all may be used, after asking for more if need be.
    #[inline]
    pub(super) fn allows(&mut self, bytes: usize) -> bool {
        bytes <= self.bytes || self.grow(bytes)
    }

    #[cold]
    fn grow(&mut self, bytes: usize) -> bool {
        let missing = segments_for(bytes - self.bytes);
        let ahead = (self.memory.total_segments() / 64).clamp(1, LARGEST_STEP);
        let more = self.memory.reserve(missing.max(ahead)).or_else(|| self.memory.reserve(missing));
        let Some(more) = more else { return false };
        match &mut self.held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        self.bytes = self.held.as_ref().map_or(0, Reservation::bytes);
        true
    }

    /// Gives everything back.
    pub(super) fn release(&mut self) {
        self.held = None;
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_budget_and_not_beyond() {
        let memory = ManagedMemory::of_bytes(10 * SEGMENT_BYTES);
        let mut grant = Grant::new(memory.clone());
        assert!(grant.allows(1));
        assert_eq!(memory.free_segments(), 9);
        assert!(grant.allows(10 * SEGMENT_BYTES));
        assert!(!grant.allows(10 * SEGMENT_BYTES + 1));
        grant.release();
        assert_eq!(memory.free_segments(), 10);
    }
}
