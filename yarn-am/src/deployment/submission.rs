//! Submits an application: checks that it can run, has its files on the cluster, hands it to YARN.

use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use flott_cluster::high_availability::is_highly_available;
use flott_cluster::task_manager::MemoryBudget;
use flott_core::config::{self, ConfigError, Configuration};
use flott_fs::FsPath;
use flott_runtime::net::handshake::Secret;
use hadoop_rpc::configuration::Configuration as HadoopConfiguration;
use hadoop_rpc::credentials::Credentials;
use hadoop_rpc::proto::yarn::{
    ApplicationAccessType, ApplicationAclMap, ApplicationId, ApplicationSubmissionContext,
    LogAggregationContext, Priority, YarnApplicationState,
};
use hadoop_rpc::{RemoteException, RpcError};
use tokio::time::Instant;

use super::checks::check_restart;
use super::paths::on_cluster;
use super::shipping::{Shipment, shipped};
use super::{DeployError, LOOKS, SILENCE, Yarn, YarnApplication, ended};
use crate::application::{Application, ApplicationProgram, Lifespan, Resource};
use crate::application_master::{ContainerProfile, RUNTIME, launch_context, login_by_keytab};
use crate::ids::application_text;
use crate::leftovers::{Known, Note, kept_by, leadership_of};
use crate::security::{
    SecurityError, file_systems, is_public, longest_life, obtain, of_file_systems, renewer, runtime_of,
};
use crate::staging::StagingError;

/// The priority of the request for the ApplicationMaster's container.
const MASTER_PRIORITY: i32 = 0;

/// How soon it is looked whether YARN has kept an application: that takes it milliseconds.
const KEPT_LOOK: Duration = Duration::from_millis(5);

/// How many ApplicationMasters YARN starts for one application at most, as this machine's configuration says: the first of these that is set.
const MOST_ATTEMPTS_KEYS: [&str; 2] =
    ["yarn.resourcemanager.am.global.max-attempts", "yarn.resourcemanager.am.max-attempts"];
const MOST_ATTEMPTS: u64 = 2;

/// How long a failure of an ApplicationMaster counts with high availability, unless the configuration says.
const FAILURES_COUNT: Duration = Duration::from_secs(10);

/// What may be fetched while an application runs: files that are not written any more. YARN deletes what it has fetched.
const ROLLED_LOGS: &str = r".*\.(log|out)\.[0-9]+";

/// A cluster that is wanted.
#[derive(Debug, Clone)]
pub struct DeployRequest {
    /// Flott's configuration of it.
    pub configuration: Configuration,
    /// Its name, where the configuration does not say.
    pub name: String,
    /// The program whose `main` runs in it.
    pub program: Option<ProgramToRun>,
    /// The binary, on this machine, of a program whose `main` runs here and whose jobs run in it.
    pub driven: Option<PathBuf>,
    /// When it ends by itself.
    pub lifespan: Lifespan,
    /// It is there for any program: a session.
    pub shared: bool,
    /// It leaves a summary of its jobs for [`Yarn::take_report`].
    pub report: bool,
}

/// A program whose `main` runs in the cluster.
#[derive(Debug, Clone)]
pub struct ProgramToRun {
    /// The binary, on this machine.
    pub path: PathBuf,
    /// Its arguments, its name first.
    pub arguments: Vec<String>,
    /// The checkpoint it goes on from.
    pub restore: Option<String>,
}

/// How an application gets new tokens.
#[derive(Default)]
struct Security {
    /// The keytab, if it is shipped.
    keytab: Option<Vec<u8>>,
    /// The principal in the keytab, if there is one.
    principal: Option<String>,
    /// Whether an ApplicationMaster fetches what is not public by itself, with the tokens that it gets by the keytab.
    fetches_itself: bool,
}

/// What an application is submitted with.
struct Parts {
    files: Files,
    tokens: Credentials,
    security: Security,
    staging: String,
}

/// What was brought to the cluster's file system.
struct Files {
    resources: Vec<Resource>,
    program: Option<ApplicationProgram>,
}

