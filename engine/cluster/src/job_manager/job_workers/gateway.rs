//! What a JobMaster decides, on its way to the workers of its job.

use std::collections::BTreeMap;
use std::sync::Arc;

use flott_core::ids::{ExecutionId, WorkerId};
use flott_runtime::task::{TaskEvent, TaskMessage};

use super::JobWorkers;
use crate::gateway::{Deployment, Place, TaskGateway};
use crate::job_master::JobEvent;
use crate::rpc::control::{Release, worker_order};
use crate::rpc::write_message;

/// A JobMaster's way to the workers of its job.
pub(in crate::job_manager) struct RemoteGateway(pub(in crate::job_manager) Arc<JobWorkers>);

impl RemoteGateway {
    /// Takes back a deployment that waits for its worker. True: there was one, and it is as good as cancelled.
    fn take_back(&self, execution: ExecutionId) -> bool {
        let mut state = self.0.state();
        let before = state.waiting.len();
        state.waiting.retain(|deployment| deployment.execution != execution);
        let waited = state.waiting.len() < before;
        if waited {
            self.0.events.put(JobEvent::Task { execution, event: TaskEvent::Canceled });
        }
        waited
    }
}

impl TaskGateway for RemoteGateway {
    fn place_of(&self, execution: ExecutionId) -> Option<Place> {
        let state = self.0.state();
        let (attempt, place) = state.places.get(&execution.subtask)?;
        (*attempt == execution.attempt).then(|| place.clone())
    }

    fn vacate(&mut self) {
        self.0.vacate();
    }

    fn deploy(&mut self, deployments: Vec<Deployment>) {
        {
            let mut state = self.0.state();
            state.preparing = false;
            state.waiting.extend(deployments);
        }
        self.0.advance();
    }

    fn prepare(&mut self) {
        self.0.state().preparing = true;
        self.0.advance();
    }

    fn wind_down(&mut self) {
        {
            let mut state = self.0.state();
            state.preparing = false;
            state.requested = None;
        }
        self.0.task_managers.withdraw(&self.0);
    }

    fn send(&mut self, execution: ExecutionId, message: TaskMessage) {
        if message == TaskMessage::Cancel && self.take_back(execution) {
            return;
        }
        let state = self.0.state();
        if let Some(worker) = state.worker_of(execution) {
            state.give(worker, worker_order::Kind::Send(write_message(execution, message)));
        }
    }

    fn release(&mut self, executions: &[ExecutionId]) {
        let state = self.0.state();
        let mut by_worker: BTreeMap<WorkerId, Vec<ExecutionId>> = BTreeMap::new();
        for execution in executions {
            if let Some(worker) = state.worker_of(*execution) {
                by_worker.entry(worker).or_default().push(*execution);
            }
        }
        for (worker, executions) in by_worker {
            let executions = executions.into_iter().map(Into::into).collect();
            state.give(worker, worker_order::Kind::Release(Release { executions }));
        }
    }

    fn give_up_worker_of(&mut self, execution: ExecutionId) {
        if self.take_back(execution) {
            return;
        }
        let worker = self.0.state().worker_of(execution);
        if let Some(worker) = worker {
            self.0.task_managers.stop(worker);
            self.0.worker_lost(
                worker,
                "a task did not stop within task.cancellation.timeout, so its worker was killed",
            );
        }
    }
}
