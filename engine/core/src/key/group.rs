//! Key groups: the unit in which keyed state moves between subtasks, fixed for an operator's life.
//!
//! Invariant: the ranges of all subtasks, in order, hold every key group exactly once, and [`MaxParallelism::subtask`]
//! says whose range a group is in.
//!
//! ```
//! use flott_core::{KeyGroup, MaxParallelism};
//!
//! let max = MaxParallelism::new(128).unwrap();
//! assert_eq!(max.subtask(KeyGroup::new(50), 3), 1);
//! assert!(max.range(1, 3).contains(KeyGroup::new(50)));
//! ```

/// How many key groups a keyed operator has: the most subtasks it can ever have. 1 to 32,768.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaxParallelism(u32);

impl MaxParallelism {
    /// The largest: 32,768.
    pub const LARGEST: Self = Self(1 << 15);

    /// `max` key groups, or none if `max` is not in 1 to 32,768.
    pub fn new(max: u32) -> Option<Self> {
        (1..=Self::LARGEST.0).contains(&max).then_some(Self(max))
    }

    /// What an operator of `parallelism` gets when nobody says: one and a half times that, up to a power of two, 128 to 32,768.
    pub fn default_for(parallelism: u32) -> Self {
        let wanted = parallelism.saturating_add(parallelism / 2).min(Self::LARGEST.0);
        Self(wanted.next_power_of_two().clamp(128, Self::LARGEST.0))
    }

    /// The number of key groups.
    #[inline]
    pub fn get(self) -> u32 {
        self.0
    }

    /// The subtask, of `parallelism`, that owns a key group.
    #[inline]
    pub fn subtask(self, group: KeyGroup, parallelism: u32) -> u32 {
        (u64::from(group.0) * u64::from(parallelism) / u64::from(self.0)) as u32
    }

    /// The key groups that subtask `index` of `parallelism` (1 to the max parallelism) owns.
    pub fn range(self, index: u32, parallelism: u32) -> KeyGroupRange {
        let boundary = |index: u64| {
            let groups = u64::from(self.0);
            (index * groups).div_ceil(u64::from(parallelism.max(1))).min(groups) as u16
        };
        KeyGroupRange { start: boundary(u64::from(index)), end: boundary(u64::from(index) + 1) }
    }
}

/// One of a keyed operator's key groups: the unit in which keyed state moves between subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyGroup(u16);

impl KeyGroup {
    /// The key group with this index.
    pub fn new(index: u16) -> Self {
        Self(index)
    }

    /// 0 up to the max parallelism, exclusive.
    #[inline]
    pub fn index(self) -> u16 {
        self.0
    }
}

/// Adjacent key groups: `start` up to `end`, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyGroupRange {
    /// The first key group.
    pub start: u16,
    /// The one after the last.
    pub end: u16,
}

impl KeyGroupRange {
    /// How many key groups.
    pub fn len(self) -> usize {
        usize::from(self.end.saturating_sub(self.start))
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Whether `group` is one of them.
    #[inline]
    pub fn contains(self, group: KeyGroup) -> bool {
        (self.start..self.end).contains(&group.0)
    }

    /// Whether the two ranges share a key group.
    pub fn intersects(self, other: Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_key_group_has_one_owner(max in 1_u32..=1 << 15, parallelism in 1_u32..=1 << 15) {
            let parallelism = parallelism.min(max);
            let max = MaxParallelism::new(max).unwrap();
            let mut next = 0;
            for index in 0..parallelism {
                let range = max.range(index, parallelism);
                prop_assert_eq!(range.start, next);
                prop_assert!(!range.is_empty());
                next = range.end;
                for group in [range.start, range.end - 1] {
                    prop_assert_eq!(max.subtask(KeyGroup::new(group), parallelism), index);
                }
            }
            prop_assert_eq!(u32::from(next), max.get());
        }

        #[test]
        fn ranges_intersect_when_a_group_is_in_both(a in 0_u16..9, b in 0_u16..9, c in 0_u16..9, d in 0_u16..9) {
            let (left, right) = (KeyGroupRange { start: a, end: b }, KeyGroupRange { start: c, end: d });
            let shared = (0..9).map(KeyGroup::new).any(|group| left.contains(group) && right.contains(group));
            prop_assert_eq!(left.intersects(right), shared);
            prop_assert_eq!(left.len(), (0..9).filter(|n| left.contains(KeyGroup::new(*n))).count());
            prop_assert_eq!(left.is_empty(), a >= b);
        }
    }

    #[test]
    fn max_parallelism_has_bounds_and_a_default() {
        assert_eq!(MaxParallelism::new(0), None);
        assert_eq!(MaxParallelism::new(32_769), None);
        assert_eq!(MaxParallelism::new(32_768), Some(MaxParallelism::LARGEST));
        let defaults =
            [(0, 128), (1, 128), (85, 128), (86, 256), (1000, 2048), (30_000, 32_768), (u32::MAX, 32_768)];
        for (parallelism, expected) in defaults {
            assert_eq!(MaxParallelism::default_for(parallelism).get(), expected, "{parallelism}");
        }
    }
}
