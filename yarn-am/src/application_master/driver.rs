//! What the JobManager wants of YARN, for the task that talks to YARN.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flott_cluster::resource_manager::{Demand, ResourceManagerDriver};
use tokio::sync::Notify;

/// The two ends meet here: the JobManager declares and releases, the conversation with YARN takes and explains.
#[derive(Debug, Default)]
pub struct YarnDriver {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Taken by the conversation; none: nothing new.
    demand: Option<Demand>,
    /// As many as there are containers at most.
    release: BTreeSet<String>,
    obstacle: Option<String>,
}

impl YarnDriver {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is new since the last time: another demand, and who may go.
    pub fn take(&self) -> (Option<Demand>, BTreeSet<String>) {
        let mut state = self.state();
        (state.demand.take(), std::mem::take(&mut state.release))
    }

    /// Returns when there is something new. Cancel safe.
    pub async fn changed(self: &Arc<Self>) {
        self.changed.notified().await;
    }

    /// Says why containers are missing.
    pub fn explain(&self, obstacle: Option<String>) {
        self.state().obstacle = obstacle;
    }
}

impl ResourceManagerDriver for YarnDriver {
    fn declare(&self, demand: Demand) {
        self.state().demand = Some(demand);
        self.changed.notify_one();
    }

    fn release(&self, resource_id: &str) {
        self.state().release.insert(resource_id.to_owned());
        self.changed.notify_one();
    }

    fn obstacle(&self) -> Option<String> {
        self.state().obstacle.clone()
    }
}
