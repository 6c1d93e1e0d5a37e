//! How the memory of a JobManager's process is meant to be spent. The parts that others can ask for are bounded by what is served at a time.

use std::fmt;

use flott_core::config::{self, Configuration, MemorySize};

use crate::rest;

/// Code, threads, connections of TaskManagers and workers.
const OWN_BYTES: u64 = 48 << 20;

/// What a job may collect and commit however small the JobManager is: as much as names of files take, and small results.
const LEAST_COLLECTED: u64 = 8 << 20;

/// The parts, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryBudget {
    /// All of it: the size of its container.
    process: u64,
    /// Requests to the REST API, logs, and pieces of programs, at most.
    web: u64,
}

impl MemoryBudget {
    /// Derives it.
    pub(super) fn of(configuration: &Configuration) -> Self {
        let process = configuration.get(&config::JOB_MANAGER_MEMORY).bytes();
        Self { process, web: rest::MOST_BYTES as u64 }
    }

    /// What is left for jobs.
    fn jobs(&self) -> u64 {
        self.process.saturating_sub(OWN_BYTES + self.web)
    }

    /// What a job may collect: while it ends, that is here as it came, as it is kept, and as it is sent, and once more in main.
    pub(super) fn collected(&self) -> MemorySize {
        MemorySize::of_bytes((self.jobs() / 8).next_multiple_of(1 << 20).max(LEAST_COLLECTED))
    }

    /// Says it in the log.
    pub(super) fn log(&self) {
        match self.jobs() {
            0 => tracing::warn!(budget = %self, "memory: raise {}", config::JOB_MANAGER_MEMORY.key),
            _ => tracing::info!(budget = %self, "memory"),
        }
    }
}

impl fmt::Display for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        write!(
            f,
            "{} MiB = {} MiB for the JobManager + {} MiB at most for what comes over the web + {} MiB for jobs: their plans, checkpoints and results, and main in application mode",
            mib(self.process),
            mib(OWN_BYTES),
            mib(self.web),
            mib(self.jobs()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_web_leaves_most_of_the_memory_to_jobs() {
        let mut configuration = Configuration::new();
        let budget = MemoryBudget::of(&configuration).to_string();
        assert!(budget.starts_with("512 MiB = 48 MiB for the JobManager + 72 MiB at most"), "{budget}");
        assert!(budget.contains("+ 392 MiB for jobs"), "{budget}");
        assert_eq!(MemoryBudget::of(&configuration).collected().to_string(), "49 mb");
        configuration.set(config::JOB_MANAGER_MEMORY.key, "64m").unwrap();
        assert_eq!(MemoryBudget::of(&configuration).jobs(), 0);
        // A job whose sinks write files has their names to commit.
        assert_eq!(MemoryBudget::of(&configuration).collected().to_string(), "8 mb");
    }
}
