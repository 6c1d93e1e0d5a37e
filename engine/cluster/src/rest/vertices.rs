//! The vertices of a job and their subtasks.

use std::collections::BTreeMap;

use flott_core::ids::SubtaskId;
use flott_plan::JobVertex;
use flott_plan::execution_graph::ExecutionState;
use serde_json::{Value, json};

use super::jobs::state_of;
use super::view::{JobView, no_tasks, state_name, vertex_id, vertex_state};
use crate::job_master::SubtaskReport;

/// From when to when something ran, in milliseconds since the epoch; -1: not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Span {
    pub(super) fn duration(self, now: i64) -> i64 {
        match (self.start, self.end) {
            (-1, _) => -1,
            (start, -1) => (now - start).max(0),
            (start, end) => (end - start).max(0),
        }
    }
}

/// When a subtask's attempt was deployed, and when it was over.
pub(super) fn span(report: &SubtaskReport, _now: i64) -> Span {
    let start = report.since.get(&ExecutionState::Deploying).copied();
    let end = report.since.get(&report.state).copied().filter(|_| report.state.is_terminal());
    Span { start: start.unwrap_or(-1), end: end.unwrap_or(-1) }
}

/// From the first start to the last end; no end while one is still to come.
pub(super) fn joined(spans: impl Iterator<Item = Span>) -> Span {
    let spans: Vec<Span> = spans.collect();
    let start = spans.iter().map(|span| span.start).filter(|start| *start >= 0).min().unwrap_or(-1);
    let open = spans.iter().any(|span| span.end < 0);
    let end = spans.iter().map(|span| span.end).max().filter(|_| !open).unwrap_or(-1);
    Span { start, end }
}

/// What subtasks have read, written and spent their time on.
pub(super) fn io_metrics<'a>(source: bool, reports: impl Iterator<Item = &'a SubtaskReport>) -> Value {
    let (mut bytes, mut records, mut busy, mut back_pressured, mut idle) = ([0, 0], [0, 0], 0, 0, 0_u64);
    let mut complete = true;
    for report in reports {
        bytes = [bytes[0] + report.bytes_in, bytes[1] + report.bytes_out];
        records = [records[0] + report.records_read(source), records[1] + report.records_out()];
        busy += report.busy_millis;
        back_pressured += report.back_pressured_millis;
        idle += idle_millis(report);
        complete &= !report.operators.is_empty();
    }
    json!({
        "read-bytes": bytes[0],
        "read-bytes-complete": complete,
        "write-bytes": bytes[1],
        "write-bytes-complete": complete,
        "read-records": records[0],
        "read-records-complete": complete,
        "write-records": records[1],
        "write-records-complete": complete,
        "accumulated-backpressured-time": back_pressured,
        "accumulated-idle-time": idle,
        "accumulated-busy-time": busy as f64,
    })
}

/// What is left of the time it has been running.
fn idle_millis(report: &SubtaskReport) -> u64 {
    let Some(started) = report.since.get(&ExecutionState::Running) else { return 0 };
    let until = if report.state.is_terminal() {
        report.since.get(&report.state).copied().unwrap_or(*started)
    } else {
        flott_runtime::slot::wall_clock_millis()
    };
    let ran = u64::try_from(until - started).unwrap_or(0);
    ran.saturating_sub(report.busy_millis + report.back_pressured_millis)
}

/// Where a subtask is.
fn place(job: &JobView, vertex: &JobVertex, index: u32) -> (String, String, String) {
    let subtask = SubtaskId { vertex: vertex.id, index };
    match job.placed.get(&subtask) {
        Some((id, address)) => {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            (host.to_owned(), address.clone(), id.to_string())
        }
        None => ("(unassigned)".to_owned(), "(unassigned)".to_owned(), "(unassigned)".to_owned()),
    }
}

