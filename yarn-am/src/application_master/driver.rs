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
    /// Taken by the conversation.
    wishes: Wishes,
    obstacle: Option<String>,
}

/// What is new since the last time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The JobManager has ceased to lead. If it leads again, that is said by `demand`.
    pub abandoned: bool,
    /// None: as before.
    pub demand: Option<Demand>,
    /// Who may go; as many as there are containers at most.
    pub release: BTreeSet<String>,
}

impl YarnDriver {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is new since the last time.
    pub fn take(&self) -> Wishes {
        std::mem::take(&mut self.state().wishes)
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
        self.state().wishes.demand = Some(demand);
        self.changed.notify_one();
    }

    fn abandon(&self) {
        self.state().wishes = Wishes { abandoned: true, ..Wishes::default() };
        self.changed.notify_one();
    }

    fn release(&self, resource_id: &str) {
        self.state().wishes.release.insert(resource_id.to_owned());
        self.changed.notify_one();
    }

    fn obstacle(&self) -> Option<String> {
        self.state().obstacle.clone()
    }
}
