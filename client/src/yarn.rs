//! Commands on YARN: clusters for one program, sessions.

use std::io::{self, BufRead, IsTerminal};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use flott_cluster::client::{Cluster, ClusterError, Driven, Program, Verdict};
use flott_cluster::high_availability::Waiting;
use flott_cluster::rpc::control::StopClusterRequest;
use flott_core::config::{self, Configuration};
use flott_yarn::application::Lifespan;
use flott_yarn::deployment::{
    ApplicationEnd, DeployError, DeployRequest, ProgramToRun, Yarn, YarnApplication,
};
use flott_yarn::ids::{application_text, parse_application};
use hadoop_rpc::proto::yarn::{ApplicationId, FinalApplicationStatus};

use crate::arguments::RunOptions;
use crate::cluster::block_on;
use crate::output::say;
use crate::report::Report;
use crate::run::{Interruption, drive};
use crate::session_file::SessionFile;
use crate::yarn_options::YarnSessionOptions;
use crate::yarn_query::query;
use crate::{CommandError, Ended, kerberos};

/// After this time a cluster is told again that it is to end: who has heard it may have died before it did.
const STOP_AGAIN: Duration = Duration::from_secs(10);

/// What YARN shows of an application that was killed from here.
const INTERRUPTED: &str = "the command that started it was interrupted";

/// The same of one whose submission has failed at the end.
const NOT_LEARNT: &str = "the command that started it did not learn whether YARN has taken it";

/// The YARN of this environment; what is waited for is said.
fn yarn_of(configuration: &Configuration) -> Result<Yarn, CommandError> {
    Ok(Yarn::of_environment(configuration)?.with_notice(|notice| eprintln!("flott: {notice}")))
}

