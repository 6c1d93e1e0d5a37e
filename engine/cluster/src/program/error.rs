//! What can go wrong with a program.

use flott_core::CodecError;
use flott_core::config::ConfigError;
use flott_plan::PlanError;

use crate::result::JobError;

/// Why a program did not do what it says.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Its job.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A path.
    #[error(transparent)]
    Path(#[from] flott_fs::FsError),
    /// The checkpoint it should go on from.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::CheckpointError),
    /// A value that must be the same in every process.
    #[error(transparent)]
    Record(#[from] super::role::RecordError),
    /// What was to be printed.
    #[error("cannot write to standard output: {0}")]
    Print(#[source] std::io::Error),
    /// What was collected is not what was asked for.
    #[error("the collected records cannot be read: {0}")]
    Collected(#[from] CodecError),
}
