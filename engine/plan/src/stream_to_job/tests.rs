//! Plans of small programs, and what holds of the plans of all.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::job_graph::{EdgeKey, OutputPort, Variant, VertexRole};
use crate::stream_graph::{Chaining, StreamNode};
use crate::testing::{SOURCE, any_stream_graph, edge, graph, node, word_count};

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
fn batch_mode_blocks_where_a_direct_way_goes_around_an_exchange() {
    // Lines go to the join directly and by way of a hash exchange.
    let mut graph = word_count();
    graph.nodes.push(node("Join", NodeKind::Operator, 14));
    graph.edges.push(edge(2, 4, None));
    graph.edges.push(StreamEdge { input: 1, ..edge(1, 4, None) });
    insta::assert_snapshot!(
        StreamGraph { mode: ExecutionMode::Batch, ..graph }.to_job_graph().unwrap().describe()
    );
}

#[test]
fn chains_branch_and_groups_split_them() {
    let mut graph = word_count();
    graph.nodes.push(node("files", NodeKind::Sink, 14));
    graph.edges.push(edge(2, 4, None));
    graph.nodes.push(StreamNode {
        slot_sharing_group: Some("slow".into()),
        chaining: Chaining::Head,
        ..node("Enrich", NodeKind::Operator, 15)
    });
    graph.edges.push(edge(2, 5, None));
    graph.nodes.push(node("Map", NodeKind::Operator, 16));
    graph.edges.push(edge(5, 6, None));
    graph.nodes.push(node("socket", NodeKind::Sink, 17));
    graph.edges.push(StreamEdge { output: OutputPort::Side("late".into()), ..edge(5, 7, None) });
    graph.nodes.push(node("print", NodeKind::Sink, 18));
    graph.edges.push(edge(6, 8, None));
    graph.nodes[8].operator = flott_core::ids::OperatorId::from_position("8");
    insta::assert_snapshot!(graph.to_job_graph().unwrap().describe());
}

#[test]
fn unions_and_other_widths_are_exchanged() {
    let mut graph = word_count();
    graph.nodes.push(StreamNode { non_parallel: true, ..node("socket", SOURCE, 20) });
    graph.edges.push(edge(4, 1, None));
    graph.nodes[3].parallelism = Some(1);
    insta::assert_snapshot!(graph.to_job_graph().unwrap().describe());
}

