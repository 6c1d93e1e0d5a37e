//! The table of options: one entry makes the parser, the documentation and the default.
//!
//! An entry is `/// description`, `NAME: type within (bounds) = "key", default;`. Bounds and default may be left out.

use std::path::PathBuf;
use std::time::Duration;

use super::choices::{
    CheckpointMode, CheckpointRetention, DeploymentTarget, FailoverStrategy, HighAvailabilityKind,
    ReadAccess, RestartStrategyKind, RuntimeMode, StateBackendKind, ZooKeeperAcl,
};
use super::option::{ConfigOption, NoDefault, OptionRow, Section, WithDefault, kind_within, read_within};
use super::value::{ConfigValue, Seconds};
use super::{MemorySize, PortRange};

macro_rules! options {
    ($($title:literal: {$(
        $(#[doc = $doc:literal])+
        $name:ident: $type:ty $([$bounds:expr])? = $key:literal $(, $default:expr)?;
    )+})+) => {
        $($(
            $(#[doc = $doc])+
            pub const $name: ConfigOption<$type, options!(@marker $type $(, $default)?)> = ConfigOption {
                key: $key,
                read: |text| options!(@read $type, text $(, $bounds)?),
                default: options!(@default $($default)?),
            };
        )+)+

        /// Every option, by section.
        pub const SECTIONS: &[Section] = &[$(Section {
            title: $title,
            rows: &[$(OptionRow {
                key: $key,
                description: concat!($($doc),+),
                kind: || options!(@kind $type $(, $bounds)?),
                default: || options!(@text $type $(, $default)?),
                check: |text| options!(@read $type, text $(, $bounds)?).map(drop),
            }),+],
        }),+];
    };
    (@marker $type:ty, $default:expr) => { WithDefault<$type> };
    (@marker $type:ty) => { NoDefault };
    (@default $default:expr) => { || $default };
    (@default) => { NoDefault };
    (@read $type:ty, $text:ident, $bounds:expr) => { read_within::<$type>($text, &$bounds) };
    (@read $type:ty, $text:ident) => { <$type as ConfigValue>::read($text) };
    (@kind $type:ty, $bounds:expr) => { kind_within::<$type>(&$bounds) };
    (@kind $type:ty) => { <$type as ConfigValue>::KIND.to_owned() };
    (@text $type:ty, $default:expr) => {{
        let default: $type = $default;
        Some(ConfigValue::write(&default))
    }};
    (@text $type:ty) => { None };
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

const fn mib(count: u64) -> MemorySize {
    MemorySize::of_bytes(count << 20)
}

options! {
"Programs": {
    /// How many subtasks an operator has when neither it, nor the program, nor the command says.
    PARALLELISM: u32 [1..=32_768] = "parallelism.default", 1;
    /// How many key groups a keyed operator has; unset: by its parallelism.
    MAX_PARALLELISM: u32 = "pipeline.max-parallelism";
    /// Whether operators that can be chained are.
    OPERATOR_CHAINING: bool = "pipeline.operator-chaining.enabled", true;
    /// How often sources and timestamp assigners emit watermarks.
    AUTO_WATERMARK_INTERVAL: Duration [MILLISECOND..] = "pipeline.auto-watermark-interval", 200 * MILLISECOND;
    /// STREAMING: pipelined exchanges, checkpoints. BATCH: blocking exchanges, stage by stage, final results only.
    RUNTIME_MODE: RuntimeMode = "execution.runtime-mode", RuntimeMode::Streaming;
    /// How long a record waits at most for its batch to fill; 0: not at all.
    BUFFER_TIMEOUT: Duration = "execution.buffer-timeout.interval", 10 * MILLISECOND;
}
"Checkpoints": {
    /// How often a checkpoint begins; unset: never.
    CHECKPOINT_INTERVAL: Duration [10 * MILLISECOND..] = "execution.checkpointing.interval";
    /// After this time a checkpoint that is not complete is given up.
    CHECKPOINT_TIMEOUT: Duration [10 * MILLISECOND..] = "execution.checkpointing.timeout", 10 * MINUTE;
    /// The least time between the end of a checkpoint and the beginning of the next.
    CHECKPOINT_MIN_PAUSE: Duration = "execution.checkpointing.min-pause", Duration::ZERO;
    /// EXACTLY_ONCE: channels wait for each other's barriers. AT_LEAST_ONCE: they do not.
    CHECKPOINT_MODE: CheckpointMode = "execution.checkpointing.mode", CheckpointMode::ExactlyOnce;
    /// The directory for checkpoints, one folder a job below it. Without it, and without high availability, checkpoints stay in memory, and fail where a subtask has more than 5 MiB of state.
    CHECKPOINT_DIR: String = "execution.checkpointing.dir";
    /// How many checkpoints may fail one after the other before the job does.
    TOLERABLE_FAILED_CHECKPOINTS: u32 = "execution.checkpointing.tolerable-failed-checkpoints", 0;
    /// What becomes of the checkpoints of a job that is cancelled.
    CHECKPOINT_RETENTION: CheckpointRetention =
        "execution.checkpointing.externalized-checkpoint-retention", CheckpointRetention::Delete;
    /// How many completed checkpoints are kept.
    RETAINED_CHECKPOINTS: u32 [1..] = "execution.checkpointing.num-retained", 1;
    /// Where keyed state lives. hashmap: on the heap.
    STATE_BACKEND: StateBackendKind = "state.backend.type", StateBackendKind::HashMap;
    /// State of a subtask up to this size is kept in the checkpoint's metadata instead of a file.
    CHECKPOINT_MEMORY_THRESHOLD: MemorySize [..=mib(1)] =
        "state.storage.fs.memory-threshold", MemorySize::of_bytes(20 << 10);
    /// Whether a job starts from a checkpoint that holds state of operators it no longer has.
    ALLOW_NON_RESTORED_STATE: bool = "execution.state-recovery.ignore-unclaimed-state", false;
}
"Failures": {
    /// What restarts when a task fails. region: the pipelined regions the failure touches. full: the whole job.
    FAILOVER_STRATEGY: FailoverStrategy = "jobmanager.execution.failover-strategy", FailoverStrategy::Region;
    /// What happens when a task fails; unset: exponential-delay with checkpoints, none without.
    RESTART_STRATEGY: RestartStrategyKind = "restart-strategy.type";
    /// How many times fixed-delay restarts.
    FIXED_DELAY_ATTEMPTS: u32 = "restart-strategy.fixed-delay.attempts", 1;
    /// How long fixed-delay waits.
    FIXED_DELAY: Duration = "restart-strategy.fixed-delay.delay", SECOND;
    /// How long exponential-delay waits at first.
    EXPONENTIAL_INITIAL: Duration [MILLISECOND..] = "restart-strategy.exponential-delay.initial-backoff", SECOND;
    /// How long exponential-delay waits at most.
    EXPONENTIAL_MAX: Duration [MILLISECOND..] = "restart-strategy.exponential-delay.max-backoff", MINUTE;
    /// By what the wait grows from one restart to the next.
    EXPONENTIAL_MULTIPLIER: f64 [1.0..] = "restart-strategy.exponential-delay.backoff-multiplier", 1.5;
    /// After so long without a failure exponential-delay begins anew.
    EXPONENTIAL_RESET: Duration [MILLISECOND..] =
        "restart-strategy.exponential-delay.reset-backoff-threshold", 60 * MINUTE;
    /// By which part of itself a wait is varied at random.
    EXPONENTIAL_JITTER: f64 [0.0..=1.0] = "restart-strategy.exponential-delay.jitter-factor", 0.1;
    /// How many times exponential-delay restarts; unset: without limit.
    EXPONENTIAL_ATTEMPTS: u32 = "restart-strategy.exponential-delay.attempts-before-reset-backoff";
    /// How many failures in the interval failure-rate bears.
    FAILURE_RATE_MAX: u32 = "restart-strategy.failure-rate.max-failures-per-interval", 1;
    /// The interval in which failure-rate counts.
    FAILURE_RATE_INTERVAL: Duration [MILLISECOND..] = "restart-strategy.failure-rate.failure-rate-interval", MINUTE;
    /// How long failure-rate waits.
    FAILURE_RATE_DELAY: Duration = "restart-strategy.failure-rate.delay", SECOND;
    /// The older way to ask for fixed-delay: how many times.
    EXECUTION_RETRIES: u32 = "execution-retries.default";
    /// The older way to ask for fixed-delay: how long.
    EXECUTION_RETRY_DELAY: Duration = "execution-retries.delay", SECOND;
    /// A task that has not ended so long after it was cancelled costs its worker.
    CANCELLATION_TIMEOUT: Duration [MILLISECOND..] = "task.cancellation.timeout", 3 * MINUTE;
}
"Clusters": {
    /// Where TaskManagers and clients find the JobManager.
    JOB_MANAGER_ADDRESS: String = "jobmanager.rpc.address", "localhost".to_owned();
    /// The port of the JobManager; 0: any that is free.
    JOB_MANAGER_PORT: u32 [..=65_535] = "jobmanager.rpc.port", 6123;
    /// The address the JobManager listens on.
    JOB_MANAGER_BIND_HOST: String = "jobmanager.bind-host", "localhost".to_owned();
    /// The file with the secret that every process of the cluster and every client must know; the JobManager writes one that only its user may read; unset: flott/secret in the user's configuration folder.
    SECRET_FILE: String = "security.secret.file";
    /// How often a TaskManager tells that it lives.
    HEARTBEAT_INTERVAL: Duration [10 * MILLISECOND..] = "heartbeat.interval", 10 * SECOND;
    /// After this time without a sign of life a TaskManager or worker is taken for lost.
    HEARTBEAT_TIMEOUT: Duration [100 * MILLISECOND..] = "heartbeat.timeout", 50 * SECOND;
    /// After this time without work a TaskManager that was started on demand is given back.
    TASK_MANAGER_TIMEOUT: Duration = "resourcemanager.taskmanager-timeout", 30 * SECOND;
    /// After this time a TaskManager that was started on demand and has not registered is given up, and another one is started.
    REGISTRATION_TIMEOUT: Duration [SECOND..] = "resourcemanager.taskmanager-registration.timeout", 5 * MINUTE;
    /// How long a new leader waits for TaskManagers of an earlier one before it gives them up and starts others.
    RECOVERY_TIMEOUT: Duration = "resourcemanager.previous-worker.recovery.timeout", 30 * SECOND;
    /// How many TaskManagers a minute may fail to start before the next ones wait for the retry interval.
    START_FAILURE_RATE: f64 [0.0..] = "resourcemanager.start-worker.max-failure-rate", 10.0;
    /// The longest pause between TaskManagers that fail to start; it grows to it, or is as long at once where too many fail.
    START_RETRY_INTERVAL: Duration [10 * MILLISECOND..] = "resourcemanager.start-worker.retry-interval", 3 * SECOND;
    /// How long a job waits for the slots it needs.
    SLOT_REQUEST_TIMEOUT: Duration [10 * MILLISECOND..] = "slot.request.timeout", 5 * MINUTE;
}
"Web": {
    /// The port of the REST API and the web page: one, or a range of which the first that is free is taken; 0, and unset on YARN: any that is free.
    REST_PORT: PortRange = "rest.bind-port", PortRange::one(8081);
    /// The address the REST API listens on; on YARN localhost stands for the node's.
    REST_BIND_ADDRESS: String = "rest.bind-address", "localhost".to_owned();
    /// Where browsers and tools find the REST API; unset: jobmanager.rpc.address. On YARN it is the node's.
    REST_ADDRESS: String = "rest.address";
    /// Who may read the REST API. token: who has the read token. open: everybody who reaches it. Changes always need the token for changes.
    REST_READ_ACCESS: ReadAccess = "rest.read-access", ReadAccess::Token;
    /// Whether GET jobs/ID/yarn-cancel cancels a job, without proof: for tools that know no other way.
    REST_YARN_CANCEL: bool = "rest.yarn-cancel.enabled", false;
    /// Whether programs can be uploaded and run over the web.
    WEB_SUBMIT: bool = "web.submit.enable", true;
    /// Whether jobs can be cancelled over the web.
    WEB_CANCEL: bool = "web.cancel.enable", true;
    /// The folder for programs that are uploaded over the web; unset: a temporary one.
    WEB_UPLOAD_DIR: PathBuf = "web.upload.dir";
    /// How often the web page renews what it shows.
    WEB_REFRESH: Duration [500 * MILLISECOND..] = "web.refresh-interval", 3 * SECOND;
    /// How many checkpoints of a job are remembered.
    CHECKPOINT_HISTORY: u32 [1..=1000] = "web.checkpoints.history", 10;
    /// How many failures of a job are remembered.
    EXCEPTION_HISTORY: u32 [1..=1000] = "web.exception-history-size", 16;
}
"High availability": {
    /// NONE: one JobManager, and what runs ends with it. zookeeper: several JobManagers, of which ZooKeeper elects one; tasks go on while it is replaced.
    HA_TYPE: HighAvailabilityKind = "high-availability.type", HighAvailabilityKind::None;
    /// Tells clusters that share a ZooKeeper and a storageDir from each other.
    HA_CLUSTER_ID: String = "high-availability.cluster-id", "default".to_owned();
    /// The directory for job graphs, results, programs and, where execution.checkpointing.dir is not set, checkpoints; all JobManagers must reach it.
    HA_STORAGE_DIR: String = "high-availability.storageDir";
    /// The servers of ZooKeeper: HOST:PORT, separated by commas, with a chroot at the end if there is one.
    HA_ZOOKEEPER_QUORUM: String = "high-availability.zookeeper.quorum";
    /// The node below which Flott keeps its own.
    HA_ZOOKEEPER_ROOT: String = "high-availability.zookeeper.path.root", "/flott".to_owned();
    /// After this time without a sign of life ZooKeeper takes a JobManager for dead. Long enough that a pause of ZooKeeper, such as its own election, disturbs nothing; as short as a job can wait for its next leader.
    HA_ZOOKEEPER_SESSION_TIMEOUT: Duration [SECOND..=10 * MINUTE] = "high-availability.zookeeper.client.session-timeout", 15 * SECOND;
    /// Who may use Flott's nodes. open: everybody. creator: who knows the cluster's secret, and with SASL the Kerberos user who made them.
    HA_ZOOKEEPER_ACL: ZooKeeperAcl = "high-availability.zookeeper.client.acl", ZooKeeperAcl::Open;
    /// Whether ZooKeeper is talked to without SASL; with it, JobManagers and commands need a Kerberos ticket or security.kerberos.login.keytab.
    ZOOKEEPER_SASL_DISABLE: bool = "zookeeper.sasl.disable", true;
    /// The first part of the servers' Kerberos principal.
    ZOOKEEPER_SASL_SERVICE: String = "zookeeper.sasl.service-name", "zookeeper".to_owned();
    /// How long tasks go on while there is no JobManager, and how long a JobManager or TaskManager that starts waits for ZooKeeper, if there is high availability; and how long commands look for a JobManager whose connection is lost, or wait for a job whose end cannot be written to high-availability.storageDir.
    ABSENCE_TIMEOUT: Duration [SECOND..] = "jobmanager.absence-timeout", 10 * MINUTE;
    /// How long a new leader waits for TaskManagers to tell which tasks they still run.
    ADOPTION_TIMEOUT: Duration [10 * MILLISECOND..] = "jobmanager.adoption-timeout", 10 * SECOND;
}
"Logs": {
    /// The folder for logs: of JobManager and TaskManagers, and of each job's workers; unset: standard error.
    LOG_DIR: PathBuf = "env.log.dir";
    /// What is logged: error, warn, info, debug or trace, also by part as in 'info,flott_cluster=debug'.
    LOG_LEVEL: String = "env.log.level", "info".to_owned();
    /// How large a log file becomes before the next is begun.
    LOG_MAX_SIZE: MemorySize [mib(1)..] = "env.log.max-size", mib(64);
    /// How many older files of a log are kept.
    LOG_MAX: u32 [..=100] = "env.log.max", 5;
}
"TaskManagers": {
    /// The host name or address under which others reach a TaskManager.
    TASK_MANAGER_HOST: String = "taskmanager.host", "localhost".to_owned();
    /// By which name the system that started a TaskManager knows it; set by that system.
    RESOURCE_ID: String = "taskmanager.resource-id";
    /// The address a TaskManager listens on.
    TASK_MANAGER_BIND_HOST: String = "taskmanager.bind-host", "localhost".to_owned();
    /// The port for data: one, or a range of which the first that is free is taken; 0: any that is free.
    DATA_PORT: PortRange = "taskmanager.data.port", PortRange::any();
    /// How many slots a TaskManager has. A slot runs one subtask of each vertex that shares it.
    TASK_SLOTS: u32 [1..=1024] = "taskmanager.numberOfTaskSlots", 1;
    /// The size of a TaskManager with all its workers; what the other memory options leave is for user code and state.
    TASK_MANAGER_MEMORY: MemorySize [mib(64)..] = "taskmanager.memory.process.size", mib(1728);
    /// Managed memory (sort, hash, caches) of a TaskManager; unset: the fraction.
    MANAGED_MEMORY: MemorySize = "taskmanager.memory.managed.size";
    /// Managed memory as a part of the TaskManager's memory.
    MANAGED_FRACTION: f64 [0.0..=1.0] = "taskmanager.memory.managed.fraction", 0.4;
    /// Folders for temporary files, with ':', ';', ',' or '|' between, of which each process takes one by chance; unset: the system's, and on YARN those of the container.
    TEMP_DIRS: Vec<PathBuf> = "io.tmp.dirs";
}
"Deployment": {
    /// Where programs run: local, remote (a JobManager that runs), yarn-session, yarn-per-job or yarn-application.
    EXECUTION_TARGET: DeploymentTarget = "execution.target";
    /// Whether a session ends when the command that started it and stayed with it is interrupted, and a cluster for one program whose main runs with the command, which does so always, also when that command is gone without a word.
    SHUTDOWN_ON_ATTACHED_EXIT: bool = "execution.shutdown-on-attached-exit", false;
    /// How often a command tells the cluster that was started for it that it is still there.
    CLIENT_HEARTBEAT_INTERVAL: Duration [10 * MILLISECOND..] = "client.heartbeat.interval", 30 * SECOND;
    /// After this time without a word from the command a cluster that was started for it ends, unless a job runs.
    CLIENT_HEARTBEAT_TIMEOUT: Duration [100 * MILLISECOND..] = "client.heartbeat.timeout", 3 * MINUTE;
    /// The size of the JobManager's container, which in application mode holds the program's main, too.
    JOB_MANAGER_MEMORY: MemorySize [mib(64)..] = "jobmanager.memory.process.size", mib(512);
    /// How much a job may collect to its client; never more than an eighth of what the JobManager's memory has for jobs, or 8 mb.
    MOST_COLLECTED: MemorySize [mib(1)..=mib(192)] = "jobmanager.collect.max-size", mib(192);
}
"YARN": {
    /// The queue; unset: the one that YARN takes.
    YARN_QUEUE: String = "yarn.application.queue";
    /// The application's name; unset: the program's, or 'Flott session'.
    YARN_NAME: String = "yarn.application.name";
    /// The application's type, by which tools find it.
    YARN_TYPE: String = "yarn.application.type", "Flott".to_owned();
    /// Tags of the application, with commas between.
    YARN_TAGS: String = "yarn.tags";
    /// The application's priority in its queue; unset or negative: the queue's default.
    YARN_PRIORITY: i32 = "yarn.application.priority";
    /// The node label of all containers.
    YARN_NODE_LABEL: String = "yarn.application.node-label";
    /// The node label of TaskManagers' containers; unset: that of all.
    YARN_TASK_MANAGER_NODE_LABEL: String = "yarn.taskmanager.node-label";
    /// The application whose session is meant.
    YARN_APPLICATION_ID: String = "yarn.application.id";
    /// How many ApplicationMasters may be started one after the other; unset: 1, with high availability 2.
    YARN_ATTEMPTS: u32 [1..] = "yarn.application-attempts";
    /// Failures of ApplicationMasters that are older than this do not count; -1: all do; unset: all do, with high availability those of the last 10 s.
    YARN_ATTEMPTS_INTERVAL: Option<Duration> = "yarn.application-attempt-failures-validity-interval";
    /// The virtual cores of a TaskManager's container; unset or -1: one a slot.
    YARN_VCORES: i32 [-1..] = "yarn.containers.vcores";
    /// The virtual cores of the ApplicationMaster's container.
    YARN_MASTER_VCORES: u32 [1..] = "yarn.appmaster.vcores", 1;
    /// The port of the JobManager in an ApplicationMaster: one, or a range of which the first that is free is taken; 0: any.
    YARN_MASTER_PORT: PortRange = "yarn.application-master.port", PortRange::any();
    /// The folder below which runtime, programs and sessions' secrets are kept, for every user in a folder of that name; without a scheme it is on fs.defaultFS; unset: the user's home folder.
    YARN_STAGING_DIR: String = "yarn.staging-directory";
    /// After this time without a use what is kept there by its hash is removed, unless an application that is not over uses it.
    YARN_CACHE_RETENTION: Duration [MINUTE..] = "yarn.staging-cache.retention", 30 * 24 * 60 * MINUTE;
    /// Folders that hold the runtime already, as flott, those without a scheme on fs.defaultFS; the first that has it is used, and nothing is uploaded.
    YARN_PROVIDED_DIRS: String = "yarn.provided.lib.dirs";
    /// Files and folders that every container gets, with ';' between; those on HDFS are taken from there.
    YARN_SHIP_FILES: String = "yarn.ship-files";
    /// Archives (.tar.gz, .tgz, .tar, .zip, .jar) that every container gets unpacked in a folder of that name, with ';' between; those on HDFS are taken from there.
    YARN_SHIP_ARCHIVES: String = "yarn.ship-archives";
    /// The folder of the file by which later commands find the session; unset: the temporary folder.
    YARN_PROPERTIES_DIR: PathBuf = "yarn.properties-file.location";
    /// How often the ApplicationMaster tells YARN that it lives.
    YARN_HEARTBEAT: Seconds [Seconds(10 * MILLISECOND)..=Seconds(5 * MINUTE)] = "yarn.heartbeat.interval", Seconds(SECOND);
    /// How often it does so while it waits for containers; where none has come for 10 s, less and less often, down to `yarn.heartbeat.interval`.
    YARN_HEARTBEAT_WAITING: Duration [10 * MILLISECOND..] = "yarn.heartbeat.container-request-interval", 100 * MILLISECOND;
    /// How long a host is avoided on which three TaskManagers in a row did not come up. Never more than a third of a cluster is.
    YARN_BLOCK_DURATION: Duration = "yarn.block-failing-node-duration", 10 * MINUTE;
    /// Who may see the application: users with commas between, a space, groups.
    YARN_VIEW_ACLS: String = "yarn.view.acls";
    /// Who may change it.
    YARN_MODIFY_ACLS: String = "yarn.modify.acls";
}
"Kerberos": {
    /// The keytab, for jobs that outlive tickets and tokens.
    KERBEROS_KEYTAB: PathBuf = "security.kerberos.login.keytab";
    /// The principal in the keytab.
    KERBEROS_PRINCIPAL: String = "security.kerberos.login.principal";
    /// Whether a ticket is used where there is no keytab.
    KERBEROS_TICKET_CACHE: bool = "security.kerberos.login.use-ticket-cache", true;
    /// File systems besides the default one whose tokens an application gets, with ';' between.
    KERBEROS_FILE_SYSTEMS: String = "security.kerberos.access.hadoopFileSystems";
    /// Whether the ApplicationMaster gets the keytab from here.
    YARN_SHIP_KEYTAB: bool = "yarn.security.kerberos.ship-local-keytab", true;
    /// Where the keytab is on every node, if it is not shipped.
    YARN_LOCALIZED_KEYTAB: PathBuf = "yarn.security.kerberos.localized-keytab-path";
}
}
