//! Options of commands that go to YARN, and the configuration keys that they are short for.

use clap::Args;
use flott_core::config::{self, Configuration};

use crate::CommandError;
use crate::arguments::Settings;

/// Options of `run`, `list` and the others, with Flink's names.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "On YARN")]
pub(crate) struct YarnOptions {
    /// The session's application [also -yid]
    #[arg(long = "yarnapplicationId", value_name = "ID")]
    pub(crate) application_id: Option<String>,
    /// The size of the JobManager's container, in MiB without a unit [also -yjm]
    #[arg(long = "yarnjobManagerMemory", value_name = "SIZE")]
    job_manager_memory: Option<String>,
    /// The size of a TaskManager's container, in MiB without a unit [also -ytm]
    #[arg(long = "yarntaskManagerMemory", value_name = "SIZE")]
    task_manager_memory: Option<String>,
    /// Slots of a TaskManager [also -ys]
    #[arg(long = "yarnslots", value_name = "N")]
    slots: Option<u32>,
    /// The queue [also -yqu]
    #[arg(long = "yarnqueue", value_name = "QUEUE")]
    queue: Option<String>,
    /// The application's name [also -ynm]
    #[arg(long = "yarnname", value_name = "NAME")]
    name: Option<String>,
    /// The application's type [also -yat]
    #[arg(long = "yarnapplicationType", value_name = "TYPE")]
    application_type: Option<String>,
    /// The label of the nodes to run on [also -ynl]
    #[arg(long = "yarnnodeLabel", value_name = "LABEL")]
    node_label: Option<String>,
    /// A file or folder that every container gets [also -yt]
    #[arg(long = "yarnship", value_name = "PATH")]
    ship: Vec<String>,
    /// The id under which high availability keeps the cluster [also -yz]
    #[arg(id = "yarn_cluster_id", long = "yarnzookeeperNamespace", value_name = "ID")]
    cluster_id: Option<String>,
    /// Do not wait for the job [also -yd]
    #[arg(id = "yarn_detached", long = "yarndetached", hide = true)]
    pub(crate) detached: bool,
    /// Set a configuration key [also -yD]
    #[arg(long = "yarnproperty", value_name = "KEY=VALUE", hide = true)]
    pub(crate) properties: Vec<String>,
    /// Means nothing here: the runtime is one binary
    #[arg(long = "yarnjar", value_name = "PATH", hide = true)]
    jar: Option<String>,
    /// Means nothing here: TaskManagers are started as they are needed
    #[arg(long = "yarncontainer", value_name = "N", hide = true)]
    containers: Option<u32>,
    /// Means nothing here: flott yarn-session -q shows what YARN has
    #[arg(long = "yarnquery", hide = true)]
    query: bool,
    /// Show help
    #[arg(id = "yarn_help", long = "yarnhelp", action = clap::ArgAction::Help, hide = true)]
    help: Option<bool>,
}

/// A number without a unit is MiB here, not bytes.
fn in_mebibytes(size: &str) -> String {
    if size.trim().bytes().all(|byte| byte.is_ascii_digit()) { format!("{size}m") } else { size.to_owned() }
}

/// Says that an option means nothing here.
pub(crate) fn warn_of(option: &str, why: &str) {
    eprintln!("flott: warning: {option} means nothing here: {why}");
}

