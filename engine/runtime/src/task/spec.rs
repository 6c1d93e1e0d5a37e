//! What a subtask needs to start.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flott_core::ids::{CheckpointId, EdgeId, ExecutionId, JobId};
use flott_core::memory::ManagedMemory;
use flott_plan::{JobGraph, OperatorKey};

use super::{Mailbox, TaskListener};
use crate::exchange::channel::{Channel, ChannelSender};
use crate::program::Program;
use crate::slot::TaskWaker;
use crate::snapshot::{SnapshotTarget, StateHandle};

/// What a subtask goes on from.
#[derive(Debug, Clone, Default)]
pub struct Restore {
    /// The checkpoint; none: a start from nothing.
    pub checkpoint: Option<CheckpointId>,
    /// Whether `operators` holds the state of all subtasks, to be dealt out, or of this one alone.
    pub redistribute: bool,
    /// The state of each operator: of all subtasks it had, in their order, or of this one.
    pub operators: HashMap<OperatorKey, Vec<StateHandle>>,
    /// The subtask had already ended: it only passes the end on and commits these.
    pub ended: Option<FinalHandles>,
}

/// What the operators of a subtask want committed once the job has ended.
pub type FinalHandles = Vec<(OperatorKey, Vec<Bytes>)>;

/// One input of a subtask.
pub struct InputSpec {
    /// The edge.
    pub edge: EdgeId,
    /// Which of the head operator's inputs it feeds.
    pub input: usize,
    /// The channels, in the order of their producers.
    pub channels: Vec<Arc<Channel>>,
}

/// One output of a subtask.
pub struct OutputSpec {
    /// The edge.
    pub edge: EdgeId,
    /// The channels, in the order of their consumers.
    pub channels: Vec<Arc<dyn ChannelSender>>,
    /// The hosts of the consumers, as far as they are known, if it is for the producer to say which of them gets what.
    pub hosts: Vec<Option<Arc<str>>>,
}

/// What all subtasks of a job in a process share.
pub struct JobContext {
    /// The job.
    pub job: JobId,
    /// The plan.
    pub graph: Arc<JobGraph>,
    /// The typed half of the plan.
    pub program: Arc<Program>,
    /// Whether barriers are aligned by blocking (exactly once) or only counted (at least once).
    pub exactly_once: bool,
    /// Where snapshots go.
    pub snapshots: SnapshotTarget,
    /// Folder for temporary files.
    pub temp_dir: PathBuf,
    /// Where blocking work runs.
    pub io: tokio::runtime::Handle,
    /// Whether restored state that no operator declares is dropped rather than refused.
    pub allow_non_restored_state: bool,
    /// How often watermarks are emitted.
    pub auto_watermark_interval: Duration,
    /// The bytes that the job may collect to its client.
    pub most_collected: usize,
}

/// Everything a subtask needs to start.
pub struct TaskSpec {
    /// The job.
    pub context: Arc<JobContext>,
    /// Which subtask, and which attempt.
    pub execution: ExecutionId,
    /// The inputs.
    pub inputs: Vec<InputSpec>,
    /// The outputs.
    pub outputs: Vec<OutputSpec>,
    /// What to go on from.
    pub restore: Restore,
    /// The subtask's share of managed memory.
    pub managed_memory: ManagedMemory,
    /// Messages to the subtask.
    pub mailbox: Arc<Mailbox>,
    /// Told of what happens to the subtask.
    pub listener: Arc<dyn TaskListener>,
    /// Wakes the subtask.
    pub waker: TaskWaker,
}
