//! The workers of one job: gets them slots, has them started, tells them what the JobMaster decides.

mod gateway;
mod leaving;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flott_core::ids::{Attempt, ExecutionId, JobId, SubtaskId, TaskManagerId, WorkerId};
use flott_plan::JobGraph;
use flott_plan::execution_graph::{SlotAssignment, SlotNumber};
use flott_runtime::net::Peer;
use flott_runtime::task::TaskMessage;
use tokio::sync::mpsc;
use tonic::Status;

use super::departures::Loss;
use super::placement::Placement;
use super::task_managers::{Grant, TaskManagers};
use crate::gateway::{Deployment, Place};
use crate::job_master::{EventQueue, ExecutionReport, JobEvent};
use crate::rpc::control::{HeldWorker, JobSpec, Release, SetLevels, StartWorker, WorkerOrder, worker_order};
use crate::rpc::{WireId, write_deploy, write_message};

pub(super) use gateway::RemoteGateway;
use leaving::Leaving;

/// What becomes of a worker of an earlier leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adopted {
    /// It is the job's.
    Taken,
    /// It has no place here and is to be stopped.
    Refused,
    /// That is not for this leader to say: it is left alone.
    Abandoned,
}

/// Orders to a worker, on their way.
pub(super) type Orders = mpsc::Sender<Result<WorkerOrder, Status>>;

/// A job's workers.
pub(super) struct JobWorkers {
    job: JobId,
    graph: Arc<JobGraph>,
    assignment: SlotAssignment,
    placement: Arc<Placement>,
    events: Arc<EventQueue>,
    task_managers: Arc<TaskManagers>,
    slot_timeout: Duration,
    state: Mutex<State>,
    /// Another worker of an earlier leader has been heard of.
    adopted: Condvar,
}

#[derive(Default)]
struct State {
    /// Which worker has which of the job's slots.
    slots: BTreeMap<SlotNumber, WorkerId>,
    workers: HashMap<WorkerId, Member>,
    /// What waits for its worker.
    waiting: Vec<Deployment>,
    /// Where each subtask was deployed last.
    placed: BTreeMap<SubtaskId, (Attempt, WorkerId)>,
    /// Where that was, whether its worker is still there or not.
    places: BTreeMap<SubtaskId, (Attempt, Place)>,
    /// More deployments are to come, so slots are needed already.
    preparing: bool,
    /// The slots that are asked for.
    requested: Option<Requested>,
    /// How many requests there were.
    requests: u64,
    /// What workers are started with; none: the job is over.
    spec: Option<JobSpec>,
    /// Another leader goes on with the job, or nobody does.
    abandoned: bool,
    /// Workers of an earlier leader may still come, and this is what they have said; none: they may not.
    adopting: Option<Vec<(WorkerId, Vec<ExecutionReport>)>>,
    /// The TaskManagers that are to go, from which the job has yet to move.
    leaving: BTreeMap<TaskManagerId, Leaving>,
    /// The number of the next worker.
    sequence: u64,
    /// How often workers have registered.
    registrations: u64,
}

/// Slots that are asked for.
#[derive(Debug, Clone, Copy)]
struct Requested {
    /// Which request: an answer may come while another one is decided about.
    number: u64,
    slots: u32,
    /// They take the place of slots that are to go, which may not be waited for as long.
    replacing: bool,
}

struct Member {
    task_manager: TaskManagerId,
    address: String,
    /// Set when it has registered.
    orders: Option<Orders>,
    /// Which of its registrations that was: it may come again before the earlier connection is known to be gone.
    registration: u64,
    /// Of two workers that hold the same slot the one with the higher number does.
    sequence: u64,
}

impl State {
    /// Asks for slots from now on; none: that is done already, and who is asked is looked at again when the answer comes.
    fn request(&mut self, slots: u32, replacing: bool) -> Option<Requested> {
        if self.requested.is_some() {
            return None;
        }
        self.requests += 1;
        self.requested = Some(Requested { number: self.requests, slots, replacing });
        self.requested
    }

