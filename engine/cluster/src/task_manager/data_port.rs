//! The one port for data: connections of other workers, handed to the worker they ask for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use flott_core::config::{self, Configuration};
use flott_runtime::net::handshake::Secret;
use flott_runtime::net::receive_hello;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::workers::Workers;
use crate::rpc::listen::bind_one_of;

/// Handshakes at a time; more connections wait in the system's queue.
const HANDSHAKES: usize = 64;

/// How long to wait when the system gives no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes the first free port of those that are configured.
pub(super) async fn bind(configuration: &Configuration) -> io::Result<(TcpListener, u16)> {
    let host = configuration.get(&config::TASK_MANAGER_BIND_HOST);
    let listener = bind_one_of(&host, &configuration.get(&config::DATA_PORT)).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Serves the port for ever.
pub(super) async fn serve(listener: TcpListener, secret: Secret, workers: Arc<Workers>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut running = JoinSet::new();
    loop {
        while running.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (secret, workers) = (secret.clone(), Arc::clone(&workers));
                running.spawn(async move {
                    let _permit = permit;
                    if let Err(reason) = take(stream, &secret, &workers).await {
                        tracing::warn!(%peer, reason, "a data connection was refused");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a data connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn take(mut stream: TcpStream, secret: &Secret, workers: &Arc<Workers>) -> Result<(), String> {
    let hello = receive_hello(&mut stream, secret).await.map_err(|error| error.to_string())?;
    let stream = stream.into_std().map_err(|error| error.to_string())?;
    let workers = Arc::clone(workers);
    let handed = tokio::task::spawn_blocking(move || workers.hand_over(hello, &stream)).await;
    handed.map_err(|error| error.to_string())?
}
