//! Connections to a JobManager with the secret that the configuration names.

use std::future::Future;
use std::time::Duration;

use flott_cluster::client::Cluster;
use flott_cluster::secret_file::read_secret;
use flott_core::config::{self, Configuration};

use crate::target::Target;
use crate::{CommandError, yarn};

/// Connects to the JobManager at `address`; none: to the one that leads.
pub(crate) async fn reach(
    address: Option<&str>,
    configuration: &Configuration,
) -> Result<Cluster, CommandError> {
    let secret = read_secret(configuration)?;
    match address {
        Some(address) => {
            let patience = configuration.get(&config::ABSENCE_TIMEOUT);
            Ok(Cluster::connect(address, &secret).await?.with_patience(patience))
        }
        None => Ok(Cluster::of_leader(configuration, &secret).await?),
    }
}

/// Connects to the cluster that a command means which only asks.
pub(crate) async fn reach_target(
    target: &Target,
    configuration: &Configuration,
) -> Result<Cluster, CommandError> {
    match target {
        // There is no other place to look for it: who asks is told at once what is wrong there.
        Target::Remote(address) => {
            Ok(reach(Some(address), configuration).await?.with_patience(Duration::ZERO))
        }
        Target::Elected => reach(None, configuration).await,
        Target::YarnSession(id) => yarn::cluster_of(configuration, id).await,
        Target::Local | Target::YarnPerJob | Target::YarnApplication => Err(format!(
            "which cluster is meant? Give its JobManager's address (-m HOST:PORT), or a YARN application's id (-yid or {})",
            yarn::SESSION_KEY
        )
        .into()),
    }
}

/// Runs a command that talks to a cluster.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    // A thread that waits for a program that is being given up must not hold the command up.
    runtime.shutdown_background();
    outcome
}
