//! Which TaskManagers give slots, and how many TaskManagers are missing. Pure.

use flott_core::ids::TaskManagerId;

/// Which TaskManagers give how many slots: as few as can, the last of them the one that is left with the fewest. None: there
/// are not enough.
pub(super) fn choose(free: &[(TaskManagerId, u32)], wanted: u32) -> Option<Vec<(TaskManagerId, u32)>> {
    let mut free: Vec<(TaskManagerId, u32)> = free.iter().copied().filter(|(_, slots)| *slots > 0).collect();
    free.sort_by_key(|(id, slots)| (*slots, *id));
    let mut chosen = Vec::new();
    let mut missing = wanted;
    while missing > 0 {
        let fits = free.iter().position(|(_, slots)| *slots >= missing);
        let (id, slots) = match fits {
            Some(smallest) => free.remove(smallest),
            None => free.pop()?,
        };
        let taken = slots.min(missing);
        chosen.push((id, taken));
        missing -= taken;
    }
    Some(chosen)
}

/// How many TaskManagers of `slots_each` slots are missing, so that those who wait for slots get them.
pub(super) fn missing(wanted: u32, free: u32, slots_each: u32) -> u32 {
    wanted.saturating_sub(free).div_ceil(slots_each.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> TaskManagerId {
        TaskManagerId::from_bytes([number; 16])
    }

    #[test]
    fn as_few_task_managers_as_can() {
        let free = [(id(1), 2), (id(2), 4), (id(3), 3)];
        assert_eq!(choose(&free, 2), Some(vec![(id(1), 2)]));
        assert_eq!(choose(&free, 3), Some(vec![(id(3), 3)]));
        assert_eq!(choose(&free, 6), Some(vec![(id(2), 4), (id(1), 2)]));
        assert_eq!(choose(&free, 9), Some(vec![(id(2), 4), (id(3), 3), (id(1), 2)]));
        assert_eq!(choose(&free, 10), None);
        assert_eq!(choose(&[], 0), Some(vec![]));
    }

    #[test]
    fn just_what_is_missing_is_asked_for() {
        assert_eq!(missing(0, 0, 2), 0);
        assert_eq!(missing(5, 0, 2), 3);
        assert_eq!(missing(5, 1, 2), 2);
        assert_eq!(missing(5, 5, 2), 0);
        assert_eq!(missing(3, 9, 0), 0);
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_there_and_enough(slots in proptest::collection::vec(0_u32..9, 0..7), wanted in 0_u32..30) {
            let free: Vec<_> = slots.iter().enumerate().map(|(n, slots)| (id(n as u8), *slots)).collect();
            let Some(chosen) = choose(&free, wanted) else {
                prop_assert!(slots.iter().sum::<u32>() < wanted);
                return Ok(());
            };
            prop_assert_eq!(chosen.iter().map(|(_, taken)| taken).sum::<u32>(), wanted);
            for (id, taken) in &chosen {
                let there = free.iter().find(|(other, _)| other == id).map_or(0, |(_, slots)| *slots);
                prop_assert!(*taken > 0 && *taken <= there);
            }
            // As few as can: the largest that many would be needed.
            let mut sorted = slots.clone();
            sorted.sort_by(|a, b| b.cmp(a));
            let enough = |count: usize| sorted.iter().take(count).sum::<u32>() >= wanted;
            prop_assert!(enough(chosen.len()) && (chosen.is_empty() || !enough(chosen.len() - 1)));
        }
    }
}
