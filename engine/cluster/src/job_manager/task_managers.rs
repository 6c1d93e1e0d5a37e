//! The TaskManagers that have registered, their slots, and the jobs that wait for some. Where TaskManagers can be had on demand, a
//! [`ResourceManagerDriver`] is told how many are missing, and which have been idle for long.

mod leaving;
mod requests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flott_core::config::{self, Configuration};
use flott_core::ids::{JobId, TaskManagerId, WorkerId};
use flott_runtime::slot::wall_clock_millis;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use super::departures::{Departures, Explanation, Loss, in_words};
use super::job_workers::{Adopted, JobWorkers};
use crate::job_master::JobEvent;
use crate::resource_manager::{Demand, ResourceManagerDriver};
use crate::rest::{ProcessView, TaskManagerView};
use crate::rpc::WireId;
use crate::rpc::control::{
    HeldWorker, Leave, LogsRead, ReadLogs, SetLevels, SetTokens, StartWorker, StopWorker, TaskManagerOrder,
    task_manager_order,
};

use leaving::Notices;
use requests::Request;

/// Questions for logs at a time, and how long an answer may take.
const MOST_QUESTIONS: usize = 64;
const LOGS_DEADLINE: Duration = Duration::from_secs(10);

/// Why a TaskManager is lost that has too many orders to take.
const DEAF: &str = "it does not take orders";

/// Orders to a TaskManager, on their way.
pub(super) type Orders = mpsc::Sender<Result<TaskManagerOrder, Status>>;

/// A worker that a job was granted: it has to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// Its id.
    pub(super) worker: WorkerId,
    /// Where it will be.
    pub(super) task_manager: TaskManagerId,
    /// The data port there.
    pub(super) address: String,
    /// How many slots it has.
    pub(super) slots: u32,
    /// What each of them has of managed memory, in bytes.
    pub(super) managed_bytes_per_slot: u64,
}

/// What a TaskManager said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) id: TaskManagerId,
    pub(super) data_address: String,
    /// By which the system that started it knows it; empty: none did.
    pub(super) resource_id: String,
    pub(super) slots: u32,
    pub(super) managed_bytes: u64,
}

/// How many TaskManagers and slots there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capacity {
    pub(super) task_managers: u32,
    pub(super) slots: u32,
    pub(super) free_slots: u32,
}

/// All TaskManagers.
pub(super) struct TaskManagers {
    io: Handle,
    driver: Option<Arc<dyn ResourceManagerDriver>>,
    /// Of one that is started on demand.
    slots_each: u32,
    idle_timeout: Duration,
    /// Held while a TaskManager registers with what it brings along, and while that is decided about: one follows the other.
    registering: Mutex<()>,
    state: Mutex<State>,
    questions: Mutex<Questions>,
}

/// TaskManagers that were asked for logs, by the number of the question.
#[derive(Default)]
struct Questions {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<LogsRead>>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<TaskManagerId, Member>,
    requests: VecDeque<Request>,
    next_request: u64,
    registrations: u64,
    /// Whether this JobManager leads: nothing is wanted otherwise.
    leads: bool,
    /// What the driver was told last; none: nothing, under this leader.
    declared: Option<Demand>,
    /// Those that are gone while nobody has said why.
    departures: Departures,
    /// Those that are to go.
    notices: Notices,
    /// The newest tokens for file systems; empty: those that TaskManagers begin with.
    tokens: Vec<u8>,
}

struct Member {
    registration: Registration,
    /// Which registration: the same TaskManager may come again before it is known to be gone.
    number: u64,
    orders: Orders,
    /// Since when it has had no worker.
    idle_since: Option<Instant>,
    /// When it last gave a sign of life, in milliseconds since the epoch, and what it said of itself.
    heard_millis: i64,
    process: ProcessView,
    /// How many slots each holds, and for whom.
    workers: HashMap<WorkerId, (u32, Owner)>,
    /// Those that were told to end: what they hold is as good as free.
    stopping: HashSet<WorkerId>,
    /// It is about to be taken away: it gets no more work.
    leaving: bool,
}

/// A worker that a TaskManager has brought along, and the slots it holds.
pub(super) type Brought = (WorkerId, u32, Owner);

