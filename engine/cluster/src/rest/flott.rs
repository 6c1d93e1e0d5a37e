//! What the page shows and Flink's paths do not tell: a whole job in one answer, with rates, skew and a diagnosis.

use std::collections::BTreeMap;

use flott_core::ids::SubtaskId;
use flott_plan::execution_graph::JobStatus;
use flott_plan::{ExchangeMode, JobVertex};
use serde_json::{Value, json};

use super::diagnosis::{diagnose, load};
use super::jobs::state_of;
use super::metrics::skew;
use super::overview::job_overview;
use super::view::{ClusterView, JobView, vertex_id};
use crate::job_master::SubtaskReport;

/// `/flott/overview`: what the page's first sight needs.
pub(super) fn overview(view: &dyn ClusterView, now: i64) -> Value {
    json!({
        "version": crate::program::VERSION,
        "now": now,
        "overview": super::overview::overview(view),
        "jobs": view.jobs().iter().map(|job| job_overview(job, now)).collect::<Vec<_>>(),
        "refresh": super::overview::dashboard(view.configuration())["refresh-interval"],
        "features": super::overview::dashboard(view.configuration())["features"],
    })
}

/// `/flott/jobs/ID`
pub(super) fn job(job: &JobView, now: i64) -> Value {
    let since: BTreeMap<&str, i64> =
        job.details().since.iter().map(|(status, at): (&JobStatus, &i64)| (status.name(), *at)).collect();
    json!({
        "id": job.id.to_string(),
        "name": job.graph.name,
        "state": job.status.name(),
        "streaming": job.is_streaming(),
        "now": now,
        "start": job.started_millis(),
        "end": job.ended_millis(),
        "duration": job.duration_millis(now),
        "since": since,
        "slots": job.graph.slots_needed(),
        "restarts": job.report.restarts,
        "checkpoints": job.details().checkpoints.completed,
        "failure": job.not_started.as_ref().or(job.report.last_failure()),
        "diagnosis": diagnose(job, now),
        "vertices": job.vertices().map(|each| vertex(job, each)).collect::<Vec<_>>(),
    })
}

fn vertex(job: &JobView, vertex: &JobVertex) -> Value {
    let source = job.is_source(vertex);
    let subtasks: Vec<Value> =
        job.subtasks(vertex.id).map(|(index, report)| subtask(job, vertex, index, report)).collect();
    let sum = |figure: &dyn Fn(&SubtaskReport) -> u64| -> u64 {
        job.subtasks(vertex.id).map(|(_, report)| figure(report)).sum()
    };
    let rate = |report: &SubtaskReport, last: bool| rate(report, last, source);
    let read: Vec<f64> = job.subtasks(vertex.id).map(|(_, report)| rate(report, false)).collect();
    let written: f64 = job.subtasks(vertex.id).map(|(_, report)| rate(report, true)).sum();
    let inputs = job.inputs(vertex.id).map(|edge| {
        json!({
            "id": vertex_id(job.graph.vertex(edge.source)),
            "ship": edge.partitioning.name(),
            "blocking": edge.mode == ExchangeMode::Blocking,
        })
    });
    let watermarks = job.subtasks(vertex.id).filter_map(|(_, report)| report.watermark());
    let load = load(job, vertex).map(|load| {
        json!({
            "busy": load.busy,
            "working": load.working,
            "backPressured": load.back_pressured,
            "idle": load.idle,
            "busiest": load.busiest.1,
        })
    });
    json!({
        "id": vertex_id(vertex),
        "name": vertex.name,
        "parallelism": vertex.parallelism,
        "maxParallelism": vertex.max_parallelism.get(),
        "state": state_of(job, vertex),
        "source": source,
        "inputs": inputs.collect::<Vec<_>>(),
        "operators": vertex.operators.iter().map(|operator| operator.name.as_str()).collect::<Vec<_>>(),
        "read": sum(&|report| report.records_read(source)),
        "written": sum(&|report| report.records_out()),
        "bytesIn": sum(&|report| report.bytes_in),
        "bytesOut": sum(&|report| report.bytes_out),
        "late": sum(&|report| report.late_records()),
        "memory": sum(&|report| memory(report)),
        "readRate": read.iter().sum::<f64>(),
        "writtenRate": written,
        "skew": skew(&read),
        "watermark": watermarks.min(),
        "load": load,
        "subtasks": subtasks,
    })
}

fn memory(report: &SubtaskReport) -> u64 {
    report.operators.iter().map(|operator| operator.memory_bytes).sum()
}

fn rate(report: &SubtaskReport, last: bool, source: bool) -> f64 {
    let Some(rates) = &report.rates else { return 0.0 };
    match last {
        true => rates.records.last().map_or(0.0, |both| both[1]),
        false => rates.records.first().map_or(0.0, |both| both[usize::from(source)]),
    }
}

fn subtask(job: &JobView, vertex: &JobVertex, index: u32, report: &SubtaskReport) -> Value {
    let source = job.is_source(vertex);
    let placed = job.placed.get(&SubtaskId { vertex: vertex.id, index });
    let load = report.rates.as_ref().map(|rates| {
        json!({
            "busy": rates.busy_millis,
            "working": rates.working_millis,
            "backPressured": rates.back_pressured_millis,
            "idle": rates.idle_millis,
        })
    });
    json!({
        "index": index,
        "attempt": report.attempt.0,
        "state": report.state.name(),
        "taskManager": placed.map(|(id, _)| id.to_string()),
        "address": placed.map(|(_, address)| address.as_str()),
        "since": report.since.get(&report.state),
        "read": report.records_read(source),
        "written": report.records_out(),
        "readRate": rate(report, false, source),
        "writtenRate": rate(report, true, source),
        "bytesIn": report.bytes_in,
        "bytesOut": report.bytes_out,
        "late": report.late_records(),
        "memory": memory(report),
        "watermark": report.watermark(),
        "load": load,
    })
}
