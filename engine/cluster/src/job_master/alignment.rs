//! Aligns the watermarks of sources: tells the readers of a group how far the one furthest behind has come.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flott_core::Timestamp;
use flott_core::ids::{SubtaskId, VertexId};
use flott_core::time::NO_TIMESTAMP;
use flott_plan::execution_graph::{ExecutionState, JobStatus};
use flott_plan::{JobGraph, OperatorKey};
use flott_runtime::task::TaskMessage;

use super::JobMaster;

/// How often readers are told.
const INTERVAL: Duration = Duration::from_millis(200);

/// The sources that are aligned, by group.
pub(super) struct AlignedSources {
    groups: BTreeMap<String, Vec<(VertexId, OperatorKey)>>,
    /// What the readers of each group were told last.
    told: BTreeMap<String, Timestamp>,
    next: Instant,
}

impl AlignedSources {
    pub(super) fn of(graph: &JobGraph, now: Instant) -> Self {
        let mut groups: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for vertex in &graph.vertices {
            for operator in &vertex.operators {
                if let Some(group) = &operator.watermark_group {
                    groups.entry(group.clone()).or_default().push((vertex.id, operator.key));
                }
            }
        }
        Self { groups, told: BTreeMap::new(), next: now }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (!self.groups.is_empty()).then_some(self.next)
    }

    /// A new attempt runs, which has been told nothing.
    pub(super) fn tell_again(&mut self) {
        self.told.clear();
    }
}

impl JobMaster {
    /// Tells readers, if it is time to.
    pub(super) fn align_watermarks(&mut self, now: Instant) {
        if self.aligned.next_deadline().is_none_or(|at| at > now) || self.status != JobStatus::Running {
            return;
        }
        self.aligned.next = now + INTERVAL;
        let groups = self.aligned.groups.iter();
        let lowest: Vec<(String, Vec<SubtaskId>, Timestamp)> = groups
            .filter_map(|(group, sources)| {
                let mut all = Vec::new();
                for source in sources {
                    all.extend(self.watermarks(*source)?);
                }
                let (readers, watermarks): (Vec<_>, Vec<_>) = all.into_iter().unzip();
                // Of one that has just begun nothing is known.
                let known = watermarks.into_iter().filter(|watermark| *watermark != NO_TIMESTAMP);
                Some((group.clone(), readers, known.min()?))
            })
            .collect();
        for (group, readers, lowest) in lowest {
            if self.aligned.told.insert(group, lowest) != Some(lowest) {
                readers
                    .into_iter()
                    .for_each(|reader| self.send(reader, TaskMessage::AlignWatermarks(lowest)));
            }
        }
    }

    /// How far the readers of a source have come that have not ended; none while one of them is still to run again.
    fn watermarks(&self, (vertex, key): (VertexId, OperatorKey)) -> Option<Vec<(SubtaskId, Timestamp)>> {
        let readers = self
            .executions
            .iter()
            .filter(|(subtask, execution)| subtask.vertex == vertex && !execution.has_ended());
        readers
            .map(|(subtask, execution)| {
                // What there is of an earlier attempt is no longer so.
                let metrics = execution.metrics.iter().filter(|_| execution.state == ExecutionState::Running);
                let (_, metrics) = metrics.into_iter().find(|(of, _)| *of == key)?;
                Some((*subtask, metrics.watermark.load(Ordering::Relaxed)))
            })
            .collect()
    }
}
