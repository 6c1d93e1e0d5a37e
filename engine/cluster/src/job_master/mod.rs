//! The JobMaster: runs one job, from its first deployment to its result.
//!
//! It is a loop over events on a thread of its own. What it decides comes from pure functions of `flott-plan`; what it does
//! goes through a [`TaskGateway`]. It never runs user code.

mod adopt;
mod alignment;
mod checkpoint_report;
mod checkpoints;
mod commit;
mod environment;
mod events;
mod explanations;
mod failover;
#[cfg(test)]
mod harness;
mod moving;
mod rates;
mod report;
mod restore;
#[cfg(test)]
mod simulation;
mod totals;
#[cfg(test)]
pub(crate) use simulation::graph as simulated_graph;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flott_core::config::{self, Configuration};
use flott_core::ids::{Attempt, ExecutionId, JobId, OperatorId, SubtaskId};
use flott_plan::execution_graph::{ExecutionState, JobStatus, Regions, SlotAssignment, SlotNumber};
use flott_plan::restart_strategy::RestartStrategy;
use flott_plan::{ExchangeMode, JobGraph, OperatorKey};
use flott_runtime::metrics::{OperatorMetrics, TaskMetrics};
use flott_runtime::sinks::too_much_collected;
use flott_runtime::slot::wall_clock_millis;
use flott_runtime::task::{FinalHandles, TaskEvent, TaskMessage};
use tokio::sync::watch;

pub use adopt::{Adoption, ExecutionReport};
pub use checkpoint_report::{Acknowledged, CheckpointReport, CheckpointState, CheckpointsReport};
pub use environment::Environment;
pub use events::{EventQueue, JobEvent};
pub use rates::Rates;
pub use report::{FailureReport, JobDetails, JobReport, OperatorReport, SubtaskReport, VertexReport};
pub use restore::plan_restore;
pub use totals::Totals;

use crate::checkpoint::CompletedCheckpoint;
use crate::gateway::{Deployment, Neighbour, TaskGateway};
use crate::high_availability::store::JobRecord;
use crate::result::{JobError, JobResult, most_collected};
use alignment::AlignedSources;
use checkpoints::CheckpointCoordinator;
use commit::{Again, Commits, Ending};
use explanations::Unexplained;
use moving::Moving;
use report::Publisher;

/// How long a job's cause of failure may be, in bytes, when one more is added.
const LONGEST_CAUSE: usize = 16 << 10;

/// A subtask and its latest attempt.
struct Execution {
    attempt: Attempt,
    state: ExecutionState,
    /// When the attempt was brought into each state, in milliseconds since the epoch.
    since: BTreeMap<ExecutionState, i64>,
    task: Arc<TaskMetrics>,
    metrics: Vec<(OperatorKey, Arc<OperatorMetrics>)>,
    /// What it wants committed; set when it has ended.
    handles: FinalHandles,
    /// When it was told to stop.
    canceling_since: Option<Instant>,
    /// Its worker is gone, and what blocking exchanges held in it.
    partitions_lost: bool,
}

impl Execution {
    fn enter(&mut self, state: ExecutionState) {
        if state == ExecutionState::Created {
            self.since.clear();
        }
        self.state = state;
        self.since.insert(state, wall_clock_millis());
    }

    fn is_active(&self) -> bool {
        use ExecutionState::{Canceling, Deploying, Drained, Running};
        matches!(self.state, Deploying | Running | Drained | Canceling)
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, ExecutionState::Drained | ExecutionState::Finished)
    }
}

/// A restart that waits for its time, and for what must stop first.
struct PendingRestart {
    subtasks: BTreeSet<SubtaskId>,
    at: Instant,
}

/// Why the job is on its way to its end.
struct Doom {
    cause: String,
    backtrace: Option<String>,
    reason: String,
}

impl Doom {
    /// What failed first was who talked with what was lost for this reason; once is enough.
    fn add(&mut self, reason: &str) {
        if self.cause.len() < LONGEST_CAUSE && !self.cause.contains(reason) {
            self.cause = format!("{}; {reason}", self.cause);
        }
    }
}

