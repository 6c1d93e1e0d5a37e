//! Connections to the REST port: bounded in number, in what they send, and in time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use flott_core::config::{self, Configuration};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::rpc::listen::bind_one_of;

/// Connections at a time; more wait in the system's queue.
pub(super) const CONNECTIONS: usize = 256;

/// How long a client may take for the head of its next request.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// How long a connection may be used; who needs it longer opens another.
const CONNECTION_LIFE: Duration = Duration::from_secs(15 * 60);

/// What a connection buffers of what comes in.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// How long to wait when the system gives no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on the first port of `rest.bind-port` that is free.
///
/// # Errors
/// If none is; the message says which were tried.
pub(super) async fn bind(configuration: &Configuration) -> io::Result<TcpListener> {
    let host = configuration.get(&config::REST_BIND_ADDRESS);
    let ports = configuration.get(&config::REST_PORT);
    bind_one_of(&host, &ports).await.map_err(|error| {
        let hint = "set rest.bind-port to a range such as 8081-8099, or to 0 for any port";
        io::Error::new(
            error.kind(),
            format!("no port for the web page (rest.bind-port: {ports}): {error}; {hint}"),
        )
    })
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                connections.spawn(async move {
                    let _permit = permit;
                    attend(stream, router).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the web page");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn attend(stream: TcpStream, router: Router) {
    let _ = stream.set_nodelay(true);
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(BUFFER_BYTES);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_LIFE, serving).await {
        tracing::debug!(error, "a connection to the web page broke");
    }
}
