//! Connections to a JobManager with the secret that the configuration names.

use std::future::Future;

use flott_cluster::client::Cluster;
use flott_cluster::secret_file::read_secret;
use flott_core::config::Configuration;

use crate::CommandError;

/// Connects to the JobManager at `address`.
pub(crate) async fn reach(address: &str, configuration: &Configuration) -> Result<Cluster, CommandError> {
    let secret = read_secret(configuration)?;
    Ok(Cluster::connect(address, &secret).await?)
}

/// Runs a command that talks to a cluster.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    // A thread that waits for a program that is being given up must not hold the command up.
    runtime.shutdown_background();
    outcome
}
