//! What can go wrong in a call, told so that a caller can decide: did it reach the server, and does trying again help?
//!
//! A Java exception arrives as its class's name and a text. [`RpcError::exception`] gives the few that callers act on as
//! [`RemoteException`]; every other one stays a [`RpcError::Remote`] with its text.

use std::time::Duration;

use thiserror::Error;

/// Why a call has no answer.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum RpcError {
    /// The server carried the call out, or refused it, with a Java exception.
    #[error("{call} at {server}: {message} ({class})")]
    Remote {
        /// The server's host and port.
        server: String,
        /// The method.
        call: String,
        /// The exception's full class name.
        class: String,
        /// Its text, without the stack trace.
        message: String,
    },
    /// No connection: the call did not reach the server.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// The host and port tried.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The connection ended before the answer.
    #[error("lost the connection to {server}: {reason}")]
    Lost {
        /// The server's host and port.
        server: String,
        /// What the system said.
        reason: String,
        /// Whether the call may have been carried out.
        sent: bool,
    },
    /// No answer in time; the call may have been carried out.
    #[error("no answer from {server} to {call} within {after:?}")]
    Timeout {
        /// The server's host and port.
        server: String,
        /// The method.
        call: String,
        /// How long was waited.
        after: Duration,
    },
    /// The server sent what no Hadoop server sends, or more than is accepted.
    #[error("{server} does not answer as a Hadoop RPC server: {reason}")]
    Protocol {
        /// The server's host and port.
        server: String,
        /// What was wrong.
        reason: String,
    },
    /// Client and server could not agree on who calls.
    #[error("authentication at {server} failed: {reason}")]
    Authentication {
        /// The server's host and port.
        server: String,
        /// What was wrong, and where it is known the remedy.
        reason: String,
        /// The class of the server's exception, if it was the server that refused.
        class: Option<String>,
    },
    /// What the server wants, and may want, this build cannot do.
    #[error("cannot authenticate at {server}: {reason}")]
    Unavailable {
        /// The server's host and port.
        server: String,
        /// What it wants, and the remedy.
        reason: String,
    },
    /// The configuration says nothing usable about the server or the user.
    #[error("{reason}")]
    Configuration {
        /// The key, its value, and what it should be.
        reason: String,
    },
    /// Tried again until the limit; the last failure is the source.
    #[error("{call} given up after {attempts} attempts in {after:?}: {last}")]
    GivenUp {
        /// The method.
        call: String,
        /// How often it was tried.
        attempts: u32,
        /// For how long.
        after: Duration,
        /// The last attempt's failure.
        last: Box<RpcError>,
    },
}

/// Java exceptions that a caller acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteException {
    /// The server is not the active one of its group.
    Standby,
    /// The server asks to come again later.
    Retriable,
    /// HDFS is in safe mode: no change is possible yet.
    SafeMode,
    /// The user may not do this.
    AccessControl,
    /// The token is unknown, wrong or over.
    InvalidToken,
    /// No such application.
    ApplicationNotFound,
    /// The attempt is over or unknown: its ApplicationMaster must leave.
    ApplicationAttemptNotFound,
    /// The ResourceManager has forgotten the ApplicationMaster: register again and ask for everything again.
    ApplicationMasterNotRegistered,
    /// The ApplicationMaster broke the order of calls, for example by registering twice.
    InvalidApplicationMasterRequest,
    /// A container was asked for that cannot be had: too large a one, or one by a label that the queue may not use.
    InvalidResourceRequest,
    /// No such container.
    ContainerNotFound,
    /// The container was allocated by an earlier ResourceManager and cannot be started any more.
    InvalidContainer,
    /// The NodeManager has just started and takes no containers yet.
    NodeManagerNotReady,
    /// No such file or folder.
    FileNotFound,
    /// The path exists already.
    FileAlreadyExists,
}

impl RemoteException {
    /// The meaning of an exception's class, if a caller would act on it.
    ///
    /// ```
    /// use hadoop_rpc::RemoteException;
    ///
    /// let class = "org.apache.hadoop.ipc.StandbyException";
    /// assert_eq!(RemoteException::of_class(class), Some(RemoteException::Standby));
    /// ```
    pub fn of_class(class: &str) -> Option<RemoteException> {
        let name = class.rsplit(['.', '$']).next().unwrap_or(class);
        Some(match name {
            "StandbyException" | "ObserverRetryOnActiveException" => Self::Standby,
            "RetriableException" => Self::Retriable,
            "SafeModeException" => Self::SafeMode,
            "AccessControlException" | "AuthorizationException" => Self::AccessControl,
            "InvalidToken" => Self::InvalidToken,
            "ApplicationNotFoundException" => Self::ApplicationNotFound,
            "ApplicationAttemptNotFoundException" => Self::ApplicationAttemptNotFound,
            "ApplicationMasterNotRegisteredException" => Self::ApplicationMasterNotRegistered,
            "InvalidApplicationMasterRequestException" => Self::InvalidApplicationMasterRequest,
            "InvalidResourceRequestException" | "InvalidLabelResourceRequestException" => {
                Self::InvalidResourceRequest
            }
            "ContainerNotFoundException" => Self::ContainerNotFound,
            "InvalidContainerException" => Self::InvalidContainer,
            "NMNotYetReadyException" => Self::NodeManagerNotReady,
            "FileNotFoundException" => Self::FileNotFound,
            "FileAlreadyExistsException" => Self::FileAlreadyExists,
            _ => return None,
        })
    }
}