/// The name of a program, for lists of applications.
fn name_of(program: &Program) -> String {
    let name = program.path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn ended(application: &str, end: &ApplicationEnd) -> Ended {
    let (word, ended) = match end.status {
        FinalApplicationStatus::Succeeded => {
            eprintln!("Application {application} has succeeded.");
            return Ended::Well;
        }
        FinalApplicationStatus::Killed => ("was killed", Ended::Canceled),
        FinalApplicationStatus::Failed => ("has failed", Ended::Badly),
        FinalApplicationStatus::Undefined | FinalApplicationStatus::Ended => {
            ("has ended without a status", Ended::Badly)
        }
    };
    eprintln!("Application {application} {word}: {}", end.diagnostics);
    ended
}

/// Kills an application that nobody knows but this command, and says so, or what is left to do.
async fn kill(yarn: &Yarn, id: &ApplicationId, reason: &str, interruption: &mut Interruption) {
    let name = application_text(id);
    let killed = tokio::select! {
        killed = yarn.kill(id, reason) => killed.map_err(|error| error.to_string()),
        () = interruption.wait() => Err("this command was interrupted again".to_owned()),
    };
    let killed = match killed {
        Ok(killed) => killed,
        Err(failure) => return left_behind(&name, &failure),
    };
    eprintln!("Application {name} was killed: {reason}.");
    tokio::select! {
        () = yarn.forget(killed) => {}
        () = interruption.wait() => eprintln!("flott: what it has left is removed by a later command"),
    }
}

/// Says that an application may run, and how it ends.
fn left_behind(name: &str, reason: &str) {
    eprintln!("flott: application {name} may still run ({reason}); to end it: yarn application -kill {name}");
}

/// Why an application cannot live for as long as it may be wanted.
fn short_life(configuration: &Configuration, life: Duration) -> String {
    let (keytab, principal) = (config::KERBEROS_KEYTAB.key, config::KERBEROS_PRINCIPAL.key);
    let why = if configuration.is_set(&config::KERBEROS_KEYTAB) {
        format!(
            "the application acts for the user of HADOOP_PROXY_USER and does not get {keytab}, which is another's: it"
        )
    } else {
        format!("without {keytab} and {principal} the application")
    };
    format!(
        "{why} can use HDFS for {} at most, as long as its tokens live",
        config::ConfigValue::write(&life)
    )
}

/// Submits a cluster, and says if it cannot live for as long as it may be wanted. None: it was interrupted, and nothing is left of it.
async fn deploy(
    yarn: &Yarn,
    request: &DeployRequest,
    interruption: &mut Interruption,
) -> Result<Option<YarnApplication>, CommandError> {
    let begun = OnceLock::new();
    let deployed = tokio::select! {
        deployed = yarn.deploy(request, &begun) => Some(deployed),
        () = interruption.wait() => None,
    };
    let application = match (deployed, begun.get()) {
        (Some(Ok(application)), _) => application,
        (Some(Err(error)), begun) => {
            if let (DeployError::Unsure { .. }, Some(id)) = (&error, begun) {
                kill(yarn, id, NOT_LEARNT, interruption).await;
            }
            return Err(error.into());
        }
        (None, begun) => {
            match begun {
                Some(id) => kill(yarn, id, INTERRUPTED, interruption).await,
                None => yarn.stop_uploads().await,
            }
            return Ok(None);
        }
    };
    if let Some(life) = application.token_life {
        eprintln!("flott: warning: {}", short_life(&request.configuration, life));
    }
    eprintln!("Application {} was submitted.", application_text(&application.id));
    Ok(Some(application))
}

/// Connects to a cluster that was just submitted. None: it was interrupted. Without a connection nobody could use it: it is killed.
async fn connect(
    yarn: &Yarn,
    application: &YarnApplication,
    interruption: &mut Interruption,
) -> Result<Option<Cluster>, CommandError> {
    let connected = tokio::select! {
        connected = yarn.connect(application) => connected,
        () = interruption.wait() => {
            kill(yarn, &application.id, INTERRUPTED, interruption).await;
            return Ok(None);
        }
    };
    if let Err(error) = &connected
        && !matches!(error, DeployError::Ended { .. })
    {
        kill(yarn, &application.id, "the command that started it cannot reach it", interruption).await;
    }
    Ok(Some(connected?))
}

/// Has a cluster end, whoever leads it, and waits for that.
async fn stop(
    yarn: &Yarn,
    application: &YarnApplication,
    cluster: &mut Cluster,
    why: StopClusterRequest,
) -> Result<ApplicationEnd, CommandError> {
    let asking = async {
        loop {
            let asked = cluster.ask(|mut client| {
                let why = why.clone();
                async move { client.stop_cluster(why).await }
            });
            match asked.await {
                Err(ClusterError::Over(_)) => tokio::time::sleep(STOP_AGAIN).await,
                Err(error) if !error.is_lost() => return error,
                // It may have ended by itself: YARN says how it went.
                _ => tokio::time::sleep(STOP_AGAIN).await,
            }
        }
    };
    tokio::select! {
        end = yarn.wait_for_end(application) => Ok(end?),
        refused = asking => Err(refused.into()),
    }
}

/// An application that another command has submitted.
async fn running(
    yarn: &Yarn,
    configuration: &Configuration,
    id: &str,
) -> Result<YarnApplication, CommandError> {
    let found = match yarn.application(parse_application(id)?).await {
        Err(error) if !configuration.is_set(&config::YARN_APPLICATION_ID) => {
            let file = SessionFile::of(configuration);
            return Err(format!(
                "{error}; that session stands in {}, which flott yarn-session has left: remove the file if the session is gone, or name what is meant \
                 by -yid or -m",
                file.path().display()
            )
            .into());
        }
        found => found?,
    };
    // Its ZooKeeper may ask for more than that of this command's own configuration.
    kerberos::use_keytab(&found.configuration)?;
    Ok(found)
}

/// Runs a program in a session.
pub(crate) async fn run_in_session(
    options: &RunOptions,
    program: Program,
    id: &str,
    report: &mut Report,
) -> Result<Ended, CommandError> {
    let yarn = yarn_of(&program.configuration)?;
    let mut interruption = Interruption::new()?;
    let session = tokio::select! {
        session = running(&yarn, &program.configuration, id) => session?,
        () = interruption.wait() => return Ok(Ended::Interrupted),
    };
    if !session.shared {
        return Err(format!(
            "application {id} is no session: it is there for its own program only; start a session with flott yarn-session, or leave the id away"
        )
        .into());
    }
    report.application = Some(id.to_owned());
    let cluster = tokio::select! {
        cluster = yarn.connect(&session) => cluster?,
        () = interruption.wait() => return Ok(Ended::Interrupted),
    };
    Ok(drive(options, program, cluster, report, None, &mut interruption).await?.ended)
}

/// How often a cluster is told that its command is still there: some of it may be lost without harm.
fn heartbeat(configuration: &Configuration) -> Duration {
    let timeout = configuration.get(&config::CLIENT_HEARTBEAT_TIMEOUT);
    configuration.get(&config::CLIENT_HEARTBEAT_INTERVAL).min(timeout / 4)
}

/// What YARN says of a cluster that is there for one program. It ends with its job when it hears nothing of its command any more.
struct ApplicationVerdict {
    yarn: Arc<Yarn>,
    application: YarnApplication,
}

impl Verdict for ApplicationVerdict {
    fn finished(&self) -> Waiting<'_, bool> {
        Box::pin(async {
            match self.yarn.wait_for_end(&self.application).await {
                Ok(end) => end.status == FinalApplicationStatus::Succeeded,
                Err(error) => {
                    eprintln!("flott: {error}");
                    false
                }
            }
        })
    }
}

