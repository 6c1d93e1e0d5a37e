//! The JobGraph: vertices with chained operators, edges with a pattern. What is shipped and run.

use std::collections::BTreeMap;
use std::fmt;

use flott_core::MaxParallelism;
use flott_core::ids::{EdgeId, OperatorId, VertexId};

/// One physical alternative of a logical operator. A program registers all of them; the plan says which is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variant {
    /// The operator itself.
    Default,
    /// Finds the splits that the source's readers read.
    Enumerator,
    /// Aggregates before the shuffle what it can.
    Combine,
    /// Aggregates in a hash table.
    HashAggregate,
    /// Sorts, then aggregates neighbours.
    SortAggregate,
    /// Joins by a hash table of the first input.
    BuildLeft,
    /// Joins by a hash table of the second input.
    BuildRight,
}

impl Variant {
    /// Every variant, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Default,
        Self::Enumerator,
        Self::Combine,
        Self::HashAggregate,
        Self::SortAggregate,
        Self::BuildLeft,
        Self::BuildRight,
    ];
}

/// Names an operator of a program, and which of its alternatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperatorKey {
    /// The logical operator.
    pub id: OperatorId,
    /// The alternative.
    pub variant: Variant,
}

impl OperatorKey {
    /// The operator itself.
    pub fn new(id: OperatorId) -> Self {
        Self { id, variant: Variant::Default }
    }

    /// An alternative of it.
    pub fn variant(id: OperatorId, variant: Variant) -> Self {
        Self { id, variant }
    }
}

/// Which of an operator's outputs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OutputPort {
    /// The main output.
    Main,
    /// A side output, by its tag.
    Side(String),
}

/// How records are spread over the consumer's subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Partitioning {
    /// Subtask i to subtask i.
    Forward,
    /// Evenly, over all.
    Rebalance,
    /// Evenly, over a part of them.
    Rescale,
    /// At random, over all.
    Shuffle,
    /// To each.
    Broadcast,
    /// By the key group of the key.
    Hash,
    /// By the user's function.
    Custom,
    /// To whichever has room: splits to readers.
    Demand,
}

impl Partitioning {
    /// The name, as plans show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "FORWARD",
            Self::Rebalance => "REBALANCE",
            Self::Rescale => "RESCALE",
            Self::Shuffle => "SHUFFLE",
            Self::Broadcast => "BROADCAST",
            Self::Hash => "HASH",
            Self::Custom => "CUSTOM",
            Self::Demand => "DEMAND",
        }
    }
}

/// Whether the consumer runs while the producer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExchangeMode {
    /// Both run together.
    Pipelined,
    /// The consumer starts when the producer has finished.
    Blocking,
}

/// How a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionMode {
    /// As a stream, with checkpoints.
    Streaming,
    /// As a batch: final results only, no checkpoints.
    Batch,
}

/// Names a logical edge, by which a program finds its types.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeKey {
    /// The producer.
    pub source: OperatorKey,
    /// Which of its outputs.
    pub output: OutputPort,
    /// The consumer.
    pub target: OperatorKey,
    /// Which of its inputs.
    pub input: u32,
}

/// A place in the user's code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// The file.
    pub file: String,
    /// The line.
    pub line: u32,
}

