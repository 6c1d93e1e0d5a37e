//! A new leader, jobs that it can and cannot read, and TaskManagers that come twice: against the HA store in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flott_core::config::{self, Configuration};
use flott_core::ids::{JobId, TaskManagerId, WorkerId};
use flott_fs::FsPath;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::job::{Job, Standing};
use super::jobs::{Jobs, SubmitError};
use super::recovery::Leading;
use super::task_managers::{Brought, Owner, Registration, TaskManagers};
use crate::high_availability::store::{
    BlobStore, HISTORY, JobFolder, MemoryBlobs, MemoryPointers, Outcome, Patience, RESULTS, SoFar,
};
use crate::high_availability::{Epoch, HighAvailabilityStore, PointerStore, Storage};
use crate::job_master::{JobEvent, simulated_graph};
use crate::program_store::SharedPrograms;
use crate::rpc::WireId;
use crate::rpc::control::job_outcome::Kind;
use crate::rpc::control::{
    CollectedOperator, CollectedSubtask, HeldWorker, JobOutcome, JobResult, JobSpec, Submission,
    TaskManagerOrder, task_manager_order,
};
use crate::rpc::ha::{JobPointer, State};

/// What outlives a leader.
struct Cluster {
    folder: TempDir,
    pointers: MemoryPointers,
    blobs: MemoryBlobs,
    storage: Storage,
    runtime: Runtime,
}

/// The application of the JobManagers here.
const APPLICATION: &str = "application_1";

type TaskManagerOrders = mpsc::Receiver<Result<TaskManagerOrder, tonic::Status>>;

fn job(number: u8) -> JobId {
    JobId::from_bytes([number; 16])
}

fn worker(number: u8) -> WorkerId {
    WorkerId::from_bytes([number; 16])
}

fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(done) = condition() {
            return done;
        }
        assert!(Instant::now() < deadline, "{what}: it does not come to that");
        std::thread::yield_now();
    }
}

fn submission() -> Submission {
    let configuration = [(config::ADOPTION_TIMEOUT.key.to_owned(), "1 h".to_owned())];
    let spec = JobSpec {
        graph: simulated_graph().encode(),
        content_hash: "0".repeat(64),
        configuration: configuration.into(),
        ..JobSpec::default()
    };
    Submission { spec: Some(spec), ..Submission::default() }
}

