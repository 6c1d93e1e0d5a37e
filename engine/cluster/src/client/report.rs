//! What is known of a program's jobs when it is over, as JSON for schedulers and scripts.

use std::collections::BTreeMap;

use flott_core::ids::JobId;
use flott_plan::execution_graph::JobStatus;
use serde::{Deserialize, Serialize};

use crate::rpc::control::job_outcome::Kind;
use crate::rpc::control::{Count, JobOutcome, JobOverview};

/// A job that is over, or was last seen like this. What it has counted is that of all attempts of its tasks, as far as their workers could
/// tell: what restarts have made them do twice is counted twice.
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
    /// Bytes of the files that its sources read, and of what other sources count.
    pub bytes_read: u64,
    /// Bytes that its sinks wrote into files, and what other sinks count.
    pub bytes_written: u64,
    /// Bytes that its vertices gave to each other.
    pub bytes_exchanged: u64,
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
    /// Bytes that it took from other vertices, as they lie in memory, or encoded if they came from another process.
    pub bytes_in: u64,
    /// Bytes that it gave to other vertices, by the same measure.
    pub bytes_out: u64,
    /// Bytes that it read from outside.
    pub bytes_read: u64,
    /// Bytes that it wrote outside.
    pub bytes_written: u64,
}

impl JobSummary {
    /// Of what the JobManager says.
    pub fn of(job: &JobOverview, outcome: Option<&JobOutcome>) -> Self {
        let result = outcome.and_then(|outcome| match &outcome.kind {
            Some(Kind::Result(result)) => Some(result),
            _ => None,
        });
        // A leader that has found the job over knows its result only.
        let counts = |seen: &[Count], in_result: Option<&Vec<Count>>| {
            let counts = if seen.is_empty() { in_result.map_or(seen, Vec::as_slice) } else { seen };
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
                bytes_in: vertex.bytes_in,
                bytes_out: vertex.bytes_out,
                bytes_read: vertex.bytes_read,
                bytes_written: vertex.bytes_written,
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
            records_read: job.vertices.iter().map(|vertex| vertex.records_read).sum(),
            bytes_read: vertices.iter().map(|vertex| vertex.bytes_read).sum(),
            bytes_written: vertices.iter().map(|vertex| vertex.bytes_written).sum(),
            bytes_exchanged: vertices.iter().map(|vertex| vertex.bytes_out).sum(),
            restarts: job.restarts,
            completed_checkpoints: job.completed_checkpoints,
            late_records: counts(&job.late_records, result.map(|result| &result.late_records)),
            skipped_records: counts(&job.skipped_records, result.map(|result| &result.skipped_records)),
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
    /// A job was submitted, and no more is known of it.
    pub fn submitted(&mut self, job: JobId) {
        let status = JobStatus::Created.name().to_owned();
        self.0.push(JobSummary { id: job.to_string(), status, ..JobSummary::default() });
    }

    /// Somebody else than its JobManager says that a job has finished.
    pub fn finished(&mut self, job: JobId) {
        let id = job.to_string();
        if let Some(known) = self.0.iter_mut().find(|known| known.id == id) {
            JobStatus::Finished.name().clone_into(&mut known.status);
        }
    }

    /// Takes the latest word on a job.
    pub fn note(&mut self, job: &JobOverview, outcome: Option<&JobOutcome>) {
        let summary = JobSummary::of(job, outcome);
        match self.0.iter_mut().find(|known| known.id == summary.id) {
            Some(known) => *known = summary,
            None => self.0.push(summary),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::control::VertexOverview;

    #[test]
    fn bytes_are_those_between_vertices() {
        let vertex =
            |bytes_in, bytes_out| VertexOverview { bytes_in, bytes_out, ..VertexOverview::default() };
        let job = JobOverview {
            vertices: vec![vertex(0, 100), vertex(100, 7), vertex(7, 0)],
            // Whether it has a result or none.
            late_records: vec![Count { name: "Window".to_owned(), count: 3 }],
            ..Default::default()
        };
        let id = JobId::from_bytes([7; 16]);
        let job = JobOverview { job: id.as_bytes().to_vec(), ..job };
        let mut jobs = JobSummaries::default();
        jobs.submitted(id);
        assert_eq!(jobs.0[0].status, "CREATED");
        jobs.note(&job, None);
        assert_eq!(jobs.0.len(), 1, "it is the same job");
        let summary = jobs.0.remove(0);
        assert_eq!(summary.bytes_exchanged, 107);
        assert_eq!(summary.late_records, BTreeMap::from([("Window".to_owned(), 3)]));
        assert_eq!((summary.vertices[1].bytes_in, summary.vertices[1].bytes_out), (100, 7));
        let written = serde_json::to_value(&summary).unwrap();
        assert_eq!(
            (&written["bytes_exchanged"], &written["vertices"][0]["bytes_out"]),
            (&107.into(), &100.into())
        );
    }
}
