//! The ExecutionGraph: a job's subtasks, which of them exchange data, which restart together.

mod state;

use std::collections::{BTreeMap, BTreeSet};

use flott_core::ids::{EdgeId, SubtaskId, VertexId};

pub use state::{ExecutionState, JobStatus};

use crate::job_graph::{ExchangeMode, JobEdge, JobGraph, Partitioning};

/// A slot's number among those a job needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotNumber(pub u32);

impl JobGraph {
    /// Every subtask, producers first.
    pub fn subtasks(&self) -> impl Iterator<Item = SubtaskId> + '_ {
        self.vertices.iter().flat_map(|vertex| {
            (0..vertex.parallelism).map(move |index| SubtaskId { vertex: vertex.id, index })
        })
    }

    /// The consuming subtasks' indexes that a producing subtask has channels to, in the order of its channels.
    pub fn consumers(&self, edge: EdgeId, producer: u32) -> Vec<u32> {
        let edge = self.edge(edge);
        let (from, to) = self.widths(edge);
        match edge.partitioning {
            Partitioning::Forward => vec![producer],
            Partitioning::Rescale => {
                (0..to).filter(|consumer| rescaled(producer, *consumer, from, to)).collect()
            }
            _ => (0..to).collect(),
        }
    }

    /// The producing subtasks' indexes that a consuming subtask has channels from, in the order of its channels.
    pub fn producers(&self, edge: EdgeId, consumer: u32) -> Vec<u32> {
        let edge = self.edge(edge);
        let (from, to) = self.widths(edge);
        match edge.partitioning {
            Partitioning::Forward => vec![consumer],
            Partitioning::Rescale => {
                (0..from).filter(|producer| rescaled(*producer, consumer, from, to)).collect()
            }
            _ => (0..from).collect(),
        }
    }

    fn widths(&self, edge: &JobEdge) -> (u32, u32) {
        (self.vertex(edge.source).parallelism, self.vertex(edge.target).parallelism)
    }

    /// The subtasks that exchange data by pipelined edges, directly or not: each set restarts as a whole.
    pub fn pipelined_regions(&self) -> Vec<BTreeSet<SubtaskId>> {
        let subtasks: Vec<SubtaskId> = self.subtasks().collect();
        let position: BTreeMap<SubtaskId, usize> = subtasks.iter().copied().zip(0..).collect();
        let mut regions = Disjoint::new(subtasks.len());
        for edge in self.edges.iter().filter(|edge| edge.mode == ExchangeMode::Pipelined) {
            for producer in 0..self.vertex(edge.source).parallelism {
                let from = position[&SubtaskId { vertex: edge.source, index: producer }];
                for consumer in self.consumers(edge.id, producer) {
                    regions.join(from, position[&SubtaskId { vertex: edge.target, index: consumer }]);
                }
            }
        }
        let mut sets: BTreeMap<usize, BTreeSet<SubtaskId>> = BTreeMap::new();
        for (at, subtask) in subtasks.into_iter().enumerate() {
            sets.entry(regions.find(at)).or_default().insert(subtask);
        }
        sets.into_values().collect()
    }

    /// The subtasks to restart when `failed` fails: its region; the regions that read what it produces, since it may come
    /// out otherwise; and the regions that must produce again what is lost. `is_available` tells whether the finished
    /// result of a producing subtask can still be read.
    pub fn restart_set(
        &self,
        failed: &[SubtaskId],
        is_available: impl Fn(SubtaskId) -> bool,
    ) -> BTreeSet<SubtaskId> {
        let regions = self.pipelined_regions();
        let region_of = |subtask: SubtaskId| regions.iter().position(|region| region.contains(&subtask));
        let mut restarting: BTreeSet<usize> = BTreeSet::new();
        let mut pending: Vec<usize> = failed.iter().filter_map(|subtask| region_of(*subtask)).collect();
        while let Some(region) = pending.pop() {
            if !restarting.insert(region) {
                continue;
            }
            for edge in self.edges.iter().filter(|edge| edge.mode == ExchangeMode::Blocking) {
                for subtask in &regions[region] {
                    if subtask.vertex == edge.source {
                        let consumers = self.consumers(edge.id, subtask.index);
                        let consumers =
                            consumers.into_iter().map(|index| SubtaskId { vertex: edge.target, index });
                        pending.extend(consumers.filter_map(region_of));
                    }
                    if subtask.vertex == edge.target {
                        let producers = self.producers(edge.id, subtask.index);
                        let producers =
                            producers.into_iter().map(|index| SubtaskId { vertex: edge.source, index });
                        pending.extend(
                            producers.filter(|producer| !is_available(*producer)).filter_map(region_of),
                        );
                    }
                }
            }
        }
        restarting.into_iter().flat_map(|region| regions[region].iter().copied()).collect()
    }

    /// Which slot each subtask runs in: subtasks with the same index in one slot sharing group share a slot.
    pub fn slot_assignment(&self) -> BTreeMap<SubtaskId, SlotNumber> {
        let mut widest: BTreeMap<&str, u32> = BTreeMap::new();
        for vertex in &self.vertices {
            let width = widest.entry(&vertex.slot_sharing_group).or_default();
            *width = (*width).max(vertex.parallelism);
        }
        let mut first = BTreeMap::new();
        let mut next = 0;
        for (group, width) in widest {
            first.insert(group, next);
            next += width;
        }
        let slot = |subtask: SubtaskId| {
            SlotNumber(first[self.vertex(subtask.vertex).slot_sharing_group.as_str()] + subtask.index)
        };
        self.subtasks().map(|subtask| (subtask, slot(subtask))).collect()
    }

    /// Whether a vertex has no producers.
    pub fn is_root(&self, vertex: VertexId) -> bool {
        self.inputs(vertex).next().is_none()
    }
}

/// Whether a rescaling edge joins the two: each of the many goes with the one whose share it falls into.
fn rescaled(producer: u32, consumer: u32, from: u32, to: u32) -> bool {
    let (producer, consumer, from, to) =
        (u64::from(producer), u64::from(consumer), u64::from(from), u64::from(to));
    if from >= to { producer * to / from == consumer } else { consumer * from / to == producer }
}

/// Disjoint sets (B. A. Galler and M. J. Fischer, 1964), with path halving.
struct Disjoint {
    parent: Vec<usize>,
}

impl Disjoint {
    fn new(size: usize) -> Self {
        Self { parent: (0..size).collect() }
    }

    fn find(&mut self, mut at: usize) -> usize {
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rescaling_joins_everyone_and_halves_agree(from in 1_u32..40, to in 1_u32..40) {
            for producer in 0..from {
                prop_assert!((0..to).any(|consumer| rescaled(producer, consumer, from, to)));
            }
            for consumer in 0..to {
                prop_assert!((0..from).any(|producer| rescaled(producer, consumer, from, to)));
            }
            let pairs = (0..from).flat_map(|p| (0..to).map(move |c| (p, c)));
            let joined = pairs.filter(|(p, c)| rescaled(*p, *c, from, to)).count();
            prop_assert_eq!(joined as u32, from.max(to));
        }
    }
}
