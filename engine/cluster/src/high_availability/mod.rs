//! High availability: who leads, who is led by whom, and what a leader leaves for the next one.
//!
//! A JobManager [contends](LeaderElection::contend); when it is granted leadership it has a [`Term`], and the right to write into the
//! [`HighAvailabilityStore`] for as long as nobody else has one. TaskManagers and clients [look for](LeaderRetrieval) the leader.
//!
//! The invariant: of all writes to pointers only those of the one leader take effect. A leader that does not know yet that it is
//! none any more finds out when it writes, and does nothing irreversible before a write has said so.

mod cleanup;
mod embedded;
mod error;
mod standalone;
pub mod store;
mod zookeeper;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_core::config::{self, Configuration, HighAvailabilityKind};
use flott_core::ids::LeaderSessionId;
use flott_fs::FsPath;
use flott_runtime::net::handshake::Secret;
use tokio::sync::watch;

pub use cleanup::clean_up;
#[cfg(test)]
pub(crate) use cleanup::{Remains, remove};
pub use embedded::EmbeddedElection;
pub use error::{HighAvailabilityError, StoreError};
pub use standalone::{StandaloneElection, StandaloneRetrieval};
pub use store::{HighAvailabilityStore, PointerStore};
pub use zookeeper::{ZooKeeperElection, ZooKeeperRetrieval};

use crate::program_store::SharedPrograms;
use store::FileBlobs;

/// The pause before what elects leaders is tried to be reached again, which has its patience, too.
const PAUSE: Duration = Duration::from_millis(500);

/// How many leaders there were before one; grows with every leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// A JobManager that would lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where it serves the control plane: `HOST:PORT`.
    pub address: String,
    /// Where it serves pages, if it does.
    pub rest_address: Option<String>,
    /// Which attempt of which application it is; none: there are no attempts. A later attempt takes the place of an earlier one at once.
    pub attempt: Option<ApplicationAttempt>,
}

/// One of several attempts to run an application, of which only the latest counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationAttempt {
    /// The application: one word.
    pub application: String,
    /// From 1.
    pub number: u32,
}

impl ApplicationAttempt {
    /// Whether it is of the same application, and later than that one.
    pub fn is_later_than(&self, other: &Self) -> bool {
        self.application == other.application && self.number > other.number
    }
}

/// The leader, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderInfo {
    /// Where it serves the control plane: `HOST:PORT`.
    pub address: String,
    /// Where it serves pages, if it does.
    pub rest_address: Option<String>,
    /// Its session; none: whoever serves there leads.
    pub session: Option<LeaderSessionId>,
    /// Which leader it is.
    pub epoch: Epoch,
}

/// One leader's time.
#[derive(Clone)]
pub struct Term {
    /// The session all its messages belong to.
    pub session: LeaderSessionId,
    /// Which leader it is.
    pub epoch: Epoch,
    /// Where it may write pointers; none: there is no high availability.
    pub pointers: Option<Arc<dyn PointerStore>>,
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.session == other.session
    }
}

impl std::fmt::Debug for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "epoch {}, session {}", self.epoch.0, self.session)
    }
}

/// What a candidate is.
#[derive(Debug, Clone, PartialEq)]
pub enum Leadership {
    /// It waits; somebody else may lead.
    Standby,
    /// It leads.
    Leader(Term),
    /// It leads as far as it knows, but what elects leaders cannot be reached. Writes wait.
    Suspended(Term),
    /// A later attempt of its application has taken its place: it never leads again.
    Superseded,
}

impl Leadership {
    /// The term, if it leads as far as it knows.
    pub fn term(&self) -> Option<&Term> {
        match self {
            Self::Leader(term) | Self::Suspended(term) => Some(term),
            Self::Standby | Self::Superseded => None,
        }
    }
}

/// What a call that has to wait gives.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Elects one of several candidates.
pub trait LeaderElection: Send + Sync {
    /// Contends until [`resign`](Self::resign). The receiver sees what becomes of it; a term that is followed by another one may go
    /// unseen, but never one that lasts.
    fn contend(&self, candidate: Candidate) -> watch::Receiver<Leadership>;

    /// The leader is ready: from now on others are told of it.
    fn confirm<'a>(&'a self, term: &'a Term) -> Waiting<'a, Result<(), StoreError>>;

    /// Stops contending, and lets another one lead at once.
    fn resign(&self) -> Waiting<'_, ()>;
}

/// Tells who leads.
pub trait LeaderRetrieval: Send + Sync {
    /// The leader, as far as is known; none: there has been none yet.
    fn leader(&self) -> watch::Receiver<Option<LeaderInfo>>;
}

/// What makes a leader of a JobManager.
pub struct ElectionServices {
    /// Elects it, or not.
    pub election: Arc<dyn LeaderElection>,
    /// Tells who leads instead.
    pub retrieval: Arc<dyn LeaderRetrieval>,
}

/// The files of a cluster.
#[derive(Clone)]
pub struct Storage {
    /// Job graphs, commits and outcomes.
    pub blobs: Arc<dyn store::BlobStore>,
    /// Programs.
    pub programs: Arc<SharedPrograms>,
    /// Checkpoints of jobs that do not say where.
    pub checkpoints: FsPath,
}

