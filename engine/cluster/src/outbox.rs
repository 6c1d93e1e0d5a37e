//! What slot threads have to say to the JobManager, on its way: they must not wait for the network.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use flott_core::ids::{ExecutionId, SubtaskId};
use flott_plan::OperatorKey;
use flott_runtime::metrics::{OperatorMetrics, TaskMetrics};
use flott_runtime::task::{TaskEvent, TaskListener};
use tokio::sync::Notify;

use crate::gateway::Deployment;
use crate::rpc::control::{self, WorkerMessage, worker_message};
use crate::rpc::write_event;

/// The counters of a subtask and its operators.
type Counters = (Arc<TaskMetrics>, Vec<(OperatorKey, Arc<OperatorMetrics>)>);

/// Messages to the JobManager. Bounded by what subtasks can say: a handful an attempt and one a checkpoint, and the next
/// checkpoint does not begin before the JobManager has heard of the last.
#[derive(Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    filled: Notify,
}

#[derive(Default)]
struct Inner {
    messages: VecDeque<WorkerMessage>,
    running: HashMap<ExecutionId, Counters>,
    /// The latest attempt of each subtask, for the next leader; none: there will be none.
    book: Option<HashMap<SubtaskId, Entry>>,
}

/// What is to be told of an attempt, whatever was told already.
struct Entry {
    execution: ExecutionId,
    neighbours: Vec<control::Execution>,
    counters: Counters,
    events: Vec<control::TaskEvent>,
}

impl Outbox {
    /// One that remembers what a next leader has to know.
    pub(crate) fn with_book() -> Self {
        let inner = Inner { book: Some(HashMap::new()), ..Inner::default() };
        Self { inner: Mutex::new(inner), filled: Notify::new() }
    }

    /// An attempt begins, in place of the subtask's last one.
    pub(crate) fn deployed(&self, deployment: &Deployment) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(book) = &mut inner.book {
            let neighbours = deployment.neighbours.iter().map(|(subtask, neighbour)| {
                ExecutionId { subtask: *subtask, attempt: neighbour.attempt }.into()
            });
            let execution = deployment.execution;
            let (neighbours, counters, events) = (neighbours.collect(), Counters::default(), Vec::new());
            book.insert(execution.subtask, Entry { execution, neighbours, counters, events });
        }
    }

    /// All that a new leader has to know, in place of all that was to be said to an earlier one.
    pub(crate) fn report(&self) -> Vec<control::ExecutionReport> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { messages, book, .. } = &mut *inner;
        let Some(book) = book else { return Vec::new() };
        messages.clear();
        let last = book.values().map(|entry| counted(entry.execution, &entry.counters)).collect();
        messages.push_back(metrics_message(last));
        let report = |entry: &Entry| control::ExecutionReport {
            execution: Some(entry.execution.into()),
            neighbours: entry.neighbours.clone(),
            events: entry.events.clone(),
        };
        book.values().map(report).collect()
    }

    /// The next message. Cancel safe.
    pub(crate) async fn next(&self) -> WorkerMessage {
        loop {
            let filled = self.filled.notified();
            let next = self.inner.lock().unwrap_or_else(PoisonError::into_inner).messages.pop_front();
            if let Some(message) = next {
                return message;
            }
            filled.await;
        }
    }

    /// The next message, if there is one.
    #[cfg(test)]
    pub(crate) fn take(&self) -> Option<WorkerMessage> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).messages.pop_front()
    }

    /// The memory that operators are known to hold, all running subtasks together, in bytes.
    pub(crate) fn memory(&self) -> HashMap<OperatorKey, u64> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = HashMap::new();
        for (key, metrics) in inner.running.values().flat_map(|(_, operators)| operators) {
            *memory.entry(*key).or_default() += metrics.memory_bytes.load(Ordering::Relaxed);
        }
        memory
    }

    /// What all running subtasks have counted.
    pub(crate) fn metrics(&self) -> WorkerMessage {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        metrics_message(
            inner.running.iter().map(|(execution, counters)| counted(*execution, counters)).collect(),
        )
    }
}

fn metrics_message(subtasks: Vec<control::SubtaskMetrics>) -> WorkerMessage {
    WorkerMessage { kind: Some(worker_message::Kind::Metrics(control::Metrics { subtasks })) }
}