impl Origin {
    /// Who called the function that is marked `#[track_caller]`.
    #[track_caller]
    pub fn caller() -> Self {
        let at = std::panic::Location::caller();
        Self { file: at.file().to_owned(), line: at.line() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a vertex's subtasks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VertexRole {
    /// Ordinary subtasks.
    Subtasks,
    /// The one enumerator of a source: user code that coordinates others.
    Enumerator,
}

/// A job, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct JobGraph {
    /// The job's name.
    pub name: String,
    /// How it runs.
    pub mode: ExecutionMode,
    /// The vertices, producers first; a vertex's id is its position.
    pub vertices: Vec<JobVertex>,
    /// The edges; an edge's id is its position.
    pub edges: Vec<JobEdge>,
    /// The job's configuration: what was set, by key.
    pub configuration: BTreeMap<String, String>,
    /// Logical operators, their inputs and schemas, as lines; a worker whose program gives others is refused.
    pub program: Vec<String>,
}

/// Operators that run together, in one subtask each.
#[derive(Debug, Clone, PartialEq)]
pub struct JobVertex {
    /// Its position in [`JobGraph::vertices`].
    pub id: VertexId,
    /// The names of its operators.
    pub name: String,
    /// How many subtasks.
    pub parallelism: u32,
    /// How many key groups.
    pub max_parallelism: MaxParallelism,
    /// The operators: the head first, each behind the one that feeds it.
    pub operators: Vec<ChainedOperator>,
    /// Subtasks of vertices of one group share slots.
    pub slot_sharing_group: String,
    /// What the subtasks are.
    pub role: VertexRole,
}

impl JobVertex {
    /// The vertex's share of its slot's managed memory.
    pub fn managed_memory_weight(&self) -> u32 {
        self.operators.iter().map(|operator| operator.managed_memory_weight).sum()
    }
}

/// An operator in a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainedOperator {
    /// Which operator.
    pub key: OperatorKey,
    /// Its name.
    pub name: String,
    /// Its uid, if the user gave one.
    pub uid: Option<String>,
    /// Who feeds it; none for the head.
    pub input: Option<ChainInput>,
    /// Its share of the managed memory, against the others in the slot.
    pub managed_memory_weight: u32,
    /// Whether it has state.
    pub stateful: bool,
    /// Where the user made it.
    pub origin: Origin,
}

/// Who feeds an operator inside its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainInput {
    /// The position of the feeding operator in the chain.
    pub operator: usize,
    /// Which of its outputs.
    pub output: OutputPort,
}

/// An exchange between two vertices.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEdge {
    /// Its position in [`JobGraph::edges`].
    pub id: EdgeId,
    /// The producing vertex.
    pub source: VertexId,
    /// The position of the producing operator in its chain.
    pub source_operator: usize,
    /// The consuming vertex.
    pub target: VertexId,
    /// Which of the consumer's inputs.
    pub input: u32,
    /// The logical edge.
    pub key: EdgeKey,
    /// How records are spread.
    pub partitioning: Partitioning,
    /// Whether both ends run together.
    pub mode: ExchangeMode,
    /// How long a record waits for its batch to fill, in milliseconds; none: until it is full.
    pub buffer_timeout_ms: Option<u32>,
}

impl JobGraph {
    /// The vertex with this id.
    pub fn vertex(&self, id: VertexId) -> &JobVertex {
        &self.vertices[id.0 as usize]
    }

    /// The edge with this id.
    pub fn edge(&self, id: EdgeId) -> &JobEdge {
        &self.edges[id.0 as usize]
    }

    /// The edges into a vertex.
    pub fn inputs(&self, vertex: VertexId) -> impl Iterator<Item = &JobEdge> {
        self.edges.iter().filter(move |edge| edge.target == vertex)
    }

    /// The edges out of a vertex.
    pub fn outputs(&self, vertex: VertexId) -> impl Iterator<Item = &JobEdge> {
        self.edges.iter().filter(move |edge| edge.source == vertex)
    }

    /// Whether every source ends by itself is not known to the plan; this says how many slots it takes: for each slot
    /// sharing group the highest parallelism.
    pub fn slots_needed(&self) -> u32 {
        let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
        for vertex in &self.vertices {
            let widest = groups.entry(&vertex.slot_sharing_group).or_default();
            *widest = (*widest).max(vertex.parallelism);
        }
        groups.values().sum()
    }

    /// The first line in which another program's logical plan differs from this one's.
    pub fn first_difference(&self, other: &[String]) -> Option<(String, String)> {
        let longest = self.program.len().max(other.len());
        let line =
            |lines: &[String], at: usize| lines.get(at).cloned().unwrap_or_else(|| "(nothing)".to_owned());
        (0..longest)
            .map(|at| (line(&self.program, at), line(other, at)))
            .find(|(ours, theirs)| ours != theirs)
    }
}
