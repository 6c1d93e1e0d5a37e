//! The cluster as a whole: `/config`, `/overview`, `/jobs`, `/jobs/overview`.

use flott_core::config::{self, Configuration};
use flott_plan::execution_graph::JobStatus;
use serde_json::{Value, json};

use super::view::{ClusterView, JobView};

/// The version of Flink whose REST API this is; tools ask for it to know the dialect.
const DIALECT: &str = "1.20.0";

/// What build this is.
pub(super) fn revision() -> String {
    format!("flott-{}", crate::program::VERSION)
}

/// `/config`
pub(super) fn dashboard(configuration: &Configuration) -> Value {
    json!({
        "refresh-interval": configuration.get(&config::WEB_REFRESH).as_millis() as u64,
        "timezone-name": "UTC",
        "timezone-offset": 0,
        "flink-version": DIALECT,
        "flink-revision": revision(),
        "features": {
            "web-submit": configuration.get(&config::WEB_SUBMIT),
            "web-cancel": configuration.get(&config::WEB_CANCEL),
            "web-rescale": false,
            "web-history": false,
        },
    })
}

/// `/overview`
pub(super) fn overview(view: &dyn ClusterView) -> Value {
    let (jobs, members) = (view.jobs(), view.task_managers());
    let of = |wanted: fn(JobStatus) -> bool| jobs.iter().filter(|job| wanted(job.status)).count();
    json!({
        "taskmanagers": members.len(),
        "taskmanagers-blocked": 0,
        "slots-total": members.iter().map(|member| member.slots).sum::<u32>(),
        "slots-available": members.iter().map(|member| member.free_slots()).sum::<u32>(),
        "slots-free-and-blocked": 0,
        "jobs-running": of(|status| !status.is_terminal()),
        "jobs-finished": of(|status| status == JobStatus::Finished),
        "jobs-cancelled": of(|status| status == JobStatus::Canceled),
        "jobs-failed": of(|status| status == JobStatus::Failed),
        "flink-version": DIALECT,
        "flink-commit": revision(),
    })
}

/// `/jobs`
pub(super) fn jobs(jobs: &[JobView]) -> Value {
    let all = jobs.iter().map(|job| json!({ "id": job.id.to_string(), "status": job.status.name() }));
    json!({ "jobs": all.collect::<Vec<_>>() })
}

/// `/jobs/overview`
pub(super) fn jobs_overview(jobs: &[JobView], now: i64) -> Value {
    json!({ "jobs": jobs.iter().map(|job| job_overview(job, now)).collect::<Vec<_>>() })
}

/// A job in a list.
pub(super) fn job_overview(job: &JobView, now: i64) -> Value {
    let counts = job.task_counts();
    let mut tasks: serde_json::Map<String, Value> =
        counts.iter().map(|(state, count)| (state.to_ascii_lowercase(), json!(count))).collect();
    tasks.insert("total".to_owned(), json!(counts.values().sum::<u64>()));
    let changed = job.details().since.values().max().copied().unwrap_or(job.submitted_millis);
    json!({
        "jid": job.id.to_string(),
        "name": job.graph.name,
        "state": job.status.name(),
        "start-time": job.started_millis(),
        "end-time": job.ended_millis().unwrap_or(-1),
        "duration": job.duration_millis(now),
        "last-modification": changed,
        "pending-operators": 0,
        "tasks": tasks,
    })
}
