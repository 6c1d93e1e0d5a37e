//! Who and where an operator under test is.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use flott_core::ids::{JobId, OperatorId};
use flott_core::memory::ManagedMemory;
use flott_core::{MaxParallelism, Timestamp};

use crate::exchange::readers::Readers;
use crate::metrics::OperatorMetrics;
use crate::operator::OperatorInfo;
use crate::slot::TaskWaker;

/// Who and where the operator under test is.
#[derive(Debug, Clone)]
pub struct HarnessConfig {
    /// Its id.
    pub operator: OperatorId,
    /// Its subtask's index.
    pub subtask: u32,
    /// How many subtasks there are.
    pub parallelism: u32,
    /// How many attempts there were before this one.
    pub attempt: u32,
    /// How many key groups there are.
    pub max_parallelism: MaxParallelism,
    /// How many subtasks read what it emits.
    pub consumers: u32,
    /// On which hosts they run; where there are fewer, the others' are not known.
    pub consumer_hosts: Vec<String>,
    /// How often it may emit watermarks of its own.
    pub auto_watermark_interval: Duration,
    /// Its managed memory, in bytes.
    pub managed_memory: usize,
    /// What the clock shows when it opens, in milliseconds since the epoch.
    pub processing_time: Timestamp,
}

impl Default for HarnessConfig {
    fn default() -> Self {
        Self {
            operator: OperatorId::from_uid("harness"),
            subtask: 0,
            parallelism: 1,
            attempt: 0,
            max_parallelism: MaxParallelism::default_for(1),
            consumers: 1,
            consumer_hosts: Vec::new(),
            auto_watermark_interval: Duration::from_millis(200),
            managed_memory: 32 << 20,
            processing_time: 0,
        }
    }
}

impl HarnessConfig {
    /// What the operator is told of itself; `restored`: it goes on from a snapshot.
    pub fn info(&self, restored: bool) -> OperatorInfo {
        static IO: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
        let io = IO.get_or_init(|| {
            let io = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            io.expect("the system gives a thread")
        });
        let mut hosts: Vec<_> =
            self.consumer_hosts.iter().map(|host| Some(Arc::from(host.as_str()))).collect();
        hosts.resize(self.consumers as usize, None);
        OperatorInfo {
            name: "operator under test".to_owned(),
            job: JobId::from_bytes([0; 16]),
            job_name: "test".to_owned(),
            subtask: self.subtask,
            parallelism: self.parallelism,
            consumers: self.consumers,
            readers: Arc::new(Readers::detached(hosts)),
            attempt: self.attempt,
            restored,
            ended: false,
            temp_dir: std::env::temp_dir(),
            managed_memory: ManagedMemory::of_bytes(self.managed_memory),
            most_collected: usize::MAX,
            auto_watermark_interval: self.auto_watermark_interval,
            waker: TaskWaker::detached(),
            io: io.handle().clone(),
            metrics: Arc::new(OperatorMetrics::default()),
        }
    }
}
