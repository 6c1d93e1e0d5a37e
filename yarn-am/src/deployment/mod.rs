//! Clusters on YARN, from the client's side: started, found, followed, ended.

mod admission;
pub mod checks;
mod cleaning;
mod paths;
mod shipping;
mod submission;
mod whereabouts;

use paths::{home_of, on_cluster};
use submission::cluster_of;
pub use submission::{DeployRequest, ProgramToRun};
pub(crate) use submission::{attempts, failures_count_for, fewer_attempts};
use whereabouts::ApplicationWhereabouts;

use std::future::Future;
use std::time::{Duration, SystemTime};

use flott_cluster::client::{Cluster, ClusterError};
use flott_cluster::high_availability::{HighAvailabilityError, is_highly_available};
use flott_cluster::rpc::connect::secret_of;
use flott_cluster::task_manager::MemoryBudgetError;
use flott_core::config::{self, ConfigError, Configuration};
use flott_fs::{FsError, FsPath};
use flott_runtime::net::handshake::Secret;
use hadoop_rpc::configuration::{Configuration as HadoopConfiguration, ConfigurationError};
use hadoop_rpc::credentials::Token;
use hadoop_rpc::proto::yarn::{
    ApplicationId, ApplicationReport, FinalApplicationStatus, YarnApplicationState,
};
use hadoop_rpc::{ApplicationClient, RemoteException, RetryPolicy, RpcError};
use tokio::time::Instant;

use crate::application::ApplicationError;
use crate::application_master::of_application_master;
use crate::ids::application_text;
use crate::leftovers::Known;
use crate::security::{ClientLogin, SecurityError, key_of_password, log_in};
use crate::staging::{Staging, StagingError};
use checks::CheckError;

/// The pauses between two looks at an application: they grow, since what has not happened soon happens late.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// How long killing an application may take.
const KILL_DEADLINE: Duration = Duration::from_secs(30);

/// How long an application that was being handed to YARN may take to be known there.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// After this time without an answer whoever waits is told what for.
const SILENCE: Duration = Duration::from_secs(4);

/// How long between two words on why an application does not run yet.
const BETWEEN_NEWS: Duration = Duration::from_secs(60);

/// For how long after a ResourceManager's start its NodeManagers may still be on their way to it.
const NODES_COME: Duration = Duration::from_secs(60);

