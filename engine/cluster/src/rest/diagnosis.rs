//! Says in words what the figures of a job tell: which operator holds it back, and by what. Pure.

use std::collections::BTreeMap;

use flott_core::ids::VertexId;
use flott_plan::JobVertex;
use flott_plan::execution_graph::{ExecutionState, JobStatus};
use serde::Serialize;

use super::view::{JobView, vertex_id};
use crate::job_master::{CheckpointState, SubtaskReport};

/// From how many milliseconds a second of waiting on something counts as held back.
const HELD_BACK: f64 = 100.0;

/// From how many busy milliseconds a second there is not much left.
const BUSY: f64 = 700.0;

/// How many times the mean the busiest subtask may do before that is uneven.
const UNEVEN: f64 = 1.5;

/// How long a job may wait for slots before that is said, in milliseconds.
const PATIENCE_MILLIS: i64 = 5_000;

/// A sentence, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Whether somebody should do something.
    pub(super) warning: bool,
    /// The vertex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vertex: Option<String>,
    pub(super) text: String,
}

/// What the subtasks of a vertex do in a second, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Load {
    /// The mean.
    pub(super) busy: f64,
    pub(super) working: f64,
    pub(super) back_pressured: f64,
    pub(super) idle: f64,
    /// The busiest subtask, and how busy that is.
    pub(super) busiest: (u32, f64),
    /// How many times the mean the subtask with the most records takes of them, and which that is.
    pub(super) uneven: (u32, f64),
}

/// The load of a vertex; none before it is known.
pub(super) fn load(job: &JobView, vertex: &JobVertex) -> Option<Load> {
    let known: Vec<_> =
        job.subtasks(vertex.id).filter_map(|(index, report)| Some((index, report.rates.as_ref()?))).collect();
    let count = known.len() as f64;
    if known.is_empty() {
        return None;
    }
    let mean = |figure: fn(&crate::job_master::Rates) -> u32| {
        known.iter().map(|(_, rates)| f64::from(figure(rates))).sum::<f64>() / count
    };
    let side = usize::from(job.is_source(vertex));
    let records = |rates: &crate::job_master::Rates| rates.records.first().map_or(0.0, |both| both[side]);
    let mean_records = known.iter().map(|(_, rates)| records(rates)).sum::<f64>() / count;
    let most = known.iter().max_by(|a, b| records(a.1).total_cmp(&records(b.1)));
    let uneven = most.filter(|_| mean_records > 0.0);
    let busiest = known.iter().max_by_key(|(_, rates)| rates.busy_millis);
    Some(Load {
        busy: mean(|rates| rates.busy_millis),
        working: mean(|rates| rates.working_millis),
        back_pressured: mean(|rates| rates.back_pressured_millis),
        idle: mean(|rates| rates.idle_millis),
        busiest: busiest.map_or((0, 0.0), |(index, rates)| (*index, f64::from(rates.busy_millis))),
        uneven: uneven.map_or((0, 1.0), |(index, rates)| (*index, records(rates) / mean_records)),
    })
}

fn percent(millis: f64) -> String {
    format!("{:.0} %", millis / 10.0)
}

fn warning(vertex: Option<&JobVertex>, text: String) -> Finding {
    Finding { warning: true, vertex: vertex.map(vertex_id), text }
}

/// What there is to say about a job, the most important first.
pub(super) fn diagnose(job: &JobView, now: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    if job.status.is_terminal() {
        return findings;
    }
    findings.extend(waiting(job, now));
    findings.extend(bottlenecks(job));
    findings.extend(checkpoints(job));
    findings.extend(records(job));
    findings.extend(watermarks(job));
    if job.status == JobStatus::Running && findings.iter().all(|finding| !finding.warning) {
        let text = match job.vertices().any(|vertex| load(job, vertex).is_some()) {
            true => "Nothing holds the job back.",
            false => "The job has just begun; figures follow in a few seconds.",
        };
        findings.push(Finding { warning: false, vertex: None, text: text.to_owned() });
    }
    findings
}

fn waiting(job: &JobView, now: i64) -> Option<Finding> {
    let is_waiting = |report: &SubtaskReport| {
        report.state == ExecutionState::Deploying
            && report.since.get(&report.state).is_some_and(|since| now - since > PATIENCE_MILLIS)
    };
    let count = job.details().subtasks.values().filter(|report| is_waiting(report)).count();
    (count > 0).then(|| {
        let needed = job.graph.slots_needed();
        let text = format!(
            "{count} subtasks wait for their slots or for their processes to start: the job needs {needed} slots. Are there enough TaskManagers?"
        );
        warning(None, text)
    })
}

