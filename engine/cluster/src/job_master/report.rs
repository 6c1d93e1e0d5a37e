//! What a JobMaster lets others see of its job.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flott_core::Timestamp;
use flott_core::config::{self, Configuration};
use flott_core::ids::{Attempt, SubtaskId, VertexId};
use flott_core::time::NO_TIMESTAMP;
use flott_plan::OperatorKey;
use flott_plan::execution_graph::{ExecutionState, JobStatus};
use flott_runtime::slot::wall_clock_millis;
use flott_runtime::task::TaskFailure;
use tokio::sync::watch;

use super::checkpoint_report::CheckpointsReport;
use super::rates::{RateWindow, Rates, Sample};
use super::{Execution, JobMaster};
use crate::gateway::Place;

/// How often the figures are renewed while nothing else changes.
const INTERVAL: Duration = Duration::from_millis(500);

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobReport {
    /// The job's state; none: it has none yet.
    pub status: Option<JobStatus>,
    /// When it began, in milliseconds since the epoch; 0: it has not.
    pub started_millis: i64,
    /// When it was over, in milliseconds since the epoch; 0: it is not.
    pub ended_millis: i64,
    /// The vertices, producers first.
    pub vertices: Vec<VertexReport>,
    /// How many checkpoints were completed.
    pub completed_checkpoints: u64,
    /// How many restarts there were.
    pub restarts: u64,
    /// What failed last.
    pub failure: Option<String>,
    /// Why its end cannot be kept for the next leader, while that is tried again.
    pub unkept_end: Option<String>,
    /// Records that came too late, by the name of the operator.
    pub late_records: Vec<(String, u64)>,
    /// Records that could not be read, likewise.
    pub skipped_records: Vec<(String, u64)>,
    /// Everything else, for those who look closer.
    pub details: Arc<JobDetails>,
}

impl JobReport {
    /// What keeps it from its end, or has failed last.
    pub fn last_failure(&self) -> Option<&String> {
        self.unkept_end.as_ref().or(self.failure.as_ref())
    }
}

/// How far a vertex is. What it has counted is that of all attempts: what restarts have made it do twice is counted twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VertexReport {
    /// Its name.
    pub name: String,
    /// How many subtasks it has.
    pub parallelism: u32,
    /// How many of them are in which state.
    pub states: BTreeMap<ExecutionState, u32>,
    /// Records that its first operators have taken.
    pub records_in: u64,
    /// Records that its last operators have given.
    pub records_out: u64,
    /// Records that it has read from outside, if it is a source.
    pub records_read: u64,
    /// Bytes taken from channels.
    pub bytes_in: u64,
    /// Bytes given to channels.
    pub bytes_out: u64,
    /// Bytes that sources have read from outside, as far as they know.
    pub bytes_read: u64,
    /// Bytes that sinks have written outside, as far as they know.
    pub bytes_written: u64,
}

/// A job seen from near.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobDetails {
    /// When the job was last brought into each state, in milliseconds since the epoch.
    pub since: BTreeMap<JobStatus, i64>,
    /// Every subtask.
    pub subtasks: BTreeMap<SubtaskId, SubtaskReport>,
    /// The checkpoints.
    pub checkpoints: CheckpointsReport,
    /// The last failures, the newest first.
    pub failures: VecDeque<FailureReport>,
    /// There were more of them.
    pub more_failures: bool,
}

/// How far a subtask is.
#[derive(Debug, Clone, PartialEq)]
pub struct SubtaskReport {
    /// Its latest attempt.
    pub attempt: Attempt,
    /// The state of that.
    pub state: ExecutionState,
    /// When it was brought into each of its states, in milliseconds since the epoch.
    pub since: BTreeMap<ExecutionState, i64>,
    /// The operators, in the order of their chain; none before it runs.
    pub operators: Vec<OperatorReport>,
    /// Bytes taken from channels.
    pub bytes_in: u64,
    /// Bytes given to channels.
    pub bytes_out: u64,
    /// How long it was busy, in milliseconds.
    pub busy_millis: u64,
    /// How long it waited for room, in milliseconds.
    pub back_pressured_millis: u64,
    /// What it does in a second; none: not known yet, or it does not run.
    pub rates: Option<Rates>,
}

