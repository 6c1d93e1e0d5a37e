//! What happens when tasks fail or are lost, and when the job is told to stop.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use flott_core::config::{self, FailoverStrategy};
use flott_core::ids::{Attempt, ExecutionId, SubtaskId};
use flott_plan::ExchangeMode;
use flott_plan::execution_graph::{ExecutionState, JobStatus, ResultPartition, restart_set};
use flott_plan::restart_strategy::RestartDecision;
use flott_runtime::task::{TaskFailure, TaskMessage};

use super::{Doom, JobEvent, JobMaster, PendingRestart};
use crate::high_availability::StoreError;
use crate::high_availability::store::SoFar;

impl JobMaster {
    /// Whether somebody has yet to read what a subtask gave to a blocking exchange.
    fn is_still_needed(&self, subtask: SubtaskId) -> bool {
        let blocking = self.graph.outputs(subtask.vertex).filter(|edge| edge.mode == ExchangeMode::Blocking);
        let mut readers = blocking.flat_map(|edge| {
            let consumers = self.graph.consumers(edge.id, subtask.index).into_iter();
            consumers.map(|index| SubtaskId { vertex: edge.target, index })
        });
        readers.any(|reader| !self.executions[&reader].has_ended())
    }

    pub(super) fn lost(&mut self, executions: &[ExecutionId], reason: &str) {
        let (mut lost, mut stopping) = (Vec::new(), Vec::new());
        for id in executions {
            let is_needed = self.is_still_needed(id.subtask);
            let Some(execution) = self.executions.get_mut(&id.subtask) else { continue };
            if execution.attempt != id.attempt {
                continue;
            }
            execution.partitions_lost = true;
            if execution.is_active() {
                let canceling = execution.state == ExecutionState::Canceling;
                execution.enter(if canceling { ExecutionState::Canceled } else { ExecutionState::Failed });
                execution.canceling_since = None;
                if canceling { &mut stopping } else { &mut lost }.push(id.subtask);
            } else if execution.has_ended() && is_needed {
                // It has ended, but what it gave is gone and has to be given again.
                lost.push(id.subtask);
            }
        }
        let failure = |first: &SubtaskId| TaskFailure {
            operator: self.graph.vertex(first.vertex).name.clone(),
            subtask: first.index,
            fault: flott_runtime::error::Fault::Environment,
            message: reason.to_owned(),
            backtrace: None,
        };
        if let Some(first) = lost.first() {
            let failure = failure(first);
            self.failed(&lost, failure);
        } else if let Some(first) = stopping.first().filter(|_| self.status != JobStatus::Cancelling) {
            // What failed first was who talked with it.
            let failure = failure(first);
            self.note_failure(Some(*first), &failure);
            if let Some(doom) = &mut self.doom {
                doom.add(reason);
            }
        }
    }

    /// What restarts with these.
    pub(super) fn to_restart(&self, subtasks: &[SubtaskId]) -> BTreeSet<SubtaskId> {
        if self.committing {
            subtasks.iter().copied().collect()
        } else if self.configuration.get(&config::FAILOVER_STRATEGY) == FailoverStrategy::Full {
            self.graph.subtasks().collect()
        } else {
            let available = |partition: ResultPartition| {
                let subtask =
                    SubtaskId { vertex: self.graph.edge(partition.edge).source, index: partition.producer };
                self.executions[&subtask].has_ended() && !self.executions[&subtask].partitions_lost
            };
            restart_set(&self.graph, &self.regions, subtasks, available).into_iter().collect()
        }
    }

    fn note_failure(&mut self, subtask: Option<SubtaskId>, failure: &TaskFailure) {
        let place = subtask.and_then(|subtask| self.gateway.place_of(self.execution_id(subtask)));
        self.report.failed(subtask, place, failure);
    }

