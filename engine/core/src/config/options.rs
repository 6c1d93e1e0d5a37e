//! The table of options: one entry makes the parser, the documentation and the default.

use std::time::Duration;

use super::value::{ConfigValue, MemorySize, PortRange};
use super::{ConfigOption, OptionRow};

macro_rules! options {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty = $key:literal $(, $default:literal)?;)*) => {
        $(
            $(#[doc = $doc])*
            pub const $name: ConfigOption<$type> =
                ConfigOption { key: $key, default: options!(@default $($default)?), read: <$type as ConfigValue>::read };
        )*

        /// Every option.
        pub const OPTIONS: &[OptionRow] = &[$(
            OptionRow {
                key: $key,
                kind: <$type as ConfigValue>::KIND,
                default: options!(@default $($default)?),
                description: concat!($($doc),*),
                check: |text| <$type as ConfigValue>::read(text).map(drop),
            }
        ),*];
    };
    (@default $default:literal) => { Some($default) };
    (@default) => { None };
}

options! {
    /// How many subtasks an operator has when neither it, nor the program, nor the command says.
    PARALLELISM: u32 = "parallelism.default", "1";
    /// How many key groups a keyed operator has; unset: by its parallelism.
    MAX_PARALLELISM: u32 = "pipeline.max-parallelism";
    /// Whether operators that can be chained are.
    OPERATOR_CHAINING: bool = "pipeline.operator-chaining.enabled", "true";
    /// How often sources and timestamp assigners emit watermarks.
    AUTO_WATERMARK_INTERVAL: Duration = "pipeline.auto-watermark-interval", "200 ms";
    /// STREAMING: pipelined exchanges, checkpoints. BATCH: blocking exchanges, stage by stage, final results only.
    RUNTIME_MODE: RuntimeMode = "execution.runtime-mode", "STREAMING";
    /// How long a record waits at most for its batch to fill; 0: not at all.
    BUFFER_TIMEOUT: Duration = "execution.buffer-timeout.interval", "10 ms";
    /// How often a checkpoint begins; unset: never.
    CHECKPOINT_INTERVAL: Duration = "execution.checkpointing.interval";
    /// After this time a checkpoint that is not complete is given up.
    CHECKPOINT_TIMEOUT: Duration = "execution.checkpointing.timeout", "10 min";
    /// The least time between the end of a checkpoint and the beginning of the next.
    CHECKPOINT_MIN_PAUSE: Duration = "execution.checkpointing.min-pause", "0 ms";
    /// EXACTLY_ONCE: channels wait for each other's barriers. AT_LEAST_ONCE: they do not.
    CHECKPOINT_MODE: CheckpointMode = "execution.checkpointing.mode", "EXACTLY_ONCE";
    /// The directory for checkpoints, one folder a job below it.
    CHECKPOINT_DIR: String = "execution.checkpointing.dir";
    /// How many checkpoints may fail one after the other before the job does.
    TOLERABLE_FAILED_CHECKPOINTS: u32 = "execution.checkpointing.tolerable-failed-checkpoints", "0";
    /// What becomes of the checkpoints of a job that is cancelled.
    CHECKPOINT_RETENTION: CheckpointRetention =
        "execution.checkpointing.externalized-checkpoint-retention", "DELETE_ON_CANCELLATION";
    /// How many completed checkpoints are kept.
    RETAINED_CHECKPOINTS: u32 = "execution.checkpointing.num-retained", "1";
    /// State of a subtask up to this size is kept in the checkpoint's metadata instead of a file.
    CHECKPOINT_MEMORY_THRESHOLD: MemorySize = "state.storage.fs.memory-threshold", "20 kb";
    /// Whether a job starts from a checkpoint that holds state of operators it no longer has.
    ALLOW_NON_RESTORED_STATE: bool = "execution.state-recovery.ignore-unclaimed-state", "false";
    /// What happens when a task fails; unset: exponential-delay with checkpoints, none without.
    RESTART_STRATEGY: RestartStrategyKind = "restart-strategy.type";
    /// How many times fixed-delay restarts.
    FIXED_DELAY_ATTEMPTS: u32 = "restart-strategy.fixed-delay.attempts", "1";
    /// How long fixed-delay waits.
    FIXED_DELAY: Duration = "restart-strategy.fixed-delay.delay", "1 s";
    /// How long exponential-delay waits at first.
    EXPONENTIAL_INITIAL: Duration = "restart-strategy.exponential-delay.initial-backoff", "1 s";
    /// How long exponential-delay waits at most.
    EXPONENTIAL_MAX: Duration = "restart-strategy.exponential-delay.max-backoff", "1 min";
    /// By what the wait grows from one restart to the next.
    EXPONENTIAL_MULTIPLIER: f64 = "restart-strategy.exponential-delay.backoff-multiplier", "1.5";
    /// After so long without a failure exponential-delay begins anew.
    EXPONENTIAL_RESET: Duration = "restart-strategy.exponential-delay.reset-backoff-threshold", "1 h";
    /// By which part of itself a wait is varied at random.
    EXPONENTIAL_JITTER: f64 = "restart-strategy.exponential-delay.jitter-factor", "0.1";
    /// How many times exponential-delay restarts; unset: without limit.
    EXPONENTIAL_ATTEMPTS: u32 = "restart-strategy.exponential-delay.attempts-before-reset-backoff";
    /// How many failures in the interval failure-rate bears.
    FAILURE_RATE_MAX: u32 = "restart-strategy.failure-rate.max-failures-per-interval", "1";
    /// The interval in which failure-rate counts.
    FAILURE_RATE_INTERVAL: Duration = "restart-strategy.failure-rate.failure-rate-interval", "1 min";
    /// How long failure-rate waits.
    FAILURE_RATE_DELAY: Duration = "restart-strategy.failure-rate.delay", "1 s";
    /// The older way to ask for fixed-delay: how many times.
    EXECUTION_RETRIES: u32 = "execution-retries.default";
    /// The older way to ask for fixed-delay: how long.
    EXECUTION_RETRY_DELAY: Duration = "execution-retries.delay", "1 s";
    /// A task that has not ended so long after it was cancelled costs its worker.
    CANCELLATION_TIMEOUT: Duration = "task.cancellation.timeout", "3 min";
    /// How many subtasks pipelines run side by side in a TaskManager.
    TASK_SLOTS: u32 = "taskmanager.numberOfTaskSlots", "1";
    /// The size of a TaskManager with all its workers; the rest of the memory options are derived from it.
    TASK_MANAGER_MEMORY: MemorySize = "taskmanager.memory.process.size", "1728 mb";
    /// Managed memory (sort, hash, state backends) of a TaskManager; unset: the fraction.
    MANAGED_MEMORY: MemorySize = "taskmanager.memory.managed.size";
    /// Managed memory as a part of the TaskManager's memory.
    MANAGED_FRACTION: f64 = "taskmanager.memory.managed.fraction", "0.4";
    /// The ports a TaskManager takes data connections on.
    DATA_PORT: PortRange = "taskmanager.data.port", "0";
    /// The address a TaskManager binds to and is found under.
    TASK_MANAGER_HOST: String = "taskmanager.host", "127.0.0.1";
    /// Where the JobManager is found.
    JOB_MANAGER_ADDRESS: String = "jobmanager.rpc.address", "127.0.0.1";
    /// The JobManager's port.
    JOB_MANAGER_PORT: u16 = "jobmanager.rpc.port", "6123";
    /// How long a job waits for slots.
    SLOT_REQUEST_TIMEOUT: Duration = "slot.request.timeout", "5 min";
    /// How often JobManager and TaskManagers tell each other that they are there.
    HEARTBEAT_INTERVAL: Duration = "heartbeat.interval", "10 s";
    /// Who has not been heard of for so long is lost.
    HEARTBEAT_TIMEOUT: Duration = "heartbeat.timeout", "50 s";
    /// The file that holds the cluster's secret, readable by its owner alone; unset: flott-secret beside the configuration.
    SECRET_FILE: String = "security.secret.file";
    /// Folders for temporary files, with ':' or ';' between; unset: the system's.
    TEMP_DIRS: String = "io.tmp.dirs";
    /// Where processes write their logs; unset: log beside the configuration folder.
    LOG_DIR: String = "env.log.dir";
    /// The level of what is logged: error, warn, info, debug, trace; changeable while the process runs.
    LOG_LEVEL: String = "env.log.level", "info";
    /// The size at which a log file is rolled.
    LOG_MAX_SIZE: MemorySize = "env.log.max-size", "10 mb";
    /// How many rolled log files are kept.
    LOG_MAX: u32 = "env.log.max", "5";
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal $(| $alias:literal)*),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl ConfigValue for $name {
            const KIND: &'static str = concat!("one of", $(" ", $text),*);

            fn read(text: &str) -> Result<Self, String> {
                let wanted = text.trim().to_ascii_lowercase().replace('_', "-");
                $(if [$text, $($alias),*].iter().any(|name| name.to_ascii_lowercase().replace('_', "-") == wanted) {
                    return Ok(Self::$variant);
                })*
                Err(format!("{} is expected", Self::KIND))
            }

            fn fallback() -> Self {
                [$(Self::$variant),*][0]
            }
        }
    )*};
}

choices! {
    /// How a program runs.
    RuntimeMode {
        /// As a stream.
        Streaming = "STREAMING",
        /// As a batch.
        Batch = "BATCH",
    }
    /// What a checkpoint guarantees.
    CheckpointMode {
        /// Every record counts once.
        ExactlyOnce = "EXACTLY_ONCE",
        /// Every record counts at least once.
        AtLeastOnce = "AT_LEAST_ONCE",
    }
    /// What becomes of the checkpoints of a job that is cancelled.
    CheckpointRetention {
        /// They are deleted.
        Delete = "DELETE_ON_CANCELLATION",
        /// They stay.
        Retain = "RETAIN_ON_CANCELLATION",
    }
    /// What happens when a task fails.
    RestartStrategyKind {
        /// The job fails.
        None = "none" | "off" | "disable",
        /// A number of restarts, each after the same time.
        FixedDelay = "fixed-delay" | "fixeddelay",
        /// Restarts after times that grow.
        ExponentialDelay = "exponential-delay" | "exponentialdelay",
        /// Restarts as long as failures are rare.
        FailureRate = "failure-rate" | "failurerate",
    }
}
