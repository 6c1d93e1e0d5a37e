//! The jobs of a JobManager: those that run, each on a thread of its own, and the last that are over. A new leader finds them in the HA
//! store, with the files and pointers that the one before has left.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flott_core::config::{self, Configuration};
use flott_core::ids::JobId;
use flott_fs::FsPath;
use flott_plan::execution_graph::JobStatus;
use flott_plan::{ExecutionMode, JobGraph, ProgramHash, ProgramListing};
use flott_runtime::slot::wall_clock_millis;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::job_workers::JobWorkers;
use super::running_job::{Left, RunningJob, StartFrom};
use super::task_managers::TaskManagers;
use crate::checkpoint::CheckpointStore;
use crate::high_availability::store::{
    BlobStore, HISTORY, JobRecord, RESULTS, RecoveredContent, RecoveredJob,
};
use crate::high_availability::{HighAvailabilityStore, Storage, StoreError, Term};
use crate::job_master::{JobEvent, JobReport};
use crate::program_store::ContentHash;
use crate::rest::JobView;
use crate::rpc::control::job_outcome::Kind;
use crate::rpc::control::{JobOutcome, JobOverview, JobSpec, Submission, VertexOverview};
use crate::rpc::ha::JobPointer;
use crate::rpc::{WireError, WireId, required};

/// A job, while it runs and after.
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) name: String,
    streaming: bool,
    graph: Arc<JobGraph>,
    configuration: Arc<Configuration>,
    submitted_millis: i64,
    /// Of its program; none: it was over before this leader.
    hash: Option<ContentHash>,
    pub(super) workers: Arc<JobWorkers>,
    pub(super) report: watch::Receiver<JobReport>,
    /// What came of it.
    pub(super) outcome: watch::Receiver<Option<Arc<JobOutcome>>>,
    /// The same, to drop its results.
    keeper: watch::Sender<Option<Arc<JobOutcome>>>,
    /// What is kept of it for the next leader; none: there will be none.
    pub(super) record: Option<Arc<JobRecord>>,
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
            records_read: vertex.records_read,
            bytes_in: vertex.bytes_in,
            bytes_out: vertex.bytes_out,
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

    /// Somebody has the results. Where there is a next leader they stay for a while: who has them may be cut off before it knows.
    pub(super) fn results_taken(&self) {
        if self.record.is_none() {
            self.drop_results();
        }
    }

    /// That is what came of it.
    pub(super) fn is_over_with(&self, outcome: JobOutcome) {
        self.keeper.send_replace(Some(Arc::new(outcome)));
    }

    /// Nobody will ask for the results.
    fn drop_results(&self) {
        self.keeper.send_if_modified(|outcome| {
            let Some(outcome) = outcome else { return false };
            if let Some(Kind::Result(result)) = &mut Arc::make_mut(outcome).kind {
                result.collected = Vec::new();
            }
            // Who waits for the outcome has it.
            false
        });
    }

    /// Has it cancelled. From when this returns it will be, whoever leads. Blocks.
    pub(super) fn cancel(&self) -> Result<(), StoreError> {
        if let Some(record) = self.record.as_ref().filter(|_| !self.is_over()) {
            record.cancel()?;
        }
        self.workers.events().put(JobEvent::Cancel);
        Ok(())
    }
}

