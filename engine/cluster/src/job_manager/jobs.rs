//! The jobs of a JobManager: those that run, each on a thread of its own, and the last that are over.

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flott_core::config::{self, Configuration};
use flott_core::ids::JobId;
use flott_fs::FsPath;
use flott_plan::execution_graph::JobStatus;
use flott_plan::{ExecutionMode, JobGraph};
use flott_runtime::slot::wall_clock_millis;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::job_workers::{JobWorkers, RemoteGateway};
use super::task_managers::TaskManagers;
use crate::checkpoint::{CompletedCheckpoint, read_checkpoint};
use crate::job_master::{JobEvent, JobMaster, JobMasterSetup, JobReport};
use crate::program_store::ContentHash;
use crate::rest::JobView;
use crate::result::{JobError, JobResult};
use crate::rpc::control::job_outcome::Kind;
use crate::rpc::control::{JobOutcome, JobOverview, Submission, VertexOverview};
use crate::rpc::{WireError, WireId, required, write_outcome};

/// How many jobs that are over are remembered.
const HISTORY: usize = 100;

/// Of how many jobs that are over the results are kept until somebody asks.
const RESULTS: usize = 10;

/// A job, while it runs and after.
pub(super) struct Job {
    pub(super) id: JobId,
    name: String,
    streaming: bool,
    graph: Arc<JobGraph>,
    configuration: Arc<Configuration>,
    submitted_millis: i64,
    hash: ContentHash,
    pub(super) workers: Arc<JobWorkers>,
    pub(super) report: watch::Receiver<JobReport>,
    /// What came of it.
    pub(super) outcome: watch::Receiver<Option<Arc<JobOutcome>>>,
    /// The same, to drop its results.
    keeper: watch::Sender<Option<Arc<JobOutcome>>>,
}

impl Job {
    /// The state that follows from its report, and from whether there is an outcome. A job that never began has no report.
    fn status(over: bool, reported: Option<JobStatus>) -> JobStatus {
        match (over, reported) {
            (true, Some(status)) if status.is_terminal() => status,
            (true, _) => JobStatus::Failed,
            (false, status) => status.unwrap_or(JobStatus::Created),
        }
    }

    /// All that it says of itself.
    pub(super) fn view(&self) -> JobView {
        let (report, outcome) = (self.report.borrow().clone(), self.outcome.borrow().clone());
        let not_started = outcome.as_ref().and_then(|outcome| match &outcome.kind {
            Some(Kind::NotStarted(reason)) => Some(reason.clone()),
            _ => None,
        });
        JobView {
            id: self.id,
            status: Self::status(outcome.is_some(), report.status),
            submitted_millis: self.submitted_millis,
            graph: Arc::clone(&self.graph),
            configuration: Arc::clone(&self.configuration),
            report,
            not_started,
            placed: self.workers.placed(),
        }
    }

    /// What it says of itself.
    pub(super) fn overview(&self) -> JobOverview {
        let report = self.report.borrow();
        let outcome = self.outcome.borrow();
        let status = Self::status(outcome.is_some(), report.status);
        let vertices = report.vertices.iter().map(|vertex| VertexOverview {
            name: vertex.name.clone(),
            parallelism: vertex.parallelism,
            subtasks: vertex.states.iter().map(|(state, count)| (state.name().to_owned(), *count)).collect(),
            records_in: vertex.records_in,
            records_out: vertex.records_out,
        });
        let not_started = outcome.as_ref().and_then(|outcome| match &outcome.kind {
            Some(Kind::NotStarted(reason)) => Some(reason.clone()),
            _ => None,
        });
        JobOverview {
            job: self.id.write(),
            name: self.name.clone(),
            status: status.name().to_owned(),
            started: if report.started_millis > 0 { report.started_millis } else { self.submitted_millis },
            ended: report.ended_millis,
            vertices: vertices.collect(),
            completed_checkpoints: report.completed_checkpoints,
            restarts: report.restarts,
            streaming: self.streaming,
            failure: not_started.or_else(|| report.failure.clone()).unwrap_or_default(),
        }
    }

