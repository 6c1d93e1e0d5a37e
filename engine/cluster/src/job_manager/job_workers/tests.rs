//! What a job asks for while it waits to restart or to move: against TaskManagers that come and go, with a driver that remembers what it
//! was told.

use std::sync::Mutex;

use flott_core::config::{self, Configuration};
use flott_runtime::task::Restore;
use tokio::runtime::Runtime;

use super::*;
use crate::gateway::TaskGateway;
use crate::job_manager::task_managers::{Brought, Owner, Registration};
use crate::job_master::simulated_graph;
use crate::resource_manager::{Demand, ResourceManagerDriver};
use crate::rpc::control::{TaskManagerOrder, task_manager_order};

/// All that was declared.
#[derive(Default)]
struct Declared(Mutex<Vec<Demand>>);

impl ResourceManagerDriver for Declared {
    fn declare(&self, demand: Demand) {
        self.0.lock().unwrap().push(demand);
    }

    fn abandon(&self) {}

    fn release(&self, _: &str) {}

    fn obstacle(&self) -> Option<String> {
        None
    }
}

type TaskManagerOrders = mpsc::Receiver<Result<TaskManagerOrder, Status>>;

/// A job on TaskManagers of one slot each.
struct Cluster {
    runtime: Runtime,
    declared: Arc<Declared>,
    managers: Arc<TaskManagers>,
    job: Arc<JobWorkers>,
    slots: u32,
    /// The TaskManagers' ends.
    connections: Mutex<Vec<TaskManagerOrders>>,
}

impl Cluster {
    /// The job runs: all its tasks are deployed on TaskManagers with the numbers from 0 on.
    fn with_running_job() -> (Self, Vec<u64>) {
        let cluster = Self::with_job(|job| job);
        cluster.gateway().deploy(cluster.deployments(0));
        assert_eq!(cluster.missing(), cluster.slots);
        let registered = (0..cluster.slots).map(|number| cluster.come(number as u8)).collect();
        assert_eq!((cluster.missing(), cluster.job.state().waiting.len()), (0, 0));
        (cluster, registered)
    }

    /// A job with checkpoints, and nothing else.
    fn with_job(as_it_is: impl FnOnce(JobWorkers) -> JobWorkers) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut configuration = Configuration::new();
        configuration.set(config::TASK_SLOTS.key, "1").unwrap();
        let declared = Arc::<Declared>::default();
        let driver = Arc::clone(&declared) as Arc<dyn ResourceManagerDriver>;
        let managers = TaskManagers::new(&configuration, Some(driver), runtime.handle().clone());
        let managers = Arc::new(managers);
        managers.lead();
        let graph = Arc::new(simulated_graph());
        let (id, hour) = (JobId::from_bytes([1; 16]), Duration::from_secs(3600));
        let configuration = [(config::CHECKPOINT_INTERVAL.key.to_owned(), "1 s".to_owned())];
        let spec = JobSpec { configuration: configuration.into(), ..JobSpec::default() };
        let job = JobWorkers::new(id, spec, Arc::clone(&graph), Arc::default(), Arc::clone(&managers), hour);
        let (job, slots) = (Arc::new(as_it_is(job)), graph.slots_needed());
        Self { runtime, declared, managers, job, slots, connections: Mutex::default() }
    }

    fn gateway(&self) -> RemoteGateway {
        RemoteGateway(Arc::clone(&self.job))
    }

    fn deployments(&self, attempt: u32) -> Vec<Deployment> {
        let subtasks = self.job.graph.subtasks();
        let deployment = |subtask| Deployment {
            execution: ExecutionId { subtask, attempt: Attempt(attempt) },
            slot: self.job.assignment.slot_of(subtask).unwrap(),
            restore: Restore::default(),
            neighbours: BTreeMap::new(),
        };
        subtasks.map(deployment).collect()
    }

    /// How many TaskManagers are asked for.
    fn missing(&self) -> u32 {
        self.declared.0.lock().unwrap().last().unwrap().missing
    }

    fn id(number: u8) -> TaskManagerId {
        TaskManagerId::from_bytes([number; 16])
    }

    /// A TaskManager registers, and so do the workers that are started by now. Tells which registration it is.
    fn come(&self, number: u8) -> u64 {
        self.come_with(number, Vec::new)
    }

    /// The same with workers of an earlier leader.
    fn come_with(&self, number: u8, take_over: impl FnOnce() -> Vec<Brought>) -> u64 {
        let (orders, received) = mpsc::channel(64);
        let registration = Registration {
            id: Self::id(number),
            data_address: format!("host:{number}"),
            resource_id: format!("container_{number}"),
            slots: 1,
            managed_bytes: 0,
        };
        let registered = self.managers.register(registration, orders, take_over);
        let mut connections = self.connections.lock().unwrap();
        connections.push(received);
        for connection in connections.iter_mut() {
            while let Ok(order) = connection.try_recv() {
                if let Some(task_manager_order::Kind::StartWorker(order)) = order.unwrap().kind {
                    let worker = WorkerId::read(&order.worker).unwrap();
                    self.job.registered(worker, mpsc::channel(64).0, Vec::new());
                }
            }
        }
        registered
    }

    fn lose(&self, number: u8, registered: u64) {
        self.managers.lost(Self::id(number), registered, "its container is gone");
    }

    fn workers(&self) -> usize {
        self.job.state().workers.len()
    }

    /// A TaskManager is to go; its job has an hour to get slots elsewhere.
    fn leave(&self, number: u8) {
        let hour = Duration::from_secs(3600);
        self.managers.leave(&format!("container_{number}"), "its node is decommissioned", hour);
    }

    /// The attempts that the JobMaster was told to be lost, and those that it is to move.
    fn lost_and_moved(&self) -> [Vec<ExecutionId>; 2] {
        let [mut lost, mut moved] = [Vec::new(), Vec::new()];
        while let Some(event) = self.job.events.take() {
            match event {
                JobEvent::Lost { executions, .. } => lost.extend(executions),
                JobEvent::Move { executions, .. } => moved.extend(executions),
                _ => {}
            }
        }
        [lost, moved]
    }

    /// Where an attempt was deployed to.
    fn number_of(&self, execution: ExecutionId) -> u8 {
        let place = self.gateway().place_of(execution).unwrap();
        place.address.strip_prefix("host:").unwrap().parse().unwrap()
    }
}

