//! Messages to the cluster's own types and back. What comes from outside is checked; what goes out cannot fail.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use flott_core::ids::{
    Attempt, CheckpointId, ExecutionId, JobId, OperatorId, SubtaskId, TaskManagerId, VertexId, WorkerId,
};
use flott_plan::execution_graph::SlotNumber;
use flott_plan::{OperatorKey, Variant};
use flott_runtime::error::Fault;
use flott_runtime::metrics::TaskTimes;
use flott_runtime::net::Peer;
use flott_runtime::snapshot::{OperatorSnapshot, StateHandle, SubtaskSnapshot};
use flott_runtime::task::{FinalHandles, Restore, TaskEvent, TaskFailure, TaskMessage};

use super::control as wire;
use crate::gateway::{Deployment, Neighbour};
use crate::job_master::JobReport;
use crate::program::Versions;
use crate::result::{JobError, JobResult};

impl From<Versions> for wire::Versions {
    fn from(Versions { oldest, newest }: Versions) -> Self {
        Self { oldest, newest }
    }
}

impl From<wire::Versions> for Versions {
    fn from(wire::Versions { oldest, newest }: wire::Versions) -> Self {
        Self { oldest, newest }
    }
}

/// A message that does not say what it must: the other side is another version, or has a defect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a malformed message: {0}")]
pub struct WireError(pub String);

/// A part that must be there.
pub(crate) fn required<T>(part: Option<T>, what: &str) -> Result<T, WireError> {
    part.ok_or_else(|| WireError(format!("{what} is missing")))
}

fn wide<T>(bytes: &[u8], what: &str, make: impl Fn([u8; 16]) -> T) -> Result<T, WireError> {
    let bytes = <[u8; 16]>::try_from(bytes);
    bytes.map(make).map_err(|_| WireError(format!("{what} has not 16 bytes")))
}

/// Ids as they stand in messages.
pub(crate) trait WireId: Sized {
    fn read(bytes: &[u8]) -> Result<Self, WireError>;
    fn write(&self) -> Vec<u8>;
}

macro_rules! wire_ids {
    ($($id:ty, $what:literal;)*) => {$(
        impl WireId for $id {
            fn read(bytes: &[u8]) -> Result<Self, WireError> {
                wide(bytes, $what, Self::from_bytes)
            }

            fn write(&self) -> Vec<u8> {
                self.as_bytes().to_vec()
            }
        }
    )*};
}

wire_ids! {
    JobId, "a job id";
    OperatorId, "an operator id";
    TaskManagerId, "a TaskManager id";
    WorkerId, "a worker id";
    flott_core::ids::LeaderSessionId, "a leader session id";
}

impl From<ExecutionId> for wire::Execution {
    fn from(id: ExecutionId) -> Self {
        Self { vertex: id.subtask.vertex.0, index: id.subtask.index, attempt: id.attempt.0 }
    }
}

impl From<wire::Execution> for ExecutionId {
    fn from(id: wire::Execution) -> Self {
        let subtask = SubtaskId { vertex: VertexId(id.vertex), index: id.index };
        Self { subtask, attempt: Attempt(id.attempt) }
    }
}

impl From<OperatorKey> for wire::OperatorKey {
    fn from(key: OperatorKey) -> Self {
        Self { id: key.id.write(), variant: key.variant as u32 }
    }
}

impl TryFrom<wire::OperatorKey> for OperatorKey {
    type Error = WireError;

    fn try_from(key: wire::OperatorKey) -> Result<Self, WireError> {
        let variant = Variant::ALL.iter().find(|variant| **variant as u32 == key.variant);
        let variant = variant.ok_or_else(|| WireError(format!("there is no variant {}", key.variant)))?;
        Ok(Self::variant(OperatorId::read(&key.id)?, *variant))
    }
}

fn read_key(key: Option<wire::OperatorKey>) -> Result<OperatorKey, WireError> {
    required(key, "an operator")?.try_into()
}