/// Runs one job.
pub struct JobMaster {
    job: JobId,
    graph: Arc<JobGraph>,
    configuration: Configuration,
    gateway: Box<dyn TaskGateway>,
    events: Arc<EventQueue>,
    environment: Arc<dyn Environment>,
    /// What is kept for the next leader; none: there will be none.
    record: Option<Arc<JobRecord>>,
    /// What an earlier leader has left, until it is taken over.
    adoption: Option<Adoption>,
    slots: SlotAssignment,
    regions: Regions,
    executions: BTreeMap<SubtaskId, Execution>,
    status: JobStatus,
    restart_strategy: RestartStrategy,
    pending_restart: Option<PendingRestart>,
    doom: Option<Doom>,
    checkpoints: CheckpointCoordinator,
    aligned: AlignedSources,
    /// What the job was started from.
    initial: Option<CompletedCheckpoint>,
    started: Instant,
    restarts: u64,
    /// What attempts have counted that others have taken the place of.
    totals: Totals,
    committing: bool,
    commits: Commits,
    unexplained: Unexplained,
    moving: Option<Moving>,
    /// When it is tried again to keep the commits.
    keep_again: Again,
    /// How it ends, until that is kept.
    ending: Option<Ending>,
    report: Publisher,
}

/// What a JobMaster is made of.
pub struct JobMasterSetup {
    /// The job.
    pub job: JobId,
    /// The plan.
    pub graph: Arc<JobGraph>,
    /// The job's configuration, with everything inherited.
    pub configuration: Configuration,
    /// Reaches the workers.
    pub gateway: Box<dyn TaskGateway>,
    /// Where events arrive.
    pub events: Arc<EventQueue>,
    /// The process around it.
    pub environment: Arc<dyn Environment>,
    /// The checkpoint to go on from.
    pub restore: Option<CompletedCheckpoint>,
    /// What is kept for the next leader; none: there will be none.
    pub record: Option<Arc<JobRecord>>,
    /// What an earlier leader has left.
    pub adoption: Option<Adoption>,
    /// Where it says how far it is.
    pub report: watch::Sender<JobReport>,
}

impl JobMaster {
    /// Ready to [`run`](Self::run).
    ///
    /// # Errors
    /// [`JobError::NotStarted`] if the configuration or the checkpoint does not fit.
    pub fn new(setup: JobMasterSetup) -> Result<Self, JobError> {
        let JobMasterSetup { job, graph, configuration, gateway, events, environment, restore, .. } = setup;
        let JobMasterSetup { record, adoption, report, .. } = setup;
        let not_started = |reason: String| JobError::NotStarted { name: graph.name.clone(), reason };
        if let Some(checkpoint) = &restore {
            let allow = configuration.get(&config::ALLOW_NON_RESTORED_STATE);
            plan_restore(&graph, checkpoint, allow, true).map_err(not_started)?;
        }
        let mut checkpoints =
            CheckpointCoordinator::new(&configuration, &graph, job, restore.as_ref(), environment.now())
                .map_err(|error| not_started(error.to_string()))?;
        checkpoints.follow(record.as_deref(), adoption.as_ref());
        let first_attempt = record.as_ref().map_or(Attempt(0), |record| record.first_attempt());
        let started = environment.now();
        let created = wall_clock_millis();
        let execution = || Execution {
            attempt: first_attempt,
            state: ExecutionState::Created,
            since: BTreeMap::from([(ExecutionState::Created, created)]),
            task: Arc::default(),
            metrics: Vec::new(),
            handles: Vec::new(),
            canceling_since: None,
            partitions_lost: false,
        };
        Ok(Self {
            slots: SlotAssignment::of(&graph),
            regions: Regions::of(&graph),
            executions: graph.subtasks().map(|subtask| (subtask, execution())).collect(),
            restart_strategy: RestartStrategy::of_job(&configuration, &Configuration::new()),
            restarts: adoption.as_ref().map_or(0, |adoption| adoption.restarts),
            totals: adoption.as_ref().map_or_else(Totals::default, |adoption| adoption.totals.clone()),
            report: Publisher::new(
                report,
                &configuration,
                adoption.as_ref().map(|adoption| adoption.started_millis),
                started,
            ),
            aligned: AlignedSources::of(&graph, started),
            job,
            configuration,
            gateway,
            events,
            environment,
            record,
            adoption,
            status: JobStatus::Created,
            pending_restart: None,
            doom: None,
            checkpoints,
            initial: restore,
            started,
            committing: false,
            commits: Commits::default(),
            unexplained: Unexplained::default(),
            moving: None,
            keep_again: Again::default(),
            ending: None,
            graph,
        })
    }

