//! Pipelined regions: the subtasks that exchange data while they run, directly or by way of others. A region starts, fails and
//! restarts as a whole.

use flott_core::ids::SubtaskId;

use super::channels::is_all_to_all;
use crate::exchange_mode::Disjoint;
use crate::job_graph::{ExchangeMode, JobEdge, JobGraph};

/// A pipelined region: its position in [`Regions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegionId(pub usize);

/// The pipelined regions of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    members: Vec<Vec<SubtaskId>>,
    /// By vertex, then subtask.
    region: Vec<Vec<RegionId>>,
}

impl Regions {
    /// The regions of a job, those with early vertices first.
    pub fn of(job: &JobGraph) -> Self {
        let first = first_positions(job);
        let mut sets = Disjoint::new(job.subtasks().count());
        for edge in job.edges.iter().filter(|edge| edge.mode == ExchangeMode::Pipelined) {
            let (from, to) = (first[edge.source.0 as usize], first[edge.target.0 as usize]);
            for (producer, consumer) in joined_pairs(job, edge) {
                sets.join(from + producer as usize, to + consumer as usize);
            }
        }
        let mut regions = Self { members: Vec::new(), region: vec![Vec::new(); job.vertices.len()] };
        let mut of_set: Vec<Option<RegionId>> = vec![None; job.subtasks().count()];
        for (position, subtask) in job.subtasks().enumerate() {
            let region = *of_set[sets.find(position)].get_or_insert_with(|| {
                regions.members.push(Vec::new());
                RegionId(regions.members.len() - 1)
            });
            regions.members[region.0].push(subtask);
            regions.region[subtask.vertex.0 as usize].push(region);
        }
        regions
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none, which no job has.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The region of a subtask; none if the subtask is of another job.
    pub fn region_of(&self, subtask: SubtaskId) -> Option<RegionId> {
        self.region.get(subtask.vertex.0 as usize)?.get(subtask.index as usize).copied()
    }

    /// The subtasks of a region, producers first.
    pub fn members(&self, region: RegionId) -> &[SubtaskId] {
        self.members.get(region.0).map_or(&[], Vec::as_slice)
    }

    /// All regions with their subtasks.
    pub fn iter(&self) -> impl Iterator<Item = (RegionId, &[SubtaskId])> {
        self.members.iter().enumerate().map(|(position, members)| (RegionId(position), members.as_slice()))
    }
}

/// Of each vertex, how many subtasks the vertices before it have.
fn first_positions(job: &JobGraph) -> Vec<usize> {
    let mut next = 0;
    let take = |parallelism: u32| {
        let first = next;
        next += parallelism as usize;
        first
    };
    job.vertices.iter().map(|vertex| vertex.parallelism).map(take).collect()
}

/// Pairs of producer and consumer that put into one set all that the edge joins. Where everyone is joined with everyone, one of
/// each side stands for the others.
fn joined_pairs(job: &JobGraph, edge: &JobEdge) -> Vec<(u32, u32)> {
    let (from, to) = job.widths(edge);
    if is_all_to_all(edge) {
        return (0..from)
            .map(|producer| (producer, 0))
            .chain((0..to).map(|consumer| (0, consumer)))
            .collect();
    }
    let consumers =
        |producer| job.consumers(edge.id, producer).into_iter().map(move |consumer| (producer, consumer));
    (0..from).flat_map(consumers).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::job_graph::{ExecutionMode, Partitioning};
    use crate::stream_graph::{NodeKind, StreamGraph};
    use crate::testing::{SOURCE, any_job_graph, edge, node, word_count};

    #[test]
    fn disjoint_pipelines_are_regions_of_their_own() {
        let mut graph = word_count();
        graph.nodes.push(node("other", SOURCE, 20));
        graph.nodes.push(node("others", NodeKind::Sink, 21));
        graph.edges.push(edge(4, 5, None));
        let regions = Regions::of(&graph.to_job_graph().unwrap());
        assert_eq!(regions.iter().map(|(_, members)| members.len()).collect::<Vec<_>>(), [5, 3]);
    }

    #[test]
    fn blocking_edges_part_regions_by_subtask() {
        let mut batch = StreamGraph { mode: ExecutionMode::Batch, ..word_count() };
        batch.nodes[3].max_parallelism = Some(16);
        let job = batch.to_job_graph().unwrap();
        // Readers are joined by their enumerator; each Count only with the print it forwards to.
        assert_eq!(job.edges[2].partitioning, Partitioning::Forward);
        let regions = Regions::of(&job);
        let sizes: Vec<usize> = regions.iter().map(|(_, members)| members.len()).collect();
        assert_eq!(sizes, [3, 2, 2]);
    }

    proptest! {
        #[test]
        fn regions_hold_every_subtask_once_and_what_is_joined_together(job in any_job_graph()) {
            let regions = Regions::of(&job);
            let members: Vec<SubtaskId> = regions.iter().flat_map(|(_, members)| members.to_vec()).collect();
            prop_assert_eq!(members.len(), job.subtasks().count());
            prop_assert_eq!(members.iter().copied().collect::<BTreeSet<_>>(), job.subtasks().collect());
            for (region, members) in regions.iter() {
                prop_assert!(members.iter().all(|member| regions.region_of(*member) == Some(region)));
            }
            for edge in &job.edges {
                for producer in 0..job.vertex(edge.source).parallelism {
                    let source = regions.region_of(SubtaskId { vertex: edge.source, index: producer });
                    for consumer in job.consumers(edge.id, producer) {
                        let target = regions.region_of(SubtaskId { vertex: edge.target, index: consumer });
                        prop_assert_eq!(source == target, edge.mode == ExchangeMode::Pipelined);
                    }
                }
            }
        }
    }
}
