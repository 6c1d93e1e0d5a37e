//! Plans of small programs, and what holds of the plans of all.

use proptest::prelude::*;

use super::*;
use crate::job_graph::{EdgeKey, JobGraph, OutputPort, Partitioning};
use crate::testing_data::{
    SETTINGS, any_data_graph, batch_word_count, data_graph, data_node, flat_map, join, join_of_counts,
    reduce, sink, source,
};

fn plan(graph: &DataGraph) -> OptimizedPlan {
    graph.optimize(SETTINGS).unwrap()
}

/// The plan and the job that runs it.
fn shown(graph: &DataGraph) -> String {
    let plan = plan(graph);
    format!("{}\n{}", plan.describe(), plan.to_job_graph().unwrap().describe())
}

#[test]
fn word_count_is_combined_before_the_exchange() {
    insta::assert_snapshot!(shown(&batch_word_count()));
}

#[test]
fn word_count_as_json() {
    insta::assert_snapshot!(plan(&batch_word_count()).to_job_graph().unwrap().to_json());
}

#[test]
fn many_known_keys_are_sorted_and_hardly_repeating_ones_not_combined() {
    let aggregate = |groups| {
        let kind = DataOperator::Aggregate { key: KeyId(0), combinable: true, groups: Some(groups) };
        let graph = data_graph(vec![
            source("lines", Some(10_000)),
            data_node("Count", kind, &[0]),
            sink("counts", 1),
        ]);
        let nodes = plan(&graph).nodes;
        nodes.iter().map(|node| node.key.variant).collect::<Vec<_>>()
    };
    use Variant::*;
    assert_eq!(aggregate(100), [Default, Combine, FinalHashAggregate, Default]);
    assert_eq!(aggregate(500), [Default, Combine, FinalSortAggregate, Default]);
    assert_eq!(aggregate(1000), [Default, SortAggregate, Default]);
}

#[test]
fn a_small_side_is_broadcast_and_the_large_one_stays() {
    let nodes = vec![
        source("orders", Some(1_000_000)),
        source("countries", Some(1000)),
        join((0, 1), 0, 1),
        sink("joined", 2),
    ];
    insta::assert_snapshot!(shown(&data_graph(nodes)));
}

#[test]
fn sides_of_unknown_size_are_partitioned_and_pipelined() {
    let nodes = vec![
        source("orders", None),
        source("customers", None),
        join((0, 1), 0, 1),
        data_node("Sort", DataOperator::SortPartition, &[2]),
        sink("joined", 3),
    ];
    insta::assert_snapshot!(shown(&data_graph(nodes)));
}

#[test]
fn a_common_ancestor_makes_both_inputs_of_a_join_block() {
    insta::assert_snapshot!(shown(&join_of_counts()));
}

#[test]
fn a_join_with_itself_blocks() {
    let graph = data_graph(vec![source("lines", None), join((0, 0), 0, 0), sink("joined", 1)]);
    let plan = plan(&graph);
    assert!(plan.nodes[1].inputs.iter().all(|input| input.mode == ExchangeMode::Blocking));
    plan.to_job_graph().unwrap();
}

#[test]
fn two_joins_that_hold_up_each_other_s_inputs_block() {
    // Each alone could be pipelined: its inputs come from different sources.
    let graph = data_graph(vec![
        source("a", None),
        source("b", None),
        DataNode { name: "first".into(), ..join((0, 1), 0, 1) },
        DataNode {
            operator: flott_core::ids::OperatorId::from_position("second"),
            name: "second".into(),
            ..join((1, 0), 1, 0)
        },
        sink("first joined", 2),
        sink("second joined", 3),
    ]);
    let plan = plan(&graph);
    let blocking =
        |node: usize| plan.nodes[node].inputs.iter().any(|input| input.mode == ExchangeMode::Blocking);
    assert!(blocking(2) || blocking(3));
    plan.to_job_graph().unwrap();
}

