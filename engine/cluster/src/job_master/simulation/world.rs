//! What is outside of the leaders: workers with tasks that read from each other, and what has been committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use flott_core::ids::{CheckpointId, ExecutionId, SubtaskId};
use flott_plan::execution_graph::{SlotAssignment, SlotNumber};
use flott_plan::{JobGraph, OperatorKey};
use flott_runtime::error::Fault;
use flott_runtime::snapshot::{OperatorSnapshot, StateHandle, SubtaskSnapshot};
use flott_runtime::task::{FinalHandles, TaskEvent, TaskFailure, TaskListener, TaskMessage};

use crate::gateway::Deployment;
use crate::outbox::Outbox;

/// A worker: one slot.
pub(super) struct FakeWorker {
    /// The leader it follows.
    pub(super) leader: u32,
    pub(super) outbox: Outbox,
    pub(super) tasks: BTreeMap<SubtaskId, FakeTask>,
}

pub(super) struct FakeTask {
    pub(super) execution: ExecutionId,
    producers: Vec<ExecutionId>,
    neighbours: Vec<ExecutionId>,
    is_running: bool,
    is_over: bool,
    /// It only commits these.
    ended: Option<FinalHandles>,
    drained: Option<FinalHandles>,
    /// Turns until a source ends.
    left: u32,
    triggered: Option<CheckpointId>,
    aborted: CheckpointId,
    /// What a sink has yet to commit, by checkpoint.
    prepared: BTreeSet<CheckpointId>,
}

/// How far an attempt is, as those who read from it see.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    ended: bool,
    gone: bool,
    passed: CheckpointId,
}

pub(super) struct World {
    pub(super) graph: Arc<JobGraph>,
    pub(super) assignment: SlotAssignment,
    pub(super) workers: BTreeMap<SlotNumber, FakeWorker>,
    progress: BTreeMap<ExecutionId, Progress>,
    /// Every attempt there was.
    deployed: BTreeSet<ExecutionId>,
    /// Which sinks have committed their part of which checkpoint.
    pub(super) committed: BTreeSet<(CheckpointId, SubtaskId)>,
    /// Which sinks have their part in which checkpoint.
    pub(super) acknowledged: BTreeSet<(CheckpointId, SubtaskId)>,
    /// Which attempt's last part each sink has committed.
    pub(super) finals: BTreeMap<SubtaskId, BTreeSet<Vec<u8>>>,
    /// Turns until a source ends that begins anew.
    pub(super) turns: u32,
}

impl World {
    pub(super) fn new(graph: Arc<JobGraph>, turns: u32) -> Self {
        Self {
            assignment: SlotAssignment::of(&graph),
            graph,
            workers: BTreeMap::new(),
            progress: BTreeMap::new(),
            deployed: BTreeSet::new(),
            committed: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            finals: BTreeMap::new(),
            turns,
        }
    }

    pub(super) fn slot_of(&self, subtask: SubtaskId) -> SlotNumber {
        self.assignment.slot_of(subtask).unwrap()
    }

    fn is_sink(&self, subtask: SubtaskId) -> bool {
        self.graph.outputs(subtask.vertex).next().is_none()
    }

    pub(super) fn sinks(&self) -> BTreeSet<SubtaskId> {
        self.graph.subtasks().filter(|subtask| self.is_sink(*subtask)).collect()
    }

    fn operator(&self, subtask: SubtaskId) -> OperatorKey {
        self.graph.vertex(subtask.vertex).operators[0].key
    }

    /// A process is gone; tells what ran in it.
    pub(super) fn kill(&mut self, slot: SlotNumber) -> Vec<ExecutionId> {
        let Some(worker) = self.workers.remove(&slot) else { return Vec::new() };
        let executions: Vec<ExecutionId> = worker.tasks.values().map(|task| task.execution).collect();
        for execution in &executions {
            self.progress.entry(*execution).or_default().gone = true;
        }
        executions
    }

    pub(super) fn deploy(&mut self, leader: u32, deployment: Deployment) {
        let execution = deployment.execution;
        assert!(self.deployed.insert(execution), "{execution:?} is deployed twice");
        let neighbours: Vec<ExecutionId> = deployment
            .neighbours
            .iter()
            .map(|(subtask, neighbour)| ExecutionId { subtask: *subtask, attempt: neighbour.attempt })
            .collect();
        let sources: BTreeSet<_> =
            self.graph.inputs(execution.subtask.vertex).map(|edge| edge.source).collect();
        let is_sink = self.is_sink(execution.subtask);
        let (turns, slot) = (self.turns, self.slot_of(execution.subtask));
        let fresh = || FakeWorker { leader, outbox: Outbox::with_book(), tasks: BTreeMap::new() };
        let worker = self.workers.entry(slot).or_insert_with(fresh);
        worker.outbox.deployed(&deployment);
        if let (Some(checkpoint), true) = (deployment.restore.checkpoint, is_sink) {
            self.committed.insert((checkpoint, execution.subtask));
        }
        let task = FakeTask {
            execution,
            producers: neighbours.iter().copied().filter(|n| sources.contains(&n.subtask.vertex)).collect(),
            neighbours,
            is_running: false,
            is_over: false,
            ended: deployment.restore.ended,
            drained: None,
            left: if deployment.restore.checkpoint.is_some() { turns / 2 } else { turns },
            triggered: None,
            aborted: CheckpointId(0),
            prepared: BTreeSet::new(),
        };
        worker.tasks.insert(execution.subtask, task);
        self.progress.entry(execution).or_default();
    }

