//! What an application is made of, as the client says and the ApplicationMaster reads.
//!
//! It travels as a secret key of the application's credentials: YARN keeps those private to the user, hands them to every attempt, and
//! shows them nowhere. So nothing of an application has to be localised but what is large and the same for many, the runtime and
//! the program; and a second attempt needs no file that may be gone, and no token that may be out of date.

use std::collections::BTreeMap;

use flott_core::config::{ConfigError, Configuration};
use flott_fs::FileStatus;
use flott_runtime::net::handshake::Secret;
use hadoop_rpc::credentials::Credentials;
use prost::{Enumeration, Message};

/// Under which name it is in the credentials.
const ALIAS: &str = "flott.application";

/// The most that YARN's state store is asked to keep of an application: ZooKeeper takes no more than 1 MiB for everything.
const MAX_BYTES: usize = 512 << 10;

/// Why there is no description of the application.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// The process was not started as one of an application.
    #[error(
        "the container's credentials hold no description of a Flott application: is this process started by YARN?"
    )]
    Missing,
    /// It cannot be read.
    #[error(
        "the description of the application in the container's credentials is damaged, or of another version of Flott: {0}"
    )]
    Malformed(String),
    /// It is too large.
    #[error(
        "the arguments and the configuration have {bytes} bytes, but YARN's ResourceManager should keep no more than {MAX_BYTES} for an \
         application: put long arguments into a file"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// What is in it does not hold.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
}

/// A file that YARN brings to containers.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Resource {
    /// Under which name it appears in a container's working folder.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Where it is.
    #[prost(string, tag = "2")]
    pub url: String,
    /// Its size in bytes; YARN checks it.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// When it was written, in milliseconds since the epoch; YARN checks it.
    #[prost(int64, tag = "4")]
    pub modified: i64,
    /// Whether everybody may read it, so that nodes fetch it by themselves and share it.
    #[prost(bool, tag = "5")]
    pub public: bool,
    /// Whether it is unpacked.
    #[prost(bool, tag = "6")]
    pub archive: bool,
}

impl Resource {
    /// A file that lies on the cluster's file system, for the user alone, as it is.
    pub(crate) fn of(status: &FileStatus, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: status.path.to_string(),
            size: status.length,
            modified: status.modified,
            public: false,
            archive: false,
        }
    }
}

/// The program whose `main` an ApplicationMaster runs.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ApplicationProgram {
    /// The SHA-256 of its binary.
    #[prost(string, tag = "1")]
    pub content_hash: String,
    /// Its arguments, its name first.
    #[prost(string, repeated, tag = "2")]
    pub arguments: Vec<String>,
    /// The checkpoint it goes on from.
    #[prost(string, optional, tag = "3")]
    pub restore: Option<String>,
}

/// When a cluster ends that was not told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Lifespan {
    /// With the program whose `main` it runs; without one it does not.
    OwnMain = 0,
    /// It is there for a program whose `main` runs elsewhere, and whose command is heard of: it ends once that command has been silent for
    /// long and no job runs.
    Command = 1,
    /// It is there for one job, and ends with it; or when the command that was to submit it has been silent for long.
    OneJob = 2,
}

/// An application.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Application {
    /// Flott's configuration.
    #[prost(btree_map = "string, string", tag = "1")]
    pub configuration: BTreeMap<String, String>,
    /// Hadoop's, as the client has it.
    #[prost(btree_map = "string, string", tag = "2")]
    pub hadoop: BTreeMap<String, String>,
    /// What every connection has to prove.
    #[prost(bytes = "vec", tag = "3")]
    pub secret: Vec<u8>,
    /// The runtime and whatever else containers get.
    #[prost(message, repeated, tag = "4")]
    pub resources: Vec<Resource>,
    /// In application mode, the program.
    #[prost(message, optional, tag = "5")]
    pub program: Option<ApplicationProgram>,
    /// When it ends by itself.
    #[prost(enumeration = "Lifespan", tag = "6")]
    pub lifespan: i32,
    /// What is to be removed when it is over.
    #[prost(string, optional, tag = "7")]
    pub staging: Option<String>,
    /// Whether the command waits for a summary of the jobs in the staging folder. It removes the folder then.
    #[prost(bool, tag = "9")]
    pub report: bool,
    /// The keytab by which it gets new tokens; none: it is on every node already, or nowhere.
    #[prost(bytes = "vec", optional, tag = "8")]
    pub keytab: Option<Vec<u8>>,
    /// The principal in the keytab; none: there is no keytab, and the application lives no longer than its tokens.
    #[prost(string, optional, tag = "10")]
    pub principal: Option<String>,
    /// The principal that submitted it, on a cluster with Kerberos.
    #[prost(string, optional, tag = "11")]
    pub owner: Option<String>,
}

impl Application {
    /// Adds it to credentials.
    ///
    /// # Errors
    /// [`ApplicationError::TooLarge`].
    pub fn put_into(&self, credentials: &mut Credentials) -> Result<(), ApplicationError> {
        let bytes = self.encode_to_vec();
        if bytes.len() > MAX_BYTES {
            return Err(ApplicationError::TooLarge { bytes: bytes.len() });
        }
        credentials.insert_secret(ALIAS, bytes);
        Ok(())
    }

    /// Reads it from credentials.
    ///
    /// # Errors
    /// [`ApplicationError`].
    pub fn of(credentials: &Credentials) -> Result<Self, ApplicationError> {
        let bytes = credentials.secret(ALIAS).ok_or(ApplicationError::Missing)?;
        Self::decode(bytes).map_err(|error| ApplicationError::Malformed(error.to_string()))
    }

    /// Flott's configuration.
    ///
    /// # Errors
    /// [`ApplicationError::Configuration`] if another version wrote it.
    pub fn configuration(&self) -> Result<Configuration, ApplicationError> {
        Ok(Configuration::from_entries(&self.configuration)?)
    }

    /// What connections prove.
    ///
    /// # Errors
    /// [`ApplicationError::Malformed`].
    pub fn secret(&self) -> Result<Secret, ApplicationError> {
        let malformed = || ApplicationError::Malformed("its secret has not the length of one".to_owned());
        Secret::from_bytes(&self.secret).ok_or_else(malformed)
    }
}