#[test]
fn partitioning_by_the_same_key_is_used_again() {
    let filter = DataOperator::Filter { selectivity: Some(0.5) };
    let distinct = DataOperator::Distinct { key: KeyId(0), groups: None };
    let nodes = vec![
        source("lines", None),
        reduce("Count", 0, 0),
        data_node("Filter", filter, &[1]),
        data_node("Distinct", distinct, &[2]),
        source("others", None),
        join((0, 7), 3, 4),
        sink("joined", 5),
    ];
    insta::assert_snapshot!(shown(&data_graph(nodes)));
}

#[test]
fn partitioning_is_not_used_again_in_other_subtasks_or_by_other_keys() {
    let sent = |change: fn(&mut DataNode)| {
        let mut again = reduce("Again", 0, 1);
        change(&mut again);
        let graph = data_graph(vec![source("lines", None), reduce("Count", 0, 0), again, sink("counts", 2)]);
        let plan = plan(&graph);
        let again = plan.nodes.iter().rfind(|node| node.name == "Again").unwrap();
        again.inputs[0].ship != ShipStrategy::Forward
    };
    assert!(!sent(|_| ()));
    assert!(sent(|again| again.parallelism = Some(3)));
    assert!(sent(|again| *again = reduce("Again", 1, 1)));
}

#[test]
fn a_single_subtask_needs_no_exchange() {
    let graph = DataGraph { default_parallelism: 1, ..batch_word_count() };
    let job = plan(&graph).to_job_graph().unwrap();
    assert_eq!(job.vertices.len(), 2);
    assert_eq!(job.vertices[1].name, "Source: lines -> Flat Map -> Count -> Sink: counts");
}

#[test]
fn what_no_sink_reads_does_not_run_but_is_of_the_program() {
    let mut graph = batch_word_count();
    let jobs_without = plan(&graph);
    graph
        .nodes
        .push(DataNode { operator: flott_core::ids::OperatorId::from_position("unread"), ..flat_map(0) });
    let jobs_with = plan(&graph);
    assert_eq!(jobs_with.nodes, jobs_without.nodes);
    assert_ne!(jobs_with.program.hash(), jobs_without.program.hash());
}

