//! What must hold of a StreamGraph before anything is decided, and the order in which its nodes come.

use std::collections::BTreeSet;

use crate::error::PlanError;
use crate::job_graph::{ExecutionMode, Partitioning};
use crate::resolve::{Wanted, check_identities};
use crate::stream_graph::{NodeKind, StreamGraph, StreamNode};

/// Checks the graph.
pub(super) fn check(graph: &StreamGraph) -> Result<(), PlanError> {
    if graph.nodes.is_empty() {
        return Err(PlanError::Empty);
    }
    check_identities(graph.nodes.iter().map(wanted))?;
    let invalid = |reason| PlanError::Invalid { job: graph.name.clone(), reason };
    for (position, edge) in graph.edges.iter().enumerate() {
        let last = edge.source.0.max(edge.target.0);
        if last >= graph.nodes.len() {
            return Err(invalid(format!(
                "edge {position} leads from or to node {last}, which does not exist"
            )));
        }
    }
    (0..graph.nodes.len()).try_for_each(|position| check_node(graph, position))
}

/// What the user said of a node's width.
pub(super) fn wanted(node: &StreamNode) -> Wanted<'_> {
    Wanted {
        operator: node.operator,
        culprit: node.culprit(),
        uid: node.uid.as_deref(),
        parallelism: node.parallelism,
        max_parallelism: node.max_parallelism,
        non_parallel: node.non_parallel,
    }
}

fn check_node(graph: &StreamGraph, position: usize) -> Result<(), PlanError> {
    let node = &graph.nodes[position];
    let malformed =
        |reason: &str| Err(PlanError::Malformed { operator: node.culprit(), reason: reason.to_owned() });
    let edges = || graph.edges.iter().filter(|edge| edge.target.0 == position);
    if edges().any(|edge| edge.partitioning == Some(Partitioning::Demand)) {
        return malformed("has a demand edge, which only enumerators have");
    }
    if let NodeKind::Source { bounded } = node.kind {
        if edges().next().is_some() {
            return malformed("is a source, but has an input");
        }
        if !bounded && graph.mode == ExecutionMode::Batch {
            return Err(PlanError::Unbounded { operator: node.culprit() });
        }
        return Ok(());
    }
    let inputs: BTreeSet<u32> = edges().map(|edge| edge.input).collect();
    if inputs.is_empty() {
        return malformed("has no input");
    }
    if (0..).zip(&inputs).any(|(expected, input)| *input != expected) {
        return malformed("has inputs that are numbered with gaps");
    }
    let by_key = |partitioning| partitioning == Some(Partitioning::Hash);
    let fits = |partitioning| by_key(partitioning) || partitioning == Some(Partitioning::Broadcast);
    let is_keyed =
        edges().all(|edge| fits(edge.partitioning)) && edges().any(|edge| by_key(edge.partitioning));
    if node.keyed && !is_keyed {
        return Err(PlanError::NotKeyed { operator: node.culprit() });
    }
    Ok(())
}

/// The positions of the nodes, producers first, otherwise as they are.
pub(super) fn topological_order(graph: &StreamGraph) -> Result<Vec<usize>, PlanError> {
    let mut waits_for = vec![0_usize; graph.nodes.len()];
    let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for edge in &graph.edges {
        waits_for[edge.target.0] += 1;
        consumers[edge.source.0].push(edge.target.0);
    }
    let mut ready: BTreeSet<usize> = (0..graph.nodes.len()).filter(|node| waits_for[*node] == 0).collect();
    let mut order = Vec::with_capacity(graph.nodes.len());
    while let Some(node) = ready.pop_first() {
        order.push(node);
        for consumer in &consumers[node] {
            waits_for[*consumer] -= 1;
            if waits_for[*consumer] == 0 {
                ready.insert(*consumer);
            }
        }
    }
    match waits_for.iter().position(|producers| *producers > 0) {
        None => Ok(order),
        Some(stuck) => {
            let operator = graph.nodes[node_in_cycle(graph, &waits_for, stuck)].culprit();
            Err(PlanError::Cycle { operator })
        }
    }
}

/// A node that stands in a cycle: `stuck` may only stand behind one.
fn node_in_cycle(graph: &StreamGraph, waits_for: &[usize], stuck: usize) -> usize {
    let mut seen = BTreeSet::new();
    let mut node = stuck;
    while seen.insert(node) {
        let mut producers = graph.edges.iter().filter(|edge| edge.target.0 == node).map(|edge| edge.source.0);
        // A node that waits has a producer that waits.
        node = producers.find(|producer| waits_for[*producer] > 0).unwrap_or(node);
    }
    node
}