/// For how long YARN may not answer, as Hadoop's own commands have it: a ResourceManager is restarted within that time.
const PATIENCE_KEY: &str = "yarn.resourcemanager.connect.max-wait.ms";
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What is longer than anybody waits: a century. Hadoop writes it -1.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// Hadoop's configuration.
    #[error(transparent)]
    Hadoop(#[from] ConfigurationError),
    /// YARN.
    #[error("YARN: {0}")]
    Yarn(#[from] RpcError),
    /// The ResourceManager is away for too long.
    #[error(
        "YARN's ResourceManager does not answer: {source}; it was waited for as long as {PATIENCE_KEY} says"
    )]
    Away {
        /// Why not.
        source: RpcError,
    },
    /// The ResourceManager does not keep it.
    #[error(
        "YARN has not kept application {application} in its state store for as long as {PATIENCE_KEY} says, so that it was given up"
    )]
    NotKept {
        /// Its id.
        application: String,
    },
    /// YARN may have taken it all the same: who is told this [kills](Yarn::kill) it. What is staged for it stays.
    #[error("{source}")]
    Unsure {
        /// What went wrong.
        source: Box<DeployError>,
    },
    /// It would not run.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Its memory.
    #[error(transparent)]
    Memory(#[from] MemoryBudgetError),
    /// Its files.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// Flott's configuration.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// What high availability keeps.
    #[error(transparent)]
    HighAvailability(#[from] HighAvailabilityError),
    /// Its description.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// Its login or its tokens.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// A path.
    #[error(transparent)]
    Path(#[from] FsError),
    /// The system gives no secret, or does not say where this command's own binary is.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// It has ended instead of running.
    #[error("application {application} is {state}: {diagnostics}")]
    Ended {
        /// Its id.
        application: String,
        /// YARN's word for it.
        state: &'static str,
        /// What YARN says.
        diagnostics: String,
    },
    /// Its JobManager.
    #[error("the JobManager of application {application} cannot be reached: {source}")]
    JobManager {
        /// Its id.
        application: String,
        /// Why not.
        source: ClusterError,
    },
    /// Not a thing of this configuration.
    #[error("{0}")]
    Unusable(String),
}

/// YARN, for clients.
pub struct Yarn {
    configuration: Configuration,
    hadoop: HadoopConfiguration,
    client: ApplicationClient,
    /// The same calls, for which a ResourceManager is waited for that is away.
    patient: ApplicationClient,
    patience: Duration,
    notice: fn(&str),
    home: FsPath,
    /// The folder for all users' files that somebody has set; none: they are in the home folder.
    common: Option<FsPath>,
    staging: Staging,
    login: ClientLogin,
}

/// An application, and what clients of its cluster need.
#[derive(Debug, Clone)]
pub struct YarnApplication {
    /// Its id.
    pub id: ApplicationId,
    /// What connections to its JobManager prove.
    pub secret: Secret,
    /// The client's configuration, with the cluster's word on how whoever leads it is found.
    pub configuration: Configuration,
    /// Whether it is there for any program: a session.
    pub shared: bool,
    /// How long it can use HDFS at most, where it cannot get new tokens.
    pub token_life: Option<Duration>,
    /// It leaves a summary of its jobs for [`Yarn::take_report`].
    pub report: bool,
}

/// How an application ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationEnd {
    /// YARN's word for it.
    pub status: FinalApplicationStatus,
    /// What it said.
    pub diagnostics: String,
}

fn is_over(report: &ApplicationReport) -> bool {
    use YarnApplicationState::{Failed, Finished, Killed};
    matches!(report.yarn_application_state(), Failed | Finished | Killed)
}

/// What an application waits for that does not run yet, in YARN's words; none: it does, or did. YARN writes when it noticed something before that.
fn waits_for(report: &ApplicationReport) -> Option<String> {
    use YarnApplicationState::{Accepted, New, NewSaving, Submitted};
    let state = match report.yarn_application_state() {
        New => "NEW",
        NewSaving => "NEW_SAVING",
        Submitted => "SUBMITTED",
        Accepted => "ACCEPTED",
        _ => return None,
    };
    let diagnostics = report.diagnostics().trim();
    let noticed = diagnostics.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let why = noticed.map_or(diagnostics, |(_, why)| why.trim());
    Some(if why.is_empty() { state.to_owned() } else { format!("{state}: {why}") })
}

/// An application that was killed, and is gone.
#[derive(Debug)]
pub struct Killed {
    name: String,
    known: Known,
}

/// That an application is over which should not be.
fn ended(report: &ApplicationReport) -> DeployError {
    let state = match report.yarn_application_state() {
        YarnApplicationState::Failed => "FAILED",
        YarnApplicationState::Killed => "KILLED",
        _ => "FINISHED",
    };
    DeployError::Ended {
        application: application_text(&report.application_id.unwrap_or_default()),
        state,
        diagnostics: of_application_master(report.diagnostics().trim()),
    }
}

/// For how long a ResourceManager is waited for that does not answer.
pub(crate) fn patience(hadoop: &HadoopConfiguration) -> Duration {
    if hadoop.get(PATIENCE_KEY).is_some_and(|millis| millis.trim() == "-1") {
        return FOR_EVER;
    }
    let millis = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(hadoop.get_u64(PATIENCE_KEY, millis)).clamp(LOOKS.1, FOR_EVER)
}

/// Whether the ResourceManager that gave an id has just started: the id tells when.
fn is_young(id: &ApplicationId) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let started = Duration::from_millis(u64::try_from(id.cluster_timestamp()).unwrap_or_default());
    now.saturating_sub(started) < NODES_COME
}

/// Whether a failure says only that nobody has answered.
fn is_silence(error: &RpcError) -> bool {
    match error {
        RpcError::GivenUp { last, .. } => is_silence(last),
        RpcError::Connect { .. } | RpcError::Lost { .. } | RpcError::Timeout { .. } => true,
        _ => false,
    }
}

/// Whether a failure says nothing of what was asked: a ResourceManager that is about to serve may say anything.
fn may_pass(error: &RpcError) -> bool {
    error.exception().is_none()
}

