//! TaskManagers that are about to be taken away: they get no more work, their jobs move, and they go as soon as they have none.

use std::sync::Arc;
use std::time::Duration;

use super::TaskManagers;
use crate::job_manager::job_workers::JobWorkers;

impl TaskManagers {
    /// A TaskManager is to go. Its jobs get other slots for up to `within`, and move then.
    pub(in crate::job_manager) fn leave(self: &Arc<Self>, resource_id: &str, reason: &str, within: Duration) {
        let (id, jobs) = {
            let mut state = self.state();
            let mut members = state.members.iter_mut();
            let here = members.find(|(_, member)| member.registration.resource_id == resource_id);
            let Some((id, member)) = here else { return };
            if std::mem::replace(&mut member.leaving, true) {
                return;
            }
            let mut jobs: Vec<Arc<JobWorkers>> = Vec::new();
            for job in member.workers.values().filter_map(|(_, owner)| owner.workers()) {
                if !jobs.iter().any(|other| Arc::ptr_eq(other, &job)) {
                    jobs.push(job);
                }
            }
            (*id, jobs)
        };
        tracing::warn!(task_manager = %id, resource_id, reason, jobs = jobs.len(), "a TaskManager is to go");
        for job in jobs {
            job.leave(id, reason, within);
        }
        self.declare();
        self.watch_idle(id);
    }
}