impl Yarn {
    /// Submits an application for a cluster. What was uploaded before is not uploaded again; what goes wrong leaves nothing behind. A
    /// ResourceManager that is away is waited for. From when `begun` is set YARN may know of the application: who drops this
    /// [kills](Self::kill) it then, and before that [stops its uploads](Self::stop_uploads).
    ///
    /// # Errors
    /// [`DeployError`] with what to change; [`DeployError::Unsure`] if the application may run all the same.
    pub async fn deploy(
        &self,
        request: &DeployRequest,
        begun: &OnceLock<ApplicationId>,
    ) -> Result<YarnApplication, DeployError> {
        let secret = Secret::random()
            .map_err(|source| DeployError::System { what: "no secret can be made", source })?;
        MemoryBudget::of(&request.configuration)?;
        let (provided, ()) = tokio::try_join!(self.provided(&request.configuration), self.claim_staging())?;
        alongside(self.hand_over(request, begun, secret, provided), self.sweep_applications()).await
    }

    /// Has what a [`deploy`](Self::deploy) that was given up is uploading come to an end, without a draft that stays; this one uploads no more.
    pub async fn stop_uploads(&self) {
        self.staging.stop_uploads().await;
    }

    /// Has an application's files on the cluster and hands it to YARN, with a staging folder that is the user's alone.
    async fn hand_over(
        &self,
        request: &DeployRequest,
        begun: &OnceLock<ApplicationId>,
        secret: Secret,
        provided: Option<Resource>,
    ) -> Result<YarnApplication, DeployError> {
        let security = self.secured(&request.configuration, provided.as_ref())?;
        let renewer = self.renewer()?;
        // Files do not depend on what YARN says, nor the other way round.
        let admitted = self.admitted(&request.configuration);
        let tokens = self.tokens(&request.configuration, renewer);
        let brought = Instant::now();
        let brings = self.bring(request, provided.clone());
        let (id, (mut files, tokens)) =
            match tokio::try_join!(admitted, async { tokio::try_join!(brings, tokens) }) {
                Ok(all) => all,
                Err(error) => {
                    self.stop_uploads().await;
                    return Err(error);
                }
            };
        if brought.elapsed() > self.staging.reserved() {
            // Another command may have taken them for unused while YARN was waited for.
            files = self.bring(request, provided.clone()).await?;
        }
        let _ = begun.set(id);
        let life = longest_life(&tokens).filter(|_| security.principal.is_none());
        let name = application_text(&id);
        let cluster = cluster_of(&request.configuration, &name)?;
        let note = Note {
            cluster: self.cluster_name(),
            uses: files.resources.iter().filter_map(|resource| self.cached(resource)).collect(),
            high_availability: kept_by(&cluster, &name),
            leadership: leadership_of(&cluster),
            one_program: !request.shared,
        };
        let left = blocking({
            let (staging, name, secret) = (self.staging.clone(), name.clone(), secret.clone());
            move || {
                staging.leave_note(&name, &note)?;
                staging.leave_secret(&name, &secret)
            }
        });
        let staging = self.staging.folder_of(&name).to_string();
        let parts = Parts { files, tokens, security, staging: staging.clone() };
        let left = left.await.map_err(DeployError::from);
        let context = match left.and_then(|_| self.context_of(request, id, &secret, parts)) {
            Ok(context) => context,
            Err(error) => {
                crate::staging::remove(&staging).await;
                return Err(error);
            }
        };
        // Before the note it might take what this one has just found for unused.
        if let Err(error) = alongside(self.submit(context, id), self.sweep_cache()).await {
            return Err(self.given_up(id, error).await);
        }
        let (shared, report) = (request.shared, request.report);
        Ok(YarnApplication { id, secret, configuration: cluster, shared, token_life: life, report })
    }

    /// Why there is no application, once YARN was asked to take it. What was staged for it goes where it certainly does not run.
    async fn given_up(&self, id: ApplicationId, error: DeployError) -> DeployError {
        let name = application_text(&id);
        let known = if is_answer(&error) { self.known(&id).await } else { Known::Lives };
        match known {
            // It may have run for a moment.
            Known::Over => self.tidy_up(&name).await,
            Known::Unknown => crate::staging::remove(&self.staging.folder_of(&name).to_string()).await,
            Known::Lives => return DeployError::Unsure { source: Box::new(error) },
        }
        error
    }