    fn is_over(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// Somebody has the results, or nobody will ask.
    pub(super) fn drop_results(&self) {
        self.keeper.send_if_modified(|outcome| {
            let Some(outcome) = outcome else { return false };
            if let Some(Kind::Result(result)) = &mut Arc::make_mut(outcome).kind {
                result.collected = Vec::new();
            }
            // Who waits for the outcome has it.
            false
        });
    }

    pub(super) fn cancel(&self) {
        self.workers.events().put(JobEvent::Cancel);
    }
}

/// All jobs.
pub(super) struct Jobs {
    configuration: Configuration,
    task_managers: Arc<TaskManagers>,
    io: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// In the order of their submission.
    jobs: BTreeMap<u64, Arc<Job>>,
}

/// Why a job is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubmitError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the plan cannot be read: {0}")]
    Plan(#[from] flott_plan::PlanError),
    #[error(transparent)]
    Configuration(#[from] config::ConfigError),
    #[error("{0}")]
    Hash(String),
    #[error("the system gives no thread for the job: {0}")]
    Thread(std::io::Error),
}

impl Jobs {
    /// None yet; each inherits `configuration`.
    pub(super) fn new(configuration: Configuration, task_managers: Arc<TaskManagers>, io: Handle) -> Self {
        Self { configuration, task_managers, io, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job by its id.
    pub(super) fn get(&self, id: JobId) -> Option<Arc<Job>> {
        self.state().jobs.values().find(|job| job.id == id).cloned()
    }

    /// All, the oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Job>> {
        self.state().jobs.values().cloned().collect()
    }

    /// The programs that jobs which run were made of.
    pub(super) fn needed_programs(&self) -> HashSet<ContentHash> {
        self.all().iter().filter(|job| !job.is_over()).map(|job| job.hash.clone()).collect()
    }

    /// Takes a job and runs it.
    pub(super) fn submit(&self, submission: Submission) -> Result<Arc<Job>, SubmitError> {
        let mut spec = required(submission.spec, "the job")?;
        let graph = Arc::new(JobGraph::decode(&spec.graph)?);
        let mut configuration = self.configuration.clone();
        configuration.extend(&Configuration::from_entries(&spec.configuration)?);
        let hash: ContentHash = spec.content_hash.parse().map_err(SubmitError::Hash)?;
        let id = JobId::random();
        spec.job = id.write();
        spec.configuration = configuration.entries().clone();
        let start = match (submission.checkpoint, submission.restore) {
            (Some(bytes), _) => StartFrom::Checkpoint(bytes),
            (None, Some(path)) => StartFrom::Path(path),
            (None, None) => StartFrom::Nothing,
        };
        let workers = JobWorkers::new(
            id,
            spec,
            Arc::clone(&graph),
            Arc::default(),
            Arc::clone(&self.task_managers),
            configuration.get(&config::SLOT_REQUEST_TIMEOUT),
        );
        let (report_sender, report) = watch::channel(JobReport::default());
        let (keeper, outcome) = watch::channel(None);
        let job = Arc::new(Job {
            id,
            name: graph.name.clone(),
            streaming: graph.mode == ExecutionMode::Streaming,
            graph: Arc::clone(&graph),
            configuration: Arc::new(configuration.clone()),
            submitted_millis: wall_clock_millis(),
            hash,
            workers: Arc::new(workers),
            report,
            outcome,
            keeper,
        });
        let running = RunningJob {
            job: Arc::clone(&job),
            graph,
            configuration,
            start,
            report: report_sender,
            io: self.io.clone(),
        };
        self.remember(&job);
        let thread = std::thread::Builder::new().name(format!("flott-job-{:.8}", id.to_string()));
        if let Err(error) = thread.spawn(move || running.run()) {
            self.state().jobs.retain(|_, other| other.id != id);
            return Err(SubmitError::Thread(error));
        }
        tracing::info!(job = %id, name = job.name, "a job was submitted");
        Ok(job)
    }

    /// Adds a job, and forgets the oldest that are over, if there are many.
    fn remember(&self, job: &Arc<Job>) {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.jobs.insert(number, Arc::clone(job));
        let over: Vec<u64> = state.jobs.iter().filter(|(_, job)| job.is_over()).map(|(n, _)| *n).collect();
        for number in over.iter().rev().skip(RESULTS) {
            state.jobs[number].drop_results();
        }
        for number in over.iter().rev().skip(HISTORY) {
            state.jobs.remove(number);
        }
    }
}

/// Where a job's state comes from at its start.
enum StartFrom {
    Nothing,
    Path(String),
    Checkpoint(Vec<u8>),
}

/// A job on its thread.
struct RunningJob {
    job: Arc<Job>,
    graph: Arc<JobGraph>,
    configuration: Configuration,
    start: StartFrom,
    report: watch::Sender<JobReport>,
    io: Handle,
}

impl RunningJob {
    fn run(self) {
        let job = Arc::clone(&self.job);
        // Whoever waits for the job must hear of its end, also of one that no JobMaster should come to.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| self.run_to_end())).unwrap_or_else(|_| {
            let reason = "its JobMaster panicked, as the JobManager's log says: this is a defect of Flott, please report it";
            Err(JobError::NotStarted { name: job.name.clone(), reason: reason.to_owned() })
        });
        match &outcome {
            Ok(_) => tracing::info!(job = %job.id, name = job.name, "a job has finished"),
            Err(error) => tracing::warn!(job = %job.id, %error, "a job has ended"),
        }
        job.workers.finish();
        job.keeper.send_replace(Some(Arc::new(write_outcome(outcome))));
    }

    fn run_to_end(self) -> Result<JobResult, JobError> {
        let name = self.graph.name.clone();
        let not_started = |reason: String| JobError::NotStarted { name: name.clone(), reason };
        let restore = match self.start {
            StartFrom::Nothing => None,
            StartFrom::Checkpoint(bytes) => {
                Some(CompletedCheckpoint::decode(&bytes).map_err(|error| not_started(error.to_string()))?)
            }
            StartFrom::Path(path) => {
                let path: FsPath =
                    path.parse().map_err(|error: flott_fs::FsError| not_started(error.to_string()))?;
                Some(read_checkpoint(&path).map_err(|error| not_started(error.to_string()))?)
            }
        };
        let workers = &self.job.workers;
        let master = JobMaster::new(JobMasterSetup {
            job: self.job.id,
            graph: self.graph,
            configuration: self.configuration,
            gateway: Box::new(RemoteGateway(Arc::clone(workers))),
            events: Arc::clone(workers.events()),
            io: self.io,
            restore,
            report: self.report,
        })?;
        master.run()
    }
}
