//! What goes wrong with elections and with what leaders keep.

use flott_fs::FsError;

/// Why there can be no high availability as configured.
#[derive(Debug, thiserror::Error)]
pub enum HighAvailabilityError {
    /// No directory.
    #[error(
        "high-availability.type is set, but high-availability.storageDir is not: set it to a directory that every JobManager reaches"
    )]
    NoStorageDir,
    /// The directory.
    #[error("high-availability.storageDir cannot be used: {0}")]
    Storage(#[from] FsError),
    /// No servers.
    #[error(
        "high-availability.type is zookeeper, but high-availability.zookeeper.quorum is not set: HOST:PORT of its servers"
    )]
    NoQuorum,
    /// An option that cannot be right.
    #[error("{key} is '{value}': {reason}")]
    Option {
        /// Which.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The servers.
    #[error("cannot reach ZooKeeper at {quorum} (high-availability.zookeeper.quorum): {reason}")]
    Unreachable {
        /// Where they should be.
        quorum: String,
        /// Why not.
        reason: String,
    },
    /// Who asks.
    #[error(
        "ZooKeeper at {quorum} does not believe who this process is ({reason}): see zookeeper.sasl.service-name, and the ticket or security.kerberos.login.keytab"
    )]
    NotAuthenticated {
        /// Where it is.
        quorum: String,
        /// What was answered.
        reason: String,
    },
    /// The rights.
    #[error(
        "ZooKeeper at {quorum} does not let this user {action} {path}: {reason}; have its administrator create the node and give the user all rights to it"
    )]
    NotAllowed {
        /// Where it is.
        quorum: String,
        /// What was tried.
        action: &'static str,
        /// On which node.
        path: String,
        /// What was answered.
        reason: String,
    },
    /// Somebody else's.
    #[error(
        "another cluster, with another secret, uses {path} in ZooKeeper: give one of them another high-availability.cluster-id, or both the same security.secret.file"
    )]
    OtherCluster {
        /// The node.
        path: String,
    },
    /// SASL is asked for and not built in.
    #[error(
        "zookeeper.sasl.disable is false, but this Flott was built without Kerberos: build it with the feature kerberos"
    )]
    NoSasl,
    /// A thread ended.
    #[error("a thread of this process has failed: {0}")]
    Thread(String),
}

/// Why something cannot be kept for the next leader, or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else leads, or may soon. Whether the last write took effect is not known.
    #[error("this JobManager is no longer the leader: {0}")]
    NotLeader(String),
    /// What is there cannot be read.
    #[error("{path} cannot be used: {reason}")]
    Damaged {
        /// The file or node.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Files, networks.
    #[error("{0}")]
    Failed(String),
}

impl From<FsError> for StoreError {
    fn from(error: FsError) -> Self {
        Self::Failed(error.to_string())
    }
}