/// How long an attempt was in each state, in milliseconds; -1: it was not.
fn status_duration(report: &SubtaskReport, now: i64) -> Value {
    let mut entered: Vec<(i64, ExecutionState)> =
        report.since.iter().map(|(state, at)| (*at, *state)).collect();
    entered.sort_unstable();
    let states = ["CREATED", "SCHEDULED", "DEPLOYING", "INITIALIZING", "RUNNING"];
    let mut durations: BTreeMap<&str, i64> = states.into_iter().map(|state| (state, -1)).collect();
    for (position, (at, state)) in entered.iter().enumerate() {
        let until = entered.get(position + 1).map_or(now, |(next, _)| *next);
        if let Some(duration) = durations.get_mut(state_name(*state)) {
            *duration = (*duration).max(0) + (until - at).max(0);
        }
    }
    json!(durations)
}

/// `/jobs/ID/vertices/VID/subtasks/N`, and an entry of `/jobs/ID/vertices/VID`
pub(super) fn subtask(
    job: &JobView,
    vertex: &JobVertex,
    index: u32,
    report: &SubtaskReport,
    now: i64,
) -> Value {
    let (host, endpoint, task_manager) = place(job, vertex, index);
    let span = span(report, now);
    json!({
        "subtask": index,
        "status": state_name(report.state),
        "attempt": report.attempt.0,
        "host": host,
        "endpoint": endpoint,
        "start-time": span.start,
        "start_time": span.start,
        "end-time": span.end,
        "duration": span.duration(now),
        "metrics": io_metrics(job.is_source(vertex), [report].into_iter()),
        "taskmanager-id": task_manager,
        "status-duration": status_duration(report, now),
        "other-concurrent-attempts": null,
    })
}

/// `/jobs/ID/vertices/VID`
pub(super) fn details(job: &JobView, vertex: &JobVertex, now: i64) -> Value {
    let subtasks = job.subtasks(vertex.id).map(|(index, report)| subtask(job, vertex, index, report, now));
    json!({
        "id": vertex_id(vertex),
        "name": vertex.name,
        "parallelism": vertex.parallelism,
        "maxParallelism": vertex.max_parallelism.get(),
        "now": now,
        "aggregated": aggregated(job.is_source(vertex), job.subtasks(vertex.id).map(|(_, report)| report).collect(), now),
        "subtasks": subtasks.collect::<Vec<_>>(),
    })
}

/// The least, the most, the mean and the sum over subtasks of what each has read, written and spent.
fn aggregated(source: bool, reports: Vec<&SubtaskReport>, now: i64) -> Value {
    let mut values: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut durations: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for report in &reports {
        let figures = io_metrics(source, [*report].into_iter());
        let figures = figures.as_object().into_iter().flatten();
        for (name, figure) in figures.filter(|(name, _)| !name.ends_with("-complete")) {
            let number = figure.as_f64().unwrap_or(0.0) as i64;
            values.entry(name.clone()).or_default().push(number);
        }
        let in_states = status_duration(report, now);
        for (state, millis) in in_states.as_object().into_iter().flatten() {
            durations.entry(state.clone()).or_default().push(millis.as_i64().unwrap_or(-1));
        }
    }
    let stats = |all: &BTreeMap<String, Vec<i64>>| -> Value {
        Value::Object(all.iter().map(|(name, numbers)| (name.clone(), statistics(numbers))).collect())
    };
    json!({ "metrics": stats(&values), "status-duration": stats(&durations) })
}

/// The figures by which Flink sums up many.
pub(super) fn statistics(numbers: &[i64]) -> Value {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let (count, sum) = (sorted.len() as i64, sorted.iter().sum::<i64>());
    let percentile = |part: f64| {
        let rank = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        sorted.get(rank).copied().unwrap_or(0) as f64
    };
    json!({
        "min": sorted.first().copied().unwrap_or(0),
        "max": sorted.last().copied().unwrap_or(0),
        "avg": if count > 0 { sum / count } else { 0 },
        "sum": sum,
        "median": percentile(0.5),
        "p25": percentile(0.25),
        "p50": percentile(0.5),
        "p75": percentile(0.75),
        "p90": percentile(0.9),
        "p95": percentile(0.95),
        "p99": percentile(0.99),
        "p999": percentile(0.999),
    })
}

