//! What the REST API sees of a JobManager, and the little that it may have it do.

use std::collections::BTreeMap;
use std::sync::Arc;

use flott_core::config::Configuration;
use flott_core::ids::{JobId, OperatorId, SubtaskId, TaskManagerId, VertexId};
use flott_plan::execution_graph::{ExecutionState, JobStatus};
use flott_plan::{ExecutionMode, JobEdge, JobGraph, JobVertex, OperatorKey, VertexRole};

use crate::job_master::{JobDetails, JobReport, SubtaskReport};
use crate::log_files::LogFile;
use crate::rpc::control::Heartbeat;

/// A JobManager, seen from the web.
#[tonic::async_trait]
pub(crate) trait ClusterView: Send + Sync {
    /// What the JobManager was started with.
    fn configuration(&self) -> &Configuration;

    /// All jobs, the oldest first.
    fn jobs(&self) -> Vec<JobView>;

    /// A job.
    fn job(&self, id: JobId) -> Option<JobView>;

    /// The TaskManagers.
    fn task_managers(&self) -> Vec<TaskManagerView>;

    /// Cancels a job, for whoever leads from then on.
    async fn cancel(&self, id: JobId) -> Result<(), String>;

    /// Where the leader's page is, if this JobManager does not lead; none: it leads.
    fn elsewhere(&self) -> Option<Elsewhere>;

    /// The logs of a TaskManager and its workers.
    async fn logs_of(&self, task_manager: TaskManagerId) -> Result<Vec<LogFile>, String>;

    /// The end of one of them.
    async fn log_of(&self, task_manager: TaskManagerId, name: String) -> Result<Vec<u8>, String>;
}

/// Another JobManager leads, or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// Where its page is, as far as is known: `HOST:PORT`.
    pub(crate) web: Option<String>,
}

/// A TaskManager.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskManagerView {
    pub(crate) id: TaskManagerId,
    /// Its data port: `HOST:PORT`.
    pub(crate) address: String,
    pub(crate) slots: u32,
    /// How many slots each job has there.
    pub(crate) taken: Vec<(JobId, u32)>,
    pub(crate) managed_bytes: u64,
    /// When it last gave a sign of life, in milliseconds since the epoch.
    pub(crate) heard_millis: i64,
    pub(crate) process: ProcessView,
}

/// What a TaskManager last said of its machine and its processes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct ProcessView {
    /// The memory it may use with all its workers, in bytes.
    pub(crate) memory_limit: u64,
    /// What they use of it, in bytes.
    pub(crate) memory_used: u64,
    /// What they use of the machine's cores: 1 is one core.
    pub(crate) cpu_load: f64,
    /// The machine's cores.
    pub(crate) cores: u32,
    /// The machine's memory, in bytes.
    pub(crate) machine_memory: u64,
    /// What is free of it, in bytes.
    pub(crate) machine_free: u64,
}

impl TaskManagerView {
    pub(crate) fn free_slots(&self) -> u32 {
        let taken: u32 = self.taken.iter().map(|(_, slots)| slots).sum();
        self.slots.saturating_sub(taken)
    }

    /// Its host, without the port.
    pub(crate) fn host(&self) -> &str {
        self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host)
    }

    /// The port for data.
    pub(crate) fn port(&self) -> u16 {
        self.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }
}

/// A job.
#[derive(Clone)]
pub(crate) struct JobView {
    pub(crate) id: JobId,
    pub(crate) status: JobStatus,
    /// When it was submitted, in milliseconds since the epoch.
    pub(crate) submitted_millis: i64,
    pub(crate) graph: Arc<JobGraph>,
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) report: JobReport,
    /// Why it could not begin.
    pub(crate) not_started: Option<String>,
    /// Where its subtasks were deployed last: TaskManager and its address.
    pub(crate) placed: BTreeMap<SubtaskId, (TaskManagerId, String)>,
}

impl JobView {
    pub(crate) fn details(&self) -> &JobDetails {
        &self.report.details
    }

    pub(crate) fn started_millis(&self) -> i64 {
        if self.report.started_millis > 0 { self.report.started_millis } else { self.submitted_millis }
    }

    /// When it was over; none: it is not.
    pub(crate) fn ended_millis(&self) -> Option<i64> {
        let ended = [self.report.ended_millis, self.submitted_millis].into_iter().find(|millis| *millis > 0);
        ended.filter(|_| self.status.is_terminal())
    }

    /// How long it has run, or ran.
    pub(crate) fn duration_millis(&self, now: i64) -> i64 {
        (self.ended_millis().unwrap_or(now) - self.started_millis()).max(0)
    }

    pub(crate) fn is_streaming(&self) -> bool {
        self.graph.mode == ExecutionMode::Streaming
    }

    /// The vertices that are shown, producers first.
    pub(crate) fn vertices(&self) -> impl Iterator<Item = &JobVertex> {
        vertices_of(&self.graph)
    }

