//! DataGraphs for the tests of this crate.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use flott_core::ids::OperatorId;

use crate::data_graph::{DataGraph, DataNode, DataNodeId, DataOperator, Estimate, ForwardedKey, KeyId};
use crate::job_graph::Origin;
use crate::optimizer::OptimizerSettings;

/// 1,200 bytes a slot: small, so that small numbers decide.
pub(crate) const SETTINGS: OptimizerSettings = OptimizerSettings { slot_memory: 1200 };

pub(crate) fn data_node(name: &str, kind: DataOperator, inputs: &[usize]) -> DataNode {
    DataNode {
        operator: OperatorId::from_position(name),
        name: name.to_owned(),
        uid: None,
        origin: Origin { file: "src/main.rs".into(), line: name.len() as u32 },
        kind,
        inputs: inputs.iter().copied().map(DataNodeId).collect(),
        reads: vec![],
        forwarded_keys: vec![],
        parallelism: None,
        non_parallel: false,
        blocking: false,
        input_schemas: vec!["String".into(); inputs.len()],
        output_schema: "String".into(),
    }
}

pub(crate) fn data_graph(nodes: Vec<DataNode>) -> DataGraph {
    DataGraph { name: "test".into(), nodes, default_parallelism: 4, configuration: Default::default() }
}

pub(crate) fn source(name: &str, bytes: Option<u64>) -> DataNode {
    let estimate = Estimate { bytes, records: bytes.map(|bytes| bytes / 10) };
    data_node(name, DataOperator::Source { estimate }, &[])
}

pub(crate) fn flat_map(input: usize) -> DataNode {
    data_node("Flat Map", DataOperator::Map { selectivity: None, record_bytes: None }, &[input])
}

/// A reduce, which keeps its key.
pub(crate) fn reduce(name: &str, key: u32, input: usize) -> DataNode {
    let key = KeyId(key);
    DataNode {
        forwarded_keys: vec![ForwardedKey { input: 0, from: key, to: key }],
        ..data_node(name, DataOperator::Aggregate { key, combinable: true, groups: None }, &[input])
    }
}

pub(crate) fn join(keys: (u32, u32), left: usize, right: usize) -> DataNode {
    data_node("Join", DataOperator::Join { left: KeyId(keys.0), right: KeyId(keys.1) }, &[left, right])
}

pub(crate) fn sink(name: &str, input: usize) -> DataNode {
    data_node(name, DataOperator::Sink, &[input])
}

/// `lines → Flat Map → Count → counts`.
pub(crate) fn batch_word_count() -> DataGraph {
    data_graph(vec![source("lines", Some(1_000_000)), flat_map(0), reduce("Count", 0, 1), sink("counts", 2)])
}

/// The counts of the words of two files, joined: `(lines ∪ more) → Count ⋈ lines → joined`.
pub(crate) fn join_of_counts() -> DataGraph {
    data_graph(vec![
        source("lines", None),
        source("more", None),
        data_node("Union", DataOperator::Union, &[0, 1]),
        reduce("Count", 0, 2),
        join((0, 1), 3, 0),
        sink("joined", 4),
    ])
}

/// What a generated node does; keys are few, so that they meet.
fn any_operator() -> impl Strategy<Value = DataOperator> {
    let key = || (0_u32..3).prop_map(KeyId);
    let groups = || proptest::option::of(1_u64..200);
    let selectivity = || proptest::option::of(0.1_f64..3.0);
    prop_oneof![
        (selectivity(), proptest::option::of(1_u64..50))
            .prop_map(|(selectivity, record_bytes)| DataOperator::Map { selectivity, record_bytes }),
        selectivity().prop_map(|selectivity| DataOperator::Filter { selectivity }),
        (key(), any::<bool>(), groups()).prop_map(|(key, combinable, groups)| DataOperator::Aggregate {
            key,
            combinable,
            groups
        }),
        (key(), any::<bool>(), groups()).prop_map(|(key, combinable, groups)| DataOperator::GroupReduce {
            key,
            combinable,
            groups
        }),
        (key(), groups()).prop_map(|(key, groups)| DataOperator::Distinct { key, groups }),
        (key(), key()).prop_map(|(left, right)| DataOperator::Join { left, right }),
        (key(), key()).prop_map(|(left, right)| DataOperator::Join { left, right }),
        Just(DataOperator::Union),
        Just(DataOperator::SortPartition),
        Just(DataOperator::Sink),
    ]
}

type AnyNode = (DataOperator, Vec<Index>, Option<u32>, Vec<(u32, u32, u32)>);

fn any_node() -> impl Strategy<Value = AnyNode> {
    let forwarded = vec((0_u32..2, 0_u32..3, 0_u32..3), 0..3);
    (any_operator(), vec(any::<Index>(), 3), proptest::option::weighted(0.2, 1_u32..5), forwarded)
}

/// Any DataGraph that is right.
pub(crate) fn any_data_graph() -> impl Strategy<Value = DataGraph> {
    let sources = vec(proptest::option::of(0_u64..5000), 1..4);
    (sources, vec(any_node(), 0..16), 1_u32..5).prop_map(|(sources, others, default_parallelism)| {
        let mut nodes: Vec<DataNode> = sources
            .into_iter()
            .enumerate()
            .map(|(at, bytes)| source(&format!("source {at}"), bytes))
            .collect();
        for (kind, inputs, parallelism, forwarded) in others {
            // A sink gives nothing to read.
            let readable: Vec<usize> =
                (0..nodes.len()).filter(|at| nodes[*at].kind != DataOperator::Sink).collect();
            let arity = kind.arity().unwrap_or(inputs.len());
            let inputs: Vec<usize> = inputs[..arity].iter().map(|input| *input.get(&readable)).collect();
            let mut forwarded_keys: Vec<ForwardedKey> = forwarded
                .into_iter()
                .map(|(input, from, to)| ForwardedKey { input, from: KeyId(from), to: KeyId(to) })
                .collect();
            // Promises that can be kept: a key that goes out comes from one place, and a record that is kept is kept.
            forwarded_keys.sort_by_key(|forwarded| forwarded.to);
            forwarded_keys.dedup_by_key(|forwarded| forwarded.to);
            if kind.keeps_records() {
                forwarded_keys.clear();
            }
            let name = format!("node {}", nodes.len());
            nodes.push(DataNode { parallelism, forwarded_keys, ..data_node(&name, kind, &inputs) });
        }
        let last = (0..nodes.len()).rev().find(|at| nodes[*at].kind != DataOperator::Sink).unwrap();
        nodes.push(sink("last", last));
        DataGraph { default_parallelism, ..data_graph(nodes) }
    })
}