    /// Runs the job to its end. Blocks.
    ///
    /// # Errors
    /// [`JobError`]: what failed, and why no restart followed; or that it was cancelled.
    pub fn run(mut self) -> Result<JobResult, JobError> {
        self.start();
        loop {
            let deadline = self.next_deadline();
            let event = self.events.wait_until(deadline);
            if let Some(outcome) = self.step(event) {
                return outcome;
            }
        }
    }

    /// Begins, or goes on where an earlier leader was.
    fn start(&mut self) {
        self.become_status(JobStatus::Running);
        match self.adoption.take() {
            Some(adoption) => self.adopt(adoption),
            None => self.schedule(),
        }
    }

    /// Acts on an event, if there is one, and on the time; with the outcome once there is one.
    fn step(&mut self, event: Option<JobEvent>) -> Option<Result<JobResult, JobError>> {
        match event {
            Some(JobEvent::Suspend) => return Some(self.suspended()),
            // Nothing else changes that any more.
            event if self.ending.is_some() => {
                if matches!(event, Some(JobEvent::Cancel)) {
                    self.cancel_end();
                }
                let outcome = self.end();
                self.publish();
                return outcome;
            }
            Some(JobEvent::Task { execution, event }) => self.task_event(execution, event),
            Some(JobEvent::MetadataWritten { checkpoint, error }) => self.metadata_written(checkpoint, error),
            Some(JobEvent::CheckpointsReserved { below }) => self.checkpoints.reserved(below),
            Some(JobEvent::CommitsKept { error }) => self.commits_kept(error),
            Some(JobEvent::Lost { executions, mut reason, explained_later }) => {
                if explained_later {
                    reason = self.unexplained.expect(reason, self.environment.now());
                }
                self.lost(&executions, &reason);
            }
            Some(JobEvent::Explained { told, reason }) => self.explained(&told, &reason),
            Some(JobEvent::Move { executions, reason }) => self.move_away(executions, reason),
            Some(JobEvent::CannotRun { reason }) => self.cannot_run(reason),
            Some(JobEvent::Cancel) => self.cancel(),
            None => {}
        }
        self.on_time();
        let outcome = self.outcome();
        self.publish();
        outcome
    }

    /// Another leader goes on: whatever is begun here is left as it is.
    fn suspended(&mut self) -> Result<JobResult, JobError> {
        if !self.status.is_terminal() {
            self.become_status(JobStatus::Suspended);
        }
        Err(JobError::Suspended { name: self.graph.name.clone() })
    }

    fn become_status(&mut self, status: JobStatus) {
        if self.status == status {
            return;
        }
        debug_assert!(self.status.may_become(status), "{} → {status}", self.status);
        tracing::info!(job = %self.job, from = %self.status, to = %status, "job changes its state");
        self.status = status;
        self.report.since.insert(status, wall_clock_millis());
        if matches!(status, JobStatus::Failing | JobStatus::Cancelling) {
            self.gateway.wind_down();
        }
    }

    fn execution_id(&self, subtask: SubtaskId) -> ExecutionId {
        let attempt = self.executions.get(&subtask).map_or(Attempt(0), |execution| execution.attempt);
        ExecutionId { subtask, attempt }
    }

    fn send(&mut self, subtask: SubtaskId, message: TaskMessage) {
        let execution = self.execution_id(subtask);
        self.gateway.send(execution, message);
    }

    fn active(&self) -> Vec<SubtaskId> {
        self.executions.iter().filter(|(_, e)| e.is_active()).map(|(subtask, _)| *subtask).collect()
    }

    /// Deploys what is created and has its blocking inputs.
    fn schedule(&mut self) {
        let ready: Vec<SubtaskId> = self
            .executions
            .iter()
            .filter(|(subtask, execution)| {
                execution.state == ExecutionState::Created && self.has_inputs(**subtask)
            })
            .map(|(subtask, _)| *subtask)
            .collect();
        if ready.is_empty() {
            return;
        }
        let allow = self.configuration.get(&config::ALLOW_NON_RESTORED_STATE);
        // A checkpoint of this plan goes back to where it came from; the one the job was started from may be of another.
        let own = self.checkpoints.latest().map(|checkpoint| (checkpoint, false));
        let restore = own.or(self.initial.as_ref().map(|checkpoint| (checkpoint, true)));
        let restored = restore.map(|(checkpoint, _)| checkpoint.id);
        // That the checkpoint fits was checked at the start.
        let mut restores = restore
            .and_then(|(checkpoint, redistribute)| {
                plan_restore(&self.graph, checkpoint, allow, redistribute).ok()
            })
            .unwrap_or_default();
        let mut deployments = Vec::with_capacity(ready.len());
        for subtask in ready {
            let Some(execution) = self.executions.get_mut(&subtask) else { continue };
            execution.enter(ExecutionState::Deploying);
            let mut restore = restores.remove(&subtask).unwrap_or_default();
            if self.committing {
                // Only its commit is left to do.
                restore.ended = Some(execution.handles.clone());
            }
            deployments.push(Deployment {
                execution: ExecutionId { subtask, attempt: execution.attempt },
                slot: self.slots.slot_of(subtask).unwrap_or(SlotNumber(0)),
                restore,
                neighbours: self.neighbours(subtask),
            });
        }
        if let Some(checkpoint) = restored.filter(|_| !self.committing) {
            self.checkpoints.log.restored(checkpoint, wall_clock_millis());
        }
        self.gateway.deploy(deployments);
    }

