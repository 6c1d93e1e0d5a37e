//! The CheckpointCoordinator: when a checkpoint begins, when it is complete, which are kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_core::config::{self, CheckpointRetention, Configuration};
use flott_core::ids::{CheckpointId, JobId, SubtaskId};
use flott_plan::execution_graph::{ExecutionState, JobStatus};
use flott_plan::{ExecutionMode, JobGraph, OperatorKey};
use flott_runtime::slot::wall_clock_millis;
use flott_runtime::snapshot::SubtaskSnapshot;
use flott_runtime::task::{FinalHandles, TaskFailure, TaskMessage};

use super::checkpoint_report::{CheckpointLog, CheckpointsReport, snapshot_bytes};
use super::{Adoption, Environment, EventQueue, JobEvent, JobMaster};
use crate::checkpoint::{CheckpointStore, CompletedCheckpoint, SubtaskCheckpoint};
use crate::high_availability::StoreError;
use crate::high_availability::store::JobRecord;
use crate::worker::checkpoint_directory;

/// How long to wait before looking again whether all tasks run.
const RETRY: Duration = Duration::from_millis(20);

/// How long the deletion of a job's checkpoints may hold up its end.
const DELETION_DEADLINE: Duration = Duration::from_secs(30);

/// A checkpoint that is being taken.
struct Pending {
    id: CheckpointId,
    since: Instant,
    parts: BTreeMap<SubtaskId, SubtaskCheckpoint>,
    triggered: BTreeSet<SubtaskId>,
    /// All parts are there and the metadata is being written.
    completing: Option<CompletedCheckpoint>,
}

/// What the JobMaster knows of the job's checkpoints.
pub(super) struct CheckpointCoordinator {
    interval: Option<Duration>,
    timeout: Duration,
    min_pause: Duration,
    tolerable_failures: u32,
    retained: usize,
    retention: CheckpointRetention,
    store: Option<Arc<CheckpointStore>>,
    next_id: CheckpointId,
    next_begin: Instant,
    pending: Option<Pending>,
    completed: VecDeque<CompletedCheckpoint>,
    completed_count: u64,
    failures: u32,
    pub(super) log: CheckpointLog,
    /// Ids from this one on are not to be used before that is written down; none: nobody else will use any.
    below: Option<CheckpointId>,
    reserving: bool,
}

impl CheckpointCoordinator {
    pub(super) fn new(
        configuration: &Configuration,
        graph: &JobGraph,
        job: JobId,
        restored: Option<&CompletedCheckpoint>,
        now: Instant,
    ) -> Result<Self, flott_fs::FsError> {
        let streaming = graph.mode == ExecutionMode::Streaming;
        let interval = configuration.get_optional(&config::CHECKPOINT_INTERVAL).filter(|_| streaming);
        let store = checkpoint_directory(configuration, job)?
            .map(|directory| Arc::new(CheckpointStore::new(directory)));
        Ok(Self {
            interval,
            timeout: configuration.get(&config::CHECKPOINT_TIMEOUT),
            min_pause: configuration.get(&config::CHECKPOINT_MIN_PAUSE),
            tolerable_failures: configuration.get(&config::TOLERABLE_FAILED_CHECKPOINTS),
            retained: configuration.get(&config::RETAINED_CHECKPOINTS).max(1) as usize,
            retention: configuration.get(&config::CHECKPOINT_RETENTION),
            store: store.filter(|_| interval.is_some()),
            next_id: CheckpointId(restored.map_or(1, |checkpoint| checkpoint.id.0 + 1)),
            next_begin: now + interval.unwrap_or_default(),
            pending: None,
            completed: VecDeque::new(),
            completed_count: 0,
            failures: 0,
            log: CheckpointLog::new(configuration.get(&config::CHECKPOINT_HISTORY) as usize),
            below: None,
            reserving: false,
        })
    }

    /// Goes on where an earlier leader was, with ids that it has not used.
    pub(super) fn follow(&mut self, record: Option<&JobRecord>, adoption: Option<&Adoption>) {
        self.below = record.map(JobRecord::next_checkpoint);
        if let Some(adoption) = adoption {
            self.next_id = self.below.map_or(self.next_id, |below| below.max(self.next_id));
            self.completed = adoption.checkpoints.iter().cloned().collect();
            self.completed_count = adoption.completed_checkpoints;
        }
    }

    /// Ids below this one may be used.
    pub(super) fn reserved(&mut self, below: CheckpointId) {
        self.below = Some(below);
        self.reserving = false;
    }

