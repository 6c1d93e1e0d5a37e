//! Drives a program: starts it, submits what it executes, waits, and hands the outcome back to its `main`.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flott_core::config::{self, Configuration};
use flott_core::ids::JobId;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::{Cluster, ClusterError};
use crate::high_availability::Waiting;
use crate::launch::{Launch, LaunchError, LaunchSocket, Launched, launch};
use crate::output::{Output, OutputFiles};
use crate::program::{CONTROL_PROTOCOL, VERSION};
use crate::program_file::{self, ProgramFileError};
use crate::program_store::ContentHash;
use crate::result::JobError;
use crate::rpc::control::{
    JobOutcome, JobOverview, JobReference, JobResult, JobSpec, JobUpdate, ProgramChunk, ProgramRequest,
    Submission, job_outcome,
};
use crate::rpc::launch::{
    Driver as DriverRole, Executed, FromProgram, Plan, Start, ToProgram, from_program, start, to_program,
};
use crate::rpc::{CHUNK_BYTES, WireId, read_outcome, required};

/// How long a JobManager that is lost is looked for to cancel a job.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

/// Pieces of a program on their way to the JobManager.
const QUEUED_CHUNKS: usize = 4;

/// A program that is to be started.
#[derive(Debug, Clone)]
pub struct Program {
    /// The binary.
    pub path: PathBuf,
    /// Its arguments, its name first.
    pub arguments: Vec<String>,
    /// What it inherits.
    pub configuration: Configuration,
    /// The hash of the binary, where somebody knows it.
    pub hash: Option<ContentHash>,
}

impl Program {
    /// What it executes first, planned. It is ended then, or when nobody waits any more.
    ///
    /// # Errors
    /// [`DriveError`]: it does not start, or ends without an execute.
    pub async fn plan(&self) -> Result<Executed, DriveError> {
        let (child, socket) = start_program(self, start::Role::Plan(Plan {}), Stdio::inherit())?;
        let _running = Running(Some(child));
        let executed = listen(socket).recv().await;
        executed.ok_or_else(|| DriveError::NeverExecuted { path: self.path.clone() })
    }
}

