//! `flott run` and `flott info`: starts the program, and does with its plans what was asked for.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_cluster::client::report::JobSummaries;
use flott_cluster::client::{
    Cluster, ClusterError, DriveError, Driven, Driver, DriverListener, Program, Verdict, start_program,
};
use flott_cluster::launch::{LaunchError, LaunchSocket};
use flott_cluster::rpc::control::{JobOutcome, JobOverview};
use flott_cluster::rpc::launch::{FromProgram, Local, Plan, from_program, start};
use flott_cluster::temp_dir::TempDir;
use flott_core::config::{self, Configuration, DeploymentTarget};
use flott_core::ids::JobId;
use flott_plan::JobGraph;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::arguments::{InfoOptions, RunOptions};
use crate::cluster::{block_on, reach};
use crate::fetched::{Place, fetch, place_of};
use crate::output::say;
use crate::progress::Progress;
use crate::report::Report;
use crate::target::Target;
use crate::{CommandError, Ended, arguments, kerberos, yarn};

/// How long the last word of a program that has ended may be on its way; that long only if what it has started holds the socket open.
const LAST_WORD: Duration = Duration::from_secs(10);

/// The program that the command line names, and the folder that it was fetched into. None: that was interrupted.
fn program(
    line: &arguments::Program,
    configuration: Configuration,
) -> Result<Option<(Program, Option<TempDir>)>, CommandError> {
    let (path, fetched) = match place_of(line.path())? {
        Place::Here(path) => (path, None),
        Place::Elsewhere(remote) => {
            kerberos::use_keytab(&configuration)?;
            let Some((path, folder)) = block_on(fetch(&remote, &configuration))? else { return Ok(None) };
            (path, Some(folder))
        }
    };
    let program = Program { path, arguments: line.arguments().to_vec(), configuration, hash: None };
    Ok(Some((program, fetched)))
}

/// Prints the JobGraph of the program's first execute.
pub(crate) fn info(options: &InfoOptions) -> Result<Ended, CommandError> {
    let mut configuration = options.settings.configuration()?;
    options.program.configure(&mut configuration)?;
    options.jar.warn();
    let Some((program, _fetched)) = program(&options.program, configuration)? else {
        return Ok(Ended::Interrupted);
    };
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
    run_on(options, options.target.as_deref())
}

/// Runs the program, main included, in the cluster.
pub(crate) fn run_application(options: &RunOptions) -> Result<Ended, CommandError> {
    match &options.target {
        None => run_on(options, Some(DeploymentTarget::YarnApplication.as_str())),
        target => run_on(options, target.as_deref()),
    }
}

fn run_on(options: &RunOptions, target: Option<&str>) -> Result<Ended, CommandError> {
    let Some(path) = &options.report else { return run_and_note(options, target, &mut Report::default()) };
    // A program whose report cannot be written does not begin; one that has run is not undone by it.
    let mut report = Report::begun(&options.program, options.is_detached());
    report.write(path)?;
    let ended = run_and_note(options, target, &mut report);
    report.end(&ended);
    if let Err(error) = report.write(path) {
        eprintln!("flott: warning: {error}");
    }
    ended
}

fn run_and_note(
    options: &RunOptions,
    target: Option<&str>,
    report: &mut Report,
) -> Result<Ended, CommandError> {
    let configuration = options.configuration()?;
    kerberos::use_keytab(&configuration)?;
    let target = Target::of(&options.wanted(target), &configuration)?;
    report.target = target.name();
    let Some((program, _fetched)) = program(&options.program, configuration)? else {
        return Ok(Ended::Interrupted);
    };
    match target {
        Target::Local => run_here(options, &program, report),
        Target::Remote(address) => block_on(run_on_cluster(options, program, Some(&address), report)),
        Target::Elected => block_on(run_on_cluster(options, program, None, report)),
        Target::YarnSession(id) => block_on(yarn::run_in_session(options, program, &id, report)),
        Target::YarnPerJob => block_on(yarn::run_per_job(options, program, report)),
        Target::YarnApplication => block_on(yarn::run_application(options, program, report)),
    }
}

fn run_here(options: &RunOptions, program: &Program, report: &mut Report) -> Result<Ended, CommandError> {
    if options.is_detached() {
        return Err("a program with local jobs cannot be detached: they run in it".into());
    }
    let role = start::Role::Local(Local { restore: options.checkpoint.clone() });
    let (mut child, socket) = start_program(program, role, Stdio::inherit())?;
    block_on(async {
        let mut interruption = Interruption::new()?;
        let ended = tokio::task::spawn_blocking(move || child.wait());
        let jobs = tokio::task::spawn_blocking(move || jobs_over(socket));
        // Ctrl-C reaches the program by itself: it is only waited for.
        let status = tokio::select! {
            status = ended => status.map_err(io::Error::other)??,
            () = interruption.wait() => return Ok(Ended::Interrupted),
        };
        if let Ok(Ok(jobs)) = tokio::time::timeout(LAST_WORD, jobs).await {
            report.jobs = jobs;
        }
        Ok(ended_with(&program.path, status))
    })
}

