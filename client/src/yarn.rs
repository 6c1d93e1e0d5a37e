//! Commands on YARN: clusters for one program, sessions.

use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

use flott_cluster::client::{Cluster, Driven, Program};
use flott_cluster::rpc::control::StopClusterRequest;
use flott_core::config::{self, Configuration};
use flott_yarn::application::Lifespan;
use flott_yarn::deployment::{ApplicationEnd, DeployRequest, ProgramToRun, Yarn, YarnApplication};
use flott_yarn::ids::{application_text, parse_application};
use hadoop_rpc::proto::yarn::FinalApplicationStatus;

use crate::arguments::RunOptions;
use crate::cluster::block_on;
use crate::output::say;
use crate::report::Report;
use crate::run::{drive, interrupted};
use crate::session_file::SessionFile;
use crate::yarn_options::YarnSessionOptions;
use crate::{CommandError, Ended};

/// The name of a program, for lists of applications.
fn name_of(program: &Program) -> String {
    let name = program.path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn ended(application: &str, end: &ApplicationEnd) -> Ended {
    let word = match end.status {
        FinalApplicationStatus::Succeeded => {
            eprintln!("Application {application} has succeeded.");
            return Ended::Well;
        }
        FinalApplicationStatus::Killed => "was killed",
        FinalApplicationStatus::Failed => "has failed",
        FinalApplicationStatus::Undefined | FinalApplicationStatus::Ended => "has ended without a status",
    };
    eprintln!("Application {application} {word}: {}", end.diagnostics);
    Ended::Badly
}

/// Submits a cluster, and says if it cannot live for as long as it may be wanted.
async fn deploy(yarn: &Yarn, request: &DeployRequest) -> Result<YarnApplication, CommandError> {
    let application = yarn.deploy(request).await?;
    if let Some(life) = application.token_life {
        eprintln!(
            "flott: warning: without {} and {} the application can use HDFS for {} at most, as long as its tokens live",
            config::KERBEROS_KEYTAB.key,
            config::KERBEROS_PRINCIPAL.key,
            config::ConfigValue::write(&life),
        );
    }
    Ok(application)
}

/// Runs a program in a session.
pub(crate) async fn run_in_session(
    options: &RunOptions,
    program: Program,
    id: &str,
    report: &mut Report,
) -> Result<Ended, CommandError> {
    let yarn = Yarn::of_environment(&program.configuration)?;
    let session = yarn.session(parse_application(id)?).await?;
    let cluster = yarn.connect(&session).await?;
    report.application = Some(id.to_owned());
    drive(options, program, cluster, report).await.map(|driven| driven.ended)
}

/// How often a cluster is told that its command is still there: some of it may be lost without harm.
fn heartbeat(configuration: &Configuration) -> Duration {
    let timeout = configuration.get(&config::CLIENT_HEARTBEAT_TIMEOUT);
    configuration.get(&config::CLIENT_HEARTBEAT_INTERVAL).min(timeout / 4)
}

/// Runs a program here, its jobs on a cluster of its own.
pub(crate) async fn run_per_job(
    options: &RunOptions,
    program: Program,
    report: &mut Report,
) -> Result<Ended, CommandError> {
    flott_cluster::program_file::check(&program.path)?;
    let detached = options.is_detached();
    let yarn = Yarn::of_environment(&program.configuration)?;
    let request = DeployRequest {
        configuration: program.configuration.clone(),
        name: name_of(&program),
        program: None,
        lifespan: if detached { Lifespan::OneJob } else { Lifespan::Command },
        shared: false,
        report: false,
    };
    let application = deploy(&yarn, &request).await?;
    let name = application_text(&application.id);
    report.application = Some(name.clone());
    eprintln!("Application {name} was submitted.");
    let interrupted = interrupted()?;
    tokio::pin!(interrupted);
    let connected = tokio::select! {
        connected = yarn.connect(&application) => connected,
        () = &mut interrupted => {
            yarn.kill(&application.id, "the command that started it was interrupted").await?;
            return Ok(Ended::Interrupted);
        }
    };
    let cluster = connected?;
    // Before its first job and between two of them only this tells that the cluster is still wanted.
    let alive = cluster.clone().keep_alive(heartbeat(&program.configuration));
    let driven = tokio::select! {
        driven = drive(options, program, cluster.clone(), report) => driven,
        never = alive => match never {},
    };
    let failure = match &driven {
        Ok(driven) if detached && driven.ended == Ended::Well => return Ok(Ended::Well),
        Ok(driven) => match (&driven.how, driven.ended) {
            (Driven::JobFailed(reason), _) => Some(reason.clone()),
            (Driven::ProgramFailed(status), _) => Some(format!("the program ended with {status}")),
            (Driven::Interrupted, _) => {
                yarn.kill(&application.id, "the command that started it was interrupted").await?;
                return Ok(Ended::Interrupted);
            }
            (Driven::Finished, _) => None,
        },
        Err(error) => Some(error.to_string()),
    };
    let stop = StopClusterRequest { failure };
    let stopped = cluster.answer(cluster.rpc().stop_cluster(stop)).await;
    let driven = driven?;
    match stopped {
        // It has ended by itself, or another one has taken over and ends when it finds nothing to do: YARN says how it went.
        Err(error) if error.is_lost() => {}
        stopped => drop(stopped?),
    }
    let end = yarn.wait_for_end(&application.id).await?;
    let ended = ended(&name, &end);
    Ok(if driven.ended == Ended::Well { ended } else { driven.ended })
}

/// Runs a program on a cluster of its own, main included.
pub(crate) async fn run_application(
    options: &RunOptions,
    program: Program,
    report: &mut Report,
) -> Result<Ended, CommandError> {
    flott_cluster::program_file::check(&program.path)?;
    let yarn = Yarn::of_environment(&program.configuration)?;
    let request = DeployRequest {
        configuration: program.configuration.clone(),
        name: name_of(&program),
        program: Some(ProgramToRun {
            path: program.path.clone(),
            arguments: program.arguments.clone(),
            restore: options.checkpoint.clone(),
        }),
        lifespan: Lifespan::OwnMain,
        shared: false,
        report: options.report.is_some() && !options.is_detached(),
    };
    let application = deploy(&yarn, &request).await?;
    let name = application_text(&application.id);
    report.application = Some(name.clone());
    if options.is_detached() {
        say(&format!("{name}\n"))?;
        return Ok(Ended::Well);
    }
    eprintln!("Application {name} was submitted.");
    let interrupted = interrupted()?;
    tokio::select! {
        end = yarn.wait_for_end(&application.id) => {
            let end = end?;
            if request.report {
                match yarn.take_report(&application.id).await {
                    Ok(jobs) => report.jobs = jobs.unwrap_or_default(),
                    Err(error) => eprintln!("flott: warning: the figures of the jobs cannot be read: {error}"),
                }
            }
            report.reason.clone_from(&end.diagnostics);
            Ok(ended(&name, &end))
        }
        () = interrupted => {
            eprintln!("Interrupted: application {name} is killed.");
            yarn.kill(&application.id, "the command that started it was interrupted").await?;
            Ok(Ended::Interrupted)
        }
    }
}

/// Starts a session, or attaches to one.
pub(crate) fn session(options: &YarnSessionOptions) -> Result<Ended, CommandError> {
    let configuration = options.configuration()?;
    block_on(async {
        let yarn = Yarn::of_environment(&configuration)?;
        if options.query {
            return query(&yarn).await;
        }
        let file = SessionFile::of(&configuration);
        let ends_with_it = configuration.get(&config::SHUTDOWN_ON_ATTACHED_EXIT);
        let started = options.application_id.is_none();
        let application = match &options.application_id {
            Some(id) => yarn.session(parse_application(id)?).await?,
            None => start_session(&yarn, configuration).await?,
        };
        let name = application_text(&application.id);
        let cluster = yarn.connect(&application).await?;
        if started {
            if let Err(error) = file.write(&name) {
                eprintln!(
                    "flott: warning: {}: {error}; later commands need -yid {name}",
                    file.path().display()
                );
            }
            eprintln!(
                "Session {name} runs; flott run -t yarn-session finds it. To end it: echo stop | flott yarn-session -id {name}"
            );
        }
        if options.detached {
            say(&format!("{name}\n"))?;
            return Ok(Ended::Well);
        }
        let ended = attend(ends_with_it, &yarn, &application, &cluster).await;
        if !matches!(ended, Ok(Ended::Interrupted)) {
            file.forget(&name);
        }
        ended
    })
}

async fn start_session(yarn: &Yarn, configuration: Configuration) -> Result<YarnApplication, CommandError> {
    let request = DeployRequest {
        configuration,
        name: "Flott session".to_owned(),
        program: None,
        lifespan: Lifespan::OwnMain,
        shared: true,
        report: false,
    };
    let application = deploy(yarn, &request).await?;
    eprintln!("Application {} was submitted.", application_text(&application.id));
    Ok(application)
}

/// Stays with a session until it ends, or somebody says stop.
async fn attend(
    ends_with_it: bool,
    yarn: &Yarn,
    application: &YarnApplication,
    cluster: &Cluster,
) -> Result<Ended, CommandError> {
    let name = application_text(&application.id);
    if io::stdin().is_terminal() {
        eprintln!("Type stop to end it, quit to leave it running.");
    }
    let interrupted = interrupted()?;
    tokio::pin!(interrupted);
    let word = tokio::select! {
        word = tokio::task::spawn_blocking(said) => word?,
        end = yarn.wait_for_end(&application.id) => return Ok(ended(&name, &end?)),
        () = &mut interrupted => Said::Interrupted,
    };
    match word {
        Said::Quit => return Ok(Ended::Well),
        Said::Interrupted if !ends_with_it => return Ok(Ended::Interrupted),
        Said::Stop | Said::Interrupted => {}
    }
    cluster.answer(cluster.rpc().stop_cluster(StopClusterRequest { failure: None })).await?;
    let end = yarn.wait_for_end(&application.id).await?;
    Ok(ended(&name, &end))
}

/// What somebody says to a session.
enum Said {
    Stop,
    Quit,
    Interrupted,
}

fn said() -> Said {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match line.trim() {
            "stop" => return Said::Stop,
            "quit" => return Said::Quit,
            _ => eprintln!("stop ends the session, quit leaves it running"),
        }
    }
    // Nobody will say anything: it is waited for.
    loop {
        std::thread::park();
    }
}