impl Cluster {
    /// An earlier leader has left these jobs.
    fn with_jobs(jobs: &[JobId]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| FsPath::local(&folder.path().join(name));
        let (pointers, blobs) = (MemoryPointers::default(), MemoryBlobs::default());
        let earlier = HighAvailabilityStore::new(Arc::new(pointers.next_writer()), Arc::new(blobs.clone()));
        for job in jobs {
            let pointer = JobPointer { name: "left".to_owned(), next_checkpoint: 1, ..JobPointer::default() };
            earlier.submit(*job, &submission(), pointer).unwrap();
        }
        let storage = Storage {
            blobs: Arc::new(blobs.clone()),
            programs: Arc::new(SharedPrograms::new(path("programs")).unwrap()),
            checkpoints: path("checkpoints"),
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { folder, pointers, blobs, storage, runtime }
    }

    /// The next leader.
    fn lead(&self) -> Arc<Jobs> {
        let (configuration, io) = (Configuration::new(), self.runtime.handle().clone());
        let managers = Arc::new(TaskManagers::new(&configuration, None, io.clone()));
        let jobs = Arc::new(Jobs::new(
            configuration,
            Some(APPLICATION.to_owned()),
            managers,
            Some(self.storage.clone()),
            io,
        ));
        let store = HighAvailabilityStore::new(
            Arc::new(self.pointers.next_writer()),
            Arc::clone(&self.storage.blobs),
        );
        let patience = Patience::with_pauses(Duration::from_millis(1), Duration::from_millis(5));
        jobs.lead_with(Leading { store, patience }).unwrap();
        jobs
    }

    fn pointer(&self, job: JobId) -> Option<JobPointer> {
        let store = HighAvailabilityStore::new(Arc::new(self.pointers.clone()), Arc::new(self.blobs.clone()));
        store.peek(job).unwrap()
    }
}

fn standing(jobs: &Jobs, id: JobId) -> Standing {
    jobs.get(id).unwrap().standing.borrow().clone()
}

fn until_here(jobs: &Jobs, id: JobId) -> Arc<Job> {
    until("the job is read", || jobs.get(id).filter(|job| *job.standing.borrow() == Standing::Here))
}

fn held(worker: WorkerId, job: JobId) -> HeldWorker {
    HeldWorker { worker: worker.write(), job: job.write(), slots: 1, slot_numbers: vec![0], sequence: 1 }
}

/// What a JobManager makes of the workers that a TaskManager brings along.
fn take_over(jobs: &Jobs, of: TaskManagerId, workers: &[(WorkerId, JobId)]) -> Vec<Brought> {
    let held = workers.iter().map(|(worker, job)| (*worker, *job, held(*worker, *job)));
    jobs.take_over(of, "host:1", held.collect())
}

fn register(jobs: &Jobs, id: TaskManagerId, workers: &[(WorkerId, JobId)]) -> (u64, TaskManagerOrders) {
    let (orders, received) = mpsc::channel(64);
    let registration = Registration {
        id,
        data_address: "host:1".to_owned(),
        resource_id: String::new(),
        slots: 4,
        managed_bytes: 0,
    };
    let number = jobs.task_managers.register(registration, orders, || take_over(jobs, id, workers));
    (number, received)
}

/// Which workers a TaskManager was told to stop.
fn stopped(orders: &mut TaskManagerOrders) -> Vec<WorkerId> {
    let orders = std::iter::from_fn(|| orders.try_recv().ok()).map(|order| order.unwrap().kind.unwrap());
    let stopped = orders.filter_map(|order| match order {
        task_manager_order::Kind::StopWorker(order) => Some(WorkerId::read(&order.worker).unwrap()),
        _ => None,
    });
    stopped.collect()
}

/// Whether the job takes the worker.
fn registers(job: &Job, worker: WorkerId) -> bool {
    job.workers.registered(worker, mpsc::channel(8).0, Vec::new()).is_some()
}

#[test]
fn a_job_that_cannot_be_read_yet_waits_with_its_workers_and_no_other_job_waits_for_it() {
    let cluster = Cluster::with_jobs(&[job(1), job(2)]);
    cluster.blobs.set_away(job(1), true);
    let jobs = cluster.lead();
    let other = until_here(&jobs, job(2));
    until("why is told", || {
        matches!(standing(&jobs, job(1)), Standing::Unread(reason) if reason.contains("away")).then_some(())
    });
    let listed = jobs.get(job(1)).unwrap().overview();
    assert_eq!((listed.name.as_str(), listed.status.as_str()), ("left", "CREATED"));
    assert!(listed.failure.contains("the files are away"), "{}", listed.failure);
    let (_, mut orders) = register(
        &jobs,
        TaskManagerId::random(),
        &[(worker(1), job(1)), (worker(2), job(2)), (worker(3), job(3))],
    );
    assert_eq!(stopped(&mut orders), [worker(3)], "of a job that nobody knows");
    assert!(registers(&other, worker(2)));
    assert_eq!(jobs.needed_programs(), None, "which program it needs is not known");
    let mut again = submission();
    again.spec.as_mut().unwrap().job = job(1).write();
    assert!(matches!(jobs.submit(again, None), Err(SubmitError::Unread(_))), "it is not begun anew");

    cluster.blobs.set_away(job(1), false);
    let read = until_here(&jobs, job(1));
    until("its worker is taken over", || registers(&read, worker(1)).then_some(()));
    assert_eq!(stopped(&mut orders), []);
    assert!(jobs.needed_programs().is_some());
    jobs.suspend();
}

#[test]
fn a_cancellation_holds_before_the_job_is_read() {
    let cluster = Cluster::with_jobs(&[job(1)]);
    cluster.blobs.set_away(job(1), true);
    let jobs = cluster.lead();
    jobs.cancel(&jobs.get(job(1)).unwrap()).unwrap();
    assert_eq!(cluster.pointer(job(1)).unwrap().state(), State::Cancelling);
    jobs.suspend();
    // It is left to whoever leads next, and nobody here goes on with it.
    assert!(jobs.get(job(1)).is_none());
}

#[test]
fn a_job_that_cannot_be_used_is_left_alone_until_somebody_decides() {
    let cluster = Cluster::with_jobs(&[job(1), job(2)]);
    let name = job(1).to_string();
    let writer = cluster.pointers.next_writer();
    let mut other_version = writer.read(&name).unwrap().unwrap();
    other_version[7] = 9;
    writer.write(&name, &other_version).unwrap();
    let jobs = cluster.lead();
    until_here(&jobs, job(2));
    let Standing::Broken(reason) = standing(&jobs, job(1)) else { panic!("it can be used") };
    assert!(reason.contains("format version 9"), "{reason}");
    assert_eq!(jobs.get(job(1)).unwrap().overview().status, "SUSPENDED");
    let (_, mut orders) = register(&jobs, TaskManagerId::random(), &[(worker(1), job(1))]);
    assert_eq!(stopped(&mut orders), []);
    assert_eq!(jobs.needed_programs(), None);
    jobs.suspend();
    assert_eq!(writer.read(&name).unwrap(), Some(other_version), "another version may go on with it");
    assert_eq!(cluster.blobs.names().len(), 2);

    let jobs = cluster.lead();
    let (_, mut orders) = register(&jobs, TaskManagerId::random(), &[(worker(1), job(1))]);
    jobs.cancel(&jobs.get(job(1)).unwrap()).unwrap();
    assert_eq!(stopped(&mut orders), [worker(1)]);
    assert_eq!(jobs.get(job(1)).unwrap().overview().status, "CANCELED");
    assert_eq!(writer.read(&name).unwrap(), None);
    jobs.suspend();
}

#[test]
fn a_checkpoint_that_is_gone_leaves_the_tasks_alone() {
    let cluster = Cluster::with_jobs(&[job(1)]);
    let store =
        HighAvailabilityStore::new(Arc::new(cluster.pointers.next_writer()), Arc::new(cluster.blobs.clone()));
    let record = store.recover().unwrap().remove(0).1.unwrap();
    let (id, path) = (flott_core::ids::CheckpointId(1), "/no/such/chk-1".to_owned());
    record.checkpoint_completed(id, path, 1, SoFar::default()).unwrap();
    let jobs = cluster.lead();
    let (_, mut orders) = register(&jobs, TaskManagerId::random(), &[(worker(1), job(1))]);
    let reason = until("it is broken", || match standing(&jobs, job(1)) {
        Standing::Broken(reason) => Some(reason),
        _ => None,
    });
    assert!(reason.contains("/no/such/chk-1"), "{reason}");
    let (_, mut again) = register(&jobs, TaskManagerId::random(), &[(worker(2), job(1))]);
    assert_eq!((stopped(&mut orders), stopped(&mut again)), (vec![], vec![]));
    assert_eq!(cluster.pointer(job(1)).unwrap().state(), State::Running);
    jobs.suspend();
}

#[test]
fn a_task_manager_that_registers_again_before_it_is_lost_keeps_its_workers() {
    let cluster = Cluster::with_jobs(&[job(1)]);
    let jobs = cluster.lead();
    let of = until_here(&jobs, job(1));
    let id = TaskManagerId::random();
    let (first, _broken) = register(&jobs, id, &[(worker(1), job(1))]);
    assert!(registers(&of, worker(1)));
    let connection = of.workers.registered(worker(1), mpsc::channel(8).0, Vec::new()).unwrap();
    // Its connection breaks, which nobody has noticed yet.
    let (_, mut orders) = register(&jobs, id, &[(worker(1), job(1))]);
    assert!(registers(&of, worker(1)), "the job waits for a worker that is held for it");
    assert_eq!(stopped(&mut orders), []);
    // Now it is noticed, by the TaskManager's connection and by the worker's.
    jobs.task_managers.lost(id, first, "its connection broke");
    of.workers.connection_lost(worker(1), connection, "its connection broke");
    assert!(registers(&of, worker(1)));
    assert_eq!(stopped(&mut orders), []);
    jobs.suspend();
}

#[test]
fn registrations_of_one_task_manager_follow_each_other() {
    let cluster = Cluster::with_jobs(&[job(1)]);
    let jobs = cluster.lead();
    let of = until_here(&jobs, job(1));
    let id = TaskManagerId::random();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    drop(register(&jobs, id, &[(worker(1), job(1))]));
                }
            });
        }
    });
    assert!(registers(&of, worker(1)), "the last registration has brought it");
    let owned = take_over(&jobs, id, &[(worker(1), job(1))]);
    assert!(matches!(owned.as_slice(), [(_, 1, Owner::Job(_))]));
    jobs.suspend();
}