    /// The next checkpoint begins at once, or after the one that is being taken. Tells which that will be.
    pub(super) fn begin_now(&mut self, now: Instant) -> CheckpointId {
        self.next_begin = now;
        self.next_id
    }

    /// The last id that may have been used.
    pub(super) fn last_id(&self) -> CheckpointId {
        CheckpointId(self.next_id.0 - 1)
    }

    /// Whether a checkpoint is complete but for being written down, so that it may be complete any moment.
    pub(super) fn is_completing(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.completing.is_some())
    }

    pub(super) fn latest(&self) -> Option<&CompletedCheckpoint> {
        self.completed.back()
    }

    pub(super) fn completed_count(&self) -> u64 {
        self.completed_count
    }

    /// What is remembered of all of them.
    pub(super) fn report(&self) -> CheckpointsReport {
        self.log.report()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let interval = self.interval?;
        match &self.pending {
            Some(pending) if pending.completing.is_some() => None,
            Some(pending) => Some(pending.since + self.timeout),
            None if interval.is_zero() => None,
            None => Some(self.next_begin),
        }
    }

    fn keeps(&self, status: JobStatus) -> bool {
        match status {
            JobStatus::Canceled => self.retention == CheckpointRetention::Retain,
            JobStatus::Failed => true,
            _ => false,
        }
    }

    /// The folder with the job's checkpoints, if a job that ends so leaves none.
    pub(super) fn garbage(&self, status: JobStatus) -> Option<String> {
        let store = self.store.as_ref().filter(|_| !self.keeps(status))?;
        Some(store.directory().to_string())
    }

    /// The job is over: deletes what nobody will go on from.
    pub(super) fn job_over(
        &mut self,
        status: JobStatus,
        record: Option<Arc<JobRecord>>,
        environment: &dyn Environment,
    ) {
        let Some(store) = self.store.clone() else { return };
        let keep = self.keeps(status);
        let pending = self.pending.take().map(|pending| pending.id);
        let deletion = move || {
            if keep {
                pending.into_iter().for_each(|id| delete(&store, id));
            } else if let Err(error) = store.delete_all() {
                tracing::warn!(%error, "the checkpoints of a job that is over could not be deleted");
            } else if let Some(Err(error)) = record.map(|record| record.cleaned()) {
                tracing::debug!(%error, "that the checkpoints are deleted is left to the next leader");
            }
        };
        // The job is only over when its folder is.
        environment.run_to_end(Box::new(deletion), DELETION_DEADLINE);
    }
}

/// How many key groups each operator has.
fn max_parallelism(graph: &JobGraph) -> BTreeMap<OperatorKey, u32> {
    let operators = graph.vertices.iter().flat_map(|vertex| {
        vertex.operators.iter().map(|operator| (operator.key, vertex.max_parallelism.get()))
    });
    operators.collect()
}

fn delete(store: &CheckpointStore, id: CheckpointId) {
    if let Err(error) = store.delete(id) {
        tracing::warn!(checkpoint = %id, %error, "a checkpoint that is no longer needed could not be deleted");
    }
}

impl JobMaster {
    /// Begins a checkpoint, or gives one up, if it is time to.
    pub(super) fn checkpoint_on_time(&mut self, now: Instant) {
        if self.checkpoints.next_deadline().is_none_or(|at| at > now) {
            return;
        }
        if let Some(pending) = &self.checkpoints.pending {
            let (id, missing) = (pending.id, self.executions.len() - pending.parts.len());
            let reason = format!("{missing} subtasks did not answer within execution.checkpointing.timeout");
            self.checkpoint_failed(id, &reason);
            return;
        }
        let all_run = self.executions.values().all(|e| e.state == ExecutionState::Running || e.has_ended());
        if !all_run || self.committing {
            self.checkpoints.next_begin = now + RETRY;
            return;
        }
        let id = self.checkpoints.next_id;
        if self.checkpoints.below.is_some_and(|below| id >= below) {
            self.checkpoints.next_begin = now + RETRY;
            self.reserve_checkpoints(id);
            return;
        }
        self.checkpoints.next_id = CheckpointId(id.0 + 1);
        let ended = self.executions.iter().filter(|(_, execution)| execution.has_ended());
        let parts =
            ended.map(|(subtask, execution)| (*subtask, self.ended_part(*subtask, &execution.handles)));
        let parts: BTreeMap<_, _> = parts.collect();
        let millis = wall_clock_millis();
        self.checkpoints.log.begun(id, self.executions.len(), millis);
        for subtask in parts.keys() {
            self.checkpoints.log.answered(id, *subtask, 0, millis);
        }
        let pending = Pending { id, since: now, parts, triggered: BTreeSet::new(), completing: None };
        self.checkpoints.pending = Some(pending);
        self.trigger();
    }

