//! What was seen of a job, and what is told of it: fields and values, to the letter.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use flott_core::MaxParallelism;
use flott_core::config::Configuration;
use flott_core::ids::{Attempt, CheckpointId, EdgeId, JobId, OperatorId, SubtaskId, TaskManagerId, VertexId};
use flott_plan::execution_graph::{ExecutionState, JobStatus};
use flott_plan::{
    ChainedOperator, EdgeKey, ExchangeMode, ExecutionMode, JobEdge, JobGraph, JobVertex, OperatorKey, Origin,
    OutputPort, Partitioning, Variant, VertexRole,
};
use serde_json::{Value, json};

use super::view::{JobView, ProcessView, TaskManagerView};
use super::{
    checkpoints, diagnosis, failures, flott, jobs, metrics, overview, prometheus, task_managers, vertices,
};
use crate::gateway::Place;
use crate::job_master::{
    Acknowledged, CheckpointReport, CheckpointState, CheckpointsReport, FailureReport, JobDetails, JobReport,
    OperatorReport, Rates, SubtaskReport,
};

const START: i64 = 1_000_000;
const NOW: i64 = 1_060_000;

fn key(name: &str, variant: Variant) -> OperatorKey {
    OperatorKey::variant(OperatorId::from_uid(name), variant)
}

fn vertex(id: u32, name: &str, key: OperatorKey, parallelism: u32, role: VertexRole) -> JobVertex {
    JobVertex {
        id: VertexId(id),
        name: name.to_owned(),
        parallelism,
        max_parallelism: MaxParallelism::new(128).unwrap(),
        operators: vec![ChainedOperator {
            key,
            name: name.to_owned(),
            uid: None,
            input: None,
            managed_memory_weight: 0,
            stateful: false,
            watermark_group: None,
            origin: Origin { file: "main.rs".to_owned(), line: 1 },
        }],
        slot_sharing_group: "default".to_owned(),
        role,
        blocking: false,
        reads: Vec::new(),
    }
}

fn edge(id: u32, source: &JobVertex, target: &JobVertex, partitioning: Partitioning) -> JobEdge {
    JobEdge {
        id: EdgeId(id),
        source: source.id,
        source_operator: 0,
        target: target.id,
        input: 0,
        key: EdgeKey {
            source: source.operators[0].key,
            output: OutputPort::Main,
            target: target.operators[0].key,
            input: 0,
        },
        partitioning,
        mode: ExchangeMode::Pipelined,
        buffer_timeout_ms: Some(10),
    }
}

/// A source with its enumerator, and a keyed sum.
fn graph() -> JobGraph {
    let vertices = vec![
        vertex(0, "Source: clicks", key("clicks", Variant::Enumerator), 1, VertexRole::Enumerator),
        vertex(1, "Source: clicks", key("clicks", Variant::Default), 2, VertexRole::Subtasks),
        vertex(2, "Sum", key("sum", Variant::Default), 2, VertexRole::Subtasks),
    ];
    let edges = vec![
        edge(0, &vertices[0], &vertices[1], Partitioning::Demand),
        edge(1, &vertices[1], &vertices[2], Partitioning::Hash),
    ];
    JobGraph {
        name: "clicks by page".to_owned(),
        mode: ExecutionMode::Streaming,
        vertices,
        edges,
        configuration: BTreeMap::new(),
        program_hash: flott_plan::ProgramListing::default().hash(),
        program: flott_plan::ProgramListing::default(),
    }
}

fn subtask(
    graph: &JobGraph,
    id: SubtaskId,
    records: [u64; 2],
    load: [u32; 3],
    rates: [f64; 2],
) -> SubtaskReport {
    let [busy_millis, back_pressured_millis, idle_millis] = load;
    SubtaskReport {
        attempt: Attempt(0),
        state: ExecutionState::Running,
        since: BTreeMap::from([
            (ExecutionState::Created, START),
            (ExecutionState::Deploying, START + 10),
            (ExecutionState::Running, START + 60),
        ]),
        operators: vec![OperatorReport {
            key: graph.vertex(id.vertex).operators[0].key,
            records_in: records[0],
            records_out: records[1],
            late_records: 0,
            skipped_records: 0,
            bytes_read: 0,
            bytes_written: 0,
            watermark: START,
            memory_bytes: 1024,
        }],
        bytes_in: records[0] * 8,
        bytes_out: records[1] * 8,
        busy_millis: 30_000,
        back_pressured_millis: 10_000,
        rates: Some(Rates {
            busy_millis,
            working_millis: busy_millis,
            back_pressured_millis,
            idle_millis,
            bytes: [80.0, 80.0],
            records: vec![rates],
        }),
    }
}

