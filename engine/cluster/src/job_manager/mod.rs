//! The JobManager of a standalone cluster: takes jobs, gives them slots of the TaskManagers that have registered, runs their
//! JobMasters.
//!
//! ```text
//! client ─▸ Service ─▸ Jobs ─▸ JobMaster ─▸ JobWorkers ─▸ orders to workers
//!                                 ▴             │ ▴
//! worker ─▸ Service ─ events ─────┘             ▾ │ granted, lost
//! TaskManager ─▸ Service ─▸ TaskManagers ◂── slots
//! ```

mod counters;
mod departures;
mod job;
mod job_workers;
mod jobs;
mod leader;
mod memory_budget;
mod placement;
mod recovery;
mod running_job;
mod service;
mod slot_choice;
mod take_over;
mod task_managers;
#[cfg(test)]
mod tests;
mod view;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use flott_core::config::{self, Configuration, PortRange};
use flott_runtime::net::handshake::{Secret, TokenKeys};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use crate::high_availability::{
    self, ApplicationAttempt, Candidate, ElectionServices, HighAvailabilityError, LeaderInfo,
};
use crate::program_store::{ProgramStore, StoreError};
use crate::resource_manager::{ResourceEvent, ResourceManagerDriver};
use crate::rest::{RestServer, RestSetup, WebTokens, public_address};
use crate::rpc::MAX_MESSAGE_BYTES;
use crate::rpc::control::WebReply;
use crate::rpc::control::job_manager_server::JobManagerServer;
use crate::rpc::listen::{authenticated, bind_one_of};
use crate::temp_dir::TempDir;
use jobs::Jobs;
use leader::Leader;
use memory_budget::MemoryBudget;
use service::Service;
#[cfg(test)]
pub(crate) use take_over::{TakeOver, delete_garbage};
use task_managers::TaskManagers;
use view::View;

/// Connections that have proved their secret and wait to be served.
const QUEUED_CONNECTIONS: usize = 64;

