//! A seeded simulation of leaders that die between any two steps. Real are the JobMaster, the HA store, how a job is taken over, the order in
//! which what is kept is removed, and what workers remember for the next leader; the election, YARN, time, threads, disks and tasks
//! are simulated, so a seed always gives the same run.
//!
//! The job is that of an application's main, which every attempt runs again until YARN knows that the application is over.
//!
//! The oracle: an acknowledged submission, and an acknowledged cancellation, holds; a job has one outcome, ever, which every later attempt's
//! main is told, and does not run again; no checkpoint is gone back behind; every part of a checkpoint that another one followed is committed,
//! and nothing else; no attempt runs twice; what is left over is deleted. Of an application that runs nothing is removed, and of one that is over nothing
//! is kept. After the last fault the job comes to its end.

mod application;
mod files;
pub(super) mod plan;
mod process;
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use flott_core::config::{self, Configuration};
use flott_core::ids::{CheckpointId, JobId, SubtaskId};
use flott_fs::FsPath;
use flott_plan::execution_graph::SlotNumber;
use flott_runtime::task::TaskMessage;
use tokio::sync::watch;

use super::{
    Adoption, Environment, EventQueue, ExecutionReport, JobEvent, JobMaster, JobMasterSetup, JobReport,
};
use crate::checkpoint::CheckpointStore;
use crate::high_availability::store::{
    BlobStore, Fate, HighAvailabilityStore, JobFolder, JobRecord, MemoryBlobs, MemoryPointers,
    RecoveredContent, Verdict,
};
use crate::high_availability::{PointerStore, StoreError};
use crate::job_manager::{TakeOver, delete_garbage};
use crate::result::JobError;
use crate::rpc::control::{JobOutcome, Submission, worker_message};
use crate::rpc::ha::{JobPointer, State};
use crate::rpc::read_event;
use files::MemoryFiles;
pub(crate) use plan::graph;
use process::{Order, Orders, Process, Wire};
use world::World;

/// How many faults a run has at most.
const FAULTS: u32 = 12;

/// How long a run may take, in steps, from its last fault on.
const PATIENCE: u32 = 60_000;

fn disk() -> &'static MemoryFiles {
    static DISK: OnceLock<MemoryFiles> = OnceLock::new();
    DISK.get_or_init(|| {
        let files = MemoryFiles::default();
        flott_fs::register("sim", Arc::new(files.clone()));
        files
    })
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % bound.max(1) as u64) as usize
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

struct Leader {
    number: u32,
    master: JobMaster,
    events: Arc<EventQueue>,
    process: Arc<Process>,
    orders: Orders,
    record: Arc<JobRecord>,
    /// It has died in the middle of a write.
    dead: Arc<AtomicBool>,
}

struct Simulation {
    seed: u64,
    random: Random,
    begin: Instant,
    millis: Arc<AtomicU64>,
    pointers: MemoryPointers,
    blobs: MemoryBlobs,
    folder: FsPath,
    configuration: Configuration,
    world: World,
    leaders: u32,
    current: Option<Leader>,
    /// A leader that does not know yet that it is none any more.
    zombie: Option<Leader>,
    /// What leaders have set out to delete, being sure that nothing points to it: it takes effect later, and whoever leads then.
    deletions: Vec<JobFolder>,
    faults: u32,
    acknowledged: bool,
    canceled: bool,
    may_be_canceled: bool,
    wants_cancel: bool,
    /// The writes that were looked at.
    seen: u64,
    latest: Option<CheckpointId>,
    /// Every checkpoint that was complete.
    completed: BTreeSet<CheckpointId>,
    over: Option<(String, String)>,
    /// What the application's main was told.
    told: Option<JobOutcome>,
    /// YARN knows that the application is over: there will be no other attempt.
    is_unregistered: bool,
}

fn job() -> JobId {
    JobId::from_bytes([7; 16])
}

