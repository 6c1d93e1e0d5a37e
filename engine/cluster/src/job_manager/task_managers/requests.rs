//! Jobs that wait for slots, and what has to be asked for because of them.

use std::sync::Arc;
use std::time::Duration;

use flott_core::config;
use flott_core::ids::WorkerId;

use super::{Capacity, Grant, Member, Owner, State, TaskManagers};
use crate::job_manager::job_workers::JobWorkers;
use crate::job_manager::placement;
use crate::job_manager::slot_choice::{choose, missing};
use crate::resource_manager::{Demand, PreferredHost};

/// A job that waits for slots.
pub(super) struct Request {
    number: u64,
    /// Which of the job's requests.
    of_job: u64,
    slots: u32,
    timeout: Duration,
    job: Arc<JobWorkers>,
}

impl State {
    fn demand(&self, slots_each: u32) -> Demand {
        // What waits for a moment, until it is known where its TaskManagers are best started, is asked for then.
        let asked = || self.requests.iter().filter(|request| !request.job.placement().is_awaited());
        let wanted = asked().map(|request| request.slots).sum();
        let free = self.members.values().map(Member::slots_to_come).sum();
        let resources = self.members.values().map(|member| member.registration.resource_id.clone());
        let registered = resources.filter(|id| !id.is_empty()).collect();
        let missing = missing(wanted, free, slots_each);
        let preferred =
            if missing == 0 { Vec::new() } else { preferred(asked().map(|request| &request.job)) };
        Demand { missing, registered, preferred }
    }
}

/// What jobs prefer together.
fn preferred<'a>(jobs: impl Iterator<Item = &'a Arc<JobWorkers>>) -> Vec<PreferredHost> {
    let mut all: Vec<PreferredHost> = Vec::new();
    for host in jobs.flat_map(|job| job.placement().hosts().to_vec()) {
        match all.iter_mut().find(|known| known.host == host.host) {
            Some(known) => known.bytes = known.bytes.saturating_add(host.bytes),
            None => all.push(host),
        }
    }
    all.sort_by_key(|host| std::cmp::Reverse(host.bytes));
    all
}

impl TaskManagers {
    /// Tells the driver what is wanted, if that has changed. It is told under the lock, so that the last word is the true one.
    pub(super) fn declare(&self) {
        let Some(driver) = &self.driver else { return };
        let mut state = self.state();
        let demand = state.demand(self.slots_each);
        if state.leads && state.declared.as_ref() != Some(&demand) {
            state.declared = Some(demand.clone());
            driver.declare(demand);
        }
    }

    /// Asks for slots, all or none; the job is told when it has them, or that it does not get them within `timeout`. `of_job` tells
    /// this request of the job's from others.
    pub(in crate::job_manager) fn request(
        self: &Arc<Self>,
        slots: u32,
        timeout: Duration,
        job: Arc<JobWorkers>,
        of_job: u64,
    ) {
        if self.driver.is_some() {
            self.look_for_places(&job);
        }
        let number = {
            let mut state = self.state();
            state.next_request += 1;
            let number = state.next_request;
            state.requests.push_back(Request { number, of_job, slots, timeout, job });
            number
        };
        self.satisfy();
        let pool = Arc::clone(self);
        self.after(timeout, move || pool.expire(number, timeout));
    }

    /// So many slots are wanted instead, if that request has not been answered yet: it keeps its turn, and its time begins anew.
    pub(in crate::job_manager) fn request_more(
        self: &Arc<Self>,
        slots: u32,
        job: &Arc<JobWorkers>,
        of_job: u64,
    ) {
        let (number, timeout) = {
            let mut state = self.state();
            let State { requests, next_request, .. } = &mut *state;
            let mut open = requests.iter_mut();
            let open = open.find(|request| Arc::ptr_eq(&request.job, job) && request.of_job == of_job);
            let Some(request) = open else { return };
            *next_request += 1;
            request.number = *next_request;
            request.slots = request.slots.max(slots);
            (request.number, request.timeout)
        };
        self.satisfy();
        let pool = Arc::clone(self);
        self.after(timeout, move || pool.expire(number, timeout));
    }

    /// Finds out where the TaskManagers of a job are best started, if they have to be; they are asked for then, or after a moment.
    fn look_for_places(self: &Arc<Self>, job: &Arc<JobWorkers>) {
        let pool = Arc::clone(self);
        if job.placement().look(move || pool.declare()) {
            let pool = Arc::clone(self);
            self.after(placement::PATIENCE, move || pool.declare());
        }
    }

    fn expire(&self, number: u64, timeout: Duration) {
        let expired = {
            let mut state = self.state();
            let position = state.requests.iter().position(|request| request.number == number);
            position.and_then(|position| state.requests.remove(position))
        };
        let Some(request) = expired else { return };
        let Capacity { task_managers, slots, free_slots } = self.capacity();
        let obstacle = self.driver.as_ref().and_then(|driver| driver.obstacle());
        let remedy = obstacle.unwrap_or_else(|| {
            "start more TaskManagers, cancel other jobs, or lower the parallelism".to_owned()
        });
        request.job.no_slots(&format!(
            "{} slots are needed, but in {} the cluster had no more than {free_slots} free of {slots} in {task_managers} TaskManagers: {remedy}",
            request.slots,
            config::ConfigValue::write(&timeout),
        ));
        self.declare();
    }

    /// A job wants nothing any more.
    pub(in crate::job_manager) fn withdraw(&self, job: &Arc<JobWorkers>) {
        self.state().requests.retain(|request| !Arc::ptr_eq(&request.job, job));
        self.declare();
    }

    /// Grants what can be granted, to who has waited longest first.
    pub(super) fn satisfy(&self) {
        let granted = {
            let mut state = self.state();
            let State { members, requests, .. } = &mut *state;
            let mut granted = Vec::new();
            requests.retain(|request| {
                let free: Vec<_> = members.iter().map(|(id, member)| (*id, member.free_slots())).collect();
                let Some(chosen) = choose(&free, request.slots) else { return true };
                let mut grants = Vec::with_capacity(chosen.len());
                for (id, slots) in chosen {
                    let Some(member) = members.get_mut(&id) else { continue };
                    let worker = WorkerId::random();
                    member.idle_since = None;
                    member.workers.insert(worker, (slots, Owner::Job(Arc::clone(&request.job))));
                    let all = &member.registration;
                    grants.push(Grant {
                        worker,
                        task_manager: id,
                        address: all.data_address.clone(),
                        slots,
                        managed_bytes_per_slot: all.managed_bytes / u64::from(all.slots.max(1)),
                    });
                }
                granted.push((Arc::clone(&request.job), grants));
                false
            });
            granted
        };
        self.declare();
        for (job, grants) in granted {
            job.granted(grants);
        }
    }
}
