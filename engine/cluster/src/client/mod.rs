//! The client's side of a cluster: calls to its JobManager, and programs that are driven against it.
//!
//! The `flott` command uses it, and the ApplicationMaster that runs a program's `main` beside its JobManager.

mod driver;
pub mod report;

pub use driver::{DriveError, Driven, Driver, DriverListener, Program, start_program};

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_core::config::{self, Configuration};
use flott_runtime::net::handshake::Secret;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::high_availability::{self, HighAvailabilityError, LeaderRetrieval};
use crate::rpc::connect::{ConnectError, connect};
use crate::rpc::control::KeepAliveRequest;
use crate::rpc::control::job_manager_client::JobManagerClient;

/// How long a JobManager may take to answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// The pause between two attempts to reach the leader.
const PAUSE: Duration = Duration::from_millis(300);

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
    /// It is gone, or leads no longer.
    #[error("the JobManager at {address} is lost: {reason}")]
    Lost {
        /// Where it was.
        address: String,
        /// What is known of it.
        reason: String,
    },
    /// It cannot be looked for.
    #[error(transparent)]
    HighAvailability(#[from] HighAvailabilityError),
    /// There is none.
    #[error("no JobManager of the cluster leads; are they running?")]
    NoLeader,
    /// It said no.
    #[error("the JobManager at {address} refuses: {reason}")]
    Refused {
        /// Where it is.
        address: String,
        /// What it said.
        reason: String,
    },
}

impl ClusterError {
    /// Whether another leader may answer.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Silent { .. } | Self::Lost { .. } | Self::NoLeader)
    }
}

/// A connection to a JobManager, and the way to the next one.
#[derive(Clone)]
pub struct Cluster {
    address: String,
    client: JobManagerClient<Channel>,
    leaders: Option<Leaders>,
}

/// The way to the next leader.
#[derive(Clone)]
struct Leaders {
    retrieval: Arc<dyn LeaderRetrieval>,
    secret: Secret,
    /// How long the next leader may take.
    patience: Duration,
}

impl Leaders {
    /// Connects to who leads, as soon as somebody does.
    async fn connect(&self, patience: Duration) -> Result<(String, JobManagerClient<Channel>), ClusterError> {
        let deadline = Instant::now() + patience;
        let mut leader = self.retrieval.leader();
        loop {
            let known = leader.borrow_and_update().clone();
            let error = match known {
                None => ClusterError::NoLeader,
                Some(known) => match connect(&known.address, &self.secret).await {
                    Ok(client) => return Ok((known.address, client)),
                    Err(error) => error.into(),
                },
            };
            if Instant::now() >= deadline {
                return Err(error);
            }
            tokio::select! {
                _ = leader.changed() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

impl Cluster {
    /// Connects to the JobManager at `address` (`HOST:PORT`).
    ///
    /// # Errors
    /// [`ClusterError::Connect`] that names the address.
    pub async fn connect(address: &str, secret: &Secret) -> Result<Self, ClusterError> {
        let client = connect(address, secret).await?;
        Ok(Self { address: address.to_owned(), client, leaders: None })
    }

    /// Connects to the leading JobManager of the cluster that the configuration names.
    ///
    /// # Errors
    /// [`ClusterError`] that says what was looked for where.
    pub async fn of_leader(configuration: &Configuration, secret: &Secret) -> Result<Self, ClusterError> {
        let retrieval = high_availability::for_follower(configuration, secret).await?;
        let patience = configuration.get(&config::ABSENCE_TIMEOUT);
        let leaders = Leaders { retrieval, secret: secret.clone(), patience };
        let is_available = high_availability::is_highly_available(configuration);
        let first = if is_available { DEADLINE } else { Duration::ZERO };
        let (address, client) = leaders.connect(first).await?;
        Ok(Self { address, client, leaders: Some(leaders).filter(|_| is_available) })
    }

    /// The JobManager is lost: turns to the next one, as soon as there is one. False: there will be none.
    ///
    /// # Errors
    /// [`ClusterError`] if none came for so long that tasks do not go on without (`jobmanager.absence-timeout`).
    pub async fn follow(&mut self) -> Result<bool, ClusterError> {
        let Some(leaders) = &self.leaders else { return Ok(false) };
        // It may be about to step down, or to serve.
        tokio::time::sleep(PAUSE).await;
        (self.address, self.client) = leaders.connect(leaders.patience).await?;
        Ok(true)
    }

    /// What the leader answers: when it is lost, the next one is asked. For calls that may be made twice.
    ///
    /// # Errors
    /// [`ClusterError`]; one that [is lost](ClusterError::is_lost), if no other comes.
    pub async fn ask<T, C>(
        &mut self,
        call: impl Fn(JobManagerClient<Channel>) -> C,
    ) -> Result<T, ClusterError>
    where
        C: Future<Output = Result<Response<T>, Status>>,
    {
        loop {
            match self.answer(call(self.rpc())).await {
                Err(error) if error.is_lost() => {
                    if !self.follow().await? {
                        return Err(error);
                    }
                }
                answered => return answered,
            }
        }
    }

    /// Tells the cluster every `interval` that its client is still there, for as long as this is polled, whoever leads.
    pub async fn keep_alive(mut self, interval: Duration) -> Infallible {
        loop {
            let mut client = self.rpc();
            match self.answer(client.keep_alive(KeepAliveRequest {})).await {
                Err(error) if error.is_lost() && matches!(self.follow().await, Ok(true)) => continue,
                // Whoever waits for the cluster tells of it.
                Err(error) => tracing::debug!(%error, "the cluster does not hear that its client is there"),
                Ok(_) => {}
            }
            tokio::time::sleep(interval).await;
        }
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
        match tokio::time::timeout(DEADLINE, call).await {
            Err(_) => Err(ClusterError::Silent { address: self.address.clone() }),
            Ok(Err(status)) => Err(self.refused(&status)),
            Ok(Ok(response)) => Ok(response.into_inner()),
        }
    }

    /// What the JobManager said instead of an answer.
    pub(crate) fn refused(&self, status: &Status) -> ClusterError {
        let (address, reason) = (self.address.clone(), status.message().to_owned());
        match status.code() {
            Code::Unavailable | Code::Cancelled | Code::Unknown => ClusterError::Lost { address, reason },
            _ => ClusterError::Refused { address, reason },
        }
    }
}