    /// The edges into a vertex from others that are shown.
    pub(crate) fn inputs(&self, vertex: VertexId) -> impl Iterator<Item = &JobEdge> {
        inputs_of(&self.graph, vertex)
    }

    /// Whether it takes its records from outside.
    pub(crate) fn is_source(&self, vertex: &JobVertex) -> bool {
        self.inputs(vertex.id).next().is_none()
    }

    /// The subtasks of a vertex; before the job begins, none.
    pub(crate) fn subtasks(&self, vertex: VertexId) -> impl Iterator<Item = (u32, &SubtaskReport)> {
        let first = SubtaskId { vertex, index: 0 };
        let last = SubtaskId { vertex, index: u32::MAX };
        self.details().subtasks.range(first..=last).map(|(subtask, report)| (subtask.index, report))
    }

    /// The vertex with this id, as [`vertex_id`] writes it.
    pub(crate) fn vertex(&self, id: &str) -> Option<&JobVertex> {
        self.vertices().find(|vertex| vertex_id(vertex).eq_ignore_ascii_case(id))
    }

    /// How many subtasks are in which state, as Flink calls them.
    pub(crate) fn task_counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = no_tasks();
        for vertex in self.vertices() {
            for (_, report) in self.subtasks(vertex.id) {
                *counts.entry(state_name(report.state)).or_default() += 1;
            }
        }
        if self.details().subtasks.is_empty() {
            let all = self.vertices().map(|vertex| u64::from(vertex.parallelism)).sum();
            counts.insert("CREATED", all);
        }
        counts
    }
}

/// The vertices that records go through, producers first. Enumerators, which deal out what sources read, are no vertices for Flink's
/// tools, which take what has no inputs for the sources.
pub(crate) fn vertices_of(graph: &JobGraph) -> impl Iterator<Item = &JobVertex> {
    graph.vertices.iter().filter(|vertex| is_shown(vertex))
}

/// The edges into a vertex from others that are shown.
pub(crate) fn inputs_of(graph: &JobGraph, vertex: VertexId) -> impl Iterator<Item = &JobEdge> {
    graph.inputs(vertex).filter(|edge| is_shown(graph.vertex(edge.source)))
}

fn is_shown(vertex: &JobVertex) -> bool {
    vertex.role != VertexRole::Enumerator
}

/// The id of a vertex for the web: that of its head operator, so the same for every run of a program. 32 hexadecimal digits.
pub(crate) fn vertex_id(vertex: &JobVertex) -> String {
    vertex.head().map_or_else(|| format!("{:032x}", vertex.id.0), |head| operator_id(head.key))
}

/// The id of an operator for the web, in any of its physical forms, of which a job can have several. 32 hexadecimal digits.
pub(crate) fn operator_id(key: OperatorKey) -> String {
    let mut bytes = *key.id.as_bytes();
    bytes[15] ^= key.variant as u8;
    OperatorId::from_bytes(bytes).to_string()
}

/// The states of Flink's executions, none of which is counted yet.
pub(crate) fn no_tasks() -> BTreeMap<&'static str, u64> {
    const STATES: [&str; 10] = [
        "CREATED",
        "SCHEDULED",
        "DEPLOYING",
        "INITIALIZING",
        "RUNNING",
        "FINISHED",
        "CANCELING",
        "CANCELED",
        "FAILED",
        "RECONCILING",
    ];
    STATES.into_iter().map(|state| (state, 0)).collect()
}

/// The state as Flink calls it, which has no word for a subtask that waits for its commit.
pub(crate) fn state_name(state: ExecutionState) -> &'static str {
    match state {
        ExecutionState::Drained => "RUNNING",
        other => other.name(),
    }
}

/// The state of a vertex, from those of its subtasks.
pub(crate) fn vertex_state(states: impl Iterator<Item = ExecutionState>) -> &'static str {
    let states: Vec<&str> = states.map(state_name).collect();
    let has = |state| states.contains(&state);
    let first = ["FAILED", "CANCELING", "CANCELED", "INITIALIZING", "RUNNING", "DEPLOYING", "SCHEDULED"];
    if let Some(state) = first.into_iter().find(|state| has(state)) {
        return state;
    }
    match (has("FINISHED"), has("CREATED")) {
        (true, false) => "FINISHED",
        (true, true) => "RUNNING",
        _ => "CREATED",
    }
}

impl From<&Heartbeat> for ProcessView {
    fn from(heartbeat: &Heartbeat) -> Self {
        let Heartbeat { memory_limit, memory_used, cpu_load, cores, machine_memory, machine_free } =
            *heartbeat;
        let cpu_load = if cpu_load.is_finite() { cpu_load.max(0.0) } else { 0.0 };
        Self { memory_limit, memory_used, cpu_load, cores, machine_memory, machine_free }
    }
}
