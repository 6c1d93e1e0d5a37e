//! The program in role worker: serves the subtasks of one job until it is told to end, or those it works for are gone.

use std::os::fd::OwnedFd;
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use flott_core::config::Configuration;
use flott_core::ids::{JobId, LeaderSessionId, WorkerId};
use flott_plan::JobGraph;
use flott_runtime::net::DataPlane;
use flott_runtime::net::handshake::Secret;
use flott_runtime::program::Program;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use crate::launch::LaunchSocket;
use crate::logging;
use crate::memory_guard::{self, MemoryShare};
use crate::outbox::Outbox;
use crate::rpc::connect::connect;
use crate::rpc::control::{self, WorkerMessage, WorkerOrder, worker_message, worker_order};
use crate::rpc::launch::{self, Leader, ToProgram, to_program};
use crate::rpc::{WireError, WireId, read_deploy, read_message, required};
use crate::worker::{Worker, WorkerSetup};

/// How often the JobManager hears what was counted; also the worker's sign of life.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// Messages to the JobManager that may wait in the connection.
const QUEUED_MESSAGES: usize = 64;

/// The first and the longest pause between two attempts to reach the JobManager.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long the last word of a JobManager may be on its way that takes nothing any more.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Why a worker cannot serve.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the plan that was submitted cannot be read: {0}")]
    Plan(#[from] flott_plan::PlanError),
    #[error("the program is not the one that was submitted: {0}")]
    OtherProgram(String),
    #[error(transparent)]
    Configuration(#[from] flott_core::config::ConfigError),
    #[error(transparent)]
    File(#[from] flott_fs::FsError),
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
    #[error(transparent)]
    Connect(#[from] crate::rpc::connect::ConnectError),
    #[error("the JobManager ended the connection: {0}")]
    Session(#[from] tonic::Status),
    #[error("the JobManager ended the connection")]
    Closed,
}

/// Serves the job, and ends the process with it.
pub(crate) fn serve(
    start: &launch::Worker,
    spec: &control::JobSpec,
    planned_here: JobGraph,
    program: Program,
    socket: Option<LaunchSocket>,
) -> ! {
    match run(start, spec, &planned_here, program, socket) {
        Ok(()) => exit(0),
        Err(error) => {
            // The TaskManager hands the last lines on to whoever wants to know why.
            eprintln!("worker cannot serve: {error}");
            exit(1)
        }
    }
}

fn run(
    start: &launch::Worker,
    spec: &control::JobSpec,
    planned_here: &JobGraph,
    program: Program,
    socket: Option<LaunchSocket>,
) -> Result<(), WorkerError> {
    let graph = JobGraph::decode(&spec.graph)?;
    if let Some(difference) = graph.program.first_difference(&planned_here.program) {
        return Err(WorkerError::OtherProgram(difference.to_string()));
    }
    // Where the program logs in its own way, that stays.
    if let Err(error) = logging::start_on_stderr(&start.log_level) {
        eprintln!("{error}");
    }
    let own = WorkerId::read(&start.worker)?;
    let job = JobId::read(&spec.job)?;
    LeaderSessionId::read(&start.leader_session)?;
    let secret = Secret::from_bytes(&start.secret)
        .ok_or_else(|| WireError("the secret has not the length of one".to_owned()))?;
    let configuration = Configuration::from_entries(&spec.configuration)?;
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("flott-io")
        .enable_all()
        .build()?;
    let plane = Arc::new(DataPlane::new(job, own, secret.clone(), io.handle().clone()));
    let first = Leader { address: start.job_manager.clone(), session: start.leader_session.clone() };
    let (leaders, leader) = watch::channel(first);
    if let Some(socket) = socket {
        let plane = Arc::clone(&plane);
        std::thread::Builder::new()
            .name("flott-agent".to_owned())
            .spawn(move || listen(socket, &plane, &leaders))?;
    }
    let outbox = Arc::new(if start.outlives_leader { Outbox::with_book() } else { Outbox::default() });
    let graph = Arc::new(graph);
    guard_memory(start, &graph, &outbox, &io);
    let worker = Worker::new(WorkerSetup {
        job,
        graph,
        program: Arc::new(program),
        configuration,
        managed_bytes_per_slot: usize::try_from(start.managed_bytes_per_slot).unwrap_or(usize::MAX),
        temp_dir: start.temp_dir.clone().into(),
        io: io.handle().clone(),
        listener: Arc::clone(&outbox) as Arc<_>,
        plane: Some(plane),
        host: Some(start.host.clone()).filter(|host| !host.is_empty()),
    })?;
    io.block_on(serve_leaders(Served { start, spec, secret: &secret, outbox }, worker, leader))
}

/// Ends the process when it outgrows its share of the TaskManager's memory.
fn guard_memory(
    start: &launch::Worker,
    graph: &Arc<JobGraph>,
    outbox: &Arc<Outbox>,
    io: &tokio::runtime::Runtime,
) {
    let share = MemoryShare { bytes: start.memory_bytes, slots: start.slots };
    let (graph, outbox) = (Arc::clone(graph), Arc::clone(outbox));
    io.spawn(async move {
        let exceeded = memory_guard::exceeded(share, &graph, &outbox).await;
        // The TaskManager hands the last lines on. Nothing that would take more memory is done any more.
        eprintln!("worker ends itself: {exceeded}");
        exit(1)
    });
}

/// Takes data connections from the TaskManager. When that is gone, so is this process: at once, since its slots may be given away.
fn listen(mut socket: LaunchSocket, plane: &Arc<DataPlane>, leaders: &watch::Sender<Leader>) {
    loop {
        match socket.receive::<ToProgram>() {
            Ok((ToProgram { kind: Some(to_program::Kind::DataSocket(sent)) }, Some(descriptor))) => {
                if let Ok(peer) = WorkerId::read(&sent.peer) {
                    plane.accepted(peer, as_tcp(descriptor));
                }
            }
            Ok((ToProgram { kind: Some(to_program::Kind::Leader(leader)) }, _)) => {
                leaders.send_if_modified(|known| {
                    let new = *known != leader;
                    *known = leader;
                    new
                });
            }
            Ok(_) => tracing::warn!("the TaskManager sent something that a worker does not know"),
            Err(_) => exit(1),
        }
    }
}

fn as_tcp(descriptor: OwnedFd) -> std::net::TcpStream {
    std::net::TcpStream::from(descriptor)
}

/// What every conversation with a JobManager needs.
struct Served<'a> {
    start: &'a launch::Worker,
    spec: &'a control::JobSpec,
    secret: &'a Secret,
    outbox: Arc<Outbox>,
}

impl WorkerError {
    /// Whether the worker itself cannot go on, whoever leads.
    fn is_own(&self) -> bool {
        !matches!(self, Self::Connect(_) | Self::Session(_) | Self::Closed)
    }
}

/// Serves one leader after the other, if the tasks outlive them; else one. Until when they go on without, the TaskManager decides,
/// which also tells who leads.
async fn serve_leaders(
    served: Served<'_>,
    mut worker: Worker,
    mut leaders: watch::Receiver<Leader>,
) -> Result<(), WorkerError> {
    let mut pause = PAUSE.0;
    loop {
        let leader = leaders.borrow_and_update().clone();
        let mut registered = false;
        let ended = tokio::select! {
            ended = session(&served, &leader, &mut worker, &mut registered) => ended,
            // What an earlier leader still has to say does not count.
            Ok(()) = leaders.changed() => continue,
        };
        let Err(error) = ended;
        if !served.start.outlives_leader {
            return if matches!(error, WorkerError::Closed) { Ok(()) } else { Err(error) };
        }
        if error.is_own() {
            return Err(error);
        }
        tracing::warn!(job_manager = leader.address, %error, "the JobManager is lost; the tasks go on");
        pause = if registered { PAUSE.0 } else { (pause * 2).min(PAUSE.1) };
        tokio::select! {
            _ = leaders.changed() => leaders.mark_changed(),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn session(
    served: &Served<'_>,
    leader: &Leader,
    worker: &mut Worker,
    registered: &mut bool,
) -> Result<std::convert::Infallible, WorkerError> {
    let Served { start, spec, secret, outbox } = served;
    let mut client = connect(&leader.address, secret).await?;
    let (messages, queued) = mpsc::channel(QUEUED_MESSAGES);
    let register = worker_message::Kind::Register(control::RegisterWorker {
        worker: start.worker.clone(),
        job: spec.job.clone(),
        leader_session: leader.session.clone(),
        executions: outbox.report(),
    });
    // There is room: the channel is new.
    let _ = messages.try_send(WorkerMessage { kind: Some(register) });
    let mut orders = client.worker_session(ReceiverStream::new(queued)).await?.into_inner();
    *registered = true;
    let talking = async {
        let mut interval = tokio::time::interval(METRICS_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                biased;
                message = outbox.next() => message,
                _ = interval.tick() => outbox.metrics(),
            };
            if messages.send(message).await.is_err() {
                return;
            }
        }
    };
    let listening = async {
        while let Some(order) = orders.message().await? {
            obey(worker, outbox, order)?;
        }
        Err(WorkerError::Closed)
    };
    tokio::pin!(listening);
    tokio::select! {
        biased;
        outcome = &mut listening => outcome,
        () = talking => tokio::time::timeout(LAST_WORD, listening).await.unwrap_or(Err(WorkerError::Closed)),
    }
}

fn obey(worker: &mut Worker, outbox: &Outbox, order: WorkerOrder) -> Result<(), WorkerError> {
    match required(order.kind, "an order")? {
        worker_order::Kind::Deploy(deploy) => {
            for deployment in read_deploy(deploy)? {
                outbox.deployed(&deployment);
                worker.deploy(deployment)?;
            }
        }
        worker_order::Kind::Send(sent) => {
            let (execution, message) = read_message(sent)?;
            worker.send(execution, message);
        }
        worker_order::Kind::Release(release) => {
            let executions: Vec<_> = release.executions.into_iter().map(Into::into).collect();
            worker.release(&executions);
        }
        worker_order::Kind::SetLevels(order) => {
            if let Err(error) = logging::set_levels(&order.levels) {
                tracing::warn!(%error, "other levels were asked for");
            }
        }
    }
    Ok(())
}
