//! What all attempts of a job's subtasks have counted together.
//!
//! An attempt begins to count at nothing. When another one takes its place, what it had counted is added here, so what restarts make a job
//! do twice is counted twice. With each checkpoint and each restart the next leader is told, which hears of the latest attempts from the workers themselves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use flott_core::ids::VertexId;
use flott_plan::{JobEdge, JobGraph, VertexRole};

use super::{Execution, VertexReport};
use crate::rpc::control::Count;
use crate::rpc::ha;

/// Figures by the name of an operator, where they are not nothing.
type ByOperator = BTreeMap<String, u64>;

/// What attempts have counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    vertices: BTreeMap<VertexId, Counted>,
    late: ByOperator,
    skipped: ByOperator,
}

/// What the attempts of a vertex have counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    records_in: u64,
    records_out: u64,
    records_read: u64,
    bytes_in: u64,
    bytes_out: u64,
    bytes_read: u64,
    bytes_written: u64,
}

impl Totals {
    /// Adds what an attempt has counted.
    pub(super) fn add(&mut self, graph: &JobGraph, vertex: VertexId, execution: &Execution) {
        let counted = self.vertices.entry(vertex).or_default();
        add(&mut counted.bytes_in, &execution.task.bytes_in);
        add(&mut counted.bytes_out, &execution.task.bytes_out);
        if let Some((_, first)) = execution.metrics.first() {
            add(&mut counted.records_in, &first.records_in);
            if reads(graph, vertex) {
                add(&mut counted.records_read, &first.records_out);
            }
        }
        if let Some((_, last)) = execution.metrics.last() {
            add(&mut counted.records_out, &last.records_out);
        }
        for (key, metrics) in &execution.metrics {
            add(&mut counted.bytes_read, &metrics.bytes_read);
            add(&mut counted.bytes_written, &metrics.bytes_written);
            let mut operators = graph.vertex(vertex).operators.iter();
            let Some(operator) = operators.find(|operator| operator.key == *key) else { continue };
            let counts =
                [(&mut self.late, &metrics.late_records), (&mut self.skipped, &metrics.skipped_records)];
            for (all, count) in counts {
                if count.load(Ordering::Relaxed) > 0 {
                    add(all.entry(operator.name.clone()).or_default(), count);
                }
            }
        }
    }

    /// Says it of a vertex.
    pub(super) fn put_into(&self, report: &mut VertexReport, vertex: VertexId) {
        let counted = self.vertices.get(&vertex).copied().unwrap_or_default();
        report.records_in = counted.records_in;
        report.records_out = counted.records_out;
        report.records_read = counted.records_read;
        report.bytes_in = counted.bytes_in;
        report.bytes_out = counted.bytes_out;
        report.bytes_read = counted.bytes_read;
        report.bytes_written = counted.bytes_written;
    }

    /// Records that came too late, and records that were skipped.
    pub(super) fn late_and_skipped(self) -> [Vec<(String, u64)>; 2] {
        [self.late, self.skipped].map(|counts| counts.into_iter().collect())
    }

    /// For the next leader.
    pub(crate) fn write(&self) -> ha::Totals {
        let vertices = self.vertices.iter().map(|(vertex, counted)| ha::VertexTotals {
            vertex: vertex.0,
            records_in: counted.records_in,
            records_out: counted.records_out,
            records_read: counted.records_read,
            bytes_in: counted.bytes_in,
            bytes_out: counted.bytes_out,
            bytes_read: counted.bytes_read,
            bytes_written: counted.bytes_written,
        });
        let counts = |of: &ByOperator| {
            of.iter().map(|(name, count)| Count { name: name.clone(), count: *count }).collect()
        };
        ha::Totals {
            vertices: vertices.collect(),
            late_records: counts(&self.late),
            skipped_records: counts(&self.skipped),
        }
    }

