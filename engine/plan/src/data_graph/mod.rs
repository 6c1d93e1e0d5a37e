//! The DataGraph: what a DataSet program says, operator by operator, before any strategy is chosen.
//!
//! A node reads nodes before it. [`DataGraph::optimize`] chooses, and [`DataGraph::alternatives`] lists all that might be
//! chosen, which is what a program registers.

mod alternatives;

use std::collections::BTreeMap;
use std::fmt;

use flott_core::ids::OperatorId;

pub use alternatives::{Alternatives, EdgeAlternative};

use crate::error::Culprit;
use crate::job_graph::{Origin, OutputPort};
use crate::program::{LogicalInput, LogicalOperator, ProgramListing};

/// A node's position in [`DataGraph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataNodeId(pub usize);

/// Names a way to find a key in a record. Records that are partitioned by a key are, in the plan's eyes, only partitioned by
/// keys of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.0)
    }
}

/// How much there is, as far as it can be told before the job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate {
    /// The size of all records, encoded.
    pub bytes: Option<u64>,
    /// How many records.
    pub records: Option<u64>,
}

impl Estimate {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { bytes: None, records: None };
}

/// What a node does, as far as the plan must know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DataOperator {
    /// Reads from outside.
    Source {
        /// How much it gives.
        estimate: Estimate,
    },
    /// Makes records of records: map, flat_map, map_partition.
    Map {
        /// Records out for a record in; none: unknown.
        selectivity: Option<f64>,
        /// The average size of a record out; none: that of a record in.
        record_bytes: Option<u64>,
    },
    /// Drops some records and passes on the others as they are.
    Filter {
        /// The part that is passed on; none: unknown, so taken for all.
        selectivity: Option<f64>,
    },
    /// Brings the records of each key down to one, record by record: reduce, sum, aggregate.
    Aggregate {
        /// The key.
        key: KeyId,
        /// Whether part of the records can be aggregated before the rest is there.
        combinable: bool,
        /// How many keys there are, if that is known.
        groups: Option<u64>,
    },
    /// Hands all records of each key to a function, one key after the other: it sorts them.
    GroupReduce {
        /// The key.
        key: KeyId,
        /// Whether there is a function that makes fewer of part of the records before the rest is there.
        combinable: bool,
        /// How many keys there are, if that is known.
        groups: Option<u64>,
    },
    /// Keeps one record of each key.
    Distinct {
        /// The key.
        key: KeyId,
        /// How many keys there are, if that is known.
        groups: Option<u64>,
    },
    /// Joins the records of input 0 and input 1 that have equal keys.
    Join {
        /// The key of input 0.
        left: KeyId,
        /// The key of input 1.
        right: KeyId,
    },
    /// All its inputs as one. No operator runs for it: who reads it reads them.
    Union,
    /// Sorts the records of each subtask.
    SortPartition,
    /// Writes to the outside, or hands to the client.
    Sink,
}

/// An equality the program promises: what is key `from` of an input's record is key `to` of the record made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardedKey {
    /// Which input.
    pub input: u32,
    /// The key of a record that comes in.
    pub from: KeyId,
    /// The key of the record that goes out.
    pub to: KeyId,
}

/// A DataSet program.
#[derive(Debug, Clone, PartialEq)]
pub struct DataGraph {
    /// The job's name.
    pub name: String,
    /// The operators, each behind those it reads.
    pub nodes: Vec<DataNode>,
    /// The parallelism of operators that say none.
    pub default_parallelism: u32,
    /// What was set, by key. `pipeline.operator-chaining.enabled` and `pipeline.max-parallelism` are read here.
    pub configuration: BTreeMap<String, String>,
}

/// An operator of a DataSet program.
#[derive(Debug, Clone, PartialEq)]
pub struct DataNode {
    /// Its id: by uid or position.
    pub operator: OperatorId,
    /// Its name. Plans put `Source: ` and `Sink: ` before it.
    pub name: String,
    /// Its uid, if the user gave one.
    pub uid: Option<String>,
    /// Where the user made it.
    pub origin: Origin,
    /// What it does.
    pub kind: DataOperator,
    /// What it reads, input by input.
    pub inputs: Vec<DataNodeId>,
    /// The files and folders it reads, if it is a source that does: those who place the job may look where they are.
    pub reads: Vec<String>,
    /// Keys that come out as they went in, besides those that the kind implies: a filter, a distinct and a sort change nothing.
    pub forwarded_keys: Vec<ForwardedKey>,
    /// Its parallelism, if the user said.
    pub parallelism: Option<u32>,
    /// Whether there can only be one subtask of it.
    pub non_parallel: bool,
    /// Whether its user code blocks: it gets threads of its own.
    pub blocking: bool,
    /// The schema of what each input takes.
    pub input_schemas: Vec<String>,
    /// The schema of what it gives.
    pub output_schema: String,
}

