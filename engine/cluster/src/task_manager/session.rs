//! The TaskManager's conversation with the JobManager: registers, gives signs of life, obeys, and tells how workers end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_core::config::{self, Configuration};
use flott_core::ids::{JobId, TaskManagerId, WorkerId};
use flott_runtime::net::handshake::Secret;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::figures::Figures;
use super::logs;
use super::programs::Programs;
use super::workers::{NewWorker, Workers};
use crate::high_availability::{LeaderInfo, LeaderRetrieval};
use crate::logging;
use crate::program::VERSION;
use crate::program_file;
use crate::rpc::connect::{ConnectError, connect};
use crate::rpc::control::job_manager_client::JobManagerClient;
use crate::rpc::control::{
    HeldWorker, ReadLogs, RegisterTaskManager, StartWorker, TaskManagerMessage, TaskManagerOrder,
    WorkerEnded, task_manager_message, task_manager_order,
};
use crate::rpc::launch::{self, Leader, Start, start};
use crate::rpc::{WireError, WireId, required};

/// The first and the longest pause between two attempts to reach the JobManager.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How long to wait for the first leader before that is said again.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Messages that may wait in the connection.
const QUEUED_MESSAGES: usize = 64;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the JobManager ended the session: {}", .0.message())]
    Status(#[from] tonic::Status),
    #[error("the JobManager ended the session")]
    Closed,
    #[error("the JobManager does not need this TaskManager any more")]
    Dismissed,
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// What a TaskManager says of itself, and what it needs to obey.
pub(super) struct Session {
    /// The same for every leader.
    pub(super) id: TaskManagerId,
    pub(super) leaders: Arc<dyn LeaderRetrieval>,
    /// How long workers go on without a JobManager; none: not at all.
    pub(super) absence_timeout: Option<Duration>,
    pub(super) data_address: String,
    /// By which the system that started it knows it.
    pub(super) resource_id: String,
    pub(super) configuration: Configuration,
    pub(super) slots: u32,
    pub(super) managed_bytes: u64,
    /// What this process and its workers may use.
    pub(super) memory_limit: u64,
    /// What the workers may use for each of their slots.
    pub(super) memory_bytes_per_slot: u64,
    pub(super) heartbeat_interval: Duration,
    pub(super) secret: Secret,
    pub(super) programs: Arc<Programs>,
    pub(super) workers: Arc<Workers>,
    /// Takes the newest tokens of file systems.
    pub(super) tokens: watch::Sender<Vec<u8>>,
}

impl Session {
    /// Serves one JobManager after the other, until one of them needs it no more. When one is lost, what runs for it ends, or waits for
    /// the next one.
    pub(super) async fn run(&self, mut news: mpsc::Receiver<WorkerEnded>) {
        let mut pause = PAUSE.0;
        let mut leaders = self.leaders.leader();
        let mut absent_since = Instant::now();
        loop {
            let leader = leaders.borrow_and_update().clone();
            let Some(leader) = leader else {
                tracing::warn!("no JobManager leads yet");
                self.wait_for_leader(&mut leaders, absent_since, LONGEST_WAIT).await;
                continue;
            };
            let mut registered = false;
            let job_manager = &leader.address;
            tokio::select! {
                ended = self.serve(&leader, &mut news, &mut registered) => {
                    let Err(error) = ended;
                    if matches!(error, SessionError::Dismissed) {
                        tracing::info!(job_manager, "this TaskManager is not needed any more");
                        return;
                    }
                    if registered {
                        tracing::warn!(job_manager, %error, "the JobManager is lost");
                    } else {
                        tracing::warn!(job_manager, %error, "no JobManager; trying again");
                    }
                }
                () = another(&mut leaders, &leader) => {
                    tracing::info!(job_manager, "another JobManager leads");
                    absent_since = Instant::now();
                    continue;
                }
            }
            if registered {
                pause = PAUSE.0;
                absent_since = Instant::now();
                if self.absence_timeout.is_none() {
                    self.stop_workers(&mut news, "what ran for it is killed").await;
                }
            }
            self.wait_for_leader(&mut leaders, absent_since, pause.mul_f64(jitter())).await;
            self.check_absence(absent_since, &mut news).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn wait_for_leader(
        &self,
        leaders: &mut watch::Receiver<Option<LeaderInfo>>,
        absent_since: Instant,
        longest: Duration,
    ) {
        let left = self.absence_timeout.map(|timeout| timeout.saturating_sub(absent_since.elapsed()));
        let longest = left.filter(|left| !left.is_zero()).map_or(longest, |left| longest.min(left));
        tokio::select! {
            changed = leaders.changed() => match changed {
                Ok(()) => leaders.mark_changed(),
                Err(_) => tokio::time::sleep(longest).await,
            },
            () = tokio::time::sleep(longest) => {}
        }
    }

    /// Ends what has run without a JobManager for too long.
    async fn check_absence(&self, absent_since: Instant, news: &mut mpsc::Receiver<WorkerEnded>) {
        let is_over = self.absence_timeout.is_some_and(|timeout| absent_since.elapsed() >= timeout);
        if is_over && !self.workers.is_empty() {
            self.stop_workers(news, "jobmanager.absence-timeout is over: the workers are killed").await;
        }
    }

    async fn stop_workers(&self, news: &mut mpsc::Receiver<WorkerEnded>, why: &str) {
        if !self.workers.is_empty() {
            tracing::warn!("{why}");
        }
        self.workers.stop_all();
        self.workers.all_ended().await;
        while news.try_recv().is_ok() {}
    }

    async fn serve(
        &self,
        leader: &LeaderInfo,
        news: &mut mpsc::Receiver<WorkerEnded>,
        registered: &mut bool,
    ) -> Result<std::convert::Infallible, SessionError> {
        let mut client = connect(&leader.address, &self.secret).await?;
        let (messages, queued) = mpsc::channel(QUEUED_MESSAGES);
        let say = |kind| TaskManagerMessage { kind: Some(kind) };
        // What has ended by now is not in the list of what runs.
        while news.try_recv().is_ok() {}
        let id = self.id;
        let register = RegisterTaskManager {
            task_manager: id.write(),
            data_address: self.data_address.clone(),
            slots: self.slots,
            managed_bytes: self.managed_bytes,
            engine_version: VERSION.to_owned(),
            resource_id: self.resource_id.clone(),
            leader_session: leader.session.map(|session| session.write()).unwrap_or_default(),
            workers: self.workers.held(),
        };
        // There is room: the channel is new.
        let _ = messages.try_send(say(task_manager_message::Kind::Register(register)));
        let mut orders = client.task_manager_session(ReceiverStream::new(queued)).await?.into_inner();
        let mut figures = Figures::new(self.memory_limit);
        let mut heartbeats = tokio::time::interval(self.heartbeat_interval);
        let mut registered_with = Leader::default();
        loop {
            let message = tokio::select! {
                order = orders.message() => {
                    let order = order?.ok_or(SessionError::Closed)?;
                    if let Some(task_manager_order::Kind::Registered(answer)) = order.kind {
                        *registered = true;
                        let session = answer.leader_session;
                        registered_with = Leader { address: leader.address.clone(), session };
                        self.tell_workers(&registered_with);
                        tracing::info!(task_manager = %id, job_manager = leader.address, "registered with the JobManager");
                    } else if let Some(task_manager_order::Kind::ReadLogs(question)) = order.kind {
                        self.read_logs(question, messages.clone());
                    } else {
                        self.obey(order, &client, &registered_with)?;
                    }
                    continue;
                }
                Some(ended) = news.recv() => task_manager_message::Kind::WorkerEnded(ended),
                _ = heartbeats.tick() => task_manager_message::Kind::Heartbeat(figures.heartbeat()),
            };
            messages.send(say(message)).await.map_err(|_| SessionError::Closed)?;
        }
    }

    /// Answers elsewhere: files may be slow.
    fn read_logs(&self, question: ReadLogs, messages: mpsc::Sender<TaskManagerMessage>) {
        let configuration = self.configuration.clone();
        drop(tokio::task::spawn_blocking(move || {
            let read = task_manager_message::Kind::LogsRead(logs::read(&configuration, question));
            // Who has ended needs no answer.
            let _ = messages.blocking_send(TaskManagerMessage { kind: Some(read) });
        }));
    }

    /// The JobManager knows the workers from now on: they may turn to it.
    fn tell_workers(&self, leader: &Leader) {
        if self.absence_timeout.is_some() {
            let (workers, leader) = (Arc::clone(&self.workers), leader.clone());
            // A worker may not listen for a while.
            drop(tokio::task::spawn_blocking(move || workers.follow(&leader)));
        }
    }

    fn obey(
        &self,
        order: TaskManagerOrder,
        client: &JobManagerClient<Channel>,
        leader: &Leader,
    ) -> Result<(), SessionError> {
        match required(order.kind, "an order")? {
            task_manager_order::Kind::Leave(_) => return Err(SessionError::Dismissed),
            task_manager_order::Kind::StartWorker(order) => {
                let id = WorkerId::read(&order.worker)?;
                let held = HeldWorker {
                    worker: order.worker.clone(),
                    job: order.spec.as_ref().map(|spec| spec.job.clone()).unwrap_or_default(),
                    slots: order.slots,
                    slot_numbers: order.slot_numbers.clone(),
                    sequence: order.sequence,
                };
                self.workers.expect(id, held);
                let start = StartOrder {
                    id,
                    order,
                    memory_bytes_per_slot: self.memory_bytes_per_slot,
                    host: self
                        .data_address
                        .rsplit_once(':')
                        .map_or_else(String::new, |(host, _)| host.to_owned()),
                    leader: leader.clone(),
                    outlives_leader: self.absence_timeout.is_some(),
                    login: own_login(&self.configuration),
                    secret: self.secret.clone(),
                    programs: Arc::clone(&self.programs),
                    workers: Arc::clone(&self.workers),
                };
                let client = client.clone();
                tokio::runtime::Handle::current().spawn(async move { start.run(client).await });
            }
            task_manager_order::Kind::StopWorker(order) => self.workers.stop(WorkerId::read(&order.worker)?),
            task_manager_order::Kind::SetTokens(order) => {
                self.tokens.send_replace(order.tokens);
            }
            task_manager_order::Kind::SetLevels(order) => {
                if let Err(error) = logging::set_levels(&order.levels) {
                    tracing::warn!(%error, "other levels were asked for");
                }
            }
            task_manager_order::Kind::Registered(_) | task_manager_order::Kind::ReadLogs(_) => {}
        }
        Ok(())
    }
}

/// What the workers here log in with: what this TaskManager does, and no file of another host.
type OwnLogin = [(&'static str, Option<String>); 2];

fn own_login(configuration: &Configuration) -> OwnLogin {
    [config::KERBEROS_PRINCIPAL.key, config::KERBEROS_KEYTAB.key]
        .map(|key| (key, configuration.entries().get(key).cloned()))
}

/// An order to start a worker, on its way.
struct StartOrder {
    id: WorkerId,
    order: StartWorker,
    memory_bytes_per_slot: u64,
    host: String,
    leader: Leader,
    outlives_leader: bool,
    login: OwnLogin,
    secret: Secret,
    programs: Arc<Programs>,
    workers: Arc<Workers>,
}

impl StartOrder {
    async fn run(self, client: JobManagerClient<Channel>) {
        let (id, workers) = (self.id, Arc::clone(&self.workers));
        match self.prepare(client).await {
            Ok(worker) => workers.start(worker),
            Err(reason) => workers.ended(id, reason, false),
        }
    }

    async fn prepare(self, client: JobManagerClient<Channel>) -> Result<NewWorker, String> {
        let text = |error: WireError| error.to_string();
        let mut spec = required(self.order.spec, "the job").map_err(text)?;
        let job = JobId::read(&spec.job).map_err(text)?;
        let hash = spec.content_hash.parse()?;
        let program = self.programs.get(&hash, client).await.map_err(|error| error.to_string())?;
        // The C library may be another one here.
        let file = program.clone();
        let checked = tokio::task::spawn_blocking(move || program_file::check(&file)).await;
        checked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let arguments = std::mem::take(&mut spec.arguments);
        let (mut configuration, folder) = (spec.configuration.clone(), PathBuf::from(&spec.folder));
        for (key, own) in self.login {
            match own {
                Some(own) => configuration.insert(key.to_owned(), own),
                None => configuration.remove(key),
            };
        }
        let worker = launch::Worker {
            worker: self.id.write(),
            spec: Some(spec),
            managed_bytes_per_slot: self.order.managed_bytes_per_slot,
            memory_bytes: self.memory_bytes_per_slot * u64::from(self.order.slots),
            slots: self.order.slots,
            job_manager: self.leader.address,
            leader_session: self.leader.session,
            outlives_leader: self.outlives_leader,
            secret: self.secret.as_bytes().to_vec(),
            log_level: logging::levels(),
            temp_dir: self.workers.temp_dir_of(self.id).to_string_lossy().into_owned(),
            host: self.host,
        };
        let start = Start { arguments, configuration, role: Some(start::Role::Worker(worker)) };
        Ok(NewWorker { id: self.id, job, program, folder, start })
    }
}

/// Until another leader than this one is known.
async fn another(leaders: &mut watch::Receiver<Option<LeaderInfo>>, leader: &LeaderInfo) {
    loop {
        if leaders.changed().await.is_err() {
            return std::future::pending().await;
        }
        if leaders.borrow_and_update().as_ref() != Some(leader) {
            leaders.mark_changed();
            return;
        }
    }
}

/// Between a half and one and a half, so that many TaskManagers do not come at once.
fn jitter() -> f64 {
    let random = TaskManagerId::random();
    0.5 + f64::from(random.as_bytes()[0]) / 255.0
}
