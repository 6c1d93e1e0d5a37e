//! What a JobMaster lets others see of its job.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flott_plan::execution_graph::{ExecutionState, JobStatus};
use flott_runtime::slot::wall_clock_millis;
use tokio::sync::watch;

use super::JobMaster;

/// How often the figures are renewed while nothing else changes.
const INTERVAL: Duration = Duration::from_millis(500);

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobReport {
    /// The job's state; none: it has none yet.
    pub status: Option<JobStatus>,
    /// When it began, in milliseconds since the epoch; 0: it has not.
    pub started_millis: i64,
    /// When it was over, in milliseconds since the epoch; 0: it is not.
    pub ended_millis: i64,
    /// The vertices, producers first.
    pub vertices: Vec<VertexReport>,
    /// How many checkpoints were completed.
    pub completed_checkpoints: u64,
    /// How many restarts there were.
    pub restarts: u64,
    /// What failed last.
    pub failure: Option<String>,
}

/// How far a vertex is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VertexReport {
    /// Its name.
    pub name: String,
    /// How many subtasks it has.
    pub parallelism: u32,
    /// How many of them are in which state.
    pub states: BTreeMap<ExecutionState, u32>,
    /// Records that its first operators have taken.
    pub records_in: u64,
    /// Records that its last operators have given.
    pub records_out: u64,
}

/// When and where a report goes.
pub(super) struct Publisher {
    sender: watch::Sender<JobReport>,
    next: Instant,
    started_millis: i64,
    pub(super) failure: Option<String>,
}

impl Publisher {
    pub(super) fn new(sender: watch::Sender<JobReport>) -> Self {
        Self { sender, next: Instant::now(), started_millis: wall_clock_millis(), failure: None }
    }

    /// When the figures are to be renewed.
    pub(super) fn next(&self) -> Instant {
        self.next
    }
}

impl JobMaster {
    /// Renews the report if it is time to, or the job's state has changed.
    pub(super) fn publish(&mut self) {
        let changed = self.report.sender.borrow().status != Some(self.status);
        if !changed && Instant::now() < self.report.next {
            return;
        }
        self.report.next = Instant::now() + INTERVAL;
        let over = self.status.is_terminal();
        let report = JobReport {
            status: Some(self.status),
            started_millis: self.report.started_millis,
            ended_millis: if over { wall_clock_millis() } else { 0 },
            vertices: self.vertex_reports(),
            completed_checkpoints: self.checkpoints.completed_count(),
            restarts: self.restarts,
            failure: self.report.failure.clone(),
        };
        self.report.sender.send_replace(report);
    }

    fn vertex_reports(&self) -> Vec<VertexReport> {
        let vertices = self.graph.vertices.iter();
        let mut reports: Vec<VertexReport> = vertices
            .map(|vertex| VertexReport {
                name: vertex.name.clone(),
                parallelism: vertex.parallelism,
                ..VertexReport::default()
            })
            .collect();
        for (subtask, execution) in &self.executions {
            let report = &mut reports[subtask.vertex.0 as usize];
            *report.states.entry(execution.state).or_default() += 1;
            if let Some((_, first)) = execution.metrics.first() {
                report.records_in += first.records_in.load(Ordering::Relaxed);
            }
            if let Some((_, last)) = execution.metrics.last() {
                report.records_out += last.records_out.load(Ordering::Relaxed);
            }
        }
        reports
    }
}
