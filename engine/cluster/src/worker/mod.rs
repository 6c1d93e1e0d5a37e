//! A worker: a job's slots in one process.

mod channels;
mod watchdog;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use flott_core::config::{self, Configuration};
use flott_core::ids::{ExecutionId, JobId, SubtaskId};
use flott_core::memory::ManagedMemory;
use flott_fs::FsPath;
use flott_plan::execution_graph::SlotNumber;
use flott_plan::{JobEdge, JobGraph, Partitioning};
use flott_runtime::exchange::channel::ChannelSender;
use flott_runtime::net::DataPlane;
use flott_runtime::program::Program;
use flott_runtime::slot::{Slot, TaskWaker};
use flott_runtime::snapshot::SnapshotTarget;
use flott_runtime::task::{
    InputSpec, JobContext, Mailbox, OutputSpec, TaskListener, TaskMessage, TaskSpec, install_panic_hook,
};

use crate::gateway::{Deployment, Neighbour};
use crate::result::most_collected;
use channels::{Channels, capacity};
use watchdog::Watchdog;

/// Where a job's checkpoints are, below the configured directory.
pub fn checkpoint_directory(
    configuration: &Configuration,
    job: JobId,
) -> Result<Option<FsPath>, flott_fs::FsError> {
    let directory = configuration.get_optional(&config::CHECKPOINT_DIR);
    directory.map(|directory| Ok(directory.parse::<FsPath>()?.join(&job.to_string()))).transpose()
}

/// The host that a neighbour runs on, as its TaskManager says.
fn host_of(neighbour: &Neighbour, own: &Option<Arc<str>>) -> Option<Arc<str>> {
    match &neighbour.worker {
        None => own.clone(),
        Some(peer) => peer.address.rsplit_once(':').map(|(host, _)| Arc::from(host)),
    }
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
    /// Reaches the job's other workers; none: there are none.
    pub plane: Option<Arc<DataPlane>>,
    /// The host its TaskManager says it is on; none: it is in the job's own process.
    pub host: Option<String>,
}

/// Whose a thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ThreadOf {
    /// A slot's: its subtasks run in turn.
    Slot(SlotNumber),
    /// A subtask's whose user code blocks.
    Subtask(ExecutionId),
}

/// Runs subtasks of one job.
pub struct Worker {
    context: Arc<JobContext>,
    listener: Arc<dyn TaskListener>,
    managed_bytes_per_slot: usize,
    memory: HashMap<SlotNumber, ManagedMemory>,
    threads: HashMap<ThreadOf, Slot>,
    watchdog: Arc<Watchdog>,
    tasks: HashMap<ExecutionId, (Arc<Mailbox>, TaskWaker)>,
    channels: Channels,
    host: Option<Arc<str>>,
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
            most_collected: most_collected(configuration),
        };
        let channels = Channels::new(context.temp_dir.clone(), setup.plane);
        let watchdog = Watchdog::start(&context.io);
        Ok(Self {
            context: Arc::new(context),
            listener: setup.listener,
            managed_bytes_per_slot: setup.managed_bytes_per_slot,
            memory: HashMap::new(),
            threads: HashMap::new(),
            watchdog,
            tasks: HashMap::new(),
            channels,
            host: setup.host.map(Arc::from),
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
        let bytes = self.managed_bytes_per_slot;
        let memory = self.memory.entry(slot).or_insert_with(|| ManagedMemory::of_bytes(bytes)).clone();
        let share = self.share_of(execution, &memory);
        let thread = match self.context.graph.vertex(execution.subtask.vertex).blocking {
            true => ThreadOf::Subtask(execution),
            false => ThreadOf::Slot(slot),
        };
        self.start_thread(thread)?;
        let thread = &self.threads[&thread];
        let mailbox = Arc::new(Mailbox::default());
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

    fn start_thread(&mut self, of: ThreadOf) -> std::io::Result<()> {
        if self.threads.contains_key(&of) {
            return Ok(());
        }
        let thread = match of {
            ThreadOf::Slot(slot) => {
                let thread = Slot::start(&format!("flott-slot-{}", slot.0))?;
                self.watchdog.watch(thread.activity());
                thread
            }
            ThreadOf::Subtask(_) => Slot::start("flott-blocking")?,
        };
        self.threads.insert(of, thread);
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
        for execution in executions {
            self.tasks.remove(execution);
            self.threads.remove(&ThreadOf::Subtask(*execution));
        }
        self.channels.release(&self.context.graph, executions);
    }

    fn inputs(
        &mut self,
        execution: ExecutionId,
        neighbours: &BTreeMap<SubtaskId, Neighbour>,
    ) -> Vec<InputSpec> {
        let (graph, channels) = (&self.context.graph, &mut self.channels);
        let (vertex, index) = (execution.subtask.vertex, execution.subtask.index);
        let input = |edge: &JobEdge| {
            let capacity = capacity(graph, edge);
            let from = graph.producers(edge.id, index).into_iter().map(|producer| {
                let subtask = SubtaskId { vertex: edge.source, index: producer };
                let neighbour = neighbours.get(&subtask).cloned().unwrap_or_default();
                channels.inbound(edge, capacity, (producer, neighbour), (index, execution.attempt))
            });
            InputSpec { edge: edge.id, input: edge.input as usize, channels: from.collect() }
        };
        graph.inputs(vertex).map(input).collect()
    }

    fn outputs(
        &mut self,
        execution: ExecutionId,
        neighbours: &BTreeMap<SubtaskId, Neighbour>,
    ) -> Vec<OutputSpec> {
        let (graph, channels) = (&self.context.graph, &mut self.channels);
        let (vertex, index) = (execution.subtask.vertex, execution.subtask.index);
        let own_host = &self.host;
        let output = |edge: &JobEdge| {
            let capacity = capacity(graph, edge);
            let mut hosts = Vec::new();
            let to = graph.consumers(edge.id, index).into_iter().map(|consumer| {
                let subtask = SubtaskId { vertex: edge.target, index: consumer };
                let neighbour = neighbours.get(&subtask).cloned().unwrap_or_default();
                if edge.partitioning == Partitioning::Demand {
                    hosts.push(host_of(&neighbour, own_host));
                }
                let producer = (index, execution.attempt);
                channels.outbound(edge, capacity, producer, (consumer, neighbour)) as Arc<dyn ChannelSender>
            });
            OutputSpec { edge: edge.id, channels: to.collect(), hosts }
        };
        graph.outputs(vertex).map(output).collect()
    }
}
