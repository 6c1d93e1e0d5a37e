//! Calls to a JobManager, with deadlines and errors that say where it is.

use std::future::Future;
use std::time::Duration;

use flott_cluster::rpc::connect::connect;
use flott_cluster::rpc::control::job_manager_client::JobManagerClient;
use flott_cluster::secret_file::read_secret;
use flott_core::config::Configuration;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::CommandError;

/// How long a JobManager may take to answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// A connection to a JobManager.
pub(crate) struct Cluster {
    pub(crate) address: String,
    pub(crate) client: JobManagerClient<Channel>,
}

/// Connects with the secret that the configuration names.
pub(crate) async fn reach(address: String, configuration: &Configuration) -> Result<Cluster, CommandError> {
    let secret = read_secret(configuration)?;
    let client = connect(&address, &secret).await?;
    Ok(Cluster { address, client })
}

impl Cluster {
    /// What the JobManager answered.
    pub(crate) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CommandError> {
        let address = &self.address;
        match tokio::time::timeout(DEADLINE, call).await {
            Err(_) => {
                Err(format!("the JobManager at {address} did not answer in {} s", DEADLINE.as_secs()).into())
            }
            Ok(Err(status)) => {
                Err(format!("the JobManager at {address} refuses: {}", status.message()).into())
            }
            Ok(Ok(response)) => Ok(response.into_inner()),
        }
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
