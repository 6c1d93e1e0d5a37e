//! What slot threads have to say to the JobManager, on its way: they must not wait for the network.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use flott_core::ids::ExecutionId;
use flott_plan::OperatorKey;
use flott_runtime::metrics::{OperatorMetrics, TaskMetrics};
use flott_runtime::task::{TaskEvent, TaskListener};
use tokio::sync::Notify;

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
}

impl Outbox {
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
            TaskEvent::CheckpointAcknowledged { .. } | TaskEvent::CheckpointDeclined { .. } => {}
        }
        let event = worker_message::Kind::Event(write_event(execution, event));
        inner.messages.push_back(WorkerMessage { kind: Some(event) });
        drop(inner);
        self.filled.notify_one();
    }
}
