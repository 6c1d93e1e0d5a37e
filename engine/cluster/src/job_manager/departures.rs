//! TaskManagers that are gone while nobody has said why. That a connection broke is seen at once; what ended the container is told by the
//! system that ran it, a little later. Then the jobs that had workers there hear the reason.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::job_workers::JobWorkers;

/// The most that are remembered: the reason comes within seconds, or not at all.
const REMEMBERED: usize = 64;

/// What is known of one that is gone.
struct Departure {
    resource_id: String,
    host: String,
    /// What its jobs were told.
    told: String,
    jobs: Vec<Weak<JobWorkers>>,
}

/// The last that are gone.
#[derive(Default)]
pub(super) struct Departures(VecDeque<Departure>);

/// How a container ended, as its jobs hear it.
pub(super) fn in_words(resource_id: &str, address: &str, reason: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    format!("TaskManager {resource_id} on {host}: {reason}")
}

impl Departures {
    /// One is gone, and its jobs were `told` so.
    pub(super) fn note(&mut self, resource_id: &str, address: &str, told: &str, jobs: &[Arc<JobWorkers>]) {
        if resource_id.is_empty() || jobs.is_empty() {
            return;
        }
        self.0.push_back(Departure {
            resource_id: resource_id.to_owned(),
            host: address.to_owned(),
            told: told.to_owned(),
            jobs: jobs.iter().map(Arc::downgrade).collect(),
        });
        while self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    /// Why one is gone: who has to hear it, in which words, and what they were told before.
    pub(super) fn explain(&mut self, resource_id: &str, reason: &str) -> Option<Explanation> {
        let position = self.0.iter().position(|departure| departure.resource_id == resource_id)?;
        let Departure { host, told, jobs, .. } = self.0.remove(position)?;
        let reason = in_words(resource_id, &host, reason);
        Some(Explanation { told, reason, jobs: jobs.iter().filter_map(Weak::upgrade).collect() })
    }
}

/// The reason for a loss.
pub(super) struct Explanation {
    pub(super) told: String,
    pub(super) reason: String,
    pub(super) jobs: Vec<Arc<JobWorkers>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_named_without_its_port() {
        let words = in_words("container_1_0001_01_000002", "node7:40123", "preempted");
        assert_eq!(words, "TaskManager container_1_0001_01_000002 on node7: preempted");
    }
}
