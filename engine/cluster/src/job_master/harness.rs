//! A JobMaster for tests, which takes one event after another: nothing runs, what it orders is remembered, and its clock is set by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use flott_core::config::Configuration;
use flott_core::ids::{ExecutionId, JobId};
use flott_runtime::task::TaskMessage;
use tokio::sync::watch;

use super::environment::Work;
use super::simulation::plan::graph;
use super::{Adoption, Environment, EventQueue, JobEvent, JobMaster, JobMasterSetup, JobReport};
use crate::gateway::{Deployment, TaskGateway};
use crate::high_availability::store::JobRecord;
use crate::result::{JobError, JobResult};

/// What the JobMaster has ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Deploy(ExecutionId),
    Send(ExecutionId, TaskMessage),
    Prepare,
    WindDown,
    Vacate,
}

#[derive(Clone, Default)]
struct Orders(Arc<Mutex<Vec<Order>>>);

impl Orders {
    fn put(&self, order: Order) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(order);
    }
}

impl TaskGateway for Orders {
    fn deploy(&mut self, deployments: Vec<Deployment>) {
        deployments.into_iter().for_each(|deployment| self.put(Order::Deploy(deployment.execution)));
    }

    fn prepare(&mut self) {
        self.put(Order::Prepare);
    }

    fn wind_down(&mut self) {
        self.put(Order::WindDown);
    }

    fn send(&mut self, execution: ExecutionId, message: TaskMessage) {
        self.put(Order::Send(execution, message));
    }

    fn vacate(&mut self) {
        self.put(Order::Vacate);
    }

    fn release(&mut self, _: &[ExecutionId]) {}

    fn give_up_worker_of(&mut self, _: ExecutionId) {}
}

#[derive(Default)]
struct Clock {
    begin: OnceLock<Instant>,
    millis: AtomicU64,
}

impl Environment for Clock {
    fn now(&self) -> Instant {
        *self.begin.get_or_init(Instant::now) + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }

    fn run(&self, work: Work) {
        work();
    }

    fn run_to_end(&self, work: Work, _: Duration) {
        work();
    }
}

/// A job, and all around it.
pub(super) struct TestJob {
    pub(super) master: JobMaster,
    pub(super) report: watch::Receiver<JobReport>,
    clock: Arc<Clock>,
    orders: Orders,
    events: Arc<EventQueue>,
}

impl TestJob {
    /// Starts the simulation's job with these settings.
    pub(super) fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with(None, None, settings)
    }

    /// Goes on with what an earlier leader has left.
    pub(super) fn adopting(adoption: Adoption) -> Self {
        Self::start_with(None, Some(adoption), &[])
    }

    /// Starts it with what is kept for the next leader, and what an earlier one has left.
    pub(super) fn start_with(
        record: Option<Arc<JobRecord>>,
        adoption: Option<Adoption>,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut configuration = Configuration::new();
        for (key, value) in settings {
            configuration.set(key, value).unwrap();
        }
        let (clock, orders) = (Arc::<Clock>::default(), Orders::default());
        let (sender, report) = watch::channel(JobReport::default());
        let events = Arc::<EventQueue>::default();
        let mut master = JobMaster::new(JobMasterSetup {
            job: JobId::from_bytes([1; 16]),
            graph: graph(),
            configuration,
            gateway: Box::new(orders.clone()),
            events: Arc::clone(&events),
            environment: Arc::clone(&clock) as Arc<_>,
            restore: None,
            record,
            adoption,
            report: sender,
        })
        .unwrap();
        master.start();
        Self { master, report, clock, orders, events }
    }

    /// It is so late, in milliseconds from the start.
    pub(super) fn set_time(&self, millis: u64) {
        self.clock.millis.store(millis, Ordering::Relaxed);
    }

    /// Takes an event, if there is one, and those that follow from it.
    pub(super) fn step(&mut self, event: Option<JobEvent>) -> Option<Result<JobResult, JobError>> {
        let mut outcome = self.master.step(event);
        while let (None, Some(event)) = (&outcome, self.events.take()) {
            outcome = self.master.step(Some(event));
        }
        outcome
    }

    /// What it has ordered since the last time.
    pub(super) fn ordered(&self) -> Vec<Order> {
        std::mem::take(&mut *self.orders.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The latest attempts of all subtasks.
    pub(super) fn executions(&self) -> Vec<ExecutionId> {
        let subtasks = self.master.executions.keys();
        subtasks.map(|subtask| self.master.execution_id(*subtask)).collect()
    }
}