/// Whose a worker is.
pub(super) enum Owner {
    /// A job's.
    Job(Arc<JobWorkers>),
    /// A job's that this leader cannot go on with yet, or not at all: it is left alone.
    Undecided(JobId, HeldWorker),
    /// Nobody's: it is stopped.
    Nobody,
}

impl Owner {
    fn job(&self) -> Option<JobId> {
        match self {
            Self::Job(workers) => Some(workers.job()),
            Self::Undecided(job, _) => Some(*job),
            Self::Nobody => None,
        }
    }

    /// The job that has it.
    fn workers(&self) -> Option<Arc<JobWorkers>> {
        match self {
            Self::Job(workers) => Some(Arc::clone(workers)),
            Self::Undecided(..) | Self::Nobody => None,
        }
    }
}

impl Member {
    fn free_slots(&self) -> u32 {
        if self.leaving {
            return 0;
        }
        let taken: u32 = self.workers.values().map(|(slots, _)| slots).sum();
        self.registration.slots.saturating_sub(taken)
    }

    /// The jobs that have workers there, once for each of those.
    fn jobs(&self) -> Vec<Arc<JobWorkers>> {
        self.workers.values().filter_map(|(_, owner)| owner.workers()).collect()
    }

    /// Whether it is to go, and has nothing left to do.
    fn may_leave(&self) -> bool {
        self.leaving && self.workers.is_empty()
    }

    /// The slots that are free, or are about to be.
    fn slots_to_come(&self) -> u32 {
        if self.leaving {
            return 0;
        }
        let stopping = self.workers.iter().filter(|(worker, _)| self.stopping.contains(worker));
        self.free_slots() + stopping.map(|(_, (slots, _))| slots).sum::<u32>()
    }
}

impl TaskManagers {
    /// None yet. Timers run on `io`.
    pub(super) fn new(
        configuration: &Configuration,
        driver: Option<Arc<dyn ResourceManagerDriver>>,
        io: Handle,
    ) -> Self {
        Self {
            io,
            driver,
            slots_each: configuration.get(&config::TASK_SLOTS),
            idle_timeout: configuration.get(&config::TASK_MANAGER_TIMEOUT),
            registering: Mutex::default(),
            state: Mutex::default(),
            questions: Mutex::default(),
        }
    }

    /// Gives a TaskManager back that has had nothing to do for long, unless somebody waits for slots: then it is one of those that will
    /// be enough.
    fn release_if_idle(self: &Arc<Self>, id: TaskManagerId) {
        let Some(driver) = &self.driver else { return };
        let released = {
            let mut state = self.state();
            let is_leaving = state.members.get(&id).is_some_and(Member::may_leave);
            if !state.requests.is_empty() && !is_leaving {
                drop(state);
                return self.watch_idle(id);
            }
            let is_idle = |member: &Member| {
                let long = member.idle_since.is_some_and(|since| since.elapsed() >= self.idle_timeout);
                (long || is_leaving) && !member.registration.resource_id.is_empty()
            };
            if !state.members.get(&id).is_some_and(is_idle) {
                return;
            }
            state.members.remove(&id)
        };
        let Some(member) = released else { return };
        give(&member.orders, task_manager_order::Kind::Leave(Leave {}));
        let Registration { resource_id, data_address, .. } = member.registration;
        tracing::info!(task_manager = %id, resource_id, address = data_address, "a TaskManager is idle and given back");
        driver.release(&resource_id);
        self.declare();
    }

