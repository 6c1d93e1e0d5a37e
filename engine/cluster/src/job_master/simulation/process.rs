//! What is around a leader: time, works, and orders on their way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flott_core::ids::ExecutionId;
use flott_runtime::task::TaskMessage;

use crate::gateway::{Deployment, TaskGateway};
use crate::job_master::Environment;
use crate::job_master::environment::Work;

/// The process around a leader: its works wait until the simulation runs them, or are lost with it.
pub(super) struct Process {
    pub(super) begin: Instant,
    pub(super) millis: Arc<AtomicU64>,
    pub(super) works: Mutex<VecDeque<Work>>,
}

impl Environment for Process {
    fn now(&self) -> Instant {
        self.begin + Duration::from_millis(self.millis.load(Ordering::SeqCst))
    }

    fn run(&self, work: Work) {
        self.works.lock().unwrap_or_else(PoisonError::into_inner).push_back(work);
    }

    fn run_to_end(&self, work: Work, _: Duration) {
        work();
    }
}

pub(super) enum Order {
    Deploy(Deployment),
    Send(ExecutionId, TaskMessage),
    Release(ExecutionId),
    GiveUp(ExecutionId),
}

pub(super) type Orders = Arc<Mutex<VecDeque<Order>>>;

/// Orders on their way.
pub(super) struct Wire(pub(super) Orders);

impl Wire {
    fn put(&self, order: Order) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(order);
    }
}

impl TaskGateway for Wire {
    fn deploy(&mut self, deployments: Vec<Deployment>) {
        deployments.into_iter().for_each(|deployment| self.put(Order::Deploy(deployment)));
    }

    fn send(&mut self, execution: ExecutionId, message: TaskMessage) {
        self.put(Order::Send(execution, message));
    }

    fn release(&mut self, executions: &[ExecutionId]) {
        executions.iter().for_each(|execution| self.put(Order::Release(*execution)));
    }

    fn give_up_worker_of(&mut self, execution: ExecutionId) {
        self.put(Order::GiveUp(execution));
    }
}
