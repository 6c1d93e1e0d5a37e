use proptest::prelude::*;

use super::*;
use crate::job_graph::Origin;
use flott_core::ids::OperatorId;

fn node(name: &str, kind: NodeKind, line: u32) -> StreamNode {
    StreamNode {
        operator: OperatorId::from_position(name),
        name: name.to_owned(),
        uid: None,
        origin: Origin { file: "src/main.rs".into(), line },
        kind,
        parallelism: None,
        max_parallelism: None,
        slot_sharing_group: None,
        chaining: Chaining::Always,
        keyed: false,
        stateful: false,
        managed_memory_weight: 0,
        batch_variant: None,
        output_schema: "string".into(),
    }
}

fn edge(source: usize, target: usize, partitioning: Option<Partitioning>) -> StreamEdge {
    StreamEdge {
        source: NodeId(source),
        output: OutputPort::Main,
        target: NodeId(target),
        input: 0,
        partitioning,
        buffer_timeout_ms: Some(10),
    }
}

fn graph(nodes: Vec<StreamNode>, edges: Vec<StreamEdge>) -> StreamGraph {
    StreamGraph {
        name: "test".into(),
        mode: ExecutionMode::Streaming,
        nodes,
        edges,
        default_parallelism: 2,
        default_max_parallelism: None,
        chaining: true,
        configuration: Default::default(),
    }
}

fn word_count() -> StreamGraph {
    let count = StreamNode {
        keyed: true,
        stateful: true,
        managed_memory_weight: 1,
        ..node("Count", NodeKind::Operator, 12)
    };
    graph(
        vec![
            node("Source: lines", NodeKind::Source, 10),
            node("Flat Map", NodeKind::Operator, 11),
            count,
            node("Sink: print", NodeKind::Sink, 13),
        ],
        vec![edge(0, 1, None), edge(1, 2, Some(Partitioning::Hash)), edge(2, 3, None)],
    )
}

#[test]
fn word_count_is_two_chains_behind_an_enumerator() {
    insta::assert_snapshot!(word_count().to_job_graph().unwrap().describe());
}

#[test]
fn word_count_as_json() {
    insta::assert_snapshot!(word_count().to_job_graph().unwrap().to_json());
}

#[test]
fn batch_mode_blocks_where_records_change_places() {
    let batch = StreamGraph { mode: ExecutionMode::Batch, ..word_count() };
    insta::assert_snapshot!(batch.to_job_graph().unwrap().describe());
}

#[test]
fn chains_branch_and_groups_split_them() {
    let mut graph = word_count();
    graph.nodes.push(node("Sink: files", NodeKind::Sink, 14));
    graph.edges.push(edge(2, 4, None));
    graph.nodes.push(StreamNode {
        slot_sharing_group: Some("slow".into()),
        chaining: Chaining::Head,
        ..node("Enrich", NodeKind::Operator, 15)
    });
    graph.edges.push(edge(2, 5, None));
    graph.nodes.push(node("Sink: socket", NodeKind::Sink, 16));
    graph.edges.push(StreamEdge { output: OutputPort::Side("late".into()), ..edge(5, 6, None) });
    insta::assert_snapshot!(graph.to_job_graph().unwrap().describe());
}

fn error_of(change: impl FnOnce(&mut StreamGraph)) -> String {
    let mut graph = word_count();
    change(&mut graph);
    graph.to_job_graph().unwrap_err().to_string()
}

#[test]
fn errors_name_the_operator_and_the_line() {
    let errors = [
        error_of(|g| g.nodes.clear()),
        error_of(|g| g.edges[1].partitioning = None),
        error_of(|g| {
            g.nodes[1].uid = Some("x".into());
            g.nodes[2].uid = Some("x".into());
        }),
        error_of(|g| g.nodes[1].parallelism = Some(0)),
        error_of(|g| g.nodes[2].max_parallelism = Some(1)),
        error_of(|g| g.nodes[2].max_parallelism = Some(40_000)),
        error_of(|g| {
            g.edges[0].partitioning = Some(Partitioning::Forward);
            g.nodes[1].parallelism = Some(3);
        }),
    ];
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_failure_restarts_its_region_only() {
    let mut graph = word_count();
    graph.nodes.push(node("Source: other", NodeKind::Source, 20));
    graph.nodes.push(node("Sink: other", NodeKind::Sink, 21));
    graph.edges.push(edge(4, 5, None));
    let job = graph.to_job_graph().unwrap();
    assert_eq!(job.pipelined_regions().len(), 2);
    let failed = flott_core::ids::SubtaskId { vertex: VertexId(2), index: 1 };
    let vertices: Vec<u32> = job.restart_set(&[failed], |_| true).iter().map(|s| s.vertex.0).collect();
    assert_eq!(vertices, [0, 1, 1, 2, 2]);
    assert_eq!(job.slots_needed(), 2);
}

#[test]
fn a_lost_blocking_result_is_produced_again() {
    let batch = StreamGraph { mode: ExecutionMode::Batch, ..word_count() };
    let job = batch.to_job_graph().unwrap();
    let failed = flott_core::ids::SubtaskId { vertex: VertexId(2), index: 1 };
    assert_eq!(job.restart_set(&[failed], |_| true).len(), 1);
    assert_eq!(job.restart_set(&[failed], |producer| producer.index == 0).len(), 5);
    let reader = flott_core::ids::SubtaskId { vertex: VertexId(1), index: 0 };
    assert_eq!(job.restart_set(&[reader], |_| true).len(), 5);
}

proptest! {
    /// Any graph of forward and hash edges: every operator stands in one chain, every edge is in a chain or between two, and
    /// ids do not depend on parallelism.
    #[test]
    fn nothing_is_lost_or_doubled(
        shape in proptest::collection::vec((any::<proptest::sample::Index>(), any::<bool>(), 0_u8..3), 1..20),
        parallelism in 1_u32..5,
    ) {
        let mut nodes = vec![node("Source", NodeKind::Source, 0)];
        let mut edges = Vec::new();
        for (at, (input, hash, chaining)) in shape.iter().enumerate() {
            let chaining = [Chaining::Always, Chaining::Head, Chaining::Never][usize::from(*chaining)];
            nodes.push(StreamNode { chaining, ..node(&format!("Op {at}"), NodeKind::Operator, 1) });
            edges.push(edge(input.index(at + 1), at + 1, hash.then_some(Partitioning::Hash)));
        }
        let graph = StreamGraph { default_parallelism: parallelism, ..graph(nodes, edges) };
        let job = graph.to_job_graph().unwrap();
        let mut names: Vec<_> = job.vertices.iter().flat_map(|v| v.operators.iter().map(|o| o.key)).collect();
        prop_assert_eq!(names.len(), graph.nodes.len() + 1);
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), graph.nodes.len() + 1);
        let inside: usize = job.vertices.iter().map(|v| v.operators.len() - 1).sum();
        prop_assert_eq!(inside + job.edges.len() - 1, graph.edges.len());
        for edge in &job.edges {
            prop_assert!(edge.source < edge.target, "producers come first");
        }
        let other = StreamGraph { default_parallelism: parallelism + 1, chaining: false, ..graph };
        prop_assert_eq!(job.first_difference(&other.program()), None);
        let regions = job.pipelined_regions();
        prop_assert_eq!(regions.iter().map(|region| region.len()).sum::<usize>(), job.subtasks().count());
    }
}
