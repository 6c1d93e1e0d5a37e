//! A job as the JobManager holds it: what it says of itself, and what came of it.

use std::sync::Arc;

use flott_core::config::Configuration;
use flott_core::ids::JobId;
use flott_plan::JobGraph;
use flott_plan::execution_graph::JobStatus;
use tokio::sync::watch;

use super::job_workers::JobWorkers;
use crate::high_availability::StoreError;
use crate::high_availability::store::JobRecord;
use crate::job_master::{JobEvent, JobReport};
use crate::program_store::ContentHash;
use crate::rest::JobView;
use crate::rpc::control::job_outcome::Kind;
use crate::rpc::control::{JobOutcome, JobOverview};
use crate::rpc::ha::State;
use crate::rpc::{WireId, write_report};

/// A job, while it runs and after.
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) name: String,
    pub(super) streaming: bool,
    pub(super) graph: Arc<JobGraph>,
    pub(super) configuration: Arc<Configuration>,
    pub(super) submitted_millis: i64,
    /// Of its program; none: it was over before this leader.
    pub(super) hash: Option<ContentHash>,
    pub(super) workers: Arc<JobWorkers>,
    pub(super) report: watch::Receiver<JobReport>,
    /// What came of it; of no kind: only the HA store knows.
    pub(super) outcome: watch::Receiver<Option<Arc<JobOutcome>>>,
    /// The same, to drop its results.
    pub(super) keeper: watch::Sender<Option<Arc<JobOutcome>>>,
    /// What is kept of it for the next leader; none: there will be none.
    pub(super) record: Option<Arc<JobRecord>>,
    /// Whether this leader goes on with it.
    pub(super) standing: watch::Sender<Standing>,
}

/// What a leader makes of a job. Where it is not [`Here`](Self::Here), its workers are left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It goes on, or is over.
    Here,
    /// What an earlier leader has left of it cannot be read yet, and why.
    Unread(String),
    /// That cannot be used, and why. Somebody has to decide: another version may go on with it, or it is cancelled.
    Broken(String),
}

impl Job {
    /// The state that follows from its report, and from what came of it. A job that never began has no report.
    fn status(&self) -> JobStatus {
        if matches!(&*self.standing.borrow(), Standing::Broken(_)) {
            return JobStatus::Suspended;
        }
        let reported = self.report.borrow().status;
        match (self.outcome.borrow().as_ref().map(|outcome| &outcome.kind), reported) {
            (Some(_), Some(status)) if status.is_terminal() => status,
            (Some(Some(Kind::Canceled(_))), _) => JobStatus::Canceled,
            (Some(_), _) => JobStatus::Failed,
            (None, status) => status.unwrap_or(JobStatus::Created),
        }
    }

    /// Why it does not go on here, or why it could not begin.
    fn obstacle(&self) -> Option<String> {
        if let Standing::Unread(reason) | Standing::Broken(reason) = &*self.standing.borrow() {
            return Some(reason.clone());
        }
        match &self.outcome.borrow().as_ref()?.kind {
            Some(Kind::NotStarted(reason)) => Some(reason.clone()),
            _ => None,
        }
    }

    /// All that it says of itself.
    pub(super) fn view(&self) -> JobView {
        JobView {
            id: self.id,
            status: self.status(),
            submitted_millis: self.submitted_millis,
            graph: Arc::clone(&self.graph),
            configuration: Arc::clone(&self.configuration),
            report: self.report.borrow().clone(),
            not_started: self.obstacle(),
            placed: self.workers.placed(),
        }
    }

    /// What it says of itself.
    pub(super) fn overview(&self) -> JobOverview {
        let (status, obstacle) = (self.status(), self.obstacle());
        let report = self.report.borrow();
        JobOverview {
            job: self.id.write(),
            name: self.name.clone(),
            status: status.name().to_owned(),
            started: if report.started_millis > 0 { report.started_millis } else { self.submitted_millis },
            streaming: self.streaming,
            failure: obstacle.or_else(|| report.last_failure().cloned()).unwrap_or_default(),
            ..write_report(&report)
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// Somebody has the results. Where there is a next leader they stay for a while: who has them may be cut off before it knows.
    pub(super) fn results_taken(&self) {
        if self.record.is_none() {
            self.drop_results();
        }
    }

    /// That is what came of it.
    pub(super) fn is_over_with(&self, outcome: JobOutcome) {
        self.keeper.send_replace(Some(Arc::new(outcome)));
    }

    /// It is over, and what came of it is in the HA store.
    pub(super) fn is_over_as_kept(&self) {
        self.is_over_with(JobOutcome { kind: None });
    }

    /// Whether its outcome is asked for again, by another attempt of the application, for as long as that lasts.
    pub(super) fn is_of_main(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.is_of_main())
    }

    /// What came of it, as a client is told. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] if that has to be read, and cannot be now.
    pub(super) fn told(&self, outcome: &JobOutcome) -> Result<JobOutcome, StoreError> {
        match (&outcome.kind, &self.record) {
            (None, Some(record)) => record.outcome(),
            _ => Ok(outcome.clone()),
        }
    }

    /// How many bytes of results are in memory.
    pub(super) fn collected_bytes(&self) -> u64 {
        let outcome = self.outcome.borrow();
        let Some(Kind::Result(result)) = outcome.as_ref().and_then(|outcome| outcome.kind.as_ref()) else {
            return 0;
        };
        let subtasks = result.collected.iter().flat_map(|operator| &operator.subtasks);
        subtasks.flat_map(|subtask| &subtask.pieces).map(|piece| piece.len() as u64).sum()
    }

    /// The results need more memory than there is for them: they stay where the next leader finds them, if there is to be one.
    pub(super) fn unload_results(&self) {
        match self.record {
            Some(_) => self.is_over_as_kept(),
            None => self.drop_results(),
        }
    }

    /// Nobody will ask for the results soon. Those that are asked for once more stay in the HA store.
    pub(super) fn drop_results(&self) {
        let is_of_main = self.is_of_main();
        self.keeper.send_if_modified(|outcome| {
            let Some(outcome) = outcome else { return false };
            let kind = &mut Arc::make_mut(outcome).kind;
            match kind {
                Some(Kind::Result(_)) if is_of_main => *kind = None,
                Some(Kind::Result(result)) if !result.collected.is_empty() => {
                    result.collected = Vec::new();
                    result.is_out_of_reach = true;
                }
                _ => {}
            }
            // Who waits for the outcome has it.
            false
        });
    }

    /// Whether somebody was told that it is cancelled.
    pub(super) fn is_to_be_cancelled(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.pointer().state() == State::Cancelling)
    }

    /// Has it cancelled. From when this returns it will be, whoever leads. Blocks.
    pub(super) fn cancel(&self) -> Result<(), StoreError> {
        if let Some(record) = self.record.as_ref().filter(|_| !self.is_over()) {
            record.cancel()?;
        }
        self.workers.events().put(JobEvent::Cancel);
        Ok(())
    }
}
