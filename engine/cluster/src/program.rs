//! What a program's `execute` does.

use flott_core::config::Configuration;
use flott_plan::JobGraph;
use flott_runtime::program::Program;

use crate::checkpoint::CompletedCheckpoint;
use crate::local::LocalCluster;
use crate::result::{JobError, JobResult};

/// Runs a job to its end, on an embedded cluster. Blocks.
///
/// # Errors
/// [`JobError`].
pub fn execute_job(
    graph: JobGraph,
    program: Program,
    configuration: &Configuration,
    restore: Option<CompletedCheckpoint>,
) -> Result<JobResult, JobError> {
    let name = graph.name.clone();
    let cluster = LocalCluster::start().map_err(|error| JobError::NotStarted {
        name,
        reason: format!("cannot start the embedded cluster: {error}"),
    })?;
    cluster.run(graph, program, configuration, restore)
}
