//! A TaskManager's memory: one number is set, its size; the rest is derived from it.
//!
//! ```text
//! size ─┬─ the TaskManager's own process
//!       └─ slots, in equal shares ─┬─ managed: sort, hash, caches
//!                                  └─ everything else of a worker: code, exchanges, functions, state on the heap
//! ```

use std::fmt;

use flott_core::config::{self, Configuration, MemorySize};

use crate::local::managed_bytes;

/// What the TaskManager's own process may take, in bytes. Seen: 8 MB idle, 14 MB after hundreds of jobs.
const OWN_BYTES: u64 = 32 << 20;

/// The least that a worker needs of a slot's share besides managed memory, in bytes.
const LEAST_BYTES: u64 = 16 << 20;

/// The parts of a TaskManager's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    /// All of it: the size of its container.
    pub process: u64,
    /// Slots that share it.
    pub slots: u32,
    /// A slot's share, a worker's overhead included.
    pub slot: u64,
    /// The managed part of all slots.
    pub managed: u64,
}

/// Options of memory that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a TaskManager of {process} with {slots} slots has {slot} for each, of which {managed} is to be managed memory, so {left} is left for the rest; \
     {} is the least: raise taskmanager.memory.process.size, or lower taskmanager.memory.managed.size or taskmanager.numberOfTaskSlots",
    MemorySize::of_bytes(LEAST_BYTES)
)]
pub struct MemoryBudgetError {
    process: MemorySize,
    slots: u32,
    slot: MemorySize,
    managed: MemorySize,
    left: MemorySize,
}

impl MemoryBudget {
    /// Derives it.
    ///
    /// # Errors
    /// [`MemoryBudgetError`] with the numbers, if nothing is left to work with.
    pub fn of(configuration: &Configuration) -> Result<Self, MemoryBudgetError> {
        let process = configuration.get(&config::TASK_MANAGER_MEMORY).bytes();
        let slots = configuration.get(&config::TASK_SLOTS).max(1);
        let slot = process.saturating_sub(OWN_BYTES) / u64::from(slots);
        let managed = managed_bytes(configuration) as u64;
        let left = slot.saturating_sub(managed / u64::from(slots));
        if left < LEAST_BYTES {
            return Err(MemoryBudgetError {
                process: MemorySize::of_bytes(process),
                slots,
                slot: MemorySize::of_bytes(slot),
                managed: MemorySize::of_bytes(managed / u64::from(slots)),
                left: MemorySize::of_bytes(left),
            });
        }
        Ok(Self { process, slots, slot, managed })
    }
}

impl fmt::Display for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        let (slots, managed) = (u64::from(self.slots), self.managed / u64::from(self.slots));
        write!(
            f,
            "{} MiB = {} MiB for the TaskManager + {slots} slots × {} MiB, each {} MiB managed and {} MiB for code, exchanges, functions and state",
            mib(self.process),
            mib(self.process - self.slot * slots),
            mib(self.slot),
            mib(managed),
            mib(self.slot - managed),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(settings: &[&str]) -> Result<MemoryBudget, MemoryBudgetError> {
        let mut configuration = Configuration::new();
        settings.iter().for_each(|setting| configuration.set_override(setting).unwrap());
        MemoryBudget::of(&configuration)
    }

    #[test]
    fn one_number_gives_the_others() {
        let shown =
            budget(&["taskmanager.memory.process.size=1g", "taskmanager.numberOfTaskSlots=4"]).unwrap();
        assert_eq!(
            shown.to_string(),
            "1024 MiB = 32 MiB for the TaskManager + 4 slots × 248 MiB, each 102 MiB managed and 145 MiB for code, exchanges, functions and state"
        );
    }

    #[test]
    fn options_that_contradict_each_other_are_told_with_the_numbers() {
        let error = budget(&["taskmanager.memory.process.size=512m", "taskmanager.memory.managed.size=500m"]);
        let told = error.unwrap_err().to_string();
        assert!(
            told.contains("a TaskManager of 512 mb with 1 slots has 480 mb for each")
                && told.contains("16 mb is the least"),
            "{told}"
        );
        assert!(budget(&["taskmanager.memory.process.size=64m", "taskmanager.numberOfTaskSlots=8"]).is_err());
    }
}
