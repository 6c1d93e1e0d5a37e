//! A worker: a job's slots in one process.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flott_core::config::{self, Configuration};
use flott_core::ids::{Attempt, ExecutionId, JobId, SubtaskId};
use flott_core::memory::ManagedMemory;
use flott_fs::FsPath;
use flott_plan::execution_graph::SlotNumber;
use flott_plan::{ExchangeMode, JobGraph, Partitioning};
use flott_runtime::exchange::channel::{CHANNEL_BYTES, Channel, ChannelId, ChannelSender};
use flott_runtime::program::Program;
use flott_runtime::slot::{Slot, TaskWaker};
use flott_runtime::snapshot::SnapshotTarget;
use flott_runtime::task::{
    InputSpec, JobContext, Mailbox, OutputSpec, TaskListener, TaskMessage, TaskSpec, install_panic_hook,
};

use crate::gateway::Deployment;

/// The bytes a channel of splits holds: one split, whatever its size.
const SPLIT_CHANNEL_BYTES: usize = 1;

/// Where a job's checkpoints are, below the configured directory.
pub fn checkpoint_directory(
    configuration: &Configuration,
    job: JobId,
) -> Result<Option<FsPath>, flott_fs::FsError> {
    let directory = configuration.get_optional(&config::CHECKPOINT_DIR);
    directory.map(|directory| Ok(directory.parse::<FsPath>()?.join(&job.to_string()))).transpose()
}

/// What a worker is made of.
pub struct WorkerSetup {
    /// The job.
    pub job: JobId,
    /// The plan.
    pub graph: Arc<JobGraph>,
    /// The typed half of the plan.
    pub program: Arc<Program>,
    /// The job's configuration, with everything inherited.
    pub configuration: Configuration,
    /// Managed memory of each slot, in bytes.
    pub managed_bytes_per_slot: usize,
    /// Folder for temporary files.
    pub temp_dir: PathBuf,
    /// Where blocking work runs.
    pub io: tokio::runtime::Handle,
    /// Told of what happens to subtasks.
    pub listener: Arc<dyn TaskListener>,
}

/// Runs subtasks of one job.
pub struct Worker {
    context: Arc<JobContext>,
    listener: Arc<dyn TaskListener>,
    managed_bytes_per_slot: usize,
    slots: HashMap<SlotNumber, (Slot, ManagedMemory)>,
    tasks: HashMap<ExecutionId, (Arc<Mailbox>, TaskWaker)>,
    channels: Mutex<HashMap<ChannelId, Arc<Channel>>>,
}

impl Worker {
    /// A worker without subtasks.
    ///
    /// # Errors
    /// If the checkpoint directory is no path.
    pub fn new(setup: WorkerSetup) -> Result<Self, flott_fs::FsError> {
        install_panic_hook();
        let configuration = &setup.configuration;
        let mode = configuration.get(&config::CHECKPOINT_MODE);
        let inline = configuration.get(&config::CHECKPOINT_MEMORY_THRESHOLD).bytes();
        let context = JobContext {
            job: setup.job,
            graph: setup.graph,
            program: setup.program,
            exactly_once: mode == config::CheckpointMode::ExactlyOnce,
            snapshots: SnapshotTarget {
                directory: checkpoint_directory(configuration, setup.job)?,
                inline_bytes: usize::try_from(inline).unwrap_or(usize::MAX),
            },
            temp_dir: setup.temp_dir,
            io: setup.io,
            allow_non_restored_state: configuration.get(&config::ALLOW_NON_RESTORED_STATE),
            auto_watermark_interval: configuration.get(&config::AUTO_WATERMARK_INTERVAL),
        };
        Ok(Self {
            context: Arc::new(context),
            listener: setup.listener,
            managed_bytes_per_slot: setup.managed_bytes_per_slot,
            slots: HashMap::new(),
            tasks: HashMap::new(),
            channels: Mutex::new(HashMap::new()),
        })
    }

    /// Runs a subtask.
    ///
    /// # Errors
    /// If the system gives no thread for its slot.
    pub fn deploy(&mut self, deployment: Deployment) -> std::io::Result<()> {
        let Deployment { execution, slot, restore, neighbours } = deployment;
        let inputs = self.inputs(execution, &neighbours);
        let outputs = self.outputs(execution, &neighbours);
        if !self.slots.contains_key(&slot) {
            let thread = Slot::start(&format!("flott-slot-{}", slot.0))?;
            self.slots.insert(slot, (thread, ManagedMemory::of_bytes(self.managed_bytes_per_slot)));
        }
        let (thread, memory) = &self.slots[&slot];
        let mailbox = Arc::new(Mailbox::default());
        let share = self.share_of(execution, memory);
        let (context, listener) = (Arc::clone(&self.context), Arc::clone(&self.listener));
        let mut task_waker = None;
        thread.deploy(|waker| {
            task_waker = Some(waker.clone());
            TaskSpec {
                context,
                execution,
                inputs,
                outputs,
                restore,
                managed_memory: share,
                mailbox: Arc::clone(&mailbox),
                listener,
                waker,
            }
        });
        if let Some(waker) = task_waker {
            self.tasks.insert(execution, (mailbox, waker));
        }
        Ok(())
    }