/// A submission of the application's `n`-th execute.
fn execute(n: u32) -> (JobId, Submission) {
    let (id, mut submission) = (JobId::derived(APPLICATION, n.into()), submission());
    let spec = submission.spec.as_mut().unwrap();
    (spec.job, spec.execution) = (id.write(), n);
    (id, submission)
}

/// What comes of the `n`-th execute: some results.
fn result(n: u32) -> JobOutcome {
    let pieces = vec![Bytes::copy_from_slice(&n.to_le_bytes()); 3];
    let subtasks = vec![CollectedSubtask { pieces }];
    let collected = vec![CollectedOperator { operator: vec![1; 16], subtasks }];
    JobOutcome { kind: Some(Kind::Result(JobResult { collected, ..JobResult::default() })) }
}

/// What a client hears that asks again what came of a job that is over.
fn told(job: &Job) -> JobOutcome {
    let outcome = job.outcome.borrow().clone().unwrap();
    job.told(&outcome).unwrap()
}

#[test]
fn what_came_of_an_applications_executes_is_known_to_every_attempt_of_it() {
    const EXECUTES: u32 = 2 * HISTORY as u32 + 50;
    let cluster = Cluster::with_jobs(&[]);
    let jobs = cluster.lead();
    for n in 0..EXECUTES {
        let job = jobs.submit(execute(n).1, None).unwrap();
        // It finishes.
        let record = job.record.as_ref().unwrap();
        let (status, failure, ended) = ("FINISHED", "", 1);
        let outcome = result(n);
        record.over(Outcome { status, failure, ended, outcome: &outcome, garbage: None }).unwrap();
        job.workers.events().put(JobEvent::Suspend);
        job.is_over_with(outcome);
    }
    jobs.suspend();
    for attempt in 0..2 {
        let jobs = cluster.lead();
        for n in 0..EXECUTES {
            let (id, submission) = execute(n);
            let job = jobs.submit(submission, None).unwrap();
            assert!(job.is_over() && job.overview().status == "FINISHED", "execute {n} runs again");
            assert_eq!(told(&job), result(n), "execute {n} under attempt {attempt}");
            assert_eq!(jobs.get(id).unwrap().overview().failure, "");
        }
        let remembered = jobs.all();
        assert!(remembered.len() <= HISTORY + 1, "{} are remembered", remembered.len());
        let is_read = |job: &&Arc<Job>| {
            let outcome = job.outcome.borrow();
            outcome.as_ref().is_some_and(|outcome| outcome.kind.is_some())
        };
        let read = remembered.iter().filter(is_read).count();
        assert!(read <= RESULTS, "the results of {read} are in memory");
        let next = until("another one is taken", || jobs.submit(execute(EXECUTES).1, None).ok());
        assert!(!next.is_over(), "another one runs");
        jobs.suspend();
    }
    // Of others' jobs only the last are known.
    let jobs = cluster.lead();
    for n in 0..=HISTORY {
        let mut other = submission();
        other.spec.as_mut().unwrap().job = job(n as u8).write();
        let job = jobs.submit(other, None).unwrap();
        job.cancel().unwrap();
        until("it is cancelled", || job.is_over().then_some(()));
    }
    jobs.forget_oldest();
    assert_eq!(cluster.pointer(job(0)).map(|pointer| pointer.status), None);
    assert_eq!(cluster.pointer(execute(0).0).unwrap().state(), State::Over);
    jobs.suspend();
}