impl DataOperator {
    /// How many inputs it has; none: any number from 1.
    pub(crate) const fn arity(&self) -> Option<usize> {
        match self {
            Self::Source { .. } => Some(0),
            Self::Join { .. } => Some(2),
            Self::Union => None,
            _ => Some(1),
        }
    }

    /// Whether what comes out are records that came in.
    pub(crate) const fn keeps_records(&self) -> bool {
        matches!(self, Self::Filter { .. } | Self::Distinct { .. } | Self::SortPartition | Self::Union)
    }

    /// What it does, in the words of a [listing](ProgramListing).
    fn logic(&self) -> String {
        match self {
            Self::Source { .. } => "source".to_owned(),
            Self::Map { .. } => "map".to_owned(),
            Self::Filter { .. } => "filter".to_owned(),
            Self::Aggregate { key, combinable, .. } => format!("{}aggregate by {key}", partly(*combinable)),
            Self::GroupReduce { key, combinable, .. } => {
                format!("{}group reduce by {key}", partly(*combinable))
            }
            Self::Distinct { key, .. } => format!("distinct by {key}"),
            Self::Join { left, right } => format!("join by {left} and {right}"),
            Self::Union => "union".to_owned(),
            Self::SortPartition => "sort partition".to_owned(),
            Self::Sink => "sink".to_owned(),
        }
    }
}

fn partly(combinable: bool) -> &'static str {
    if combinable { "combinable " } else { "" }
}

impl DataNode {
    /// The name under which plans show the node: `Source: lines`.
    pub fn display_name(&self) -> String {
        let prefix = match self.kind {
            DataOperator::Source { .. } => "Source: ",
            DataOperator::Sink => "Sink: ",
            _ => "",
        };
        let name = self.name.strip_prefix(prefix).unwrap_or(&self.name);
        format!("{prefix}{name}")
    }

    /// The node as errors name it.
    pub fn culprit(&self) -> Culprit {
        Culprit { name: self.display_name(), origin: self.origin.clone() }
    }
}

impl DataGraph {
    /// The logical operators: what every process of the job must agree on.
    pub fn program(&self) -> ProgramListing {
        ProgramListing::new(self.nodes.iter().map(|node| self.logical_operator(node)).collect())
    }

    fn logical_operator(&self, node: &DataNode) -> LogicalOperator {
        let by_function = matches!(
            node.kind,
            DataOperator::Aggregate { .. }
                | DataOperator::GroupReduce { .. }
                | DataOperator::Distinct { .. }
                | DataOperator::Join { .. }
        );
        let input = |(position, source): (u32, &DataNodeId)| {
            Some(LogicalInput {
                input: position,
                source: self.nodes.get(source.0)?.operator,
                output: OutputPort::Main,
                by_function,
                schema: node.input_schemas.get(position as usize).cloned().unwrap_or_default(),
            })
        };
        LogicalOperator {
            operator: node.operator,
            name: node.display_name(),
            logic: node.kind.logic(),
            inputs: (0..).zip(&node.inputs).filter_map(input).collect(),
            output_schema: node.output_schema.clone(),
        }
    }

    /// The nodes that really give what this node gives: itself, or what a union unites.
    pub(crate) fn producers(&self, node: DataNodeId) -> Vec<DataNodeId> {
        let mut producers = Vec::new();
        let mut pending = vec![node];
        while let Some(node) = pending.pop() {
            match self.nodes.get(node.0) {
                // Only what stands before it, so that this ends whatever somebody wired.
                Some(DataNode { kind: DataOperator::Union, inputs, .. }) => {
                    pending.extend(inputs.iter().rev().filter(|input| **input < node));
                }
                Some(_) => producers.push(node),
                None => {}
            }
        }
        producers
    }
}