    /// Looks again when one that is idle now has been so for long.
    fn watch_idle(self: &Arc<Self>, id: TaskManagerId) {
        if self.driver.is_none() {
            return;
        }
        if self.state().members.get(&id).is_some_and(Member::may_leave) {
            return self.release_if_idle(id);
        }
        let pool = Arc::clone(self);
        self.after(self.idle_timeout, move || pool.release_if_idle(id));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Never held while a job's workers are called: they call back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A TaskManager lives.
    pub(super) fn heard(&self, id: TaskManagerId, process: ProcessView) {
        if let Some(member) = self.state().members.get_mut(&id) {
            member.heard_millis = wall_clock_millis();
            member.process = process;
        }
    }

    /// Asks a TaskManager which logs it has, or, with a `name`, for the end of one.
    pub(super) async fn read_logs(&self, id: TaskManagerId, name: String) -> Result<LogsRead, String> {
        let (answer, answered) = oneshot::channel();
        let question = {
            let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
            questions.waiting.retain(|_, waiting| !waiting.is_closed());
            if questions.waiting.len() >= MOST_QUESTIONS {
                return Err("too many logs are asked for at once; try again".to_owned());
            }
            questions.next += 1;
            let number = questions.next;
            questions.waiting.insert(number, answer);
            number
        };
        let order = task_manager_order::Kind::ReadLogs(ReadLogs { question, name });
        if !self.state().members.get(&id).is_some_and(|member| give(&member.orders, order)) {
            return Err(format!("TaskManager {id} takes no orders"));
        }
        let answered = tokio::time::timeout(LOGS_DEADLINE, answered).await;
        let read = answered.ok().and_then(Result::ok);
        let read =
            read.ok_or_else(|| format!("TaskManager {id} did not send its logs in {LOGS_DEADLINE:?}"))?;
        if read.error.is_empty() { Ok(read) } else { Err(read.error) }
    }

    /// A TaskManager has answered.
    pub(super) fn logs_read(&self, read: LogsRead) {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = questions.waiting.remove(&read.question) {
            // Who asked may have gone.
            let _ = waiting.send(read);
        }
    }

    /// All of them, for people.
    pub(super) fn views(&self) -> Vec<TaskManagerView> {
        let state = self.state();
        let view = |(id, member): (&TaskManagerId, &Member)| TaskManagerView {
            id: *id,
            address: member.registration.data_address.clone(),
            slots: member.registration.slots,
            taken: member
                .workers
                .values()
                .filter_map(|(slots, owner)| Some((owner.job()?, *slots)))
                .collect(),
            managed_bytes: member.registration.managed_bytes,
            heard_millis: member.heard_millis,
            process: member.process,
        };
        state.members.iter().map(view).collect()
    }

    pub(super) fn capacity(&self) -> Capacity {
        let state = self.state();
        Capacity {
            task_managers: state.members.len() as u32,
            slots: state.members.values().map(|member| member.registration.slots).sum(),
            free_slots: state.members.values().map(Member::free_slots).sum(),
        }
    }

    /// A TaskManager offers its slots, and brings along what jobs take over. Tells which registration it is.
    ///
    /// An earlier registration of the same TaskManager is lost first: what it held must not be taken from the job after that has taken
    /// it over.
    pub(super) fn register(
        self: &Arc<Self>,
        registration: Registration,
        orders: Orders,
        take_over: impl FnOnce() -> Vec<Brought>,
    ) -> u64 {
        let id = registration.id;
        let one = self.registering.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = self.state().members.get(&id).map(|member| member.number);
        if let Some(earlier) = earlier {
            self.lost(id, earlier, "it has registered again");
        }
        let brought = take_over();
        tracing::info!(task_manager = %id, slots = registration.slots, address = registration.data_address, "a TaskManager has registered");
        let idle_since = brought.is_empty().then(Instant::now);
        let unwanted = brought.iter().filter(|(_, _, owner)| matches!(owner, Owner::Nobody));
        let unwanted: Vec<WorkerId> = unwanted.map(|(worker, _, _)| *worker).collect();
        let workers = brought.into_iter().map(|(worker, slots, owner)| (worker, (slots, owner))).collect();
        let (number, leaving) = {
            let mut state = self.state();
            state.registrations += 1;
            let number = state.registrations;
            let (heard_millis, process) = (wall_clock_millis(), ProcessView::default());
            let stopping = HashSet::new();
            let leaving = state.notices.of(&registration.resource_id).is_some();
            let member = Member {
                registration,
                number,
                orders,
                idle_since,
                heard_millis,
                process,
                workers,
                stopping,
                leaving,
            };
            // It may have been started long ago, with older ones.
            if !state.tokens.is_empty() {
                give(&member.orders, set_tokens(&state.tokens));
            }
            state.members.insert(id, member);
            (number, leaving)
        };
        drop(one);
        unwanted.into_iter().for_each(|worker| self.stop(worker));
        if leaving {
            self.jobs_leave(id);
        }
        self.satisfy();
        self.watch_idle(id);
        number
    }

    /// A job is known by now: it takes over which of its workers it wants, and the others are stopped.
    pub(super) fn decide(&self, job: JobId, workers: &Arc<JobWorkers>) {
        let one = self.registering.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = Vec::new();
        for (id, member) in &mut self.state().members {
            for (worker, (_, owner)) in &mut member.workers {
                if let Owner::Undecided(of, held) = owner
                    && *of == job
                {
                    let address = member.registration.data_address.clone();
                    waiting.push((*id, *worker, std::mem::take(held), address));
                    *owner = Owner::Job(Arc::clone(workers));
                }
            }
        }
        let ids: BTreeSet<TaskManagerId> = waiting.iter().map(|(id, ..)| *id).collect();
        let unwanted: Vec<(TaskManagerId, WorkerId)> = waiting
            .into_iter()
            .filter(|(id, worker, held, address)| {
                workers.adopt(*worker, held, *id, address) == Adopted::Refused
            })
            .map(|(id, worker, _, _)| (id, worker))
            .collect();
        for (id, worker) in &unwanted {
            let mut state = self.state();
            let held = state.members.get_mut(id).and_then(|member| member.workers.get_mut(worker));
            if let Some((_, owner)) = held {
                *owner = Owner::Nobody;
            }
        }
        drop(one);
        unwanted.into_iter().for_each(|(_, worker)| self.stop(worker));
        for id in ids {
            if let Some((notice, _)) = self.state().noticed(id) {
                notice.tell(id, workers);
            }
        }
    }

    /// Has all workers of a job killed.
    pub(super) fn stop_job(&self, job: JobId) {
        let of_job = |member: &Member| -> Vec<WorkerId> {
            let workers = member.workers.iter().filter(|(_, (_, owner))| owner.job() == Some(job));
            workers.map(|(worker, _)| *worker).collect()
        };
        let one = self.registering.lock().unwrap_or_else(PoisonError::into_inner);
        let workers: Vec<WorkerId> = self.state().members.values().flat_map(of_job).collect();
        drop(one);
        workers.into_iter().for_each(|worker| self.stop(worker));
    }

    /// Forgets all: another leader has them.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.members.clear();
        state.requests.clear();
        state.leads = false;
        state.declared = None;
        if let Some(driver) = &self.driver {
            driver.abandon();
        }
    }

