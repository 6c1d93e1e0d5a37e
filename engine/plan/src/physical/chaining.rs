//! Which operators share a subtask.
//!
//! An operator joins the chain of the one before it when the edge between them is its only input, forwards and is pipelined, both
//! have the same parallelism and slot sharing group, and neither minds. One that asks for another max parallelism than its chain
//! has stays apart; one that does not ask takes its chain's.

use super::{PhysicalEdge, PhysicalNode};
use crate::job_graph::{ExchangeMode, Partitioning};
use crate::stream_graph::Chaining;

/// The chains of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chains {
    /// Of each edge: whether it is inside a chain.
    pub chained: Vec<bool>,
    /// Of each node: the position of its chain's head, maybe its own.
    pub head: Vec<usize>,
}

impl Chains {
    /// Chains the nodes of a plan, which stand in topological order, where they can be and `enabled` says so.
    pub fn of(nodes: &[PhysicalNode], edges: &[PhysicalEdge], enabled: bool) -> Self {
        let mut only_input: Vec<Option<usize>> = vec![None; nodes.len()];
        let mut inputs = vec![0_usize; nodes.len()];
        for (position, edge) in edges.iter().enumerate() {
            inputs[edge.target] += 1;
            only_input[edge.target] = Some(position);
        }
        let mut chains = Self { chained: vec![false; edges.len()], head: (0..nodes.len()).collect() };
        if !enabled {
            return chains;
        }
        for target in 0..nodes.len() {
            let Some(position) = only_input[target].filter(|_| inputs[target] == 1) else { continue };
            let edge = &edges[position];
            let head = chains.head[edge.source];
            if can_chain(edge, &nodes[edge.source], &nodes[target], &nodes[head]) {
                chains.chained[position] = true;
                chains.head[target] = head;
            }
        }
        chains
    }
}

fn can_chain(edge: &PhysicalEdge, source: &PhysicalNode, target: &PhysicalNode, head: &PhysicalNode) -> bool {
    let same_max_parallelism = target.width.max_parallelism == head.width.max_parallelism;
    edge.partitioning == Partitioning::Forward
        && edge.mode == ExchangeMode::Pipelined
        && source.width.parallelism == target.width.parallelism
        && (same_max_parallelism || !target.width.own_max_parallelism)
        && source.slot_sharing_group == target.slot_sharing_group
        && source.chaining < Chaining::Never
        && target.chaining == Chaining::Always
}

#[cfg(test)]
mod tests {
    use flott_core::MaxParallelism;
    use flott_core::ids::OperatorId;

    use super::*;
    use crate::job_graph::{OperatorKey, Origin, OutputPort};
    use crate::resolve::Width;

    fn node(position: usize) -> PhysicalNode {
        PhysicalNode {
            key: OperatorKey::new(OperatorId::from_position(&position.to_string())),
            name: format!("Op {position}"),
            uid: None,
            origin: Origin::default(),
            is_source: position == 0,
            reads: Vec::new(),
            width: Width {
                parallelism: 2,
                max_parallelism: MaxParallelism::default_for(2),
                own_max_parallelism: false,
            },
            slot_sharing_group: "default".into(),
            chaining: Chaining::Always,
            stateful: false,
            watermark_group: None,
            managed_memory_weight: 0,
        }
    }

    fn edge(source: usize, target: usize) -> PhysicalEdge {
        PhysicalEdge {
            source,
            output: OutputPort::Main,
            target,
            input: 0,
            partitioning: Partitioning::Forward,
            mode: ExchangeMode::Pipelined,
            buffer_timeout_ms: None,
        }
    }

    /// Whether the edges 0 → 1 → 2 are chained after a change.
    fn chained(change: impl FnOnce(&mut Vec<PhysicalNode>, &mut Vec<PhysicalEdge>)) -> Vec<bool> {
        let mut nodes: Vec<PhysicalNode> = (0..3).map(node).collect();
        let mut edges = vec![edge(0, 1), edge(1, 2)];
        change(&mut nodes, &mut edges);
        Chains::of(&nodes, &edges, true).chained
    }

    #[test]
    fn each_rule_by_itself_keeps_operators_apart() {
        let width = |max, own_max_parallelism| Width {
            parallelism: 2,
            max_parallelism: MaxParallelism::new(max).unwrap(),
            own_max_parallelism,
        };
        assert_eq!(chained(|_, _| ()), [true, true]);
        assert_eq!(chained(|_, edges| edges[1].partitioning = Partitioning::Hash), [true, false]);
        assert_eq!(chained(|_, edges| edges[1].partitioning = Partitioning::Rescale), [true, false]);
        assert_eq!(chained(|_, edges| edges[1].mode = ExchangeMode::Blocking), [true, false]);
        assert_eq!(chained(|nodes, _| nodes[2].width.parallelism = 1), [true, false]);
        assert_eq!(chained(|nodes, _| nodes[2].slot_sharing_group = "other".into()), [true, false]);
        assert_eq!(chained(|nodes, _| nodes[2].chaining = Chaining::Head), [true, false]);
        assert_eq!(chained(|nodes, _| nodes[1].chaining = Chaining::Head), [false, true]);
        for alone in [Chaining::Never, Chaining::OwnThread] {
            assert_eq!(chained(|nodes, _| nodes[1].chaining = alone), [false, false]);
        }
        assert_eq!(chained(|_, edges| edges.push(edge(0, 2))), [true, false, false]);
        assert_eq!(chained(|nodes, _| nodes[2].width = width(64, true)), [true, false]);
        assert_eq!(chained(|nodes, _| nodes[2].width = width(128, true)), [true, true]);
    }

    #[test]
    fn who_does_not_ask_takes_the_max_parallelism_of_its_chain() {
        let width = |own_max_parallelism| Width {
            parallelism: 2,
            max_parallelism: MaxParallelism::new(64).unwrap(),
            own_max_parallelism,
        };
        assert_eq!(chained(|nodes, _| nodes[0].width = width(true)), [true, true]);
        let asks_for_the_head_s = |nodes: &mut Vec<PhysicalNode>, _: &mut Vec<PhysicalEdge>| {
            nodes[0].width = width(true);
            nodes[2].width = width(true);
        };
        assert_eq!(chained(asks_for_the_head_s), [true, true]);
    }

    #[test]
    fn chaining_can_be_turned_off() {
        let nodes: Vec<PhysicalNode> = (0..2).map(node).collect();
        assert_eq!(Chains::of(&nodes, &[edge(0, 1)], false).head, [0, 1]);
    }
}