    pub(super) fn failed(&mut self, subtasks: &[SubtaskId], failure: TaskFailure) {
        tracing::warn!(job = %self.job, error = %failure, backtrace = failure.backtrace, "a task failed");
        self.give_up_checkpoint("a task failed");
        self.note_failure(subtasks.first().copied(), &failure);
        if matches!(self.status, JobStatus::Failing | JobStatus::Cancelling) {
            return;
        }
        let set = self.to_restart(subtasks);
        let now = self.environment.now();
        let elapsed = now.saturating_duration_since(self.started);
        let chance = f64::from(elapsed.subsec_nanos() % 1000) / 1000.0;
        match self.restart_strategy.on_failure(elapsed, chance) {
            RestartDecision::Fail { reason } => {
                self.become_status(JobStatus::Failing);
                self.pending_restart = None;
                self.doom = Some(Doom { cause: failure.to_string(), backtrace: failure.backtrace, reason });
                self.active().into_iter().for_each(|subtask| self.stop(subtask));
            }
            RestartDecision::Restart { delay } => {
                self.restarts += 1;
                if self.status == JobStatus::Running {
                    self.become_status(JobStatus::Restarting);
                }
                let at = now + delay;
                let mut subtasks = set;
                if let Some(earlier) = self.pending_restart.take() {
                    subtasks.extend(earlier.subtasks);
                }
                for subtask in &subtasks {
                    if self.executions[subtask].is_active() {
                        self.stop(*subtask);
                    }
                }
                self.pending_restart = Some(PendingRestart { subtasks, at });
                // What has to come from elsewhere comes during the delay.
                self.gateway.prepare();
            }
        }
    }

    /// It cannot end well, whatever is tried: the program is not what was submitted, say.
    pub(super) fn cannot_run(&mut self, reason: String) {
        if matches!(self.status, JobStatus::Failing | JobStatus::Cancelling) {
            return;
        }
        self.become_status(JobStatus::Failing);
        self.pending_restart = None;
        self.report.job_failed(&reason);
        let why = "another attempt would end the same way".to_owned();
        self.doom = Some(Doom { cause: reason, backtrace: None, reason: why });
        self.active().into_iter().for_each(|subtask| self.stop(subtask));
    }

    pub(super) fn stop(&mut self, subtask: SubtaskId) {
        let now = self.environment.now();
        if let Some(execution) = self.executions.get_mut(&subtask)
            && execution.state.may_become(ExecutionState::Canceling)
        {
            execution.enter(ExecutionState::Canceling);
            execution.canceling_since = Some(now);
        }
        self.send(subtask, TaskMessage::Cancel);
    }

    pub(super) fn cancel(&mut self) {
        if self.status.may_become(JobStatus::Cancelling) {
            self.become_status(JobStatus::Cancelling);
            self.pending_restart = None;
            self.give_up_checkpoint("the job was cancelled");
            self.active().into_iter().for_each(|subtask| self.stop(subtask));
        }
    }

    pub(super) fn restart(&mut self) {
        let Some(restart) = self.pending_restart.take() else { return };
        let first = self.record.as_ref().map_or(Attempt(0), |record| record.first_attempt());
        for subtask in restart.subtasks {
            if let Some(execution) = self.executions.get_mut(&subtask) {
                self.totals.add(&self.graph, subtask.vertex, execution);
                execution.task = Arc::default();
                execution.metrics = Vec::new();
                execution.attempt = Attempt(execution.attempt.0 + 1).max(first);
                execution.enter(ExecutionState::Created);
                execution.partitions_lost = false;
                if !self.committing {
                    // They were the attempt's before.
                    execution.handles.clear();
                }
            }
        }
        self.keep_so_far();
        self.become_status(JobStatus::Running);
        self.vacate_if_moved();
        self.schedule();
    }

    /// Has it kept for the next leader how the job has fared: there may be no checkpoint with which it would be.
    fn keep_so_far(&self) {
        let Some(record) = self.record.clone() else { return };
        let (job, so_far, events) = (self.job, self.so_far(), Arc::clone(&self.events));
        self.environment.run(Box::new(move || match record.restarted(so_far) {
            Ok(()) => {}
            Err(StoreError::NotLeader(_)) => events.put(JobEvent::Suspend),
            Err(error) => tracing::debug!(%job, %error, "a restart is not kept for the next leader"),
        }));
    }

    /// How the job has fared.
    pub(super) fn so_far(&self) -> SoFar {
        SoFar { restarts: self.restarts, totals: self.totals.write() }
    }

