//! A leader takes over a job whose tasks have gone on without one: what runs is left to run, what is lost restarts.
//!
//! What the workers report is all that is known of the tasks. A region of which nothing is reported has not been deployed, or is lost
//! as a whole; either way it begins anew. A region that is reported in part, or whose subtasks do not belong together, is restarted like
//! after any failure. That the earlier leader was about to restart or to fail the job is not kept: the failure is in the report, and is
//! judged again, by a restart strategy that begins anew. That it was cancelling the job is kept.

use std::collections::BTreeMap;

use flott_core::ids::{ExecutionId, SubtaskId};
use flott_plan::ExchangeMode;
use flott_plan::execution_graph::ExecutionState;
use flott_runtime::error::Fault;
use flott_runtime::task::{FinalHandles, TaskEvent, TaskFailure, TaskMessage};

use super::commit::Commits;
use super::{Execution, JobMaster, Totals};
use crate::checkpoint::CompletedCheckpoint;

/// What a worker says of an attempt.
#[derive(Debug)]
pub struct ExecutionReport {
    /// Which.
    pub execution: ExecutionId,
    /// The attempts it exchanges data with.
    pub neighbours: Vec<ExecutionId>,
    /// What happened to it: running, drained, how it ended.
    pub events: Vec<TaskEvent>,
}

/// What an earlier leader has left of a job.
#[derive(Debug, Default)]
pub struct Adoption {
    /// What the workers say.
    pub reports: Vec<ExecutionReport>,
    /// Somebody was told that the job is cancelled.
    pub canceling: bool,
    /// All subtasks had ended, and want these committed.
    pub commits: Option<BTreeMap<SubtaskId, FinalHandles>>,
    /// The completed checkpoints that are kept, the oldest first.
    pub checkpoints: Vec<CompletedCheckpoint>,
    /// How many checkpoints were completed.
    pub completed_checkpoints: u64,
    /// How many restarts there were.
    pub restarts: u64,
    /// What attempts have counted that others have taken the place of.
    pub totals: Totals,
    /// When the job began, in milliseconds since the epoch.
    pub started_millis: i64,
}

/// What is known of the subtasks that were reported: with which attempts they exchange data, and why some of them failed.
#[derive(Default)]
struct Reported {
    neighbours: BTreeMap<SubtaskId, Vec<ExecutionId>>,
    failure: Option<TaskFailure>,
}

impl JobMaster {
    /// Takes over what runs.
    pub(super) fn adopt(&mut self, adoption: Adoption) {
        let Adoption { reports, canceling, commits, .. } = adoption;
        let mut reported = Reported::default();
        for report in reports {
            self.take_report(report, &mut reported);
        }
        tracing::info!(
            job = %self.job,
            tasks = self.executions.len(),
            reported = reported.neighbours.len(),
            active = self.active().len(),
            "the job is taken over"
        );
        if let Some(latest) = self.checkpoints.latest().map(|checkpoint| checkpoint.id) {
            self.tell_complete(latest);
        }
        // What the earlier leader had begun is given up; whoever has a part of it forgets it.
        let last = self.checkpoints.last_id();
        let active = self.active();
        active.into_iter().for_each(|subtask| self.send(subtask, TaskMessage::CheckpointAborted(last)));
        if let Some(commits) = commits {
            self.take_commits(commits);
        }
        if canceling {
            return self.cancel();
        }
        let broken = if self.committing { Vec::new() } else { self.broken(&reported) };
        match broken.first() {
            Some(first) => {
                let failure = reported.failure.unwrap_or_else(|| TaskFailure {
                    operator: self.graph.vertex(first.vertex).name.clone(),
                    subtask: first.index,
                    fault: Fault::Environment,
                    message: "it was lost while there was no JobManager".to_owned(),
                    backtrace: None,
                });
                self.failed(&broken, failure);
            }
            None => {
                self.schedule();
                if self.executions.values().all(Execution::has_ended) {
                    self.commit();
                }
            }
        }
    }

