//! The last step before the JobGraph, common to both planners: operators whose parallelism, partitioning and group are decided
//! become vertices, [chained](chaining) where they can be.

mod assemble;
pub(crate) mod chaining;

use std::collections::BTreeMap;

use chaining::Chains;

use crate::exchange_mode;
use crate::job_graph::{ExchangeMode, ExecutionMode, OperatorKey, Origin, OutputPort, Partitioning};
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
    /// The files and folders that it reads, if it is a source.
    pub reads: Vec<String>,
    pub width: Width,
    pub slot_sharing_group: String,
    pub chaining: Chaining,
    pub stateful: bool,
    pub watermark_group: Option<String>,
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
    /// In any order.
    pub edges: Vec<PhysicalEdge>,
    pub configuration: BTreeMap<String, String>,
    pub program: ProgramListing,
}

impl PhysicalPlan {
    /// The chains that can be made, if any should be.
    pub fn chains(&self, enabled: bool) -> Chains {
        Chains::of(&self.nodes, &self.edges, enabled)
    }

    /// Makes those exchanges between chains blocking that must be because others are: see
    /// [`exchange_mode`](crate::exchange_mode).
    pub fn decide_modes(&mut self, chains: &Chains) {
        let positions: Vec<usize> =
            (0..self.edges.len()).filter(|position| !chains.chained[*position]).collect();
        let between_chains = |position: &usize| {
            let edge = &self.edges[*position];
            exchange_mode::Edge {
                source: chains.head[edge.source],
                target: chains.head[edge.target],
                blocking: edge.mode == ExchangeMode::Blocking,
            }
        };
        let edges: Vec<_> = positions.iter().map(between_chains).collect();
        let modes = exchange_mode::assign(self.nodes.len(), &edges);
        for (position, mode) in positions.into_iter().zip(modes) {
            self.edges[position].mode = mode;
        }
    }
}