/// Whether another JobManager may take over, so that tasks go on without one.
pub fn is_highly_available(configuration: &Configuration) -> bool {
    configuration.get(&config::HA_TYPE) != HighAvailabilityKind::None
}

fn open_storage(configuration: &Configuration) -> Result<Storage, HighAvailabilityError> {
    let directory = configuration.get_optional(&config::HA_STORAGE_DIR);
    let directory: FsPath = directory.ok_or(HighAvailabilityError::NoStorageDir)?.parse()?;
    let cluster = zookeeper::cluster_id(configuration)?;
    let directory = directory.join(&cluster);
    flott_fs::for_path(&directory)?.create_dirs(&directory)?;
    Ok(Storage {
        blobs: Arc::new(FileBlobs::new(directory.join("jobs"))?),
        programs: Arc::new(SharedPrograms::new(directory.join("programs"))?),
        checkpoints: directory.join("checkpoints"),
    })
}

/// Where files for the next leader go; none: there is no high availability.
///
/// # Errors
/// [`HighAvailabilityError`] that says what is not configured, or cannot be used.
pub async fn storage(configuration: &Configuration) -> Result<Option<Storage>, HighAvailabilityError> {
    if !is_highly_available(configuration) {
        return Ok(None);
    }
    let configuration = configuration.clone();
    let opened = tokio::task::spawn_blocking(move || open_storage(&configuration)).await;
    opened.map_err(|error| HighAvailabilityError::Thread(error.to_string()))?.map(Some)
}

/// The services of a JobManager. `secret` tells clusters that were given the same id from each other.
///
/// # Errors
/// [`HighAvailabilityError`] that says what cannot be reached, or is not configured.
pub async fn for_job_manager(
    configuration: &Configuration,
    secret: &Secret,
) -> Result<ElectionServices, HighAvailabilityError> {
    if !is_highly_available(configuration) {
        return Ok(ElectionServices {
            election: Arc::new(StandaloneElection::default()),
            retrieval: Arc::new(StandaloneRetrieval::of(configuration)),
        });
    }
    let election = ZooKeeperElection::new(configuration, secret).await?;
    let retrieval = ZooKeeperRetrieval::new(configuration, secret).await?;
    Ok(ElectionServices { election: Arc::new(election), retrieval: Arc::new(retrieval) })
}

/// Tells TaskManagers and clients, who have the cluster's secret, who leads.
///
/// # Errors
/// [`HighAvailabilityError`] that says what cannot be reached, or is not configured.
pub async fn for_follower(
    configuration: &Configuration,
    secret: &Secret,
) -> Result<Arc<dyn LeaderRetrieval>, HighAvailabilityError> {
    if is_highly_available(configuration) {
        Ok(Arc::new(ZooKeeperRetrieval::new(configuration, secret).await?))
    } else {
        Ok(Arc::new(StandaloneRetrieval::of(configuration)))
    }
}

/// Tries again while what elects leaders [cannot be reached](HighAvailabilityError::Unreachable): a process of the cluster waits for that as
/// long as tasks wait for a JobManager (`jobmanager.absence-timeout`).
///
/// # Errors
/// That of the last attempt; any other error at once.
pub async fn patiently<T, A>(
    configuration: &Configuration,
    mut attempt: impl FnMut() -> A,
) -> Result<T, HighAvailabilityError>
where
    A: Future<Output = Result<T, HighAvailabilityError>>,
{
    let (patience, begun) = (configuration.get(&config::ABSENCE_TIMEOUT), Instant::now());
    loop {
        match attempt().await {
            Err(error @ HighAvailabilityError::Unreachable { .. }) if begun.elapsed() < patience => {
                let left = patience.saturating_sub(begun.elapsed());
                let seconds = left.as_secs();
                tracing::warn!(%error, "nobody can be elected; ZooKeeper is waited for, {seconds} s at most");
                tokio::time::sleep(PAUSE.min(left)).await;
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> HighAvailabilityError {
        HighAvailabilityError::Unreachable { quorum: "zk:2181".to_owned(), reason: "it is away".to_owned() }
    }

    #[tokio::test]
    async fn only_what_cannot_be_reached_is_tried_again_and_not_for_ever() {
        let mut configuration = Configuration::new();
        configuration.set(config::ABSENCE_TIMEOUT.key, "1 s").unwrap();
        let mut left = 2;
        let reached = patiently(&configuration, || {
            left -= 1;
            std::future::ready(if left == 0 { Ok(7) } else { Err(unreachable()) })
        });
        assert_eq!(reached.await.unwrap(), 7);
        let mut attempts = 0;
        let other = patiently(&configuration, || {
            attempts += 1;
            let path = "/x".to_owned();
            std::future::ready(Err::<(), _>(HighAvailabilityError::OtherCluster { path }))
        });
        assert!(matches!(other.await, Err(HighAvailabilityError::OtherCluster { .. })));
        assert_eq!(attempts, 1);
        let never = patiently(&configuration, || std::future::ready(Err::<(), _>(unreachable())));
        assert!(matches!(never.await, Err(HighAvailabilityError::Unreachable { .. })));
    }
}
