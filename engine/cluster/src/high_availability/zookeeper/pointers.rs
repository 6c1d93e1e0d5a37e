//! Pointers in ZooKeeper, written by way of the leader's latch.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use zookeeper_client::{Error, OwnedLockClient};

use super::connection::ZooKeeper;
use crate::high_availability::{Epoch, PointerStore, StoreError};

/// The pause before a call whose answer was lost is made again.
const PAUSE: Duration = Duration::from_millis(200);

/// The largest value that a server takes with its default limits.
const MAX_BYTES: usize = 1_000_000;

/// The latch that a leader holds. It may be dropped on any thread; its node goes then.
pub(super) struct Latch {
    /// Until it is dropped.
    lock: Option<OwnedLockClient>,
    io: Handle,
}

impl Latch {
    /// Of this async runtime.
    pub(super) fn new(lock: OwnedLockClient) -> Self {
        Self { lock: Some(lock), io: Handle::current() }
    }

    /// What writes while the latch is there.
    pub(super) fn client(&self) -> Result<&OwnedLockClient, StoreError> {
        self.lock.as_ref().ok_or_else(|| StoreError::NotLeader("its latch is gone".to_owned()))
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        // Its node is deleted by a task.
        let _entered = self.io.enter();
        drop(self.lock.take());
    }
}

/// The pointers in the hands of one leader. Calls wait while ZooKeeper is away, until the session is known to be over.
pub(super) struct ZooKeeperPointers {
    pub(super) epoch: Epoch,
    pub(super) zookeeper: ZooKeeper,
    pub(super) latch: Arc<Latch>,
    pub(super) io: Handle,
}

/// What follows from an error.
pub(super) enum Then {
    /// It may be otherwise in a moment.
    Again,
    /// That is the answer.
    Fail(StoreError),
}

pub(super) fn judge(error: &Error, path: &str) -> Then {
    match error {
        Error::SessionExpired
        | Error::ClientClosed
        | Error::RuntimeInconsistent
        | Error::NoHosts
        | Error::AuthFailed => {
            Then::Fail(StoreError::NotLeader(format!("{error}, when {path} was to be used in ZooKeeper")))
        }
        Error::NoAuth
        | Error::NoNode
        | Error::NodeExists
        | Error::InvalidAcl
        | Error::BadArguments(_)
        | Error::BadVersion
        | Error::NotEmpty
        | Error::NoChildrenForEphemerals
        | Error::QuotaExceeded
        | Error::MarshallingError
        | Error::Unimplemented
        | Error::UnexpectedErrorCode(_) => {
            Then::Fail(StoreError::Failed(format!("ZooKeeper refuses {path}: {error}")))
        }
        // Connections, in many words.
        _ => Then::Again,
    }
}

/// Gives a node a value, if the latch is still there.
pub(super) async fn write(
    lock: &OwnedLockClient,
    zookeeper: &ZooKeeper,
    path: &str,
    value: &[u8],
) -> Result<(), StoreError> {
    loop {
        let written = match lock.set_data(path, value, None).await {
            Err(Error::NoNode) => match lock.create(path, value, &zookeeper.persistent()).await {
                // An answer was lost, and it is there.
                Err(Error::NodeExists) => continue,
                created => created.map(drop),
            },
            set => set.map(drop),
        };
        match written.as_ref().map_err(|error| judge(error, path)) {
            Ok(()) => return Ok(()),
            Err(Then::Fail(error)) => return Err(error),
            Err(Then::Again) => tokio::time::sleep(PAUSE).await,
        }
    }
}

impl ZooKeeperPointers {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.zookeeper.paths.jobs())
    }
}

impl PointerStore for ZooKeeperPointers {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let (path, lock) = (self.zookeeper.paths.jobs(), self.latch.client()?);
        self.io.block_on(async {
            loop {
                match lock.client().list_children(&path).await {
                    Ok(names) => return Ok(names),
                    Err(error) => match judge(&error, &path) {
                        Then::Fail(error) => return Err(error),
                        Then::Again => tokio::time::sleep(PAUSE).await,
                    },
                }
            }
        })
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (path, lock) = (self.path(name), self.latch.client()?);
        self.io.block_on(async {
            loop {
                match lock.client().get_data(&path).await {
                    Ok((value, _)) => return Ok(Some(value)),
                    Err(Error::NoNode) => return Ok(None),
                    Err(error) => match judge(&error, &path) {
                        Then::Fail(error) => return Err(error),
                        Then::Again => tokio::time::sleep(PAUSE).await,
                    },
                }
            }
        })
    }

    fn write(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        if value.len() > MAX_BYTES {
            return Err(StoreError::Failed(format!("the pointer of job {name} has {} bytes", value.len())));
        }
        self.io.block_on(write(self.latch.client()?, &self.zookeeper, &self.path(name), value))
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let (path, lock) = (self.path(name), self.latch.client()?);
        self.io.block_on(async {
            loop {
                match lock.delete(&path, None).await {
                    Ok(()) | Err(Error::NoNode) => return Ok(()),
                    Err(error) => match judge(&error, &path) {
                        Then::Fail(error) => return Err(error),
                        Then::Again => tokio::time::sleep(PAUSE).await,
                    },
                }
            }
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        // The folder holds nothing of its own; who writes it shows that it may.
        self.io.block_on(write(self.latch.client()?, &self.zookeeper, &self.zookeeper.paths.jobs(), b""))
    }
}
