//! What the JobManager answers: to clients, TaskManagers and workers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_core::ids::{JobId, LeaderSessionId, TaskManagerId, WorkerId};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::StopRequest;
use super::counters::Counters;
use super::job::{Job, Standing};
use super::job_workers::JobWorkers;
use super::jobs::{Jobs, SubmitError};
use super::task_managers::{Registration, TaskManagers};
use crate::high_availability::{LeaderInfo, StoreError, Term};
use crate::job_master::JobEvent;
use crate::program::{CONTROL_PROTOCOL, VERSION, Versions};
use crate::program_store::{ContentHash, ProgramStore, SharedPrograms};
use crate::rpc::control::job_manager_server::JobManager;
use crate::rpc::control::{
    HasProgramReply, HeldWorker, JobList, JobOutcome, JobOverview, JobReference, JobUpdate, KeepAliveReply,
    KeepAliveRequest, ListJobsRequest, LogLevelReply, LogLevelRequest, ProgramChunk, ProgramRequest,
    Registered, StopClusterReply, StopClusterRequest, Submission, TakeResultsReply, TaskManagerMessage,
    TaskManagerOrder, WorkerMessage, WorkerOrder, task_manager_message, task_manager_order, worker_message,
};
use crate::rpc::control::{WebReply, WebRequest};
use crate::rpc::{CHUNK_BYTES, WireError, WireId, read_event};

/// Orders that may wait for a TaskManager or worker; who does not take them is taken for lost.
const QUEUED_ORDERS: usize = 1024;

/// Pieces of a program that may wait in a connection.
const QUEUED_CHUNKS: usize = 4;

/// How long to wait for what a TaskManager has to say about a worker whose connection has ended. Hardly ever does it come to that: a worker that is
/// still there comes again, and one that is gone with its TaskManager is lost with it.
const LAST_WORD: Duration = Duration::from_secs(10);

/// How long one connection may take between two pieces of a program.
const CHUNK_DEADLINE: Duration = Duration::from_secs(30);

/// The JobManager as others see it.
#[derive(Clone)]
pub(super) struct Service {
    /// The term of this JobManager; none: it does not lead.
    pub(super) leading: watch::Receiver<Option<Term>>,
    /// Who leads instead.
    pub(super) leaders: watch::Receiver<Option<LeaderInfo>>,
    pub(super) heartbeat_timeout: Duration,
    pub(super) jobs: Arc<Jobs>,
    pub(super) task_managers: Arc<TaskManagers>,
    pub(super) programs: Arc<ProgramStore>,
    /// The programs that the next leader finds.
    pub(super) shared: Option<Arc<SharedPrograms>>,
    pub(super) stop: Option<mpsc::Sender<StopRequest>>,
    pub(super) heard: Option<Arc<watch::Sender<Instant>>>,
    /// Where browsers find the page, and the tokens that open it.
    pub(super) web: WebReply,
    pub(super) io: Handle,
}

type Answer<T> = Result<Response<T>, Status>;

/// A message that cannot be understood is the fault of who sent it.
fn invalid(error: impl ToString) -> Status {
    Status::invalid_argument(error.to_string())
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        invalid(error)
    }
}

fn hash(text: &str) -> Result<ContentHash, Status> {
    text.parse().map_err(|error: String| invalid(error))
}

impl Service {
    /// The session of this leader.
    fn session(&self) -> Result<LeaderSessionId, Status> {
        if let Some(term) = &*self.leading.borrow() {
            return Ok(term.session);
        }
        let elsewhere = self.leaders.borrow().as_ref().map_or_else(
            || "nobody leads yet".to_owned(),
            |leader| format!("the last that led is at {}", leader.address),
        );
        Err(Status::unavailable(format!("this JobManager is not the leader; {elsewhere}")))
    }

    /// Until the leader of that session is none any more.
    async fn led_by_another(&self, session: LeaderSessionId) {
        let mut leading = self.leading.clone();
        let is_other = |term: &Option<Term>| term.as_ref().is_none_or(|term| term.session != session);
        if leading.wait_for(is_other).await.is_err() {
            // The JobManager ends.
        }
    }