#[test]
fn results_that_need_too_much_memory_are_left_to_the_store_or_said_to_be_gone() {
    let cluster = Cluster::with_jobs(&[]);
    let (configuration, io) = (Configuration::new(), cluster.runtime.handle().clone());
    let managers = Arc::new(TaskManagers::new(&configuration, None, io.clone()));
    let alone = Arc::new(Jobs::new(configuration, None, managers, None, io));
    for (jobs, is_kept) in [(cluster.lead(), true), (alone, false)] {
        let most = jobs.most_collected.bytes() as usize;
        let ended: Vec<(Arc<Job>, JobOutcome)> = (0..3)
            .map(|n| {
                let mut submission = submission();
                submission.spec.as_mut().unwrap().job = job(n).write();
                let job = jobs.submit(submission, None).unwrap();
                let pieces = vec![vec![n; most * 2 / 3].into()];
                let collected = vec![CollectedOperator {
                    operator: vec![1; 16],
                    subtasks: vec![CollectedSubtask { pieces }],
                }];
                let outcome =
                    JobOutcome { kind: Some(Kind::Result(JobResult { collected, ..JobResult::default() })) };
                if let Some(record) = &job.record {
                    let end = Outcome {
                        status: "FINISHED",
                        failure: "",
                        ended: 1,
                        outcome: &outcome,
                        garbage: None,
                    };
                    record.over(end).unwrap();
                }
                job.workers.events().put(JobEvent::Suspend);
                job.is_over_with(outcome.clone());
                (job, outcome)
            })
            .collect();
        jobs.forget_oldest();
        let in_memory: u64 = ended.iter().map(|(job, _)| job.collected_bytes()).sum();
        assert!(in_memory <= most as u64 && in_memory > 0, "{in_memory} bytes are in memory");
        for (n, (job, outcome)) in ended.iter().enumerate() {
            match told(job).kind {
                Some(Kind::Result(result)) if !is_kept && n < 2 => {
                    assert!(result.is_out_of_reach && result.collected.is_empty());
                }
                kind => assert!(kind == outcome.kind, "the results of job {n}, kept: {is_kept}"),
            }
        }
    }
}

