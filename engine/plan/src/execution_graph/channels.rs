//! Which subtasks an edge joins.
//!
//! ```text
//! forward   i → i
//! rescale   each of the many → the one whose share of them it falls into
//! others    every producer → every consumer
//! ```

use flott_core::ids::EdgeId;

use crate::job_graph::{JobEdge, JobGraph, Partitioning};

impl JobGraph {
    /// The indexes of the consuming subtasks that producer `producer` has channels to, in the order of its channels.
    ///
    /// # Panics
    /// If the edge is of another graph.
    pub fn consumers(&self, edge: EdgeId, producer: u32) -> Vec<u32> {
        let edge = self.edge(edge);
        let (from, to) = self.widths(edge);
        match edge.partitioning {
            Partitioning::Forward => vec![producer],
            Partitioning::Rescale => rescaled(producer, from, to),
            _ => (0..to).collect(),
        }
    }

    /// The indexes of the producing subtasks that consumer `consumer` has channels from, in the order of its channels.
    ///
    /// # Panics
    /// If the edge is of another graph.
    pub fn producers(&self, edge: EdgeId, consumer: u32) -> Vec<u32> {
        let edge = self.edge(edge);
        let (from, to) = self.widths(edge);
        match edge.partitioning {
            Partitioning::Forward => vec![consumer],
            Partitioning::Rescale => rescaled(consumer, to, from),
            _ => (0..from).collect(),
        }
    }

    /// The parallelism of both ends of an edge.
    pub(super) fn widths(&self, edge: &JobEdge) -> (u32, u32) {
        (self.vertex(edge.source).parallelism, self.vertex(edge.target).parallelism)
    }
}

/// Whether an edge joins every producer with every consumer.
pub(super) fn is_all_to_all(edge: &JobEdge) -> bool {
    !matches!(edge.partitioning, Partitioning::Forward | Partitioning::Rescale)
}

/// The indexes, of `others`, that rescaling joins with `index` of `own`. It is the same from either end.
fn rescaled(index: u32, own: u32, others: u32) -> Vec<u32> {
    let (index, own, others) = (u64::from(index), u64::from(own), u64::from(others));
    if own >= others {
        return vec![(index * others / own) as u32];
    }
    // All whose share this is: those `other` with other * own / others == index.
    let first = (index * others).div_ceil(own);
    let end = ((index + 1) * others).div_ceil(own);
    (first as u32..end as u32).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::any_job_graph;

    #[test]
    fn rescaling_gives_each_of_the_few_its_share_of_the_many() {
        let shares = |own, others| (0..own).map(|index| rescaled(index, own, others)).collect::<Vec<_>>();
        assert_eq!(shares(2, 4), [[0, 1], [2, 3]]);
        assert_eq!(shares(4, 2), [[0], [0], [1], [1]]);
        assert_eq!(shares(2, 3), [vec![0, 1], vec![2]]);
        assert_eq!(shares(3, 2), [[0], [0], [1]]);
        assert_eq!(shares(2, 2), [[0], [1]]);
    }

    proptest! {
        #[test]
        fn rescaling_joins_everyone_and_both_ends_agree(from in 1_u32..40, to in 1_u32..40) {
            let mut joined = 0;
            for producer in 0..from {
                let consumers = rescaled(producer, from, to);
                prop_assert!(!consumers.is_empty());
                for consumer in &consumers {
                    prop_assert!(rescaled(*consumer, to, from).contains(&producer));
                }
                joined += consumers.len();
            }
            prop_assert_eq!(joined as u32, from.max(to));
        }

        #[test]
        fn both_ends_of_every_edge_agree(graph in any_job_graph()) {
            for edge in &graph.edges {
                let (from, to) = graph.widths(edge);
                for producer in 0..from {
                    for consumer in 0..to {
                        let forth = graph.consumers(edge.id, producer).contains(&consumer);
                        let back = graph.producers(edge.id, consumer).contains(&producer);
                        prop_assert_eq!(forth, back);
                    }
                }
                prop_assert!((0..to).all(|consumer| !graph.producers(edge.id, consumer).is_empty()));
            }
        }
    }
}