fn checkpoint(id: u64, state: CheckpointState, subtasks: &[SubtaskId]) -> CheckpointReport {
    let begun = START + id as i64 * 1000;
    let part = Acknowledged { millis: begun + 40, bytes: 100 };
    CheckpointReport {
        id: CheckpointId(id),
        state,
        triggered_millis: begun,
        ended_millis: begun + 50,
        subtasks: 5,
        acknowledged: subtasks.iter().map(|subtask| (*subtask, part)).collect(),
        path: Some(format!("file:///c/chk-{id}")),
        discarded: false,
    }
}

fn job() -> JobView {
    let graph = graph();
    let id = |vertex, index| SubtaskId { vertex: VertexId(vertex), index };
    let subtasks = BTreeMap::from([
        (id(0, 0), subtask(&graph, id(0, 0), [0, 4], [0, 0, 1000], [0.0, 0.0])),
        (id(1, 0), subtask(&graph, id(1, 0), [2, 400], [100, 900, 0], [0.0, 40.0])),
        (id(1, 1), subtask(&graph, id(1, 1), [2, 600], [100, 900, 0], [0.0, 60.0])),
        (id(2, 0), subtask(&graph, id(2, 0), [900, 0], [990, 0, 10], [90.0, 0.0])),
        (id(2, 1), subtask(&graph, id(2, 1), [100, 0], [110, 0, 890], [10.0, 0.0])),
    ]);
    let all: Vec<SubtaskId> = subtasks.keys().copied().collect();
    let completed = checkpoint(1, CheckpointState::Completed, &all);
    let failed = checkpoint(2, CheckpointState::Failed("the disk is full".to_owned()), &all[..3]);
    let details = JobDetails {
        since: BTreeMap::from([(JobStatus::Created, START), (JobStatus::Running, START + 5)]),
        checkpoints: CheckpointsReport {
            begun: 2,
            completed: 1,
            failed: 1,
            history: VecDeque::from([failed.clone(), completed.clone()]),
            last_completed: Some(completed),
            last_failed: Some(failed),
            restored: Some((CheckpointId(1), START + 3000)),
            restores: 1,
        },
        failures: VecDeque::from([FailureReport {
            millis: START + 2500,
            subtask: Some(id(2, 1)),
            place: Some(Place {
                task_manager: TaskManagerId::from_bytes([6; 16]),
                address: "gone.example.org:6130".to_owned(),
            }),
            operator: "Sum".to_owned(),
            message: "panicked: overflow\nat main.rs".to_owned(),
            backtrace: Some("0: add".to_owned()),
        }]),
        more_failures: false,
        subtasks,
    };
    let report = JobReport {
        status: Some(JobStatus::Running),
        started_millis: START,
        restarts: 1,
        completed_checkpoints: 1,
        details: Arc::new(details),
        ..JobReport::default()
    };
    let mut configuration = Configuration::new();
    configuration.set("execution.checkpointing.interval", "1 s").unwrap();
    configuration.set("execution.checkpointing.dir", "file:///c").unwrap();
    configuration.set("user.token", "hidden").unwrap();
    let placed = [id(1, 0), id(1, 1), id(2, 0), id(2, 1)];
    let place = (TaskManagerId::from_bytes([7; 16]), "worker.example.org:6130".to_owned());
    JobView {
        id: JobId::from_bytes([1; 16]),
        status: JobStatus::Running,
        submitted_millis: START - 100,
        graph: Arc::new(graph),
        configuration: Arc::new(configuration),
        report,
        not_started: None,
        placed: placed.into_iter().map(|subtask| (subtask, place.clone())).collect(),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// Without what depends on the clock.
fn settled(mut value: Value) -> String {
    fn settle(value: &mut Value) {
        match value {
            Value::Array(all) => all.iter_mut().for_each(settle),
            Value::Object(fields) => {
                fields.remove("accumulated-idle-time");
                fields.values_mut().for_each(settle);
            }
            _ => {}
        }
    }
    settle(&mut value);
    pretty(&value)
}

#[test]
fn a_job_is_told_as_flink_tells_it() {
    let job = job();
    insta::assert_snapshot!("job", settled(jobs::details(&job, NOW)));
    insta::assert_snapshot!(
        "jobs_overview",
        pretty(&overview::jobs_overview(std::slice::from_ref(&job), NOW))
    );
    insta::assert_snapshot!("job_config", pretty(&jobs::configuration(&job)));
    insta::assert_snapshot!("resource_requirements", pretty(&jobs::resource_requirements(&job)));
    insta::assert_snapshot!("exceptions", pretty(&failures::exceptions(&job, 20)));
}

#[test]
fn a_vertex_is_told_as_flink_tells_it() {
    let job = job();
    let sum = job.vertices().nth(1).unwrap();
    let subtask = job.subtasks(sum.id).next().unwrap();
    insta::assert_snapshot!("subtask", settled(vertices::subtask(&job, sum, subtask.0, subtask.1, NOW)));
    insta::assert_snapshot!("back_pressure", pretty(&vertices::back_pressure(&job, sum, NOW)));
    insta::assert_snapshot!("watermarks", pretty(&vertices::watermarks(&job, sum)));
    insta::assert_snapshot!("subtask_times", pretty(&vertices::times(&job, sum, NOW)));
}

#[test]
fn how_a_job_ended_is_told_as_flink_tells_it() {
    let running = job();
    assert_eq!(jobs::status(&running), json!({ "status": "RUNNING" }));
    assert_eq!(jobs::execution_result(&running, NOW), json!({ "status": { "id": "IN_PROGRESS" } }));
    let over = |status| {
        let mut job = job();
        (job.status, job.report.ended_millis) = (status, START + 500);
        jobs::execution_result(&job, NOW)
    };
    let result = |status: &str| {
        json!({
            "id": "01".repeat(16),
            "application-status": status,
            "accumulator-results": {},
            "net-runtime": 500,
        })
    };
    for (status, told) in [(JobStatus::Finished, "SUCCEEDED"), (JobStatus::Canceled, "CANCELED")] {
        let expected = json!({ "status": { "id": "COMPLETED" }, "job-execution-result": result(told) });
        assert_eq!(over(status), expected);
    }
    let mut failed = result("FAILED");
    let trace = "panicked: overflow\nat main.rs\n0: add";
    failed["failure-cause"] = json!({ "class": "panicked: overflow", "stack-trace": trace });
    assert_eq!(over(JobStatus::Failed)["job-execution-result"], failed);
    // Another leader goes on with it.
    assert_eq!(over(JobStatus::Suspended), json!({ "status": { "id": "IN_PROGRESS" } }));
}

#[test]
fn operators_that_are_called_the_same_are_counted_apart() {
    let mut job = job();
    let mut graph = (*job.graph).clone();
    let id = SubtaskId { vertex: VertexId(2), index: 0 };
    let operators = &mut graph.vertices[2].operators;
    for (uid, name) in [("again", "Sum"), ("third", "Sum 2")] {
        let first = operators[0].clone();
        operators.push(ChainedOperator { key: key(uid, Variant::Default), name: name.to_owned(), ..first });
    }
    let mut details = job.details().clone();
    let report = details.subtasks.get_mut(&id).unwrap();
    for (uid, records_in) in [("again", 7), ("third", 3)] {
        let first = report.operators[0].clone();
        let key = key(uid, Variant::Default);
        report.operators.push(OperatorReport { key, records_in, ..first });
    }
    job.graph = Arc::new(graph);
    job.report.details = Arc::new(details);
    let (vertex, report) = (job.graph.vertex(VertexId(2)), &job.details().subtasks[&id]);
    let told = metrics::of_subtask(&job, vertex, report);
    let read = ["Sum.numRecordsIn", "Sum_2.numRecordsIn", "Sum_2_2.numRecordsIn"].map(|name| told[name]);
    assert_eq!(read, [900.0, 7.0, 3.0]);

    let mut scraped = prometheus::Families::default();
    scraped.add_job(&job, NOW);
    let text = scraped.text();
    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let labels: BTreeSet<&str> = series.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(labels.len(), series.len(), "{text}");
    let again = format!("operator_id=\"{}\",operator_name=\"Sum\"}} 7", OperatorId::from_uid("again"));
    assert!(text.contains(&again), "{again} in {text}");
}

#[test]
fn checkpoints_are_told_as_flink_tells_them() {
    let job = job();
    insta::assert_snapshot!("checkpoints", pretty(&checkpoints::overview(&job)));
    insta::assert_snapshot!("checkpoint_config", pretty(&checkpoints::configuration(&job)));
    let details = checkpoints::details(&job, CheckpointId(2)).unwrap();
    insta::assert_snapshot!("checkpoint_details", pretty(&details["tasks"]));
    assert_eq!(checkpoints::details(&job, CheckpointId(9)), None);
    let sum = job.vertices().nth(1).unwrap();
    let of_sum = checkpoints::of_vertex(&job, CheckpointId(2), sum).unwrap();
    assert_eq!(of_sum["subtasks"][1]["status"], "pending_or_failed");
}

#[test]
fn a_task_manager_is_told_as_flink_tells_it() {
    let member = TaskManagerView {
        id: TaskManagerId::from_bytes([7; 16]),
        address: "worker.example.org:6130".to_owned(),
        slots: 4,
        taken: vec![(JobId::from_bytes([1; 16]), 2)],
        managed_bytes: 400 << 20,
        heard_millis: NOW,
        process: ProcessView {
            memory_limit: 1000 << 20,
            memory_used: 300 << 20,
            cpu_load: 1.5,
            cores: 8,
            machine_memory: 16 << 30,
            machine_free: 8 << 30,
        },
    };
    insta::assert_snapshot!("task_manager", pretty(&task_managers::details(&member)));
}

#[test]
fn what_holds_a_job_back_is_said_in_words() {
    let said = |job: &JobView| {
        let findings = diagnosis::diagnose(job, NOW);
        findings.into_iter().map(|finding| finding.text).collect::<Vec<_>>()
    };
    insta::assert_snapshot!("diagnosis", said(&job()).join("\n"));
    // Without the load nothing is held back; and a job that is over needs no advice.
    let mut calm = job();
    let mut details = calm.details().clone();
    details.checkpoints = CheckpointsReport::default();
    for report in details.subtasks.values_mut() {
        let rates = report.rates.as_mut().unwrap();
        (rates.busy_millis, rates.back_pressured_millis, rates.idle_millis) = (100, 0, 900);
    }
    calm.report.details = Arc::new(details);
    assert_eq!(said(&calm), ["Nothing holds the job back."]);
    calm.status = JobStatus::Finished;
    assert!(said(&calm).is_empty());
}

#[test]
fn a_job_that_never_began_is_told_too() {
    let waiting = JobView { report: JobReport::default(), status: JobStatus::Created, ..job() };
    let told = jobs::details(&waiting, NOW);
    assert_eq!((&told["state"], &told["start-time"]), (&"CREATED".into(), &(START - 100).into()));
    assert_eq!(overview::job_overview(&waiting, NOW)["tasks"]["created"], 4);
    let failed =
        JobView { status: JobStatus::Failed, not_started: Some("no such checkpoint".to_owned()), ..waiting };
    assert_eq!(failures::exceptions(&failed, 1)["root-exception"], "no such checkpoint");
    assert_eq!(flott::job(&failed, NOW)["failure"], "no such checkpoint");
    assert!(checkpoints::overview(&failed)["latest"]["completed"].is_null());
    for vertex in failed.vertices() {
        vertices::details(&failed, vertex, NOW);
        vertices::back_pressure(&failed, vertex, NOW);
        vertices::task_managers(&failed, vertex, NOW);
    }
}