    /// A leader tells a task something.
    pub(super) fn tell(&mut self, execution: ExecutionId, message: TaskMessage) {
        let slot = self.slot_of(execution.subtask);
        let is_sink = self.is_sink(execution.subtask);
        let Some(worker) = self.workers.get_mut(&slot) else { return };
        let Some(task) = worker.tasks.get_mut(&execution.subtask) else { return };
        if task.execution != execution || task.is_over {
            return;
        }
        match message {
            TaskMessage::TriggerCheckpoint(id) => task.triggered = Some(id),
            TaskMessage::CheckpointComplete(id) => {
                for prepared in task.prepared.clone().into_iter().filter(|prepared| *prepared <= id) {
                    task.prepared.remove(&prepared);
                    self.committed.insert((prepared, execution.subtask));
                }
                if is_sink && self.progress[&execution].passed >= id {
                    self.committed.insert((id, execution.subtask));
                }
            }
            TaskMessage::CheckpointAborted(id) => {
                task.aborted = task.aborted.max(id);
                task.triggered = task.triggered.filter(|triggered| *triggered > id);
            }
            TaskMessage::Commit => {
                if let Some(handles) = task.drained.take() {
                    let finals = self.finals.entry(execution.subtask).or_default();
                    for handle in handles.into_iter().flat_map(|(_, handles)| handles) {
                        match <[u8; 8]>::try_from(&handle[..]) {
                            Ok(id) => {
                                let id = CheckpointId(u64::from_le_bytes(id));
                                self.committed.insert((id, execution.subtask));
                            }
                            Err(_) => drop(finals.insert(handle.into())),
                        }
                    }
                    task.is_over = true;
                    worker.outbox.event(execution, TaskEvent::Finished);
                }
            }
            TaskMessage::Cancel => {
                task.is_over = true;
                worker.outbox.event(execution, TaskEvent::Canceled);
                let progress = self.progress.entry(execution).or_default();
                progress.gone = !progress.ended;
            }
            TaskMessage::AlignWatermarks(_) => {}
        }
    }

    pub(super) fn release(&mut self, execution: ExecutionId) {
        let slot = self.slot_of(execution.subtask);
        if let Some(worker) = self.workers.get_mut(&slot)
            && worker.tasks.get(&execution.subtask).is_some_and(|task| task.execution == execution)
        {
            worker.tasks.remove(&execution.subtask);
        }
    }

    /// A task takes its turn.
    pub(super) fn turn(&mut self, subtask: SubtaskId) {
        let (slot, key) = (self.slot_of(subtask), self.operator(subtask));
        let (is_sink, is_source) =
            (self.is_sink(subtask), self.graph.inputs(subtask.vertex).next().is_none());
        let Self { workers, progress, acknowledged, .. } = self;
        let Some(worker) = workers.get_mut(&slot) else { return };
        let Some(task) = worker.tasks.get_mut(&subtask) else { return };
        let execution = task.execution;
        if task.is_over || task.drained.is_some() {
            return;
        }
        if !task.is_running {
            task.is_running = true;
            worker.outbox.event(execution, TaskEvent::Running { task: Arc::default(), metrics: Vec::new() });
            return;
        }
        let of = |id: &ExecutionId| progress.get(id).copied().unwrap_or_default();
        if task.ended.is_none() && task.neighbours.iter().any(|id| of(id).gone && !of(id).ended) {
            task.is_over = true;
            progress.entry(execution).or_default().gone = true;
            let failure = TaskFailure {
                operator: "op".to_owned(),
                subtask: subtask.index,
                fault: Fault::Environment,
                message: "a connection broke".to_owned(),
                backtrace: None,
            };
            worker.outbox.event(execution, TaskEvent::Failed(failure));
            return;
        }
        // The barrier has come on all inputs.
        let barrier = if is_source {
            task.triggered.take()
        } else {
            let highest = task.producers.iter().map(|id| of(id).passed).max();
            let all = |id: &CheckpointId| {
                task.producers.iter().all(|producer| of(producer).ended || of(producer).passed >= *id)
            };
            let all_ended = task.producers.iter().all(|id| of(id).ended);
            let told = task.triggered.filter(|_| all_ended);
            highest.filter(all).max(told)
        };
        let all_ended = task.producers.iter().all(|id| of(id).ended);
        let own = progress.entry(execution).or_default();
        if let Some(id) = barrier.filter(|id| *id > own.passed && *id > task.aborted) {
            own.passed = id;
            if is_sink {
                task.prepared.insert(id);
                acknowledged.insert((id, subtask));
            }
            let state = StateHandle::Inline(id.0.to_le_bytes().to_vec().into());
            let snapshot = SubtaskSnapshot { operators: vec![OperatorSnapshot { operator: key, state }] };
            let event = TaskEvent::CheckpointAcknowledged { checkpoint: id, snapshot };
            worker.outbox.event(execution, event);
            return;
        }
        task.left = task.left.saturating_sub(1);
        let is_done = task.ended.is_some() || if is_source { task.left == 0 } else { all_ended };
        if !is_done {
            return;
        }
        own.ended = true;
        let name = format!("{subtask} attempt {}", execution.attempt.0).into_bytes();
        let handles = match task.ended.take() {
            Some(handles) => handles,
            None if is_sink => {
                let prepared = task.prepared.iter().map(|id| id.0.to_le_bytes().to_vec());
                vec![(key, std::iter::once(name).chain(prepared).map(Bytes::from).collect())]
            }
            None => Vec::new(),
        };
        if handles.is_empty() {
            task.is_over = true;
            worker.outbox.event(execution, TaskEvent::Finished);
        } else {
            task.drained = Some(handles.clone());
            worker.outbox.event(execution, TaskEvent::Drained(handles));
        }
    }
}
