//! TaskManagers that are about to be taken away: they get no more work, their jobs move, and they go as soon as they have none.
//!
//! A notice may come before its TaskManager registers, and holds when it registers again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_core::ids::TaskManagerId;

use super::{State, TaskManagers};
use crate::job_manager::job_workers::JobWorkers;

/// The most notices that are remembered: nobody says when a TaskManager is gone that was given back.
const REMEMBERED: usize = 1024;

/// A TaskManager is to go.
#[derive(Debug, Clone)]
pub(super) struct Notice {
    resource_id: String,
    reason: String,
    /// Until when its jobs may wait for slots elsewhere.
    until: Instant,
}

impl Notice {
    /// A job with workers on that TaskManager moves.
    pub(super) fn tell(&self, id: TaskManagerId, job: &Arc<JobWorkers>) {
        job.leave(id, &self.reason, self.until.saturating_duration_since(Instant::now()));
    }
}

/// The notices for TaskManagers that are not known to be gone.
#[derive(Default)]
pub(super) struct Notices(VecDeque<Notice>);

impl Notices {
    /// That of a TaskManager.
    pub(super) fn of(&self, resource_id: &str) -> Option<&Notice> {
        self.0.iter().find(|notice| notice.resource_id == resource_id)
    }

    /// It is gone.
    pub(super) fn forget(&mut self, resource_id: &str) {
        self.0.retain(|notice| notice.resource_id != resource_id);
    }

    fn put(&mut self, notice: Notice) {
        self.0.push_back(notice);
        while self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }
}

impl State {
    /// The notice for a TaskManager that has registered, and the jobs with workers there.
    pub(super) fn noticed(&self, id: TaskManagerId) -> Option<(Notice, Vec<Arc<JobWorkers>>)> {
        let member = self.members.get(&id)?;
        let notice = self.notices.of(&member.registration.resource_id)?.clone();
        let mut jobs: Vec<Arc<JobWorkers>> = Vec::new();
        for job in member.workers.values().filter_map(|(_, owner)| owner.workers()) {
            if !jobs.iter().any(|other| Arc::ptr_eq(other, &job)) {
                jobs.push(job);
            }
        }
        Some((notice, jobs))
    }
}

impl TaskManagers {
    /// A TaskManager is to go. Its jobs get other slots for up to `within`, and move then.
    pub(in crate::job_manager) fn leave(self: &Arc<Self>, resource_id: &str, reason: &str, within: Duration) {
        let id = {
            let mut state = self.state();
            if state.notices.of(resource_id).is_some() {
                return;
            }
            let (resource_id, reason) = (resource_id.to_owned(), reason.to_owned());
            state.notices.put(Notice {
                resource_id: resource_id.clone(),
                reason,
                until: Instant::now() + within,
            });
            let mut members = state.members.iter_mut();
            let here = members.find(|(_, member)| member.registration.resource_id == resource_id);
            let Some((id, member)) = here else { return };
            member.leaving = true;
            *id
        };
        self.jobs_leave(id);
        self.declare();
        self.watch_idle(id);
    }

    /// The jobs of a TaskManager move, if it is to go.
    pub(super) fn jobs_leave(&self, id: TaskManagerId) {
        let Some((notice, jobs)) = self.state().noticed(id) else { return };
        let Notice { resource_id, reason, .. } = &notice;
        tracing::warn!(task_manager = %id, resource_id, reason, jobs = jobs.len(), "a TaskManager is to go");
        jobs.iter().for_each(|job| notice.tell(id, job));
    }
}