#[test]
fn who_does_not_take_new_tokens_is_lost() {
    let (cluster, _) = Cluster::with_running_job();
    let workers = cluster.workers();
    drop(cluster.connections.lock().unwrap().pop());
    cluster.managers.set_tokens(b"new".to_vec());
    assert_eq!(cluster.workers(), workers - 1);
    let [lost, _] = cluster.lost_and_moved();
    assert!(!lost.is_empty());
}

#[test]
fn what_is_missing_is_asked_for_during_the_delay_and_is_there_after_it() {
    let (cluster, registered) = Cluster::with_running_job();
    cluster.lose(0, registered[0]);
    assert_eq!(cluster.missing(), 0, "whether it restarts is not decided");
    let mut gateway = cluster.gateway();
    gateway.prepare();
    assert_eq!(cluster.missing(), 1);
    // Nobody has to say so again.
    cluster.lose(1, registered[1]);
    assert_eq!(cluster.missing(), 2);
    gateway.prepare();
    assert_eq!(cluster.missing(), 2);
    cluster.come(100);
    assert_eq!(cluster.missing(), 1, "slots are given all or none");
    cluster.come(101);
    assert_eq!((cluster.missing(), cluster.workers()), (0, cluster.slots as usize));
    gateway.deploy(cluster.deployments(1));
    assert_eq!((cluster.missing(), cluster.job.state().waiting.len()), (0, 0));
    cluster.runtime.shutdown_background();
}

#[test]
fn a_job_that_does_not_restart_asks_for_nothing() {
    let (cluster, registered) = Cluster::with_running_job();
    cluster.lose(0, registered[0]);
    let mut gateway = cluster.gateway();
    gateway.prepare();
    gateway.wind_down();
    assert_eq!(cluster.missing(), 0);
    cluster.lose(1, registered[1]);
    cluster.come(100);
    assert_eq!((cluster.missing(), cluster.workers()), (0, cluster.slots as usize - 2));
    cluster.runtime.shutdown_background();
}