/// Why a JobManager cannot run.
#[derive(Debug, thiserror::Error)]
pub enum JobManagerError {
    /// Its port.
    #[error(transparent)]
    Port(#[from] io::Error),
    /// Its folder for programs.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its folder for temporary files.
    #[error(transparent)]
    Folder(#[from] flott_fs::FsError),
    /// Serving.
    #[error("the JobManager cannot go on: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// What elects it, or keeps what it leaves.
    #[error(transparent)]
    HighAvailability(#[from] HighAvailabilityError),
    /// What the leader before has left.
    #[error("the JobManager cannot take over what the leader before has left: {0}")]
    Recover(crate::high_availability::StoreError),
    /// It is an earlier attempt.
    #[error("a later attempt of the application has taken the place of this JobManager")]
    Superseded,
}

/// What a JobManager is made of.
pub struct JobManagerSetup {
    /// Its configuration, which every job inherits.
    pub configuration: Configuration,
    /// What every connection has to prove.
    pub secret: Secret,
    /// The ports to listen on: the first that is free is taken.
    pub ports: PortRange,
    /// Asked for the TaskManagers that are missing; none: the cluster has those that come.
    pub driver: Option<Arc<dyn ResourceManagerDriver>>,
    /// What it says of TaskManagers; none: nothing.
    pub resource_events: Option<mpsc::Receiver<ResourceEvent>>,
    /// Programs that are on this machine already, each called by its hash.
    pub programs: Vec<PathBuf>,
    /// Hears of clients who want the cluster to end; none: clients cannot end it.
    pub stop: Option<mpsc::Sender<StopRequest>>,
    /// When a client was last heard that this cluster was started for; none: it was started for nobody.
    pub heard: Option<watch::Sender<Instant>>,
    /// The newest tokens for file systems, as a token file has them, for all TaskManagers; empty: what they began with.
    pub tokens: Option<watch::Receiver<Vec<u8>>>,
    /// Knows the tokens by which clients may ask for the secret; none: there are no such tokens.
    pub client_tokens: Option<Arc<dyn TokenKeys>>,
    /// Which attempt of which application it is; none: there are no attempts.
    pub attempt: Option<ApplicationAttempt>,
}

impl JobManagerSetup {
    /// That of a standalone cluster.
    pub fn standalone(configuration: Configuration, secret: Secret) -> Self {
        let port = u16::try_from(configuration.get(&config::JOB_MANAGER_PORT)).unwrap_or_default();
        let ports = PortRange::one(port);
        Self {
            configuration,
            secret,
            ports,
            driver: None,
            resource_events: None,
            programs: Vec::new(),
            stop: None,
            heard: None,
            tokens: None,
            client_tokens: None,
            attempt: None,
        }
    }
}

/// A client wants the cluster to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopRequest {
    /// What went wrong, if that is why.
    pub failure: Option<String>,
    /// Whether its job was cancelled.
    pub canceled: bool,
}

/// Where a JobManager listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The port for clients, TaskManagers and workers.
    pub rpc: SocketAddr,
    /// The port of the REST API and the web page.
    pub web: SocketAddr,
    /// Where others find that: `HOST:PORT`.
    pub web_address: String,
}

/// Hands new tokens on to the TaskManagers, for ever.
async fn hand_on(tokens: Option<watch::Receiver<Vec<u8>>>, task_managers: Arc<TaskManagers>) {
    if let Some(mut tokens) = tokens {
        loop {
            let newest = tokens.borrow_and_update().clone();
            if !newest.is_empty() {
                task_managers.set_tokens(newest);
            }
            if tokens.changed().await.is_err() {
                break;
            }
        }
    }
    std::future::pending().await
}

/// Hears what becomes of TaskManagers, for ever.
async fn hear(events: Option<mpsc::Receiver<ResourceEvent>>, task_managers: Arc<TaskManagers>) {
    if let Some(mut events) = events {
        while let Some(event) = events.recv().await {
            match event {
                ResourceEvent::Ended { resource_id, reason } => task_managers.ended(&resource_id, &reason),
                ResourceEvent::Leaving { resource_id, reason, within } => {
                    task_managers.leave(&resource_id, &reason, within);
                }
            }
        }
    }
    std::future::pending().await
}

/// Tells of every leader that is found, for ever.
async fn tell(mut leaders: watch::Receiver<Option<LeaderInfo>>, found: watch::Sender<Option<LeaderInfo>>) {
    loop {
        let leader = leaders.borrow_and_update().clone();
        found.send_replace(leader);
        if leaders.changed().await.is_err() {
            break;
        }
    }
    std::future::pending().await
}

/// Runs a JobManager until `shutdown`; `listening` is told where it listens. Jobs that run then are lost with it, unless there is high
/// availability: then another one goes on with them. One that cannot contend for leadership yet, ZooKeeper being away, listens and waits.
///
/// # Errors
/// [`JobManagerError`] if no port is free or the temporary folder cannot be made.
pub async fn run_job_manager(
    setup: JobManagerSetup,
    listening: impl FnOnce(Listening),
    shutdown: impl Future<Output = ()>,
) -> Result<(), JobManagerError> {
    let JobManagerSetup {
        configuration,
        secret,
        ports,
        driver,
        resource_events,
        programs,
        stop,
        heard,
        tokens,
        client_tokens,
        attempt,
    } = setup;
    MemoryBudget::of(&configuration).log();
    flott_fs::set_hadoop_properties(configuration.hadoop_properties());
    let storage = high_availability::storage(&configuration).await?;
    let reached = match high_availability::for_job_manager(&configuration, &secret).await {
        Err(error @ HighAvailabilityError::Unreachable { .. }) => {
            tracing::warn!(%error, "this JobManager serves nobody until it can contend for leadership");
            None
        }
        services => Some(services?),
    };
    let known = reached.as_ref().and_then(|services| services.retrieval.leader().borrow().clone());
    let (found, leaders) = watch::channel(known);
    let listener = bind_one_of(&configuration.get(&config::JOB_MANAGER_BIND_HOST), &ports).await?;
    let temp_dir = TempDir::create(&configuration)?;
    let store = ProgramStore::create(temp_dir.path().join("programs"))?;
    for program in &programs {
        store.adopt(program)?;
    }
    let io = tokio::runtime::Handle::current();
    let task_managers = Arc::new(TaskManagers::new(&configuration, driver, io.clone()));
    let address = listener.local_addr()?;
    let jobs = Arc::new(Jobs::new(
        configuration.clone(),
        attempt.as_ref().map(|attempt| attempt.application.clone()),
        Arc::clone(&task_managers),
        storage.clone(),
        io.clone(),
    ));
    let (leading, led) = watch::channel(None);
    let renewed = hand_on(tokens, Arc::clone(&task_managers));
    let following = hear(resource_events, Arc::clone(&task_managers));
    let heartbeat_timeout = configuration.get(&config::HEARTBEAT_TIMEOUT);
    let inherited = configuration.clone();
    let view = View {
        configuration,
        jobs: Arc::clone(&jobs),
        task_managers: Arc::clone(&task_managers),
        is_elected: storage.is_some(),
        leading: led.clone(),
        leaders: leaders.clone(),
    };
    let rest = RestServer::start(RestSetup {
        configuration: &inherited,
        secret: &secret,
        temp_dir: temp_dir.path(),
        rpc: address,
        view: Arc::new(view),
    });
    let rest = rest.await?;
    let web_address = public_address(&inherited, rest.address());
    let WebTokens { read, change } = WebTokens::of(&secret);
    let web = WebReply { address: web_address.clone(), read_token: read, change_token: change };
    let service = Service {
        leading: led,
        leaders,
        heartbeat_timeout,
        jobs: Arc::clone(&jobs),
        task_managers: Arc::clone(&task_managers),
        programs: Arc::new(store),
        shared: storage.as_ref().map(|storage| Arc::clone(&storage.programs)),
        stop,
        heard: heard.map(Arc::new),
        web,
        io: io.clone(),
    };
    let (accepted, connections) = mpsc::channel(QUEUED_CONNECTIONS);
    io.spawn(authenticated(listener, secret.clone(), client_tokens, accepted));
    listening(Listening { rpc: address, web: rest.address(), web_address: web_address.clone() });
    tracing::info!(%address, web = %rest.address(), "the JobManager listens");
    let server = JobManagerServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let serve = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(crate::rpc::connect::KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(crate::rpc::connect::KEEP_ALIVE.1))
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20))
        .add_service(server)
        .serve_with_incoming(ReceiverStream::new(connections));
    let candidate = Candidate {
        address: format!("{}:{}", inherited.get(&config::JOB_MANAGER_ADDRESS), address.port()),
        rest_address: Some(web_address.clone()),
        attempt,
    };
    let leader = Leader { jobs: &jobs, task_managers: &task_managers, leading: &leading };
    let mut elected = None;
    let lead = async {
        let reach = || high_availability::for_job_manager(&inherited, &secret);
        let services = match reached {
            Some(services) => services,
            None => high_availability::patiently(&inherited, reach).await?,
        };
        let ElectionServices { election, retrieval } = elected.insert(services);
        tokio::select! {
            failed = leader.follow(&**election, election.contend(candidate)) => failed,
            () = tell(retrieval.leader(), found) => Ok(()),
        }
    };
    let ended = tokio::select! {
        served = serve => served.map_err(Into::into),
        () = renewed => Ok(()),
        () = following => Ok(()),
        () = shutdown => Ok(()),
        failed = lead => failed,
    };
    if storage.is_some() {
        leader.step_down();
    }
    if let Some(ElectionServices { election, .. }) = elected {
        election.resign().await;
    }
    ended
}
