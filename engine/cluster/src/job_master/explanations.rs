//! Losses whose reason is not known yet. A job that goes on does not wait for it; one that fails does, for a moment, so that whoever hears of its
//! end hears the reason.

use std::time::{Duration, Instant};

use super::JobMaster;

/// How long a job that fails waits for the reason.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most losses that are remembered.
const REMEMBERED: usize = 64;

/// What was said of losses, and until when their reasons are waited for.
#[derive(Debug, Default)]
pub(super) struct Unexplained(Vec<(String, Instant)>);

impl Unexplained {
    /// Somebody is to say later why.
    pub(super) fn expect(&mut self, told: &str, now: Instant) {
        self.0.retain(|(_, until)| *until > now);
        if self.0.len() < REMEMBERED {
            self.0.push((told.to_owned(), now + PATIENCE));
        }
    }

    /// Until when a reason is waited for; none: for none.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.0.iter().map(|(_, until)| *until).filter(|until| *until > now).max()
    }
}

impl JobMaster {
    /// The reason has come for what was told before: it takes its place.
    pub(super) fn explained(&mut self, told: &str, reason: &str) {
        tracing::warn!(job = %self.job, reason, "why tasks were lost");
        self.unexplained.0.retain(|(other, _)| other != told);
        self.report.explain(told, reason);
        if let Some(doom) = &mut self.doom {
            doom.cause = match doom.cause.contains(told) {
                true => doom.cause.replace(told, reason),
                // What failed first was who talked with it.
                false => format!("{}; {reason}", doom.cause),
            };
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
    fn but_not_for_long_and_not_where_none_will_come() {
        let mut job = job();
        assert!(job.step(lost(&job, true)).is_none());
        job.set_time(2_999);
        assert!(job.step(None).is_none());
        job.set_time(3_000);
        assert!(cause(job.step(None)).contains(LOST));
        let mut job = self::job();
        assert!(cause(job.step(lost(&job, false))).contains(LOST));
    }

    #[test]
    fn what_failed_first_is_told_with_the_reason() {
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
        assert!(job.step(lost(&job, true)).is_none());
        let explained = JobEvent::Explained { told: LOST.to_owned(), reason: WHY.to_owned() };
        let cause = cause(job.step(Some(explained)));
        assert!(cause.contains("a connection broke") && cause.ends_with(WHY), "{cause}");
        assert_eq!(job.report.borrow().details.failures[0].message, WHY);
    }
}