impl Simulation {
    fn new(seed: u64) -> Self {
        disk();
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..5 {
            random.below(2);
        }
        let mut configuration = Configuration::new();
        let folder = format!("sim:///{seed}");
        for (key, value) in [
            (config::CHECKPOINT_INTERVAL.key, "10 ms"),
            (config::CHECKPOINT_DIR.key, &folder),
            (config::TOLERABLE_FAILED_CHECKPOINTS.key, "1000"),
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.attempts", "100000"),
            ("restart-strategy.fixed-delay.delay", "5 ms"),
        ] {
            configuration.set(key, value).unwrap();
        }
        let turns = 5 + random.below(120) as u32;
        let faults = random.below(FAULTS as usize + 1) as u32;
        let wants_cancel = random.one_in(6);
        Self {
            seed,
            random,
            begin: Instant::now(),
            millis: Arc::default(),
            pointers: MemoryPointers::default(),
            blobs: MemoryBlobs::default(),
            folder: folder.parse::<FsPath>().unwrap().join(&job().to_string()),
            configuration,
            world: World::new(graph(), turns),
            leaders: 0,
            current: None,
            zombie: None,
            deletions: Vec::new(),
            faults,
            acknowledged: false,
            canceled: false,
            may_be_canceled: false,
            wants_cancel,
            seen: 0,
            latest: None,
            completed: BTreeSet::new(),
            over: None,
            told: None,
            is_unregistered: false,
        }
    }

    /// After how many writes a leader dies, and what becomes of the last one.
    fn fate(&mut self, dead: &Arc<AtomicBool>) -> Fate {
        let dies = self.faults > 0 && self.random.one_in(2);
        let left = AtomicI64::new(if dies { self.random.below(25) as i64 } else { i64::MAX });
        let last = if self.random.one_in(2) { Verdict::DoneUnheard } else { Verdict::Refused };
        if dies {
            self.faults -= 1;
        }
        let dead = Arc::clone(dead);
        Arc::new(move |_| match left.fetch_sub(1, Ordering::SeqCst) {
            0 => {
                dead.store(true, Ordering::SeqCst);
                last
            }
            more if more > 0 => Verdict::Done,
            _ => Verdict::Refused,
        })
    }

    /// Files that cannot be written for a while, now and then.
    fn weather(&mut self, fate: Fate) -> Fate {
        if self.faults == 0 || !self.random.one_in(3) {
            return fate;
        }
        self.faults -= 1;
        let (begin, length) = (self.random.below(6) as i64, 3 + self.random.below(6) as i64);
        let written = AtomicI64::new(0);
        Arc::new(move |what| {
            let bad =
                what == "file" && (begin..begin + length).contains(&written.fetch_add(1, Ordering::SeqCst));
            if bad { Verdict::Refused } else { fate(what) }
        })
    }

    fn pointer(&self) -> Option<JobPointer> {
        let store = HighAvailabilityStore::new(Arc::new(self.pointers.clone()), Arc::new(self.blobs.clone()));
        let recovered = store.peek(job()).unwrap();
        if self.acknowledged && !self.is_unregistered {
            assert!(recovered.is_some(), "an acknowledged job is not there");
        }
        recovered
    }

    /// The next leader begins, if it lives that long.
    fn elect(&mut self) {
        self.leaders += 1;
        let number = self.leaders;
        let dead = Arc::new(AtomicBool::new(false));
        let fate = self.fate(&dead);
        let pointers = Arc::new(self.pointers.next_writer().with_fate(Arc::clone(&fate)));
        let weather = self.weather(fate);
        let blobs = Arc::new(self.blobs.with_fate(weather));
        let store = HighAvailabilityStore::new(pointers, blobs);
        let recovered = store.recover().unwrap().pop();
        self.deletions.extend(store.left_over().unwrap_or_default());
        let Some((_, recovered)) = recovered else {
            assert!(!self.acknowledged, "an acknowledged job is not there");
            // Main tries again.
            let submission = Submission::default();
            let pointer = JobPointer { next_checkpoint: 1, of_main: true, ..JobPointer::default() };
            if let Ok(record) = store.submit(job(), &submission, pointer) {
                self.acknowledged = true;
                self.begin_leader(number, record, None, dead);
            }
            return;
        };
        let record = recovered.unwrap();
        if record.pointer().state() == State::Over {
            record.delete_files_of_the_past();
            delete_garbage(job(), &record);
            self.tell_main(&record);
            if !dead.load(Ordering::SeqCst) {
                self.end_application();
            }
            return;
        }
        assert!(matches!(record.content(), Ok(RecoveredContent::Active(_))), "its submission is gone");
        let take_over = TakeOver {
            job: job(),
            record: &record,
            directory: Some(self.folder.clone()),
            patience: None,
            failing: &|_| {},
        };
        match take_over.run(|_| {}, || self.reports(number)) {
            Ok(adoption) => self.begin_leader(number, Arc::clone(&record), Some(adoption), dead),
            Err(error) => assert!(matches!(error, StoreError::NotLeader(_)), "{error}"),
        }
    }

