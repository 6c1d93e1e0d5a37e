//! Losses whose reason is not known yet. A job that goes on does not wait for it; one that fails does, for a moment, so that whoever hears of its
//! end hears the reason.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::JobMaster;

/// How long a job that fails waits for the reason: the news goes from node to ResourceManager to ApplicationMaster by heartbeats of about a second
/// each, more where all are busy.
const PATIENCE: Duration = Duration::from_secs(15);

/// The most losses that are remembered.
const REMEMBERED: usize = 64;

/// What was said of losses.
#[derive(Debug, Default)]
pub(super) struct Unexplained {
    /// Those whose reasons are waited for, and until when.
    awaited: Vec<(String, Instant)>,
    /// The last reasons that have come: news of a loss may be slower than its reason.
    known: VecDeque<(String, String)>,
}

impl Unexplained {
    /// What there is to say of a loss of which this was said: why, if that is known; else somebody is to say it later.
    pub(super) fn expect(&mut self, told: String, now: Instant) -> String {
        if let Some((_, reason)) = self.known.iter().find(|(other, _)| *other == told) {
            return reason.clone();
        }
        self.awaited.retain(|(_, until)| *until > now);
        if self.awaited.len() < REMEMBERED {
            self.awaited.push((told.clone(), now + PATIENCE));
        }
        told
    }

    fn explained(&mut self, told: &str, reason: &str) {
        self.awaited.retain(|(other, _)| other != told);
        self.known.push_back((told.to_owned(), reason.to_owned()));
        while self.known.len() > REMEMBERED {
            self.known.pop_front();
        }
    }

    /// Until when a reason is waited for; none: for none.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.awaited.iter().map(|(_, until)| *until).filter(|until| *until > now).max()
    }
}

impl JobMaster {
    /// The reason has come for what was told before: it takes its place.
    pub(super) fn explained(&mut self, told: &str, reason: &str) {
        tracing::warn!(job = %self.job, reason, "why tasks were lost");
        self.unexplained.explained(told, reason);
        self.report.explain(told, reason);
        if let Some(doom) = &mut self.doom {
            doom.cause = doom.cause.replace(told, reason);
            doom.add(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use flott_core::config;
    use flott_runtime::task::TaskMessage;

    use super::super::JobEvent;
    use super::super::harness::{Order, TestJob};
    use crate::result::{JobError, JobResult};

    const LOST: &str = "TaskManager 1 at node7:4000 is lost: its connection broke";
    const WHY: &str =
        "TaskManager container_1_0001_01_000002 on node7: killed by YARN: used 1.2 GiB of 1.1 GiB";

    /// A job that does not restart.
    fn job() -> TestJob {
        TestJob::start(&[(config::RESTART_STRATEGY.key, "none")])
    }

    fn lost(job: &TestJob, explained_later: bool) -> Option<JobEvent> {
        Some(JobEvent::Lost { executions: job.executions(), reason: LOST.to_owned(), explained_later })
    }

    fn cause(outcome: Option<Result<JobResult, JobError>>) -> String {
        match outcome {
            Some(Err(JobError::Failed { cause, .. })) => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_job_that_fails_waits_for_the_reason() {
        let mut job = job();
        assert!(job.step(lost(&job, true)).is_none());
        let explained = JobEvent::Explained { told: LOST.to_owned(), reason: WHY.to_owned() };
        let cause = cause(job.step(Some(explained)));
        assert!(cause.contains(WHY) && !cause.contains(LOST), "{cause}");
        let report = job.report.borrow();
        assert_eq!(report.details.failures[0].message, WHY);
        assert!(report.failure.as_ref().unwrap().contains(WHY));
    }

    #[test]
    fn a_reason_that_is_faster_than_the_loss_is_not_waited_for() {
        let mut job = job();
        let explained = JobEvent::Explained { told: LOST.to_owned(), reason: WHY.to_owned() };
        assert!(job.step(Some(explained)).is_none());
        let cause = cause(job.step(lost(&job, true)));
        assert!(cause.contains(WHY) && !cause.contains(LOST), "{cause}");
        assert_eq!(job.report.borrow().details.failures[0].message, WHY);
    }

    #[test]
    fn but_not_for_long_and_not_where_none_will_come() {
        let mut job = job();
        assert!(job.step(lost(&job, true)).is_none());
        job.set_time(14_999);
        assert!(job.step(None).is_none());
        job.set_time(15_000);
        assert!(cause(job.step(None)).contains(LOST));
        let mut job = self::job();
        assert!(cause(job.step(lost(&job, false))).contains(LOST));
    }

    /// A job whose first task has failed since a connection broke; the others are told to stop.
    fn failing_job() -> TestJob {
        let mut job = job();
        let first = job.executions()[0];
        let failure = flott_runtime::task::TaskFailure {
            operator: "sink".to_owned(),
            subtask: 0,
            fault: flott_runtime::error::Fault::Environment,
            message: "a connection broke".to_owned(),
            backtrace: None,
        };
        let event = flott_runtime::task::TaskEvent::Failed(failure);
        job.ordered();
        assert!(job.step(Some(JobEvent::Task { execution: first, event })).is_none());
        let told_to_stop = Order::Send(job.executions()[1], TaskMessage::Cancel);
        assert!(job.ordered().contains(&told_to_stop));
        job
    }

    #[test]
    fn what_failed_first_is_told_with_the_reason() {
        let mut job = failing_job();
        let cause = cause(job.step(lost(&job, false)));
        assert!(cause.contains("a connection broke") && cause.ends_with(LOST), "{cause}");
    }

    #[test]
    fn what_failed_first_is_told_with_the_reason_that_comes_later() {
        let mut job = failing_job();
        assert!(job.step(lost(&job, true)).is_none());
        let explained = JobEvent::Explained { told: LOST.to_owned(), reason: WHY.to_owned() };
        let cause = cause(job.step(Some(explained)));
        assert!(cause.contains("a connection broke") && cause.ends_with(WHY), "{cause}");
        assert!(!cause.contains(LOST), "{cause}");
        assert_eq!(job.report.borrow().details.failures[0].message, WHY);
    }
}
