//! A job: `/jobs/ID`, its plan, its configuration.

use std::collections::BTreeMap;

use flott_core::config;
use flott_core::ids::JobId;
use flott_plan::execution_graph::JobStatus;
use flott_plan::{ExchangeMode, ExecutionMode, JobEdge, JobGraph, JobVertex};
use serde_json::{Map, Value, json};

use super::view::{JobView, inputs_of, no_tasks, state_name, vertex_id, vertex_state, vertices_of};
use super::{failures, settings, vertices};

/// `/jobs/ID`
pub(super) fn details(job: &JobView, now: i64) -> Value {
    let vertices: Vec<Value> = job.vertices().map(|vertex| in_job(job, vertex, now)).collect();
    let mut counts = no_tasks();
    for vertex in job.vertices() {
        *counts.entry(state_of(job, vertex)).or_default() += 1;
    }
    json!({
        "jid": job.id.to_string(),
        "name": job.graph.name,
        "isStoppable": false,
        "state": job.status.name(),
        "job-type": if job.is_streaming() { "STREAMING" } else { "BATCH" },
        "start-time": job.started_millis(),
        "end-time": job.ended_millis().unwrap_or(-1),
        "duration": job.duration_millis(now),
        "maxParallelism": -1,
        "now": now,
        "timestamps": timestamps(job),
        "vertices": vertices,
        "status-counts": counts,
        "plan": plan(job.id, &job.graph),
        "stream-graph": {},
        "pending-operators": 0,
    })
}

/// `/jobs/ID/status`
pub(super) fn status(job: &JobView) -> Value {
    json!({ "status": job.status.name() })
}

/// `/jobs/ID/execution-result`
pub(super) fn execution_result(job: &JobView, now: i64) -> Value {
    let status = match job.status {
        JobStatus::Finished => "SUCCEEDED",
        JobStatus::Failed => "FAILED",
        JobStatus::Canceled => "CANCELED",
        _ => return json!({ "status": { "id": "IN_PROGRESS" } }),
    };
    let mut result = json!({
        "id": job.id.to_string(),
        "application-status": status,
        "accumulator-results": {},
        "net-runtime": job.duration_millis(now),
    });
    if let (JobStatus::Failed, Some(result)) = (job.status, result.as_object_mut()) {
        result.insert("failure-cause".to_owned(), failures::cause(job));
    }
    json!({ "status": { "id": "COMPLETED" }, "job-execution-result": result })
}

fn timestamps(job: &JobView) -> Map<String, Value> {
    let since = |status: &JobStatus| job.details().since.get(status).copied().unwrap_or(0);
    let own = JobStatus::ALL.iter().map(|status| (status.name().to_owned(), json!(since(status))));
    let others = [("INITIALIZING", job.submitted_millis), ("RECONCILING", 0)];
    own.chain(others.map(|(name, millis)| (name.to_owned(), json!(millis)))).collect()
}

pub(super) fn state_of(job: &JobView, vertex: &JobVertex) -> &'static str {
    vertex_state(job.subtasks(vertex.id).map(|(_, report)| report.state))
}

fn in_job(job: &JobView, vertex: &JobVertex, now: i64) -> Value {
    let mut tasks = no_tasks();
    for (_, report) in job.subtasks(vertex.id) {
        *tasks.entry(state_name(report.state)).or_default() += 1;
    }
    let spans = job.subtasks(vertex.id).map(|(_, report)| vertices::span(report, now));
    let span = vertices::joined(spans);
    json!({
        "id": vertex_id(vertex),
        "slotSharingGroupId": group_id(&vertex.slot_sharing_group),
        "name": vertex.name,
        "maxParallelism": vertex.max_parallelism.get(),
        "parallelism": vertex.parallelism,
        "status": state_of(job, vertex),
        "start-time": span.start,
        "end-time": span.end,
        "duration": span.duration(now),
        "tasks": tasks,
        "metrics": vertices::io_metrics(job.is_source(vertex), job.subtasks(vertex.id).map(|(_, report)| report)),
    })
}

/// Flink's slot sharing groups have ids rather than names.
fn group_id(name: &str) -> String {
    flott_core::ids::OperatorId::from_uid(name).to_string()
}

/// `/jobs/ID/plan` holds this under `plan`, and so does `/jars/ID/plan`.
pub(super) fn plan(id: JobId, graph: &JobGraph) -> Value {
    json!({
        "jid": id.to_string(),
        "name": graph.name,
        "type": if graph.mode == ExecutionMode::Streaming { "STREAMING" } else { "BATCH" },
        "nodes": vertices_of(graph).map(|vertex| node(graph, vertex)).collect::<Vec<_>>(),
    })
}

fn node(graph: &JobGraph, vertex: &JobVertex) -> Value {
    let mut node = json!({
        "id": vertex_id(vertex),
        "parallelism": vertex.parallelism,
        "operator": "",
        "operator_strategy": "",
        "description": vertex.name,
        "optimizer_properties": {},
    });
    let inputs: Vec<Value> =
        inputs_of(graph, vertex.id).enumerate().map(|(number, edge)| input(graph, number, edge)).collect();
    // As with Flink: a source has no inputs rather than an empty list.
    if let (false, Some(node)) = (inputs.is_empty(), node.as_object_mut()) {
        node.insert("inputs".to_owned(), json!(inputs));
    }
    node
}

fn input(graph: &JobGraph, number: usize, edge: &JobEdge) -> Value {
    json!({
        "num": number,
        "id": vertex_id(graph.vertex(edge.source)),
        "ship_strategy": edge.partitioning.name().to_ascii_uppercase(),
        "exchange": if edge.mode == ExchangeMode::Blocking { "blocking" } else { "pipelined_bounded" },
    })
}

/// `/jobs/ID/config`
pub(super) fn configuration(job: &JobView) -> Value {
    let configuration = &job.configuration;
    let users = configuration.entries().iter().filter(|(key, _)| key.starts_with("user."));
    let users: BTreeMap<&str, &str> =
        users.map(|(key, value)| (key.as_str(), settings::shown(key, value))).collect();
    let restart = configuration
        .get_optional(&config::RESTART_STRATEGY)
        .map_or_else(|| "Cluster level default restart strategy".to_owned(), |kind| kind.to_string());
    json!({
        "jid": job.id.to_string(),
        "name": job.graph.name,
        "execution-config": {
            "execution-mode": if job.is_streaming() { "PIPELINED" } else { "BATCH" },
            "restart-strategy": restart,
            "job-parallelism": configuration.get(&config::PARALLELISM),
            "object-reuse-mode": false,
            "user-config": users,
        },
    })
}

/// `/jobs/ID/accumulators`: Flott has none.
pub(super) fn accumulators() -> Value {
    json!({ "job-accumulators": [], "user-task-accumulators": [], "serialized-user-task-accumulators": {} })
}

/// `/jobs/ID/resource-requirements`
pub(super) fn resource_requirements(job: &JobView) -> Value {
    let bounds = job.vertices().map(|vertex| {
        let parallelism = json!({ "lowerBound": vertex.parallelism, "upperBound": vertex.parallelism });
        (vertex_id(vertex), json!({ "parallelism": parallelism }))
    });
    Value::Object(bounds.collect())
}