    /// What workers tell a leader that they follow from now on.
    fn reports(&mut self, leader: u32) -> Vec<ExecutionReport> {
        let mut reports = Vec::new();
        let slots: Vec<_> = self.world.workers.keys().copied().collect();
        for slot in slots {
            if self.faults > 0 && self.random.one_in(6) {
                // It comes too late.
                self.faults -= 1;
                self.world.kill(slot);
                continue;
            }
            let Some(worker) = self.world.workers.get_mut(&slot) else { continue };
            worker.leader = leader;
            for report in worker.outbox.report() {
                let events = report.events.into_iter().map(|event| read_event(event).unwrap().1);
                reports.push(ExecutionReport {
                    execution: report.execution.unwrap().into(),
                    neighbours: report.neighbours.into_iter().map(Into::into).collect(),
                    events: events.collect(),
                });
            }
        }
        reports
    }

    fn begin_leader(
        &mut self,
        number: u32,
        record: Arc<JobRecord>,
        adoption: Option<Adoption>,
        dead: Arc<AtomicBool>,
    ) {
        let (events, orders) = (Arc::new(EventQueue::default()), Orders::default());
        let millis = Arc::clone(&self.millis);
        let process = Arc::new(Process { begin: self.begin, millis, works: Mutex::default() });
        let mut master = JobMaster::new(JobMasterSetup {
            job: job(),
            graph: Arc::clone(&self.world.graph),
            configuration: self.configuration.clone(),
            gateway: Box::new(Wire(Arc::clone(&orders))),
            events: Arc::clone(&events),
            environment: Arc::clone(&process) as Arc<dyn Environment>,
            restore: None,
            record: Some(Arc::clone(&record)),
            adoption,
            report: watch::Sender::new(JobReport::default()),
        })
        .unwrap();
        master.start();
        self.current = Some(Leader { number, master, events, process, orders, record, dead });
    }

    /// Something a leader has ordered arrives.
    fn deliver(&mut self, leader: &Leader, is_current: bool) {
        let order = leader.orders.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(order) = order else { return };
        let subtask = match &order {
            Order::Deploy(deployment) => deployment.execution.subtask,
            Order::Send(execution, _) | Order::Release(execution) | Order::GiveUp(execution) => {
                execution.subtask
            }
        };
        let slot = self.world.slot_of(subtask);
        let follows = self.world.workers.get(&slot).map(|worker| worker.leader);
        let obeys = follows == Some(leader.number);
        match order {
            // A worker is started for the current leader only: its TaskManager has registered there.
            Order::Deploy(deployment) if obeys || (follows.is_none() && is_current) => {
                if is_current {
                    assert!(self.over.is_none(), "a job that is over is deployed");
                    if deployment.restore.ended.is_none() {
                        assert_eq!(deployment.restore.checkpoint, self.latest, "it goes back");
                    }
                }
                self.world.deploy(leader.number, deployment);
            }
            Order::Send(execution, message) if obeys => {
                match message {
                    TaskMessage::CheckpointComplete(id) => {
                        assert!(self.completed.contains(&id), "checkpoint {id} is not complete");
                    }
                    TaskMessage::Commit => {
                        assert!(!self.pointer().unwrap().commits.is_empty(), "committed before it was kept");
                    }
                    _ => {}
                }
                self.world.tell(execution, message);
            }
            Order::Release(execution) if obeys => self.world.release(execution),
            Order::GiveUp(_) if obeys => self.lose(slot),
            _ => {}
        }
    }

