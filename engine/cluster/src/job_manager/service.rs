//! What the JobManager answers: to clients, TaskManagers and workers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flott_core::ids::{ExecutionId, JobId, LeaderSessionId, TaskManagerId, WorkerId};
use flott_plan::OperatorKey;
use flott_runtime::metrics::{OperatorMetrics, TaskMetrics};
use flott_runtime::task::TaskEvent;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::StopRequest;
use super::job_workers::JobWorkers;
use super::jobs::{Job, Jobs};
use super::task_managers::{Registration, TaskManagers};
use crate::job_master::JobEvent;
use crate::program::{CONTROL_PROTOCOL, VERSION, Versions};
use crate::program_store::{ContentHash, ProgramStore};
use crate::rpc::control::job_manager_server::JobManager;
use crate::rpc::control::{
    self, HasProgramReply, JobList, JobOverview, JobReference, JobUpdate, ListJobsRequest, LogLevelReply,
    LogLevelRequest, ProgramChunk, ProgramRequest, Registered, StopClusterReply, StopClusterRequest,
    Submission, TaskManagerMessage, TaskManagerOrder, WorkerMessage, WorkerOrder, task_manager_message,
    task_manager_order, worker_message,
};
use crate::rpc::control::{WebReply, WebRequest};
use crate::rpc::{CHUNK_BYTES, WireError, WireId, read_event};

/// Orders that may wait for a TaskManager or worker; who does not take them is taken for lost.
const QUEUED_ORDERS: usize = 1024;

/// Pieces of a program that may wait in a connection.
const QUEUED_CHUNKS: usize = 4;

/// How long to wait for what a TaskManager has to say about a worker whose connection broke.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How long one connection may take between two pieces of a program.
const CHUNK_DEADLINE: Duration = Duration::from_secs(30);