fn counted(execution: ExecutionId, (task, operators): &Counters) -> control::SubtaskMetrics {
    let times = task.times();
    let operators = operators.iter().map(|(key, metrics)| control::OperatorMetrics {
        key: Some((*key).into()),
        records_in: metrics.records_in.load(Ordering::Relaxed),
        records_out: metrics.records_out.load(Ordering::Relaxed),
        late_records: metrics.late_records.load(Ordering::Relaxed),
        skipped_records: metrics.skipped_records.load(Ordering::Relaxed),
        watermark: metrics.watermark.load(Ordering::Relaxed),
        memory_bytes: metrics.memory_bytes.load(Ordering::Relaxed),
        bytes_read: metrics.bytes_read.load(Ordering::Relaxed),
        bytes_written: metrics.bytes_written.load(Ordering::Relaxed),
    });
    control::SubtaskMetrics {
        execution: Some(execution.into()),
        operators: operators.collect(),
        times: Some(times.into()),
        bytes_in: task.bytes_in.load(Ordering::Relaxed),
        bytes_out: task.bytes_out.load(Ordering::Relaxed),
    }
}

impl TaskListener for Outbox {
    fn event(&self, execution: ExecutionId, event: TaskEvent) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            TaskEvent::Running { task, metrics } => {
                inner.running.insert(execution, (Arc::clone(task), metrics.clone()));
            }
            TaskEvent::Drained(_) => {
                // The last figures come before the news that there will be no others.
                let last = inner.running.get(&execution).map(|counters| counted(execution, counters));
                inner.messages.extend(last.map(|last| metrics_message(vec![last])));
            }
            TaskEvent::Finished | TaskEvent::Canceled | TaskEvent::Failed(_) => {
                let last = inner.running.remove(&execution).map(|counters| counted(execution, &counters));
                inner.messages.extend(last.map(|last| metrics_message(vec![last])));
            }
            TaskEvent::CheckpointAcknowledged { .. } => {
                // If it is lost before it says more, at least what it need not do again is counted.
                let so_far = inner.running.get(&execution).map(|counters| counted(execution, counters));
                inner.messages.extend(so_far.map(|so_far| metrics_message(vec![so_far])));
            }
            TaskEvent::CheckpointDeclined { .. } => {}
        }
        let lasts =
            !matches!(event, TaskEvent::CheckpointAcknowledged { .. } | TaskEvent::CheckpointDeclined { .. });
        let counters = match &event {
            TaskEvent::Running { task, metrics } => Some((Arc::clone(task), metrics.clone())),
            _ => None,
        };
        let event = write_event(execution, event);
        let entry = inner.book.as_mut().and_then(|book| book.get_mut(&execution.subtask));
        if let Some(entry) = entry.filter(|entry| lasts && entry.execution == execution) {
            entry.events.push(event.clone());
            entry.counters = counters.unwrap_or_else(|| std::mem::take(&mut entry.counters));
        }
        let event = worker_message::Kind::Event(event);
        inner.messages.push_back(WorkerMessage { kind: Some(event) });
        drop(inner);
        self.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flott_core::ids::{Attempt, CheckpointId, VertexId};
    use flott_plan::execution_graph::SlotNumber;
    use flott_runtime::snapshot::SubtaskSnapshot;
    use flott_runtime::task::Restore;

    use super::*;

    fn attempt(number: u32) -> ExecutionId {
        let subtask = SubtaskId { vertex: VertexId(0), index: 0 };
        ExecutionId { subtask, attempt: Attempt(number) }
    }

    fn deployment(number: u32) -> Deployment {
        Deployment {
            execution: attempt(number),
            slot: SlotNumber(0),
            restore: Restore::default(),
            neighbours: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn a_report_holds_what_was_said_and_what_was_not() {
        let outbox = Outbox::with_book();
        outbox.deployed(&deployment(0));
        outbox.event(attempt(0), TaskEvent::Running { task: Arc::default(), metrics: Vec::new() });
        // Said, perhaps to a leader that died before it acted.
        outbox.next().await;
        let (checkpoint, snapshot) = (CheckpointId(1), SubtaskSnapshot { operators: Vec::new() });
        outbox.event(attempt(0), TaskEvent::CheckpointAcknowledged { checkpoint, snapshot });
        outbox.event(attempt(0), TaskEvent::Drained(Vec::new()));
        let report = outbox.report();
        assert_eq!(report.len(), 1);
        let kinds: Vec<_> = report[0].events.iter().filter_map(|event| event.kind.clone()).collect();
        assert!(matches!(
            kinds[..],
            [control::task_event::Kind::Running(_), control::task_event::Kind::Drained(_)]
        ));
        // Nothing of what was to be said to the earlier leader is said to this one.
        assert!(matches!(outbox.next().await.kind, Some(worker_message::Kind::Metrics(_))));
        outbox.event(attempt(0), TaskEvent::Finished);
        assert_eq!(outbox.report()[0].events.len(), 3);
        outbox.deployed(&deployment(65_536));
        // What an attempt says that was replaced is nothing the next leader has to know.
        outbox.event(attempt(0), TaskEvent::Canceled);
        let report = outbox.report();
        assert_eq!((report.len(), report[0].events.len()), (1, 0));
    }
}