    /// An attempt is deployed to a worker.
    fn place(&mut self, execution: ExecutionId, worker: WorkerId) {
        let ExecutionId { subtask, attempt } = execution;
        self.placed.insert(subtask, (attempt, worker));
        if let Some(Member { task_manager, address, .. }) = self.workers.get(&worker) {
            let place = Place { task_manager: *task_manager, address: address.clone() };
            self.places.insert(subtask, (attempt, place));
        }
    }

    fn worker_of(&self, execution: ExecutionId) -> Option<WorkerId> {
        let (attempt, worker) = self.placed.get(&execution.subtask)?;
        (*attempt == execution.attempt).then_some(*worker)
    }

    /// Forgets a worker and what it held.
    fn forget(&mut self, worker: WorkerId) {
        self.workers.remove(&worker);
        self.slots.retain(|_, other| *other != worker);
    }

    /// An attempt that another one has taken the place of is of no use any more.
    fn end(&self, worker: WorkerId, execution: ExecutionId) {
        self.give(worker, worker_order::Kind::Send(write_message(execution, TaskMessage::Cancel)));
        self.give(worker, worker_order::Kind::Release(Release { executions: vec![execution.into()] }));
    }

    fn give(&self, worker: WorkerId, kind: worker_order::Kind) -> bool {
        let orders = self.workers.get(&worker).and_then(|member| member.orders.as_ref());
        orders.is_some_and(|orders| orders.try_send(Ok(WorkerOrder { kind: Some(kind) })).is_ok())
    }
}

impl JobWorkers {
    /// None yet.
    pub(super) fn new(
        job: JobId,
        spec: JobSpec,
        graph: Arc<JobGraph>,
        events: Arc<EventQueue>,
        task_managers: Arc<TaskManagers>,
        slot_timeout: Duration,
    ) -> Self {
        let assignment = SlotAssignment::of(&graph);
        let placement = Arc::new(Placement::of(&graph));
        let state = Mutex::new(State { spec: Some(spec), ..State::default() });
        let adopted = Condvar::new();
        Self { job, graph, assignment, placement, events, task_managers, slot_timeout, state, adopted }
    }

    /// The same for a job that an earlier leader has left: its workers are taken over until [`end_adoption`](Self::end_adoption).
    pub(super) fn adopting(self) -> Self {
        self.state().adopting = Some(Vec::new());
        self
    }

    /// Workers that are started from now on have higher numbers than those of earlier leaders.
    pub(super) fn begin_term(&self, first: Attempt) {
        self.state().sequence = u64::from(first.0) << 32;
    }

    /// A worker of an earlier leader, as its TaskManager tells.
    pub(super) fn adopt(
        &self,
        worker: WorkerId,
        held: &HeldWorker,
        task_manager: TaskManagerId,
        address: &str,
    ) -> Adopted {
        let replaced: Vec<WorkerId> = {
            let mut state = self.state();
            if state.abandoned {
                return Adopted::Abandoned;
            }
            if state.adopting.is_none() || state.spec.is_none() {
                return Adopted::Refused;
            }
            let slots: Vec<SlotNumber> = held.slot_numbers.iter().copied().map(SlotNumber).collect();
            let holders: BTreeSet<WorkerId> = slots
                .iter()
                .filter_map(|slot| state.slots.get(slot))
                .copied()
                .filter(|other| *other != worker)
                .collect();
            let newer = holders
                .iter()
                .filter_map(|other| state.workers.get(other))
                .any(|m| m.sequence > held.sequence);
            if newer {
                return Adopted::Refused;
            }
            for other in &holders {
                state.forget(*other);
            }
            for slot in slots {
                state.slots.insert(slot, worker);
            }
            let address = address.to_owned();
            let member =
                Member { task_manager, address, orders: None, registration: 0, sequence: held.sequence };
            state.workers.insert(worker, member);
            holders.into_iter().collect()
        };
        replaced.into_iter().for_each(|other| self.task_managers.stop(other));
        Adopted::Taken
    }