impl Yarn {
    /// The YARN that `HADOOP_CONF_DIR` names, and `flink.hadoop.` keys change. Blocks while Kerberos is asked who this is.
    ///
    /// # Errors
    /// [`DeployError`] that says what to set.
    pub fn of_environment(configuration: &Configuration) -> Result<Self, DeployError> {
        let mut hadoop = HadoopConfiguration::from_env()?;
        for (name, value) in configuration.hadoop_properties() {
            hadoop.set(name, value);
        }
        flott_fs::set_hadoop_properties(configuration.hadoop_properties());
        let login = log_in(configuration, &hadoop)?;
        let user = &login.identity.short_name;
        let home = home_of(&hadoop, user)?;
        let common = configuration.get_optional(&config::YARN_STAGING_DIR);
        let common = common.map(|folder| on_cluster(&hadoop, &home, &folder)).transpose()?;
        let own = common.as_ref().map_or_else(|| home.clone(), |folder| folder.join(user));
        let staging = Staging::below(&own, configuration.get(&config::YARN_CACHE_RETENTION));
        let client = ApplicationClient::new(&hadoop, login.user.clone())?;
        let patience = patience(&hadoop);
        let patient = client.rpc().with_policy(RetryPolicy::within(patience));
        Ok(Self {
            configuration: configuration.clone(),
            hadoop,
            client,
            patient: ApplicationClient::over(patient),
            patience,
            notice: |notice| tracing::warn!("{notice}"),
            home,
            common,
            staging,
            login,
        })
    }

    /// Who is told, in words for users, what is waited for.
    #[must_use]
    pub fn with_notice(self, notice: fn(&str)) -> Self {
        Self { notice, ..self }
    }

    /// An answer of the ResourceManager, which may be away; whoever waits is told.
    async fn answered<T>(&self, answer: impl Future<Output = Result<T, RpcError>>) -> Result<T, DeployError> {
        tokio::pin!(answer);
        let answer = tokio::select! {
            answer = &mut answer => answer,
            () = tokio::time::sleep(SILENCE) => {
                (self.notice)(&format!(
                    "YARN's ResourceManager ({}) does not answer; it is waited for, {}",
                    self.client.rpc().servers().addresses.join(", "),
                    self.how_long(),
                ));
                answer.await
            }
        };
        answer.map_err(|error| match error {
            source if is_silence(&source) => DeployError::Away { source },
            error => DeployError::Yarn(error),
        })
    }

    /// For how long a ResourceManager is waited for, in words.
    fn how_long(&self) -> String {
        match self.patience {
            FOR_EVER => "for ever".to_owned(),
            patience => format!("up to {}", config::ConfigValue::write(&patience)),
        }
    }

    /// Calls to the ResourceManager.
    pub fn client(&self) -> &ApplicationClient {
        &self.client
    }

    /// What YARN says of an application.
    ///
    /// # Errors
    /// [`DeployError::Yarn`].
    pub async fn report(&self, id: &ApplicationId) -> Result<ApplicationReport, DeployError> {
        Ok(self.client.get_application_report(*id).await?)
    }

    /// Waits until an application runs, and connects to its JobManager.
    ///
    /// # Errors
    /// [`DeployError::Ended`] if it ends instead.
    pub async fn connect(&self, application: &YarnApplication) -> Result<Cluster, DeployError> {
        let report = self.wait_until(&application.id, |report| {
            report.yarn_application_state() == YarnApplicationState::Running && report.rpc_port() > 0
        });
        let report = report.await?;
        let name = application_text(&application.id);
        let cluster = if is_highly_available(&application.configuration) {
            Cluster::of_leader(&application.configuration, &application.secret).await
        } else {
            let address = format!("{}:{}", report.host(), report.rpc_port());
            let patience = self.configuration.get(&config::ABSENCE_TIMEOUT);
            let connected = Cluster::connect(&address, &application.secret).await;
            connected.map(|cluster| cluster.with_patience(patience))
        };
        let elected = is_highly_available(&application.configuration);
        let cluster = cluster.map(|cluster| {
            cluster.with_whereabouts(|leader| ApplicationWhereabouts {
                client: self.client.clone(),
                id: application.id,
                leader: Some(leader).filter(|_| elected),
            })
        });
        cluster.map_err(|source| DeployError::JobManager { application: name, source })
    }