#[test]
fn errors_name_the_operator_and_the_line() {
    let error_of = |change: fn(&mut DataGraph)| {
        let mut graph = batch_word_count();
        change(&mut graph);
        graph.optimize(SETTINGS).unwrap_err().to_string()
    };
    let errors = [
        error_of(|g| g.nodes.clear()),
        error_of(|g| drop(g.nodes.pop())),
        error_of(|g| g.nodes[1].parallelism = Some(0)),
        error_of(|g| drop(g.configuration.insert("pipeline.max-parallelism".into(), "3".into()))),
        error_of(|g| g.default_parallelism = 0),
        error_of(|g| g.nodes[1].operator = g.nodes[2].operator),
        error_of(|g| g.nodes[2].inputs.clear()),
        error_of(|g| g.nodes[1].inputs[0] = DataNodeId(1)),
    ];
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn the_memory_of_a_slot_comes_from_the_configuration_of_the_task_managers() {
    let memory = |settings: &[&str]| {
        let mut configuration = Configuration::new();
        settings.iter().for_each(|setting| configuration.set_override(setting).unwrap());
        OptimizerSettings::of(&configuration).slot_memory >> 20
    };
    assert_eq!(memory(&[]), 691);
    assert_eq!(memory(&["taskmanager.numberOfTaskSlots=4"]), 172);
    assert_eq!(memory(&["taskmanager.memory.managed.size=256 mb", "taskmanager.numberOfTaskSlots=2"]), 128);
}

/// The edges of a job, inside and between vertices.
fn edges_of(job: &JobGraph) -> Vec<(EdgeKey, Partitioning)> {
    let inside = job.vertices.iter().flat_map(|vertex| {
        let edges = (0..vertex.operators.len()).filter_map(|position| vertex.chain_edge(position));
        edges.map(|edge| (edge, Partitioning::Forward))
    });
    inside.chain(job.edges.iter().map(|edge| (edge.key.clone(), edge.partitioning))).collect()
}

proptest! {
    #[test]
    fn every_plan_is_among_the_alternatives_and_makes_a_valid_job(graph in any_data_graph()) {
        let plan = plan(&graph);
        let job = plan.to_job_graph().unwrap();
        prop_assert_eq!(JobGraph::decode(&job.encode()), Ok(job.clone()));
        let alternatives = graph.alternatives();
        for vertex in &job.vertices {
            for operator in &vertex.operators {
                prop_assert!(alternatives.operators.contains(&operator.key), "{}", operator.name);
            }
        }
        for (edge, partitioning) in edges_of(&job) {
            let known = alternatives.edges.iter().find(|known| known.key == edge);
            prop_assert!(known.is_some(), "{:?}", edge);
            let can_be_hashed = known.is_some_and(|known| known.partitioned_by.is_some());
            prop_assert!(partitioning != Partitioning::Hash || can_be_hashed);
            prop_assert_eq!(&edge.output, &OutputPort::Main);
        }
    }

    #[test]
    fn the_job_keeps_the_modes_of_the_plan(graph in any_data_graph()) {
        let plan = plan(&graph);
        let mut graph = graph;
        graph.configuration.insert("pipeline.operator-chaining.enabled".into(), "false".into());
        let unchained = graph.optimize(SETTINGS).unwrap().to_job_graph().unwrap();
        let blocking = unchained.edges.iter().filter(|edge| edge.mode == ExchangeMode::Blocking).count();
        let planned = plan.nodes.iter().flat_map(|node| &node.inputs);
        prop_assert_eq!(blocking, planned.filter(|input| input.mode == ExchangeMode::Blocking).count());
    }

    #[test]
    fn no_join_can_hold_up_what_it_waits_for(graph in any_data_graph()) {
        let plan = plan(&graph);
        for (position, node) in plan.nodes.iter().enumerate() {
            let LocalStrategy::HybridHashJoin { build } = node.local else { continue };
            // What runs together with each input, without going through the join or a blocking exchange.
            let reach = |wanted: bool| {
                let inputs = node.inputs.iter().filter(|input| (input.input == build.input()) == wanted);
                let inputs = inputs.filter(|input| input.mode == ExchangeMode::Pipelined);
                let mut reached: BTreeSet<usize> = inputs.map(|input| input.source.0).collect();
                loop {
                    let before = reached.len();
                    for (target, other) in plan.nodes.iter().enumerate().filter(|(target, _)| *target != position) {
                        for input in other.inputs.iter().filter(|input| {
                            input.mode == ExchangeMode::Pipelined && input.source.0 != position
                        }) {
                            if reached.contains(&target) || reached.contains(&input.source.0) {
                                reached.extend([target, input.source.0]);
                            }
                        }
                    }
                    if reached.len() == before {
                        return reached;
                    }
                }
            };
            prop_assert!(reach(true).is_disjoint(&reach(false)), "{}", plan.describe());
        }
    }

    #[test]
    fn the_program_does_not_depend_on_the_plan(graph in any_data_graph()) {
        let small = graph.optimize(OptimizerSettings { slot_memory: 0 }).unwrap();
        let large = graph.optimize(OptimizerSettings { slot_memory: u64::MAX }).unwrap();
        prop_assert_eq!(small.program.hash(), large.program.hash());
        let wider = DataGraph { default_parallelism: graph.default_parallelism + 1, ..graph };
        prop_assert_eq!(wider.program().hash(), large.program.hash());
    }

    #[test]
    fn equal_keys_meet(graph in any_data_graph()) {
        simulation::run(&graph, &plan(&graph));
    }
}