    /// A worker dies; the leader that it follows hears of it.
    fn lose(&mut self, slot: SlotNumber) {
        let follows = self.world.workers.get(&slot).map(|worker| worker.leader);
        let executions = self.world.kill(slot);
        for leader in self.current.iter().chain(&self.zombie) {
            if Some(leader.number) == follows {
                let reason = "its worker was killed".to_owned();
                leader.events.put(JobEvent::Lost {
                    executions: executions.clone(),
                    reason,
                    explained_later: false,
                });
            }
        }
    }

    /// What a worker has to say arrives, if the leader it follows is there.
    fn hear(&mut self) {
        let slots: Vec<_> = self.world.workers.keys().copied().collect();
        if slots.is_empty() {
            return;
        }
        let slot = slots[self.random.below(slots.len())];
        let worker = &self.world.workers[&slot];
        let leader = self.current.iter().chain(&self.zombie).find(|leader| leader.number == worker.leader);
        let Some(leader) = leader else { return };
        while let Some(message) = worker.outbox.take() {
            if let Some(worker_message::Kind::Event(event)) = message.kind {
                let (execution, event) = read_event(event).unwrap();
                leader.events.put(JobEvent::Task { execution, event });
                return;
            }
        }
    }

    /// A leader does something; false: it is over with it.
    fn act(&mut self, leader: &mut Leader, is_current: bool) -> bool {
        match self.random.below(4) {
            0 => self.deliver(leader, is_current),
            1 => {
                let work = leader.process.works.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                if let Some(work) = work {
                    work();
                    self.observe();
                    self.check_files();
                }
            }
            2 => return self.step(leader, None),
            _ => {
                if let Some(event) = leader.events.take() {
                    return self.step(leader, Some(event));
                }
            }
        }
        !leader.dead.load(Ordering::SeqCst)
    }

    fn step(&mut self, leader: &mut Leader, event: Option<JobEvent>) -> bool {
        match leader.master.step(event) {
            None => !leader.dead.load(Ordering::SeqCst),
            Some(Err(JobError::Suspended { .. })) => false,
            Some(outcome) => {
                // It is told to clients: from now on it must not change.
                let status = match &outcome {
                    Ok(_) => "FINISHED",
                    Err(error) => error.status().name(),
                };
                assert_eq!(self.pointer().unwrap().status, status, "told before it was kept");
                self.tell_main(&leader.record);
                if !leader.dead.load(Ordering::SeqCst) && self.random.one_in(2) {
                    self.end_application();
                }
                false
            }
        }
    }

    fn observe(&mut self) {
        let writes = self.pointers.writes();
        if std::mem::replace(&mut self.seen, writes) == writes {
            return;
        }
        if self.is_unregistered {
            return;
        }
        let Some(pointer) = self.pointer() else { return };
        let latest = pointer.checkpoints.last().map(|kept| CheckpointId(kept.id));
        assert!(latest >= self.latest, "a checkpoint is gone back behind: {:?} {latest:?}", self.latest);
        if latest > self.latest {
            self.completed.extend(latest);
            self.latest = latest;
        }
        if pointer.state() == State::Over {
            let end = (pointer.status.clone(), pointer.failure.clone());
            assert_eq!(self.over.get_or_insert_with(|| end.clone()), &end, "a job ends twice");
        }
    }

    /// What counts is there.
    fn check_files(&self) {
        if let (Some(latest), None) = (self.latest, &self.over) {
            let folder = CheckpointStore::new(self.folder.clone()).folder(latest);
            assert!(disk().exists(&folder.join("_metadata")), "the latest checkpoint is deleted");
        }
    }

    /// A deletion takes effect.
    fn delete(&mut self) {
        if !self.deletions.is_empty() {
            let folder = self.deletions.swap_remove(self.random.below(self.deletions.len()));
            let _ = self.blobs.remove_all(folder);
        }
    }

    fn fault(&mut self) {
        self.faults -= 1;
        match self.random.below(4) {
            0 => self.current = None,
            1 => self.zombie = self.current.take().or_else(|| self.zombie.take()),
            _ => {
                let slots: Vec<_> = self.world.workers.keys().copied().collect();
                if !slots.is_empty() {
                    let slot = slots[self.random.below(slots.len())];
                    self.lose(slot);
                }
            }
        }
    }