    /// Has it written down that ids from this one on are used.
    fn reserve_checkpoints(&mut self, next: CheckpointId) {
        let Some(record) = self.record.clone() else { return };
        if std::mem::replace(&mut self.checkpoints.reserving, true) {
            return;
        }
        let events = Arc::clone(&self.events);
        self.environment.run(Box::new(move || {
            let event = match record.reserve_checkpoints(next) {
                Ok(below) => JobEvent::CheckpointsReserved { below },
                Err(StoreError::NotLeader(_)) => JobEvent::Suspend,
                Err(error) => {
                    tracing::warn!(%error, "no checkpoint can begin");
                    JobEvent::CheckpointsReserved { below: next }
                }
            };
            events.put(event);
        }));
    }

    /// What a checkpoint holds of a subtask that has ended: every operator, with what it wants committed.
    fn ended_part(&self, subtask: SubtaskId, handles: &FinalHandles) -> SubtaskCheckpoint {
        let of =
            |key| handles.iter().find(|(owner, _)| *owner == key).map(|(_, h)| h.clone()).unwrap_or_default();
        let operators = self.graph.vertex(subtask.vertex).operators.iter();
        SubtaskCheckpoint::Ended(operators.map(|operator| (operator.key, of(operator.key))).collect())
    }

    /// Tells the subtasks whose producers have all ended that the checkpoint begins; barriers reach the others.
    fn trigger(&mut self) {
        let Some(pending) = &self.checkpoints.pending else { return };
        let begins = |subtask: &SubtaskId| {
            self.graph.inputs(subtask.vertex).all(|edge| {
                let producers = self.graph.producers(edge.id, subtask.index).into_iter();
                producers
                    .map(|index| SubtaskId { vertex: edge.source, index })
                    .all(|producer| self.executions[&producer].has_ended())
            })
        };
        let missing = self.executions.keys().filter(|subtask| {
            !pending.parts.contains_key(subtask) && !pending.triggered.contains(subtask) && begins(subtask)
        });
        let (id, missing) = (pending.id, missing.copied().collect::<Vec<_>>());
        if let Some(pending) = &mut self.checkpoints.pending {
            pending.triggered.extend(&missing);
        }
        missing.into_iter().for_each(|subtask| self.send(subtask, TaskMessage::TriggerCheckpoint(id)));
        self.complete_if_all_answered();
    }

    pub(super) fn acknowledged(
        &mut self,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        snapshot: SubtaskSnapshot,
    ) {
        if let Some(pending) = self.checkpoints.pending.as_mut().filter(|pending| pending.id == checkpoint) {
            let bytes = snapshot_bytes(&snapshot);
            self.checkpoints.log.answered(checkpoint, subtask, bytes, wall_clock_millis());
            pending.parts.entry(subtask).or_insert(SubtaskCheckpoint::Running(snapshot));
            self.complete_if_all_answered();
        }
    }

    /// A subtask has ended: a checkpoint in the taking holds that, unless it has its part already.
    pub(super) fn ended_before_checkpoint(&mut self, subtask: SubtaskId) {
        let part = self.ended_part(subtask, &self.executions[&subtask].handles);
        if let Some(pending) =
            self.checkpoints.pending.as_mut().filter(|pending| pending.completing.is_none())
        {
            self.checkpoints.log.answered(pending.id, subtask, 0, wall_clock_millis());
            pending.parts.entry(subtask).or_insert(part);
            self.trigger();
        }
    }

    fn complete_if_all_answered(&mut self) {
        let all = self.executions.len();
        let (job, max_parallelism) = (self.job, max_parallelism(&self.graph));
        let Some(pending) = &mut self.checkpoints.pending else { return };
        if pending.parts.len() < all || pending.completing.is_some() {
            return;
        }
        let completed = CompletedCheckpoint {
            id: pending.id,
            job,
            subtasks: std::mem::take(&mut pending.parts),
            max_parallelism,
        };
        pending.completing = Some(completed.clone());
        let events: Arc<EventQueue> = Arc::clone(&self.events);
        match self.checkpoints.store.clone() {
            None => events.put(JobEvent::MetadataWritten { checkpoint: completed.id, error: None }),
            Some(store) => {
                let (record, retained) = (self.record.clone(), self.checkpoints.retained);
                let so_far = self.so_far();
                self.environment.run(Box::new(move || {
                    let id = completed.id;
                    let mut error = store.complete(&completed).err().map(|error| error.to_string());
                    if let (None, Some(record)) = (&error, record) {
                        let path = store.folder(id).to_string();
                        match record.checkpoint_completed(id, path, retained, so_far) {
                            Ok(()) => {}
                            // The next leader may go on from it: nothing of it is touched any more.
                            Err(StoreError::NotLeader(_)) => return events.put(JobEvent::Suspend),
                            Err(other) => error = Some(other.to_string()),
                        }
                    }
                    events.put(JobEvent::MetadataWritten { checkpoint: id, error });
                }));
            }
        }
    }