impl YarnOptions {
    /// Sets the keys that the options are short for.
    pub(crate) fn configure(&self, configuration: &mut Configuration) -> Result<(), CommandError> {
        let memory = |size: &Option<String>| size.as_deref().map(in_mebibytes);
        let ship = (!self.ship.is_empty()).then(|| self.ship.join(";"));
        let settings = [
            (config::YARN_APPLICATION_ID.key, self.application_id.clone()),
            (config::JOB_MANAGER_MEMORY.key, memory(&self.job_manager_memory)),
            (config::TASK_MANAGER_MEMORY.key, memory(&self.task_manager_memory)),
            (config::TASK_SLOTS.key, self.slots.map(|slots| slots.to_string())),
            (config::YARN_QUEUE.key, self.queue.clone()),
            (config::YARN_NAME.key, self.name.clone()),
            (config::YARN_TYPE.key, self.application_type.clone()),
            (config::YARN_NODE_LABEL.key, self.node_label.clone()),
            (config::YARN_SHIP_FILES.key, ship),
            (config::HA_CLUSTER_ID.key, self.cluster_id.clone()),
        ];
        for (key, value) in settings {
            if let Some(value) = value {
                configuration.set(key, &value)?;
            }
        }
        for assignment in &self.properties {
            configuration.set_override(assignment)?;
        }
        if self.jar.is_some() {
            warn_of("-yj", "the runtime is the flott command itself");
        }
        if self.query {
            warn_of("-yq", "flott yarn-session -q shows what YARN has");
        }
        if self.containers.is_some() {
            warn_of("-yn", "TaskManagers are started as jobs need them");
        }
        Ok(())
    }
}

/// Options of `yarn-session`.
#[derive(Debug, Clone, Args)]
pub(crate) struct YarnSessionOptions {
    /// The size of the JobManager's container, in MiB without a unit [also -jm]
    #[arg(long = "jobManagerMemory", value_name = "SIZE")]
    job_manager_memory: Option<String>,
    /// The size of a TaskManager's container, in MiB without a unit [also -tm]
    #[arg(long = "taskManagerMemory", value_name = "SIZE")]
    task_manager_memory: Option<String>,
    /// Slots of a TaskManager
    #[arg(short = 's', long = "slots", value_name = "N")]
    slots: Option<u32>,
    /// The queue [also -qu]
    #[arg(long = "queue", value_name = "QUEUE")]
    queue: Option<String>,
    /// The application's name [also -nm]
    #[arg(long = "name", value_name = "NAME")]
    name: Option<String>,
    /// The application's type [also -at]
    #[arg(long = "applicationType", value_name = "TYPE")]
    application_type: Option<String>,
    /// The label of the nodes to run on [also -nl]
    #[arg(long = "nodeLabel", value_name = "LABEL")]
    node_label: Option<String>,
    /// A file or folder that every container gets
    #[arg(short = 't', long = "ship", value_name = "PATH")]
    ship: Vec<String>,
    /// Means nothing here: the runtime is one binary
    #[arg(short = 'j', long = "jar", value_name = "PATH", hide = true)]
    jar: Option<String>,
    /// Show what YARN has, and end
    #[arg(short = 'q', long = "query")]
    pub(crate) query: bool,
    /// Attach to this session instead of starting one; "stop" on standard input ends it [also -id]
    #[arg(long = "applicationId", value_name = "ID")]
    pub(crate) application_id: Option<String>,
    /// The id under which high availability keeps the cluster
    #[arg(short = 'z', long = "zookeeperNamespace", value_name = "ID")]
    cluster_id: Option<String>,
    /// Start it and end; it lives on
    #[arg(short = 'd', long)]
    pub(crate) detached: bool,
    /// End the session when this command is interrupted [also -sae]
    #[arg(long = "shutdownOnAttachedExit")]
    shutdown_on_attached_exit: bool,
    #[command(flatten)]
    settings: Settings,
}

impl YarnSessionOptions {
    /// The configuration that they say.
    pub(crate) fn configuration(&self) -> Result<Configuration, CommandError> {
        let mut configuration = self.settings.configuration()?;
        let same = YarnOptions {
            application_id: self.application_id.clone(),
            job_manager_memory: self.job_manager_memory.clone(),
            task_manager_memory: self.task_manager_memory.clone(),
            slots: self.slots,
            queue: self.queue.clone(),
            name: self.name.clone(),
            application_type: self.application_type.clone(),
            node_label: self.node_label.clone(),
            ship: self.ship.clone(),
            cluster_id: self.cluster_id.clone(),
            jar: self.jar.clone(),
            ..YarnOptions::default()
        };
        same.configure(&mut configuration)?;
        if self.shutdown_on_attached_exit {
            configuration.set(config::SHUTDOWN_ON_ATTACHED_EXIT.key, "true")?;
        }
        Ok(configuration)
    }
}
