//! `flott run` and `flott info`: starts the program, and does with its plans what was asked for.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use flott_cluster::client::{DriveError, Driven, Driver, DriverListener, Program, start_program};
use flott_cluster::launch::LaunchError;
use flott_cluster::rpc::control::JobOverview;
use flott_cluster::rpc::launch::{FromProgram, Local, Plan, from_program, start};
use flott_core::config::Configuration;
use flott_core::ids::JobId;
use flott_plan::JobGraph;

use crate::arguments::{InfoOptions, Master, RunOptions};
use crate::cluster::{block_on, reach};
use crate::output::say;
use crate::progress::Progress;
use crate::{CommandError, Ended, arguments};

/// The program that the command line names. A name without a folder is a file here, not a command.
fn program(line: &arguments::Program, configuration: Configuration) -> Result<Program, CommandError> {
    let path = std::path::absolute(line.path());
    let path = path.map_err(|error| format!("{}: {error}", line.path().display()))?;
    Ok(Program { path, arguments: line.arguments().to_vec(), configuration })
}

/// Prints the JobGraph of the program's first execute.
pub(crate) fn info(options: &InfoOptions) -> Result<Ended, CommandError> {
    let program = program(&options.program, options.program.configure(&options.settings)?)?;
    // What the program prints is not what was asked for.
    let (mut child, mut socket) = start_program(&program, start::Role::Plan(Plan {}), Stdio::null())?;
    let executed = socket.receive::<FromProgram>();
    let _ = child.kill();
    let _ = child.wait();
    let executed = match executed {
        Ok((FromProgram { kind: Some(from_program::Kind::Executed(executed)) }, _)) => executed,
        Ok(_) => return Err("the program is of another version of Flott".into()),
        Err(LaunchError::Closed) => return Err(DriveError::NeverExecuted { path: program.path }.into()),
        Err(error) => return Err(error.into()),
    };
    let graph = JobGraph::decode(&executed.graph)?;
    say(&if options.json { graph.to_json() + "\n" } else { graph.describe() })?;
    Ok(Ended::Well)
}

/// Runs the program.
pub(crate) fn run(options: &RunOptions) -> Result<Ended, CommandError> {
    let configuration = options.program.configure(&options.settings)?;
    let program = program(&options.program, configuration)?;
    match options.master.as_deref() {
        Some("local") => run_here(options, &program),
        _ => block_on(run_on_cluster(options, program)),
    }
}

fn run_here(options: &RunOptions, program: &Program) -> Result<Ended, CommandError> {
    if options.detached {
        return Err("a program with local jobs cannot be detached: they run in it".into());
    }
    let role = start::Role::Local(Local { restore: options.checkpoint.clone() });
    let (mut child, socket) = start_program(program, role, Stdio::inherit())?;
    block_on(async {
        let interrupted = interrupted()?;
        let ended = tokio::task::spawn_blocking(move || child.wait());
        // Ctrl-C reaches the program by itself: it is only waited for.
        let status = tokio::select! {
            status = ended => status.map_err(io::Error::other)??,
            () = interrupted => return Ok(Ended::Interrupted),
        };
        drop(socket);
        Ok(ended_with(&program.path, status))
    })
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

async fn run_on_cluster(options: &RunOptions, program: Program) -> Result<Ended, CommandError> {
    let interrupted = interrupted()?;
    let address = Master { master: options.master.clone() }.address(&program.configuration);
    flott_cluster::program_file::check(&program.path)?;
    let cluster = reach(&address, &program.configuration).await?;
    let path = program.path.clone();
    let driver = Driver { cluster, program, detached: options.detached, restore: options.checkpoint.clone() };
    let progress = Progress::new(io::stderr().is_terminal());
    match driver.run(&mut Shown { address, progress }, interrupted).await? {
        Driven::Finished => Ok(Ended::Well),
        // Its own main has said why, if it wanted to.
        Driven::JobFailed(_) => Ok(Ended::Badly),
        Driven::ProgramFailed(status) => Ok(ended_with(&path, status)),
        Driven::Interrupted => Ok(Ended::Interrupted),
    }
}

/// Shows how far a job is.
struct Shown {
    address: String,
    progress: Progress,
}

impl DriverListener for Shown {
    fn submitted(&mut self, job: JobId, detached: bool) {
        if detached {
            // Whoever asked for it to run has it run, whether or not the id can be printed.
            let _ = say(&format!("{job}\n"));
        } else {
            eprintln!("Job {job} was submitted to {}.", self.address);
        }
    }

    fn update(&mut self, job: &JobOverview, over: bool) {
        let mut text = self.progress.update(job, Instant::now());
        if over {
            text.push_str(&self.progress.clear());
        }
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn interrupted(&mut self, job: JobId) {
        eprintln!("Interrupted: job {job} is cancelled.");
    }
}