/// All jobs.
pub(super) struct Jobs {
    configuration: Configuration,
    task_managers: Arc<TaskManagers>,
    io: Handle,
    /// Where files for the next leader go; none: there will be none.
    storage: Option<Storage>,
    /// Held while a job is taken, so that one that comes twice is taken once.
    submitting: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// In the order of their submission.
    jobs: BTreeMap<u64, Arc<Job>>,
    /// What is kept for the next leader, while this one leads.
    store: Option<Arc<HighAvailabilityStore>>,
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
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Jobs {
    /// None yet; each inherits `configuration`.
    pub(super) fn new(
        configuration: Configuration,
        task_managers: Arc<TaskManagers>,
        storage: Option<Storage>,
        io: Handle,
    ) -> Self {
        Self {
            configuration,
            task_managers,
            io,
            storage,
            submitting: Mutex::default(),
            state: Mutex::default(),
        }
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
        self.all().iter().filter(|job| !job.is_over()).filter_map(|job| job.hash.clone()).collect()
    }

    /// This JobManager leads from now on: goes on with the jobs that the leader before has left. Blocks.
    pub(super) fn lead(&self, term: &Term) -> Result<(), StoreError> {
        let (Some(pointers), Some(storage)) = (&term.pointers, &self.storage) else { return Ok(()) };
        let blobs = Arc::clone(&storage.blobs) as Arc<dyn BlobStore>;
        let store = Arc::new(HighAvailabilityStore::new(Arc::clone(pointers), blobs));
        let recovered = store.recover()?;
        self.state().store = Some(store);
        tracing::info!(jobs = recovered.len(), "what earlier leaders have left is taken over");
        for (id, recovered) in recovered {
            match recovered {
                Ok(RecoveredJob { record, pointer, content: RecoveredContent::Over(outcome) }) => {
                    self.delete_garbage(id, &record);
                    self.remember(&Arc::new(self.past(id, Some(record), &pointer, outcome)));
                }
                Ok(RecoveredJob { record, pointer, content: RecoveredContent::Active(submission) }) => {
                    let left = Left { record: Arc::clone(&record), pointer: pointer.clone() };
                    if let Err(error) = self.start(id, *submission, Some(record), Some(left)) {
                        self.remember_broken(id, &pointer.name, &error);
                    }
                }
                Err(error) => self.remember_broken(id, "", &error),
            }
        }
        storage.programs.retain(&self.needed_programs());
        Ok(())
    }

    /// The checkpoints of a job that is over, if the leader before has not come to deleting them.
    fn delete_garbage(&self, id: JobId, record: &JobRecord) {
        let Some(folder) = record.garbage() else { return };
        let delete = || -> Result<(), String> {
            let folder: FsPath = folder.parse().map_err(|error: flott_fs::FsError| error.to_string())?;
            CheckpointStore::new(folder).delete_all().map_err(|error| error.to_string())?;
            record.cleaned().map_err(|error| error.to_string())
        };
        if let Err(error) = delete() {
            tracing::warn!(job = %id, error, "the checkpoints of a job that is over stay");
        }
    }

    /// A job that cannot be gone on with here is shown with the reason. What is kept of it stays: another version may go on with it.
    fn remember_broken(&self, id: JobId, name: &str, error: &dyn std::fmt::Display) {
        tracing::error!(job = %id, %error, "a job that an earlier leader has left cannot go on");
        let reason = format!("what an earlier JobManager has left of it cannot be used: {error}");
        let pointer = JobPointer { name: name.to_owned(), ..JobPointer::default() };
        let outcome = JobOutcome { kind: Some(Kind::NotStarted(reason)) };
        self.remember(&Arc::new(self.past(id, None, &pointer, outcome)));
    }

    /// A job that was over before this leader.
    fn past(
        &self,
        id: JobId,
        record: Option<Arc<JobRecord>>,
        pointer: &JobPointer,
        outcome: JobOutcome,
    ) -> Job {
        let report = JobReport {
            status: pointer.status.parse().ok(),
            started_millis: pointer.submitted,
            ended_millis: pointer.ended,
            completed_checkpoints: pointer.completed_checkpoints,
            restarts: pointer.restarts,
            failure: Some(pointer.failure.clone()).filter(|failure| !failure.is_empty()),
            ..JobReport::default()
        };
        let graph = Arc::new(JobGraph {
            name: pointer.name.clone(),
            mode: ExecutionMode::Batch,
            vertices: Vec::new(),
            edges: Vec::new(),
            configuration: BTreeMap::new(),
            program_hash: ProgramHash::from_bytes([0; 16]),
            program: ProgramListing::default(),
        });
        let managers = Arc::clone(&self.task_managers);
        let workers = JobWorkers::new(
            id,
            JobSpec::default(),
            Arc::clone(&graph),
            Arc::default(),
            managers,
            Duration::ZERO,
        );
        workers.abandon();
        let (keeper, outcome) = watch::channel(Some(Arc::new(outcome)));
        Job {
            id,
            name: pointer.name.clone(),
            streaming: pointer.streaming,
            graph,
            configuration: Arc::new(self.configuration.clone()),
            submitted_millis: pointer.submitted,
            hash: None,
            workers: Arc::new(workers),
            report: watch::channel(report).1,
            outcome,
            keeper,
            record,
        }
    }

    /// Another JobManager leads: it goes on with all jobs.
    pub(super) fn suspend(&self) {
        let jobs = {
            let mut state = self.state();
            state.store = None;
            std::mem::take(&mut state.jobs)
        };
        for job in jobs.into_values().filter(|job| !job.is_over()) {
            job.workers.events().put(JobEvent::Suspend);
            job.workers.abandon();
        }
    }

    /// Takes a job and runs it; one that is here already runs on. From when this returns it will come to its end, whoever leads. Blocks.
    pub(super) fn submit(&self, mut submission: Submission) -> Result<Arc<Job>, SubmitError> {
        let _one = self.submitting.lock().unwrap_or_else(PoisonError::into_inner);
        let spec = submission.spec.as_mut().ok_or_else(|| WireError("the job is missing".to_owned()))?;
        let id = if spec.job.is_empty() { JobId::random() } else { JobId::read(&spec.job)? };
        if let Some(job) = self.get(id) {
            return Ok(job);
        }
        let graph = JobGraph::decode(&spec.graph)?;
        let mut configuration = self.configuration.clone();
        configuration.extend(&Configuration::from_entries(&spec.configuration)?);
        if let Some(storage) = &self.storage
            && configuration.get_optional(&config::CHECKPOINT_DIR).is_none()
        {
            configuration.set(config::CHECKPOINT_DIR.key, &storage.checkpoints.to_string())?;
        }
        spec.job = id.write();
        spec.configuration = configuration.entries().clone();
        let store = self.state().store.clone();
        let record = match (store, &self.storage) {
            (Some(store), _) => {
                let pointer = JobPointer {
                    name: graph.name.clone(),
                    streaming: graph.mode == ExecutionMode::Streaming,
                    submitted: wall_clock_millis(),
                    next_checkpoint: 1,
                    ..JobPointer::default()
                };
                Some(store.submit(id, &submission, pointer)?)
            }
            (None, Some(_)) => {
                return Err(StoreError::NotLeader("another one may lead".to_owned()).into());
            }
            (None, None) => None,
        };
        self.start(id, submission, record, None)
    }

    /// Runs a job, from its beginning or from what an earlier leader has left.
    fn start(
        &self,
        id: JobId,
        submission: Submission,
        record: Option<Arc<JobRecord>>,
        left: Option<Left>,
    ) -> Result<Arc<Job>, SubmitError> {
        let spec = required(submission.spec, "the job")?;
        let graph = Arc::new(JobGraph::decode(&spec.graph)?);
        let configuration = Configuration::from_entries(&spec.configuration)?;
        let hash: ContentHash = spec.content_hash.parse().map_err(SubmitError::Hash)?;
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
        let workers = if left.is_some() { workers.adopting() } else { workers };
        let (report_sender, report) = watch::channel(JobReport::default());
        let (keeper, outcome) = watch::channel(None);
        let submitted = left.as_ref().map(|left| left.pointer.submitted);
        let job = Arc::new(Job {
            id,
            name: graph.name.clone(),
            streaming: graph.mode == ExecutionMode::Streaming,
            graph: Arc::clone(&graph),
            configuration: Arc::new(configuration.clone()),
            submitted_millis: submitted.unwrap_or_else(wall_clock_millis),
            hash: Some(hash),
            workers: Arc::new(workers),
            report,
            outcome,
            keeper,
            record,
        });
        let running = RunningJob {
            job: Arc::clone(&job),
            graph,
            configuration,
            start,
            left,
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
        let (store, stripped, forgotten) = {
            let mut state = self.state();
            let number = state.next;
            state.next += 1;
            state.jobs.insert(number, Arc::clone(job));
            let over: Vec<u64> =
                state.jobs.iter().filter(|(_, job)| job.is_over()).map(|(n, _)| *n).rev().collect();
            let stripped: Vec<Arc<Job>> =
                over.iter().skip(RESULTS).map(|number| Arc::clone(&state.jobs[number])).collect();
            let forgotten: Vec<Arc<Job>> =
                over.iter().skip(HISTORY).filter_map(|number| state.jobs.remove(number)).collect();
            (state.store.clone(), stripped, forgotten)
        };
        for job in stripped {
            job.drop_results();
            if let Some(record) = &job.record {
                record.drop_results();
            }
        }
        for job in forgotten {
            if let (Some(store), Some(_)) = (&store, &job.record)
                && let Err(error) = store.forget(job.id)
            {
                tracing::debug!(job = %job.id, %error, "a job that is over is not forgotten");
            }
        }
    }
}