    /// This JobManager leads from now on: TaskManagers may register.
    pub(super) fn lead(&self) {
        self.state().leads = true;
        self.declare();
    }

    /// A TaskManager is gone, with all its workers, unless it has registered again.
    pub(super) fn lost(&self, id: TaskManagerId, number: u64, reason: &str) {
        // Under one lock: whoever says why it is gone finds it here, or among the departures.
        let (member, loss) = {
            let mut state = self.state();
            let is_same = state.members.get(&id).is_some_and(|member| member.number == number);
            let Some(member) = is_same.then(|| state.members.remove(&id)).flatten() else { return };
            let Registration { data_address, resource_id, .. } = &member.registration;
            let loss = Loss {
                told: format!("TaskManager {id} at {data_address} is lost: {reason}"),
                explained_later: self.driver.is_some() && !resource_id.is_empty(),
            };
            state.departures.note(&member.registration, &loss, &member.jobs());
            (member, loss)
        };
        let Registration { data_address: address, resource_id, .. } = &member.registration;
        tracing::warn!(task_manager = %id, resource_id, address, reason, "a TaskManager is lost");
        self.lose_workers(member, &loss);
    }

    fn lose_workers(&self, member: Member, loss: &Loss) {
        for (worker, (_, owner)) in member.workers {
            let Owner::Job(job) = owner else { continue };
            job.task_manager_lost(worker, loss);
        }
        self.declare();
    }

    /// The system that ran a TaskManager says how it ended. Who was told that it is lost hears why.
    pub(super) fn ended(&self, resource_id: &str, reason: &str) {
        let (lost, explanation) = {
            let mut state = self.state();
            let here =
                state.members.iter().find(|(_, member)| member.registration.resource_id == resource_id);
            let here = here.map(|(id, _)| *id);
            state.notices.forget(resource_id);
            let explanation = state.departures.explain(resource_id, reason);
            let lost = here.and_then(|id| state.members.remove(&id)).map(|member| {
                let told = in_words(resource_id, &member.registration.data_address, reason);
                let loss = Loss { told, explained_later: false };
                state.departures.note(&member.registration, &loss, &member.jobs());
                (member, loss)
            });
            (lost, explanation)
        };
        if let Some((member, loss)) = lost {
            tracing::warn!(reason = loss.told, "a TaskManager is lost");
            self.lose_workers(member, &loss);
        }
        if let Some(Explanation { told, reason, jobs }) = explanation {
            for job in jobs {
                job.events().put(JobEvent::Explained { told: told.clone(), reason: reason.clone() });
            }
        }
    }