/// Who holds others back: of those that read from a vertex that is held back, and are not held back themselves, the busy ones. If none is,
/// the busiest.
fn bottlenecks(job: &JobView) -> Vec<Finding> {
    let loads: BTreeMap<VertexId, Load> =
        job.vertices().filter_map(|vertex| Some((vertex.id, load(job, vertex)?))).collect();
    let load_of = |id: VertexId| loads.get(&id).copied().unwrap_or_default();
    let is_held = |id: VertexId| load_of(id).back_pressured >= HELD_BACK;
    let mut held_by: BTreeMap<VertexId, Vec<VertexId>> = BTreeMap::new();
    for held in job.vertices().map(|vertex| vertex.id).filter(|id| is_held(*id)) {
        let readers = job.graph.outputs(held).map(|edge| edge.target).filter(|target| !is_held(*target));
        let mut readers: Vec<VertexId> = readers.collect();
        readers.sort_unstable_by(|a, b| load_of(*b).busiest.1.total_cmp(&load_of(*a).busiest.1));
        readers.dedup();
        let busy = readers.iter().filter(|reader| load_of(**reader).busiest.1 >= BUSY).count();
        for reader in readers.into_iter().take(busy.max(1)) {
            held_by.entry(reader).or_default().push(held);
        }
    }
    let name = |id: VertexId| job.graph.vertex(id).name.as_str();
    let mut findings: Vec<Finding> = Vec::new();
    for (culprit, held) in held_by {
        let waits: Vec<String> = held
            .iter()
            .map(|id| format!("«{}» {}", name(*id), percent(load_of(*id).back_pressured)))
            .collect();
        let vertex = job.graph.vertex(culprit);
        let text = format!(
            "«{}» holds the job back: its producers wait for it ({} of the time). {}",
            vertex.name,
            waits.join(", "),
            why(vertex, load_of(culprit))
        );
        findings.push(warning(Some(vertex), text));
    }
    let unhindered = job
        .vertices()
        .filter(|vertex| job.is_source(vertex) && !is_held(vertex.id) && load_of(vertex.id).busy >= BUSY);
    for vertex in unhindered {
        let text = format!(
            "«{}» reads as fast as it can ({} busy), and nobody keeps it waiting: more subtasks than {} would read more.",
            vertex.name,
            percent(load_of(vertex.id).busy),
            vertex.parallelism
        );
        findings.push(Finding { warning: false, vertex: Some(vertex_id(vertex)), text });
    }
    findings
}

fn why(vertex: &JobVertex, load: Load) -> String {
    let (busiest, most_busy) = load.busiest;
    let (fullest, times) = load.uneven;
    if vertex.parallelism > 1 && most_busy >= BUSY && times >= UNEVEN {
        return format!(
            "Its keys are uneven: subtask {} takes {times:.1} times as many records as the mean and is {} busy, the mean {}.",
            fullest + 1,
            percent(most_busy),
            percent(load.busy)
        );
    }
    if load.busy >= BUSY && load.working < load.busy / 2.0 {
        return format!(
            "Its subtasks could work {} of the time, but have their slots' threads for {} only: others in the same slots need the rest. More slots, or a slot sharing group of its own, would help.",
            percent(load.busy),
            percent(load.working)
        );
    }
    if load.busy >= BUSY {
        return format!(
            "It is busy {} of the time; more subtasks than {} would share the work.",
            percent(load.busy),
            vertex.parallelism
        );
    }
    if most_busy >= BUSY {
        return format!(
            "Subtask {} is {} busy, the mean {}.",
            busiest + 1,
            percent(most_busy),
            percent(load.busy)
        );
    }
    format!(
        "It is busy only {} of the time, so it waits itself: for what it writes to, or for one of its other inputs.",
        percent(load.busy)
    )
}

fn checkpoints(job: &JobView) -> Option<Finding> {
    let report = &job.details().checkpoints;
    let last = report.history.iter().find(|checkpoint| checkpoint.state != CheckpointState::InProgress)?;
    let CheckpointState::Failed(reason) = &last.state else { return None };
    Some(warning(None, format!("Checkpoint {} failed: {reason}.", last.id)))
}

fn records(job: &JobView) -> Vec<Finding> {
    let mut findings = Vec::new();
    for vertex in job.vertices() {
        let (mut late, mut skipped) = (0, 0);
        for operator in job.subtasks(vertex.id).flat_map(|(_, report)| &report.operators) {
            late += operator.late_records;
            skipped += operator.skipped_records;
        }
        if late > 0 {
            let text = format!("«{}» has seen {late} records that came after their time.", vertex.name);
            findings.push(warning(Some(vertex), text));
        }
        if skipped > 0 {
            let text = format!("«{}» has skipped {skipped} records that cannot be read.", vertex.name);
            findings.push(warning(Some(vertex), text));
        }
    }
    findings
}

/// Subtasks without a watermark while their siblings have one: windows behind them wait.
fn watermarks(job: &JobView) -> Vec<Finding> {
    let stuck = job.vertices().filter_map(|vertex| {
        let running = job.subtasks(vertex.id).filter(|(_, report)| report.state == ExecutionState::Running);
        let (with, without): (Vec<_>, Vec<_>) = running.partition(|(_, report)| report.watermark().is_some());
        let (first, _) = without.first().filter(|_| !with.is_empty())?;
        let text = format!(
            "{} of {} subtasks of «{}» have no watermark yet, subtask {} among them: windows behind them wait. A source without records needs an idleness timeout.",
            without.len(),
            with.len() + without.len(),
            vertex.name,
            first + 1
        );
        Some(warning(Some(vertex), text))
    });
    stuck.collect()
}
