//! `flott run` and `flott info`: starts the program, and does with its plans what was asked for.

use std::ffi::OsStr;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Instant;

use flott_cluster::launch::{Launch, LaunchError, LaunchSocket, launch};
use flott_cluster::program::{CONTROL_PROTOCOL, VERSION};
use flott_cluster::program_file;
use flott_cluster::program_store::ContentHash;
use flott_cluster::rpc::CHUNK_BYTES;
use flott_cluster::rpc::control::{
    JobOutcome, JobReference, JobSpec, JobUpdate, ProgramChunk, ProgramRequest, Submission, job_outcome,
};
use flott_cluster::rpc::launch::{
    Driver, Executed, FromProgram, Local, Plan, Start, ToProgram, from_program, start, to_program,
};
use flott_core::config::Configuration;
use flott_plan::JobGraph;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::arguments::{InfoOptions, Program, RunOptions};
use crate::cluster::{Cluster, block_on, reach};
use crate::output::say;
use crate::progress::{Progress, id_of};
use crate::{CommandError, Ended};

/// Pieces of a program on their way to the JobManager.
const QUEUED_CHUNKS: usize = 4;

fn start_program(
    program: &Program,
    configuration: &Configuration,
    role: start::Role,
    output: Stdio,
) -> Result<(Child, LaunchSocket), CommandError> {
    program_file::check(program.path())?;
    let start = Start {
        arguments: program.arguments().to_vec(),
        configuration: configuration.entries().clone(),
        role: Some(role),
    };
    let path = absolute(program.path())?;
    let streams = [Stdio::inherit(), output, Stdio::inherit()];
    let launched = launch(Launch {
        program: &path,
        name: OsStr::new(program.path()),
        arguments: Vec::new(),
        start,
        streams,
        folder: None,
    });
    let launched = launched.map_err(|error| format!("cannot start {}: {error}", program.path().display()))?;
    Ok((launched.child, launched.socket))
}

/// A name without a folder is a file here, not a command.
fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Prints the JobGraph of the program's first execute.
pub(crate) fn info(options: &InfoOptions) -> Result<Ended, CommandError> {
    let configuration = options.program.configure(&options.settings)?;
    let role = start::Role::Plan(Plan {});
    // What the program prints is not what was asked for.
    let (mut child, mut socket) = start_program(&options.program, &configuration, role, Stdio::null())?;
    let executed = socket.receive::<FromProgram>();
    let _ = child.kill();
    let _ = child.wait();
    let executed = match executed {
        Ok((FromProgram { kind: Some(from_program::Kind::Executed(executed)) }, _)) => executed,
        Ok(_) => return Err("the program is of another version of Flott".into()),
        Err(LaunchError::Closed) => return Err(never_executed(options.program.path()).into()),
        Err(error) => return Err(error.into()),
    };
    let graph = JobGraph::decode(&executed.graph)?;
    say(&if options.json { graph.to_json() + "\n" } else { graph.describe() })?;
    Ok(Ended::Well)
}

fn never_executed(path: &Path) -> String {
    format!("{} ended without calling execute, so it has no job", path.display())
}

/// Runs the program.
pub(crate) fn run(options: &RunOptions) -> Result<Ended, CommandError> {
    let configuration = options.program.configure(&options.settings)?;
    if options.master.as_deref() == Some("local") {
        if options.detached {
            return Err("a program with local jobs cannot be detached: they run in it".into());
        }
        let role = start::Role::Local(Local { restore: options.checkpoint.clone() });
        let (child, socket) = start_program(&options.program, &configuration, role, Stdio::inherit())?;
        return block_on(async {
            let interrupted = interrupted()?;
            let ended = wait(child);
            tokio::pin!(interrupted);
            // Ctrl-C reaches the program by itself: it is only waited for.
            let status = tokio::select! {
                status = ended => status?,
                () = &mut interrupted => return Ok(Ended::Interrupted),
            };
            drop(socket);
            Ok(ended_with(options.program.path(), status))
        });
    }
    block_on(run_on_cluster(options, configuration))
}

fn ended_with(path: &Path, status: ExitStatus) -> Ended {
    use std::os::unix::process::ExitStatusExt;
    if let Some(signal) = status.signal() {
        eprintln!("flott: {} was ended by signal {signal}", path.display());
    }
    if status.success() { Ended::Well } else { Ended::Badly }
}

/// Until somebody presses Ctrl-C or asks the command to end.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

