//! TaskManagers that are gone while nobody has said why. That a connection broke is seen at once; what ended the container is told by the
//! system that ran it, a little later. Then the jobs that had workers there hear the reason.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use flott_core::ids::TaskManagerId;

use super::job_workers::JobWorkers;
use super::task_managers::Registration;

/// The most that are remembered, more than go at once with a rack: the reason comes within seconds, or not at all.
const REMEMBERED: usize = 1024;

/// What the jobs of one that is gone are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) told: String,
    /// The true reason may follow.
    pub(super) explained_later: bool,
}

/// What is known of one that is gone.
struct Departure {
    id: TaskManagerId,
    resource_id: String,
    address: String,
    loss: Loss,
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
    /// One is gone, and its jobs are told so.
    pub(super) fn note(&mut self, registration: &Registration, loss: &Loss, jobs: &[Arc<JobWorkers>]) {
        if jobs.is_empty() {
            return;
        }
        self.0.push_back(Departure {
            id: registration.id,
            resource_id: registration.resource_id.clone(),
            address: registration.data_address.clone(),
            loss: loss.clone(),
            jobs: jobs.iter().map(Arc::downgrade).collect(),
        });
        while self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    /// Why one is gone: who has to hear it, in which words, and what they were told before.
    pub(super) fn explain(&mut self, resource_id: &str, reason: &str) -> Option<Explanation> {
        let is_meant = |departure: &&mut Departure| {
            departure.loss.explained_later && departure.resource_id == resource_id
        };
        let departure = self.0.iter_mut().find(is_meant)?;
        let reason = in_words(resource_id, &departure.address, reason);
        let explained = Loss { told: reason.clone(), explained_later: false };
        let Loss { told, .. } = std::mem::replace(&mut departure.loss, explained);
        let jobs = std::mem::take(&mut departure.jobs);
        Some(Explanation { told, reason, jobs: jobs.iter().filter_map(Weak::upgrade).collect() })
    }

    /// What is known of one that is gone, for a job that has not been told.
    pub(super) fn of(&self, id: TaskManagerId) -> Loss {
        let known = self.0.iter().rfind(|departure| departure.id == id);
        known.map_or_else(
            || Loss { told: format!("TaskManager {id} is lost"), explained_later: false },
            |departure| departure.loss.clone(),
        )
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