/// Runs a program here, its jobs on a cluster of its own.
pub(crate) async fn run_per_job(
    options: &RunOptions,
    program: Program,
    report: &mut Report,
) -> Result<Ended, CommandError> {
    flott_cluster::program_file::check(&program.path)?;
    let detached = options.is_detached();
    let yarn = Arc::new(yarn_of(&program.configuration)?);
    let request = DeployRequest {
        configuration: program.configuration.clone(),
        name: name_of(&program),
        program: None,
        driven: Some(program.path.clone()),
        lifespan: if detached { Lifespan::OneJob } else { Lifespan::Command },
        shared: false,
        report: false,
    };
    let mut interruption = Interruption::new()?;
    let Some(application) = deploy(&yarn, &request, &mut interruption).await? else {
        return Ok(Ended::Interrupted);
    };
    let name = application_text(&application.id);
    report.application = Some(name.clone());
    let Some(mut cluster) = connect(&yarn, &application, &mut interruption).await? else {
        return Ok(Ended::Interrupted);
    };
    // Before its first job and between two of them only this tells that the cluster is still wanted.
    let alive = cluster.clone().keep_alive(heartbeat(&program.configuration));
    let verdict = ApplicationVerdict { yarn: Arc::clone(&yarn), application: application.clone() };
    let verdict: Arc<dyn Verdict> = Arc::new(verdict);
    let driven = tokio::select! {
        driven = drive(options, program, cluster.clone(), report, Some(verdict), &mut interruption) => driven,
        never = alive => match never {},
    };
    let canceled = driven.as_ref().is_ok_and(|driven| driven.how == Driven::JobCanceled);
    let failure = match &driven {
        Ok(driven) if detached && driven.ended == Ended::Well => return Ok(Ended::Well),
        Ok(driven) => match &driven.how {
            Driven::JobFailed(reason) => Some(reason.clone()),
            Driven::ProgramFailed { status, .. } => Some(format!("the program ended with {status}")),
            Driven::Interrupted => {
                kill(&yarn, &application.id, INTERRUPTED, &mut interruption).await;
                return Ok(Ended::Interrupted);
            }
            Driven::JobCanceled | Driven::Finished => None,
        },
        Err(error) => Some(error.to_string()),
    };
    let stopped = tokio::select! {
        stopped = stop(&yarn, &application, &mut cluster, StopClusterRequest { failure, canceled }) => stopped,
        () = interruption.wait() => {
            kill(&yarn, &application.id, INTERRUPTED, &mut interruption).await;
            return Ok(Ended::Interrupted);
        }
    };
    if let Err(error) = &stopped {
        let reason = format!("the command that started it cannot end it: {error}");
        kill(&yarn, &application.id, &reason, &mut interruption).await;
    }
    let driven = driven?;
    let ended = ended(&name, &stopped?);
    Ok(if driven.ended == Ended::Well { ended } else { driven.ended })
}

/// Runs a program on a cluster of its own, main included.
pub(crate) async fn run_application(
    options: &RunOptions,
    program: Program,
    report: &mut Report,
) -> Result<Ended, CommandError> {
    flott_cluster::program_file::check(&program.path)?;
    let yarn = yarn_of(&program.configuration)?;
    let request = DeployRequest {
        configuration: program.configuration.clone(),
        name: name_of(&program),
        program: Some(ProgramToRun {
            path: program.path.clone(),
            arguments: program.arguments.clone(),
            restore: options.checkpoint.clone(),
        }),
        driven: None,
        lifespan: Lifespan::OwnMain,
        shared: false,
        report: options.report.is_some() && !options.is_detached(),
    };
    let mut interruption = Interruption::new()?;
    let Some(application) = deploy(&yarn, &request, &mut interruption).await? else {
        return Ok(Ended::Interrupted);
    };
    let name = application_text(&application.id);
    report.application = Some(name.clone());
    if options.is_detached() {
        say(&format!("{name}\n"))?;
        return Ok(Ended::Well);
    }
    tokio::select! {
        end = yarn.wait_for_end(&application) => {
            let end = end.inspect_err(|error| left_behind(&name, &error.to_string()))?;
            if request.report {
                match yarn.take_report(&application.id).await {
                    Ok(jobs) => report.jobs = jobs.unwrap_or_default(),
                    Err(error) => eprintln!("flott: warning: the figures of the jobs cannot be read: {error}"),
                }
            }
            report.reason.clone_from(&end.diagnostics);
            Ok(ended(&name, &end))
        }
        () = interruption.wait() => {
            kill(&yarn, &application.id, INTERRUPTED, &mut interruption).await;
            Ok(Ended::Interrupted)
        }
    }
}

