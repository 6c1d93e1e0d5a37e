//! Whether to aggregate in a hash table or by sorting.
//!
//! A hash table holds one entry a key, so it is the better way as long as the keys fit; where they are known not to, sorting reads
//! and writes the disk in longer stretches. An unknown number of keys is given to the hash table, which spills when it must. A
//! function that wants all records of a key at once needs them sorted.

use crate::data_graph::Estimate;
use crate::optimized_plan::LocalStrategy;

/// The way to aggregate, when `result` is what all subtasks give together and `budget` is the memory of one of them, in bytes.
pub(super) fn strategy(needs_groups: bool, result: Estimate, parallelism: u32, budget: u64) -> LocalStrategy {
    let a_subtask_s = result.bytes.map(|bytes| bytes.div_ceil(u64::from(parallelism.max(1))));
    let does_not_fit = a_subtask_s.is_some_and(|bytes| bytes > budget);
    if needs_groups || does_not_fit { LocalStrategy::SortAggregate } else { LocalStrategy::HashAggregate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_not_to_fit_is_sorted() {
        let of_bytes = |bytes| strategy(false, Estimate { bytes, records: None }, 4, 1000);
        assert_eq!(of_bytes(Some(4000)), LocalStrategy::HashAggregate);
        assert_eq!(of_bytes(Some(4001)), LocalStrategy::SortAggregate);
        assert_eq!(of_bytes(None), LocalStrategy::HashAggregate);
        assert_eq!(strategy(true, Estimate::UNKNOWN, 4, 1000), LocalStrategy::SortAggregate);
    }
}
