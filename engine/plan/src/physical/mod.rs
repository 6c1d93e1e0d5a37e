//! The last step before the JobGraph, common to both planners: operators whose parallelism, partitioning and group are decided
//! become vertices, [chained](chaining) where they can be.

mod assemble;
pub(crate) mod chaining;

use std::collections::BTreeMap;

use crate::job_graph::{
    ExchangeMode, ExecutionMode, JobGraph, OperatorKey, Origin, OutputPort, Partitioning,
};
use crate::program::ProgramListing;
use crate::resolve::Width;
use crate::stream_graph::Chaining;

/// An operator that will run.
#[derive(Debug, Clone)]
pub(crate) struct PhysicalNode {
    pub key: OperatorKey,
    pub name: String,
    pub uid: Option<String>,
    pub origin: Origin,
    /// Whether an enumerator belongs to it.
    pub is_source: bool,
    pub width: Width,
    pub slot_sharing_group: String,
    pub chaining: Chaining,
    pub stateful: bool,
    pub managed_memory_weight: u32,
}

/// Who feeds whom.
#[derive(Debug, Clone)]
pub(crate) struct PhysicalEdge {
    pub source: usize,
    pub output: OutputPort,
    pub target: usize,
    pub input: u32,
    pub partitioning: Partitioning,
    pub mode: ExchangeMode,
    pub buffer_timeout_ms: Option<u32>,
}

/// Everything but the chains.
#[derive(Debug, Clone)]
pub(crate) struct PhysicalPlan {
    pub name: String,
    pub mode: ExecutionMode,
    /// Producers first.
    pub nodes: Vec<PhysicalNode>,
    /// A blocking edge is one that must block; those that follow from it are found here.
    pub edges: Vec<PhysicalEdge>,
    pub configuration: BTreeMap<String, String>,
    pub program: ProgramListing,
}

impl PhysicalPlan {
    /// Chains operators, then decides what else must block, then makes the vertices.
    pub fn into_job_graph(mut self, chaining: bool) -> JobGraph {
        let chains = chaining::Chains::of(&self.nodes, &self.edges, chaining);
        chains.decide_modes(&mut self.edges);
        assemble::assemble(self, &chains)
    }
}
