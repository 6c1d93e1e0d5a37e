//! Runs plans on small records, to see that what must meet meets. A record is its three keys.

use std::collections::BTreeMap;

use crate::data_graph::{DataGraph, DataNode, DataOperator, KeyId};
use crate::job_graph::Variant;
use crate::optimized_plan::{LocalStrategy, OptimizedPlan, PlanInput, PlanNode, ShipStrategy};

type Record = [u8; 3];

/// The records of each subtask.
type Spread = Vec<Vec<Record>>;

/// More records than these would only take time.
const MOST: usize = 40;

/// Runs a plan, and fails the test where an aggregation gets a key in two subtasks or a join misses a pair or has it twice.
pub(super) fn run(graph: &DataGraph, plan: &OptimizedPlan) {
    let mut given: Vec<Spread> = Vec::new();
    for (seed, node) in plan.nodes.iter().enumerate() {
        let logical = graph.nodes.iter().find(|logical| logical.operator == node.key.id).unwrap();
        let mut output = run_node(logical, node, &given, seed as u8);
        let mut left = MOST;
        for records in &mut output {
            records.truncate(left);
            left -= records.len();
        }
        given.push(output);
    }
}

fn run_node(logical: &DataNode, node: &PlanNode, given: &[Spread], seed: u8) -> Spread {
    let key_of = |record: &Record, key: KeyId| record[key.0 as usize];
    let inputs = |input: u32| {
        let all = node.inputs.iter().filter(|plan_input| plan_input.input == input);
        let mut arriving: Spread = vec![Vec::new(); node.parallelism as usize];
        for plan_input in all {
            let shipped = ship(plan_input, &given[plan_input.source.0], node.parallelism);
            arriving.iter_mut().zip(shipped).for_each(|(arriving, shipped)| arriving.extend(shipped));
        }
        arriving
    };
    let made_of = |sides: &[&Record]| made_of(logical, sides, seed);
    match logical.kind {
        DataOperator::Source { .. } => spread(
            (0..12_u8).map(|at| {
                let at = at.wrapping_mul(31).wrapping_add(seed.wrapping_mul(17));
                [at % 3, at % 4, at % 5]
            }),
            node.parallelism,
        ),
        DataOperator::Join { left, right } => {
            let (lefts, rights) = (inputs(0), inputs(1));
            let mut output: Spread = vec![Vec::new(); node.parallelism as usize];
            for ((lefts, rights), output) in lefts.iter().zip(&rights).zip(&mut output) {
                let pairs = lefts.iter().flat_map(|left| rights.iter().map(move |right| (left, right)));
                let pairs = pairs.filter(|(l, r)| key_of(l, left) == key_of(r, right));
                output.extend(pairs.map(|(left, right)| made_of(&[left, right])));
            }
            assert_eq!(output.iter().map(Vec::len).sum::<usize>(), pairs_in_all(node, given, left, right));
            output
        }
        DataOperator::Aggregate { key, .. }
        | DataOperator::GroupReduce { key, .. }
        | DataOperator::Distinct { key, .. }
            if node.key.variant != Variant::Combine =>
        {
            assert!(node.local == LocalStrategy::HashAggregate || node.local == LocalStrategy::SortAggregate);
            let mut seen_in: BTreeMap<u8, usize> = BTreeMap::new();
            let mut output: Spread = vec![Vec::new(); node.parallelism as usize];
            for (subtask, records) in inputs(0).iter().enumerate() {
                for record in records {
                    let before = seen_in.insert(key_of(record, key), subtask);
                    assert!(before.is_none_or(|before| before == subtask), "a key in two subtasks");
                    if before.is_none() {
                        output[subtask].push(made_of(&[record]));
                    }
                }
            }
            output
        }
        DataOperator::Map { .. } => {
            let made = |records: Vec<Record>| records.iter().map(|record| made_of(&[record])).collect();
            inputs(0).into_iter().map(made).collect()
        }
        // A combiner may pass everything on.
        _ => inputs(0),
    }
}

/// The record that an operator makes: forwarded keys are kept, the others are anything.
fn made_of(logical: &DataNode, sides: &[&Record], seed: u8) -> Record {
    if logical.kind.keeps_records() {
        return *sides[0];
    }
    let anything =
        sides.iter().fold(seed, |sum, side| sum.wrapping_mul(7).wrapping_add(side[0] + side[1] + side[2]));
    let mut record = [anything % 3, anything % 4, anything % 5];
    for forwarded in &logical.forwarded_keys {
        if let Some(side) = sides.get(forwarded.input as usize) {
            record[forwarded.to.0 as usize] = side[forwarded.from.0 as usize];
        }
    }
    record
}

fn pairs_in_all(node: &PlanNode, given: &[Spread], left: KeyId, right: KeyId) -> usize {
    let all = |input: u32, key: KeyId| -> Vec<u8> {
        let sources = node.inputs.iter().filter(|plan_input| plan_input.input == input);
        sources
            .flat_map(|input| given[input.source.0].iter().flatten())
            .map(|record| record[key.0 as usize])
            .collect()
    };
    let (lefts, rights) = (all(0, left), all(1, right));
    lefts.iter().map(|left| rights.iter().filter(|right| *right == left).count()).sum()
}

fn ship(input: &PlanInput, given: &Spread, parallelism: u32) -> Spread {
    let all = given.iter().flatten().copied();
    match input.ship {
        ShipStrategy::Forward => {
            assert_eq!(given.len(), parallelism as usize, "forward between different widths");
            given.clone()
        }
        ShipStrategy::Rebalance => spread(all, parallelism),
        ShipStrategy::Broadcast => vec![all.collect(); parallelism as usize],
        ShipStrategy::HashPartition { key } => {
            let mut shipped: Spread = vec![Vec::new(); parallelism as usize];
            all.for_each(|record| {
                shipped[usize::from(record[key.0 as usize]) % parallelism as usize].push(record)
            });
            shipped
        }
    }
}

/// In turn.
fn spread(records: impl Iterator<Item = Record>, parallelism: u32) -> Spread {
    let mut spread: Spread = vec![Vec::new(); parallelism as usize];
    records.enumerate().for_each(|(at, record)| spread[at % parallelism as usize].push(record));
    spread
}
