//! Which subtasks share a slot: those with the same index in one slot sharing group. A whole pipeline runs in as many slots as
//! its widest vertex has subtasks.

use std::collections::BTreeMap;

use flott_core::ids::SubtaskId;

use crate::job_graph::JobGraph;

/// A slot among those that a job needs, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotNumber(pub u32);

/// The slots of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotAssignment {
    /// By vertex: the slot of its subtask 0.
    first: Vec<SlotNumber>,
    slots: u32,
}

impl SlotAssignment {
    /// The slots of a job, group by group.
    pub fn of(job: &JobGraph) -> Self {
        let mut first_of_group = BTreeMap::new();
        let mut slots: u32 = 0;
        for (group, width) in job.slots_by_group() {
            first_of_group.insert(group, SlotNumber(slots));
            slots = slots.saturating_add(width);
        }
        let first = |group: &str| first_of_group.get(group).copied().unwrap_or(SlotNumber(0));
        let first = job.vertices.iter().map(|vertex| first(&vertex.slot_sharing_group)).collect();
        Self { first, slots }
    }

    /// The slot of a subtask; none if the subtask's vertex is of another job.
    pub fn slot_of(&self, subtask: SubtaskId) -> Option<SlotNumber> {
        self.first.get(subtask.vertex.0 as usize).map(|first| SlotNumber(first.0 + subtask.index))
    }

    /// How many slots there are: over all groups, the sum of the highest parallelism in each.
    pub fn slots_needed(&self) -> u32 {
        self.slots
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::stream_graph::NodeKind;
    use crate::testing::{any_job_graph, edge, node, word_count};

    #[test]
    fn a_group_takes_as_many_slots_as_its_widest_vertex() {
        let mut graph = word_count();
        graph.nodes[2].slot_sharing_group = Some("counts".into());
        graph.nodes[2].parallelism = Some(3);
        graph.nodes.push(node("print", NodeKind::Sink, 20));
        graph.nodes[4].operator = flott_core::ids::OperatorId::from_position("4");
        graph.edges.push(edge(1, 4, None));
        let job = graph.to_job_graph().unwrap();
        let slots = SlotAssignment::of(&job);
        assert_eq!(slots.slots_needed(), 5);
        assert_eq!(job.slots_needed(), 5);
        let shown: Vec<String> = job
            .subtasks()
            .map(|subtask| format!("{subtask} in {}", slots.slot_of(subtask).unwrap().0))
            .collect();
        assert_eq!(
            shown,
            ["0/0 in 3", "1/0 in 3", "1/1 in 4", "2/0 in 0", "2/1 in 1", "2/2 in 2", "3/0 in 0", "3/1 in 1"]
        );
    }

    proptest! {
        #[test]
        fn a_slot_holds_one_subtask_of_a_vertex_and_one_group(job in any_job_graph()) {
            let assignment = SlotAssignment::of(&job);
            let mut groups: BTreeMap<SlotNumber, BTreeSet<&str>> = BTreeMap::new();
            let mut taken = BTreeSet::new();
            for subtask in job.subtasks() {
                let slot = assignment.slot_of(subtask).unwrap();
                prop_assert!(taken.insert((slot, subtask.vertex)));
                groups.entry(slot).or_default().insert(&job.vertex(subtask.vertex).slot_sharing_group);
            }
            prop_assert!(groups.values().all(|groups| groups.len() == 1));
            prop_assert_eq!(groups.len() as u32, assignment.slots_needed());
            prop_assert_eq!(job.slots_needed(), assignment.slots_needed());
        }
    }
}
