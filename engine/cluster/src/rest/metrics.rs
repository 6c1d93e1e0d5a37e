//! Metrics under Flink's names, one by one and aggregated. A name that nobody knows is left out; the others are told.

use std::collections::BTreeMap;

use flott_plan::JobVertex;
use serde_json::{Map, Value, json};

use super::view::{ClusterView, JobView, TaskManagerView};
use crate::job_master::SubtaskReport;

/// Values by name.
pub(super) type Metrics = BTreeMap<String, f64>;

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Names, with commas between; none: which there are.
    pub(super) get: Option<Vec<String>>,
    /// Aggregations; none: all.
    pub(super) agg: Option<Vec<String>>,
}

impl Wanted {
    /// What a query asks for.
    pub(super) fn of(query: &BTreeMap<String, String>) -> Self {
        let list = |name: &str| {
            let text = query.get(name).filter(|text| !text.is_empty())?;
            Some(text.split(',').map(|part| part.trim().to_owned()).collect())
        };
        Self { get: list("get"), agg: list("agg") }
    }
}

/// A name as part of a metric's: what would end it, or part it, is replaced.
pub(super) fn in_name(text: &str) -> String {
    let replaced = text.chars().filter(|c| !matches!(c, '<' | '>' | '"'));
    replaced
        .map(|c| if c.is_alphanumeric() || matches!(c, '-' | '(' | ')' | '/') { c } else { '_' })
        .collect()
}

/// What a subtask counts, with what its operators do: `OPERATOR.NAME`.
pub(super) fn of_subtask(job: &JobView, vertex: &JobVertex, report: &SubtaskReport) -> Metrics {
    let mut metrics = of_task(job, vertex, report);
    let names = names_of(vertex);
    for (position, own) in of_operators(job, vertex, report) {
        metrics.extend(own.into_iter().map(|(name, value)| (format!("{}.{name}", names[position]), value)));
    }
    metrics
}

/// The names of a vertex's operators in those of metrics. Of several that are called the same, the later ones have numbers.
fn names_of(vertex: &JobVertex) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for operator in &vertex.operators {
        let first = in_name(&operator.name);
        let others = (2..).map(|number| format!("{first}_{number}"));
        let mut all = std::iter::once(first.clone()).chain(others);
        names.extend(all.find(|name| !names.contains(name)));
    }
    names
}

/// What a subtask counts as a whole.
pub(super) fn of_task(job: &JobView, vertex: &JobVertex, report: &SubtaskReport) -> Metrics {
    let mut metrics = Metrics::new();
    let source = job.is_source(vertex);
    let rates = report.rates.clone().unwrap_or_default();
    let rate = |operator: usize, side: usize| rates.records.get(operator).map_or(0.0, |both| both[side]);
    let read = usize::from(source);
    let last = report.operators.len().saturating_sub(1);
    let mut put = |name: &str, value: f64| metrics.insert(name.to_owned(), value);
    put("numRecordsIn", report.records_read(source) as f64);
    put("numRecordsOut", report.records_out() as f64);
    put("numRecordsInPerSecond", rate(0, read));
    put("numRecordsOutPerSecond", rate(last, 1));
    put("numBytesIn", report.bytes_in as f64);
    put("numBytesOut", report.bytes_out as f64);
    put("numBytesInPerSecond", rates.bytes[0]);
    put("numBytesOutPerSecond", rates.bytes[1]);
    if report.rates.is_some() {
        put("busyTimeMsPerSecond", rates.busy_millis.into());
        put("idleTimeMsPerSecond", rates.idle_millis.into());
        put("backPressuredTimeMsPerSecond", rates.back_pressured_millis.into());
        put("softBackPressuredTimeMsPerSecond", rates.back_pressured_millis.into());
        put("hardBackPressuredTimeMsPerSecond", 0.0);
        put("workingTimeMsPerSecond", rates.working_millis.into());
    }
    put("accumulateBusyTimeMs", report.busy_millis as f64);
    put("accumulateBackPressuredTimeMs", report.back_pressured_millis as f64);
    if let Some(first) = report.operators.first() {
        put("currentInputWatermark", first.watermark as f64);
    }
    metrics
}