impl RpcError {
    /// What the server's exception means to a caller; nothing for other failures. Looks into [`RpcError::GivenUp`].
    pub fn exception(&self) -> Option<RemoteException> {
        match self.root() {
            RpcError::Remote { class, .. } | RpcError::Authentication { class: Some(class), .. } => {
                RemoteException::of_class(class)
            }
            _ => None,
        }
    }

    /// The failure itself, without the attempts around it.
    pub fn root(&self) -> &RpcError {
        match self {
            RpcError::GivenUp { last, .. } => last.root(),
            other => other,
        }
    }

    /// Whether the server may have carried the call out although there is no good answer.
    pub fn may_have_happened(&self) -> bool {
        matches!(
            self.root(),
            RpcError::Lost { sent: true, .. } | RpcError::Timeout { .. } | RpcError::Protocol { .. }
        )
    }

    pub(crate) fn protocol(server: &str, reason: impl Into<String>) -> RpcError {
        RpcError::Protocol { server: server.into(), reason: reason.into() }
    }

    pub(crate) fn authentication(server: &str, reason: impl Into<String>) -> RpcError {
        RpcError::Authentication { server: server.into(), reason: reason.into(), class: None }
    }

    /// The server refused the caller with an exception.
    pub(crate) fn refused(server: &str, class: &str, message: &str) -> RpcError {
        let reason = format!("{message} ({class})");
        RpcError::Authentication { server: server.into(), reason, class: Some(class.into()) }
    }

    pub(crate) fn configuration(reason: impl Into<String>) -> RpcError {
        RpcError::Configuration { reason: reason.into() }
    }
}

/// A Java exception's text as people want it: without its class in front and the stack trace behind.
pub(crate) fn plain_message(class: &str, text: &str) -> String {
    let text = text.split("\n\tat ").next().unwrap_or(text).trim();
    let text = text.strip_prefix(class).and_then(|rest| rest.strip_prefix(':')).unwrap_or(text).trim();
    if text.is_empty() { "no message".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_java_exception_loses_its_class_and_its_stack_trace() {
        let class = "org.apache.hadoop.yarn.exceptions.ApplicationNotFoundException";
        let text = format!("{class}: Application 'a_1' doesn't exist in RM.\n\tat x.Y.z(Y.java:1)\n\tat x.Q");
        assert_eq!(plain_message(class, &text), "Application 'a_1' doesn't exist in RM.");
        assert_eq!(plain_message(class, "two\nlines"), "two\nlines");
        assert_eq!(plain_message(class, ""), "no message");
    }

    #[test]
    fn nested_classes_and_given_up_calls_keep_their_meaning() {
        let class = "org.apache.hadoop.security.token.SecretManager$InvalidToken";
        assert_eq!(RemoteException::of_class(class), Some(RemoteException::InvalidToken));
        assert_eq!(RemoteException::of_class("java.io.IOException"), None);
        let class = "org.apache.hadoop.yarn.exceptions.InvalidLabelResourceRequestException";
        assert_eq!(RemoteException::of_class(class), Some(RemoteException::InvalidResourceRequest));
        let remote = RpcError::Remote {
            server: "rm:8032".into(),
            call: "allocate".into(),
            class: "org.apache.hadoop.yarn.exceptions.ApplicationAttemptNotFoundException".into(),
            message: "gone".into(),
        };
        let error = RpcError::GivenUp {
            call: "allocate".into(),
            attempts: 3,
            after: Duration::from_secs(2),
            last: Box::new(remote),
        };
        assert_eq!(error.exception(), Some(RemoteException::ApplicationAttemptNotFound));
        assert!(!error.may_have_happened());
        assert_eq!(
            error.to_string(),
            "allocate given up after 3 attempts in 2s: allocate at rm:8032: gone \
             (org.apache.hadoop.yarn.exceptions.ApplicationAttemptNotFoundException)"
        );
    }
}
