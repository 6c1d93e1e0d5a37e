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
        self.segments += std::mem::take(&mut other.segments);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.segments, Ordering::AcqRel);
    }
}