    /// Work that blocks.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let done = self.io.spawn_blocking(work).await;
        done.map_err(|error| Status::internal(format!("a thread of the JobManager has failed: {error}")))?
    }

    /// What a client is told of a job's outcome; what cannot be read now is asked for again.
    async fn told(
        &self,
        job: &Arc<Job>,
        outcome: Option<Arc<JobOutcome>>,
    ) -> Result<Option<JobOutcome>, Status> {
        let Some(outcome) = outcome else { return Ok(None) };
        let job = Arc::clone(job);
        let unread = |error: StoreError| Status::unavailable(error.to_string());
        self.blocking(move || job.told(&outcome).map_err(unread)).await.map(Some)
    }

    /// Where a program is; it is fetched, if only the leader before had it.
    async fn program(&self, hash: &ContentHash) -> Result<Option<PathBuf>, Status> {
        if let Some(path) = self.programs.get(hash) {
            return Ok(Some(path));
        }
        let Some(shared) = self.shared.clone() else { return Ok(None) };
        let (programs, hash) = (Arc::clone(&self.programs), hash.clone());
        self.blocking(move || {
            shared.fetch(&hash, &programs).map_err(|error| Status::internal(error.to_string()))
        })
        .await
    }

    /// A job, whatever this leader makes of it.
    fn known_job(&self, reference: &JobReference) -> Result<Arc<Job>, Status> {
        self.session()?;
        let id = JobId::read(&reference.job)?;
        self.jobs.get(id).ok_or_else(|| Status::not_found(format!("there is no job {id} in this cluster")))
    }

    /// A job that goes on, or is over.
    fn job(&self, reference: &JobReference) -> Result<Arc<Job>, Status> {
        let job = self.known_job(reference)?;
        standing(&job).map(|()| job)
    }

    /// Talks with a TaskManager until it is lost, or another one leads.
    async fn attend(
        &self,
        (id, number): (TaskManagerId, u64),
        session: LeaderSessionId,
        mut messages: Streaming<TaskManagerMessage>,
    ) {
        let led_by_another = self.led_by_another(session);
        tokio::pin!(led_by_another);
        let reason = loop {
            let message = tokio::select! {
                message = tokio::time::timeout(self.heartbeat_timeout, messages.message()) => message,
                () = &mut led_by_another => return,
            };
            match message {
                Err(_) => break format!("it gave no sign of life for {:?}", self.heartbeat_timeout),
                Ok(Err(status)) => break format!("its connection broke: {}", status.message()),
                Ok(Ok(None)) => break "it has ended".to_owned(),
                Ok(Ok(Some(message))) => {
                    if let Some(task_manager_message::Kind::Heartbeat(heartbeat)) = &message.kind {
                        self.task_managers.heard(id, heartbeat.into());
                    }
                    match message.kind {
                        Some(task_manager_message::Kind::WorkerEnded(ended)) => {
                            if let Ok(worker) = WorkerId::read(&ended.worker) {
                                self.task_managers.worker_ended(id, worker, &ended.reason, ended.exited);
                            }
                        }
                        Some(task_manager_message::Kind::LogsRead(read)) => {
                            self.task_managers.logs_read(read)
                        }
                        _ => {}
                    }
                }
            }
        };
        self.task_managers.lost(id, number, &reason);
    }

    /// Hears a worker until it is lost, or another one leads.
    async fn hear(
        &self,
        (worker, number, job): (WorkerId, u64, Arc<JobWorkers>),
        session: LeaderSessionId,
        mut counters: Counters,
        mut messages: Streaming<WorkerMessage>,
    ) {
        let led_by_another = self.led_by_another(session);
        tokio::pin!(led_by_another);
        let (reason, has_ended) = loop {
            let message = tokio::select! {
                message = tokio::time::timeout(self.heartbeat_timeout, messages.message()) => message,
                () = &mut led_by_another => return,
            };
            match message {
                Err(_) => {
                    break (format!("it gave no sign of life for {:?}", self.heartbeat_timeout), false);
                }
                Ok(Err(status)) => break (format!("its connection broke: {}", status.message()), true),
                Ok(Ok(None)) => break ("it has closed its connection".to_owned(), true),
                Ok(Ok(Some(message))) => match message.kind {
                    Some(worker_message::Kind::Event(event)) => match read_event(event) {
                        Ok((execution, event)) => {
                            counters.note(execution, &event);
                            job.events().put(JobEvent::Task { execution, event });
                        }
                        Err(error) => break (format!("it is not understood: {error}"), false),
                    },
                    Some(worker_message::Kind::Metrics(metrics)) => counters.count(metrics),
                    _ => {}
                },
            }
        };
        // Its TaskManager may know more; then the worker is forgotten by the time this goes on.
        if has_ended {
            tokio::time::sleep(LAST_WORD).await;
        }
        job.connection_lost(worker, number, &format!("worker {worker} is lost: {reason}"));
    }
}

