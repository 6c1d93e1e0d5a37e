//! The client's side of a cluster: calls to its JobManager, and programs that are driven against it.
//!
//! The `flott` command uses it, and the ApplicationMaster that runs a program's `main` beside its JobManager.

mod driver;
pub mod report;
mod whereabouts;

pub use driver::{DriveError, Driven, Driver, DriverListener, Program, Verdict, start_program};
pub use whereabouts::Whereabouts;

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flott_core::config::{self, Configuration};
use flott_runtime::net::handshake::Secret;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::high_availability::{self, HighAvailabilityError};
use crate::rpc::connect::{ConnectError, connect};
use crate::rpc::control::KeepAliveRequest;
use crate::rpc::control::job_manager_client::JobManagerClient;
use whereabouts::{Elected, PAUSE, SamePlace, look_for};

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
    /// It was looked for in vain.
    #[error(
        "the JobManager at {address} is lost; for {} no connection came about: {last}",
        config::ConfigValue::write(patience)
    )]
    Gone {
        /// Where it was.
        address: String,
        /// How long it was looked for.
        patience: Duration,
        /// What happened last.
        last: Box<ClusterError>,
    },
    /// There is no cluster any more, and why.
    #[error("{0}")]
    Over(String),
    /// It does not know what it was asked about.
    #[error("the JobManager at {address} refuses: {reason}")]
    Unknown {
        /// Where it is.
        address: String,
        /// What it said.
        reason: String,
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

impl ClusterError {
    /// Whether it, or another leader, may answer later.
    pub fn is_lost(&self) -> bool {
        use ClusterError::{Connect, Gone, Lost, NoLeader, Silent};
        matches!(self, Connect(_) | Silent { .. } | Lost { .. } | NoLeader | Gone { .. })
    }
}

/// A connection to a JobManager, and the way to it, or to the next one, when it is lost.
#[derive(Clone)]
pub struct Cluster {
    address: String,
    client: JobManagerClient<Channel>,
    secret: Secret,
    whereabouts: Arc<dyn Whereabouts>,
    /// How long it is looked for.
    patience: Duration,
    /// Since when nothing was heard of it; none: it has answered since.
    lost: Arc<Mutex<Option<Instant>>>,
}

impl Cluster {
    /// Connects to the JobManager at `address` (`HOST:PORT`). When the connection is lost it is looked for there.
    ///
    /// # Errors
    /// [`ClusterError::Connect`] that names the address.
    pub async fn connect(address: &str, secret: &Secret) -> Result<Self, ClusterError> {
        Ok(Self {
            address: address.to_owned(),
            client: connect(address, secret).await?,
            secret: secret.clone(),
            whereabouts: Arc::new(SamePlace),
            patience: DEADLINE,
            lost: Arc::default(),
        })
    }

    /// Connects to the leading JobManager of the cluster that the configuration names.
    ///
    /// # Errors
    /// [`ClusterError`] that says what was looked for where.
    pub async fn of_leader(configuration: &Configuration, secret: &Secret) -> Result<Self, ClusterError> {
        let retrieval = high_availability::for_follower(configuration, secret).await?;
        let whereabouts: Arc<dyn Whereabouts> = Arc::new(Elected(retrieval));
        let is_available = high_availability::is_highly_available(configuration);
        let first = if is_available { DEADLINE } else { Duration::ZERO };
        let (address, client) = look_for(whereabouts.as_ref(), "", secret, first).await?;
        let patience = configuration.get(&config::ABSENCE_TIMEOUT);
        Ok(Self { address, client, secret: secret.clone(), whereabouts, patience, lost: Arc::default() })
    }

    /// The same, looked for as long as this when it is lost.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same, looked for by what somebody else says of it, who is given how it would be looked for without.
    #[must_use]
    pub fn with_whereabouts<W: Whereabouts + 'static>(
        self,
        make: impl FnOnce(Arc<dyn Whereabouts>) -> W,
    ) -> Self {
        Self { whereabouts: Arc::new(make(self.whereabouts)), ..self }
    }

    /// How long it is looked for when it is lost.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    fn lost_since(&self) -> MutexGuard<'_, Option<Instant>> {
        // Nothing in here can panic halfway.
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The JobManager is lost, as `reason` says: connects to it again, or to the next one, as soon as there is one. That one is there to connect to
    /// is not enough: patience ends when none has answered a call for so long. Without patience it is tried once.
    ///
    /// # Errors
    /// [`ClusterError::Gone`] if none was found for too long, [`ClusterError::Over`] if there will be none.
    pub async fn follow(&mut self, reason: ClusterError) -> Result<(), ClusterError> {
        let (is_first, since) = {
            let mut lost = self.lost_since();
            (lost.is_none(), *lost.get_or_insert_with(Instant::now))
        };
        let gone = |cluster: &Self, last| ClusterError::Gone {
            address: cluster.address.clone(),
            patience: cluster.patience,
            last: Box::new(last),
        };
        let left = self.patience.saturating_sub(since.elapsed());
        if left.is_zero() && !is_first {
            return Err(gone(self, reason));
        }
        // It may be about to step down, or to serve.
        tokio::time::sleep(PAUSE).await;
        match look_for(self.whereabouts.as_ref(), &self.address, &self.secret, left).await {
            Ok((address, client)) => {
                (self.address, self.client) = (address, client);
                Ok(())
            }
            Err(over @ ClusterError::Over(_)) => Err(over),
            Err(last) => Err(gone(self, last)),
        }
    }

    /// What the leader answers: when it is lost, the next one is asked. For calls that may be made twice.
    ///
    /// # Errors
    /// [`ClusterError`], also that of [`follow`](Self::follow).
    pub async fn ask<T, C>(
        &mut self,
        call: impl Fn(JobManagerClient<Channel>) -> C,
    ) -> Result<T, ClusterError>
    where
        C: Future<Output = Result<Response<T>, Status>>,
    {
        loop {
            match self.answer(call(self.rpc())).await {
                Err(error) if error.is_lost() => self.follow(error).await?,
                answered => return answered,
            }
        }
    }

    /// Tells the cluster every `interval` that its client is still there, for as long as this is polled, whoever leads.
    pub async fn keep_alive(mut self, interval: Duration) -> Infallible {
        loop {
            let mut client = self.rpc();
            let told = self.answer(client.keep_alive(KeepAliveRequest {})).await;
            let told = match told {
                Err(error) if error.is_lost() => match self.follow(error).await {
                    Ok(()) => continue,
                    gone => gone,
                },
                told => told.map(drop),
            };
            // Whoever waits for the cluster tells of it.
            if let Err(error) = told {
                tracing::debug!(%error, "the cluster does not hear that its client is there");
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
            Ok(Ok(response)) => {
                *self.lost_since() = None;
                Ok(response.into_inner())
            }
        }
    }

    /// What the JobManager said instead of an answer.
    pub(crate) fn refused(&self, status: &Status) -> ClusterError {
        let (address, reason) = (self.address.clone(), status.message().to_owned());
        match status.code() {
            Code::Unavailable | Code::Cancelled | Code::Unknown => ClusterError::Lost { address, reason },
            Code::NotFound => ClusterError::Unknown { address, reason },
            _ => ClusterError::Refused { address, reason },
        }
    }
}
