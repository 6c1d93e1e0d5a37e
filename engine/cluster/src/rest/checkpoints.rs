//! Checkpoints: `/jobs/ID/checkpoints`, their details and configuration.

use std::collections::BTreeMap;

use flott_core::config::{self, CheckpointMode, CheckpointRetention};
use flott_core::ids::{CheckpointId, VertexId};
use flott_plan::JobVertex;
use serde_json::{Value, json};

use super::vertices::statistics;
use super::view::{JobView, vertex_id};
use crate::job_master::{Acknowledged, CheckpointReport, CheckpointState};

const IN_MEMORY: &str = "<checkpoint-not-externally-addressable>";

/// `/jobs/ID/checkpoints`
pub(super) fn overview(job: &JobView) -> Value {
    let report = &job.details().checkpoints;
    let in_progress =
        report.history.iter().filter(|checkpoint| checkpoint.state == CheckpointState::InProgress).count();
    let completed: Vec<&CheckpointReport> =
        report.history.iter().filter(|checkpoint| checkpoint.state == CheckpointState::Completed).collect();
    let bytes: Vec<i64> = completed.iter().map(|checkpoint| checkpoint.bytes() as i64).collect();
    let durations: Vec<i64> = completed.iter().map(|checkpoint| checkpoint.duration_millis()).collect();
    let nothing = || statistics(&vec![0; completed.len()]);
    let restored = report.restored.map(|(id, millis)| {
        json!({
            "id": id.0,
            "restore_timestamp": millis,
            "is_savepoint": false,
            "external_path": path_of(job, id),
        })
    });
    json!({
        "counts": {
            "restored": report.restores,
            "total": report.begun,
            "in_progress": in_progress,
            "completed": report.completed,
            "failed": report.failed,
        },
        "summary": {
            "checkpointed_size": statistics(&bytes),
            "state_size": statistics(&bytes),
            "end_to_end_duration": statistics(&durations),
            "alignment_buffered": nothing(),
            "processed_data": nothing(),
            "persisted_data": nothing(),
        },
        "latest": {
            "completed": report.last_completed.as_ref().map(|checkpoint| statistics_of(job, checkpoint, false)),
            "savepoint": null,
            "failed": report.last_failed.as_ref().map(|checkpoint| statistics_of(job, checkpoint, false)),
            "restored": restored,
        },
        "history": report.history.iter().map(|checkpoint| statistics_of(job, checkpoint, false)).collect::<Vec<_>>(),
    })
}

fn path_of(job: &JobView, id: CheckpointId) -> Option<&str> {
    let known = job.details().checkpoints.history.iter().find(|checkpoint| checkpoint.id == id);
    known.and_then(|checkpoint| checkpoint.path.as_deref())
}

/// `/jobs/ID/checkpoints/details/CID`
pub(super) fn details(job: &JobView, id: CheckpointId) -> Option<Value> {
    let report = &job.details().checkpoints;
    let kept = report.history.iter().chain(&report.last_completed).chain(&report.last_failed);
    kept.into_iter()
        .find(|checkpoint| checkpoint.id == id)
        .map(|checkpoint| statistics_of(job, checkpoint, true))
}

/// `/jobs/ID/checkpoints/details/CID/subtasks/VID`
pub(super) fn of_vertex(job: &JobView, id: CheckpointId, vertex: &JobVertex) -> Option<Value> {
    let report = &job.details().checkpoints;
    let kept = report.history.iter().chain(&report.last_completed).chain(&report.last_failed);
    let checkpoint = kept.into_iter().find(|checkpoint| checkpoint.id == id)?;
    let parts: Vec<(u32, Acknowledged)> = parts_of(checkpoint, vertex.id);
    let started = checkpoint.triggered_millis;
    let bytes: Vec<i64> = parts.iter().map(|(_, part)| part.bytes as i64).collect();
    let durations: Vec<i64> = parts.iter().map(|(_, part)| part.millis - started).collect();
    let subtasks =
        (0..vertex.parallelism).map(|index| match parts.iter().find(|(other, _)| *other == index) {
            None => json!({ "index": index, "status": "pending_or_failed" }),
            Some((_, part)) => json!({
                "index": index,
                "status": "completed",
                "ack_timestamp": part.millis,
                "end_to_end_duration": part.millis - started,
                "checkpointed_size": part.bytes,
                "state_size": part.bytes,
                "checkpoint": { "sync": 0, "async": 0 },
                "alignment": { "buffered": 0, "processed": 0, "persisted": 0, "duration": 0 },
                "start_delay": 0,
                "unaligned_checkpoint": false,
                "aborted": false,
            }),
        });
    let mut value = task(checkpoint, vertex);
    let object = value.as_object_mut()?;
    object.insert("subtasks".to_owned(), json!(subtasks.collect::<Vec<_>>()));
    let zero = || statistics(&vec![0; parts.len()]);
    object.insert(
        "summary".to_owned(),
        json!({
            "checkpointed_size": statistics(&bytes),
            "state_size": statistics(&bytes),
            "end_to_end_duration": statistics(&durations),
            "checkpoint_duration": { "sync": zero(), "async": zero() },
            "alignment": { "buffered": zero(), "processed": zero(), "persisted": zero(), "duration": zero() },
            "start_delay": zero(),
        }),
    );
    Some(value)
}

