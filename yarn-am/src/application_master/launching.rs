//! Launches containers, several at a time, and says which could not be.

use std::sync::Arc;
use std::time::Duration;

use flott_core::config;
use hadoop_rpc::configuration::Configuration as HadoopConfiguration;
use hadoop_rpc::credentials::Credentials;
use hadoop_rpc::proto::yarn::ContainerLaunchContext;
use hadoop_rpc::{ContainerManager, RetryPolicy};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::container_profile::ContainerProfile;
use super::conversation::{Launch, LaunchQueue, NotLaunched};
use super::launcher::{NodeTokens, launch_context};
use super::{Container, ContainerError, for_programs};
use crate::application::Application;
use crate::ids::node_text;

/// Containers that are being launched at the same time.
const AT_A_TIME: usize = 32;

/// How long a launch may take. A NodeManager is restarted within that time; one that is gone must not hold for long what a job waits for.
const LAUNCH_DEADLINE: Duration = Duration::from_secs(15);

/// What launches containers.
pub(crate) struct Launching {
    hadoop: HadoopConfiguration,
    /// What every container is launched with, but for the newest tokens.
    context: ContainerLaunchContext,
    credentials: Credentials,
    newest: watch::Receiver<Credentials>,
    tokens: Arc<NodeTokens>,
}

impl Launching {
    /// For TaskManagers of the JobManager at `address`. `newest` has the tokens of file systems.
    pub(crate) fn new(
        container: &Container,
        hadoop: &HadoopConfiguration,
        address: &str,
        tokens: Arc<NodeTokens>,
        newest: watch::Receiver<Credentials>,
    ) -> Result<Self, ContainerError> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let mut configuration = container.application.configuration()?;
        configuration.set(config::JOB_MANAGER_ADDRESS.key, host)?;
        configuration.set(config::JOB_MANAGER_PORT.key, port)?;
        // It has no key of Kerberos; the cluster's secret is enough to look for the leader.
        configuration.set(config::ZOOKEEPER_SASL_DISABLE.key, "true")?;
        let task_manager = Application {
            configuration: configuration.entries().clone(),
            hadoop: container.application.hadoop.clone(),
            secret: container.application.secret.clone(),
            resources: container.application.resources.clone(),
            // A TaskManager runs no main, ends when it is told to, and gets its tokens from here.
            ..Application::default()
        };
        let mut credentials = for_programs(&container.credentials);
        task_manager.put_into(&mut credentials)?;
        let resources = &container.application.resources;
        let profile = ContainerProfile::of_task_manager(&configuration);
        Ok(Self {
            hadoop: hadoop.clone(),
            context: launch_context(&profile, resources, Vec::new(), "yarn-taskmanager", "taskmanager"),
            credentials,
            newest,
            tokens,
        })
    }

    /// Launches what comes until nothing does any more. What is being launched then, or when this is dropped, is given up.
    pub(crate) async fn run(self, (mut queue, failed): LaunchQueue) {
        let launching = Arc::new(self);
        let permits = Arc::new(Semaphore::new(AT_A_TIME));
        let mut running = JoinSet::new();
        while let Some(launch) = queue.recv().await {
            while running.try_join_next().is_some() {}
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let (launching, failed) = (Arc::clone(&launching), failed.clone());
            running.spawn(async move {
                launching.launch(launch, &failed).await;
                drop(permit);
            });
        }
    }

    async fn launch(&self, launch: Launch, failed: &mpsc::Sender<NotLaunched>) {
        if let Err(reason) = self.start(&launch).await {
            // The conversation is over when nobody hears it.
            let _ = failed.send((launch.name, reason)).await;
        }
    }

    async fn start(&self, launch: &Launch) -> Result<(), String> {
        let node = launch.container.node_id.clone().unwrap_or_default();
        let name = node_text(&node);
        let token = self.tokens.get(&name).ok_or_else(|| format!("YARN gave no token for {name}"))?;
        let manager =
            ContainerManager::new(&self.hadoop, &node, token.into()).map_err(|error| error.to_string())?;
        let manager = ContainerManager::over(manager.rpc().with_policy(RetryPolicy::within(LAUNCH_DEADLINE)));
        let container_token = launch.container.container_token.clone().unwrap_or_default();
        let mut credentials = self.credentials.clone();
        credentials.merge(self.newest.borrow().clone());
        let context = ContainerLaunchContext { tokens: Some(credentials.write()), ..self.context.clone() };
        match manager.start_container(container_token, context).await {
            Ok(started) => started.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}
