//! Blocking or pipelined: which exchanges of a plan must wait until all is there.
//!
//! A hash join reads one input to its end before it touches the other. Meanwhile the other's producers are held up; if one of
//! them is needed for the first to end, nothing moves any more. That takes two ways between the inputs: the one through the join,
//! and another one. Where there is another, both inputs block. What else has to block is found by
//! [`exchange_mode`](crate::exchange_mode).
//!
//! ```text
//!        ┌─▸ aggregate ─▸┐
//!   scan ┤               join       a common ancestor: both inputs block
//!        └──────────────▸┘
//! ```

use crate::exchange_mode::{self, Disjoint};
use crate::job_graph::ExchangeMode;
use crate::optimized_plan::{LocalStrategy, PlanInput, PlanNode, ShipStrategy};

/// Decides the mode of every exchange.
pub(super) fn decide_modes(nodes: &mut [PlanNode]) {
    let mut blocks = vec![false; nodes.len()];
    for join in 0..nodes.len() {
        if let LocalStrategy::HybridHashJoin { build } = nodes[join].local {
            blocks[join] = has_another_way(nodes, &blocks, join, build.input());
        }
    }
    // An operator that will be chained is of the same stage as the head of its chain.
    let mut unit: Vec<usize> = (0..nodes.len()).collect();
    for (position, node) in nodes.iter().enumerate() {
        if let [input] = node.inputs.as_slice()
            && input.ship == ShipStrategy::Forward
            && !blocks[position]
        {
            unit[position] = unit[input.source.0];
        }
    }
    let inputs = nodes
        .iter()
        .enumerate()
        .flat_map(|(position, node)| node.inputs.iter().map(move |input| (position, input.source.0)));
    let edges: Vec<exchange_mode::Edge> = inputs
        .filter(|(target, source)| unit[*target] != unit[*source])
        .map(|(target, source)| exchange_mode::Edge {
            source: unit[source],
            target: unit[target],
            blocking: blocks[target],
        })
        .collect();
    let mut modes = exchange_mode::assign(nodes.len(), &edges).into_iter();
    for (position, node) in nodes.iter_mut().enumerate() {
        for input in &mut node.inputs {
            let is_inside = unit[position] == unit[input.source.0];
            let decided = if is_inside { None } else { modes.next() };
            input.mode = decided.unwrap_or(ExchangeMode::Pipelined);
        }
    }
}

/// Whether what a join reads first and what it reads then are joined by pipelined exchanges other than through the join.
fn has_another_way(nodes: &[PlanNode], blocks: &[bool], join: usize, build: u32) -> bool {
    let mut joined = Disjoint::new(nodes.len());
    for (position, node) in nodes.iter().enumerate() {
        if position == join || blocks[position] {
            continue;
        }
        for input in node.inputs.iter().filter(|input| input.source.0 != join) {
            joined.join(position, input.source.0);
        }
    }
    let inputs = &nodes[join].inputs;
    let (first, then): (Vec<&PlanInput>, Vec<&PlanInput>) =
        inputs.iter().partition(|input| input.input == build);
    let first: Vec<usize> = first.iter().map(|input| joined.find(input.source.0)).collect();
    then.iter().any(|input| first.contains(&joined.find(input.source.0)))
}