    /// What YARN says of an application, asked again for as long as it is waited for if what it says is no answer.
    async fn report_in_time(&self, id: ApplicationId) -> Result<ApplicationReport, DeployError> {
        let (begun, mut told) = (Instant::now(), false);
        loop {
            match self.answered(self.patient.get_application_report(id)).await {
                Err(DeployError::Yarn(error)) if may_pass(&error) && begun.elapsed() < self.patience => {
                    tracing::debug!(%error, "YARN does not answer; it is asked again");
                    if begun.elapsed() > SILENCE && !std::mem::replace(&mut told, true) {
                        let (name, how_long) = (application_text(&id), self.how_long());
                        (self.notice)(&format!(
                            "YARN does not tell of application {name} ({error}); it is asked again, {how_long}"
                        ));
                    }
                    tokio::time::sleep(LOOKS.1).await;
                }
                answered => return answered,
            }
        }
    }

    async fn wait_until(
        &self,
        id: &ApplicationId,
        arrived: impl Fn(&ApplicationReport) -> bool,
    ) -> Result<ApplicationReport, DeployError> {
        let (begun, mut told, mut pause): (_, Option<(String, Instant)>, _) = (Instant::now(), None, LOOKS.0);
        loop {
            let report = self.report_in_time(*id).await?;
            if arrived(&report) {
                return Ok(report);
            }
            if is_over(&report) {
                self.tidy(&report).await;
                return Err(ended(&report));
            }
            let waits = waits_for(&report).filter(|_| begun.elapsed() > SILENCE);
            // YARN's words hold figures that change all the time in a busy queue.
            let is_news = |waits: &String| {
                told.as_ref().is_none_or(|(last, when)| last != waits && when.elapsed() > BETWEEN_NEWS)
            };
            if let Some(waits) = waits.filter(is_news) {
                (self.notice)(&format!(
                    "application {} does not run yet; it is {waits}",
                    application_text(id)
                ));
                told = Some((waits, Instant::now()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOKS.1);
        }
    }

    /// Waits for the end of an application, also while YARN is restarted, and removes what it has left but for its summary.
    ///
    /// # Errors
    /// [`DeployError::Away`] if YARN does not answer for long.
    pub async fn wait_for_end(&self, application: &YarnApplication) -> Result<ApplicationEnd, DeployError> {
        let report = self.wait_until(&application.id, is_over).await?;
        if !application.report {
            self.tidy(&report).await;
        }
        let status = match report.yarn_application_state() {
            YarnApplicationState::Failed => FinalApplicationStatus::Failed,
            YarnApplicationState::Killed => FinalApplicationStatus::Killed,
            _ => report.final_application_status(),
        };
        Ok(ApplicationEnd { status, diagnostics: of_application_master(report.diagnostics().trim()) })
    }

    /// Kills an application, and waits until it is gone, also while YARN is restarted. One that YARN does not know, and has not heard of by now,
    /// is gone. What it has left is for [`forget`](Self::forget).
    ///
    /// # Errors
    /// [`DeployError`] if that does not happen in 30 s.
    pub async fn kill(&self, id: &ApplicationId, reason: &str) -> Result<Killed, DeployError> {
        let begun = Instant::now();
        let mut last = None;
        let killed = async {
            loop {
                match self.client.force_kill_application(*id, reason).await {
                    Ok(true) => return Ok(Known::Over),
                    Ok(false) => last = None,
                    Err(error) if may_pass(&error) => last = Some(error),
                    Err(error) if error.exception() == Some(RemoteException::ApplicationNotFound) => {
                        if begun.elapsed() > ON_ITS_WAY {
                            return Ok(Known::Unknown);
                        }
                    }
                    Err(error) => return Err(DeployError::Yarn(error)),
                }
                tokio::time::sleep(LOOKS.0).await;
            }
        };
        match tokio::time::timeout(KILL_DEADLINE, killed).await {
            Ok(known) => Ok(Killed { name: application_text(id), known: known? }),
            Err(_) => {
                let late =
                    || DeployError::Unusable(format!("it does not end in {} s", KILL_DEADLINE.as_secs()));
                Err(last.map_or_else(late, DeployError::Yarn))
            }
        }
    }

    /// Removes what an application has left that was killed. What goes wrong is left for later commands.
    pub async fn forget(&self, Killed { name, known }: Killed) {
        if known == Known::Over && is_highly_available(&self.configuration) {
            // What high availability keeps is found by what is staged, which stays if the ApplicationMaster does not go in time.
            // It had no time to leave ZooKeeper, which waits for it first.
            let session = self.configuration.get(&config::HA_ZOOKEEPER_SESSION_TIMEOUT);
            self.tidy_up_after_leader(&name, session).await;
        } else {
            crate::staging::remove(&self.staging.folder_of(&name).to_string()).await;
        }
    }

    /// What tells this YARN from others: where its ResourceManagers are, and the name that their group has.
    pub(crate) fn cluster_name(&self) -> String {
        let mut name = self.client.rpc().servers().addresses.clone();
        name.sort_unstable();
        name.extend(self.hadoop.get("yarn.resourcemanager.cluster-id"));
        name.join(",")
    }

    /// An application that was submitted by another command, by its id.
    ///
    /// # Errors
    /// [`DeployError`] if there is none, it is over, or it is another user's, who has not let this one change it.
    pub async fn application(&self, id: ApplicationId) -> Result<YarnApplication, DeployError> {
        self.check_staging().await?;
        let (staging, name) = (self.staging.clone(), application_text(&id));
        let read = tokio::task::spawn_blocking({
            let name = name.clone();
            move || Ok::<_, StagingError>((staging.secret_of(&name)?, staging.note_of(&name)?))
        });
        let (secret, note) = match read.await.map_err(|error| StagingError::Given(error.to_string()))? {
            Ok(read) => read,
            Err(error) => (self.secret_without_file(&id, error).await?, None),
        };
        let configuration = match &note {
            Some(note) => note.overlaid(&self.configuration),
            None => cluster_of(&self.configuration, &name)?,
        };
        let shared = note.is_none_or(|note| !note.one_program);
        Ok(YarnApplication { id, secret, configuration, shared, token_life: None, report: false })
    }

    /// The secret of an application whose file cannot be read: it may tell it to whom YARN has given a token.
    async fn secret_without_file(
        &self,
        id: &ApplicationId,
        unread: StagingError,
    ) -> Result<Secret, DeployError> {
        let report = self.report(id).await?;
        if is_over(&report) {
            return Err(ended(&report));
        }
        let token = report.client_to_am_token.clone().filter(|_| self.login.secure && report.rpc_port() > 0);
        let Some(token) = token.map(Token::from) else { return Err(unread.into()) };
        let address = format!("{}:{}", report.host(), report.rpc_port());
        let asked = secret_of(&address, &token.identifier, &key_of_password(&token.password)).await;
        asked.map_err(|error| {
            tracing::debug!(%error, "the application does not tell its secret");
            unread.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_manager_is_waited_for_as_hadoop_says() {
        let said = |millis: Option<&str>| {
            let mut hadoop = HadoopConfiguration::new();
            millis.into_iter().for_each(|millis| hadoop.set(PATIENCE_KEY, millis));
            patience(&hadoop)
        };
        assert_eq!((said(None), said(Some("30000"))), (PATIENCE, Duration::from_secs(30)));
        assert_eq!((said(Some("-1")), said(Some("0"))), (FOR_EVER, LOOKS.1));
    }

    #[test]
    fn what_an_application_waits_for_is_said_without_its_time() {
        use YarnApplicationState::{Accepted, Finished, NewSaving, Running};
        let said = |state: YarnApplicationState, diagnostics: &str| {
            let (state, diagnostics) = (Some(state.into()), Some(diagnostics.to_owned()));
            waits_for(&ApplicationReport {
                yarn_application_state: state,
                diagnostics,
                ..ApplicationReport::default()
            })
        };
        let full = "Application is added to the scheduler and is not yet activated. Queue's AM resource limit exceeded. Details : x [y]";
        for time in ["", "[Sun Nov 29 02:23:03 +0000 2026] "] {
            assert_eq!(said(Accepted, &format!("{time}{full}\n")), Some(format!("ACCEPTED: {full}")));
        }
        assert_eq!(said(NewSaving, ""), Some("NEW_SAVING".to_owned()));
        assert_eq!((said(Running, full), said(Finished, full)), (None, None));
    }

    #[test]
    fn what_a_resource_manager_says_before_it_serves_is_no_answer() {
        let said = |class: &str| {
            may_pass(&RpcError::Remote {
                server: "rm:8032".to_owned(),
                call: "getApplicationReport".to_owned(),
                class: class.to_owned(),
                message: String::new(),
            })
        };
        assert!(said("java.lang.NullPointerException") && said("java.io.IOException"));
        assert!(!said("org.apache.hadoop.yarn.exceptions.ApplicationNotFoundException"));
        assert!(!said("org.apache.hadoop.security.AccessControlException"));
    }
}