    fn run(mut self) {
        let subtasks: Vec<SubtaskId> = self.world.graph.subtasks().collect();
        let mut patience = PATIENCE;
        loop {
            self.observe();
            if self.over.is_some() && self.current.is_none() && self.zombie.is_none() {
                break;
            }
            if self.faults == 0 {
                patience -= 1;
                assert!(patience > 0, "it does not come to its end: {:?}", self.pointer());
            }
            if self.current.is_none() {
                if self.over.is_none() && (self.zombie.is_none() || self.random.one_in(20)) {
                    self.elect();
                } else if self.over.is_some() {
                    self.zombie = None;
                }
            }
            if self.faults > 0 && self.random.one_in(60) {
                self.fault();
            }
            if self.random.one_in(500) {
                self.remove_remains();
            }
            if self.random.one_in(50) {
                self.delete();
            }
            if self.wants_cancel
                && self.random.one_in(200)
                && let Some(leader) = &self.current
            {
                self.wants_cancel = false;
                match leader.record.cancel() {
                    Ok(()) => {
                        self.canceled = self.over.is_none();
                        leader.events.put(JobEvent::Cancel);
                    }
                    // It may be kept all the same; the client tries again.
                    Err(StoreError::NotLeader(_)) => (self.wants_cancel, self.may_be_canceled) = (true, true),
                    Err(error) => panic!("{error}"),
                }
            }
            match self.random.below(8) {
                0 | 1 => {
                    let subtask = subtasks[self.random.below(subtasks.len())];
                    self.world.turn(subtask);
                }
                2 => self.hear(),
                3 => drop(self.millis.fetch_add(1 + self.random.below(4) as u64, Ordering::SeqCst)),
                4 => {
                    if let Some(mut zombie) = self.zombie.take()
                        && self.act(&mut zombie, false)
                        && !self.random.one_in(200)
                    {
                        self.zombie = Some(zombie);
                    }
                }
                _ => {
                    if let Some(mut leader) = self.current.take()
                        && self.act(&mut leader, true)
                    {
                        self.current = Some(leader);
                    }
                }
            }
        }
        self.check_end();
    }

    fn check_end(&mut self) {
        // Whoever leads next finds the same, until YARN knows; the next commands then find what is left.
        while !self.is_unregistered {
            self.elect();
        }
        while self.faults > 0 && !self.is_removed() {
            self.remove_remains();
        }
        self.remove_remains();
        assert!(self.is_removed(), "{:?} {:?} are left", self.blobs.names(), self.pointers.names());
        let (status, failure) = self.over.clone().unwrap();
        let expected = if self.canceled { "CANCELED" } else { "FINISHED" };
        let maybe = self.may_be_canceled && status == "CANCELED";
        assert!(status == expected || maybe, "{status} {failure}");
        assert_eq!(disk().below(&self.folder), 0, "checkpoints are left");
        if status != "FINISHED" {
            return;
        }
        let sinks = self.world.sinks();
        for sink in &sinks {
            let finals = self.world.finals.get(sink).map_or(0, BTreeSet::len);
            assert_eq!(finals, 1, "{sink} has committed its last part {finals} times");
        }
        // What belongs to a checkpoint that was given up is committed with the next one of the same attempt.
        for part @ (checkpoint, sink) in &self.world.acknowledged {
            let committed = self.world.committed.contains(part) || !self.completed.contains(checkpoint);
            assert!(committed, "{sink} has not committed its part of checkpoint {checkpoint}");
        }
    }
}

fn simulate(seed: u64) {
    let simulation = std::panic::AssertUnwindSafe(Simulation::new(seed));
    let number = simulation.seed;
    if let Err(panic) = std::panic::catch_unwind(|| { simulation }.0.run()) {
        eprintln!("simulation failed; run it again with FLOTT_SEED={number}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn leaders_that_die_between_any_two_steps_lose_and_repeat_nothing() {
    if let Some(seed) = std::env::var("FLOTT_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return simulate(seed);
    }
    let seeds = std::env::var("FLOTT_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2_000);
    (0..seeds).for_each(simulate);
}