#[test]
fn a_leader_that_steps_down_decides_about_no_worker() {
    let cluster = Cluster::with_jobs(&[job(1)]);
    let jobs = cluster.lead();
    let known = until_here(&jobs, job(1));
    let undecided = |jobs: &Jobs| {
        let brought = take_over(jobs, TaskManagerId::random(), &[(worker(1), job(1))]);
        matches!(brought.as_slice(), [(_, _, Owner::Undecided(..))])
    };
    // Its JobMaster has found out before the leader has.
    known.workers.abandon();
    assert!(undecided(&jobs));
    jobs.suspend();
    assert!(undecided(&jobs));
    assert_eq!(jobs.needed_programs(), None, "that is for the next leader to say");
}

#[test]
fn a_job_that_is_cancelled_and_cannot_be_used_is_given_up() {
    let cluster = Cluster::with_jobs(&[job(1)]);
    cluster.blobs.set_away(job(1), true);
    let jobs = cluster.lead();
    jobs.cancel(&jobs.get(job(1)).unwrap()).unwrap();
    jobs.suspend();
    cluster.blobs.set_away(job(1), false);
    cluster.blobs.remove_all(JobFolder { job: job(1), epoch: Epoch(1) }).unwrap();
    let jobs = cluster.lead();
    let (_, mut orders) = register(&jobs, TaskManagerId::random(), &[(worker(1), job(1))]);
    let status = || jobs.get(job(1)).unwrap().overview().status;
    until("it is canceled", || (status() == "CANCELED").then_some(()));
    until("its worker is stopped", || (stopped(&mut orders) == [worker(1)]).then_some(()));
    assert_eq!(cluster.pointer(job(1)), None);
    jobs.suspend();
}

#[test]
fn a_job_is_taken_only_with_its_program_where_the_next_leader_finds_it() {
    let cluster = Cluster::with_jobs(&[]);
    let jobs = cluster.lead();
    let (folder, away) = (cluster.folder.path().join("programs"), cluster.folder.path().join("away"));
    let program = cluster.folder.path().join("program");
    std::fs::write(&program, "a program").unwrap();
    let mut submission = submission();
    submission.spec.as_mut().unwrap().job = job(1).write();
    // Nothing can be written there, and the command has it tried again.
    std::fs::rename(&folder, &away).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let refused = jobs.submit(submission.clone(), Some(&program)).map(|job| job.id);
    let reason = refused.unwrap_err().to_string();
    assert!(reason.contains("high-availability.storageDir"), "{reason}");
    assert_eq!(cluster.pointer(job(1)), None);
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    jobs.submit(submission, Some(&program)).unwrap();
    assert_eq!(std::fs::read_to_string(folder.join("0".repeat(64) + "-2")).unwrap(), "a program");
    jobs.suspend();
}

#[test]
fn no_job_is_taken_while_programs_are_removed() {
    let cluster = Cluster::with_jobs(&[job(1)]);
    let jobs = cluster.lead();
    until_here(&jobs, job(1));
    let mut needed = 0;
    jobs.with_needed_programs(|programs| {
        assert!(jobs.submitting.try_lock().is_err());
        needed = programs.len();
    });
    assert_eq!(needed, 1);
    jobs.suspend();
}
