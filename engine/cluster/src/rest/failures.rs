//! What went wrong: `/jobs/ID/exceptions`.

use serde_json::{Value, json};

use super::view::JobView;
use crate::job_master::FailureReport;

/// How many are told when nobody says.
pub(super) const DEFAULT_COUNT: usize = 20;

/// `/jobs/ID/exceptions?maxExceptions=N`
pub(super) fn exceptions(job: &JobView, most: usize) -> Value {
    let details = job.details();
    let last = details.failures.front();
    let shown = || details.failures.iter().take(most);
    let truncated = details.more_failures || details.failures.len() > most;
    let old_style = shown().map(|failure| {
        let (location, task_manager) = place(failure);
        json!({
            "exception": text(failure),
            "task": task_name(job, failure),
            "location": location,
            "endpoint": location,
            "timestamp": failure.millis,
            "taskManagerId": task_manager,
        })
    });
    let entries = shown().map(|failure| {
        let (location, task_manager) = place(failure);
        json!({
            "exceptionName": first_line(&failure.message),
            "stacktrace": text(failure),
            "timestamp": failure.millis,
            "taskName": task_name(job, failure),
            "location": location,
            "endpoint": location,
            "taskManagerId": task_manager,
            "failureLabels": {},
            "concurrentExceptions": [],
        })
    });
    let root = last.map(|failure| failure.message.clone()).or_else(|| job.not_started.clone());
    json!({
        "root-exception": root,
        "timestamp": last.map(|failure| failure.millis),
        "all-exceptions": old_style.collect::<Vec<_>>(),
        "truncated": truncated,
        "exceptionHistory": { "entries": entries.collect::<Vec<_>>(), "truncated": truncated },
    })
}

/// Why a job has failed, as an exception; Flott has no Java object of it to send.
pub(super) fn cause(job: &JobView) -> Value {
    let last = job.details().failures.front().map(text);
    let trace = last.or_else(|| job.not_started.clone()).unwrap_or_default();
    json!({ "class": first_line(&trace), "stack-trace": trace })
}

fn text(failure: &FailureReport) -> String {
    match &failure.backtrace {
        Some(backtrace) => format!("{}\n{backtrace}", failure.message),
        None => failure.message.clone(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// `Map (2/4) - operator`, as Flink numbers subtasks.
fn task_name(job: &JobView, failure: &FailureReport) -> Option<String> {
    let subtask = failure.subtask?;
    let vertex = job.graph.vertices.get(subtask.vertex.0 as usize)?;
    Some(format!("{} ({}/{})", vertex.name, subtask.index + 1, vertex.parallelism))
}

/// Where the subtask was when it failed.
fn place(failure: &FailureReport) -> (Option<String>, Option<String>) {
    failure.place.as_ref().map(|place| (place.address.clone(), place.task_manager.to_string())).unzip()
}