    /// The name of a file in the cache, if it is one of those.
    fn cached(&self, resource: &Resource) -> Option<String> {
        let path: FsPath = resource.url.parse().ok()?;
        (self.staging.cache().join(path.name()) == path).then(|| path.name().to_owned())
    }

    /// The runtime that is there already, and whether everybody may read it.
    async fn provided(&self, configuration: &Configuration) -> Result<Option<Resource>, DeployError> {
        let Some(listed) = configuration.get_optional(&config::YARN_PROVIDED_DIRS) else { return Ok(None) };
        let named = listed.split(';').map(str::trim).filter(|folder| !folder.is_empty());
        let folders: Result<Vec<FsPath>, _> =
            named.map(|folder| on_cluster(&self.hadoop, &self.home, folder)).collect();
        let folders = folders?;
        let Some(mut runtime) = blocking(move || runtime_of(&folders)).await? else {
            let key = config::YARN_PROVIDED_DIRS.key;
            return Err(DeployError::Unusable(format!(
                "no folder of {key} holds a file {RUNTIME}: {listed}"
            )));
        };
        runtime.public = is_public(&self.hadoop, &self.login.user, &runtime.url.parse()?).await?;
        Ok(Some(runtime))
    }

    /// How the application gets new tokens, if it outlives those it begins with.
    fn secured(
        &self,
        configuration: &Configuration,
        provided: Option<&Resource>,
    ) -> Result<Security, DeployError> {
        let Some(path) = &self.login.keytab else { return Ok(Security::default()) };
        let keytab = if configuration.get(&config::YARN_SHIP_KEYTAB) {
            let unreadable = |source| SecurityError::Keytab { path: path.clone(), source };
            Some(std::fs::read(path).map_err(unreadable)?)
        } else if configuration.get_optional(&config::YARN_LOCALIZED_KEYTAB).is_some() {
            None
        } else {
            let (ship, there) = (config::YARN_SHIP_KEYTAB.key, config::YARN_LOCALIZED_KEYTAB.key);
            return Err(DeployError::Unusable(format!(
                "{ship} is false, so {there} must say where the keytab is on the nodes"
            )));
        };
        let by_yarn = self.hadoop.get_bool("yarn.resourcemanager.proxy-user-privileges.enabled", false);
        let restarts = attempts(configuration) > 1 && !by_yarn;
        if restarts {
            let archives = configuration.get_optional(&config::YARN_SHIP_ARCHIVES);
            check_restart(provided.is_some_and(|runtime| runtime.public), archives.is_some())?;
        }
        Ok(Security {
            keytab,
            principal: configuration.get_optional(&config::KERBEROS_PRINCIPAL),
            fetches_itself: restarts,
        })
    }

    /// Who may renew the application's tokens; none: it gets no new ones from here.
    fn renewer(&self) -> Result<Option<String>, DeployError> {
        let may_ask = self.login.secure && self.login.identity.ticket_life.is_some();
        Ok(may_ask.then(|| renewer(&self.hadoop)).transpose()?)
    }

    /// The tokens that the application begins with.
    async fn tokens(
        &self,
        configuration: &Configuration,
        renewer: Option<String>,
    ) -> Result<Credentials, DeployError> {
        if !self.login.secure {
            return Ok(Credentials::default());
        }
        let Some(renewer) = renewer else {
            // Who has nothing but tokens hands on those.
            let own = Credentials::from_env().map_err(SecurityError::Credentials)?.unwrap_or_default();
            return Ok(of_file_systems(&own));
        };
        let user = self.login.user.without_tokens();
        Ok(obtain(&self.hadoop, &file_systems(configuration)?, &user, &renewer).await?)
    }