    fn has_inputs(&self, subtask: SubtaskId) -> bool {
        self.graph.inputs(subtask.vertex).filter(|edge| edge.mode == ExchangeMode::Blocking).all(|edge| {
            let producers = self.graph.producers(edge.id, subtask.index).into_iter();
            producers
                .map(|index| SubtaskId { vertex: edge.source, index })
                .all(|producer| self.executions[&producer].has_ended())
        })
    }

    fn neighbours(&self, subtask: SubtaskId) -> BTreeMap<SubtaskId, Neighbour> {
        let inputs = self.graph.inputs(subtask.vertex).flat_map(|edge| {
            let producers = self.graph.producers(edge.id, subtask.index).into_iter();
            producers.map(|index| SubtaskId { vertex: edge.source, index })
        });
        let outputs = self.graph.outputs(subtask.vertex).flat_map(|edge| {
            let consumers = self.graph.consumers(edge.id, subtask.index).into_iter();
            consumers.map(|index| SubtaskId { vertex: edge.target, index })
        });
        let neighbour =
            |subtask| (subtask, Neighbour { attempt: self.executions[&subtask].attempt, worker: None });
        inputs.chain(outputs).map(neighbour).collect()
    }

    fn task_event(&mut self, id: ExecutionId, event: TaskEvent) {
        let Some(execution) = self.executions.get_mut(&id.subtask) else { return };
        if execution.attempt != id.attempt {
            return;
        }
        let next = match &event {
            TaskEvent::Running { .. } => Some(ExecutionState::Running),
            TaskEvent::Drained(_) => Some(ExecutionState::Drained),
            TaskEvent::Finished => Some(ExecutionState::Finished),
            TaskEvent::Canceled => Some(ExecutionState::Canceled),
            TaskEvent::Failed(_) => Some(ExecutionState::Failed),
            TaskEvent::CheckpointAcknowledged { .. } | TaskEvent::CheckpointDeclined { .. } => None,
        };
        let canceling = execution.state == ExecutionState::Canceling;
        if let Some(next) = next {
            // A task that ends while it is told to stop has stopped, however: what it was cancelled for is known.
            let next = if canceling && next.is_terminal() { ExecutionState::Canceled } else { next };
            if execution.state.may_become(next) {
                execution.enter(next);
            }
            if execution.state.is_terminal() {
                execution.canceling_since = None;
                self.gateway.release(&[id]);
            }
        }
        match event {
            TaskEvent::Running { task, metrics } => {
                if let Some(execution) = self.executions.get_mut(&id.subtask) {
                    execution.task = task;
                    execution.metrics = metrics;
                }
                self.aligned.tell_again();
            }
            TaskEvent::CheckpointAcknowledged { checkpoint, snapshot } => {
                self.acknowledged(id.subtask, checkpoint, snapshot);
            }
            TaskEvent::CheckpointDeclined { checkpoint, reason } => {
                self.checkpoint_failed(checkpoint, &reason)
            }
            TaskEvent::Drained(handles) => {
                let execution = self.executions.get_mut(&id.subtask);
                if let Some(execution) = execution.filter(|e| e.state == ExecutionState::Drained) {
                    execution.handles = handles;
                }
                let most = most_collected(&self.configuration);
                if self.bytes_to_commit() > most {
                    return self.cannot_run(too_much_collected(most));
                }
                self.subtask_ended(id.subtask);
            }
            TaskEvent::Finished => self.subtask_ended(id.subtask),
            TaskEvent::Canceled => {}
            TaskEvent::Failed(failure) if canceling => {
                tracing::debug!(job = %self.job, error = %failure, "a task failed while it was told to stop");
            }
            TaskEvent::Failed(failure) => self.failed(&[id.subtask], failure),
        }
    }

