//! Connections to the JobManager.

use std::io;
use std::time::Duration;

use flott_runtime::net::handshake::{HandshakeError, Secret, prove_as_client, secret_by_token};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::control::job_manager_client::JobManagerClient;
use super::{CONTROL_PURPOSE, MAX_MESSAGE_BYTES, resolve};

/// How long a TCP connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// How often an idle connection is tried, and how long an answer may take.
pub(crate) const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(20));

/// Why the JobManager cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection.
    #[error("cannot connect to the JobManager at {address}: {source}; is it running there?")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// A connection, but to somebody else, or with another secret.
    #[error("the JobManager at {address} does not accept the connection: {source}")]
    Refused {
        /// Where it was looked for.
        address: String,
        /// Why not.
        source: HandshakeError,
    },
    /// HTTP/2 could not begin.
    #[error("the connection to the JobManager at {address} broke: {reason}")]
    Broken {
        /// Where it is.
        address: String,
        /// How.
        reason: String,
    },
}

/// A client of the JobManager at `address` (`HOST:PORT`), over one authenticated connection. A connection that breaks is not made
/// again: who uses it decides what that means.
///
/// # Errors
/// [`ConnectError`] that names the address.
pub async fn connect(address: &str, secret: &Secret) -> Result<JobManagerClient<Channel>, ConnectError> {
    let stream = open(address, secret).await?;
    let broken = |reason: String| ConnectError::Broken { address: address.to_owned(), reason };
    let endpoint = Endpoint::from_static("http://jobmanager")
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20));
    let mut stream = Some(stream);
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream.take();
        async move {
            stream.map(TokioIo::new).ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotConnected, "the connection to the JobManager is lost")
            })
        }
    });
    let channel =
        endpoint.connect_with_connector(connector).await.map_err(|error| broken(full_message(&error)))?;
    Ok(JobManagerClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES))
}

/// Asks the JobManager at `address` for the secret by a token: its identifier, and the key that only who was given it has.
///
/// # Errors
/// [`ConnectError`] that names the address.
pub async fn secret_of(address: &str, identifier: &[u8], key: &Secret) -> Result<Secret, ConnectError> {
    let mut stream = reach(address).await?;
    let told = secret_by_token(&mut stream, identifier, key, CONTROL_PURPOSE).await;
    told.map_err(|source| ConnectError::Refused { address: address.to_owned(), source })
}

async fn open(address: &str, secret: &Secret) -> Result<TcpStream, ConnectError> {
    let mut stream = reach(address).await?;
    let refused = |source| ConnectError::Refused { address: address.to_owned(), source };
    prove_as_client(&mut stream, secret, CONTROL_PURPOSE).await.map_err(refused)?;
    Ok(stream)
}

async fn reach(address: &str) -> Result<TcpStream, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable { address: address.to_owned(), source };
    let mut last = None;
    for candidate in resolve(address).await.map_err(unreachable)? {
        match tokio::time::timeout(CONNECT_DEADLINE, TcpStream::connect(candidate)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(unreachable)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(io::Error::new(io::ErrorKind::TimedOut, "no answer in 10 s")),
        }
    }
    Err(unreachable(last.unwrap_or_else(|| io::ErrorKind::NotFound.into())))
}

/// An error with what caused it.
fn full_message(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = error.source();
    }
    message
}