    fn take_report(&mut self, report: ExecutionReport, reported: &mut Reported) {
        let ExecutionReport { execution: id, neighbours, events } = report;
        let Some(execution) = self.executions.get_mut(&id.subtask) else { return };
        let is_known = reported.neighbours.contains_key(&id.subtask);
        if is_known && execution.attempt >= id.attempt {
            return;
        }
        reported.neighbours.insert(id.subtask, neighbours);
        execution.attempt = id.attempt;
        execution.enter(ExecutionState::Deploying);
        for event in events {
            match event {
                TaskEvent::Running { task, metrics } => {
                    execution.enter(ExecutionState::Running);
                    execution.task = task;
                    execution.metrics = metrics;
                }
                TaskEvent::Drained(handles) => {
                    execution.enter(ExecutionState::Drained);
                    execution.handles = handles;
                }
                TaskEvent::Finished => execution.enter(ExecutionState::Finished),
                TaskEvent::Canceled => execution.enter(ExecutionState::Canceled),
                TaskEvent::Failed(failure) => {
                    execution.enter(ExecutionState::Failed);
                    reported.failure = reported.failure.take().or(Some(failure));
                }
                TaskEvent::CheckpointAcknowledged { .. } | TaskEvent::CheckpointDeclined { .. } => {}
            }
        }
    }

    /// All had ended: what is left is to commit, by whoever is still there or by others in their place.
    fn take_commits(&mut self, commits: BTreeMap<SubtaskId, FinalHandles>) {
        self.committing = true;
        self.commits = Commits::Kept;
        for (subtask, handles) in commits {
            let Some(execution) = self.executions.get_mut(&subtask) else { continue };
            if !execution.is_active() && execution.state != ExecutionState::Finished {
                execution.state =
                    if handles.is_empty() { ExecutionState::Finished } else { ExecutionState::Created };
                execution.attempt = self
                    .record
                    .as_ref()
                    .map_or(execution.attempt, |record| record.first_attempt().max(execution.attempt));
            }
            execution.handles = handles;
        }
    }

    /// The subtasks because of which their regions must restart.
    fn broken(&mut self, reported: &Reported) -> Vec<SubtaskId> {
        let is_reported = |subtask: &SubtaskId| reported.neighbours.contains_key(subtask);
        let mut broken = Vec::new();
        for (_, members) in self.regions.iter() {
            if !members.iter().any(is_reported) {
                continue;
            }
            for subtask in members {
                let execution = &self.executions[subtask];
                let over = matches!(execution.state, ExecutionState::Failed | ExecutionState::Canceled);
                if !is_reported(subtask) || over || self.has_other_neighbours(*subtask, reported) {
                    broken.push(*subtask);
                }
            }
        }
        for subtask in broken.iter().filter(|subtask| !is_reported(subtask)) {
            if let Some(execution) = self.executions.get_mut(subtask) {
                execution.enter(ExecutionState::Failed);
                execution.partitions_lost = true;
            }
        }
        broken
    }

    /// Whether a subtask waits for an attempt that is not the one which was reported: the earlier leader had begun to restart its region.
    fn has_other_neighbours(&self, subtask: SubtaskId, reported: &Reported) -> bool {
        let Some(neighbours) = reported.neighbours.get(&subtask) else { return false };
        if !self.executions[&subtask].is_active() {
            return false;
        }
        neighbours.iter().any(|neighbour| {
            let pipelined = self.graph.edges.iter().any(|edge| {
                let ends = (edge.source, edge.target);
                let between = ends == (subtask.vertex, neighbour.subtask.vertex)
                    || ends == (neighbour.subtask.vertex, subtask.vertex);
                between && edge.mode == ExchangeMode::Pipelined
            });
            let known = reported.neighbours.contains_key(&neighbour.subtask);
            let now = self.executions.get(&neighbour.subtask).map(|execution| execution.attempt);
            pipelined && known && now != Some(neighbour.attempt)
        })
    }
}
