//! The beginning of a data connection: to whom it goes, before it is handed to that worker.

use std::io;
use std::time::Duration;

use flott_core::ids::{JobId, WorkerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::handshake::{HandshakeError, Secret, prove_as_client, prove_as_server};

/// What a data connection proves its secret for.
const PURPOSE: &str = "flott data";

/// How long the hello may take, once the secret is proved.
const DEADLINE: Duration = Duration::from_secs(10);

/// To whom a data connection goes. 48 bytes: job, from, to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The job of both.
    pub job: JobId,
    /// The worker that wants to read.
    pub from: WorkerId,
    /// The worker that is to serve.
    pub to: WorkerId,
}

/// Proves the secret on a connection that was made and says where it is to go.
pub(super) async fn send_hello(
    stream: &mut TcpStream,
    secret: &Secret,
    hello: Hello,
) -> Result<(), HandshakeError> {
    prove_as_client(stream, secret, PURPOSE).await?;
    let bytes = [*hello.job.as_bytes(), *hello.from.as_bytes(), *hello.to.as_bytes()].concat();
    Ok(stream.write_all(&bytes).await?)
}

/// Who took a connection at a data port learns to which worker it goes. Not a byte more is read, so that the worker finds the
/// first frame.
///
/// # Errors
/// [`HandshakeError`]; the connection is of no use then.
pub async fn receive_hello(stream: &mut TcpStream, secret: &Secret) -> Result<Hello, HandshakeError> {
    prove_as_server(stream, secret, PURPOSE).await?;
    let mut ids = [[0; 16]; 3];
    let read = async {
        for id in &mut ids {
            stream.read_exact(id).await?;
        }
        Ok::<_, io::Error>(())
    };
    tokio::time::timeout(DEADLINE, read).await.map_err(|_| HandshakeError::TimedOut)??;
    let [job, from, to] = ids;
    Ok(Hello { job: JobId::from_bytes(job), from: WorkerId::from_bytes(from), to: WorkerId::from_bytes(to) })
}
