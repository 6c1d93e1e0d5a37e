//! The local cluster: JobMaster and worker in one process.

use std::sync::{Arc, Mutex, PoisonError};

use flott_core::config::{self, Configuration};
use flott_core::ids::{ExecutionId, JobId};
use flott_plan::{ExecutionMode, JobGraph};
use flott_runtime::program::Program;
use flott_runtime::task::TaskMessage;
use tokio::sync::watch;

use crate::checkpoint::CompletedCheckpoint;
use crate::gateway::{Deployment, TaskGateway};
use crate::job_master::{EventQueue, JobEvent, JobMaster, JobMasterSetup, JobReport};
use crate::result::{JobError, JobResult};
use crate::rpc::control::JobOverview;
use crate::rpc::{WireId, write_report};
use crate::worker::{Worker, WorkerSetup};

/// Runs jobs in this process, with as many slots as each needs.
pub struct LocalCluster {
    runtime: tokio::runtime::Runtime,
    running: Arc<Mutex<Vec<Arc<EventQueue>>>>,
}

impl LocalCluster {
    /// Starts the threads for what may block.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("flott-io")
            .enable_all()
            .build()?;
        Ok(Self { runtime, running: Arc::default() })
    }

    /// Runs a job to its end. Blocks.
    ///
    /// # Errors
    /// [`JobError`].
    pub fn run(
        &self,
        graph: JobGraph,
        program: Program,
        configuration: &Configuration,
        restore: Option<CompletedCheckpoint>,
    ) -> Result<JobResult, JobError> {
        self.run_and_tell(graph, program, configuration, restore, |_| ())
    }

    /// The same; once the job is over, how it went is told.
    pub(crate) fn run_and_tell(
        &self,
        graph: JobGraph,
        program: Program,
        configuration: &Configuration,
        restore: Option<CompletedCheckpoint>,
        tell: impl FnOnce(JobOverview),
    ) -> Result<JobResult, JobError> {
        let job = JobId::random();
        let name = graph.name.clone();
        let (report, reported) = watch::channel(JobReport::default());
        let not_started = |reason: String| JobError::NotStarted { name: name.clone(), reason };
        let temp_dir = crate::temp_dir::TempDir::create(configuration)
            .map_err(|error| not_started(error.to_string()))?;
        let graph = Arc::new(graph);
        let slots = graph.slots_needed().max(1);
        let events = Arc::new(EventQueue::default());
        let setup = WorkerSetup {
            job,
            graph: Arc::clone(&graph),
            program: Arc::new(program),
            configuration: configuration.clone(),
            managed_bytes_per_slot: managed_bytes(configuration) / slots as usize,
            temp_dir: temp_dir.path().to_owned(),
            io: self.runtime.handle().clone(),
            listener: Arc::clone(&events) as Arc<_>,
            plane: None,
            host: None,
        };
        let worker = Worker::new(setup).map_err(|error| not_started(error.to_string()))?;
        let gateway = LocalGateway { worker, events: Arc::clone(&events) };
        let master = JobMaster::new(JobMasterSetup {
            job,
            graph: Arc::clone(&graph),
            configuration: configuration.clone(),
            gateway: Box::new(gateway),
            events: Arc::clone(&events),
            environment: Arc::new(self.runtime.handle().clone()),
            restore,
            record: None,
            adoption: None,
            report,
        })?;
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&events));
        let result = master.run();
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| !Arc::ptr_eq(other, &events));
        tell(JobOverview {
            job: job.write(),
            name: graph.name.clone(),
            streaming: graph.mode == ExecutionMode::Streaming,
            ..write_report(&reported.borrow())
        });
        result
    }

    /// Cancels the jobs that run; each [`run`](Self::run) then returns.
    pub fn cancel_all(&self) {
        for events in self.running.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            events.put(JobEvent::Cancel);
        }
    }
}

/// The managed memory of a TaskManager, in bytes.
pub fn managed_bytes(configuration: &Configuration) -> usize {
    let bytes = configuration.get_optional(&config::MANAGED_MEMORY).map_or_else(
        || {
            let process = configuration.get(&config::TASK_MANAGER_MEMORY).bytes();
            (process as f64 * configuration.get(&config::MANAGED_FRACTION).min(0.9)) as u64
        },
        config::MemorySize::bytes,
    );
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

struct LocalGateway {
    worker: Worker,
    events: Arc<EventQueue>,
}

impl TaskGateway for LocalGateway {
    fn deploy(&mut self, deployments: Vec<Deployment>) {
        for deployment in deployments {
            let execution = deployment.execution;
            if let Err(error) = self.worker.deploy(deployment) {
                let reason = format!("cannot start a thread for its slot: {error}");
                self.events.put(JobEvent::Lost {
                    executions: vec![execution],
                    reason,
                    explained_later: false,
                });
            }
        }
    }

    fn send(&mut self, execution: ExecutionId, message: TaskMessage) {
        self.worker.send(execution, message);
    }

    fn release(&mut self, executions: &[ExecutionId]) {
        self.worker.release(executions);
    }

    fn give_up_worker_of(&mut self, execution: ExecutionId) {
        // There is no other process to give the slot to: the thread stays held, and the job goes without it.
        let reason = "the task did not stop within task.cancellation.timeout".to_owned();
        self.events.put(JobEvent::Lost { executions: vec![execution], reason, explained_later: false });
    }
}
