//! The REST API and the web page of a JobManager: what it knows of its cluster, under the paths and with the field names of Apache Flink's
//! public REST API, so that tools which talk to Flink talk to Flott.
//!
//! Everything is made of a `ClusterView`, by functions from what was seen to JSON. Paths of Flink's carry Flink's fields and no
//! others; what only Flott has stands under `/flott`.
//!
//! ```text
//! connection ─▸ server ─▸ access ─▸ routes ─▸ ClusterView ─▸ jobs, vertices, checkpoints, … ─▸ JSON
//! ```

mod access;
mod checkpoints;
mod diagnosis;
mod error;
mod failures;
mod flott;
mod jobs;
mod logs;
mod metrics;
mod overview;
mod page;
mod programs;
mod prometheus;
mod routes;
mod server;
mod settings;
mod standby;
mod task_managers;
#[cfg(test)]
mod tests;
mod vertices;
mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use flott_core::config::{self, Configuration};
use flott_runtime::net::handshake::Secret;
use tokio::task::JoinSet;

pub use access::WebTokens;
pub(crate) use view::{ClusterView, Elsewhere, JobView, ProcessView, TaskManagerView};

use access::Access;
use programs::Programs;
use routes::RestState;

/// The most memory that requests take which nobody has proved to be allowed, and logs, in bytes.
pub(crate) const MOST_BYTES: usize = server::CONNECTIONS * (server::BUFFER_BYTES + routes::BODY_BYTES)
    + programs::MOST_BYTES
    + logs::MOST_BYTES;

/// What a server is made of.
pub(crate) struct RestSetup<'a> {
    /// What the JobManager was started with.
    pub(crate) configuration: &'a Configuration,
    /// The cluster's.
    pub(crate) secret: &'a Secret,
    /// What it shows.
    pub(crate) view: Arc<dyn ClusterView>,
    /// For programs that are uploaded, unless a folder is configured.
    pub(crate) temp_dir: &'a std::path::Path,
    /// The JobManager's port for clients, to which programs submit their jobs.
    pub(crate) rpc: SocketAddr,
}

/// A server that listens, and serves until it is dropped.
pub(crate) struct RestServer {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl RestServer {
    /// Listens on the first free port of `rest.bind-port`.
    ///
    /// # Errors
    /// If no port can be had, or the folder for programs cannot be made; the message names them.
    pub(crate) async fn start(setup: RestSetup<'_>) -> io::Result<Self> {
        let RestSetup { configuration, secret, view, temp_dir, rpc } = setup;
        let listener = server::bind(configuration).await?;
        let address = listener.local_addr()?;
        let programs = Programs::new(configuration, temp_dir, rpc.to_string(), secret.clone())?;
        let access = Access::new(configuration, secret.clone());
        let own = public_address(configuration, address);
        let state = RestState { access, view, programs, logs: logs::LogsInMemory::new(), own };
        let mut serving = JoinSet::new();
        serving.spawn(server::serve(listener, routes::router(Arc::new(state))));
        Ok(Self { address, _serving: serving })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Where others find a server that listens on `address`: `HOST:PORT`.
pub(crate) fn public_address(configuration: &Configuration, address: SocketAddr) -> String {
    let host = configuration
        .get_optional(&config::REST_ADDRESS)
        .unwrap_or_else(|| configuration.get(&config::JOB_MANAGER_ADDRESS));
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    format!("{host}:{}", address.port())
}