async fn wait(mut child: Child) -> io::Result<ExitStatus> {
    tokio::task::spawn_blocking(move || child.wait()).await.map_err(io::Error::other)?
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
struct Session {
    cluster: Cluster,
    path: PathBuf,
    hash: JoinHandle<io::Result<ContentHash>>,
    arguments: Vec<String>,
    checkpoint: Option<String>,
}

async fn run_on_cluster(options: &RunOptions, configuration: Configuration) -> Result<Ended, CommandError> {
    let interrupted = interrupted()?;
    tokio::pin!(interrupted);
    let path = absolute(options.program.path())?;
    let hashed = path.clone();
    let hash = tokio::task::spawn_blocking(move || ContentHash::of_file(&hashed));
    let role = if options.detached { start::Role::Plan(Plan {}) } else { start::Role::Driver(Driver {}) };
    let address = match &options.master {
        Some(address) => address.clone(),
        None => crate::arguments::Master { master: None }.address(&configuration),
    };
    program_file::check(&path)?;
    let cluster = reach(address, &configuration).await?;
    let (mut child, socket) = start_program(&options.program, &configuration, role, Stdio::inherit())?;
    let mut executes = listen(socket.try_clone()?);
    let mut program = socket;
    let arguments = options.program.arguments().to_vec();
    let mut session = Session { cluster, path, hash, arguments, checkpoint: options.checkpoint.clone() };
    let (mut failed, mut jobs) = (false, 0);
    let mut hash = None;
    loop {
        let executed = tokio::select! {
            executed = executes.recv() => executed,
            () = &mut interrupted => {
                let _ = child.kill();
                return Ok(Ended::Interrupted);
            }
        };
        let Some(executed) = executed else { break };
        jobs += 1;
        let known = match hash.take() {
            Some(known) => known,
            None => (&mut session.hash).await??,
        };
        hash = Some(known.clone());
        let submitted = session.submit(executed, &known).await;
        let submitted = submitted.inspect_err(|_| drop(child.kill()))?;
        if options.detached {
            say(&format!("{submitted}\n"))?;
            continue;
        }
        eprintln!("Job {submitted} was submitted to {}.", session.cluster.address);
        let outcome = tokio::select! {
            outcome = session.watch(&submitted) => outcome.inspect_err(|_| drop(child.kill()))?,
            () = &mut interrupted => {
                eprintln!("Interrupted: job {submitted} is cancelled.");
                let _ = child.kill();
                session.cancel(&submitted).await?;
                return Ok(Ended::Interrupted);
            }
        };
        failed |= !matches!(outcome.kind, Some(job_outcome::Kind::Result(_)));
        let answer = ToProgram { kind: Some(to_program::Kind::Outcome(outcome)) };
        // A program that has ended does not care.
        let _ = program.send(&answer, None);
    }
    let status = wait(child).await?;
    let ended = ended_with(options.program.path(), status);
    if jobs == 0 && ended == Ended::Well {
        return Err(never_executed(options.program.path()).into());
    }
    Ok(if failed { Ended::Badly } else { ended })
}

impl Session {
    async fn submit(&mut self, executed: Executed, hash: &ContentHash) -> Result<String, CommandError> {
        let mut client = self.cluster.client.clone();
        let request = ProgramRequest { content_hash: hash.to_string() };
        if !self.cluster.answer(client.has_program(request)).await?.present {
            self.upload(hash).await?;
        }
        let first = executed.execution == 0;
        let spec = JobSpec {
            job: Vec::new(),
            graph: executed.graph,
            configuration: executed.configuration,
            content_hash: hash.to_string(),
            arguments: self.arguments.clone(),
            execution: executed.execution,
            recorded: executed.recorded,
            folder: std::env::current_dir()?.to_string_lossy().into_owned(),
        };
        let restore = self.checkpoint.clone().filter(|_| first && executed.checkpoint.is_none());
        let submission = Submission {
            spec: Some(spec),
            restore,
            checkpoint: executed.checkpoint,
            engine_version: VERSION.to_owned(),
            control_protocol: Some(CONTROL_PROTOCOL.into()),
        };
        let reference = self.cluster.answer(client.submit(submission)).await?;
        Ok(reference.job.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    async fn upload(&self, hash: &ContentHash) -> Result<(), CommandError> {
        let mut client = self.cluster.client.clone();
        let (chunks, queued) = mpsc::channel(QUEUED_CHUNKS);
        let mut file = tokio::fs::File::open(&self.path).await?;
        let hash = hash.to_string();
        let reading = async move {
            loop {
                let mut data = Vec::with_capacity(CHUNK_BYTES);
                if (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut data).await? == 0 {
                    return Ok::<_, CommandError>(());
                }
                let chunk = ProgramChunk { content_hash: hash.clone(), data };
                if chunks.send(chunk).await.is_err() {
                    return Ok(());
                }
            }
        };
        let sending = client.upload_program(ReceiverStream::new(queued));
        let (read, sent) = tokio::join!(reading, sending);
        sent.map_err(|status| format!("the JobManager does not take the program: {}", status.message()))?;
        read
    }

    async fn watch(&self, job: &str) -> Result<JobOutcome, CommandError> {
        let mut client = self.cluster.client.clone();
        let reference = JobReference { job: id_bytes(job)? };
        let mut updates = self.cluster.answer(client.watch_job(reference)).await?;
        let mut stderr = io::stderr();
        let mut progress = Progress::new(stderr.is_terminal());
        loop {
            let update = updates.message().await;
            let update = update.map_err(|status| self.lost(job, status.message()))?;
            let JobUpdate { overview, outcome } = update.ok_or_else(|| self.lost(job, "it has ended"))?;
            if let Some(overview) = overview {
                let mut text = progress.update(&overview, Instant::now());
                if outcome.is_some() {
                    text.push_str(&progress.clear());
                    debug_assert_eq!(id_of(&overview), job);
                }
                let _ = stderr.write_all(text.as_bytes());
            }
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
        }
    }

    fn lost(&self, job: &str, why: &str) -> String {
        format!(
            "the JobManager at {} is lost: {why}; job {job} ended with it, unless flott list -a shows it there",
            self.cluster.address
        )
    }

    async fn cancel(&self, job: &str) -> Result<(), CommandError> {
        let mut client = self.cluster.client.clone();
        self.cluster.answer(client.cancel_job(JobReference { job: id_bytes(job)? })).await?;
        self.watch(job).await.map(drop)
    }
}

fn id_bytes(job: &str) -> Result<Vec<u8>, CommandError> {
    Ok(job.parse::<flott_core::ids::JobId>()?.as_bytes().to_vec())
}