impl From<StateHandle> for wire::StateHandle {
    fn from(handle: StateHandle) -> Self {
        let kind = match handle {
            StateHandle::Inline(bytes) => wire::state_handle::Kind::Inline(bytes.to_vec()),
            StateHandle::File { path, offset, length } => {
                wire::state_handle::Kind::File(wire::FileState { path: path.to_string(), offset, length })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::StateHandle> for StateHandle {
    type Error = WireError;

    fn try_from(handle: wire::StateHandle) -> Result<Self, WireError> {
        match required(handle.kind, "a state handle")? {
            wire::state_handle::Kind::Inline(bytes) => Ok(Self::Inline(bytes.into())),
            wire::state_handle::Kind::File(file) => {
                let path =
                    file.path.parse().map_err(|error: flott_fs::FsError| WireError(error.to_string()))?;
                Ok(Self::File { path, offset: file.offset, length: file.length })
            }
        }
    }
}

pub(crate) fn write_final_handles(handles: FinalHandles) -> wire::FinalHandles {
    let operators =
        handles.into_iter().map(|(key, handles)| wire::OperatorHandles { key: Some(key.into()), handles });
    wire::FinalHandles { operators: operators.collect() }
}

pub(crate) fn read_final_handles(handles: wire::FinalHandles) -> Result<FinalHandles, WireError> {
    handles.operators.into_iter().map(|operator| Ok((read_key(operator.key)?, operator.handles))).collect()
}

fn write_restore(restore: Restore) -> wire::Restore {
    let operators = restore.operators.into_iter().map(|(key, handles)| wire::OperatorStates {
        key: Some(key.into()),
        handles: handles.into_iter().map(Into::into).collect(),
    });
    wire::Restore {
        checkpoint: restore.checkpoint.map(|id| id.0),
        redistribute: restore.redistribute,
        operators: operators.collect(),
        ended: restore.ended.map(write_final_handles),
    }
}

fn read_restore(restore: wire::Restore) -> Result<Restore, WireError> {
    let mut operators = HashMap::new();
    for operator in restore.operators {
        let handles = operator.handles.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        operators.insert(read_key(operator.key)?, handles);
    }
    Ok(Restore {
        checkpoint: restore.checkpoint.map(CheckpointId),
        redistribute: restore.redistribute,
        operators,
        ended: restore.ended.map(read_final_handles).transpose()?,
    })
}

/// An order to deploy.
pub(crate) fn write_deploy(deployments: Vec<Deployment>) -> wire::Deploy {
    let mut peers: Vec<wire::Peer> = Vec::new();
    let mut numbers: HashMap<WorkerId, u32> = HashMap::new();
    let mut number_of = |peer: &Peer| {
        *numbers.entry(peer.worker).or_insert_with(|| {
            peers.push(wire::Peer { worker: peer.worker.write(), address: peer.address.clone() });
            peers.len() as u32 - 1
        })
    };
    let mut written = Vec::with_capacity(deployments.len());
    for deployment in deployments {
        let neighbours = deployment.neighbours.into_iter().map(|(subtask, neighbour)| wire::Neighbour {
            execution: Some(ExecutionId { subtask, attempt: neighbour.attempt }.into()),
            peer: neighbour.worker.as_ref().map(&mut number_of),
        });
        written.push(wire::Deployment {
            execution: Some(deployment.execution.into()),
            slot: deployment.slot.0,
            neighbours: neighbours.collect(),
            restore: Some(write_restore(deployment.restore)),
        });
    }
    wire::Deploy { deployments: written, peers }
}

/// The deployments of an order.
pub(crate) fn read_deploy(deploy: wire::Deploy) -> Result<Vec<Deployment>, WireError> {
    let peers = deploy
        .peers
        .into_iter()
        .map(|peer| Ok(Peer { worker: WorkerId::read(&peer.worker)?, address: peer.address }));
    let peers: Vec<Peer> = peers.collect::<Result<_, WireError>>()?;
    let deployment = |deployment: wire::Deployment| {
        let mut neighbours = BTreeMap::new();
        for neighbour in deployment.neighbours {
            let execution: ExecutionId = required(neighbour.execution, "a neighbour")?.into();
            let worker = match neighbour.peer {
                None => None,
                Some(number) => Some(required(peers.get(number as usize).cloned(), "a peer")?),
            };
            neighbours.insert(execution.subtask, Neighbour { attempt: execution.attempt, worker });
        }
        Ok(Deployment {
            execution: required(deployment.execution, "an execution")?.into(),
            slot: SlotNumber(deployment.slot),
            restore: read_restore(deployment.restore.unwrap_or_default())?,
            neighbours,
        })
    };
    deploy.deployments.into_iter().map(deployment).collect()
}

/// A message to a subtask.
pub(crate) fn write_message(execution: ExecutionId, message: TaskMessage) -> wire::SendMessage {
    use wire::send_message::Message;
    let message = match message {
        TaskMessage::TriggerCheckpoint(id) => {
            Message::TriggerCheckpoint(wire::TriggerCheckpoint { checkpoint: id.0 })
        }
        TaskMessage::CheckpointComplete(id) => {
            Message::CheckpointComplete(wire::CheckpointComplete { checkpoint: id.0 })
        }
        TaskMessage::CheckpointAborted(id) => {
            Message::CheckpointAborted(wire::CheckpointAborted { checkpoint: id.0 })
        }
        TaskMessage::AlignWatermarks(lowest) => Message::AlignWatermarks(wire::AlignWatermarks { lowest }),
        TaskMessage::Commit => Message::Commit(wire::Commit {}),
        TaskMessage::Cancel => Message::Cancel(wire::Cancel {}),
    };
    wire::SendMessage { execution: Some(execution.into()), message: Some(message) }
}

/// A message to a subtask, and to which.
pub(crate) fn read_message(sent: wire::SendMessage) -> Result<(ExecutionId, TaskMessage), WireError> {
    use wire::send_message::Message;
    let message = match required(sent.message, "a message to a task")? {
        Message::TriggerCheckpoint(sent) => TaskMessage::TriggerCheckpoint(CheckpointId(sent.checkpoint)),
        Message::CheckpointComplete(sent) => TaskMessage::CheckpointComplete(CheckpointId(sent.checkpoint)),
        Message::CheckpointAborted(sent) => TaskMessage::CheckpointAborted(CheckpointId(sent.checkpoint)),
        Message::AlignWatermarks(sent) => TaskMessage::AlignWatermarks(sent.lowest),
        Message::Commit(_) => TaskMessage::Commit,
        Message::Cancel(_) => TaskMessage::Cancel,
    };
    Ok((required(sent.execution, "an execution")?.into(), message))
}

/// What a worker says of a subtask; of what its operators count it sends the values elsewhere.
pub(crate) fn write_event(execution: ExecutionId, event: TaskEvent) -> wire::TaskEvent {
    use wire::task_event::Kind;
    let kind = match event {
        TaskEvent::Running { metrics, .. } => Kind::Running(wire::Running {
            operators: metrics.into_iter().map(|(key, _)| key.into()).collect(),
        }),
        TaskEvent::CheckpointAcknowledged { checkpoint, snapshot } => {
            let operators = snapshot.operators.into_iter().map(|operator| wire::OperatorSnapshot {
                key: Some(operator.operator.into()),
                state: Some(operator.state.into()),
            });
            Kind::Acknowledged(wire::Acknowledged {
                checkpoint: checkpoint.0,
                operators: operators.collect(),
            })
        }
        TaskEvent::CheckpointDeclined { checkpoint, reason } => {
            Kind::Declined(wire::Declined { checkpoint: checkpoint.0, reason })
        }
        TaskEvent::Drained(handles) => Kind::Drained(write_final_handles(handles)),
        TaskEvent::Finished => Kind::Finished(wire::Finished {}),
        TaskEvent::Canceled => Kind::Canceled(wire::Canceled {}),
        TaskEvent::Failed(failure) => Kind::Failed(wire::Failed {
            operator: failure.operator,
            subtask: failure.subtask,
            fault: failure.fault as u32,
            message: failure.message,
            backtrace: failure.backtrace,
        }),
    };
    wire::TaskEvent { execution: Some(execution.into()), kind: Some(kind) }
}

/// What a worker said of a subtask.
pub(crate) fn read_event(event: wire::TaskEvent) -> Result<(ExecutionId, TaskEvent), WireError> {
    use wire::task_event::Kind;
    let read = match required(event.kind, "a task event")? {
        Kind::Running(running) => {
            let metrics =
                running.operators.into_iter().map(|key| Ok((key.try_into()?, std::sync::Arc::default())));
            TaskEvent::Running {
                task: std::sync::Arc::default(),
                metrics: metrics.collect::<Result<_, WireError>>()?,
            }
        }
        Kind::Acknowledged(acknowledged) => {
            let operators = acknowledged.operators.into_iter().map(|operator| {
                Ok(OperatorSnapshot {
                    operator: read_key(operator.key)?,
                    state: required(operator.state, "a state handle")?.try_into()?,
                })
            });
            TaskEvent::CheckpointAcknowledged {
                checkpoint: CheckpointId(acknowledged.checkpoint),
                snapshot: SubtaskSnapshot { operators: operators.collect::<Result<_, WireError>>()? },
            }
        }
        Kind::Declined(declined) => TaskEvent::CheckpointDeclined {
            checkpoint: CheckpointId(declined.checkpoint),
            reason: declined.reason,
        },
        Kind::Drained(handles) => TaskEvent::Drained(read_final_handles(handles)?),
        Kind::Finished(_) => TaskEvent::Finished,
        Kind::Canceled(_) => TaskEvent::Canceled,
        Kind::Failed(failed) => TaskEvent::Failed(TaskFailure {
            operator: failed.operator,
            subtask: failed.subtask,
            fault: match failed.fault {
                fault if fault == Fault::User as u32 => Fault::User,
                fault if fault == Fault::Environment as u32 => Fault::Environment,
                _ => Fault::Flott,
            },
            message: failed.message,
            backtrace: failed.backtrace,
        }),
    };
    Ok((required(event.execution, "an execution")?.into(), read))
}

impl From<TaskTimes> for wire::TaskTimes {
    fn from(times: TaskTimes) -> Self {
        let TaskTimes { at_micros, working_micros, waiting_micros, back_pressured_micros } = times;
        Self { at_micros, working_micros, waiting_micros, back_pressured_micros }
    }
}

impl From<wire::TaskTimes> for TaskTimes {
    fn from(times: wire::TaskTimes) -> Self {
        let wire::TaskTimes { at_micros, working_micros, waiting_micros, back_pressured_micros } = times;
        Self { at_micros, working_micros, waiting_micros, back_pressured_micros }
    }
}

fn write_counts(counts: Vec<(String, u64)>) -> Vec<wire::Count> {
    counts.into_iter().map(|(name, count)| wire::Count { name, count }).collect()
}

fn read_counts(counts: Vec<wire::Count>) -> Vec<(String, u64)> {
    counts.into_iter().map(|count| (count.name, count.count)).collect()
}

/// How far a job is. What the report does not know of it is left open.
pub(crate) fn write_report(report: &JobReport) -> wire::JobOverview {
    let vertices = report.vertices.iter().map(|vertex| wire::VertexOverview {
        name: vertex.name.clone(),
        parallelism: vertex.parallelism,
        subtasks: vertex.states.iter().map(|(state, count)| (state.name().to_owned(), *count)).collect(),
        records_in: vertex.records_in,
        records_out: vertex.records_out,
        records_read: vertex.records_read,
        bytes_in: vertex.bytes_in,
        bytes_out: vertex.bytes_out,
        bytes_read: vertex.bytes_read,
        bytes_written: vertex.bytes_written,
    });
    wire::JobOverview {
        status: report.status.map(|status| status.name().to_owned()).unwrap_or_default(),
        started: report.started_millis,
        ended: report.ended_millis,
        vertices: vertices.collect(),
        completed_checkpoints: report.completed_checkpoints,
        restarts: report.restarts,
        failure: report.failure.clone().unwrap_or_default(),
        unkept_end: report.unkept_end.clone().unwrap_or_default(),
        late_records: write_counts(report.late_records.clone()),
        skipped_records: write_counts(report.skipped_records.clone()),
        ..wire::JobOverview::default()
    }
}

/// A result as it travels, and as it is recorded for later executes of the same program.
pub(crate) fn write_result(result: JobResult) -> wire::JobResult {
    let collected = result.collected.into_iter().map(|(operator, subtasks)| wire::CollectedOperator {
        operator: operator.write(),
        subtasks: subtasks.into_iter().map(|pieces| wire::CollectedSubtask { pieces }).collect(),
    });
    wire::JobResult {
        job: result.job.write(),
        runtime_micros: u64::try_from(result.runtime.as_micros()).unwrap_or(u64::MAX),
        collected: collected.collect(),
        late_records: write_counts(result.late_records),
        skipped_records: write_counts(result.skipped_records),
        completed_checkpoints: result.completed_checkpoints,
        restarts: result.restarts,
        is_out_of_reach: result.detached,
    }
}

/// The result in a message.
pub(crate) fn read_result(result: wire::JobResult) -> Result<JobResult, WireError> {
    let collected = result.collected.into_iter().map(|operator| {
        let subtasks = operator.subtasks.into_iter().map(|subtask| subtask.pieces).collect();
        Ok((OperatorId::read(&operator.operator)?, subtasks))
    });
    Ok(JobResult {
        job: JobId::read(&result.job)?,
        runtime: Duration::from_micros(result.runtime_micros),
        collected: collected.collect::<Result<_, WireError>>()?,
        late_records: read_counts(result.late_records),
        skipped_records: read_counts(result.skipped_records),
        completed_checkpoints: result.completed_checkpoints,
        restarts: result.restarts,
        detached: result.is_out_of_reach,
    })
}

/// What came of a job, as it travels.
pub(crate) fn write_outcome(outcome: Result<JobResult, JobError>) -> wire::JobOutcome {
    use wire::job_outcome::Kind;
    let kind = match outcome {
        Ok(result) => Kind::Result(write_result(result)),
        Err(JobError::Failed { cause, reason, backtrace, .. }) => {
            Kind::Failed(wire::JobFailure { cause, reason, backtrace })
        }
        Err(JobError::NotStarted { reason, .. }) => Kind::NotStarted(reason),
        Err(JobError::Canceled { .. }) => Kind::Canceled(true),
        Err(error @ JobError::Suspended { .. }) => Kind::NotStarted(error.to_string()),
    };
    wire::JobOutcome { kind: Some(kind) }
}

/// What came of the job `name`.
pub(crate) fn read_outcome(outcome: wire::JobOutcome, job: JobId, name: &str) -> Result<JobResult, JobError> {
    use wire::job_outcome::Kind;
    let name = name.to_owned();
    let malformed = |error: WireError| JobError::NotStarted { name: name.clone(), reason: error.to_string() };
    match required(outcome.kind, "a job's outcome").map_err(malformed)? {
        Kind::Result(result) => read_result(result).map_err(malformed),
        Kind::Failed(wire::JobFailure { cause, reason, backtrace }) => {
            Err(JobError::Failed { job, name, cause, reason, backtrace })
        }
        Kind::NotStarted(reason) => Err(JobError::NotStarted { name, reason }),
        Kind::Canceled(_) => Err(JobError::Canceled { job, name }),
    }
}
