//! The StreamGraph: what a DataStream program says, operator by operator, before any physical decision.
//!
//! Nodes may stand in any order; edges say who feeds whom. [`StreamGraph::to_job_graph`] decides the rest.

use std::collections::BTreeMap;
use std::fmt;

use flott_core::ids::OperatorId;

use crate::error::Culprit;
use crate::job_graph::{ExecutionMode, Origin, OutputPort, Partitioning, Variant};
use crate::program::{LogicalInput, LogicalOperator, ProgramListing};

/// A node's position in [`StreamGraph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Reads from outside: becomes an enumerator and readers.
    Source {
        /// Whether it ends by itself; only then it can run in batch mode.
        bounded: bool,
    },
    /// Works on records.
    Operator,
    /// Writes to the outside.
    Sink,
}

/// Whether an operator may share its subtask with others, from the most to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chaining {
    /// With those before and behind it.
    Always,
    /// With those behind it only: it begins a chain.
    Head,
    /// With none.
    Never,
    /// With none, and its subtasks run on threads of their own: its user code blocks.
    OwnThread,
}

/// A DataStream program.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamGraph {
    /// The job's name.
    pub name: String,
    /// How it runs.
    pub mode: ExecutionMode,
    /// The operators, in the order in which the program made them.
    pub nodes: Vec<StreamNode>,
    /// Who feeds whom.
    pub edges: Vec<StreamEdge>,
    /// The parallelism of operators that say none: what the environment says, else the client, else the configuration.
    pub default_parallelism: u32,
    /// What was set, by key. `pipeline.operator-chaining.enabled` and `pipeline.max-parallelism` are read here.
    pub configuration: BTreeMap<String, String>,
}

/// An operator of a DataStream program.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamNode {
    /// Its id: by uid or position.
    pub operator: OperatorId,
    /// Its name. Plans put `Source: ` and `Sink: ` before it.
    pub name: String,
    /// Its uid, if the user gave one.
    pub uid: Option<String>,
    /// Where the user made it.
    pub origin: Origin,
    /// What it is.
    pub kind: NodeKind,
    /// Its parallelism, if the user said.
    pub parallelism: Option<u32>,
    /// Whether there can only be one subtask of it, whatever the job's parallelism (a socket source).
    pub non_parallel: bool,
    /// Its max parallelism, if the user said.
    pub max_parallelism: Option<u32>,
    /// Its slot sharing group, if the user said; else that of its inputs if they agree, else `default`.
    pub slot_sharing_group: Option<String>,
    /// Whether it may be chained.
    pub chaining: Chaining,
    /// Whether it works on keyed streams only: all its inputs must be partitioned by key, or broadcast beside one that is.
    pub keyed: bool,
    /// Whether it has state.
    pub stateful: bool,
    /// The group of sources that its watermarks are aligned with, if it is a source and they are.
    pub watermark_group: Option<String>,
    /// The files and folders it reads, if it is a source that does: those who place the job may look where they are.
    pub reads: Vec<String>,
    /// Its part of managed memory, against the others in the slot; 0: it needs none.
    pub managed_memory_weight: u32,
    /// The alternative that runs in batch mode, if another than the default does.
    pub batch_variant: Option<Variant>,
    /// The schema of what each input takes.
    pub input_schemas: Vec<String>,
    /// The schema of what it gives.
    pub output_schema: String,
}

/// Who feeds whom.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEdge {
    /// The producer.
    pub source: NodeId,
    /// Which of its outputs.
    pub output: OutputPort,
    /// The consumer.
    pub target: NodeId,
    /// Which of its inputs, from 0; several edges into one input are a union.
    pub input: u32,
    /// How records are spread; none: forward where the parallelism is equal, else rebalance.
    pub partitioning: Option<Partitioning>,
    /// How long a record waits for its batch to fill, in milliseconds; none: until it is full.
    pub buffer_timeout_ms: Option<u32>,
}

/// What is doubtful about a program that runs nevertheless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanWarning {
    /// An operator has state but no uid.
    StatefulWithoutUid {
        /// The operator.
        operator: Culprit,
    },
    /// Nobody reads what an operator gives.
    UnreadOutput {
        /// The operator.
        operator: Culprit,
    },
}

impl fmt::Display for PlanWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StatefulWithoutUid { operator } => write!(
                f,
                "{operator} has state but no uid: after a change of the program before it, its state is not found again"
            ),
            Self::UnreadOutput { operator } => {
                write!(f, "{operator} has no consumer: what it gives is dropped")
            }
        }
    }
}

impl StreamNode {
    /// The name under which plans show the node: `Source: lines`.
    pub fn display_name(&self) -> String {
        let prefix = match self.kind {
            NodeKind::Source { .. } => "Source: ",
            NodeKind::Operator => "",
            NodeKind::Sink => "Sink: ",
        };
        // Somebody may have called it so already.
        let name = self.name.strip_prefix(prefix).unwrap_or(&self.name);
        format!("{prefix}{name}")
    }

    /// The node as errors name it.
    pub fn culprit(&self) -> Culprit {
        Culprit { name: self.display_name(), origin: self.origin.clone() }
    }
}

impl StreamGraph {
    /// What the user should know before the program runs.
    pub fn warnings(&self) -> Vec<PlanWarning> {
        let is_read = |position: usize| self.edges.iter().any(|edge| edge.source.0 == position);
        let mut warnings = Vec::new();
        for (position, node) in self.nodes.iter().enumerate() {
            if node.stateful && node.uid.is_none() {
                warnings.push(PlanWarning::StatefulWithoutUid { operator: node.culprit() });
            }
            if node.kind != NodeKind::Sink && !is_read(position) {
                warnings.push(PlanWarning::UnreadOutput { operator: node.culprit() });
            }
        }
        warnings
    }

    /// The logical operators: what every process of the job must agree on.
    pub fn program(&self) -> ProgramListing {
        let mut operators: Vec<LogicalOperator> = self.nodes.iter().map(logical_operator).collect();
        for edge in &self.edges {
            let (Some(source), Some(target)) = (self.nodes.get(edge.source.0), self.nodes.get(edge.target.0))
            else {
                continue;
            };
            let schema = target.input_schemas.get(edge.input as usize).cloned().unwrap_or_default();
            operators[edge.target.0].inputs.push(LogicalInput {
                input: edge.input,
                source: source.operator,
                output: edge.output.clone(),
                by_function: matches!(edge.partitioning, Some(Partitioning::Hash | Partitioning::Custom)),
                schema,
            });
        }
        ProgramListing::new(operators)
    }
}

fn logical_operator(node: &StreamNode) -> LogicalOperator {
    let logic = match (node.kind, node.keyed) {
        (NodeKind::Source { .. }, _) => "source",
        (NodeKind::Operator, false) => "operator",
        (NodeKind::Operator, true) => "keyed operator",
        (NodeKind::Sink, false) => "sink",
        (NodeKind::Sink, true) => "keyed sink",
    };
    LogicalOperator {
        operator: node.operator,
        name: node.display_name(),
        logic: logic.to_owned(),
        inputs: Vec::new(),
        output_schema: node.output_schema.clone(),
    }
}