/// A job that cannot be gone on with here is not there for clients and workers: not yet, or for good.
fn standing(job: &Job) -> Result<(), Status> {
    match &*job.standing.borrow() {
        Standing::Here => Ok(()),
        Standing::Unread(reason) => {
            Err(Status::unavailable(format!("job {} cannot be read yet: {reason}", job.id)))
        }
        Standing::Broken(reason) => Err(Status::failed_precondition(format!("job {}: {reason}", job.id))),
    }
}

/// What was asked for cannot be kept for the next leader, so it is not done.
fn not_kept(error: &StoreError) -> Status {
    match error {
        StoreError::NotLeader(_) => Status::unavailable(error.to_string()),
        error => Status::internal(error.to_string()),
    }
}

/// A job, or its program, is not taken.
fn not_taken(error: SubmitError) -> Status {
    match error {
        SubmitError::Store(error) => not_kept(&error),
        error @ SubmitError::Program(_) => Status::resource_exhausted(error.to_string()),
        SubmitError::Unread(reason) => Status::unavailable(reason),
        SubmitError::Broken(reason) => Status::failed_precondition(reason),
        error => invalid(error),
    }
}

async fn first<T>(messages: &mut Streaming<T>) -> Result<T, Status> {
    let message = tokio::time::timeout(CHUNK_DEADLINE, messages.message()).await;
    let message = message.map_err(|_| Status::deadline_exceeded("nothing was said in 30 s"))??;
    message.ok_or_else(|| Status::invalid_argument("nothing was said"))
}

#[tonic::async_trait]
impl JobManager for Service {
    type WatchJobStream = ReceiverStream<Result<JobUpdate, Status>>;
    type TaskManagerSessionStream = ReceiverStream<Result<TaskManagerOrder, Status>>;
    type FetchProgramStream = ReceiverStream<Result<ProgramChunk, Status>>;
    type WorkerSessionStream = ReceiverStream<Result<WorkerOrder, Status>>;

    async fn has_program(&self, request: Request<ProgramRequest>) -> Answer<HasProgramReply> {
        self.session()?;
        let present = self.program(&hash(&request.get_ref().content_hash)?).await?.is_some();
        Ok(Response::new(HasProgramReply { present }))
    }

    async fn upload_program(&self, request: Request<Streaming<ProgramChunk>>) -> Answer<ProgramRequest> {
        self.session()?;
        let mut chunks = request.into_inner();
        let chunk = first(&mut chunks).await?;
        let hash = hash(&chunk.content_hash)?;
        let failed = |error: crate::program_store::StoreError| Status::resource_exhausted(error.to_string());
        let mut writer = self.programs.write(hash.clone()).map_err(failed)?;
        writer.piece(&chunk.data).map_err(failed)?;
        loop {
            let chunk = tokio::time::timeout(CHUNK_DEADLINE, chunks.message()).await;
            match chunk.map_err(|_| Status::deadline_exceeded("no piece of the program came in 30 s"))?? {
                Some(chunk) => writer.piece(&chunk.data).map_err(failed)?,
                None => break,
            }
        }
        let path = writer.finish().map_err(failed)?;
        self.session()?;
        let (jobs, programs, of) = (Arc::clone(&self.jobs), Arc::clone(&self.programs), hash.clone());
        self.blocking(move || {
            let kept = jobs.keep_program(&of, &path);
            jobs.with_needed_programs(|needed| programs.retain(needed));
            jobs.retain_programs();
            kept.map_err(not_taken)
        })
        .await?;
        Ok(Response::new(ProgramRequest { content_hash: hash.to_string() }))
    }

    async fn submit(&self, request: Request<Submission>) -> Answer<JobReference> {
        self.session()?;
        let submission = request.into_inner();
        let protocol = Versions::from(submission.control_protocol.unwrap_or_default());
        if !protocol.meets(CONTROL_PROTOCOL) {
            let theirs = submission.engine_version;
            return Err(Status::failed_precondition(format!(
                "the JobManager is Flott {VERSION} (control protocol {CONTROL_PROTOCOL}) and the command is Flott {theirs} (control \
                 protocol {protocol}): use the command, and build the program, with Flott {VERSION}"
            )));
        }
        let wanted = submission.spec.as_ref().map(|spec| spec.content_hash.as_str()).unwrap_or_default();
        let wanted = hash(wanted)?;
        let Some(program) = self.program(&wanted).await? else {
            return Err(Status::failed_precondition(format!("program {wanted} has not been uploaded")));
        };
        let program = (!self.programs.has_adopted(&wanted)).then_some(program);
        let jobs = Arc::clone(&self.jobs);
        let job =
            self.blocking(move || jobs.submit(submission, program.as_deref()).map_err(not_taken)).await?;
        Ok(Response::new(JobReference { job: job.id.write() }))
    }