    /// A worker's process has ended; its slots are free.
    pub(super) fn worker_ended(
        self: &Arc<Self>,
        id: TaskManagerId,
        worker: WorkerId,
        reason: &str,
        exited: bool,
    ) {
        let ended = self.state().members.get_mut(&id).and_then(|member| {
            let ended = member.workers.remove(&worker);
            member.stopping.remove(&worker);
            if ended.is_some() && member.workers.is_empty() {
                member.idle_since = Some(Instant::now());
            }
            ended
        });
        if let Some((_, owner)) = ended {
            match owner {
                Owner::Job(job) if exited => job.worker_exited(worker, reason),
                Owner::Job(job) => job.worker_lost(worker, reason),
                Owner::Undecided(..) | Owner::Nobody => {}
            }
            self.satisfy();
            self.watch_idle(id);
        }
    }

    /// Does something later.
    pub(super) fn after(&self, time: Duration, run: impl FnOnce() + Send + 'static) {
        self.io.spawn(async move {
            tokio::time::sleep(time).await;
            run();
        });
    }

    /// Has a worker started.
    ///
    /// # Errors
    /// Its TaskManager is gone, or takes no orders, and then it is as good as gone.
    pub(super) fn start(&self, id: TaskManagerId, order: StartWorker) -> Result<(), Loss> {
        let order = task_manager_order::Kind::StartWorker(order);
        let deaf = match self.state().members.get(&id) {
            Some(member) if give(&member.orders, order) => return Ok(()),
            Some(member) => Some(member.number),
            None => None,
        };
        if let Some(number) = deaf {
            self.lost(id, number, DEAF);
        }
        Err(self.state().departures.of(id))
    }

    /// Has a worker killed. Its slots are free when it has ended.
    pub(super) fn stop(&self, worker: WorkerId) {
        let mut deaf = Vec::new();
        {
            let mut state = self.state();
            let members = state.members.iter_mut().filter(|(_, member)| member.workers.contains_key(&worker));
            for (id, member) in members {
                member.stopping.insert(worker);
                let order = StopWorker { worker: worker.write() };
                if !give(&member.orders, task_manager_order::Kind::StopWorker(order)) {
                    deaf.push((*id, member.number));
                }
            }
        }
        self.lose_deaf(deaf);
        // Who waits for slots gets those.
        self.declare();
    }

    /// Gives all TaskManagers new tokens, those that register from now on, too.
    pub(super) fn set_tokens(&self, tokens: Vec<u8>) {
        let deaf: Vec<(TaskManagerId, u64)> = {
            let mut state = self.state();
            let members = state.members.iter();
            let deaf = members.filter(|(_, member)| !give(&member.orders, set_tokens(&tokens)));
            let deaf = deaf.map(|(id, member)| (*id, member.number)).collect();
            state.tokens = tokens;
            deaf
        };
        self.lose_deaf(deaf);
    }

    /// Those that did not take an order, by their registration: they come back and hear everything, or are gone.
    fn lose_deaf(&self, deaf: Vec<(TaskManagerId, u64)>) {
        for (id, number) in deaf {
            self.lost(id, number, DEAF);
        }
    }

    /// Changes what all TaskManagers log; tells how many.
    pub(super) fn set_levels(&self, levels: &str) -> u32 {
        let state = self.state();
        let order = || task_manager_order::Kind::SetLevels(SetLevels { levels: levels.to_owned() });
        state.members.values().filter(|member| give(&member.orders, order())).count() as u32
    }
}

fn set_tokens(tokens: &[u8]) -> task_manager_order::Kind {
    task_manager_order::Kind::SetTokens(SetTokens { tokens: tokens.to_owned() })
}

fn give(orders: &Orders, kind: task_manager_order::Kind) -> bool {
    orders.try_send(Ok(TaskManagerOrder { kind: Some(kind) })).is_ok()
}
