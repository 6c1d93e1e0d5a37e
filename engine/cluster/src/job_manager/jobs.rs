//! The jobs of a JobManager: those that run, each on a thread of its own, and the last that are over. A new leader finds them in the HA
//! store, with the files and pointers that the one before has left.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flott_core::config::{self, Configuration, MemorySize};
use flott_core::ids::JobId;
use flott_fs::FsError;
use flott_plan::{ExecutionMode, JobGraph};
use flott_runtime::slot::wall_clock_millis;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::job::{Job, Standing};
use super::job_workers::JobWorkers;
use super::memory_budget::MemoryBudget;
use super::recovery::Leading;
use super::running_job::{Left, RunningJob, StartFrom};
use super::task_managers::TaskManagers;
use crate::high_availability::store::{HISTORY, JobRecord, RESULTS};
use crate::high_availability::{Storage, StoreError};
use crate::job_master::JobReport;
use crate::program_store::ContentHash;
use crate::rpc::control::{JobSpec, Submission};
use crate::rpc::ha::{JobPointer, State as PointerState};
use crate::rpc::{WireError, WireId, required};

/// All jobs.
pub(super) struct Jobs {
    pub(super) configuration: Configuration,
    /// The application that this JobManager is of, if it is of one.
    application: Option<String>,
    pub(super) task_managers: Arc<TaskManagers>,
    pub(super) io: Handle,
    /// Where files for the next leader go; none: there will be none.
    pub(super) storage: Option<Storage>,
    /// What a job may collect, and what jobs that are over keep of that in memory.
    pub(super) most_collected: MemorySize,
    /// Held while a job is taken, so that one that comes twice is taken once.
    pub(super) submitting: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    next: u64,
    /// In the order of their submission.
    pub(super) jobs: BTreeMap<u64, Arc<Job>>,
    /// What is kept for the next leader, while this one leads.
    pub(super) leading: Option<Arc<Leading>>,
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
    #[error(
        "the program cannot be kept for the next leader: {0}; make room below high-availability.storageDir, or have its quota raised, and submit again"
    )]
    Program(#[from] FsError),
    #[error("{0}")]
    Unread(String),
    #[error("{0}")]
    Broken(String),
}

