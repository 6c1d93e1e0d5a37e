//! What is known of a program's jobs when it is over, as JSON for schedulers and scripts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rpc::control::job_outcome::Kind;
use crate::rpc::control::{JobOutcome, JobOverview};

/// A job that is over, or was last seen like this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `FINISHED`, `FAILED`, `CANCELED`, or what it was last.
    pub status: String,
    /// Whether it ran as a stream.
    pub streaming: bool,
    /// When it began, in milliseconds since the epoch.
    pub started: i64,
    /// When it was over; 0: it was not.
    pub ended: i64,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// Records that its sources gave.
    pub records_read: u64,
    /// Restarts.
    pub restarts: u64,
    /// Checkpoints that were completed.
    pub completed_checkpoints: u64,
    /// Records that came too late, by operator.
    pub late_records: BTreeMap<String, u64>,
    /// Records that were skipped since they could not be read, by operator.
    pub skipped_records: BTreeMap<String, u64>,
    /// What failed, if something did.
    pub failure: String,
    /// Its vertices, producers first.
    pub vertices: Vec<VertexSummary>,
}

/// A vertex of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VertexSummary {
    /// Its name.
    pub name: String,
    /// Its subtasks.
    pub parallelism: u32,
    /// Records that its first operators took.
    pub records_in: u64,
    /// Records that its last operators gave.
    pub records_out: u64,
}

impl JobSummary {
    /// Of what the JobManager says.
    pub fn of(job: &JobOverview, outcome: Option<&JobOutcome>) -> Self {
        let result = outcome.and_then(|outcome| match &outcome.kind {
            Some(Kind::Result(result)) => Some(result),
            _ => None,
        });
        let counts = |counts: &[crate::rpc::control::Count]| {
            counts.iter().map(|count| (count.name.clone(), count.count)).collect()
        };
        let vertices: Vec<VertexSummary> = job
            .vertices
            .iter()
            .map(|vertex| VertexSummary {
                name: vertex.name.clone(),
                parallelism: vertex.parallelism,
                records_in: vertex.records_in,
                records_out: vertex.records_out,
            })
            .collect();
        Self {
            id: job.job.iter().map(|byte| format!("{byte:02x}")).collect(),
            name: job.name.clone(),
            status: job.status.clone(),
            streaming: job.streaming,
            started: job.started,
            ended: job.ended,
            duration_ms: if job.ended > 0 { job.ended - job.started } else { 0 },
            // Sources are the vertices that take nothing.
            records_read: vertices
                .iter()
                .filter(|vertex| vertex.records_in == 0)
                .map(|v| v.records_out)
                .sum(),
            restarts: job.restarts,
            completed_checkpoints: job.completed_checkpoints,
            late_records: result.map(|result| counts(&result.late_records)).unwrap_or_default(),
            skipped_records: result.map(|result| counts(&result.skipped_records)).unwrap_or_default(),
            failure: job.failure.clone(),
            vertices,
        }
    }
}

/// The jobs of a program, the latest word on each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobSummaries(pub Vec<JobSummary>);

impl JobSummaries {
    /// Takes the latest word on a job.
    pub fn note(&mut self, job: &JobOverview, outcome: Option<&JobOutcome>) {
        let summary = JobSummary::of(job, outcome);
        match self.0.iter_mut().find(|known| known.id == summary.id) {
            Some(known) => *known = summary,
            None => self.0.push(summary),
        }
    }
}