fn parts_of(checkpoint: &CheckpointReport, vertex: VertexId) -> Vec<(u32, Acknowledged)> {
    let of = checkpoint.acknowledged.iter().filter(|(subtask, _)| subtask.vertex == vertex);
    of.map(|(subtask, part)| (subtask.index, *part)).collect()
}

fn status(checkpoint: &CheckpointReport) -> &'static str {
    match checkpoint.state {
        CheckpointState::InProgress => "IN_PROGRESS",
        CheckpointState::Completed => "COMPLETED",
        CheckpointState::Failed(_) => "FAILED",
    }
}

fn task(checkpoint: &CheckpointReport, vertex: &JobVertex) -> Value {
    let parts = parts_of(checkpoint, vertex.id);
    let bytes: u64 = parts.iter().map(|(_, part)| part.bytes).sum();
    let last = parts.iter().map(|(_, part)| part.millis).max();
    let whole = parts.len() == vertex.parallelism as usize;
    json!({
        "id": checkpoint.id.0,
        "status": if whole { "COMPLETED" } else { status(checkpoint) },
        "latest_ack_timestamp": last.unwrap_or(-1),
        "checkpointed_size": bytes,
        "state_size": bytes,
        "end_to_end_duration": last.map_or(-1, |last| last - checkpoint.triggered_millis),
        "alignment_buffered": 0,
        "processed_data": 0,
        "persisted_data": 0,
        "num_subtasks": vertex.parallelism,
        "num_acknowledged_subtasks": parts.len(),
    })
}

fn statistics_of(job: &JobView, checkpoint: &CheckpointReport, with_tasks: bool) -> Value {
    let tasks: BTreeMap<String, Value> = match with_tasks {
        true => job.vertices().map(|vertex| (vertex_id(vertex), task(checkpoint, vertex))).collect(),
        false => BTreeMap::new(),
    };
    let mut value = json!({
        "id": checkpoint.id.0,
        "status": status(checkpoint),
        "is_savepoint": false,
        "savepointFormat": null,
        "trigger_timestamp": checkpoint.triggered_millis,
        "latest_ack_timestamp": checkpoint.last_answer_millis(),
        "checkpointed_size": checkpoint.bytes(),
        "state_size": checkpoint.bytes(),
        "end_to_end_duration": checkpoint.duration_millis(),
        "alignment_buffered": 0,
        "processed_data": 0,
        "persisted_data": 0,
        "num_subtasks": checkpoint.subtasks,
        "num_acknowledged_subtasks": checkpoint.acknowledged.len(),
        "checkpoint_type": "CHECKPOINT",
        "tasks": tasks,
    });
    let Some(object) = value.as_object_mut() else { return value };
    let mut add = |key: &str, value: Value| object.insert(key.to_owned(), value);
    match &checkpoint.state {
        CheckpointState::InProgress => {
            add("className", json!("in_progress"));
        }
        CheckpointState::Completed => {
            add("className", json!("completed"));
            add("external_path", json!(checkpoint.path.as_deref().unwrap_or(IN_MEMORY)));
            add("discarded", json!(checkpoint.discarded));
        }
        CheckpointState::Failed(reason) => {
            add("className", json!("failed"));
            add("failure_timestamp", json!(checkpoint.ended_millis));
            add("failure_message", json!(reason));
        }
    }
    value
}

/// `/jobs/ID/checkpoints/config`
pub(super) fn configuration(job: &JobView) -> Value {
    let configuration = &job.configuration;
    let interval = configuration.get_optional(&config::CHECKPOINT_INTERVAL).filter(|_| job.is_streaming());
    let directory = configuration.get_optional(&config::CHECKPOINT_DIR);
    let mode = match configuration.get(&config::CHECKPOINT_MODE) {
        CheckpointMode::AtLeastOnce => "at_least_once",
        _ => "exactly_once",
    };
    let deletes = configuration.get(&config::CHECKPOINT_RETENTION) == CheckpointRetention::Delete;
    // Flink says so when there are none: the largest number there is.
    let never = i64::MAX as u64;
    json!({
        "mode": mode,
        "interval": interval.map_or(never, |interval| interval.as_millis() as u64),
        "timeout": configuration.get(&config::CHECKPOINT_TIMEOUT).as_millis() as u64,
        "min_pause": configuration.get(&config::CHECKPOINT_MIN_PAUSE).as_millis() as u64,
        "max_concurrent": 1,
        "externalization": { "enabled": directory.is_some() && !deletes, "delete_on_cancellation": deletes },
        "state_backend": configuration.get(&config::STATE_BACKEND).to_string(),
        "checkpoint_storage": if directory.is_some() { "FileSystemCheckpointStorage" } else { "JobManagerCheckpointStorage" },
        "unaligned_checkpoints": false,
        "tolerable_failed_checkpoints": configuration.get(&config::TOLERABLE_FAILED_CHECKPOINTS),
        "aligned_checkpoint_timeout": 0,
        "checkpoints_after_tasks_finish": true,
        "state_changelog_enabled": false,
        "changelog_periodic_materialization_interval": -1,
        "changelog_storage": "",
    })
}