    pub(super) fn metadata_written(&mut self, checkpoint: CheckpointId, error: Option<String>) {
        let Some(pending) = self.checkpoints.pending.as_mut().filter(|pending| pending.id == checkpoint)
        else {
            return;
        };
        if let Some(error) = error {
            pending.completing = None;
            self.checkpoint_failed(checkpoint, &error);
            return;
        }
        let pending = self.checkpoints.pending.take();
        let Some((completed, since)) = pending.and_then(|p| Some((p.completing?, p.since))) else { return };
        let coordinator = &mut self.checkpoints;
        let folder = coordinator.store.as_ref().map(|store| store.folder(checkpoint).to_string());
        coordinator.log.completed(checkpoint, folder, wall_clock_millis());
        coordinator.completed.push_back(completed);
        coordinator.completed_count += 1;
        coordinator.failures = 0;
        let now = self.environment.now();
        let interval = coordinator.interval.unwrap_or_default();
        coordinator.next_begin = (since + interval).max(now + coordinator.min_pause);
        let took_ms = now.saturating_duration_since(since).as_millis();
        tracing::debug!(job = %self.job, %checkpoint, took_ms, "checkpoint complete");
        while self.checkpoints.completed.len() > self.checkpoints.retained {
            if let Some(old) = self.checkpoints.completed.pop_front() {
                self.delete_checkpoint(old.id);
                self.checkpoints.log.discarded(old.id);
            }
        }
        self.tell_complete(checkpoint);
        self.move_on(checkpoint);
    }

    /// Tells all subtasks that a checkpoint is complete, so that they commit what belongs to it.
    pub(super) fn tell_complete(&mut self, checkpoint: CheckpointId) {
        let active = self.active();
        active
            .into_iter()
            .for_each(|subtask| self.send(subtask, TaskMessage::CheckpointComplete(checkpoint)));
    }

    pub(super) fn checkpoint_failed(&mut self, checkpoint: CheckpointId, reason: &str) {
        if self.checkpoints.pending.as_ref().is_none_or(|pending| pending.id != checkpoint) {
            return;
        }
        tracing::warn!(job = %self.job, %checkpoint, reason, "checkpoint failed");
        self.give_up_checkpoint(reason);
        self.checkpoints.failures += 1;
        if self.checkpoints.failures > self.checkpoints.tolerable_failures {
            self.checkpoints.failures = 0;
            let active = self.active();
            let Some(first) = active.first() else { return };
            let failure = TaskFailure {
                operator: self.graph.vertex(first.vertex).name.clone(),
                subtask: first.index,
                fault: flott_runtime::error::Fault::Environment,
                message: format!("checkpoint {checkpoint} failed: {reason}"),
                backtrace: None,
            };
            self.failed(&active, failure);
        }
    }

    /// Gives up the checkpoint that is being taken, if one is. One that is being written down is complete, or not, whatever
    /// happens meanwhile: restarts wait for it.
    pub(super) fn give_up_checkpoint(&mut self, reason: &str) {
        if self.checkpoints.is_completing() {
            return;
        }
        let Some(pending) = self.checkpoints.pending.take() else { return };
        tracing::debug!(job = %self.job, checkpoint = %pending.id, reason, "checkpoint given up");
        self.checkpoints.log.failed(pending.id, reason, wall_clock_millis());
        // What has to move has no time for a whole interval.
        let pause = match self.moving {
            Some(_) => RETRY,
            None => self.checkpoints.interval.unwrap_or_default(),
        };
        self.checkpoints.next_begin = self.environment.now() + pause;
        let active = self.active();
        active.into_iter().for_each(|subtask| self.send(subtask, TaskMessage::CheckpointAborted(pending.id)));
        self.delete_checkpoint(pending.id);
    }

    fn delete_checkpoint(&self, id: CheckpointId) {
        if let Some(store) = self.checkpoints.store.clone() {
            self.environment.run(Box::new(move || delete(&store, id)));
        }
    }
}
