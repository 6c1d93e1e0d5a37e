//! What restarts when subtasks fail: as little as gives the same result as if nothing had failed.

use std::collections::BTreeSet;

use flott_core::ids::{EdgeId, SubtaskId};

use super::regions::{RegionId, Regions};
use crate::job_graph::{ExchangeMode, JobEdge, JobGraph};

/// What one subtask gives to one blocking edge; it outlives the subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResultPartition {
    /// The edge.
    pub edge: EdgeId,
    /// The index of the producing subtask.
    pub producer: u32,
}

/// The subtasks to restart when `failed` fail, producers first:
/// - their regions, as a whole,
/// - the regions that read what those give, since it may come out otherwise,
/// - the regions that must give again what is lost.
///
/// `is_available` tells whether a partition can still be read, or is still being written by a subtask that runs.
pub fn restart_set(
    job: &JobGraph,
    regions: &Regions,
    failed: &[SubtaskId],
    is_available: impl Fn(ResultPartition) -> bool,
) -> Vec<SubtaskId> {
    let blocking: Vec<&JobEdge> =
        job.edges.iter().filter(|edge| edge.mode == ExchangeMode::Blocking).collect();
    let mut restarting: BTreeSet<RegionId> = BTreeSet::new();
    let mut pending: Vec<RegionId> =
        failed.iter().filter_map(|subtask| regions.region_of(*subtask)).collect();
    while let Some(region) = pending.pop() {
        if !restarting.insert(region) {
            continue;
        }
        for subtask in regions.members(region) {
            for edge in blocking.iter().filter(|edge| edge.source == subtask.vertex) {
                let consumers = job.consumers(edge.id, subtask.index);
                let read_by = consumers.into_iter().map(|index| SubtaskId { vertex: edge.target, index });
                pending.extend(read_by.filter_map(|subtask| regions.region_of(subtask)));
            }
            for edge in blocking.iter().filter(|edge| edge.target == subtask.vertex) {
                let producers = job.producers(edge.id, subtask.index).into_iter();
                let lost = producers
                    .filter(|producer| !is_available(ResultPartition { edge: edge.id, producer: *producer }));
                let given_by = lost.map(|index| SubtaskId { vertex: edge.source, index });
                pending.extend(given_by.filter_map(|subtask| regions.region_of(subtask)));
            }
        }
    }
    let mut subtasks: Vec<SubtaskId> =
        restarting.into_iter().flat_map(|region| regions.members(region)).copied().collect();
    subtasks.sort();
    subtasks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use flott_core::ids::VertexId;

    use super::*;
    use crate::job_graph::ExecutionMode;
    use crate::stream_graph::{NodeKind, StreamGraph};
    use crate::testing::{SOURCE, any_job_graph, edge, node, word_count};

    fn subtask(vertex: u32, index: u32) -> SubtaskId {
        SubtaskId { vertex: VertexId(vertex), index }
    }

    fn restarted(
        job: &JobGraph,
        failed: SubtaskId,
        is_available: impl Fn(ResultPartition) -> bool,
    ) -> Vec<String> {
        let set = restart_set(job, &Regions::of(job), &[failed], is_available);
        set.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pipelined_failure_leaves_other_pipelines_alone() {
        let mut graph = word_count();
        graph.nodes.push(node("other", SOURCE, 20));
        graph.nodes.push(node("others", NodeKind::Sink, 21));
        graph.edges.push(edge(4, 5, None));
        let job = graph.to_job_graph().unwrap();
        assert_eq!(restarted(&job, subtask(2, 1), |_| true), ["0/0", "1/0", "1/1", "2/0", "2/1"]);
        assert_eq!(restarted(&job, subtask(3, 0), |_| true), ["3/0", "4/0", "4/1"]);
    }

    #[test]
    fn a_batch_restarts_the_one_subtask_if_all_it_reads_is_there() {
        let job = StreamGraph { mode: ExecutionMode::Batch, ..word_count() }.to_job_graph().unwrap();
        assert_eq!(restarted(&job, subtask(2, 1), |_| true), ["2/1"]);
    }

    #[test]
    fn a_lost_result_is_given_again_and_read_again_by_all() {
        let job = StreamGraph { mode: ExecutionMode::Batch, ..word_count() }.to_job_graph().unwrap();
        let lost = ResultPartition { edge: EdgeId(1), producer: 1 };
        let everything = ["0/0", "1/0", "1/1", "2/0", "2/1"];
        assert_eq!(restarted(&job, subtask(2, 1), |partition| partition != lost), everything);
        assert_eq!(restarted(&job, subtask(1, 0), |_| true), everything);
    }

    #[test]
    fn a_subtask_of_another_job_restarts_nothing() {
        let job = word_count().to_job_graph().unwrap();
        assert!(restarted(&job, subtask(9, 0), |_| true).is_empty());
    }

    proptest! {
        #[test]
        fn the_set_is_whole_and_can_run(job in any_job_graph(), failed in any::<Index>(), lost in any::<u8>()) {
            let is_available = |partition: ResultPartition| (partition.producer + partition.edge.0) as u8 % 3 != lost % 3;
            let all: Vec<SubtaskId> = job.subtasks().collect();
            let failed = *failed.get(&all);
            let regions = Regions::of(&job);
            let set = restart_set(&job, &regions, &[failed], is_available);
            prop_assert!(set.contains(&failed));
            prop_assert!(set.is_sorted());
            let restarts = |vertex, index| set.binary_search(&SubtaskId { vertex, index }).is_ok();
            for edge in &job.edges {
                for producer in 0..job.vertex(edge.source).parallelism {
                    for consumer in job.consumers(edge.id, producer) {
                        let (given, read) = (restarts(edge.source, producer), restarts(edge.target, consumer));
                        if edge.mode == ExchangeMode::Pipelined {
                            prop_assert_eq!(given, read, "both ends of a pipelined channel or none");
                        } else {
                            prop_assert!(!given || read, "what is given again is read again");
                            let partition = ResultPartition { edge: edge.id, producer };
                            prop_assert!(!read || given || is_available(partition), "what is read is there");
                        }
                    }
                }
            }
        }
    }
}
