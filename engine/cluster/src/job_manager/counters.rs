//! What a worker's subtasks have counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flott_core::ids::ExecutionId;
use flott_plan::OperatorKey;
use flott_runtime::metrics::{OperatorMetrics, TaskMetrics};
use flott_runtime::task::TaskEvent;

use crate::job_master::ExecutionReport;
use crate::rpc::{WireError, control, read_event, required};

/// What a worker's subtasks have counted, where their JobMaster reads it.
#[derive(Default)]
pub(super) struct Counters(HashMap<ExecutionId, (Arc<TaskMetrics>, OperatorCounters)>);

type OperatorCounters = Vec<(OperatorKey, Arc<OperatorMetrics>)>;

impl Counters {
    /// What a worker says of what it has run for earlier leaders.
    pub(super) fn read(&mut self, report: control::ExecutionReport) -> Result<ExecutionReport, WireError> {
        let execution = required(report.execution, "an execution")?.into();
        let mut events = Vec::with_capacity(report.events.len());
        for event in report.events {
            let (_, event) = read_event(event)?;
            if let TaskEvent::Running { task, metrics } = &event {
                self.0.insert(execution, (Arc::clone(task), metrics.clone()));
            }
            events.push(event);
        }
        let neighbours = report.neighbours.into_iter().map(Into::into).collect();
        Ok(ExecutionReport { execution, neighbours, events })
    }

    /// Something happened to one of them.
    pub(super) fn note(&mut self, execution: ExecutionId, event: &TaskEvent) {
        match event {
            TaskEvent::Running { task, metrics } => {
                self.0.insert(execution, (Arc::clone(task), metrics.clone()));
            }
            TaskEvent::Finished | TaskEvent::Canceled | TaskEvent::Failed(_) => {
                self.0.remove(&execution);
            }
            _ => {}
        }
    }

    /// They have counted on.
    pub(super) fn count(&self, metrics: control::Metrics) {
        for subtask in metrics.subtasks {
            let Some(execution) = subtask.execution else { continue };
            let Some((task, counters)) = self.0.get(&execution.into()) else { continue };
            task.told(subtask.times.unwrap_or_default().into());
            task.bytes_in.store(subtask.bytes_in, Ordering::Relaxed);
            task.bytes_out.store(subtask.bytes_out, Ordering::Relaxed);
            for (count, (_, counter)) in subtask.operators.into_iter().zip(counters) {
                counter.records_in.store(count.records_in, Ordering::Relaxed);
                counter.records_out.store(count.records_out, Ordering::Relaxed);
                counter.late_records.store(count.late_records, Ordering::Relaxed);
                counter.skipped_records.store(count.skipped_records, Ordering::Relaxed);
                counter.watermark.store(count.watermark, Ordering::Relaxed);
                counter.memory_bytes.store(count.memory_bytes, Ordering::Relaxed);
                counter.bytes_read.store(count.bytes_read, Ordering::Relaxed);
                counter.bytes_written.store(count.bytes_written, Ordering::Relaxed);
            }
        }
    }
}
