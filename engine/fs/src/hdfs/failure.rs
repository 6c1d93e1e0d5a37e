//! What goes wrong with HDFS: whether it may pass, whether it may have happened all the same, and how to say it.

use std::io;
use std::time::Duration;

use hadoop_rpc::RpcError;
use hdfs_native::HdfsError;

/// Why something could not be done.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody answered in time.
    Late(Duration),
    /// The client has a fault.
    Panicked(String),
    /// No NameNode can be reached.
    Unreachable(String),
    /// What HDFS or its client says.
    Hdfs(HdfsError),
    /// What was found to be wrong here.
    Found(io::Error),
}

impl From<HdfsError> for Failure {
    fn from(error: HdfsError) -> Self {
        Self::Hdfs(error)
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        let late = matches!(error.root(), RpcError::Timeout { .. });
        let kind = if late { io::ErrorKind::TimedOut } else { io::ErrorKind::NotConnected };
        Self::Hdfs(match error.root() {
            RpcError::Remote { class, message, .. } => HdfsError::RPCError(class.clone(), message.clone()),
            RpcError::Authentication { .. } | RpcError::Unavailable { .. } => {
                HdfsError::SASLError(error.to_string())
            }
            RpcError::Configuration { .. } => HdfsError::InvalidArgument(error.to_string()),
            _ => HdfsError::IOError(io::Error::new(kind, error.to_string())),
        })
    }
}

impl Failure {
    pub(super) fn found(kind: io::ErrorKind, why: impl Into<String>) -> Self {
        Self::Found(io::Error::new(kind, why.into()))
    }

    fn exception(&self) -> Option<(&str, &str)> {
        match self {
            Self::Hdfs(HdfsError::RPCError(class, message) | HdfsError::FatalRPCError(class, message)) => {
                Some((class.rsplit('.').next().unwrap_or(class), message))
            }
            _ => None,
        }
    }

    /// Whether there is no such file.
    pub(super) fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    /// Whether it may have happened all the same.
    pub(super) fn is_ambiguous(&self) -> bool {
        match self {
            Self::Late(_) | Self::Panicked(_) => true,
            Self::Hdfs(error) => matches!(
                error,
                HdfsError::IOError(_) | HdfsError::InvalidRPCResponse(_) | HdfsError::InternalError(_)
            ),
            Self::Unreachable(_) | Self::Found(_) => false,
        }
    }

    /// Whether the NameNode is starting, stopping, or busy. One that was never reached has been waited for already.
    pub(super) fn is_passing(&self) -> bool {
        let passing = |(class, message): (&str, &str)| {
            matches!(
                class,
                "RetriableException" | "StandbyException" | "SafeModeException" | "ServerTooBusyException"
            ) || is_safe_mode(class, message)
        };
        self.exception().is_some_and(passing)
    }

    /// Whether DataNodes were lost, or there is none that could be written to: they may come back.
    pub(super) fn is_of_data_nodes(&self) -> bool {
        match self {
            Self::Hdfs(HdfsError::DataTransferError(_)) => true,
            _ => self.exception().is_some_and(|(class, message)| {
                class == "IOException" && message.contains("could only be written to")
            }),
        }
    }

    /// Whether somebody else is writing the file, or its last writer was not heard of yet.
    pub(super) fn is_held(&self) -> bool {
        match self {
            Self::Hdfs(HdfsError::AlreadyExists(message)) => message.contains("lease"),
            _ => self.exception().is_some_and(|(class, _)| {
                matches!(class, "AlreadyBeingCreatedException" | "RecoveryInProgressException")
            }),
        }
    }

    /// Whether the NameNode does not do that with such a file, or does not let our own calls in.
    pub(super) fn is_unsupported(&self) -> bool {
        let refused = matches!(self, Self::Hdfs(HdfsError::SASLError(_) | HdfsError::InvalidArgument(_)));
        refused || self.exception().is_some_and(|(class, _)| class == "UnsupportedOperationException")
    }