/// What an operator of a subtask has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorReport {
    /// Which.
    pub key: OperatorKey,
    /// Records taken.
    pub records_in: u64,
    /// Records given.
    pub records_out: u64,
    /// Records that came too late.
    pub late_records: u64,
    /// Records that could not be read.
    pub skipped_records: u64,
    /// The watermark that last came in.
    pub watermark: Timestamp,
    /// Bytes of memory that it is known to hold.
    pub memory_bytes: u64,
    /// Bytes read from outside.
    pub bytes_read: u64,
    /// Bytes written outside.
    pub bytes_written: u64,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureReport {
    /// When, in milliseconds since the epoch.
    pub millis: i64,
    /// The subtask that failed, or the first of them; none: the job as a whole.
    pub subtask: Option<SubtaskId>,
    /// Where that ran.
    pub place: Option<Place>,
    /// The operator.
    pub operator: String,
    /// What went wrong.
    pub message: String,
    /// Where, for a panic.
    pub backtrace: Option<String>,
}

impl SubtaskReport {
    fn of(execution: &Execution, rates: Option<Rates>) -> Self {
        let times = execution.task.times();
        let operators = execution.metrics.iter().map(|(key, metrics)| OperatorReport {
            key: *key,
            records_in: metrics.records_in.load(Ordering::Relaxed),
            records_out: metrics.records_out.load(Ordering::Relaxed),
            late_records: metrics.late_records.load(Ordering::Relaxed),
            skipped_records: metrics.skipped_records.load(Ordering::Relaxed),
            watermark: metrics.watermark.load(Ordering::Relaxed),
            memory_bytes: metrics.memory_bytes.load(Ordering::Relaxed),
            bytes_read: metrics.bytes_read.load(Ordering::Relaxed),
            bytes_written: metrics.bytes_written.load(Ordering::Relaxed),
        });
        Self {
            attempt: execution.attempt,
            state: execution.state,
            since: execution.since.clone(),
            operators: operators.collect(),
            bytes_in: execution.task.bytes_in.load(Ordering::Relaxed),
            bytes_out: execution.task.bytes_out.load(Ordering::Relaxed),
            busy_millis: times.busy_micros() / 1000,
            back_pressured_millis: times.back_pressured_micros / 1000,
            rates: rates.filter(|_| execution.state == ExecutionState::Running),
        }
    }

    /// Records that it has read: a source takes splits, and reads what its first operator gives.
    pub fn records_read(&self, source: bool) -> u64 {
        self.operators.first().map_or(0, |first| if source { first.records_out } else { first.records_in })
    }

    /// Records that its last operator has given.
    pub fn records_out(&self) -> u64 {
        self.operators.last().map_or(0, |operator| operator.records_out)
    }

    /// Records that its operators called late.
    pub fn late_records(&self) -> u64 {
        self.operators.iter().map(|operator| operator.late_records).sum()
    }

    /// The watermark of its first operator; none: it has none yet.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.operators
            .first()
            .map(|operator| operator.watermark)
            .filter(|watermark| *watermark != NO_TIMESTAMP)
    }
}

/// When and where a report goes.
pub(super) struct Publisher {
    sender: watch::Sender<JobReport>,
    next: Instant,
    started_millis: i64,
    pub(super) since: BTreeMap<JobStatus, i64>,
    windows: HashMap<SubtaskId, (Attempt, RateWindow)>,
    failure: Option<String>,
    unkept_end: Option<String>,
    failures: VecDeque<FailureReport>,
    failure_count: usize,
    kept_failures: usize,
}

impl Publisher {
    /// The job began then; none: now.
    pub(super) fn new(
        sender: watch::Sender<JobReport>,
        configuration: &Configuration,
        started_millis: Option<i64>,
        now: Instant,
    ) -> Self {
        let created = wall_clock_millis();
        Self {
            sender,
            next: now,
            started_millis: started_millis.unwrap_or(created),
            since: BTreeMap::from([(JobStatus::Created, created)]),
            windows: HashMap::new(),
            failure: None,
            unkept_end: None,
            failures: VecDeque::new(),
            failure_count: 0,
            kept_failures: configuration.get(&config::EXCEPTION_HISTORY) as usize,
        }
    }

    /// When the figures are to be renewed.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Notes what failed, and where.
    pub(super) fn failed(&mut self, subtask: Option<SubtaskId>, place: Option<Place>, failure: &TaskFailure) {
        self.failure = Some(failure.to_string());
        self.note(FailureReport {
            millis: wall_clock_millis(),
            subtask,
            place,
            operator: failure.operator.clone(),
            message: failure.message.clone(),
            backtrace: failure.backtrace.clone(),
        });
    }