impl Jobs {
    /// None yet; each inherits `configuration`.
    pub(super) fn new(
        configuration: Configuration,
        application: Option<String>,
        task_managers: Arc<TaskManagers>,
        storage: Option<Storage>,
        io: Handle,
    ) -> Self {
        let most_collected = MemoryBudget::of(&configuration).collected();
        Self {
            configuration,
            most_collected,
            application,
            task_managers,
            io,
            storage,
            submitting: Mutex::default(),
            state: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
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

    /// Hands over the programs that jobs need, if all jobs are known. Nobody takes one meanwhile. Blocks.
    pub(super) fn with_needed_programs(&self, act: impl FnOnce(&HashSet<ContentHash>)) {
        let _one = self.submitting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(needed) = self.needed_programs() {
            act(&needed);
        }
    }

    /// The programs that jobs which run were made of; none: not all jobs can be read, or another leader has them.
    pub(super) fn needed_programs(&self) -> Option<HashSet<ContentHash>> {
        let jobs: Vec<Arc<Job>> = {
            let state = self.state();
            if self.storage.is_some() && state.leading.is_none() {
                return None;
            }
            state.jobs.values().cloned().collect()
        };
        let all_known = jobs.iter().all(|job| *job.standing.borrow() == Standing::Here);
        let running = jobs.iter().filter(|job| !job.is_over());
        all_known.then(|| running.filter_map(|job| job.hash.clone()).collect())
    }

    /// Has a program kept where the next leader finds it, if it is not there already. Blocks.
    pub(super) fn keep_program(&self, hash: &ContentHash, file: &Path) -> Result<(), SubmitError> {
        let leading = self.state().leading.clone();
        self.keep_program_in(leading.as_deref(), hash, file)
    }

    fn keep_program_in(
        &self,
        leading: Option<&Leading>,
        hash: &ContentHash,
        file: &Path,
    ) -> Result<(), SubmitError> {
        match (&self.storage, leading) {
            (Some(storage), Some(leading)) => Ok(storage.programs.put(hash, leading.store.epoch(), file)?),
            (Some(_), None) => Err(StoreError::NotLeader("another one may lead".to_owned()).into()),
            (None, _) => Ok(()),
        }
    }

    /// Removes programs that no job needs from where the next leader would find them, once all jobs are known. Blocks.
    pub(super) fn retain_programs(&self) {
        let leading = self.state().leading.clone();
        let (Some(storage), Some(leading)) = (&self.storage, leading) else { return };
        self.with_needed_programs(|needed| {
            // A job that was kept, but not heard of, is not known here. Then this one leads no longer.
            match leading.store.check() {
                Ok(()) => storage.programs.retain(needed, leading.store.epoch()),
                Err(error) => {
                    tracing::debug!(%error, "programs that no job needs are left to the next leader")
                }
            }
        });
    }

    /// Takes a job and runs it; one that is here already runs on. From when this returns it will come to its end, whoever leads. `program` is
    /// the file of its program, unless the next leader gets that as this one did. Blocks.
    pub(super) fn submit(
        &self,
        mut submission: Submission,
        program: Option<&Path>,
    ) -> Result<Arc<Job>, SubmitError> {
        let _one = self.submitting.lock().unwrap_or_else(PoisonError::into_inner);
        let spec = submission.spec.as_mut().ok_or_else(|| WireError("the job is missing".to_owned()))?;
        let id = if spec.job.is_empty() { JobId::random() } else { JobId::read(&spec.job)? };
        if let Some(job) = self.get(id) {
            return match &*job.standing.borrow() {
                Standing::Here => Ok(Arc::clone(&job)),
                Standing::Unread(reason) => Err(SubmitError::Unread(reason.clone())),
                Standing::Broken(reason) => Err(SubmitError::Broken(reason.clone())),
            };
        }
        let of_main = self.is_of_main(id, spec);
        if let Some(job) = if of_main { self.ended_before(id)? } else { None } {
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
        let most = configuration.get(&config::MOST_COLLECTED).min(self.most_collected);
        configuration.set(config::MOST_COLLECTED.key, &most.to_string())?;
        spec.job = id.write();
        spec.configuration = configuration.entries().clone();
        let leading = self.state().leading.clone();
        if let Some(program) = program {
            // That it is here does not say that it is there: it may have been uploaded in vain, or removed there under another leader.
            let hash = spec.content_hash.parse().map_err(SubmitError::Hash)?;
            self.keep_program_in(leading.as_deref(), &hash, program)?;
        }
        let record = match (&leading, &self.storage) {
            (Some(leading), _) => {
                let pointer = JobPointer {
                    name: graph.name.clone(),
                    streaming: graph.mode == ExecutionMode::Streaming,
                    submitted: wall_clock_millis(),
                    next_checkpoint: 1,
                    of_main,
                    ..JobPointer::default()
                };
                Some(leading.store.submit(id, &submission, pointer)?)
            }
            (None, Some(_)) => {
                return Err(StoreError::NotLeader("another one may lead".to_owned()).into());
            }
            (None, None) => None,
        };
        let running = self.prepare(id, submission, record, None, leading.clone())?;
        let job = Arc::clone(&running.job);
        if self.remember(&job, leading.as_ref()).is_none() {
            return Err(StoreError::NotLeader("another one has it now".to_owned()).into());
        }
        let thread = std::thread::Builder::new().name(thread_name(id));
        if let Err(error) = thread.spawn(move || drop(running.run())) {
            self.state().jobs.retain(|_, other| other.id != id);
            return Err(SubmitError::Thread(error));
        }
        tracing::info!(job = %id, name = job.name, "a job was submitted");
        Ok(job)
    }

    /// Whether a job is one of the application's own main, which another attempt runs again.
    fn is_of_main(&self, id: JobId, spec: &JobSpec) -> bool {
        let application = self.application.as_ref();
        application.is_some_and(|application| id == JobId::derived(application, spec.execution.into()))
    }

    /// A job of an application's main that is over and no longer remembered here.
    fn ended_before(&self, id: JobId) -> Result<Option<Arc<Job>>, StoreError> {
        let Some(leading) = self.state().leading.clone() else { return Ok(None) };
        let found = leading.store.find(id)?;
        let Some(record) = found.filter(|record| record.pointer().state() == PointerState::Over) else {
            return Ok(None);
        };
        let job = self.remember_ended(id, record, &leading);
        job.map(Some).ok_or_else(|| StoreError::NotLeader("another one has it now".to_owned()))
    }

    /// Adds a job that is over, of which nothing but the pointer is read for now, unless that leader leads no longer.
    pub(super) fn remember_ended(
        &self,
        id: JobId,
        record: Arc<JobRecord>,
        leading: &Arc<Leading>,
    ) -> Option<Arc<Job>> {
        let pointer = record.pointer();
        let job = Arc::new(self.known_by_pointer(id, Some(record), &pointer, Standing::Here));
        job.is_over_as_kept();
        self.remember(&job, Some(leading)).map(|_| job)
    }

    /// A job that is about to run, from its beginning or from what an earlier leader has left.
    pub(super) fn prepare(
        &self,
        id: JobId,
        submission: Submission,
        record: Option<Arc<JobRecord>>,
        left: Option<Left>,
        leading: Option<Arc<Leading>>,
    ) -> Result<RunningJob, SubmitError> {
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
        let submitted = left.as_ref().map(|left| left.record.pointer().submitted);
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
            standing: watch::Sender::new(Standing::Here),
        });
        let io = self.io.clone();
        Ok(RunningJob { job, graph, configuration, start, left, leading, report: report_sender, io })
    }

    /// Adds a job, unless that leader leads no longer. Tells its number.
    pub(super) fn remember(&self, job: &Arc<Job>, leading: Option<&Arc<Leading>>) -> Option<u64> {
        let number = {
            let mut state = self.state();
            if !state.is_led(leading) {
                return None;
            }
            let number = state.next;
            state.next += 1;
            state.jobs.insert(number, Arc::clone(job));
            number
        };
        self.forget_oldest();
        Some(number)
    }

    /// Forgets the oldest that are over, if there are many.
    pub(super) fn forget_oldest(&self) {
        let (leading, unloaded, stripped, forgotten) = {
            let mut state = self.state();
            let over: Vec<u64> =
                state.jobs.iter().filter(|(_, job)| job.is_over()).map(|(n, _)| *n).rev().collect();
            let mut bytes = 0;
            let unloaded: Vec<Arc<Job>> = over
                .iter()
                .map(|number| &state.jobs[number])
                .filter(|job| {
                    bytes += job.collected_bytes();
                    bytes > self.most_collected.bytes()
                })
                .cloned()
                .collect();
            let stripped: Vec<Arc<Job>> =
                over.iter().skip(RESULTS).map(|number| Arc::clone(&state.jobs[number])).collect();
            let forgotten: Vec<Arc<Job>> =
                over.iter().skip(HISTORY).filter_map(|number| state.jobs.remove(number)).collect();
            (state.leading.clone(), unloaded, stripped, forgotten)
        };
        for job in unloaded {
            job.unload_results();
        }
        for job in stripped {
            job.drop_results();
            if let Some(record) = job.record.as_ref().filter(|record| !record.is_of_main()) {
                record.drop_results();
            }
        }
        for job in forgotten.iter().filter(|job| !job.is_of_main()) {
            if let (Some(leading), Some(_)) = (&leading, &job.record)
                && let Err(error) = leading.store.forget(job.id)
            {
                tracing::debug!(job = %job.id, %error, "a job that is over is not forgotten");
            }
        }
    }
}

impl State {
    /// Whether it is that leader who leads; none: there is one for ever.
    pub(super) fn is_led(&self, leading: Option<&Arc<Leading>>) -> bool {
        match (&self.leading, leading) {
            (Some(now), Some(leading)) => Arc::ptr_eq(now, leading),
            (None, None) => true,
            _ => false,
        }
    }
}

/// The thread of a job.
pub(super) fn thread_name(id: JobId) -> String {
    format!("flott-job-{:.8}", id.to_string())
}
