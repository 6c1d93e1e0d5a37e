//! What comes of a job.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use flott_core::config::{self, Configuration};
use flott_core::ids::{JobId, OperatorId};
use flott_core::{CodecError, Data};
use flott_plan::execution_graph::JobStatus;
use flott_runtime::sinks::decode_collected;

/// The bytes that a job of this configuration may collect.
pub(crate) fn most_collected(configuration: &Configuration) -> usize {
    usize::try_from(configuration.get(&config::MOST_COLLECTED).bytes()).unwrap_or(usize::MAX)
}

/// What a job that finished leaves behind.
#[derive(Debug, Clone)]
pub struct JobResult {
    /// The job.
    pub job: JobId,
    /// From its start to its end.
    pub runtime: Duration,
    /// What operators handed to the client: for each subtask, in order, its pieces.
    pub collected: HashMap<OperatorId, Vec<Vec<Bytes>>>,
    /// Records that came late, by operator name, in all attempts.
    pub late_records: Vec<(String, u64)>,
    /// Records that could not be read and were skipped, by operator name, in all attempts.
    pub skipped_records: Vec<(String, u64)>,
    /// How many checkpoints were completed.
    pub completed_checkpoints: u64,
    /// How many restarts there were.
    pub restarts: u64,
    /// The job was handed over and nobody waits for it, or its JobManager was out of reach when it ended: there are no results.
    pub detached: bool,
}

impl JobResult {
    /// What is known of a job that was handed over.
    pub(crate) fn detached() -> Self {
        Self {
            job: JobId::from_bytes([0; 16]),
            runtime: Duration::ZERO,
            collected: HashMap::new(),
            late_records: Vec::new(),
            skipped_records: Vec::new(),
            completed_checkpoints: 0,
            restarts: 0,
            detached: true,
        }
    }

    /// The records that an operator collected.
    ///
    /// # Errors
    /// [`CodecError`] if they are of another type, or if nobody has them.
    pub fn records<T: Data>(&self, operator: OperatorId) -> Result<Vec<T>, CodecError> {
        if self.detached {
            let reason = "the job was submitted detached, or its JobManager was out of reach when it ended, or has dropped what nobody fetched: its results stay in the cluster".to_owned();
            return Err(CodecError::invalid("result", reason));
        }
        let mut records = Vec::new();
        for pieces in self.collected.get(&operator).into_iter().flatten() {
            records.extend(decode_collected(pieces)?);
        }
        Ok(records)
    }
}

/// Why a job did not finish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// A task failed and no restart followed.
    #[error("job '{name}' ({job}) failed: {cause}; no restart: {reason}")]
    Failed {
        /// The job.
        job: JobId,
        /// Its name.
        name: String,
        /// What failed.
        cause: String,
        /// Why there was no restart.
        reason: String,
        /// Where, for a panic.
        backtrace: Option<String>,
    },
    /// It was cancelled.
    #[error("job '{name}' ({job}) was cancelled")]
    Canceled {
        /// The job.
        job: JobId,
        /// Its name.
        name: String,
    },
    /// It goes on under another JobManager, which alone knows what comes of it.
    #[error("job '{name}' goes on under another JobManager")]
    Suspended {
        /// Its name.
        name: String,
    },
    /// It could not be started.
    #[error("job '{name}' cannot start: {reason}")]
    NotStarted {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

impl JobError {
    /// The job's state.
    pub fn status(&self) -> JobStatus {
        match self {
            Self::Canceled { .. } => JobStatus::Canceled,
            Self::Suspended { .. } => JobStatus::Suspended,
            Self::Failed { .. } | Self::NotStarted { .. } => JobStatus::Failed,
        }
    }
}
