//! Graphs for the tests of this crate.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use flott_core::ids::OperatorId;

use crate::job_graph::{ExecutionMode, JobGraph, Origin, OutputPort, Partitioning};
use crate::stream_graph::{Chaining, NodeId, NodeKind, StreamEdge, StreamGraph, StreamNode};

pub(crate) const SOURCE: NodeKind = NodeKind::Source { bounded: true };

pub(crate) fn node(name: &str, kind: NodeKind, line: u32) -> StreamNode {
    StreamNode {
        operator: OperatorId::from_position(name),
        name: name.to_owned(),
        uid: None,
        origin: Origin { file: "src/main.rs".into(), line },
        kind,
        parallelism: None,
        non_parallel: false,
        max_parallelism: None,
        slot_sharing_group: None,
        chaining: Chaining::Always,
        keyed: false,
        stateful: false,
        watermark_group: None,
        reads: Vec::new(),
        managed_memory_weight: 0,
        batch_variant: None,
        input_schemas: vec!["String".into()],
        output_schema: "String".into(),
    }
}

pub(crate) fn edge(source: usize, target: usize, partitioning: Option<Partitioning>) -> StreamEdge {
    StreamEdge {
        source: NodeId(source),
        output: OutputPort::Main,
        target: NodeId(target),
        input: 0,
        partitioning,
        buffer_timeout_ms: Some(10),
    }
}

pub(crate) fn graph(nodes: Vec<StreamNode>, edges: Vec<StreamEdge>) -> StreamGraph {
    StreamGraph {
        name: "test".into(),
        mode: ExecutionMode::Streaming,
        nodes,
        edges,
        default_parallelism: 2,
        configuration: Default::default(),
    }
}

/// `lines → Flat Map ═ by key ═ Count → print`.
pub(crate) fn word_count() -> StreamGraph {
    let count = StreamNode {
        keyed: true,
        stateful: true,
        watermark_group: None,
        uid: Some("count".into()),
        managed_memory_weight: 1,
        ..node("Count", NodeKind::Operator, 12)
    };
    graph(
        vec![
            node("lines", SOURCE, 10),
            node("Flat Map", NodeKind::Operator, 11),
            count,
            node("print", NodeKind::Sink, 13),
        ],
        vec![edge(0, 1, None), edge(1, 2, Some(Partitioning::Hash)), edge(2, 3, None)],
    )
}

/// How a generated node reads another: which one, how its records are spread, by which output.
type Reading = (Index, u8, bool);

fn partitioning(choice: u8) -> Option<Partitioning> {
    // Half of the edges leave the choice to the planner, so that there are chains.
    let choices = [
        Partitioning::Rebalance,
        Partitioning::Rescale,
        Partitioning::Shuffle,
        Partitioning::Broadcast,
        Partitioning::Hash,
        Partitioning::Custom,
    ];
    choices.get(usize::from(choice)).copied()
}

/// A node that reads others before it: one input is a union of all it reads, or each is an input of its own.
fn any_operator() -> impl Strategy<Value = (StreamNode, bool, Vec<Reading>)> {
    let chaining =
        prop_oneof![5 => Just(Chaining::Always), 1 => Just(Chaining::Head), 1 => Just(Chaining::Never)];
    let group =
        proptest::option::weighted(0.1, prop_oneof![Just("slow".to_owned()), Just("fast".to_owned())]);
    let parallelism = proptest::option::weighted(0.2, 1_u32..5);
    let readings = vec((any::<Index>(), 0_u8..12, any::<bool>()), 1..4);
    let uid = any::<bool>();
    let traits = (chaining, group, parallelism, uid, any::<bool>(), 0_u32..3);
    (traits, any::<bool>(), readings).prop_map(|(traits, union, readings)| {
        let (chaining, slot_sharing_group, parallelism, has_uid, stateful, managed_memory_weight) = traits;
        let node = StreamNode {
            chaining,
            slot_sharing_group,
            parallelism,
            uid: has_uid.then(String::new),
            stateful,
            watermark_group: None,
            managed_memory_weight,
            ..node("", NodeKind::Operator, 1)
        };
        (node, union, readings)
    })
}

/// Any StreamGraph that is right.
pub(crate) fn any_stream_graph() -> impl Strategy<Value = StreamGraph> {
    let sources = 1_usize..4;
    let mode = prop_oneof![Just(ExecutionMode::Streaming), Just(ExecutionMode::Batch)];
    (sources, vec(any_operator(), 0..16), 1_u32..5, mode).prop_map(
        |(sources, operators, parallelism, mode)| {
            let mut nodes: Vec<StreamNode> =
                (0..sources).map(|at| node(&format!("source {at}"), SOURCE, at as u32)).collect();
            let mut edges = Vec::new();
            for (mut operator, union, readings) in operators {
                let at = nodes.len();
                operator.name = format!("Op {at}");
                operator.uid = operator.uid.map(|_| format!("uid {at}"));
                operator.operator = match &operator.uid {
                    Some(uid) => OperatorId::from_uid(uid),
                    None => OperatorId::from_position(&at.to_string()),
                };
                for (input, (source, choice, side)) in (0..).zip(readings) {
                    let output = if side { OutputPort::Side("late".into()) } else { OutputPort::Main };
                    let edge = edge(source.index(at), at, partitioning(choice));
                    edges.push(StreamEdge { output, input: if union { 0 } else { input }, ..edge });
                }
                nodes.push(operator);
            }
            StreamGraph { default_parallelism: parallelism, mode, ..graph(nodes, edges) }
        },
    )
}

/// Any JobGraph that a planner can make of a DataStream program.
pub(crate) fn any_job_graph() -> impl Strategy<Value = JobGraph> {
    any_stream_graph().prop_map(|graph| graph.to_job_graph().unwrap())
}