/// What each operator of a subtask counts, by its position in the vertex.
pub(super) fn of_operators(
    job: &JobView,
    vertex: &JobVertex,
    report: &SubtaskReport,
) -> Vec<(usize, Metrics)> {
    let counted = report.operators.iter().enumerate().filter_map(|(position, operator)| {
        let planned = vertex.operators.iter().position(|planned| planned.key == operator.key)?;
        let reads = job.is_source(vertex) && position == 0;
        let rates = report.rates.as_ref().and_then(|rates| rates.records.get(position).copied());
        let rates = rates.unwrap_or_default();
        let taken = if reads { operator.records_out } else { operator.records_in };
        let mut metrics = Metrics::new();
        let mut put = |name: &str, value: f64| metrics.insert(name.to_owned(), value);
        put("numRecordsIn", taken as f64);
        put("numRecordsOut", operator.records_out as f64);
        put("numRecordsInPerSecond", rates[usize::from(reads)]);
        put("numRecordsOutPerSecond", rates[1]);
        put("numRecordsInErrors", operator.skipped_records as f64);
        put("numLateRecordsDropped", operator.late_records as f64);
        put("currentInputWatermark", operator.watermark as f64);
        put("memoryUsed", operator.memory_bytes as f64);
        if operator.bytes_read > 0 {
            put("numBytesIn", operator.bytes_read as f64);
        }
        if operator.bytes_written > 0 {
            put("numBytesOut", operator.bytes_written as f64);
        }
        Some((planned, metrics))
    });
    counted.collect()
}

/// What a vertex counts: `N.NAME` for each subtask.
pub(super) fn of_vertex(job: &JobView, vertex: &JobVertex) -> Metrics {
    let each = job.subtasks(vertex.id).flat_map(|(index, report)| {
        let metrics = of_subtask(job, vertex, report).into_iter();
        metrics.map(move |(name, value)| (format!("{index}.{name}"), value))
    });
    each.collect()
}

/// What a job counts.
pub(super) fn of_job(job: &JobView, now: i64) -> Metrics {
    let checkpoints = &job.details().checkpoints;
    let mut metrics = Metrics::new();
    let mut put = |name: &str, value: f64| metrics.insert(name.to_owned(), value);
    let is = |running: bool| if running { job.duration_millis(now) as f64 } else { 0.0 };
    put("uptime", is(job.status.name() == "RUNNING"));
    put("runningTime", is(job.status.name() == "RUNNING"));
    put("numRestarts", job.report.restarts as f64);
    put("fullRestarts", job.report.restarts as f64);
    put("totalNumberOfCheckpoints", checkpoints.begun as f64);
    put("numberOfCompletedCheckpoints", checkpoints.completed as f64);
    put("numberOfFailedCheckpoints", checkpoints.failed as f64);
    let in_progress = checkpoints.begun.saturating_sub(checkpoints.completed + checkpoints.failed);
    put("numberOfInProgressCheckpoints", in_progress as f64);
    if let Some(last) = &checkpoints.last_completed {
        put("lastCheckpointDuration", last.duration_millis() as f64);
        put("lastCheckpointSize", last.bytes() as f64);
        put("lastCheckpointFullSize", last.bytes() as f64);
        put("lastCompletedCheckpointId", last.id.0 as f64);
    }
    if let Some((_, millis)) = checkpoints.restored {
        put("lastCheckpointRestoreTimestamp", millis as f64);
    }
    metrics
}

/// What a TaskManager counts. Flott has no garbage to collect, and no heap apart from its memory.
pub(super) fn of_task_manager(member: &TaskManagerView) -> Metrics {
    let process = member.process;
    let mut metrics = Metrics::new();
    let mut put = |name: &str, value: f64| metrics.insert(name.to_owned(), value);
    put("Status.JVM.Memory.Heap.Used", process.memory_used as f64);
    put("Status.JVM.Memory.Heap.Committed", process.memory_used as f64);
    put("Status.JVM.Memory.Heap.Max", process.memory_limit as f64);
    put("Status.JVM.Memory.NonHeap.Used", 0.0);
    put("Status.JVM.Memory.Metaspace.Used", 0.0);
    put("Status.JVM.Memory.Metaspace.Max", 0.0);
    put("Status.JVM.GarbageCollector.All.Count", 0.0);
    put("Status.JVM.GarbageCollector.All.Time", 0.0);
    put("Status.JVM.GarbageCollector.All.TimeMsPerSecond", 0.0);
    put("Status.JVM.CPU.Load", process.cpu_load / f64::from(process.cores.max(1)));
    put("Status.Flink.Memory.Managed.Total", member.managed_bytes as f64);
    put("Status.Flink.Memory.Managed.Used", 0.0);
    put("taskSlotsTotal", f64::from(member.slots));
    put("taskSlotsAvailable", f64::from(member.free_slots()));
    metrics
}