    /// What kind of thing it is.
    pub(super) fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Late(_) => io::ErrorKind::TimedOut,
            Self::Panicked(_) => io::ErrorKind::Other,
            Self::Unreachable(_) => io::ErrorKind::NotConnected,
            Self::Found(error) => error.kind(),
            Self::Hdfs(error) => match error {
                HdfsError::IOError(error) => error.kind(),
                HdfsError::FileNotFound(_) => io::ErrorKind::NotFound,
                HdfsError::AlreadyExists(message) if message.contains("as a directory") => {
                    io::ErrorKind::IsADirectory
                }
                HdfsError::AlreadyExists(message) if message.contains("lease") => io::ErrorKind::ResourceBusy,
                HdfsError::AlreadyExists(_) => io::ErrorKind::AlreadyExists,
                HdfsError::IsADirectoryError(_) => io::ErrorKind::IsADirectory,
                HdfsError::InvalidPath(_) => io::ErrorKind::InvalidFilename,
                HdfsError::InvalidArgument(_) => io::ErrorKind::InvalidInput,
                HdfsError::UnsupportedErasureCodingPolicy(_) | HdfsError::UnsupportedFeature(_) => {
                    io::ErrorKind::Unsupported
                }
                _ => {
                    self.exception().map_or(io::ErrorKind::Other, |(class, message)| kind_of(class, message))
                }
            },
        }
    }

    /// As an error of what was tried with these NameNodes.
    pub(super) fn into_io(self, name_nodes: &str) -> io::Error {
        let kind = self.kind();
        let remedy = match (&self, self.exception()) {
            (
                Self::Hdfs(HdfsError::SASLError(_) | HdfsError::GSSAPIError(..) | HdfsError::NoSASLMechanism),
                _,
            )
            | (
                _,
                Some(("SaslException" | "GSSException" | "SecretManager$InvalidToken" | "InvalidToken", _)),
            ) => {
                "; is there a valid ticket (klist), or a token that has not expired? A job without \
                  security.kerberos.login.keytab lives only as long as the tokens it was submitted with"
            }
            (_, Some((class, message))) if is_safe_mode(class, message) => {
                "; wait until hdfs dfsadmin -safemode get says that safe mode is off"
            }
            _ => "",
        };
        let why = match self {
            Self::Late(limit) => format!("no answer within {limit:?}"),
            Self::Panicked(why) => format!("the client failed: {why}"),
            Self::Unreachable(why) => why,
            Self::Hdfs(HdfsError::RPCError(class, message) | HdfsError::FatalRPCError(class, message)) => {
                let class = class.rsplit('.').next().unwrap_or(&class).to_owned();
                format!("{}: {class}", first_line(&message))
            }
            Self::Hdfs(HdfsError::AlreadyExists(message)) => first_line(&message).to_owned(),
            Self::Hdfs(error) => first_line(&error.to_string()).to_owned(),
            Self::Found(error) => return error,
        };
        io::Error::new(kind, format!("{why}{remedy} ({name_nodes})"))
    }
}

fn is_safe_mode(class: &str, message: &str) -> bool {
    class == "SafeModeException" || (class == "RetriableException" && message.contains("safe mode"))
}

/// By the exception's class, without its package.
fn kind_of(class: &str, message: &str) -> io::ErrorKind {
    match class {
        "FileNotFoundException" if message.contains("not a file") => io::ErrorKind::IsADirectory,
        "FileNotFoundException" => io::ErrorKind::NotFound,
        "AccessControlException" | "AuthorizationException" => io::ErrorKind::PermissionDenied,
        "NSQuotaExceededException" | "DSQuotaExceededException" | "QuotaByStorageTypeExceededException" => {
            io::ErrorKind::QuotaExceeded
        }
        "FileAlreadyExistsException" => io::ErrorKind::AlreadyExists,
        "PathIsNotEmptyDirectoryException" => io::ErrorKind::DirectoryNotEmpty,
        "ParentNotDirectoryException" => io::ErrorKind::NotADirectory,
        "InvalidPathException" | "FSLimitException$PathComponentTooLongException" => {
            io::ErrorKind::InvalidFilename
        }
        "PathComponentTooLongException" => io::ErrorKind::InvalidFilename,
        "SafeModeException" | "RetriableException" | "StandbyException" => io::ErrorKind::ResourceBusy,
        "AlreadyBeingCreatedException" | "RecoveryInProgressException" => io::ErrorKind::ResourceBusy,
        "IOException" if message.contains("could only be written to") => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    }
}

