//! The client's side of a cluster: calls to its JobManager, and programs that are driven against it.
//!
//! The `flott` command uses it, and the ApplicationMaster that runs a program's `main` beside its JobManager.

mod driver;
pub mod report;

pub use driver::{DriveError, Driven, Driver, DriverListener, Program, start_program};

use std::future::Future;
use std::time::Duration;

use flott_runtime::net::handshake::Secret;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::rpc::connect::{ConnectError, connect};
use crate::rpc::control::job_manager_client::JobManagerClient;

/// How long a JobManager may take to answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why a JobManager did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It is silent.
    #[error("the JobManager at {address} did not answer in {} s", DEADLINE.as_secs())]
    Silent {
        /// Where it is.
        address: String,
    },
    /// It said no.
    #[error("the JobManager at {address} refuses: {reason}")]
    Refused {
        /// Where it is.
        address: String,
        /// What it said.
        reason: String,
    },
}

/// A connection to a JobManager.
#[derive(Debug, Clone)]
pub struct Cluster {
    address: String,
    client: JobManagerClient<Channel>,
}

impl Cluster {
    /// Connects to the JobManager at `address` (`HOST:PORT`).
    ///
    /// # Errors
    /// [`ClusterError::Connect`] that names the address.
    pub async fn connect(address: &str, secret: &Secret) -> Result<Self, ClusterError> {
        Ok(Self { address: address.to_owned(), client: connect(address, secret).await? })
    }

    /// Where the JobManager is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// For calls, whose answer goes through [`answer`](Self::answer).
    pub fn rpc(&self) -> JobManagerClient<Channel> {
        self.client.clone()
    }

    /// What the JobManager answered, within a deadline.
    ///
    /// # Errors
    /// [`ClusterError`] that says where it is.
    pub async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ClusterError> {
        let address = || self.address.clone();
        match tokio::time::timeout(DEADLINE, call).await {
            Err(_) => Err(ClusterError::Silent { address: address() }),
            Ok(Err(status)) => {
                Err(ClusterError::Refused { address: address(), reason: status.message().to_owned() })
            }
            Ok(Ok(response)) => Ok(response.into_inner()),
        }
    }
}