    /// Notes that the job as a whole cannot go on.
    pub(super) fn job_failed(&mut self, reason: &str) {
        self.failure = Some(reason.to_owned());
        self.note_of_job(reason);
    }

    /// Its end cannot be kept for the next leader, and why. It is noted once, however often it is tried again.
    pub(super) fn end_is_unkept(&mut self, reason: String) {
        if self.unkept_end.is_none() {
            self.note_of_job(&reason);
        }
        self.unkept_end = Some(reason);
    }

    /// Its end is kept, or the part of it that could not be.
    pub(super) fn end_is_kept(&mut self) {
        self.unkept_end = None;
    }

    fn note_of_job(&mut self, reason: &str) {
        self.note(FailureReport {
            millis: wall_clock_millis(),
            subtask: None,
            place: None,
            operator: String::new(),
            message: reason.to_owned(),
            backtrace: None,
        });
    }

    /// What was told of a failure is replaced by the reason.
    pub(super) fn explain(&mut self, told: &str, reason: &str) {
        for text in self.failures.iter_mut().map(|failure| &mut failure.message).chain(&mut self.failure) {
            if text.contains(told) {
                *text = text.replace(told, reason);
            }
        }
    }

    fn note(&mut self, failure: FailureReport) {
        self.failure_count += 1;
        self.failures.push_front(failure);
        self.failures.truncate(self.kept_failures);
    }
}

impl JobMaster {
    /// Renews the report if it is time to, or the job's state has changed.
    pub(super) fn publish(&mut self) {
        let changed = self.report.sender.borrow().status != Some(self.status);
        let now = self.environment.now();
        if !changed && now < self.report.next {
            return;
        }
        self.report.next = now + INTERVAL;
        let over = self.status.is_terminal();
        let [late_records, skipped_records] = self.all_counted().late_and_skipped();
        let report = JobReport {
            status: Some(self.status),
            started_millis: self.report.started_millis,
            ended_millis: if over { wall_clock_millis() } else { 0 },
            vertices: self.vertex_reports(),
            completed_checkpoints: self.checkpoints.completed_count(),
            restarts: self.restarts,
            failure: self.report.failure.clone(),
            // What is lost then has to end once more.
            unkept_end: self.report.unkept_end.clone().filter(|_| self.is_at_its_end()),
            late_records,
            skipped_records,
            details: Arc::new(self.details()),
        };
        self.report.sender.send_replace(report);
    }

    pub(super) fn details(&mut self) -> JobDetails {
        let windows = &mut self.report.windows;
        let subtasks = self.executions.iter().map(|(subtask, execution)| {
            let (attempt, window) = windows.entry(*subtask).or_default();
            if *attempt != execution.attempt {
                *attempt = execution.attempt;
                window.clear();
            }
            window.add(sample(execution));
            (*subtask, SubtaskReport::of(execution, window.rates()))
        });
        JobDetails {
            subtasks: subtasks.collect(),
            since: self.report.since.clone(),
            checkpoints: self.checkpoints.report(),
            failures: self.report.failures.clone(),
            more_failures: self.report.failure_count > self.report.failures.len(),
        }
    }

    pub(super) fn vertex_reports(&self) -> Vec<VertexReport> {
        let all = self.all_counted();
        let vertices = (0..).map(VertexId).zip(&self.graph.vertices);
        let mut reports: Vec<VertexReport> = vertices
            .map(|(id, vertex)| {
                let mut report = VertexReport {
                    name: vertex.name.clone(),
                    parallelism: vertex.parallelism,
                    ..VertexReport::default()
                };
                all.put_into(&mut report, id);
                report
            })
            .collect();
        for (subtask, execution) in &self.executions {
            let report = &mut reports[subtask.vertex.0 as usize];
            *report.states.entry(execution.state).or_default() += 1;
        }
        reports
    }
}

fn sample(execution: &Execution) -> Sample {
    let times = execution.task.times();
    let (task, operators) = (&execution.task, execution.metrics.iter());
    Sample {
        at_micros: times.at_micros,
        busy_micros: times.busy_micros(),
        working_micros: times.working_micros,
        back_pressured_micros: times.back_pressured_micros,
        bytes: [task.bytes_in.load(Ordering::Relaxed), task.bytes_out.load(Ordering::Relaxed)],
        records: operators
            .map(|(_, metrics)| {
                [metrics.records_in.load(Ordering::Relaxed), metrics.records_out.load(Ordering::Relaxed)]
            })
            .collect(),
    }
}