    /// A subtask's part of its slot's managed memory: by the weights of the vertices that share the slot.
    fn share_of(&self, execution: ExecutionId, memory: &ManagedMemory) -> ManagedMemory {
        let graph = &self.context.graph;
        let vertex = graph.vertex(execution.subtask.vertex);
        let sharing = graph.vertices.iter().filter(|v| v.slot_sharing_group == vertex.slot_sharing_group);
        let all: u64 = sharing.map(|v| u64::from(v.managed_memory_weight())).sum();
        memory.share(u64::from(vertex.managed_memory_weight()), all)
    }

    /// Tells a subtask something.
    pub fn send(&self, execution: ExecutionId, message: TaskMessage) {
        if let Some((mailbox, waker)) = self.tasks.get(&execution) {
            mailbox.put(message);
            waker.wake();
        }
    }

    /// Forgets subtasks that are over, and their channels.
    pub fn release(&mut self, executions: &[ExecutionId]) {
        let ended = |edge_vertex, index, attempt| {
            let subtask = SubtaskId { vertex: edge_vertex, index };
            executions.contains(&ExecutionId { subtask, attempt })
        };
        for execution in executions {
            self.tasks.remove(execution);
        }
        let graph = &self.context.graph;
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| {
            let edge = graph.edge(id.edge);
            // What a blocking exchange holds outlives its producer.
            let producer_ended = ended(edge.source, id.producer, id.producer_attempt);
            (edge.mode == ExchangeMode::Blocking || !producer_ended)
                && !ended(edge.target, id.consumer, id.consumer_attempt)
        });
    }

    /// The subtask that has held its slot for longer than `limit`, if one has: for the watchdog.
    pub fn held_slots(&self, limit: Duration) -> Vec<(Arc<str>, Duration)> {
        self.slots.values().filter_map(|(slot, _)| slot.held_by(limit)).collect()
    }

    fn channel(&self, id: ChannelId) -> Arc<Channel> {
        let edge = self.context.graph.edge(id.edge);
        let make = || match (edge.mode, edge.partitioning) {
            (ExchangeMode::Blocking, _) => Channel::blocking(&self.context.temp_dir),
            (ExchangeMode::Pipelined, Partitioning::Demand) => Channel::new(SPLIT_CHANNEL_BYTES),
            (ExchangeMode::Pipelined, _) => Channel::new(CHANNEL_BYTES),
        };
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(channels.entry(id).or_insert_with(|| Arc::new(make())))
    }

    fn inputs(
        &self,
        execution: ExecutionId,
        neighbours: &std::collections::BTreeMap<SubtaskId, Attempt>,
    ) -> Vec<InputSpec> {
        let graph = &self.context.graph;
        let (vertex, index) = (execution.subtask.vertex, execution.subtask.index);
        let input = |edge: &flott_plan::JobEdge| {
            let channels = graph.producers(edge.id, index).into_iter().map(|producer| {
                let subtask = SubtaskId { vertex: edge.source, index: producer };
                self.channel(ChannelId {
                    edge: edge.id,
                    producer,
                    producer_attempt: neighbours.get(&subtask).copied().unwrap_or_default(),
                    consumer: index,
                    consumer_attempt: execution.attempt,
                })
            });
            InputSpec { edge: edge.id, input: edge.input as usize, channels: channels.collect() }
        };
        graph.inputs(vertex).map(input).collect()
    }

    fn outputs(
        &self,
        execution: ExecutionId,
        neighbours: &std::collections::BTreeMap<SubtaskId, Attempt>,
    ) -> Vec<OutputSpec> {
        let graph = &self.context.graph;
        let (vertex, index) = (execution.subtask.vertex, execution.subtask.index);
        let output = |edge: &flott_plan::JobEdge| {
            let channels = graph.consumers(edge.id, index).into_iter().map(|consumer| {
                let subtask = SubtaskId { vertex: edge.target, index: consumer };
                self.channel(ChannelId {
                    edge: edge.id,
                    producer: index,
                    producer_attempt: execution.attempt,
                    consumer,
                    consumer_attempt: neighbours.get(&subtask).copied().unwrap_or_default(),
                }) as Arc<dyn ChannelSender>
            });
            OutputSpec { edge: edge.id, channels: channels.collect() }
        };
        graph.outputs(vertex).map(output).collect()
    }
}

/// A folder for temporary files that only the user may enter, removed when it is dropped.
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Creates one in the first of the configured folders.
    ///
    /// # Errors
    /// [`flott_fs::FsError`] that names the folder.
    pub fn create(configuration: &Configuration) -> Result<Self, flott_fs::FsError> {
        let configured =
            configuration.get_optional(&config::TEMP_DIRS).and_then(|folders| folders.into_iter().next());
        let parent = configured.unwrap_or_else(std::env::temp_dir);
        let path = parent.join(format!("flott-{}", JobId::random()));
        let fs_path = FsPath::local(&path);
        flott_fs::for_path(&fs_path)?.create_dirs(&fs_path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "temporary files could not be removed");
        }
    }
}