/// Starts a session, or attaches to one.
pub(crate) fn session(options: &YarnSessionOptions) -> Result<Ended, CommandError> {
    let configuration = options.configuration()?;
    kerberos::use_keytab(&configuration)?;
    block_on(async {
        let yarn = yarn_of(&configuration)?;
        if options.query {
            return query(&yarn).await;
        }
        let file = SessionFile::of(&configuration);
        let ends_with_it = configuration.get(&config::SHUTDOWN_ON_ATTACHED_EXIT);
        let mut interruption = Interruption::new()?;
        let started = options.application_id.is_none();
        let (application, cluster) = match &options.application_id {
            Some(id) => {
                let application = running(&yarn, &configuration, id).await?;
                let connected = tokio::select! {
                    connected = yarn.connect(&application) => connected,
                    () = interruption.wait() => return Ok(Ended::Interrupted),
                };
                (application, connected?)
            }
            None => match start_session(&yarn, configuration, &mut interruption).await? {
                Some(session) => session,
                None => return Ok(Ended::Interrupted),
            },
        };
        let name = application_text(&application.id);
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
        let ended = attend(ends_with_it, &yarn, &application, cluster, &mut interruption).await;
        if !matches!(ended, Ok(Ended::Interrupted)) {
            file.forget(&name);
        }
        ended
    })
}

/// Starts a session. None: it was interrupted before it was there.
async fn start_session(
    yarn: &Yarn,
    configuration: Configuration,
    interruption: &mut Interruption,
) -> Result<Option<(YarnApplication, Cluster)>, CommandError> {
    let request = DeployRequest {
        configuration,
        name: "Flott session".to_owned(),
        program: None,
        driven: None,
        lifespan: Lifespan::OwnMain,
        shared: true,
        report: false,
    };
    let Some(application) = deploy(yarn, &request, interruption).await? else { return Ok(None) };
    let connected = connect(yarn, &application, interruption).await?;
    Ok(connected.map(|cluster| (application, cluster)))
}

/// Stays with a session until it ends, or somebody says stop.
async fn attend(
    ends_with_it: bool,
    yarn: &Yarn,
    application: &YarnApplication,
    mut cluster: Cluster,
    interruption: &mut Interruption,
) -> Result<Ended, CommandError> {
    let name = application_text(&application.id);
    if io::stdin().is_terminal() {
        eprintln!("Type stop to end it, quit to leave it running.");
    }
    let word = tokio::select! {
        word = tokio::task::spawn_blocking(said) => word?,
        end = yarn.wait_for_end(application) => return Ok(ended(&name, &end?)),
        () = interruption.wait() => Said::Interrupted,
    };
    match word {
        Said::Quit => return Ok(Ended::Well),
        Said::Interrupted if !ends_with_it => return Ok(Ended::Interrupted),
        Said::Stop | Said::Interrupted => {}
    }
    tokio::select! {
        end = stop(yarn, application, &mut cluster, StopClusterRequest::default()) => Ok(ended(&name, &end?)),
        () = interruption.wait() => {
            left_behind(&name, "this command was interrupted again");
            Ok(Ended::Interrupted)
        }
    }
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

/// The cluster of an application, for a command that only asks.
pub(crate) async fn cluster_of(configuration: &Configuration, id: &str) -> Result<Cluster, CommandError> {
    let yarn = yarn_of(configuration)?;
    let application = running(&yarn, configuration, id).await?;
    Ok(yarn.connect(&application).await?)
}

/// Where YARN's proxy serves an application's page; none: YARN has not been told of one.
pub(crate) async fn page(configuration: &Configuration, id: &str) -> Result<Option<String>, CommandError> {
    let report = yarn_of(configuration)?.report(&parse_application(id)?).await?;
    Ok(report.tracking_url.filter(|url| url.contains("://")))
}

/// The configuration key that names a session, for messages.
pub(crate) const SESSION_KEY: &str = config::YARN_APPLICATION_ID.key;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_an_application_lives_as_long_as_its_tokens_is_said() {
        let mut configuration = Configuration::new();
        let life = Duration::from_secs(90);
        assert_eq!(
            short_life(&configuration, life),
            "without security.kerberos.login.keytab and security.kerberos.login.principal the application can use HDFS for 90 s at most, as long as \
             its tokens live"
        );
        configuration.set(config::KERBEROS_KEYTAB.key, "/k").unwrap();
        let of_another = short_life(&configuration, life);
        assert!(
            of_another.starts_with("the application acts for the user of HADOOP_PROXY_USER and does not get")
        );
    }
}