/// Why a program was not driven to its end.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// It is not one that can run here.
    #[error(transparent)]
    Program(#[from] ProgramFileError),
    /// It does not start.
    #[error("cannot start {path}: {source}", path = .path.display())]
    Start {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: LaunchError,
    },
    /// It cannot be read, or waited for.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The JobManager went away while the job ran.
    #[error(
        "{source}; how job {job} ends is not known: if the JobManager comes back, flott list -a shows it"
    )]
    Lost {
        /// The job.
        job: JobId,
        /// What is known.
        source: ClusterError,
    },
    /// The JobManager is there, but another one.
    #[error(
        "job {job} is lost: the JobManager at {address} does not know it, so it was started again, and without high availability no job outlives that"
    )]
    Forgotten {
        /// The job.
        job: JobId,
        /// Where the JobManager is.
        address: String,
    },
    /// Its work is done, and nobody can say yet that it is.
    #[error(
        "how job {job} ends is not known after {}: {reason}; once that is put right it comes to its end by itself, if its cluster is still there (flott list -a \
         shows it); or give it up before you run it again: flott cancel {job}",
        config::ConfigValue::write(patience)
    )]
    Unkept {
        /// The job.
        job: JobId,
        /// For how long it was waited for.
        patience: Duration,
        /// What the JobManager says of it.
        reason: String,
    },
    /// What it answered makes no sense.
    #[error(transparent)]
    Wire(#[from] crate::rpc::WireError),
    /// It has no job.
    #[error("{path} ended without calling execute, so it has no job", path = .path.display())]
    NeverExecuted {
        /// Which.
        path: PathBuf,
    },
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driven {
    /// It and all its jobs have finished; detached: it has planned, and its job was submitted.
    Finished,
    /// A job failed; why.
    JobFailed(String),
    /// A job was cancelled.
    JobCanceled,
    /// The program did not end well.
    ProgramFailed {
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error last, where that goes into a file.
        last_words: String,
    },
    /// Somebody interrupted it; its job is cancelled.
    Interrupted,
}

/// Hears how far a program is.
pub trait DriverListener {
    /// A job was submitted.
    fn submitted(&mut self, job: JobId, detached: bool);
    /// How far the job is; with its outcome, when it has ended.
    fn update(&mut self, job: &JobOverview, outcome: Option<&JobOutcome>);
    /// The job is being cancelled, since somebody interrupted the program.
    fn interrupted(&mut self, job: JobId);
    /// It could not be cancelled, and may run on.
    fn not_cancelled(&mut self, _job: JobId, _reason: &DriveError) {}
    /// The connection to the JobManager is lost; it is looked for, for as long as `patience`.
    fn lost(&mut self, _reason: &ClusterError, _patience: Duration) {}
    /// The JobManager was found again, at this address.
    fn found(&mut self, _address: &str) {}
    /// It was not, and somebody else is asked how the job ends.
    fn lost_for_good(&mut self, _reason: &DriveError) {}
    /// Who was asked says that it has finished.
    fn finished(&mut self, _job: JobId) {}
}

/// How far an execute of a program came.
enum Executing {
    /// Its job was submitted, and nobody waits for it.
    HandedOver,
    /// Its job is over.
    Ended { job: JobId, name: String, outcome: JobOutcome },
    /// Somebody interrupted it.
    Interrupted,
}

/// What became of a job that was to be submitted.
enum Submitted {
    /// The JobManager has it.
    Taken,
    /// Somebody interrupted it while a JobManager was looked for. `offered`: one may have it all the same.
    Interrupted { offered: bool },
}

/// Who says how a job ended when its JobManager cannot.
pub trait Verdict: Send + Sync {
    /// Waits for its end; whether it finished.
    fn finished(&self) -> Waiting<'_, bool>;
}

/// Looks for the JobManager, and tells of it.
async fn follow(
    cluster: &mut Cluster,
    reason: ClusterError,
    listener: &mut dyn DriverListener,
) -> Result<(), ClusterError> {
    listener.lost(&reason, cluster.patience());
    cluster.follow(reason).await?;
    listener.found(cluster.address());
    Ok(())
}

/// Starts a program in a role.
///
/// # Errors
/// [`DriveError::Program`] if it is none, [`DriveError::Start`] if it does not start.
pub fn start_program(
    program: &Program,
    role: start::Role,
    output: Stdio,
) -> Result<(Child, LaunchSocket), DriveError> {
    start_with(program, role, [Stdio::inherit(), output, Stdio::inherit()])
}

fn start_with(
    program: &Program,
    role: start::Role,
    streams: [Stdio; 3],
) -> Result<(Child, LaunchSocket), DriveError> {
    program_file::check(&program.path)?;
    let start = Start {
        arguments: program.arguments.clone(),
        configuration: program.configuration.entries().clone(),
        role: Some(role),
    };
    let name = program.arguments.first().map(String::as_str).unwrap_or_default();
    let launched = launch(Launch {
        program: &program.path,
        name: name.as_ref(),
        arguments: Vec::new(),
        start,
        streams,
        folder: None,
    });
    let Launched { child, socket } =
        launched.map_err(|source| DriveError::Start { path: program.path.clone(), source })?;
    Ok((child, socket))
}

/// A program that was started. Who lets go of it without waiting for its end ends it.
struct Running(Option<Child>);

impl Running {
    /// Waits for its end. Blocks.
    fn wait(mut self) -> io::Result<ExitStatus> {
        self.0.take().map_or_else(|| Err(io::ErrorKind::NotFound.into()), |mut child| child.wait())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        // It may have ended by itself.
        let _ = child.kill();
        // It stays as a zombie until somebody asks how it ended, and whoever drives it may not block.
        let reaping = thread::Builder::new().name("flott-reap".to_owned());
        if let Err(error) = reaping.spawn(move || child.wait()) {
            tracing::debug!(%error, "a program that was ended stays as a zombie");
        }
    }
}

/// How a program ends, and its last words.
async fn wait(running: Running, output: Option<Output>) -> io::Result<(ExitStatus, String)> {
    let waited = tokio::task::spawn_blocking(move || {
        let status = running.wait()?;
        Ok((status, output.map(|output| output.last_words()).unwrap_or_default()))
    });
    waited.await.map_err(io::Error::other)?
}

/// What comes from the program, on a thread that may block.
fn listen(mut socket: LaunchSocket) -> mpsc::Receiver<Executed> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        while let Ok((FromProgram { kind: Some(from_program::Kind::Executed(executed)) }, _)) =
            socket.receive()
        {
            if sender.blocking_send(executed).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A program whose jobs run on a cluster.
pub struct Driver {
    /// Where they run.
    pub cluster: Cluster,
    /// The program.
    pub program: Program,
    /// Only submits its first job.
    pub detached: bool,
    /// The checkpoint its first job goes on from.
    pub restore: Option<String>,
    /// The application whose `main` it is: when another attempt of it runs `main` again, its jobs are the same jobs. What it prints goes into
    /// `main.out` and `main.log` in the folder for logs.
    pub application: Option<String>,
    /// Says how a job ended whose JobManager is gone, so that `main` can go on, if it does not want the job's results.
    pub verdict: Option<Arc<dyn Verdict>>,
}

impl Driver {
    /// Runs the program to its end, or until `interrupted`.
    ///
    /// # Errors
    /// [`DriveError`]; the program is killed then.
    pub async fn run(
        &self,
        listener: &mut dyn DriverListener,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Driven, DriveError> {
        tokio::pin!(interrupted);
        let mut cluster = self.cluster.clone();
        let (path, known) = (self.program.path.clone(), self.program.hash.clone());
        let mut hashing = Some(tokio::task::spawn_blocking(move || match known {
            Some(hash) => Ok(hash),
            None => ContentHash::of_file(&path),
        }));
        let role =
            if self.detached { start::Role::Plan(Plan {}) } else { start::Role::Driver(DriverRole {}) };
        let (running, output, mut socket) = self.start(role)?;
        let two = socket.try_clone();
        let mut executes = listen(two.map_err(|source| self.io_error(source))?);
        let (mut failure, mut hash) = (None, None);
        loop {
            let executed = tokio::select! {
                executed = executes.recv() => executed,
                () = &mut interrupted => return Ok(Driven::Interrupted),
            };
            let Some(executed) = executed else { break };
            let outcome = async {
                if let Some(hashing) = hashing.take() {
                    hash = Some(self.hashed(hashing).await?);
                }
                let hash = hash.as_ref().map(ToString::to_string).unwrap_or_default();
                let (job, submission) = self.submission(executed, hash)?;
                let submitted = self.submit(&mut cluster, job, submission, listener, &mut interrupted);
                if let Submitted::Interrupted { offered } = submitted.await? {
                    if offered {
                        self.abandon(&cluster, job, listener).await;
                    }
                    return Ok(Executing::Interrupted);
                }
                listener.submitted(job, self.detached);
                if self.detached {
                    return Ok(Executing::HandedOver);
                }
                tokio::select! {
                    outcome = self.end_of(&mut cluster, job, listener) => return outcome,
                    () = &mut interrupted => {}
                }
                self.abandon(&cluster, job, listener).await;
                Ok(Executing::Interrupted)
            };
            match outcome.await {
                Err(error) => {
                    if let (DriveError::Unkept { job, .. }, Some(_)) = (&error, &self.application) {
                        self.give_up(&cluster, *job, listener).await;
                    }
                    return Err(error);
                }
                Ok(Executing::Interrupted) => return Ok(Driven::Interrupted),
                Ok(Executing::HandedOver) => {}
                Ok(Executing::Ended { job, name, outcome }) => {
                    if !matches!(outcome.kind, Some(job_outcome::Kind::Result(_))) {
                        failure = read_outcome(outcome.clone(), job, &name).err();
                    }
                    // A program that has ended does not care.
                    let _ = socket.send(&ToProgram { kind: Some(to_program::Kind::Outcome(outcome)) }, None);
                }
            }
        }
        let (status, last_words) = wait(running, output).await.map_err(|source| self.io_error(source))?;
        match failure {
            Some(JobError::Canceled { .. }) => Ok(Driven::JobCanceled),
            Some(failure) => Ok(Driven::JobFailed(failure.to_string())),
            None if !status.success() => Ok(Driven::ProgramFailed { status, last_words }),
            None if hash.is_none() => Err(DriveError::NeverExecuted { path: self.program.path.clone() }),
            None => Ok(Driven::Finished),
        }
    }

    /// Starts the program, and has its output copied if that goes into files.
    fn start(&self, role: start::Role) -> Result<(Running, Option<Output>, LaunchSocket), DriveError> {
        if self.application.is_none() {
            let (child, socket) = start_program(&self.program, role, Stdio::inherit())?;
            return Ok((Running(Some(child)), None, socket));
        }
        let files = OutputFiles::in_log_dir(&self.program.configuration, "main");
        let files = files.map_err(|source| self.io_error(source))?;
        let streams = [Stdio::inherit(), Stdio::piped(), Stdio::piped()];
        let (mut child, socket) = start_with(&self.program, role, streams)?;
        let output = files.fill_from(&mut child);
        let running = Running(Some(child));
        Ok((running, Some(output.map_err(|source| self.io_error(source))?), socket))
    }

    fn io_error(&self, source: io::Error) -> DriveError {
        DriveError::Io { path: self.program.path.clone(), source }
    }

    async fn hashed(&self, hashing: JoinHandle<io::Result<ContentHash>>) -> Result<ContentHash, DriveError> {
        let hash = hashing.await.map_err(io::Error::other).and_then(|hash| hash);
        hash.map_err(|source| self.io_error(source))
    }

    /// What the program executes, as a job with an id of its own.
    fn submission(&self, executed: Executed, hash: String) -> Result<(JobId, Submission), DriveError> {
        let first = executed.execution == 0;
        let folder = std::env::current_dir().map_err(|source| self.io_error(source))?;
        // Submitting it again, to the next leader, does no harm.
        let job = match &self.application {
            Some(application) => JobId::derived(application, executed.execution.into()),
            None => JobId::random(),
        };
        let spec = JobSpec {
            job: job.write(),
            graph: executed.graph,
            configuration: executed.configuration,
            content_hash: hash,
            arguments: self.program.arguments.clone(),
            execution: executed.execution,
            recorded: executed.recorded,
            folder: folder.to_string_lossy().into_owned(),
        };
        let restore = self.restore.clone().filter(|_| first && executed.checkpoint.is_none());
        let submission = Submission {
            spec: Some(spec),
            restore,
            checkpoint: executed.checkpoint,
            engine_version: VERSION.to_owned(),
            control_protocol: Some(CONTROL_PROTOCOL.into()),
        };
        Ok((job, submission))
    }

    /// Submits a job, to the next JobManager if this one goes away meanwhile.
    async fn submit(
        &self,
        cluster: &mut Cluster,
        job: JobId,
        submission: Submission,
        listener: &mut dyn DriverListener,
        interrupted: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<Submitted, DriveError> {
        let mut offered = false;
        loop {
            match self.try_submit(cluster, submission.clone(), &mut offered).await {
                Err(DriveError::Cluster(error)) if error.is_lost() => {
                    let followed = tokio::select! {
                        followed = follow(cluster, error, listener) => followed,
                        () = &mut *interrupted => return Ok(Submitted::Interrupted { offered }),
                    };
                    followed.map_err(|source| match offered {
                        true => DriveError::Lost { job, source },
                        false => source.into(),
                    })?;
                }
                submitted => return submitted.map(|()| Submitted::Taken),
            }
        }
    }

    /// `offered` is set before the job is sent: a JobManager may have it then, whatever it answers.
    async fn try_submit(
        &self,
        cluster: &Cluster,
        submission: Submission,
        offered: &mut bool,
    ) -> Result<(), DriveError> {
        let mut client = cluster.rpc();
        let hash = submission.spec.as_ref().map(|spec| spec.content_hash.clone()).unwrap_or_default();
        let request = ProgramRequest { content_hash: hash.clone() };
        if !cluster.answer(client.has_program(request)).await?.present {
            self.upload(cluster, hash).await?;
        }
        *offered = true;
        cluster.answer(client.submit(submission)).await?;
        Ok(())
    }

    /// Cancels a job since somebody has interrupted the program; says so, or that it may run on.
    async fn abandon(&self, cluster: &Cluster, job: JobId, listener: &mut dyn DriverListener) {
        listener.interrupted(job);
        self.give_up(cluster, job, listener).await;
    }

    /// Cancels a job. Nobody who gives one up wants to wait for as long as before.
    async fn give_up(&self, cluster: &Cluster, job: JobId, listener: &mut dyn DriverListener) {
        let mut cluster = cluster.clone().with_patience(CANCEL_PATIENCE);
        match self.cancel(&mut cluster, job, listener).await {
            // It was not taken, or went with its JobManager.
            Ok(()) | Err(DriveError::Cluster(ClusterError::Unknown { .. })) => {}
            Err(error) => listener.not_cancelled(job, &error),
        }
    }

    async fn upload(&self, cluster: &Cluster, hash: String) -> Result<(), DriveError> {
        let mut client = cluster.rpc();
        let (chunks, queued) = mpsc::channel(QUEUED_CHUNKS);
        let file = tokio::fs::File::open(&self.program.path).await;
        let mut file = file.map_err(|source| self.io_error(source))?;
        let reading = async move {
            loop {
                let mut data = Vec::with_capacity(CHUNK_BYTES);
                if (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut data).await? == 0 {
                    return Ok::<_, io::Error>(());
                }
                let chunk = ProgramChunk { content_hash: hash.clone(), data };
                if chunks.send(chunk).await.is_err() {
                    return Ok(());
                }
            }
        };
        let sending = client.upload_program(ReceiverStream::new(queued));
        let (read, sent) = tokio::join!(reading, sending);
        sent.map_err(|status| cluster.refused(&status))?;
        read.map_err(|source| self.io_error(source))
    }

    /// How a job ended: the JobManager says it, or whoever else knows.
    async fn end_of(
        &self,
        cluster: &mut Cluster,
        job: JobId,
        listener: &mut dyn DriverListener,
    ) -> Result<Executing, DriveError> {
        match (self.watch(cluster, job, listener).await, &self.verdict) {
            (Ok((name, outcome)), _) => Ok(Executing::Ended { job, name, outcome }),
            (Err(error @ DriveError::Lost { .. }), Some(verdict)) => {
                listener.lost_for_good(&error);
                if !verdict.finished().await {
                    return Err(error);
                }
                listener.finished(job);
                let result = JobResult { job: job.write(), is_out_of_reach: true, ..JobResult::default() };
                let outcome = JobOutcome { kind: Some(job_outcome::Kind::Result(result)) };
                Ok(Executing::Ended { job, name: String::new(), outcome })
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn watch(
        &self,
        cluster: &mut Cluster,
        job: JobId,
        listener: &mut dyn DriverListener,
    ) -> Result<(String, JobOutcome), DriveError> {
        let mut unkept = None;
        loop {
            match self.try_watch(cluster, job, listener, &mut unkept).await {
                // It goes on meanwhile, and under the next leader.
                Err(DriveError::Cluster(error)) if error.is_lost() => {
                    let followed = follow(cluster, error, listener).await;
                    followed.map_err(|source| DriveError::Lost { job, source })?;
                }
                watched => return watched,
            }
        }
    }

    async fn try_watch(
        &self,
        cluster: &Cluster,
        job: JobId,
        listener: &mut dyn DriverListener,
        // Since when its end cannot be kept.
        unkept: &mut Option<Instant>,
    ) -> Result<(String, JobOutcome), DriveError> {
        let mut client = cluster.rpc();
        let reference = JobReference { job: job.write() };
        let mut updates = match cluster.answer(client.watch_job(reference.clone())).await {
            Err(ClusterError::Unknown { address, .. }) => return Err(DriveError::Forgotten { job, address }),
            updates => updates?,
        };
        let ended = || ClusterError::Lost {
            address: cluster.address().to_owned(),
            reason: "it has ended".to_owned(),
        };
        loop {
            let update = updates.message().await.map_err(|status| cluster.refused(&status))?;
            let JobUpdate { overview, outcome } = update.ok_or_else(ended)?;
            let overview = required(overview, "how far the job is")?;
            listener.update(&overview, outcome.as_ref());
            if let Some(outcome) = outcome {
                // Who does not hear that they were taken keeps the results for a while.
                let _ = cluster.answer(client.take_results(reference)).await;
                return Ok((overview.name, outcome));
            }
            if overview.unkept_end.is_empty() {
                *unkept = None;
                continue;
            }
            let (patience, since) = (cluster.patience(), *unkept.get_or_insert_with(Instant::now));
            if since.elapsed() >= patience {
                return Err(DriveError::Unkept { job, patience, reason: overview.unkept_end });
            }
        }
    }

    async fn cancel(
        &self,
        cluster: &mut Cluster,
        job: JobId,
        listener: &mut dyn DriverListener,
    ) -> Result<(), DriveError> {
        loop {
            let mut client = cluster.rpc();
            match cluster.answer(client.cancel_job(JobReference { job: job.write() })).await {
                Err(error) if error.is_lost() => follow(cluster, error, listener).await?,
                canceled => {
                    canceled?;
                    return self.watch(cluster, job, listener).await.map(drop);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_program_that_nobody_waits_for_is_ended_and_reaped() {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = format!("/proc/{}", child.id());
        let running = Running(Some(child));
        assert!(Path::new(&process).exists());
        drop(running);
        let deadline = Instant::now() + Duration::from_secs(30);
        // A zombie is still to be seen there.
        while Path::new(&process).exists() {
            assert!(Instant::now() < deadline, "{process} is still there");
            thread::yield_now();
        }
    }
}
