//! Which exchanges block. Some must; then others have to, so that no task waits for one that waits for it.
//!
//! Vertices that are joined by pipelined edges run together: they are a *stage*. A stage begins when those behind its blocking
//! inputs have finished, so blocking edges must not lead in circles among stages. That holds if every vertex has a
//! level that never falls along an edge and rises along every blocking one.
//!
//! ```text
//!  A ──must block──▸ J        A and J are of different stages, so the direct edge A → K
//!  │                 │        blocks too; B, which only K waits for, is moved into the stage of K
//!  └───────▸ K ◂─────┘        and stays pipelined.
//!            ▴
//!            B
//! ```

use crate::job_graph::ExchangeMode;

/// An edge between two vertices, given by position; producers stand before consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The producer.
    pub source: usize,
    /// The consumer.
    pub target: usize,
    /// Whether the edge blocks, or must.
    pub blocking: bool,
}

/// The mode of each edge: blocking are those that must be, and as few others as follow from that.
pub(crate) fn assign(vertices: usize, edges: &[Edge]) -> Vec<ExchangeMode> {
    let levels = levels(vertices, edges);
    let mode = |edge: &Edge| match levels[edge.source] < levels[edge.target] {
        true => ExchangeMode::Blocking,
        false => ExchangeMode::Pipelined,
    };
    edges.iter().map(mode).collect()
}

/// The level of each vertex: as high as what reads it allows, so that nothing is kept for longer than it must be.
fn levels(vertices: usize, edges: &[Edge]) -> Vec<u32> {
    let mut by_target = edges.to_vec();
    by_target.sort_by_key(|edge| edge.target);
    let mut earliest = vec![0; vertices];
    for Edge { source, target, blocking } in by_target {
        earliest[target] = u32::max(earliest[target], earliest[source] + u32::from(blocking));
    }
    let mut by_source = edges.to_vec();
    by_source.sort_by_key(|edge| std::cmp::Reverse(edge.source));
    let mut latest: Vec<Option<u32>> = vec![None; vertices];
    for Edge { source, target, blocking } in by_source {
        // All edges out of the target came before: it stands behind the source.
        let bound = latest[target].unwrap_or(earliest[target]) - u32::from(blocking);
        latest[source] = Some(latest[source].map_or(bound, |latest| latest.min(bound)));
    }
    latest.into_iter().zip(earliest).map(|(latest, earliest)| latest.unwrap_or(earliest)).collect()
}

/// The position of a blocking edge whose producer's stage waits for its consumer's, if there is one.
pub(crate) fn find_circular_wait(vertices: usize, edges: &[Edge]) -> Option<usize> {
    let mut stages = Disjoint::new(vertices);
    for edge in edges.iter().filter(|edge| !edge.blocking) {
        stages.join(edge.source, edge.target);
    }
    // Stages that wait for nothing are taken away until none is left, or only circles are.
    let blocking: Vec<(usize, usize, usize)> = (0..)
        .zip(edges)
        .filter(|(_, edge)| edge.blocking)
        .map(|(position, edge)| (position, stages.find(edge.source), stages.find(edge.target)))
        .collect();
    let mut waits_for = vec![0_usize; vertices];
    let mut releases: Vec<Vec<usize>> = vec![Vec::new(); vertices];
    for (_, source, target) in &blocking {
        waits_for[*target] += 1;
        releases[*source].push(*target);
    }
    let mut ready: Vec<usize> = (0..vertices).filter(|stage| waits_for[*stage] == 0).collect();
    while let Some(stage) = ready.pop() {
        for released in std::mem::take(&mut releases[stage]) {
            waits_for[released] -= 1;
            if waits_for[released] == 0 {
                ready.push(released);
            }
        }
    }
    blocking.into_iter().find(|(_, source, _)| waits_for[*source] > 0).map(|(position, ..)| position)
}

/// Disjoint sets (B. A. Galler and M. J. Fischer, 1964), with path halving.
#[derive(Debug, Clone)]
pub(crate) struct Disjoint {
    parent: Vec<usize>,
}

impl Disjoint {
    /// Each of `size` elements in a set of its own.
    pub fn new(size: usize) -> Self {
        Self { parent: (0..size).collect() }
    }

    /// The element that stands for the set of `at`: its smallest.
    pub fn find(&mut self, mut at: usize) -> usize {
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }

    /// Makes one set of those of `a` and `b`.
    pub fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use ExchangeMode::{Blocking, Pipelined};

    const fn edge(source: usize, target: usize) -> Edge {
        Edge { source, target, blocking: false }
    }

    const fn blocking(source: usize, target: usize) -> Edge {
        Edge { source, target, blocking: true }
    }

    #[test]
    fn what_goes_around_a_blocking_edge_blocks_too() {
        assert_eq!(assign(3, &[blocking(0, 1), edge(1, 2), edge(0, 2)]), [Blocking, Pipelined, Blocking]);
    }

    #[test]
    fn what_comes_from_elsewhere_is_started_later_instead() {
        let edges = [blocking(0, 2), edge(2, 3), edge(1, 3)];
        assert_eq!(assign(4, &edges), [Blocking, Pipelined, Pipelined]);
    }

    #[test]
    fn a_blocking_edge_inside_a_stage_is_found() {
        assert_eq!(find_circular_wait(3, &[edge(0, 1), edge(1, 2), blocking(0, 2)]), Some(2));
        assert_eq!(find_circular_wait(4, &[blocking(0, 1), edge(0, 3), edge(1, 2), blocking(2, 3)]), Some(0));
        assert_eq!(find_circular_wait(3, &[blocking(0, 1), edge(1, 2), blocking(0, 2)]), None);
    }

    proptest! {
        #[test]
        fn modes_never_wait_in_circles_and_are_kept(
            edges in proptest::collection::vec((0_usize..12, 1_usize..12, any::<bool>()), 0..30),
        ) {
            let forward = |(source, step, blocking): (usize, usize, bool)| {
                Edge { source, target: source + step, blocking }
            };
            let edges: Vec<Edge> = edges.into_iter().map(forward).collect();
            let modes = assign(24, &edges);
            let decided: Vec<Edge> = edges
                .iter()
                .zip(&modes)
                .map(|(edge, mode)| Edge { blocking: *mode == Blocking, ..*edge })
                .collect();
            prop_assert_eq!(find_circular_wait(24, &decided), None);
            for (wanted, decided) in edges.iter().zip(&decided) {
                prop_assert!(decided.blocking || !wanted.blocking);
            }
            if edges.iter().all(|edge| !edge.blocking) {
                prop_assert!(modes.iter().all(|mode| *mode == Pipelined));
            }
        }
    }
}