/// The JobManager as others see it.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) session: LeaderSessionId,
    pub(super) heartbeat_timeout: Duration,
    pub(super) jobs: Arc<Jobs>,
    pub(super) task_managers: Arc<TaskManagers>,
    pub(super) programs: Arc<ProgramStore>,
    pub(super) stop: Option<mpsc::Sender<StopRequest>>,
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
    fn job(&self, reference: &JobReference) -> Result<Arc<Job>, Status> {
        let id = JobId::read(&reference.job)?;
        self.jobs.get(id).ok_or_else(|| Status::not_found(format!("there is no job {id} in this cluster")))
    }

    /// Talks with a TaskManager until it is lost.
    async fn attend(&self, id: TaskManagerId, mut messages: Streaming<TaskManagerMessage>) {
        let reason = loop {
            match tokio::time::timeout(self.heartbeat_timeout, messages.message()).await {
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
        self.task_managers.lost(id, &reason);
    }

    /// Hears a worker until it is lost.
    async fn hear(&self, worker: WorkerId, job: Arc<JobWorkers>, mut messages: Streaming<WorkerMessage>) {
        let mut counters = Counters::default();
        let reason = loop {
            match tokio::time::timeout(self.heartbeat_timeout, messages.message()).await {
                Err(_) => break format!("it gave no sign of life for {:?}", self.heartbeat_timeout),
                Ok(Err(status)) => break format!("its connection broke: {}", status.message()),
                Ok(Ok(None)) => break "it has closed its connection".to_owned(),
                Ok(Ok(Some(message))) => match message.kind {
                    Some(worker_message::Kind::Event(event)) => match read_event(event) {
                        Ok((execution, event)) => {
                            counters.note(execution, &event);
                            job.events().put(JobEvent::Task { execution, event });
                        }
                        Err(error) => break format!("it is not understood: {error}"),
                    },
                    Some(worker_message::Kind::Metrics(metrics)) => counters.count(metrics),
                    _ => {}
                },
            }
        };
        // Its TaskManager may know more; then the worker is forgotten by the time this goes on.
        tokio::time::sleep(LAST_WORD).await;
        job.worker_lost(worker, &format!("worker {worker} is lost: {reason}"));
        self.task_managers.stop(worker);
    }
}

/// What a worker's subtasks have counted, where their JobMaster reads it.
#[derive(Default)]
struct Counters(HashMap<ExecutionId, (Arc<TaskMetrics>, OperatorCounters)>);

type OperatorCounters = Vec<(OperatorKey, Arc<OperatorMetrics>)>;

impl Counters {
    fn note(&mut self, execution: ExecutionId, event: &TaskEvent) {
        match event {
            TaskEvent::Running { task, metrics } => {
                self.0.insert(execution, (Arc::clone(task), metrics.clone()));
            }
            TaskEvent::Finished | TaskEvent::Canceled | TaskEvent::Failed(_) => {
                self.0.remove(&execution);
            }
            _ => {}
        }
    }

    fn count(&self, metrics: control::Metrics) {
        for subtask in metrics.subtasks {
            let Some(execution) = subtask.execution else { continue };
            let Some((task, counters)) = self.0.get(&execution.into()) else { continue };
            task.told(subtask.times.unwrap_or_default().into());
            task.bytes_in.store(subtask.bytes_in, Ordering::Relaxed);
            task.bytes_out.store(subtask.bytes_out, Ordering::Relaxed);
            for (count, (_, counter)) in subtask.operators.into_iter().zip(counters) {
                counter.records_in.store(count.records_in, Ordering::Relaxed);
                counter.records_out.store(count.records_out, Ordering::Relaxed);
                counter.late_records.store(count.late_records, Ordering::Relaxed);
                counter.skipped_records.store(count.skipped_records, Ordering::Relaxed);
                counter.watermark.store(count.watermark, Ordering::Relaxed);
                counter.memory_bytes.store(count.memory_bytes, Ordering::Relaxed);
            }
        }
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
        let present = self.programs.get(&hash(&request.get_ref().content_hash)?).is_some();
        Ok(Response::new(HasProgramReply { present }))
    }

    async fn upload_program(&self, request: Request<Streaming<ProgramChunk>>) -> Answer<ProgramRequest> {
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
        writer.finish().map_err(failed)?;
        self.programs.retain(&self.jobs.needed_programs());
        Ok(Response::new(ProgramRequest { content_hash: hash.to_string() }))
    }

    async fn submit(&self, request: Request<Submission>) -> Answer<JobReference> {
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
        if self.programs.get(&hash(wanted)?).is_none() {
            return Err(Status::failed_precondition(format!("program {wanted} has not been uploaded")));
        }
        let job = self.jobs.submit(submission).map_err(invalid)?;
        Ok(Response::new(JobReference { job: job.id.write() }))
    }

    async fn watch_job(&self, request: Request<JobReference>) -> Answer<Self::WatchJobStream> {
        let job = self.job(request.get_ref())?;
        let (updates, stream) = mpsc::channel(QUEUED_CHUNKS);
        self.io.spawn(async move {
            let (mut report, mut outcome) = (job.report.clone(), job.outcome.clone());
            loop {
                let ended = outcome.borrow_and_update().clone();
                let over = ended.is_some();
                let outcome_now = ended.map(|ended| ended.as_ref().clone());
                report.mark_unchanged();
                let update = JobUpdate { overview: Some(job.overview()), outcome: outcome_now };
                if updates.send(Ok(update)).await.is_err() {
                    return;
                }
                if over {
                    job.drop_results();
                    return;
                }
                tokio::select! {
                    changed = report.changed() => if changed.is_err() {
                        // The job is about to be over.
                        let _ = outcome.changed().await;
                    },
                    _ = outcome.changed() => {}
                    () = updates.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_jobs(&self, _: Request<ListJobsRequest>) -> Answer<JobList> {
        let capacity = self.task_managers.capacity();
        Ok(Response::new(JobList {
            jobs: self.jobs.all().iter().map(|job| job.overview()).collect(),
            task_managers: capacity.task_managers,
            slots: capacity.slots,
            free_slots: capacity.free_slots,
        }))
    }

    async fn cancel_job(&self, request: Request<JobReference>) -> Answer<JobOverview> {
        let job = self.job(request.get_ref())?;
        job.cancel();
        Ok(Response::new(job.overview()))
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
        let id = TaskManagerId::read(&register.task_manager)?;
        let (orders, stream) = mpsc::channel(QUEUED_ORDERS);
        let registered = Registered {
            leader_session: self.session.write(),
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
        self.task_managers.register(registration, orders);
        let service = self.clone();
        self.io.spawn(async move { service.attend(id, messages).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn stop_cluster(&self, request: Request<StopClusterRequest>) -> Answer<StopClusterReply> {
        let Some(stop) = &self.stop else {
            return Err(Status::unimplemented(
                "a standalone cluster is ended where it was started, by scripts/stop-cluster",
            ));
        };
        // That it is full means that somebody has said so already.
        let _ = stop.try_send(StopRequest { failure: request.into_inner().failure });
        Ok(Response::new(StopClusterReply {}))
    }

    async fn fetch_program(&self, request: Request<ProgramRequest>) -> Answer<Self::FetchProgramStream> {
        let hash = hash(&request.get_ref().content_hash)?;
        let missing = || Status::not_found(format!("the JobManager does not have program {hash}"));
        let path = self.programs.get(&hash).ok_or_else(missing)?;
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
        if LeaderSessionId::read(&register.leader_session)? != self.session {
            return Err(Status::permission_denied("the worker belongs to an earlier leader"));
        }
        let worker = WorkerId::read(&register.worker)?;
        let job = Arc::clone(&self.job(&JobReference { job: register.job })?.workers);
        let (orders, stream) = mpsc::channel(QUEUED_ORDERS);
        if !job.registered(worker, orders) {
            return Err(Status::permission_denied(format!("nobody waits for worker {worker}")));
        }
        let service = self.clone();
        self.io.spawn(async move { service.hear(worker, job, messages).await });
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
