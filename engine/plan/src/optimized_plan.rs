//! The OptimizedPlan: a DataSet program with all strategies chosen. [`OptimizedPlan::to_job_graph`] makes the JobGraph.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use flott_core::MaxParallelism;

use crate::data_graph::{Estimate, KeyId};
use crate::job_graph::{ExchangeMode, OperatorKey, Origin, Partitioning, Variant};
use crate::program::ProgramListing;

/// A node's position in [`OptimizedPlan::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlanNodeId(pub usize);

/// How records come from one operator to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShipStrategy {
    /// They stay in their subtask.
    Forward,
    /// In turn over all subtasks, because the widths differ.
    Rebalance,
    /// By the hash of a key.
    HashPartition {
        /// The key.
        key: KeyId,
    },
    /// Every record to every subtask.
    Broadcast,
}

impl ShipStrategy {
    /// How the runtime spreads the records.
    pub const fn partitioning(self) -> Partitioning {
        match self {
            Self::Forward => Partitioning::Forward,
            Self::Rebalance => Partitioning::Rebalance,
            Self::HashPartition { .. } => Partitioning::Hash,
            Self::Broadcast => Partitioning::Broadcast,
        }
    }
}

impl fmt::Display for ShipStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward => f.write_str("forward"),
            Self::Rebalance => f.write_str("rebalance"),
            Self::HashPartition { key } => write!(f, "hash partition by {key}"),
            Self::Broadcast => f.write_str("broadcast"),
        }
    }
}

/// One of the two inputs of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Input 0.
    Left,
    /// Input 1.
    Right,
}

impl Side {
    /// The number of the input.
    pub const fn input(self) -> u32 {
        match self {
            Self::Left => 0,
            Self::Right => 1,
        }
    }
}

/// What an operator does with its records inside its subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalStrategy {
    /// Takes them as they come.
    None,
    /// Aggregates what is at hand before the exchange.
    Combine,
    /// Aggregates in a hash table.
    HashAggregate,
    /// Sorts by key, then aggregates neighbours.
    SortAggregate,
    /// Joins by a hash table of one input.
    HybridHashJoin {
        /// That input. It is read to its end first.
        build: Side,
    },
    /// Sorts.
    Sort,
}

impl LocalStrategy {
    /// The operator's part of managed memory, against the others in the slot.
    pub const fn managed_memory_weight(self) -> u32 {
        match self {
            Self::None => 0,
            _ => 1,
        }
    }
}

impl fmt::Display for LocalStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Combine => "combine",
            Self::HashAggregate => "hash aggregate",
            Self::SortAggregate => "sort aggregate",
            Self::HybridHashJoin { build: Side::Left } => "hybrid hash join, build left",
            Self::HybridHashJoin { build: Side::Right } => "hybrid hash join, build right",
            Self::Sort => "sort",
        })
    }
}

/// A DataSet program with all strategies chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizedPlan {
    /// The job's name.
    pub name: String,
    /// The operators, each behind those it reads.
    pub nodes: Vec<PlanNode>,
    /// The job's configuration: what was set, by key.
    pub configuration: BTreeMap<String, String>,
    /// The logical operators.
    pub program: ProgramListing,
}

/// An operator that will run.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanNode {
    /// Which operator, and which of its alternatives.
    pub key: OperatorKey,
    /// Its name.
    pub name: String,
    /// Its uid, if the user gave one.
    pub uid: Option<String>,
    /// Where the user made it.
    pub origin: Origin,
    /// Whether it reads from outside.
    pub is_source: bool,
    /// The files and folders it reads, if it is a source that does: those who place the job may look where they are.
    pub reads: Vec<String>,
    /// How many subtasks.
    pub parallelism: u32,
    /// How many key groups.
    pub max_parallelism: MaxParallelism,
    /// Whether its user code blocks: it gets threads of its own.
    pub blocking: bool,
    /// What it does with its records.
    pub local: LocalStrategy,
    /// What it reads; several of one input are a union.
    pub inputs: Vec<PlanInput>,
    /// How much it gives.
    pub estimate: Estimate,
}

/// What an operator reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanInput {
    /// Which of its inputs, from 0.
    pub input: u32,
    /// Who gives it.
    pub source: PlanNodeId,
    /// How it comes.
    pub ship: ShipStrategy,
    /// Whether both run together.
    pub mode: ExchangeMode,
}

impl OptimizedPlan {
    /// The node with this id.
    ///
    /// # Panics
    /// If the id is of another plan.
    pub fn node(&self, id: PlanNodeId) -> &PlanNode {
        &self.nodes[id.0]
    }

    /// The plan as text: a paragraph a node, with its strategies and estimates.
    pub fn describe(&self) -> String {
        let mut text = format!("Plan of '{}'\n", self.name);
        for (position, node) in self.nodes.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = describe_node(position, node, &mut text);
        }
        text
    }
}

fn describe_node(position: usize, node: &PlanNode, text: &mut String) -> fmt::Result {
    writeln!(text, "\n({position}) {}", node.name)?;
    write!(text, "    parallelism {}", node.parallelism)?;
    if node.local != LocalStrategy::None {
        write!(text, ", {}", node.local)?;
    }
    if matches!(node.key.variant, Variant::FinalHashAggregate | Variant::FinalSortAggregate) {
        write!(text, " of partial results")?;
    }
    let about = |amount: Option<u64>| amount.map_or("?".to_owned(), |amount| amount.to_string());
    writeln!(
        text,
        ", gives {} bytes in {} records",
        about(node.estimate.bytes),
        about(node.estimate.records)
    )?;
    node.inputs.iter().try_for_each(|input| {
        let number = if input.input > 0 { format!(" as input {}", input.input) } else { String::new() };
        writeln!(text, "    reads ({}){number}: {}, {}", input.source.0, input.ship, input.mode)
    })
}