    fn subtask_ended(&mut self, subtask: SubtaskId) {
        self.ended_before_checkpoint(subtask);
        if self.status == JobStatus::Running {
            self.schedule();
            if self.executions.values().all(Execution::has_ended) {
                self.commit();
            }
        }
    }

    /// How much those that have ended want committed; what is collected is the most of it.
    fn bytes_to_commit(&self) -> usize {
        let handles = self.executions.values().flat_map(|execution| &execution.handles);
        handles.flat_map(|(_, handles)| handles).map(Bytes::len).sum()
    }

    /// The next time at which something is due.
    fn next_deadline(&self) -> Instant {
        let timeout = self.configuration.get(&config::CANCELLATION_TIMEOUT);
        let stopping =
            self.executions.values().filter_map(|e| e.canceling_since).map(|since| since + timeout);
        // Once its time has come, a restart waits for events.
        let now = self.environment.now();
        let restart = self.pending_restart.as_ref().map(|restart| restart.at).filter(|at| *at > now);
        let checkpoint =
            if self.status == JobStatus::Running { self.checkpoints.next_deadline() } else { None };
        let aligning = if self.status == JobStatus::Running { self.aligned.next_deadline() } else { None };
        let explained = self.doom.as_ref().and_then(|_| self.unexplained.until(now));
        let keep = self.ending.as_ref().map_or(self.keep_again.at, |ending| ending.again.at);
        let all = stopping
            .chain(keep)
            .chain(explained)
            .chain(restart)
            .chain(checkpoint)
            .chain(aligning)
            .chain([self.report.next()]);
        all.min().unwrap_or_else(|| self.environment.now() + Duration::from_secs(60))
    }

    fn on_time(&mut self) {
        let now = self.environment.now();
        self.check_cancellation(now);
        let ready = self.pending_restart.as_ref().is_some_and(|restart| {
            self.status == JobStatus::Restarting
                && restart.at <= now
                && !self.checkpoints.is_completing()
                && restart.subtasks.iter().all(|subtask| !self.executions[subtask].is_active())
        });
        if ready {
            self.restart();
        }
        if self.status == JobStatus::Running {
            self.checkpoint_on_time(now);
            self.align_watermarks(now);
            self.commit_again(now);
        }
    }

    /// The job's outcome, once nothing is active any more, and nothing of a checkpoint or commit is undecided.
    fn outcome(&mut self) -> Option<Result<JobResult, JobError>> {
        let (job, name) = (self.job, self.graph.name.clone());
        let undecided = self.checkpoints.is_completing() || self.is_keeping_commits();
        if undecided || self.executions.values().any(Execution::is_active) {
            return None;
        }
        let (status, outcome) = match self.status {
            JobStatus::Failing if self.unexplained.until(self.environment.now()).is_some() => return None,
            JobStatus::Failing => {
                let Doom { cause, backtrace, reason } = self.doom.take()?;
                (JobStatus::Failed, Err(JobError::Failed { job, name, cause, reason, backtrace }))
            }
            JobStatus::Cancelling => (JobStatus::Canceled, Err(JobError::Canceled { job, name })),
            JobStatus::Running if self.executions.values().all(|e| e.state == ExecutionState::Finished) => {
                (JobStatus::Finished, Ok(self.result()))
            }
            _ => return None,
        };
        self.ending = Some(Ending::new(status, outcome));
        self.end()
    }

    fn result(&self) -> JobResult {
        let mut collected: HashMap<OperatorId, Vec<Vec<Bytes>>> = HashMap::new();
        for execution in self.executions.values() {
            for (key, handles) in &execution.handles {
                collected.entry(key.id).or_default().push(handles.clone());
            }
        }
        let [late_records, skipped_records] = self.all_counted().late_and_skipped();
        JobResult {
            job: self.job,
            runtime: self.environment.now().saturating_duration_since(self.started),
            collected,
            late_records,
            skipped_records,
            completed_checkpoints: self.checkpoints.completed_count(),
            restarts: self.restarts,
            detached: false,
        }
    }

    /// What all attempts have counted.
    fn all_counted(&self) -> Totals {
        let mut all = self.totals.clone();
        for (subtask, execution) in &self.executions {
            all.add(&self.graph, subtask.vertex, execution);
        }
        all
    }
}