    pub(super) fn check_cancellation(&mut self, now: Instant) {
        let timeout = self.configuration.get(&config::CANCELLATION_TIMEOUT);
        let overdue: Vec<ExecutionId> = self
            .executions
            .iter()
            .filter(|(_, e)| e.canceling_since.is_some_and(|since| since + timeout <= now))
            .map(|(subtask, e)| ExecutionId { subtask: *subtask, attempt: e.attempt })
            .collect();
        for id in overdue {
            let name = &self.graph.vertex(id.subtask.vertex).name;
            tracing::error!(job = %self.job, task = %name, "a task did not stop in time; its worker is given up");
            if let Some(execution) = self.executions.get_mut(&id.subtask) {
                execution.canceling_since = None;
            }
            self.gateway.give_up_worker_of(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use flott_core::config;
    use flott_core::ids::JobId;
    use flott_runtime::task::TaskEvent;

    use super::super::harness::{Order, TestJob};
    use super::*;
    use crate::high_availability::HighAvailabilityStore;
    use crate::high_availability::store::{MemoryBlobs, MemoryPointers};
    use crate::result::JobError;
    use crate::rpc::control::Submission;
    use crate::rpc::ha::JobPointer;

    fn run_all(job: &mut TestJob) {
        for execution in job.executions() {
            let event = TaskEvent::Running { task: Arc::default(), metrics: Vec::new() };
            assert!(job.step(Some(JobEvent::Task { execution, event })).is_none());
        }
        job.ordered();
    }

    fn lose_all(job: &mut TestJob) {
        let (executions, reason) = (job.executions(), "its container is gone".to_owned());
        job.step(Some(JobEvent::Lost { executions, reason, explained_later: false }));
    }

    /// A job that runs, with these settings.
    fn running_job(settings: &[(&str, &str)]) -> TestJob {
        let mut job = TestJob::start(settings);
        run_all(&mut job);
        job
    }

    /// The same, and loses all its tasks.
    fn job_that_loses_all(settings: &[(&str, &str)]) -> TestJob {
        let mut job = running_job(settings);
        lose_all(&mut job);
        job
    }

    #[test]
    fn a_restart_is_got_ready_during_its_delay() {
        let delay = config::FIXED_DELAY.key;
        let mut job = job_that_loses_all(&[(config::RESTART_STRATEGY.key, "fixed-delay"), (delay, "10 s")]);
        assert_eq!(job.ordered(), [Order::Prepare]);
        job.set_time(9_999);
        job.step(None);
        assert_eq!(job.ordered(), []);
        job.set_time(10_000);
        job.step(None);
        assert!(job.ordered().iter().all(|order| matches!(order, Order::Deploy(_))));
        job.step(Some(JobEvent::Cancel));
        assert_eq!(job.ordered()[0], Order::WindDown);
    }

    #[test]
    fn nothing_is_got_ready_where_no_restart_follows() {
        let job = job_that_loses_all(&[(config::RESTART_STRATEGY.key, "none")]);
        assert_eq!(job.ordered(), [Order::WindDown]);
    }

    #[test]
    fn a_job_that_fails_while_it_waits_to_restart_does_not_restart() {
        let attempts = config::FIXED_DELAY_ATTEMPTS.key;
        let mut job = running_job(&[(config::RESTART_STRATEGY.key, "fixed-delay"), (attempts, "1")]);
        let executions = job.executions();
        let first = job.master.to_restart(&[executions[0].subtask]);
        let (region, others): (Vec<_>, Vec<_>) =
            executions.into_iter().partition(|execution| first.contains(&execution.subtask));
        assert!(!others.is_empty());
        let lost = |executions| JobEvent::Lost {
            executions,
            reason: "its container is gone".to_owned(),
            explained_later: true,
        };
        job.step(Some(lost(region)));
        job.step(Some(lost(others)));
        assert_eq!(job.ordered(), [Order::Prepare, Order::WindDown]);
        // It waits for what its container's end may explain, and not to begin again.
        job.set_time(2_000);
        assert!(job.step(None).is_none());
        assert_eq!(job.ordered(), []);
        job.set_time(20_000);
        assert!(matches!(job.step(None), Some(Err(JobError::Failed { .. }))));
    }

    #[test]
    fn the_next_leader_knows_of_a_restart_without_a_checkpoint() {
        let (pointers, blobs) = (MemoryPointers::default(), MemoryBlobs::default());
        let store = HighAvailabilityStore::new(Arc::new(pointers.next_writer()), Arc::new(blobs));
        let id = JobId::from_bytes([1; 16]);
        let record = store.submit(id, &Submission::default(), JobPointer::default()).unwrap();
        let strategy = (config::RESTART_STRATEGY.key, "fixed-delay");
        let mut job = TestJob::start_with(Some(Arc::clone(&record)), None, &[strategy]);
        run_all(&mut job);
        lose_all(&mut job);
        assert_eq!(record.pointer().restarts, 0);
        job.set_time(60_000);
        job.step(None);
        let pointer = record.pointer();
        assert_eq!((pointer.restarts, pointer.totals), (1, Some(job.master.all_counted().write())));
        // One that was written late says nothing new.
        record.restarted(SoFar::default()).unwrap();
        assert_eq!(record.pointer().restarts, 1);
    }
}