#[test]
fn a_worker_that_is_stopped_needs_no_other_task_manager() {
    let (cluster, _) = Cluster::with_running_job();
    cluster.declared.0.lock().unwrap().clear();
    let mut gateway = cluster.gateway();
    gateway.prepare();
    let execution = cluster.deployments(0)[0].execution;
    gateway.give_up_worker_of(execution);
    assert_eq!(cluster.workers(), cluster.slots as usize - 1);
    assert!(cluster.declared.0.lock().unwrap().iter().all(|demand| demand.missing == 0));
    cluster.runtime.shutdown_background();
}

#[test]
fn a_task_manager_that_takes_no_orders_is_not_asked_again() {
    let (cluster, registered) = Cluster::with_running_job();
    cluster.lose(0, registered[0]);
    cluster.lose(1, registered[1]);
    // It is free, but its connection has ended, which nobody has noticed yet.
    cluster.come(100);
    cluster.connections.lock().unwrap().clear();
    cluster.gateway().prepare();
    assert_eq!(cluster.missing(), 1);
    cluster.come(101);
    assert_eq!((cluster.missing(), cluster.workers()), (1, cluster.slots as usize - 1));
    cluster.runtime.shutdown_background();
}

#[test]
fn never_more_is_asked_for_than_is_missing() {
    let (cluster, registered) = Cluster::with_running_job();
    let all = cluster.slots as u8;
    cluster.declared.0.lock().unwrap().clear();
    // Each thread loses a TaskManager and gets another one, again and again.
    std::thread::scope(|threads| {
        for (mut number, mut registered) in (0..all).zip(registered) {
            let cluster = &cluster;
            threads.spawn(move || {
                for round in 1..=40 {
                    cluster.lose(number, registered);
                    cluster.gateway().prepare();
                    number = (number % all) + all * (round % 2);
                    registered = cluster.come(number);
                }
            });
        }
    });
    let declared = cluster.declared.0.lock().unwrap();
    for demand in declared.iter() {
        assert!(demand.missing as usize + demand.registered.len() <= all as usize, "{demand:?}");
    }
    assert_eq!(declared.last().map(|demand| demand.missing), Some(0));
    drop(declared);
    cluster.runtime.shutdown_background();
}

#[test]
fn a_worker_that_comes_again_to_the_same_leader_is_lost() {
    let (cluster, _) = Cluster::with_running_job();
    let worker = *cluster.job.state().workers.keys().next().unwrap();
    let placed: Vec<ExecutionId> = {
        let state = cluster.job.state();
        let here = state.placed.iter().filter(|(_, (_, other))| *other == worker);
        here.map(|(subtask, (attempt, _))| ExecutionId { subtask: *subtask, attempt: *attempt }).collect()
    };
    // The JobManager has not noticed that the earlier connection is gone.
    assert_eq!(cluster.job.registered(worker, mpsc::channel(64).0, Vec::new()), None);
    assert_eq!(cluster.lost_and_moved(), [placed, Vec::new()]);
    assert_eq!(cluster.workers(), cluster.slots as usize - 1);
    assert_eq!(cluster.job.registered(worker, mpsc::channel(64).0, Vec::new()), None);
    cluster.runtime.shutdown_background();
}

#[test]
fn what_is_lost_while_a_job_is_to_move_waits_for_slots_for_as_long_as_ever() {
    let (cluster, registered) = Cluster::with_running_job();
    cluster.leave(0);
    assert_eq!(cluster.missing(), 1, "in place of what is to go");
    cluster.lose(1, registered[1]);
    let [lost, _] = cluster.lost_and_moved();
    let again = cluster.deployments(1).into_iter();
    let again = again.filter(|deployment| lost.iter().any(|id| id.subtask == deployment.execution.subtask));
    cluster.gateway().deploy(again.collect());
    // There were no slots in the time that the notice leaves.
    cluster.managers.withdraw(&cluster.job);
    cluster.job.no_slots("there are none");
    let [lost_since, moved] = cluster.lost_and_moved();
    assert_eq!((lost_since, cluster.job.state().waiting.len()), (Vec::new(), lost.len()));
    assert!(!moved.is_empty() && moved.iter().all(|execution| cluster.number_of(*execution) == 0));
    assert_eq!(cluster.missing(), 2);
    cluster.come(100);
    cluster.come(101);
    assert_eq!((cluster.missing(), cluster.job.state().waiting.len()), (0, 0));
    cluster.runtime.shutdown_background();
}