/// What the JobManager counts.
pub(super) fn of_job_manager(view: &dyn ClusterView) -> Metrics {
    let (members, jobs) = (view.task_managers(), view.jobs());
    let running = jobs.iter().filter(|job| !job.status.is_terminal()).count();
    Metrics::from([
        ("taskSlotsTotal".to_owned(), members.iter().map(|member| f64::from(member.slots)).sum()),
        ("taskSlotsAvailable".to_owned(), members.iter().map(|member| f64::from(member.free_slots())).sum()),
        ("numRegisteredTaskManagers".to_owned(), members.len() as f64),
        ("numRunningJobs".to_owned(), running as f64),
    ])
}

/// A value as Flink writes it in a list: as text.
fn text(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { exact(value) }
}

fn exact(value: f64) -> String {
    // The least number there is stands for no watermark.
    if value <= i64::MIN as f64 { i64::MIN.to_string() } else { value.to_string() }
}

/// `…/metrics?get=`: the values asked for, or the names there are.
pub(super) fn list(metrics: &Metrics, wanted: &Wanted) -> Value {
    let entries: Vec<Value> = match &wanted.get {
        None => metrics.keys().map(|name| json!({ "id": name })).collect(),
        Some(names) => {
            let known = names.iter().filter_map(|name| Some((name, metrics.get(name)?)));
            known.map(|(name, value)| json!({ "id": name, "value": text(*value) })).collect()
        }
    };
    Value::Array(entries)
}

/// `…/metrics?get=&agg=` over several: the names there are, or what is asked for.
pub(super) fn aggregate(all: &[Metrics], wanted: &Wanted) -> Value {
    let Some(names) = &wanted.get else {
        let names: std::collections::BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
        return names.into_iter().map(|name| json!({ "id": name })).collect();
    };
    let entries = names.iter().filter_map(|name| {
        let values: Vec<f64> = all.iter().filter_map(|metrics| metrics.get(name)).copied().collect();
        let (least, most) =
            (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
        let sum: f64 = values.iter().sum();
        let mean = sum / values.len() as f64;
        let mut entry = Map::from_iter([("id".to_owned(), json!(name))]);
        let known = [("min", least), ("max", most), ("sum", sum), ("avg", mean), ("skew", skew(&values))];
        for (kind, value) in known {
            if wanted
                .agg
                .as_ref()
                .is_none_or(|kinds| kinds.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind)))
            {
                entry.insert(kind.to_owned(), json!(value));
            }
        }
        Some(Value::Object(entry))
    });
    entries.collect()
}

/// How unevenly something is spread, in percent: the mean distance from the mean, as a part of it.
pub(super) fn skew(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.is_empty() || mean == 0.0 {
        return 0.0;
    }
    let distance = values.iter().map(|value| (value - mean).abs()).sum::<f64>() / count;
    (distance / mean * 100.0).abs().min(100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &[(&str, &str)]) -> Wanted {
        Wanted::of(&query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn an_unknown_name_does_not_empty_the_reply() {
        let metrics = Metrics::from([("a".to_owned(), 1.0), ("b".to_owned(), 2.5)]);
        let listed = list(&metrics, &wanted(&[("get", "b,nobody,a")]));
        assert_eq!(listed, json!([{"id": "b", "value": "2.5"}, {"id": "a", "value": "1"}]));
        assert_eq!(list(&metrics, &wanted(&[])), json!([{"id": "a"}, {"id": "b"}]));
        let both = [metrics.clone(), Metrics::from([("a".to_owned(), 3.0)])];
        let least_and_mean = aggregate(&both, &wanted(&[("get", "a,x,b"), ("agg", "min,AVG")]));
        assert_eq!(
            least_and_mean,
            json!([{"id": "a", "min": 1.0, "avg": 2.0}, {"id": "b", "min": 2.5, "avg": 2.5}])
        );
        let all = aggregate(&both, &wanted(&[("get", "a")]));
        assert_eq!(all, json!([{"id": "a", "min": 1.0, "max": 3.0, "sum": 4.0, "avg": 2.0, "skew": 50.0}]));
        assert_eq!(aggregate(&[], &wanted(&[("get", "a")])), json!([]));
    }

    #[test]
    fn names_are_those_that_tools_look_for() {
        assert_eq!(in_name("Source: clicks"), "Source__clicks");
        assert_eq!(in_name("Sink: a.b \"c\""), "Sink__a_b_c");
        assert_eq!(text(i64::MIN as f64), "-9223372036854775808");
        assert_eq!(text(1e6), "1000000");
    }

    #[test]
    fn skew_is_nothing_where_all_are_alike() {
        assert_eq!(skew(&[5.0, 5.0, 5.0]), 0.0);
        assert_eq!(skew(&[]), 0.0);
        assert_eq!(skew(&[0.0, 0.0]), 0.0);
        assert_eq!(skew(&[0.0, 0.0, 0.0, 100.0]), 100.0);
    }
}
