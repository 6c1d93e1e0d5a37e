//! Moving tasks from where they run to other workers, which are there already: a checkpoint is made for it, and what has to move restarts
//! from that one.

use flott_core::ids::{CheckpointId, ExecutionId, SubtaskId};
use flott_plan::execution_graph::JobStatus;

use super::{JobMaster, PendingRestart};

/// What has to move.
#[derive(Debug)]
pub(super) struct Moving {
    executions: Vec<ExecutionId>,
    reason: String,
    /// The first checkpoint that is new enough.
    from: CheckpointId,
}

impl JobMaster {
    fn is_current(&self, id: &ExecutionId) -> bool {
        let execution = self.executions.get(&id.subtask);
        execution.is_some_and(|execution| execution.attempt == id.attempt && execution.is_active())
    }

    /// These have to move, as soon as a checkpoint that begins now is complete.
    pub(super) fn move_away(&mut self, executions: Vec<ExecutionId>, reason: String) {
        let goes_on = matches!(self.status, JobStatus::Running | JobStatus::Restarting);
        if !goes_on || self.committing {
            return;
        }
        let from = self.checkpoints.begin_now(self.environment.now());
        tracing::info!(job = %self.job, reason, checkpoint = %from, tasks = executions.len(), "tasks move after a checkpoint");
        self.moving = Some(Moving { executions, reason, from });
        self.vacate_if_moved();
    }

    /// A checkpoint is complete: what has to move does, if that is new enough.
    pub(super) fn move_on(&mut self, checkpoint: CheckpointId) {
        let Some(moving) = &self.moving else { return };
        if checkpoint < moving.from {
            self.checkpoints.begin_now(self.environment.now());
            return;
        }
        if self.status != JobStatus::Running || self.committing {
            return;
        }
        let subtasks = moving.executions.iter().filter(|id| self.is_current(id)).map(|id| id.subtask);
        let subtasks: Vec<SubtaskId> = subtasks.collect();
        if subtasks.is_empty() {
            return self.vacate_if_moved();
        }
        tracing::info!(job = %self.job, reason = moving.reason, %checkpoint, "tasks move");
        self.restarts += 1;
        self.become_status(JobStatus::Restarting);
        let subtasks = self.to_restart(&subtasks);
        for subtask in &subtasks {
            if self.executions[subtask].is_active() {
                self.stop(*subtask);
            }
        }
        self.pending_restart = Some(PendingRestart { subtasks, at: self.environment.now() });
    }

    /// Where nothing runs any more that had to move, nothing is needed.
    pub(super) fn vacate_if_moved(&mut self) {
        let stays = |moving: &Moving| moving.executions.iter().any(|id| self.is_current(id));
        if self.moving.as_ref().is_some_and(|moving| !stays(moving)) {
            self.moving = None;
            self.gateway.vacate();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flott_core::config;
    use flott_core::ids::{Attempt, CheckpointId};
    use flott_runtime::snapshot::SubtaskSnapshot;
    use flott_runtime::task::{TaskEvent, TaskMessage};

    use super::super::JobEvent;
    use super::super::harness::{Order, TestJob};
    use super::*;

    /// A job that runs, and begins no checkpoint by itself.
    fn job() -> TestJob {
        let mut job = TestJob::start(&[(config::CHECKPOINT_INTERVAL.key, "1 h")]);
        for execution in job.executions() {
            let event = TaskEvent::Running { task: Arc::default(), metrics: Vec::new() };
            assert!(job.step(Some(JobEvent::Task { execution, event })).is_none());
        }
        job.ordered();
        job
    }

    fn all(job: &mut TestJob, executions: &[ExecutionId], event: impl Fn() -> TaskEvent) {
        for execution in executions {
            assert!(job.step(Some(JobEvent::Task { execution: *execution, event: event() })).is_none());
        }
    }

    fn acknowledged() -> TaskEvent {
        TaskEvent::CheckpointAcknowledged {
            checkpoint: CheckpointId(1),
            snapshot: SubtaskSnapshot::default(),
        }
    }

    fn leave(executions: Vec<ExecutionId>) -> Option<JobEvent> {
        Some(JobEvent::Move { executions, reason: "its node is decommissioned".to_owned() })
    }

    #[test]
    fn tasks_move_after_a_checkpoint_that_is_made_for_it() {
        let mut job = job();
        let executions = job.executions();
        job.step(leave(vec![executions[0]]));
        let ordered = job.ordered();
        let begun =
            |order: &Order| matches!(order, Order::Send(_, TaskMessage::TriggerCheckpoint(CheckpointId(1))));
        assert!(!ordered.is_empty() && ordered.iter().all(begun), "{ordered:?}");
        all(&mut job, &executions, acknowledged);
        let canceled: Vec<ExecutionId> = job
            .ordered()
            .into_iter()
            .filter_map(|order| match order {
                Order::Send(id, TaskMessage::Cancel) => Some(id),
                _ => None,
            })
            .collect();
        // Its region, and not the one beside it.
        assert!(canceled.contains(&executions[0]) && canceled.len() < executions.len(), "{canceled:?}");
        all(&mut job, &canceled, || TaskEvent::Canceled);
        let ordered = job.ordered();
        assert_eq!(ordered[0], Order::Vacate);
        let next = |id: &ExecutionId| Order::Deploy(ExecutionId { attempt: Attempt(1), ..*id });
        assert_eq!(ordered[1..], canceled.iter().map(next).collect::<Vec<_>>());
        let report = job.report.borrow();
        assert_eq!((report.restarts, report.failure.as_ref()), (1, None));
        assert_eq!(report.details.checkpoints.restored.map(|(id, _)| id), Some(CheckpointId(1)));
    }

    #[test]
    fn what_does_not_run_any_more_need_not_move() {
        let mut job = job();
        let gone = ExecutionId { attempt: Attempt(7), ..job.executions()[0] };
        job.step(leave(vec![gone]));
        assert_eq!(job.ordered()[0], Order::Vacate);
        let executions = job.executions();
        all(&mut job, &executions, acknowledged);
        assert_eq!(job.report.borrow().restarts, 0);
    }

    #[test]
    fn a_restart_in_between_moves_what_it_restarts() {
        let mut job = job();
        let executions = job.executions();
        job.step(leave(vec![executions[0]]));
        let lost = JobEvent::Lost {
            executions: executions.clone(),
            reason: "its node is gone".to_owned(),
            explained_later: false,
        };
        job.step(Some(lost));
        job.ordered();
        job.set_time(60_000);
        job.step(None);
        assert_eq!(job.ordered()[0], Order::Vacate);
    }

    #[test]
    fn a_checkpoint_that_fails_is_tried_again_at_once() {
        let tolerable = (config::TOLERABLE_FAILED_CHECKPOINTS.key, "9");
        let mut job = TestJob::start(&[(config::CHECKPOINT_INTERVAL.key, "1 h"), tolerable]);
        let executions = job.executions();
        all(&mut job, &executions, || TaskEvent::Running { task: Arc::default(), metrics: Vec::new() });
        job.step(leave(vec![executions[0]]));
        job.ordered();
        let declined = || TaskEvent::CheckpointDeclined {
            checkpoint: CheckpointId(1),
            reason: "the disk is full".to_owned(),
        };
        all(&mut job, &executions[..1], declined);
        job.ordered();
        job.set_time(1_000);
        job.step(None);
        let begun =
            |order: &Order| matches!(order, Order::Send(_, TaskMessage::TriggerCheckpoint(CheckpointId(2))));
        let ordered = job.ordered();
        assert!(!ordered.is_empty() && ordered.iter().all(begun), "{ordered:?}");
    }
}