/// Shows what YARN has.
async fn query(yarn: &Yarn) -> Result<Ended, CommandError> {
    let nodes = yarn.client().get_cluster_nodes(&[hadoop_rpc::proto::yarn::NodeState::Running]).await?;
    let mut text = format!("{} NodeManagers run\n", nodes.len());
    for node in nodes {
        let containers = node.num_containers();
        let (all, used) = (node.capability.unwrap_or_default(), node.used.unwrap_or_default());
        let id = node.node_id.as_ref().map(flott_yarn::ids::node_text).unwrap_or_default();
        text.push_str(&format!(
            "{id}: {} of {} MiB and {} of {} vcores in use, {} containers\n",
            used.memory(),
            all.memory(),
            used.virtual_cores(),
            all.virtual_cores(),
            containers
        ));
    }
    say(&text)?;
    Ok(Ended::Well)
}

/// Which session a command means that only asks.
pub(crate) async fn session_cluster(
    configuration: &Configuration,
    id: &str,
) -> Result<Cluster, CommandError> {
    let yarn = Yarn::of_environment(configuration)?;
    let session = yarn.session(parse_application(id)?).await?;
    Ok(yarn.connect(&session).await?)
}

/// The configuration key that names a session, for messages.
pub(crate) const SESSION_KEY: &str = config::YARN_APPLICATION_ID.key;