    async fn take_results(&self, request: Request<JobReference>) -> Answer<TakeResultsReply> {
        self.job(request.get_ref())?.results_taken();
        Ok(Response::new(TakeResultsReply {}))
    }

    async fn watch_job(&self, request: Request<JobReference>) -> Answer<Self::WatchJobStream> {
        let session = self.session()?;
        let job = self.job(request.get_ref())?;
        let (updates, stream) = mpsc::channel(QUEUED_CHUNKS);
        let service = self.clone();
        self.io.spawn(async move {
            let led_by_another = service.led_by_another(session);
            tokio::pin!(led_by_another);
            let (mut report, mut outcome) = (job.report.clone(), job.outcome.clone());
            let mut standings = job.standing.subscribe();
            loop {
                let ended = outcome.borrow_and_update().clone();
                let over = ended.is_some();
                let outcome_now = match service.told(&job, ended).await {
                    Ok(outcome) => outcome,
                    Err(status) => {
                        let _ = updates.send(Err(status)).await;
                        return;
                    }
                };
                report.mark_unchanged();
                let update = JobUpdate { overview: Some(job.overview()), outcome: outcome_now };
                if updates.send(Ok(update)).await.is_err() {
                    return;
                }
                if over {
                    return;
                }
                tokio::select! {
                    // Without reports the job is about to be over, here or under another leader.
                    Ok(()) = report.changed() => {}
                    _ = outcome.changed() => {}
                    Ok(()) = standings.changed() => {
                        if let Err(status) = standing(&job) {
                            let _ = updates.send(Err(status)).await;
                            return;
                        }
                    }
                    () = updates.closed() => return,
                    () = &mut led_by_another => {
                        let _ = updates.send(Err(Status::unavailable("another JobManager leads"))).await;
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_jobs(&self, _: Request<ListJobsRequest>) -> Answer<JobList> {
        self.session()?;
        let capacity = self.task_managers.capacity();
        Ok(Response::new(JobList {
            jobs: self.jobs.all().iter().map(|job| job.overview()).collect(),
            task_managers: capacity.task_managers,
            slots: capacity.slots,
            free_slots: capacity.free_slots,
        }))
    }

    async fn cancel_job(&self, request: Request<JobReference>) -> Answer<JobOverview> {
        let (job, jobs) = (self.known_job(request.get_ref())?, Arc::clone(&self.jobs));
        self.blocking(move || {
            let before = job.overview();
            jobs.cancel(&job).map_err(|error| not_kept(&error))?;
            Ok(Response::new(before))
        })
        .await
    }

    async fn find_web(&self, _: Request<WebRequest>) -> Answer<WebReply> {
        Ok(Response::new(self.web.clone()))
    }

    async fn set_log_level(&self, request: Request<LogLevelRequest>) -> Answer<LogLevelReply> {
        let LogLevelRequest { job, levels } = request.into_inner();
        crate::logging::parse_levels(&levels).map_err(invalid)?;
        let processes = match job {
            Some(job) => self.job(&JobReference { job })?.workers.set_levels(&levels),
            None => {
                crate::logging::set_levels(&levels).map_err(invalid)?;
                1 + self.task_managers.set_levels(&levels)
            }
        };
        Ok(Response::new(LogLevelReply { processes }))
    }

    async fn task_manager_session(
        &self,
        request: Request<Streaming<TaskManagerMessage>>,
    ) -> Answer<Self::TaskManagerSessionStream> {
        let mut messages = request.into_inner();
        let Some(task_manager_message::Kind::Register(register)) = first(&mut messages).await?.kind else {
            return Err(Status::invalid_argument("a TaskManager says first who it is"));
        };
        if register.engine_version != VERSION {
            let theirs = register.engine_version;
            return Err(Status::failed_precondition(format!(
                "the JobManager is Flott {VERSION} and the TaskManager is Flott {theirs}: install the same version on both"
            )));
        }
        let session = self.session()?;
        if !register.leader_session.is_empty() && LeaderSessionId::read(&register.leader_session)? != session
        {
            return Err(Status::unavailable("the TaskManager looks for another leader"));
        }
        let id = TaskManagerId::read(&register.task_manager)?;
        let (orders, stream) = mpsc::channel(QUEUED_ORDERS);
        let registered = Registered {
            leader_session: session.write(),
            heartbeat_timeout_millis: u64::try_from(self.heartbeat_timeout.as_millis()).unwrap_or(u64::MAX),
        };
        // There is room: the channel is new.
        let _ = orders
            .try_send(Ok(TaskManagerOrder { kind: Some(task_manager_order::Kind::Registered(registered)) }));
        let registration = Registration {
            id,
            data_address: register.data_address,
            resource_id: register.resource_id,
            slots: register.slots,
            managed_bytes: register.managed_bytes,
        };
        let read = |held: HeldWorker| -> Result<_, WireError> {
            Ok((WorkerId::read(&held.worker)?, JobId::read(&held.job)?, held))
        };
        let held = register.workers.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let address = registration.data_address.clone();
        let number =
            self.task_managers.register(registration, orders, || self.jobs.take_over(id, &address, held));
        let service = self.clone();
        self.io.spawn(async move { service.attend((id, number), session, messages).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn keep_alive(&self, _: Request<KeepAliveRequest>) -> Answer<KeepAliveReply> {
        self.session()?;
        if let Some(heard) = &self.heard {
            heard.send_replace(Instant::now());
        }
        Ok(Response::new(KeepAliveReply {}))
    }

    async fn stop_cluster(&self, request: Request<StopClusterRequest>) -> Answer<StopClusterReply> {
        let Some(stop) = &self.stop else {
            return Err(Status::unimplemented(
                "a standalone cluster is ended where it was started, by scripts/stop-cluster",
            ));
        };
        let StopClusterRequest { failure, canceled } = request.into_inner();
        // That it is full means that somebody has said so already.
        let _ = stop.try_send(StopRequest { failure, canceled });
        Ok(Response::new(StopClusterReply {}))
    }

    async fn fetch_program(&self, request: Request<ProgramRequest>) -> Answer<Self::FetchProgramStream> {
        let hash = hash(&request.get_ref().content_hash)?;
        let missing = || Status::not_found(format!("the JobManager does not have program {hash}"));
        self.session()?;
        let path = self.program(&hash).await?.ok_or_else(missing)?;
        let (chunks, stream) = mpsc::channel(QUEUED_CHUNKS);
        self.io.spawn(async move {
            if let Err(error) = send_program(path, &hash, &chunks).await {
                let _ =
                    chunks.send(Err(Status::internal(format!("cannot read program {hash}: {error}")))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn worker_session(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Answer<Self::WorkerSessionStream> {
        let mut messages = request.into_inner();
        let Some(worker_message::Kind::Register(register)) = first(&mut messages).await?.kind else {
            return Err(Status::invalid_argument("a worker says first who it is"));
        };
        let session = self.session()?;
        if LeaderSessionId::read(&register.leader_session)? != session {
            return Err(Status::permission_denied("the worker belongs to another leader"));
        }
        let worker = WorkerId::read(&register.worker)?;
        let job = Arc::clone(&self.job(&JobReference { job: register.job })?.workers);
        let (orders, stream) = mpsc::channel(QUEUED_ORDERS);
        let mut counters = Counters::default();
        let executions = register.executions.into_iter().map(|report| counters.read(report));
        let executions = executions.collect::<Result<_, WireError>>()?;
        let number = job
            .registered(worker, orders, executions)
            .ok_or_else(|| Status::permission_denied(format!("nobody waits for worker {worker}")))?;
        let service = self.clone();
        self.io.spawn(async move { service.hear((worker, number, job), session, counters, messages).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn send_program(
    path: PathBuf,
    hash: &ContentHash,
    chunks: &mpsc::Sender<Result<ProgramChunk, Status>>,
) -> std::io::Result<()> {
    let mut file = tokio::fs::File::open(path).await?;
    loop {
        let mut data = Vec::with_capacity(CHUNK_BYTES);
        if (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut data).await? == 0 {
            return Ok(());
        }
        let chunk = ProgramChunk { content_hash: hash.to_string(), data };
        if chunks.send(Ok(chunk)).await.is_err() {
            return Ok(());
        }
    }
}