#[test]
fn a_notice_holds_for_a_task_manager_that_has_yet_to_come_and_for_one_that_comes_again() {
    let (cluster, registered) = Cluster::with_running_job();
    cluster.leave(100);
    cluster.lose(0, registered[0]);
    cluster.gateway().prepare();
    cluster.come(100);
    cluster.come(100);
    assert_eq!((cluster.missing(), cluster.workers()), (1, cluster.slots as usize - 1));
    cluster.managers.ended("container_100", "preempted");
    cluster.come(101);
    assert_eq!((cluster.missing(), cluster.workers()), (0, cluster.slots as usize));
    cluster.runtime.shutdown_background();
}

#[test]
fn a_job_that_is_taken_over_leaves_what_is_to_go() {
    let cluster = Cluster::with_job(JobWorkers::adopting);
    cluster.leave(0);
    for number in 0..cluster.slots as u8 {
        let worker = WorkerId::from_bytes([number; 16]);
        let held = HeldWorker { slot_numbers: vec![u32::from(number)], sequence: 1, ..HeldWorker::default() };
        cluster.come_with(number, || {
            let address = format!("host:{number}");
            let adopted = cluster.job.adopt(worker, &held, Cluster::id(number), &address);
            assert_eq!(adopted, Adopted::Taken);
            vec![(worker, 1, Owner::Job(Arc::clone(&cluster.job)))]
        });
        let executions = cluster.deployments(0).into_iter();
        let executions = executions.filter(|deployment| deployment.slot == SlotNumber(u32::from(number)));
        let report = |deployment: Deployment| ExecutionReport {
            execution: deployment.execution,
            neighbours: Vec::new(),
            events: Vec::new(),
        };
        let orders = mpsc::channel(64).0;
        assert!(cluster.job.registered(worker, orders, executions.map(report).collect()).is_some());
    }
    cluster.leave(1);
    assert_eq!(cluster.missing(), 0, "what runs is not known yet");
    cluster.job.end_adoption(Duration::ZERO);
    assert_eq!(cluster.missing(), 2);
    cluster.come(100);
    cluster.come(101);
    let [_, moved] = cluster.lost_and_moved();
    assert!(!moved.is_empty() && moved.iter().all(|execution| cluster.number_of(*execution) < 2));
    cluster.runtime.shutdown_background();
}

#[test]
fn where_an_attempt_has_run_is_known_when_that_is_gone() {
    let (cluster, registered) = Cluster::with_running_job();
    cluster.lose(2, registered[2]);
    let [lost, _] = cluster.lost_and_moved();
    assert!(!lost.is_empty() && lost.iter().all(|execution| cluster.number_of(*execution) == 2));
    let next = ExecutionId { attempt: Attempt(1), ..lost[0] };
    assert_eq!(cluster.gateway().place_of(next), None);
    cluster.runtime.shutdown_background();
}

#[test]
fn a_worker_that_is_granted_where_nobody_is_any_more_is_lost_for_the_reason_of_that() {
    let cluster = Cluster::with_job(|job| job);
    cluster.gateway().deploy(cluster.deployments(0));
    // The job has a worker there, and is about to hear of it.
    let worker = WorkerId::from_bytes([9; 16]);
    let registered = cluster.come_with(0, || vec![(worker, 1, Owner::Job(Arc::clone(&cluster.job)))]);
    let grant = || Grant {
        worker,
        task_manager: Cluster::id(0),
        address: "host:0".to_owned(),
        slots: cluster.slots,
        managed_bytes_per_slot: 0,
    };
    let losses = || -> Vec<(String, bool)> {
        let events = std::iter::from_fn(|| cluster.job.events.take());
        let losses = events.filter_map(|event| match event {
            JobEvent::Lost { reason, explained_later, .. } => Some((reason, explained_later)),
            JobEvent::Explained { told, reason } => Some((format!("{told} => {reason}"), false)),
            _ => None,
        });
        losses.collect()
    };
    cluster.lose(0, registered);
    cluster.job.granted(vec![grant()]);
    let [(told, later)] = &losses()[..] else { panic!("one is lost") };
    assert!(*later && told.ends_with("is lost: its container is gone"), "{told}");
    cluster.managers.ended("container_0", "preempted");
    cluster.job.granted(vec![grant()]);
    let why = "TaskManager container_0 on host: preempted";
    assert_eq!(losses(), [(format!("{told} => {why}"), false), (why.to_owned(), false)]);
    cluster.runtime.shutdown_background();
}
