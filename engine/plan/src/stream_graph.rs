//! The StreamGraph: what a DataStream program says, operator by operator, before any physical decision.

use std::collections::BTreeMap;

use flott_core::ids::OperatorId;

use crate::job_graph::{ExecutionMode, OperatorKey, Origin, OutputPort, Partitioning, Variant};

/// A node's position in [`StreamGraph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Reads from outside: becomes an enumerator and readers.
    Source,
    /// Works on records.
    Operator,
    /// Writes to the outside.
    Sink,
}

/// Whether an operator may share its subtask with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chaining {
    /// With those before and behind it.
    Always,
    /// With those behind it only.
    Head,
    /// With none.
    Never,
}

/// A DataStream program.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamGraph {
    /// The job's name.
    pub name: String,
    /// How it runs.
    pub mode: ExecutionMode,
    /// The operators, each behind those that feed it.
    pub nodes: Vec<StreamNode>,
    /// Who feeds whom.
    pub edges: Vec<StreamEdge>,
    /// The parallelism of operators that say none.
    pub default_parallelism: u32,
    /// The max parallelism of operators that say none; none: by their parallelism.
    pub default_max_parallelism: Option<u32>,
    /// Whether operators are chained at all.
    pub chaining: bool,
    /// What was set, by key.
    pub configuration: BTreeMap<String, String>,
}

/// An operator of a DataStream program.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamNode {
    /// Its id: by uid or position.
    pub operator: OperatorId,
    /// Its name.
    pub name: String,
    /// Its uid, if the user gave one.
    pub uid: Option<String>,
    /// Where the user made it.
    pub origin: Origin,
    /// What it is.
    pub kind: NodeKind,
    /// Its parallelism, if the user said.
    pub parallelism: Option<u32>,
    /// Its max parallelism, if the user said.
    pub max_parallelism: Option<u32>,
    /// Its slot sharing group, if the user said.
    pub slot_sharing_group: Option<String>,
    /// Whether it may be chained.
    pub chaining: Chaining,
    /// Whether it works on keyed streams only.
    pub keyed: bool,
    /// Whether it has state.
    pub stateful: bool,
    /// Its share of managed memory.
    pub managed_memory_weight: u32,
    /// The alternative that runs in batch mode, if another than the default does.
    pub batch_variant: Option<Variant>,
    /// What it emits.
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
    /// Which of its inputs; several edges into one input are a union.
    pub input: u32,
    /// How records are spread; none: forward where the parallelism is equal, else rebalance.
    pub partitioning: Option<Partitioning>,
    /// See [`JobEdge::buffer_timeout_ms`](crate::JobEdge::buffer_timeout_ms).
    pub buffer_timeout_ms: Option<u32>,
}

impl StreamGraph {
    /// The operator of a node, in the alternative that this graph's mode asks for.
    pub(crate) fn key(&self, node: &StreamNode) -> OperatorKey {
        let variant = node.batch_variant.filter(|_| self.mode == ExecutionMode::Batch);
        OperatorKey::variant(node.operator, variant.unwrap_or(Variant::Default))
    }

    /// Operators with state that have no uid: their state is lost when the program around them changes.
    pub fn stateful_without_uid(&self) -> impl Iterator<Item = &StreamNode> {
        self.nodes.iter().filter(|node| node.stateful && node.uid.is_none())
    }

    /// The logical plan as lines: ids, inputs and schemas, nothing of parallelism, chaining or strategy.
    pub fn program(&self) -> Vec<String> {
        let line = |(position, node): (usize, &StreamNode)| {
            let inputs = self.edges.iter().filter(|edge| edge.target.0 == position).map(|edge| {
                let output = match &edge.output {
                    OutputPort::Main => String::new(),
                    OutputPort::Side(tag) => format!("/{tag}"),
                };
                let partitioning = match edge.partitioning {
                    Some(partitioning @ (Partitioning::Hash | Partitioning::Custom)) => partitioning.name(),
                    _ => "",
                };
                format!("{}{output}→{}{partitioning}", self.nodes[edge.source.0].operator, edge.input)
            });
            let inputs: Vec<_> = inputs.collect();
            format!("{} '{}' [{}] {}", node.operator, node.name, inputs.join(" "), node.output_schema)
        };
        self.nodes.iter().enumerate().map(line).collect()
    }
}