/// `/jobs/ID/vertices/VID/subtasktimes`
pub(super) fn times(job: &JobView, vertex: &JobVertex, now: i64) -> Value {
    let subtasks = job.subtasks(vertex.id).map(|(index, report)| {
        let (host, endpoint, _) = place(job, vertex, index);
        let mut timestamps: BTreeMap<&str, i64> = no_tasks().into_keys().map(|state| (state, 0)).collect();
        for (state, at) in &report.since {
            // What waits for its commit still runs, for Flink's tools.
            if *state != ExecutionState::Drained {
                timestamps.insert(state_name(*state), *at);
            }
        }
        json!({
            "subtask": index,
            "host": host,
            "endpoint": endpoint,
            "duration": span(report, now).duration(now),
            "timestamps": timestamps,
        })
    });
    json!({ "id": vertex_id(vertex), "name": vertex.name, "now": now, "subtasks": subtasks.collect::<Vec<_>>() })
}

/// `/jobs/ID/vertices/VID/taskmanagers`
pub(super) fn task_managers(job: &JobView, vertex: &JobVertex, now: i64) -> Value {
    type Group<'a> = (String, String, Vec<&'a SubtaskReport>);
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for (index, report) in job.subtasks(vertex.id) {
        let (host, endpoint, id) = place(job, vertex, index);
        groups.entry(id).or_insert_with(|| (host, endpoint, Vec::new())).2.push(report);
    }
    let entries = groups.into_iter().map(|(id, (host, endpoint, reports))| {
        let mut counts = no_tasks();
        reports.iter().for_each(|report| *counts.entry(state_name(report.state)).or_default() += 1);
        let span = joined(reports.iter().map(|report| span(report, now)));
        json!({
            "host": host,
            "endpoint": endpoint,
            "status": vertex_state(reports.iter().map(|report| report.state)),
            "start-time": span.start,
            "end-time": span.end,
            "duration": span.duration(now),
            "metrics": io_metrics(job.is_source(vertex), reports.iter().copied()),
            "status-counts": counts,
            "taskmanager-id": id,
            "aggregated": aggregated(job.is_source(vertex), reports, now),
        })
    });
    json!({ "id": vertex_id(vertex), "name": vertex.name, "now": now, "taskmanagers": entries.collect::<Vec<_>>() })
}

/// `/jobs/ID/vertices/VID/watermarks`
pub(super) fn watermarks(job: &JobView, vertex: &JobVertex) -> Value {
    let subtasks = job.subtasks(vertex.id).filter_map(|(index, report)| {
        let watermark = report.operators.first()?.watermark;
        Some(json!({ "id": format!("{index}.currentInputWatermark"), "value": watermark.to_string() }))
    });
    Value::Array(subtasks.collect())
}

/// How strongly something is held up, in Flink's words.
pub(super) fn level(ratio: f64) -> &'static str {
    match ratio {
        ratio if ratio <= 0.1 => "ok",
        ratio if ratio <= 0.5 => "low",
        _ => "high",
    }
}

/// `/jobs/ID/vertices/VID/backpressure`
pub(super) fn back_pressure(job: &JobView, vertex: &JobVertex, now: i64) -> Value {
    let part = |millis: u32| f64::from(millis) / 1000.0;
    let with_rates =
        job.subtasks(vertex.id).filter_map(|(index, report)| Some((index, report, report.rates.as_ref()?)));
    let mut worst = 0.0_f64;
    let subtasks: Vec<Value> = with_rates
        .map(|(index, report, rates)| {
            let ratio = part(rates.back_pressured_millis);
            worst = worst.max(ratio);
            json!({
                "subtask": index,
                "attempt-number": report.attempt.0,
                "backpressure-level": level(ratio),
                "backpressureLevel": level(ratio),
                "ratio": ratio,
                "idleRatio": part(rates.idle_millis),
                "busyRatio": part(rates.busy_millis),
                "other-concurrent-attempts": null,
            })
        })
        .collect();
    if subtasks.is_empty() && state_of(job, vertex) != "RUNNING" {
        return json!({ "status": "deprecated", "backpressure-level": "ok", "backpressureLevel": "ok", "end-timestamp": now, "subtasks": [] });
    }
    json!({
        "status": "ok",
        "backpressure-level": level(worst),
        "backpressureLevel": level(worst),
        "end-timestamp": now,
        "subtasks": subtasks,
    })
}