#[test]
fn chaining_is_turned_off_by_the_configuration() {
    let mut graph = word_count();
    graph.configuration =
        [("pipeline.operator-chaining.enabled", "false"), ("pipeline.max-parallelism", "16")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    insta::assert_snapshot!(graph.to_job_graph().unwrap().describe());
}

#[test]
fn nodes_may_stand_in_any_order() {
    let mut graph = word_count();
    graph.nodes.reverse();
    for edge in &mut graph.edges {
        edge.source.0 = 3 - edge.source.0;
        edge.target.0 = 3 - edge.target.0;
    }
    let chains = |graph: &StreamGraph| -> Vec<String> {
        graph.to_job_graph().unwrap().vertices.into_iter().map(|vertex| vertex.name).collect()
    };
    assert_eq!(chains(&graph), chains(&word_count()));
}

#[test]
fn groups_are_inherited_where_all_inputs_agree() {
    let in_group = |group: &str, name, kind| StreamNode {
        slot_sharing_group: Some(group.into()),
        ..node(name, kind, 1)
    };
    let nodes = vec![
        in_group("a", "left", SOURCE),
        in_group("b", "right", SOURCE),
        node("Map", NodeKind::Operator, 2),
        node("Join", NodeKind::Operator, 3),
    ];
    let graph = graph(nodes, vec![edge(0, 2, None), edge(2, 3, None), edge(1, 3, None)]);
    let job = graph.to_job_graph().unwrap();
    let groups: Vec<&str> = job.vertices.iter().map(|vertex| vertex.slot_sharing_group.as_str()).collect();
    assert_eq!(groups, ["a", "a", "b", "b", "default"]);
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
        error_of(|g| g.edges[1].partitioning = Some(Partitioning::Broadcast)),
        error_of(|g| {
            g.nodes[1].uid = Some("x".into());
            g.nodes[2].uid = Some("x".into());
            g.nodes[1].operator = g.nodes[2].operator;
        }),
        error_of(|g| g.nodes[1].operator = g.nodes[0].operator),
        error_of(|g| g.nodes[1].parallelism = Some(0)),
        error_of(|g| g.default_parallelism = 0),
        error_of(|g| g.nodes[2].max_parallelism = Some(1)),
        error_of(|g| g.nodes[2].max_parallelism = Some(40_000)),
        error_of(|g| {
            g.nodes[0].non_parallel = true;
            g.nodes[0].parallelism = Some(2);
        }),
        error_of(|g| {
            g.edges[0].partitioning = Some(Partitioning::Forward);
            g.nodes[1].parallelism = Some(3);
        }),
        error_of(|g| {
            g.mode = ExecutionMode::Batch;
            g.nodes[0].kind = NodeKind::Source { bounded: false };
        }),
        error_of(|g| g.edges.push(edge(2, 1, None))),
        error_of(|g| g.edges.push(edge(2, 0, None))),
        error_of(|g| g.edges[2].input = 1),
        error_of(|g| drop(g.edges.pop())),
        error_of(|g| g.edges[2].target.0 = 9),
        error_of(|g| g.edges[2].partitioning = Some(Partitioning::Demand)),
        error_of(|g| drop(g.configuration.insert("pipeline.max-parallelism".into(), "many".into()))),
    ];
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn warnings_name_the_operator_and_the_line() {
    let mut graph = word_count();
    graph.nodes[2].uid = None;
    graph.nodes.push(node("Map", NodeKind::Operator, 14));
    graph.edges.push(edge(2, 4, None));
    let warnings: Vec<String> = graph.warnings().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"));
    assert_eq!(word_count().warnings(), []);
}

#[test]
fn a_keyed_operator_may_have_a_broadcast_input_beside_a_keyed_one() {
    let mut graph = word_count();
    graph.nodes.push(node("rules", SOURCE, 14));
    graph.edges.push(StreamEdge { input: 1, ..edge(4, 2, Some(Partitioning::Broadcast)) });
    graph.to_job_graph().unwrap();
    graph.edges[3].partitioning = None;
    assert!(matches!(graph.to_job_graph(), Err(PlanError::NotKeyed { .. })));
}

proptest! {
    #[test]
    fn nothing_is_lost_or_doubled(graph in any_stream_graph()) {
        let job = graph.to_job_graph().unwrap();
        prop_assert_eq!(job.validate(), Ok(()));

        // Every operator stands in exactly one vertex, every source has one enumerator more.
        let all = job.vertices.iter().flat_map(|vertex| vertex.operators.iter().map(|operator| operator.key));
        let (enumerators, operators): (Vec<_>, Vec<_>) = all.partition(|key| key.variant == Variant::Enumerator);
        let ids: BTreeSet<_> = operators.iter().map(|key| key.id).collect();
        prop_assert_eq!(operators.len(), graph.nodes.len());
        prop_assert_eq!(ids, graph.nodes.iter().map(|node| node.operator).collect());
        let is_source = |node: &&StreamNode| matches!(node.kind, NodeKind::Source { .. });
        prop_assert_eq!(enumerators.len(), graph.nodes.iter().filter(is_source).count());

        // Every edge is inside a chain or between two.
        let mut logical: Vec<EdgeKey> = graph.edges.iter().map(|edge| EdgeKey {
            source: OperatorKey::new(graph.nodes[edge.source.0].operator),
            output: edge.output.clone(),
            target: OperatorKey::new(graph.nodes[edge.target.0].operator),
            input: edge.input,
        }).collect();
        let inside = job.vertices.iter().flat_map(|vertex| {
            (0..vertex.operators.len()).filter_map(|position| vertex.chain_edge(position))
        });
        let between = job.edges.iter().filter(|edge| edge.partitioning != Partitioning::Demand);
        let mut physical: Vec<EdgeKey> = inside.chain(between.map(|edge| edge.key.clone())).collect();
        logical.sort();
        physical.sort();
        prop_assert_eq!(logical, physical);
    }

    #[test]
    fn ids_do_not_depend_on_what_is_physical(graph in any_stream_graph()) {
        let job = graph.to_job_graph().unwrap();
        let mut other = StreamGraph { default_parallelism: graph.default_parallelism + 1, ..graph };
        other.configuration.insert("pipeline.operator-chaining.enabled".into(), "false".into());
        for node in &mut other.nodes {
            node.parallelism = None;
        }
        let other = other.to_job_graph().unwrap();
        prop_assert_eq!(job.program_hash, other.program_hash);
        prop_assert_eq!(job.program.first_difference(&other.program), None);
        let keys = |job: &JobGraph| -> BTreeSet<OperatorKey> {
            job.vertices.iter().flat_map(|vertex| vertex.operators.iter().map(|operator| operator.key)).collect()
        };
        prop_assert_eq!(keys(&job), keys(&other));
    }

    #[test]
    fn modes_and_widths_are_what_they_must_be(graph in any_stream_graph()) {
        let job = graph.to_job_graph().unwrap();
        let width: BTreeMap<_, _> = graph
            .nodes
            .iter()
            .map(|node| (node.operator, node.parallelism.unwrap_or(graph.default_parallelism)))
            .collect();
        for vertex in job.vertices.iter().filter(|vertex| vertex.role == VertexRole::Subtasks) {
            for operator in &vertex.operators {
                prop_assert_eq!(vertex.parallelism, width[&operator.key.id]);
            }
        }
        for edge in &job.edges {
            let may_pipeline = matches!(edge.partitioning, Partitioning::Forward | Partitioning::Demand);
            if job.mode == ExecutionMode::Streaming {
                prop_assert_eq!(edge.mode, ExchangeMode::Pipelined);
            } else if !may_pipeline {
                prop_assert_eq!(edge.mode, ExchangeMode::Blocking);
            }
            if edge.partitioning == Partitioning::Demand {
                prop_assert_eq!(edge.mode, ExchangeMode::Pipelined);
            }
        }
    }
}