/// What a program tells of jobs that it runs itself, until it ends.
fn jobs_over(mut socket: LaunchSocket) -> JobSummaries {
    let mut jobs = JobSummaries::default();
    while let Ok((FromProgram { kind: Some(from_program::Kind::Over(job)) }, _)) = socket.receive() {
        jobs.note(&job, None);
    }
    jobs
}

fn ended_with(path: &Path, status: ExitStatus) -> Ended {
    use std::os::unix::process::ExitStatusExt;
    if let Some(signal) = status.signal() {
        eprintln!("flott: {} was ended by signal {signal}", path.display());
    }
    if status.success() { Ended::Well } else { Ended::Badly }
}

/// Hears that somebody presses Ctrl-C or asks the command to end, also while it does something else.
pub(crate) struct Interruption {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruption {
    /// Hears from now on.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Until it happens, again.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn run_on_cluster(
    options: &RunOptions,
    program: Program,
    address: Option<&str>,
    report: &mut Report,
) -> Result<Ended, CommandError> {
    flott_cluster::program_file::check(&program.path)?;
    let cluster = reach(address, &program.configuration).await?;
    Ok(drive(options, program, cluster, report, None, &mut Interruption::new()?).await?.ended)
}

/// How a program went that was driven from here.
pub(crate) struct Outcome {
    pub(crate) how: Driven,
    pub(crate) ended: Ended,
}

/// Runs the program here and its jobs on a cluster.
pub(crate) async fn drive(
    options: &RunOptions,
    program: Program,
    cluster: Cluster,
    report: &mut Report,
    verdict: Option<Arc<dyn Verdict>>,
    interruption: &mut Interruption,
) -> Result<Outcome, DriveError> {
    let path = program.path.clone();
    let progress = Progress::new(io::stderr().is_terminal());
    let mut shown = Shown { address: cluster.address().to_owned(), progress, jobs: &mut report.jobs };
    let restore = options.checkpoint.clone();
    let detached = options.is_detached();
    let driver = Driver { cluster, program, detached, restore, application: None, verdict };
    let how = driver.run(&mut shown, interruption.wait()).await?;
    let ended = match &how {
        Driven::Finished => Ended::Well,
        // Its own main has said why, if it wanted to.
        Driven::JobFailed(_) => Ended::Badly,
        Driven::JobCanceled => Ended::Canceled,
        Driven::ProgramFailed { status, .. } => ended_with(&path, *status),
        Driven::Interrupted => Ended::Interrupted,
    };
    Ok(Outcome { how, ended })
}

/// Shows how far a job is.
struct Shown<'a> {
    address: String,
    progress: Progress,
    jobs: &'a mut JobSummaries,
}

impl DriverListener for Shown<'_> {
    fn submitted(&mut self, job: JobId, detached: bool) {
        self.jobs.submitted(job);
        if detached {
            // Whoever asked for it to run has it run, whether or not the id can be printed.
            let _ = say(&format!("{job}\n"));
        } else {
            eprintln!("Job {job} was submitted to {}.", self.address);
        }
    }

    fn update(&mut self, job: &JobOverview, outcome: Option<&JobOutcome>) {
        self.jobs.note(job, outcome);
        let mut text = self.progress.update(job, Instant::now());
        if outcome.is_some() {
            text.push_str(&self.progress.clear());
        }
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn interrupted(&mut self, job: JobId) {
        eprintln!("Interrupted: job {job} is cancelled.");
    }

    fn lost(&mut self, reason: &ClusterError, patience: Duration) {
        let patience = config::ConfigValue::write(&patience);
        eprintln!("{}flott: {reason}; it is looked for, up to {patience}", self.progress.clear());
    }

    fn not_cancelled(&mut self, job: JobId, reason: &DriveError) {
        eprintln!(
            "flott: job {job} could not be cancelled ({reason}), and may run on; flott cancel {job} tries again"
        );
    }

    fn lost_for_good(&mut self, reason: &DriveError) {
        eprintln!("flott: {reason}; what YARN says of its application counts, and it is waited for");
    }

    fn finished(&mut self, job: JobId) {
        self.jobs.finished(job);
    }

    fn found(&mut self, address: &str) {
        eprintln!("flott: the JobManager at {address} is there");
        self.address = address.to_owned();
    }
}
