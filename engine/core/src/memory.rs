//! The memory budget: managed memory is reserved in segments of 32 KiB before it is used; who cannot reserve spills.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of one memory segment.
pub const SEGMENT_BYTES: usize = 32 * 1024;

/// A share of managed memory, counted in segments. Clones share one budget.
///
/// ```
/// use flott_core::memory::ManagedMemory;
///
/// let memory = ManagedMemory::of_bytes(64 * 1024);
/// let one = memory.reserve(1).unwrap();
/// assert!(memory.reserve(2).is_none());
/// drop(one);
/// assert!(memory.reserve(2).is_some());
/// ```
#[derive(Debug, Clone)]
pub struct ManagedMemory {
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct Budget {
    segments: usize,
    used: AtomicUsize,
}

/// Segments that were reserved; they go back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    segments: usize,
}

impl ManagedMemory {
    /// A budget of as many whole segments as `bytes` holds.
    pub fn of_bytes(bytes: usize) -> Self {
        Self { budget: Arc::new(Budget { segments: bytes / SEGMENT_BYTES, used: AtomicUsize::new(0) }) }
    }

    /// Reserves `segments`, or none at all if fewer are free.
    pub fn reserve(&self, segments: usize) -> Option<Reservation> {
        let budget = &self.budget;
        budget
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(segments).filter(|sum| *sum <= budget.segments)
            })
            .ok()?;
        Some(Reservation { budget: Arc::clone(budget), segments })
    }

    /// A budget of its own, of `weight` parts in `weights` of this one's segments; empty if there are no weights.
    #[must_use]
    pub fn share(&self, weight: u64, weights: u64) -> Self {
        let segments = (self.budget.segments as u64 * weight).checked_div(weights).unwrap_or(0);
        Self::of_bytes(usize::try_from(segments).unwrap_or(0) * SEGMENT_BYTES)
    }

    /// All segments of the budget.
    pub fn total_segments(&self) -> usize {
        self.budget.segments
    }

    /// The segments nobody has reserved.
    pub fn free_segments(&self) -> usize {
        self.budget.segments.saturating_sub(self.budget.used.load(Ordering::Acquire))
    }
}

impl Reservation {
    /// The bytes that may be used under it.
    pub fn bytes(&self) -> usize {
        self.segments * SEGMENT_BYTES
    }

    /// Takes another reservation of the same budget into this one.
    pub fn merge(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.budget, &other.budget), "the reservations are of two budgets");
        self.segments += std::mem::take(&mut other.segments);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.segments, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_segments_count() {
        assert_eq!(ManagedMemory::of_bytes(SEGMENT_BYTES - 1).total_segments(), 0);
        let memory = ManagedMemory::of_bytes(3 * SEGMENT_BYTES + 5);
        assert_eq!(memory.total_segments(), 3);
        assert!(memory.reserve(usize::MAX).is_none());
        assert_eq!(memory.reserve(2).map(|reservation| reservation.bytes()), Some(2 * SEGMENT_BYTES));
        assert_eq!(memory.free_segments(), 3);
    }

    #[test]
    fn a_merged_reservation_goes_back_once() {
        let memory = ManagedMemory::of_bytes(4 * SEGMENT_BYTES);
        let mut one = memory.reserve(1).unwrap();
        one.merge(memory.clone().reserve(2).unwrap());
        assert_eq!((one.bytes(), memory.free_segments()), (3 * SEGMENT_BYTES, 1));
        drop(one);
        assert_eq!(memory.free_segments(), 4);
    }

    #[test]
    fn threads_together_never_hold_more_than_there_is() {
        const TOTAL: usize = 16;
        let memory = ManagedMemory::of_bytes(TOTAL * SEGMENT_BYTES);
        let held = AtomicUsize::new(0);
        let exceeded = AtomicBool::new(false);
        thread::scope(|scope| {
            for seed in 0..4_usize {
                let (memory, held, exceeded) = (memory.clone(), &held, &exceeded);
                scope.spawn(move || {
                    for round in 0..20_000 {
                        let wanted = (round * 7 + seed * 3) % 9;
                        if let Some(reservation) = memory.reserve(wanted) {
                            let now = held.fetch_add(wanted, Ordering::SeqCst) + wanted;
                            exceeded.fetch_or(now > TOTAL, Ordering::SeqCst);
                            held.fetch_sub(wanted, Ordering::SeqCst);
                            drop(reservation);
                        }
                    }
                });
            }
        });
        assert!(!exceeded.into_inner());
        assert_eq!(memory.free_segments(), TOTAL);
    }

    proptest! {
        #[test]
        fn the_books_balance(total in 0_usize..20, steps in proptest::collection::vec((0_usize..8, 0_u8..3), 0..60)) {
            let memory = ManagedMemory::of_bytes(total * SEGMENT_BYTES);
            let mut held: Vec<Reservation> = Vec::new();
            for (number, action) in steps {
                let used: usize = held.iter().map(|reservation| reservation.bytes() / SEGMENT_BYTES).sum();
                prop_assert_eq!(memory.free_segments(), total - used);
                match (action, held.len()) {
                    (0, _) | (_, 0) => {
                        let reservation = memory.reserve(number);
                        prop_assert_eq!(reservation.is_some(), used + number <= total);
                        held.extend(reservation);
                    }
                    (1, length) => drop(held.swap_remove(number % length)),
                    (_, length) => {
                        let other = held.swap_remove(number % length);
                        match held.first_mut() {
                            Some(first) => first.merge(other),
                            None => held.push(other),
                        }
                    }
                }
            }
            drop(held);
            prop_assert_eq!(memory.free_segments(), total);
        }
    }
}