    /// Brings the runtime, the program and what is to be shipped to the cluster's file system.
    async fn bring(&self, request: &DeployRequest, provided: Option<Resource>) -> Result<Files, DeployError> {
        let staging = self.staging.clone();
        let (program, driven) = (request.program.clone(), request.driven.clone());
        let ship = shipped(&request.configuration);
        Ok(blocking(move || {
            let mut shipment = Shipment::default();
            for (path, archive) in ship {
                shipment.add(path.parse()?, archive)?;
            }
            let runtime = match provided {
                Some(runtime) => runtime,
                None => {
                    let own = std::env::current_exe()
                        .map_err(|source| StagingError::Local { path: PathBuf::from("flott"), source })?;
                    staging.provide(&own, Some(RUNTIME))?.0
                }
            };
            let mut resources = vec![runtime];
            resources.extend(shipment.bring(&staging)?);
            if let Some(driven) = driven {
                resources.push(staging.provide(&driven, None)?.0);
            }
            let program = match program {
                None => None,
                Some(ProgramToRun { path, arguments, restore }) => {
                    let (resource, hash) = staging.provide(&path, None)?;
                    resources.push(resource);
                    Some(ApplicationProgram { content_hash: hash.to_string(), arguments, restore })
                }
            };
            Ok(Files { resources, program })
        })
        .await?)
    }

    /// What YARN is told of an application.
    fn context_of(
        &self,
        request: &DeployRequest,
        id: ApplicationId,
        secret: &Secret,
        Parts { files, tokens, security, staging }: Parts,
    ) -> Result<ApplicationSubmissionContext, DeployError> {
        let configuration = &cluster_of(&request.configuration, &application_text(&id))?;
        let mut entries = configuration.entries().clone();
        // They are those of this machine.
        for key in [config::KERBEROS_KEYTAB.key, config::KERBEROS_PRINCIPAL.key] {
            entries.remove(key);
        }
        let has_keytab = security.principal.is_some();
        let application = Application {
            configuration: entries,
            hadoop: self.hadoop.entries().into_iter().collect(),
            secret: secret.as_bytes().to_vec(),
            resources: files.resources.clone(),
            program: files.program,
            lifespan: request.lifespan.into(),
            staging: Some(staging),
            report: request.report,
            keytab: security.keytab,
            principal: security.principal,
            owner: self.login.identity.principal.clone(),
        };
        let mut credentials = tokens;
        application.put_into(&mut credentials)?;
        let localized = |resource: &&Resource| resource.public || !security.fetches_itself;
        let resources: Vec<Resource> = files.resources.iter().filter(localized).cloned().collect();
        let master = ContainerProfile::of_application_master(configuration);
        let mut launch =
            launch_context(&master, &resources, credentials.write(), "application-master", "jobmanager");
        launch.application_acls = acls(configuration);
        if has_keytab {
            launch.environment.extend(login_by_keytab(configuration));
        }
        if let Some(most) = fewer_attempts(configuration, &self.hadoop) {
            (self.notice)(&format!(
                "warning: {} is {}, but YARN starts {most} ApplicationMasters at most ({} on this machine)",
                config::YARN_ATTEMPTS.key,
                attempts(configuration),
                MOST_ATTEMPTS_KEYS.join(" or "),
            ));
        }
        let tags = configuration.get_optional(&config::YARN_TAGS).unwrap_or_default();
        Ok(ApplicationSubmissionContext {
            application_id: Some(id),
            application_name: Some(
                configuration.get_optional(&config::YARN_NAME).unwrap_or_else(|| request.name.clone()),
            ),
            queue: configuration.get_optional(&config::YARN_QUEUE),
            priority: configuration
                .get_optional(&config::YARN_PRIORITY)
                .filter(|priority| *priority >= 0)
                .map(|priority| Priority { priority: Some(priority) }),
            am_container_spec: Some(launch),
            max_app_attempts: Some(i32::try_from(attempts(configuration)).unwrap_or(i32::MAX)),
            attempt_failures_validity_interval: Some(validity_interval(configuration)),
            // The next attempt is found by TaskManagers only where somebody tells them of it.
            keep_containers_across_application_attempts: Some(is_highly_available(configuration)),
            resource: Some(master.resource()),
            am_container_resource_request: vec![master.request(1, MASTER_PRIORITY)],
            node_label_expression: configuration.get_optional(&config::YARN_NODE_LABEL),
            application_type: Some(configuration.get(&config::YARN_TYPE)),
            application_tags: tags
                .split(',')
                .map(|tag| tag.trim().to_owned())
                .filter(|tag| !tag.is_empty())
                .collect(),
            log_aggregation_context: Some(LogAggregationContext {
                rolled_logs_include_pattern: Some(ROLLED_LOGS.to_owned()),
                rolled_logs_exclude_pattern: Some(String::new()),
                ..LogAggregationContext::default()
            }),
            ..ApplicationSubmissionContext::default()
        })
    }