    /// Waits until all slots of the job are held by workers that have told what they run, or for so long; who has not come by then
    /// comes too late. What the workers have told.
    pub(super) fn end_adoption(self: &Arc<Self>, longest: Duration) -> Vec<ExecutionReport> {
        let deadline = Instant::now() + longest;
        let needed = self.graph.slots_needed().max(1) as usize;
        let mut state = self.state();
        loop {
            let complete =
                state.slots.len() >= needed && state.workers.values().all(|member| member.orders.is_some());
            let left = deadline.saturating_duration_since(Instant::now());
            if complete || left.is_zero() || state.spec.is_none() {
                break;
            }
            state = self.adopted.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let late: Vec<WorkerId> =
            state.workers.iter().filter(|(_, member)| member.orders.is_none()).map(|(id, _)| *id).collect();
        late.iter().for_each(|worker| state.forget(*worker));
        let told = state.adopting.take().unwrap_or_default();
        let mut reports: BTreeMap<SubtaskId, (WorkerId, ExecutionReport)> = BTreeMap::new();
        for (worker, executions) in told {
            if !state.workers.contains_key(&worker) {
                continue;
            }
            for report in executions {
                let subtask = report.execution.subtask;
                let known = reports.get(&subtask).map(|(_, known)| known.execution.attempt);
                if known.is_some_and(|attempt| attempt >= report.execution.attempt) {
                    state.end(worker, report.execution);
                } else if let Some((other, earlier)) = reports.insert(subtask, (worker, report)) {
                    state.end(other, earlier.execution);
                }
            }
        }
        for (worker, report) in reports.values() {
            state.place(report.execution, *worker);
        }
        drop(state);
        late.into_iter().for_each(|worker| self.task_managers.stop(worker));
        // Some may have been told meanwhile that they are to go.
        self.replace_leaving();
        reports.into_values().map(|(_, report)| report).collect()
    }

    /// Another leader goes on with the job: its workers are left alone.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.abandoned = true;
        state.spec = None;
        state.waiting.clear();
        state.workers.clear();
        self.adopted.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Never held while the TaskManagers are called: they call back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where they are best started.
    pub(super) fn placement(&self) -> &Arc<Placement> {
        &self.placement
    }

    /// Whose they are.
    pub(super) fn job(&self) -> JobId {
        self.job
    }

    /// Where each subtask was deployed last, if its worker is still there: TaskManager and address.
    pub(super) fn placed(&self) -> BTreeMap<SubtaskId, (TaskManagerId, String)> {
        let state = self.state();
        let places = state.placed.iter().filter_map(|(subtask, (_, worker))| {
            let member = state.workers.get(worker)?;
            Some((*subtask, (member.task_manager, member.address.clone())))
        });
        places.collect()
    }

    /// Where the job's events go.
    pub(super) fn events(&self) -> &Arc<EventQueue> {
        &self.events
    }

    /// Asks for slots that are missing, and deploys what waits once every worker is there.
    fn advance(self: &Arc<Self>) {
        let (request, is_new) = {
            let mut state = self.state();
            let is_needed = state.preparing || !state.waiting.is_empty();
            if state.spec.is_none() || state.adopting.is_some() || !is_needed {
                return;
            }
            let needed = self.graph.slots_needed().max(1);
            let missing = needed.saturating_sub(state.slots.len() as u32);
            if missing == 0 {
                if state.workers.values().all(|member| member.orders.is_some()) {
                    self.deploy_waiting(&mut state);
                }
                return;
            }
            match state.requested.as_mut().filter(|open| open.slots < missing && !open.replacing) {
                // More has been lost since.
                Some(open) => {
                    open.slots = missing;
                    (*open, false)
                }
                None => match state.request(missing, false) {
                    Some(request) => (request, true),
                    None => return,
                },
            }
        };
        let Requested { number, slots, .. } = request;
        match is_new {
            true => self.task_managers.request(slots, self.slot_timeout, Arc::clone(self), number),
            false => self.task_managers.request_more(slots, self, number),
        }
    }

    fn deploy_waiting(&self, state: &mut State) {
        let waiting = std::mem::take(&mut state.waiting);
        let mut by_worker: BTreeMap<WorkerId, Vec<Deployment>> = BTreeMap::new();
        for deployment in waiting {
            let Some(worker) = state.slots.get(&deployment.slot).copied() else { continue };
            state.place(deployment.execution, worker);
            by_worker.entry(worker).or_default().push(deployment);
        }
        for (worker, mut deployments) in by_worker {
            for deployment in &mut deployments {
                for (subtask, neighbour) in &mut deployment.neighbours {
                    neighbour.worker = self.peer_of(state, *subtask, worker);
                }
            }
            if !state.give(worker, worker_order::Kind::Deploy(write_deploy(deployments))) {
                // Its connection is gone, which is noticed where it is read.
                tracing::warn!(%worker, "a worker does not take orders");
            }
        }
    }

    /// The worker of a subtask that `own` exchanges data with; none: `own`.
    fn peer_of(&self, state: &State, subtask: SubtaskId, own: WorkerId) -> Option<Peer> {
        let placed = state.placed.get(&subtask).map(|(_, worker)| *worker);
        let planned = || state.slots.get(&self.assignment.slot_of(subtask)?).copied();
        let worker = placed.filter(|worker| state.workers.contains_key(worker)).or_else(planned)?;
        let member = state.workers.get(&worker).filter(|_| worker != own)?;
        Some(Peer { worker, address: member.address.clone() })
    }

    /// The job has got slots: their workers are started.
    pub(super) fn granted(self: &Arc<Self>, grants: Vec<Grant>) {
        let mut orders = Vec::with_capacity(grants.len());
        let spec = {
            let mut state = self.state();
            state.requested = None;
            let truly_missing = (0..self.graph.slots_needed().max(1))
                .map(SlotNumber)
                .filter(|slot| !state.slots.contains_key(slot));
            // Those that somebody still holds who is to go come last.
            let mut missing: Vec<SlotNumber> = truly_missing.chain(state.leaving_slots()).collect();
            missing.reverse();
            for grant in &grants {
                let Grant { worker, task_manager, address, slots, .. } = grant;
                let numbers = missing.split_off(missing.len().saturating_sub(*slots as usize));
                for slot in &numbers {
                    state.slots.insert(*slot, *worker);
                }
                state.sequence += 1;
                let sequence = state.sequence;
                orders.push((numbers, sequence));
                let (task_manager, address) = (*task_manager, address.clone());
                let member = Member { task_manager, address, orders: None, registration: 0, sequence };
                state.workers.insert(*worker, member);
            }
            state.spec.clone()
        };
        for (grant, (numbers, sequence)) in grants.into_iter().zip(orders) {
            let Some(spec) = &spec else {
                self.task_managers.worker_ended(grant.task_manager, grant.worker, "the job is over", false);
                continue;
            };
            let order = StartWorker {
                worker: grant.worker.write(),
                spec: Some(spec.clone()),
                managed_bytes_per_slot: grant.managed_bytes_per_slot,
                slots: grant.slots,
                slot_numbers: numbers.into_iter().map(|slot| slot.0).collect(),
                sequence,
            };
            if let Err(loss) = self.task_managers.start(grant.task_manager, order) {
                // It may have been lost before this job knew of the worker.
                self.task_manager_lost(grant.worker, &loss);
            }
            let job = Arc::clone(self);
            self.task_managers.after(self.slot_timeout, move || job.check_registered(grant.worker));
        }
        self.replace_leaving();
        // More may have been lost since the answer was on its way.
        self.advance();
    }

    /// A worker has had time enough to register.
    fn check_registered(self: &Arc<Self>, worker: WorkerId) {
        let is_late = self.state().workers.get(&worker).is_some_and(|member| member.orders.is_none());
        if is_late {
            let timeout = flott_core::config::ConfigValue::write(&self.slot_timeout);
            let reason = format!(
                "worker {worker} did not come to its job's execute within {timeout} (slot.request.timeout): what does main wait for?"
            );
            self.task_managers.stop(worker);
            self.worker_lost(worker, &reason);
        }
    }

    /// The job does not get slots. What is deployed meanwhile may wait for longer than those that were to take the place of others.
    pub(super) fn no_slots(self: &Arc<Self>, reason: &str) {
        let mut state = self.state();
        let replacing = state.requested.take().is_some_and(|requested| requested.replacing);
        let leaving = !state.leaving.is_empty();
        if !replacing {
            let executions = state.waiting.drain(..).map(|deployment| deployment.execution).collect();
            let reason = reason.to_owned();
            self.events.put(JobEvent::Lost { executions, reason, explained_later: false });
        }
        drop(state);
        if leaving {
            self.give_up_leaving();
        }
        if replacing {
            self.advance();
        }
    }

    /// A worker has connected, told what it runs, and takes orders. Tells which registration it is; none: it is none of this job's.
    ///
    /// One that comes again to the same leader is lost: what was said on its earlier connection, by either side, may not have arrived. A
    /// new leader has said nothing yet, so it hears everything from the workers.
    pub(super) fn registered(
        self: &Arc<Self>,
        worker: WorkerId,
        orders: Orders,
        executions: Vec<ExecutionReport>,
    ) -> Option<u64> {
        let number = {
            let mut state = self.state();
            let State { workers, adopting, registrations, .. } = &mut *state;
            let member = workers.get_mut(&worker)?;
            if member.registration != 0 && adopting.is_none() {
                drop(state);
                self.task_managers.stop(worker);
                let reason = format!("worker {worker} is lost: its connection broke, and it came again");
                self.worker_lost(worker, &reason);
                return None;
            }
            *registrations += 1;
            member.registration = *registrations;
            member.orders = Some(orders);
            if let Some(told) = adopting {
                told.retain(|(other, _)| *other != worker);
                told.push((worker, executions));
                self.adopted.notify_all();
            }
            *registrations
        };
        self.advance();
        self.tell_move();
        Some(number)
    }

    /// The connection of a registration is gone, and with it the worker, unless it has been adopted or has registered again since.
    pub(super) fn connection_lost(self: &Arc<Self>, worker: WorkerId, number: u64, reason: &str) {
        let is_same = self.state().workers.get(&worker).is_some_and(|member| member.registration == number);
        if is_same {
            // Its slots are as good as free, so none are asked for instead.
            self.task_managers.stop(worker);
            self.worker_lost(worker, reason);
        }
    }

    /// A worker's process has ended by itself.
    pub(super) fn worker_exited(self: &Arc<Self>, worker: WorkerId, reason: &str) {
        let never_registered =
            self.state().workers.get(&worker).is_some_and(|member| member.orders.is_none());
        if never_registered {
            // It would do so again.
            self.events.put(JobEvent::CannotRun { reason: reason.to_owned() });
        }
        self.worker_lost(worker, reason);
    }

    /// A worker is gone, and everything in it.
    pub(super) fn worker_lost(self: &Arc<Self>, worker: WorkerId, reason: &str) {
        self.task_manager_lost(worker, &Loss { told: reason.to_owned(), explained_later: false });
    }

    /// The same with its TaskManager.
    pub(super) fn task_manager_lost(self: &Arc<Self>, worker: WorkerId, loss: &Loss) {
        let Loss { told: reason, explained_later } = loss.clone();
        let mut state = self.state();
        let Some(member) = state.workers.remove(&worker) else { return };
        if state.spec.is_none() {
            return;
        }
        tracing::warn!(%worker, task_manager = %member.task_manager, reason, "a worker is lost");
        if state.adopting.is_some() {
            // What it would have told is missing then.
            state.forget(worker);
            return;
        }
        let State { slots, waiting, placed, .. } = &mut *state;
        let mut executions = Vec::new();
        waiting.retain(|deployment| {
            let lost = slots.get(&deployment.slot) == Some(&worker);
            if lost {
                executions.push(deployment.execution);
            }
            !lost
        });
        slots.retain(|_, other| *other != worker);
        placed.retain(|subtask, (attempt, other)| {
            if *other == worker {
                executions.push(ExecutionId { subtask: *subtask, attempt: *attempt });
            }
            *other != worker
        });
        self.events.put(JobEvent::Lost { executions, reason, explained_later });
        drop(state);
        self.advance();
    }

    /// The job is over: its workers go.
    pub(super) fn finish(self: &Arc<Self>) {
        let workers: Vec<WorkerId> = {
            let mut state = self.state();
            state.spec = None;
            state.waiting.clear();
            state.workers.keys().copied().collect()
        };
        self.task_managers.withdraw(self);
        workers.into_iter().for_each(|worker| self.task_managers.stop(worker));
    }

    /// Changes what the job's workers log; tells how many.
    pub(super) fn set_levels(&self, levels: &str) -> u32 {
        let state = self.state();
        let order = || worker_order::Kind::SetLevels(SetLevels { levels: levels.to_owned() });
        state.workers.keys().filter(|worker| state.give(**worker, order())).count() as u32
    }
}
