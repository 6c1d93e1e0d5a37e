//! The port of a JobManager: connections that have proved the secret.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use flott_core::config::PortRange;
use flott_runtime::net::handshake::{Admitted, Secret, TokenKeys, admit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use super::{CONTROL_PURPOSE, resolve};

/// Handshakes at a time; more connections wait in the system's queue.
const HANDSHAKES: usize = 64;

/// How long to wait when the system gives no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on `HOST:PORT`.
///
/// # Errors
/// If the port is in use, or the host is not this machine's; the message names them.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    let addresses = resolve(address).await?;
    TcpListener::bind(addresses.as_slice()).await.map_err(|error| {
        let hint =
            if error.kind() == io::ErrorKind::AddrInUse { ": is another one running there?" } else { "" };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{hint}"))
    })
}

/// The same at the first port of `ports` that is free.
///
/// # Errors
/// The last port's, if none is free; the message names it.
pub async fn bind_one_of(host: &str, ports: &PortRange) -> io::Result<TcpListener> {
    let mut last = None;
    for port in ports.ports() {
        match bind(&format!("{host}:{port}")).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
            bound => return bound,
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::InvalidInput.into()))
}

/// The connections of `listener` that have proved the secret; who has not is logged and dropped. Ends when the receiver is dropped.
pub async fn authenticated(
    listener: TcpListener,
    secret: Secret,
    keys: Option<Arc<dyn TokenKeys>>,
    accepted: mpsc::Sender<io::Result<TcpStream>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut running = tokio::task::JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            () = accepted.closed() => return,
        };
        let (mut stream, peer) = match connection {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (secret, keys, accepted) = (secret.clone(), keys.clone(), accepted.clone());
        running.spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            match admit(&mut stream, &secret, keys.as_deref(), CONTROL_PURPOSE).await {
                Ok(Admitted::Peer) => drop(accepted.send(Ok(stream)).await),
                Ok(Admitted::Told) => tracing::info!(%peer, "a client was told the secret by its token"),
                Err(error) => tracing::warn!(%peer, %error, "a connection was refused"),
            }
        });
    }
}