/// Java adds its stack to a message.
fn first_line(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    let end = line.char_indices().nth(500).map_or(line.len(), |(at, _)| at);
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FsError, FsErrorKind};

    fn rpc(class: &str, message: &str) -> Failure {
        Failure::Hdfs(HdfsError::RPCError(class.to_owned(), message.to_owned()))
    }

    fn shown(failure: Failure) -> (FsErrorKind, bool, String) {
        let error =
            FsError::io("create", &"hdfs://nn:1/x".parse().unwrap(), failure.into_io("NameNode nn:1"));
        (error.kind(), error.is_retryable(), error.to_string())
    }

    #[test]
    fn exceptions_are_said_in_words() {
        let denied =
            "Permission denied: user=bob, access=WRITE, inode=\"/\":root:root:drwxr-xr-x\n\tat org.apache…";
        assert_eq!(
            shown(rpc("org.apache.hadoop.security.AccessControlException", denied)),
            (
                FsErrorKind::PermissionDenied,
                false,
                "cannot create hdfs://nn:1/x: Permission denied: user=bob, access=WRITE, \
                 inode=\"/\":root:root:drwxr-xr-x: AccessControlException (NameNode nn:1); the user Flott runs as needs \
                 the right to it"
                    .to_owned()
            )
        );
        let full = "File /x could only be written to 0 of the 1 minReplication nodes. There are 1 datanode(s) running";
        let (kind, retryable, text) = shown(rpc("java.io.IOException", full));
        assert_eq!((kind, retryable), (FsErrorKind::NoSpace, true), "{text}");
        let quota =
            shown(rpc("org.apache.hadoop.hdfs.protocol.NSQuotaExceededException", "The NameSpace quota"));
        assert_eq!(quota.0, FsErrorKind::NoSpace);
        let safe = rpc("org.apache.hadoop.hdfs.server.namenode.SafeModeException", "Cannot create file/x.");
        assert!(safe.is_passing());
        let (kind, retryable, text) = shown(safe);
        assert_eq!((kind, retryable), (FsErrorKind::Other, true));
        assert!(text.contains("wait until hdfs dfsadmin -safemode get says"), "{text}");
        let (_, retryable, text) = shown(Failure::Late(Duration::from_secs(60)));
        assert_eq!(
            (retryable, text.as_str()),
            (true, "cannot create hdfs://nn:1/x: no answer within 60s (NameNode nn:1)")
        );
        let ticket = shown(Failure::Hdfs(HdfsError::SASLError("No credentials".to_owned()))).2;
        assert!(ticket.contains("is there a valid ticket (klist)"), "{ticket}");
    }

    #[test]
    fn only_what_may_have_happened_is_ambiguous() {
        let lost = || Failure::Hdfs(HdfsError::IOError(io::ErrorKind::ConnectionReset.into()));
        assert!(lost().is_ambiguous() && Failure::Late(Duration::ZERO).is_ambiguous());
        assert!(!rpc("java.io.FileNotFoundException", "").is_ambiguous());
        assert!(!Failure::Unreachable(String::new()).is_ambiguous());
        assert!(!Failure::Unreachable(String::new()).is_passing() && !lost().is_passing());
        let held =
            "Failed to APPEND_FILE /x for c1 on h because this file lease is currently owned by c2 on h";
        assert!(Failure::Hdfs(HdfsError::AlreadyExists(held.to_owned())).is_held());
    }
}
