//! The JobGraph: vertices with chained operators, edges with a pattern. It is what both planners make, what is shipped, and
//! all that says what runs.
//!
//! A graph that a planner made or [`JobGraph::decode`] read keeps what [`JobGraph::validate`] checks: ids are positions,
//! producers stand before consumers, a vertex has an operator and a subtask at least, no blocking edge leads back into the stage
//! it comes from.
//!
//! ```
//! use flott_plan::{JobGraph, PlanError};
//!
//! let error = JobGraph::decode(b"garbage").unwrap_err();
//! assert!(matches!(error, PlanError::Decode { .. }));
//! ```

mod parts;
mod proto;
mod validate;

use std::collections::BTreeMap;

use flott_core::MaxParallelism;
use flott_core::ids::{EdgeId, VertexId};

pub use parts::{
    EdgeKey, ExchangeMode, ExecutionMode, OperatorKey, Origin, OutputPort, Partitioning, Variant, VertexRole,
};

use crate::program::{ProgramHash, ProgramListing};

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
    /// The hash of [`program`](Self::program). A worker whose own listing has another one is refused.
    pub program_hash: ProgramHash,
    /// The logical operators, from which a worker that differs learns the first difference.
    pub program: ProgramListing,
}

/// Operators that run together, in one subtask each.
#[derive(Debug, Clone, PartialEq)]
pub struct JobVertex {
    /// Its position in [`JobGraph::vertices`].
    pub id: VertexId,
    /// The names of its operators: `Source: lines -> Flat Map`.
    pub name: String,
    /// How many subtasks, from 1 to the max parallelism.
    pub parallelism: u32,
    /// How many key groups.
    pub max_parallelism: MaxParallelism,
    /// The operators: the head first, each behind the one that feeds it.
    pub operators: Vec<ChainedOperator>,
    /// Subtasks of vertices of one group share slots.
    pub slot_sharing_group: String,
    /// What the subtasks are.
    pub role: VertexRole,
    /// Whether its user code blocks: its subtasks run on threads of their own, not on their slots'.
    pub blocking: bool,
    /// The files and folders whose splits it deals out, if it is an enumerator and they are known, but no more than
    /// [`MOST_READS`]: those who place the job may look where they are.
    pub reads: Vec<String>,
}

/// The paths that a plan names of a source.
pub const MOST_READS: usize = 256;

impl JobVertex {
    /// The operator that the vertex's inputs lead to, if the graph is [valid](JobGraph::validate).
    pub fn head(&self) -> Option<&ChainedOperator> {
        self.operators.first()
    }

    /// The vertex's part of its slot's managed memory, against [`JobGraph::group_memory_weight`].
    pub fn managed_memory_weight(&self) -> u32 {
        self.operators.iter().fold(0, |sum, operator| sum.saturating_add(operator.managed_memory_weight))
    }

    /// The logical edge by which the operator at `position` of the chain is fed; none for the head.
    pub fn chain_edge(&self, position: usize) -> Option<EdgeKey> {
        let target = self.operators.get(position)?;
        let ChainInput { operator, output } = target.input.clone()?;
        Some(EdgeKey { source: self.operators.get(operator)?.key, output, target: target.key, input: 0 })
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
    /// Its part of the managed memory, against the others in the slot; 0: it needs none.
    pub managed_memory_weight: u32,
    /// Whether it has state.
    pub stateful: bool,
    /// The group of sources that its watermarks are aligned with, if they are.
    pub watermark_group: Option<String>,
    /// Where the user made it.
    pub origin: Origin,
}

/// Who feeds an operator inside its chain. Operators inside a chain have one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainInput {
    /// The position of the feeding operator in the chain.
    pub operator: usize,
    /// Which of its outputs.
    pub output: OutputPort,
}

/// An exchange between two vertices. Several edges into one input are a union.
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
    /// Which of the inputs of the consumer's head, from 0.
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
    ///
    /// # Panics
    /// If the id is of another graph.
    pub fn vertex(&self, id: VertexId) -> &JobVertex {
        &self.vertices[id.0 as usize]
    }

    /// The edge with this id.
    ///
    /// # Panics
    /// If the id is of another graph.
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

    /// How many slots each slot sharing group takes: the highest parallelism in it.
    pub fn slots_by_group(&self) -> BTreeMap<&str, u32> {
        let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
        for vertex in &self.vertices {
            let widest = groups.entry(&vertex.slot_sharing_group).or_default();
            *widest = (*widest).max(vertex.parallelism);
        }
        groups
    }

    /// How many slots the job takes.
    pub fn slots_needed(&self) -> u32 {
        self.slots_by_group().values().fold(0, |sum, slots| sum.saturating_add(*slots))
    }

    /// What the managed memory of a slot of this group is divided by: the weights of all the vertices that share it.
    pub fn group_memory_weight(&self, slot_sharing_group: &str) -> u32 {
        let members = self.vertices.iter().filter(|vertex| vertex.slot_sharing_group == slot_sharing_group);
        members.fold(0, |sum, vertex| sum.saturating_add(vertex.managed_memory_weight()))
    }
}
