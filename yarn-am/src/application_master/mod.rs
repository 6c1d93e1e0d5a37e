//! The ApplicationMaster: the JobManager of a cluster on YARN, and what gets it containers, in one process.
//!
//! ```text
//! JobManager ─ demand ─▸ YarnDriver ─▸ Conversation ◂─▸ ResourceManager
//!                                         │ containers
//!                                         ▾
//!                                    launches ─▸ NodeManagers ─▸ TaskManagers ─▸ JobManager
//! program's main ◂─ Driver ─▸ JobManager            (application mode)
//! ```

pub mod container_pool;
mod container_profile;
mod conversation;
mod driver;
mod environment;
mod exit_status;
mod launcher;
mod launching;
mod lifetime;
mod nodes;
mod notices;
mod registration;
mod rejections;
mod work;

pub use container_profile::ContainerProfile;
pub use conversation::{ConversationError, FinalStatus};
pub use environment::{ContainerEnvironment, EnvironmentError};
pub(crate) use exit_status::of_application_master;
pub use launcher::RUNTIME;
pub(crate) use launcher::{OWN_NAMES, launch_context, login_by_keytab};

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_cluster::client::ClusterError;
use flott_cluster::high_availability::{
    ApplicationAttempt, HighAvailabilityError, clean_up, is_highly_available,
};
use flott_cluster::job_manager::{JobManagerError, JobManagerSetup, Listening, StopRequest, run_job_manager};
use flott_cluster::logging;
use flott_cluster::resource_manager::ResourceEvent;
use flott_cluster::task_manager::{TaskManagerError, run_task_manager};
use flott_core::config::{self, ConfigError, ConfigOption, Configuration};
use hadoop_rpc::auth_to_local::Rules;
use hadoop_rpc::credentials::{Credentials, CredentialsError};
use hadoop_rpc::proto::yarn::{FinalApplicationStatus, RegisterApplicationMasterRequest};
use hadoop_rpc::{ApplicationClient, ApplicationMasterClient, RpcError, User};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};

use crate::application::{Application, ApplicationError};
use crate::deployment::{attempts, failures_count_for, fewer_attempts};
use crate::ids::application_text;
use crate::security::{ClientTokens, SecurityError, for_containers};
use container_pool::PoolSettings;
use container_profile::LogPages;
use conversation::{Conversation, Setup};
use driver::YarnDriver;
use launcher::NodeTokens;
use launching::Launching;
use lifetime::{Lifetime, fetch_missing};
use nodes::Nodes;
use registration::{LostAnswer, patience, unregister};
use work::Work;

/// The kind of the token by which the ResourceManager knows an ApplicationMaster. It is nobody else's.
const MASTER_TOKEN: &str = "YARN_AM_RM_TOKEN";

/// How long telling YARN may take why an attempt has failed: its container's diagnostics say it, too.
const LAST_WORD: Duration = Duration::from_secs(30);

/// How long removing may take what was kept for the next leader.
const FORGET: Duration = Duration::from_secs(30);

/// Wishes to end that may wait: the first one counts.
const QUEUED_STOPS: usize = 1;

/// What YARN has said of TaskManagers and the JobManager has yet to hear.
const QUEUED_EVENTS: usize = 4096;