    /// Hands an application to YARN, until that has kept it.
    async fn submit(
        &self,
        context: ApplicationSubmissionContext,
        id: ApplicationId,
    ) -> Result<(), DeployError> {
        loop {
            self.answered(self.patient.submit_application(context.clone())).await?;
            if self.is_kept(id).await? {
                return Ok(());
            }
        }
    }

    /// Waits until YARN has kept an application that it was given. False: it had no time to, and another ResourceManager knows nothing of it.
    async fn is_kept(&self, id: ApplicationId) -> Result<bool, DeployError> {
        let (begun, mut pause, mut told) = (Instant::now(), KEPT_LOOK, false);
        loop {
            match self.report_in_time(id).await {
                Ok(report) => match report.yarn_application_state() {
                    YarnApplicationState::New | YarnApplicationState::NewSaving => {}
                    YarnApplicationState::Failed | YarnApplicationState::Killed => {
                        return Err(ended(&report));
                    }
                    _ => return Ok(true),
                },
                Err(DeployError::Yarn(error))
                    if error.exception() == Some(RemoteException::ApplicationNotFound) =>
                {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
            if begun.elapsed() > self.patience {
                return Err(DeployError::NotKept { application: application_text(&id) });
            }
            if begun.elapsed() > SILENCE && !std::mem::replace(&mut told, true) {
                (self.notice)(&format!(
                    "YARN's ResourceManager has not yet kept application {} in its state store; it is waited for, {}",
                    application_text(&id),
                    self.how_long(),
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOKS.1);
        }
    }
}

/// Does some work, and beside it as much of another as comes until then.
async fn alongside<T>(work: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    let other = async {
        other.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        done = work => done,
        never = other => match never {},
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StagingError> + Send + 'static,
) -> Result<T, StagingError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StagingError::Given(error.to_string()))?
}

/// How many ApplicationMasters there may be one after the other. Without high availability the next one knows nothing of the jobs.
pub(crate) fn attempts(configuration: &Configuration) -> u32 {
    let unless_set = if is_highly_available(configuration) { 2 } else { 1 };
    configuration.get_optional(&config::YARN_ATTEMPTS).unwrap_or(unless_set)
}

/// For how long the failure of an ApplicationMaster counts; none: always. One that leads again soon after each failure may go on for ever with high
/// availability; without it the jobs begin anew each time, and somebody has to hear of it.
pub(crate) fn failures_count_for(configuration: &Configuration) -> Option<Duration> {
    let unless_set = is_highly_available(configuration).then_some(FAILURES_COUNT);
    let interval = configuration.get_optional(&config::YARN_ATTEMPTS_INTERVAL).unwrap_or(unless_set);
    interval.filter(|interval| !interval.is_zero())
}

/// That time as YARN wants it: in milliseconds, and -1 for always.
fn validity_interval(configuration: &Configuration) -> i64 {
    let interval = failures_count_for(configuration);
    interval.map_or(-1, |interval| i64::try_from(interval.as_millis()).unwrap_or(i64::MAX))
}

/// How many of them YARN starts at most, if that is less than what is asked for: YARN lowers it without a word.
pub(crate) fn fewer_attempts(configuration: &Configuration, hadoop: &HadoopConfiguration) -> Option<u64> {
    let wanted = u64::from(configuration.get_optional(&config::YARN_ATTEMPTS)?);
    let set = MOST_ATTEMPTS_KEYS.into_iter().find(|key| hadoop.get(key).is_some());
    let most = set.map_or(MOST_ATTEMPTS, |key| hadoop.get_u64(key, MOST_ATTEMPTS));
    (wanted > most).then_some(most)
}

/// The configuration of an application's cluster: where high availability keeps it under nobody else's id, it is the application's.
pub(super) fn cluster_of(
    configuration: &Configuration,
    application: &str,
) -> Result<Configuration, ConfigError> {
    let mut configuration = configuration.clone();
    if is_highly_available(&configuration) && !configuration.is_set(&config::HA_CLUSTER_ID) {
        configuration.set(config::HA_CLUSTER_ID.key, application)?;
    }
    Ok(configuration)
}

/// Whether YARN has answered by what a submission failed: it has decided then, and can be asked what has become of the application.
fn is_answer(error: &DeployError) -> bool {
    matches!(error, DeployError::Yarn(RpcError::Remote { .. }) | DeployError::Ended { .. })
}

fn acls(configuration: &Configuration) -> Vec<ApplicationAclMap> {
    let acl = |kind: ApplicationAccessType, who: Option<String>| {
        who.map(|acl| ApplicationAclMap { access_type: Some(kind.into()), acl: Some(acl) })
    };
    let view = acl(ApplicationAccessType::ViewApp, configuration.get_optional(&config::YARN_VIEW_ACLS));
    let modify = acl(ApplicationAccessType::ModifyApp, configuration.get_optional(&config::YARN_MODIFY_ACLS));
    view.into_iter().chain(modify).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_submission_waits_for_no_cleaning() {
        assert_eq!(alongside(tokio::task::yield_now(), std::future::pending()).await, ());
        // It has time for what is quick.
        let (swept, seen) = tokio::sync::oneshot::channel();
        let sweep = async { swept.send(5).unwrap() };
        assert_eq!(alongside(seen, sweep).await, Ok(5));
    }

    #[test]
    fn only_what_yarn_has_refused_is_not_there() {
        let remote = || RpcError::Remote {
            server: "rm:8032".to_owned(),
            call: "submitApplication".to_owned(),
            class: "org.apache.hadoop.yarn.exceptions.YarnException".to_owned(),
            message: "no such queue".to_owned(),
        };
        let lost = || RpcError::Lost { server: "rm:8032".to_owned(), reason: "reset".to_owned(), sent: true };
        let garbage = RpcError::Protocol { server: "rm:8032".to_owned(), reason: "no frame".to_owned() };
        let given_up = RpcError::GivenUp {
            call: "submitApplication".to_owned(),
            attempts: 2,
            after: Duration::from_secs(1),
            last: Box::new(remote()),
        };
        let application = "application_1_0001".to_owned();
        let ended = DeployError::Ended {
            application: application.clone(),
            state: "FAILED",
            diagnostics: String::new(),
        };
        assert!(is_answer(&DeployError::Yarn(remote())) && is_answer(&ended));
        // What came before the last attempt may have been taken.
        for error in [lost(), garbage, given_up] {
            assert!(!is_answer(&DeployError::Yarn(error)));
        }
        assert!(!is_answer(&DeployError::Away { source: lost() }));
        assert!(!is_answer(&DeployError::NotKept { application }));
    }

    #[test]
    fn without_high_availability_every_failure_counts() {
        let millis = |ha: &str, interval: Option<&str>| {
            let mut configuration = Configuration::new();
            configuration.set(config::HA_TYPE.key, ha).unwrap();
            let set = |interval| configuration.set(config::YARN_ATTEMPTS_INTERVAL.key, interval).unwrap();
            interval.into_iter().for_each(set);
            validity_interval(&configuration)
        };
        assert_eq!((millis("NONE", None), millis("zookeeper", None)), (-1, 10_000));
        for ha in ["NONE", "zookeeper"] {
            assert_eq!((millis(ha, Some("-1")), millis(ha, Some("1 min"))), (-1, 60_000));
        }
    }

    #[test]
    fn more_attempts_than_yarn_makes_are_noticed() {
        let fewer = |wanted: Option<&str>, limits: &[(&str, &str)]| {
            let (mut configuration, mut hadoop) = (Configuration::new(), HadoopConfiguration::new());
            wanted
                .into_iter()
                .for_each(|wanted| configuration.set(config::YARN_ATTEMPTS.key, wanted).unwrap());
            limits.iter().for_each(|(key, most)| hadoop.set(key, most));
            fewer_attempts(&configuration, &hadoop)
        };
        let [of_all, default] = MOST_ATTEMPTS_KEYS;
        assert_eq!(fewer(None, &[(default, "1")]), None);
        assert_eq!((fewer(Some("2"), &[]), fewer(Some("3"), &[])), (None, Some(2)));
        assert_eq!(fewer(Some("5"), &[(default, "4")]), Some(4));
        assert_eq!(fewer(Some("5"), &[(default, "4"), (of_all, "10")]), None);
    }
}