    /// What an earlier leader has written.
    pub(crate) fn read(written: ha::Totals) -> Self {
        let vertices = written.vertices.into_iter().map(|of| {
            let counted = Counted {
                records_in: of.records_in,
                records_out: of.records_out,
                records_read: of.records_read,
                bytes_in: of.bytes_in,
                bytes_out: of.bytes_out,
                bytes_read: of.bytes_read,
                bytes_written: of.bytes_written,
            };
            (VertexId(of.vertex), counted)
        });
        let counts = |of: Vec<Count>| of.into_iter().map(|count| (count.name, count.count)).collect();
        Self {
            vertices: vertices.collect(),
            late: counts(written.late_records),
            skipped: counts(written.skipped_records),
        }
    }
}

fn add(to: &mut u64, count: &AtomicU64) {
    // What comes from a file may be anything.
    *to = to.saturating_add(count.load(Ordering::Relaxed));
}

/// Whether a vertex reads what an enumerator deals out.
fn reads(graph: &JobGraph, vertex: VertexId) -> bool {
    let from_enumerator = |edge: &JobEdge| graph.vertex(edge.source).role == VertexRole::Enumerator;
    graph.inputs(vertex).any(from_enumerator)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flott_core::config;
    use flott_core::ids::ExecutionId;
    use flott_runtime::metrics::{OperatorMetrics, TaskMetrics};
    use flott_runtime::task::TaskEvent;

    use super::super::harness::TestJob;
    use super::super::{Adoption, JobEvent};
    use super::*;

    /// The attempt runs, and has counted so much of everything.
    fn runs(job: &mut TestJob, execution: ExecutionId, count: u64) {
        let operators = &job.master.graph.vertex(execution.subtask.vertex).operators;
        let counted = || OperatorMetrics {
            records_in: count.into(),
            records_out: count.into(),
            late_records: count.into(),
            ..OperatorMetrics::default()
        };
        let metrics = operators.iter().map(|operator| (operator.key, Arc::new(counted()))).collect();
        let task = Arc::<TaskMetrics>::default();
        task.bytes_out.store(count, Ordering::Relaxed);
        let event = TaskEvent::Running { task, metrics };
        assert!(job.step(Some(JobEvent::Task { execution, event })).is_none());
    }

    fn all_run(job: &mut TestJob, count: u64) {
        job.executions().into_iter().for_each(|execution| runs(job, execution, count));
    }

    #[test]
    fn what_every_attempt_has_counted_is_reported() {
        let mut job = TestJob::start(&[(config::RESTART_STRATEGY.key, "fixed-delay")]);
        all_run(&mut job, 100);
        let executions = job.executions();
        let lost = JobEvent::Lost { executions, reason: "gone".to_owned(), explained_later: false };
        job.step(Some(lost));
        // Nothing is forgotten while nothing runs, and nothing is counted twice.
        for (millis, running, expected) in [(0, 0, 100), (60_000, 0, 100), (60_000, 7, 107)] {
            job.set_time(millis);
            job.step(None);
            if running > 0 {
                all_run(&mut job, running);
            }
            for vertex in job.master.vertex_reports() {
                let all = expected * u64::from(vertex.parallelism);
                assert_eq!((vertex.records_in, vertex.records_out, vertex.bytes_out), (all, all, all));
            }
        }
        // The page shows attempts.
        assert!(job.master.details().subtasks.values().all(|subtask| subtask.bytes_out == 7));
        let [late, skipped] = job.master.all_counted().late_and_skipped();
        let operators = |execution: &ExecutionId| {
            job.master.graph.vertex(execution.subtask.vertex).operators.len() as u64
        };
        let all: u64 = job.executions().iter().map(operators).sum();
        assert_eq!(late.iter().map(|(_, count)| count).sum::<u64>(), all * 107);
        assert_eq!(skipped, []);
    }

    #[test]
    fn the_next_leader_reads_what_was_written() {
        let mut job = TestJob::start(&[]);
        all_run(&mut job, 5);
        let totals = job.master.all_counted();
        assert_ne!(totals, Totals::default());
        assert_eq!(Totals::read(totals.write()), totals);
        let adoption = Adoption { totals: totals.clone(), ..Adoption::default() };
        let mut next = TestJob::adopting(adoption);
        all_run(&mut next, 2);
        let mut both = totals;
        for (subtask, execution) in &next.master.executions {
            both.add(&next.master.graph, subtask.vertex, execution);
        }
        assert_eq!(next.master.all_counted(), both);
    }
}