/// Why an ApplicationMaster, or a TaskManager in a container, cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// It is in no container.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// Its credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// No credentials.
    #[error("HADOOP_TOKEN_FILE_LOCATION is not set: is this process started by a NodeManager of YARN?")]
    NoCredentials,
    /// What it is part of.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// Flott's configuration.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// Its tokens.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// A file of the application.
    #[error("a file of the application cannot be fetched: {0}")]
    File(#[from] flott_fs::FsError),
    /// Its log.
    #[error(transparent)]
    Logging(#[from] logging::LoggingError),
    /// Its threads.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    /// Its JobManager.
    #[error(transparent)]
    JobManager(#[from] JobManagerError),
    /// A TaskManager.
    #[error(transparent)]
    TaskManager(#[from] TaskManagerError),
    /// YARN.
    #[error("cannot talk with YARN: {0}")]
    Yarn(#[from] RpcError),
    /// Its own JobManager does not serve.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// YARN ends it.
    #[error(transparent)]
    Conversation(#[from] ConversationError),
}

impl ContainerError {
    /// Whether it is about what all attempts begin with, so that each would end like this one.
    fn is_of_settings(&self) -> bool {
        use HighAvailabilityError as Unusable;
        match self {
            Self::Application(_) | Self::Configuration(_) => true,
            Self::JobManager(JobManagerError::HighAvailability(error)) => matches!(
                error,
                Unusable::NoStorageDir | Unusable::NoQuorum | Unusable::Option { .. } | Unusable::NoSasl
            ),
            _ => false,
        }
    }

    /// Whether the application has failed by this, as one of so many attempts.
    fn ends_application(&self, attempts: u32) -> bool {
        match self {
            // YARN wants it so, or is not to be talked with; or the next attempt is there.
            Self::Yarn(_) | Self::Conversation(_) | Self::JobManager(JobManagerError::Superseded) => false,
            error => attempts <= 1 || error.is_of_settings(),
        }
    }
}

/// What a process in a container begins with.
struct Container {
    environment: ContainerEnvironment,
    credentials: Credentials,
    application: Application,
    configuration: Configuration,
}

impl Container {
    /// Reads what YARN has laid out for this process, and leaves in the token file only what a user's program may have.
    fn open(log: &str) -> Result<Self, ContainerError> {
        let environment = ContainerEnvironment::of_process()?;
        let credentials = Credentials::from_env()?.ok_or(ContainerError::NoCredentials)?;
        let application = Application::of(&credentials)?;
        let mut configuration = application.configuration()?;
        configuration.set(config::LOG_DIR.key, &environment.log_dir.to_string_lossy())?;
        if !configuration.is_set(&config::TEMP_DIRS) {
            configuration.set(config::TEMP_DIRS.key, &environment.local_dirs)?;
        }
        let own = std::env::current_dir().map_err(ContainerError::Threads)?;
        environment::write_hadoop_configuration(&own, &application.hadoop)?;
        let mut tokens = for_programs(&credentials);
        tokens.merge(for_containers(&hadoop_configuration(&application), &credentials));
        tokens.write_file(&token_file()?)?;
        logging::start(&configuration, log)?;
        Ok(Self { environment, credentials, application, configuration })
    }

    /// Programs that YARN has brought, each called by its hash.
    fn programs(&self) -> Vec<PathBuf> {
        let names = self.application.resources.iter().map(|resource| PathBuf::from(&resource.name));
        names.filter(|name| is_hash(name)).collect()
    }
}

fn is_hash(path: &std::path::Path) -> bool {
    path.to_str().is_some_and(|name| name.parse::<flott_cluster::program_store::ContentHash>().is_ok())
}

fn token_file() -> Result<PathBuf, ContainerError> {
    std::env::var_os("HADOOP_TOKEN_FILE_LOCATION").map(PathBuf::from).ok_or(ContainerError::NoCredentials)
}

/// The part of an ApplicationMaster's credentials that TaskManagers and users' programs may have: tokens of file systems.
fn for_programs(credentials: &Credentials) -> Credentials {
    let mut kept = Credentials::default();
    for (alias, token) in credentials.tokens() {
        if token.kind != MASTER_TOKEN {
            kept.insert(alias, token.clone());
        }
    }
    kept
}

/// Runs an ApplicationMaster until its application is over, or `terminated`.
///
/// # Errors
/// [`ContainerError`]; YARN begins another attempt then, if it may.
pub fn run_application_master(
    terminated: impl Future<Output = ()> + Send + 'static,
) -> Result<FinalStatus, ContainerError> {
    let mut container = Container::open("jobmanager.log")?;
    let host = container.environment.host.clone();
    container.configuration.set(config::JOB_MANAGER_ADDRESS.key, &host)?;
    bind_to(&mut container.configuration, &config::JOB_MANAGER_BIND_HOST, &host)?;
    // YARN's proxy comes from another host, to this one wherever it is, and many masters may share it.
    bind_to(&mut container.configuration, &config::REST_BIND_ADDRESS, &host)?;
    container.configuration.set(config::REST_ADDRESS.key, &host)?;
    if !container.configuration.is_set(&config::REST_PORT) {
        container.configuration.set(config::REST_PORT.key, "0")?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(ContainerError::Threads)?;
    let status = runtime.block_on(attempt(container, terminated));
    runtime.shutdown_timeout(Duration::from_secs(1));
    status
}

/// Has a process in a container listen on its node's address, unless its user names another one: `localhost` is for a cluster on one machine.
fn bind_to(
    configuration: &mut Configuration,
    option: &ConfigOption<String>,
    host: &str,
) -> Result<(), ConfigError> {
    if configuration.get(option) == "localhost" {
        configuration.set(option.key, host)?;
    }
    Ok(())
}

/// One attempt of the application. If it fails and no other one could do better, YARN and all who ask it hear why.
async fn attempt(
    container: Container,
    terminated: impl Future<Output = ()>,
) -> Result<FinalStatus, ContainerError> {
    let hadoop = hadoop_configuration(&container.application);
    let client = ApplicationMasterClient::new(&hadoop, user_of(&container))?;
    let served = serve(&container, &client, terminated).await;
    if let Err(error) = &served {
        tracing::error!(%error, "the ApplicationMaster cannot go on");
        if error.ends_application(attempts(&container.configuration)) {
            fail(&container, &client, error).await;
        }
    }
    served
}

/// Tells YARN that the application has failed, and why.
async fn fail(container: &Container, client: &ApplicationMasterClient, error: &ContainerError) {
    let registration = RegisterApplicationMasterRequest {
        host: Some(container.environment.host.clone()),
        // It serves nobody.
        rpc_port: Some(-1),
        tracking_url: Some(String::new()),
    };
    let status = final_status(Some(error.to_string()), false);
    let told = unregister(client, &registration, status, LAST_WORD);
    // By what is staged the next commands find what high availability keeps, if it could.
    let may_keep = is_highly_available(&container.configuration) && !error.is_of_settings();
    match tokio::time::timeout(LAST_WORD, told).await {
        Ok(Ok(())) if may_keep => {}
        Ok(Ok(())) => remove_staging(container).await,
        Ok(Err(error)) => tracing::warn!(%error, "YARN does not hear why the application has failed"),
        Err(_) => tracing::warn!("YARN does not hear in time why the application has failed"),
    }
}

/// Removes what was staged for the application. Who waits for a report reads it first.
async fn remove_staging(container: &Container) {
    if let Some(staging) = container.application.staging.as_ref().filter(|_| !container.application.report) {
        crate::staging::remove(staging).await;
    }
}

async fn serve(
    container: &Container,
    client: &ApplicationMasterClient,
    terminated: impl Future<Output = ()>,
) -> Result<FinalStatus, ContainerError> {
    let client_tokens = client_tokens_of(container).map(Arc::new);
    let lifetime = Lifetime::begin(container).await?;
    fetch_missing(container).await?;
    let driver = Arc::new(YarnDriver::default());
    let (stop, stopped) = mpsc::channel(QUEUED_STOPS);
    let (hear, heard) = watch::channel(Instant::now());
    let (events, resource_events) = mpsc::channel(QUEUED_EVENTS);
    let mut job_manager = JoinSet::new();
    let (end, ended) = oneshot::channel::<()>();
    let Listening { rpc, web_address, .. } = start_job_manager(
        container,
        (&driver, resource_events),
        (stop, hear),
        ended,
        (lifetime.tokens.files.clone(), client_tokens.clone()),
        &mut job_manager,
    )
    .await?;
    let port = rpc.port();
    let address = format!("{}:{port}", container.environment.host);
    let (progress, seen) = watch::channel(0.0);
    let (finish, finished) = oneshot::channel();
    let mut conversation = JoinSet::new();
    let tokens = (lifetime.tokens.launch.clone(), client_tokens);
    let own = (client, port, web_address);
    converse(container, own, (driver, events), tokens, seen, finished, &mut conversation).await?;
    tracing::info!(address, container = container.environment.name, "the ApplicationMaster is registered");
    let work = Work {
        name: application_text(&container.environment.attempt().application_id.unwrap_or_default()),
        address,
        secret: container.application.secret()?,
        application: container.application.clone(),
        configuration: container.configuration.clone(),
        progress,
        heard,
    };
    let status = tokio::select! {
        status = work.run(stopped) => status?,
        ended = conversation.join_next() => return Err(ended_by(ended).err().unwrap_or_else(over)),
        ended = job_manager.join_next() => return Err(ended.map_or_else(over, why_ended)),
        // YARN ends the containers of an application that it kills, and begins another attempt otherwise.
        () = terminated => return Err(over()),
    };
    tracing::info!(?status, "the application is over");
    let _ = finish.send(status.clone());
    if let Err(error) = ended_by(conversation.join_next().await) {
        // Another attempt may go on from what is kept and staged; otherwise the next commands find it.
        tracing::warn!(%error, "the application could not be unregistered");
        return Ok(status);
    }
    if is_highly_available(&container.configuration) {
        drop(end);
        if !forget(container, &mut job_manager).await {
            // The next commands find by what is staged what is left.
            return Ok(status);
        }
    }
    remove_staging(container).await;
    Ok(status)
}

/// Removes what was kept for the next leader, once this one leads no more.
async fn forget(container: &Container, job_manager: &mut JoinSet<Result<(), JobManagerError>>) -> bool {
    let Ok(secret) = container.application.secret() else { return false };
    let forgotten = async {
        while job_manager.join_next().await.is_some() {}
        clean_up(&container.configuration, &secret).await
    };
    match tokio::time::timeout(FORGET, forgotten).await {
        Ok(Ok(true)) => true,
        Ok(Ok(false)) => {
            tracing::warn!("another JobManager contends, so that what was kept for it stays");
            true
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "what was kept for the next leader stays");
            false
        }
        Err(_) => {
            tracing::warn!("what was kept for the next leader was not removed in {} s", FORGET.as_secs());
            false
        }
    }
}

/// Starts the JobManager as a task of `tasks`, and says where it listens.
async fn start_job_manager(
    container: &Container,
    (driver, resource_events): (&Arc<YarnDriver>, mpsc::Receiver<ResourceEvent>),
    (stop, heard): (mpsc::Sender<StopRequest>, watch::Sender<Instant>),
    ended: oneshot::Receiver<()>,
    (tokens, client_tokens): (watch::Receiver<Vec<u8>>, Option<Arc<ClientTokens>>),
    tasks: &mut JoinSet<Result<(), JobManagerError>>,
) -> Result<Listening, ContainerError> {
    let setup = JobManagerSetup {
        configuration: container.configuration.clone(),
        secret: container.application.secret()?,
        ports: container.configuration.get(&config::YARN_MASTER_PORT),
        driver: Some(Arc::clone(driver) as Arc<_>),
        resource_events: Some(resource_events),
        programs: container.programs(),
        stop: Some(stop),
        heard: Some(heard),
        tokens: Some(tokens),
        client_tokens: client_tokens.map(|tokens| tokens as Arc<_>),
        attempt: attempt_of(container),
    };
    let (told, listening) = oneshot::channel();
    let tell = |listening| {
        let _ = told.send(listening);
    };
    tasks.spawn(run_job_manager(setup, tell, async move { drop(ended.await) }));
    match listening.await {
        Ok(listening) => Ok(listening),
        // It has said why.
        Err(_) => Err(tasks.join_next().await.map_or_else(over, why_ended)),
    }
}

/// Which attempt of the application this process is.
fn attempt_of(container: &Container) -> Option<ApplicationAttempt> {
    let attempt = container.environment.attempt();
    let application = application_text(&attempt.application_id.unwrap_or_default());
    let number = u32::try_from(attempt.attempt_id()).ok().filter(|number| *number > 0)?;
    Some(ApplicationAttempt { application, number })
}

/// Registers with YARN, and goes on talking with it as a task of `tasks`.
async fn converse(
    container: &Container,
    (client, port, web_address): (&ApplicationMasterClient, u16, String),
    (driver, events): (Arc<YarnDriver>, mpsc::Sender<ResourceEvent>),
    (newest, client_tokens): (watch::Receiver<Credentials>, Option<Arc<ClientTokens>>),
    progress: watch::Receiver<f32>,
    finished: oneshot::Receiver<FinalStatus>,
    tasks: &mut JoinSet<Result<(), ConversationError>>,
) -> Result<(), ContainerError> {
    let (host, configuration) = (container.environment.host.clone(), &container.configuration);
    let hadoop = hadoop_configuration(&container.application);
    let tokens = Arc::new(NodeTokens::default());
    let fewer = fewer_attempts(configuration, &hadoop).and_then(|most| u32::try_from(most).ok());
    let (conversation, queue) = Conversation::begin(Setup {
        client: client.clone(),
        patience: patience(&hadoop),
        lost_answer: LostAnswer::of(
            attempt_of(container).map_or(1, |attempt| attempt.number),
            fewer.unwrap_or_else(|| attempts(configuration)),
            failures_count_for(configuration),
            is_highly_available(configuration),
        ),
        nodes: Nodes::new(ApplicationClient::new(&hadoop, user_of(container)).ok()),
        registration: RegisterApplicationMasterRequest {
            host: Some(host.clone()),
            rpc_port: Some(i32::from(port)),
            tracking_url: Some(format!("http://{web_address}/")),
        },
        profile: ContainerProfile::of_task_manager(configuration),
        driver,
        tokens: Arc::clone(&tokens),
        client_tokens,
        progress,
        pool: PoolSettings::of(configuration),
        events,
        logs: LogPages {
            scheme: match hadoop.get("yarn.http.policy").as_deref() {
                Some("HTTPS_ONLY") => "https",
                _ => "http",
            },
            user: std::env::var("USER").unwrap_or_default(),
        },
        intervals: (
            configuration.get(&config::YARN_HEARTBEAT).0,
            configuration.get(&config::YARN_HEARTBEAT_WAITING),
        ),
    })
    .await?;
    let launching = Launching::new(container, &hadoop, &format!("{host}:{port}"), tokens, newest)?;
    tasks.spawn(async move {
        // What is still being launched when YARN is not talked with any more is of no use: nobody waits for a node that does not answer.
        let mut launches = JoinSet::new();
        launches.spawn(launching.run(queue));
        conversation.run(finished).await
    });
    Ok(())
}

/// Who calls YARN: the token says it, and on a cluster that asks for nobody's proof the name does.
fn user_of(container: &Container) -> User {
    let user = User::simple(std::env::var("USER").unwrap_or_default());
    user.add_credentials(&container.credentials);
    user
}

/// What knows the tokens of the session's clients, on a cluster that gives them some.
fn client_tokens_of(container: &Container) -> Option<ClientTokens> {
    let owner = container.application.owner.clone()?;
    let modify = container.configuration.get_optional(&config::YARN_MODIFY_ACLS).unwrap_or_default();
    match Rules::of(&hadoop_configuration(&container.application)) {
        Ok(rules) => Some(ClientTokens::new(rules, owner, modify)),
        Err(error) => {
            tracing::warn!(%error, "clients need the file with the secret: nobody can tell who they are");
            None
        }
    }
}

fn over() -> ContainerError {
    ConversationError::ShutDown("this process was told to end".to_owned()).into()
}

fn panicked(error: JoinError) -> ContainerError {
    ContainerError::Threads(std::io::Error::other(error))
}

/// What the conversation with YARN has come to.
fn ended_by(
    conversation: Option<Result<Result<(), ConversationError>, JoinError>>,
) -> Result<(), ContainerError> {
    match conversation {
        Some(Ok(ended)) => Ok(ended?),
        Some(Err(error)) => Err(panicked(error)),
        None => Err(over()),
    }
}

/// Why a JobManager is not there any more.
fn why_ended(ended: Result<Result<(), JobManagerError>, JoinError>) -> ContainerError {
    match ended {
        Ok(Ok(())) => over(),
        Ok(Err(error)) => error.into(),
        Err(error) => panicked(error),
    }
}

/// Hadoop's configuration, as the client had it.
pub(crate) fn hadoop_configuration(application: &Application) -> hadoop_rpc::configuration::Configuration {
    let mut hadoop = hadoop_rpc::configuration::Configuration::new();
    for (name, value) in &application.hadoop {
        hadoop.set(name, value);
    }
    hadoop
}

/// Runs a TaskManager in a container until `terminated`.
///
/// # Errors
/// [`ContainerError`].
pub fn run_container_task_manager(
    terminated: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ContainerError> {
    let mut container = Container::open("taskmanager.log")?;
    let ContainerEnvironment { host, name, .. } = container.environment.clone();
    container.configuration.set(config::TASK_MANAGER_HOST.key, &host)?;
    bind_to(&mut container.configuration, &config::TASK_MANAGER_BIND_HOST, &host)?;
    container.configuration.set(config::RESOURCE_ID.key, &name)?;
    let secret = container.application.secret()?;
    Ok(run_task_manager(container.configuration.clone(), secret, &container.programs(), terminated)?)
}

/// The status of an application whose jobs ended like this.
fn final_status(failure: Option<String>, canceled: bool) -> FinalStatus {
    match (failure, canceled) {
        (Some(diagnostics), _) => FinalStatus { status: FinalApplicationStatus::Failed, diagnostics },
        (None, true) => FinalStatus {
            status: FinalApplicationStatus::Killed,
            diagnostics: "the job was cancelled".to_owned(),
        },
        (None, false) => {
            FinalStatus { status: FinalApplicationStatus::Succeeded, diagnostics: String::new() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_listens_where_its_user_says_but_not_on_localhost() {
        let option = &config::TASK_MANAGER_BIND_HOST;
        for (set, bound) in [(None, "node7"), (Some("localhost"), "node7"), (Some("0.0.0.0"), "0.0.0.0")] {
            let mut configuration = Configuration::new();
            set.into_iter().for_each(|host| configuration.set(option.key, host).unwrap());
            bind_to(&mut configuration, option, "node7").unwrap();
            assert_eq!(configuration.get(option), bound);
        }
    }

    #[test]
    fn an_application_ends_by_what_no_other_attempt_can_mend() {
        let of_job_manager = |error| ContainerError::JobManager(JobManagerError::HighAvailability(error));
        let unreachable = || HighAvailabilityError::Unreachable {
            quorum: "zk:2181".to_owned(),
            reason: "timed out".to_owned(),
        };
        let taken = || ContainerError::JobManager(std::io::Error::other("port 8081 is taken").into());
        for (error, in_one, in_two) in [
            (taken(), true, false),
            (of_job_manager(unreachable()), true, false),
            (of_job_manager(HighAvailabilityError::NoStorageDir), true, true),
            (of_job_manager(HighAvailabilityError::NoQuorum), true, true),
            (ApplicationError::Missing.into(), true, true),
            // YARN knows better.
            (over(), false, false),
            (JobManagerError::Superseded.into(), false, false),
        ] {
            assert_eq!((error.ends_application(1), error.ends_application(2)), (in_one, in_two), "{error}");
        }
    }
}
