//! Options whose value is one of a few words. Case, and `_` for `-`, make no difference when one is read.

use std::fmt;

use super::value::ConfigValue;

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal $(| $alias:literal)*),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl $name {
            /// Every choice.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
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

            fn write(&self) -> String {
                self.as_str().to_owned()
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
    /// Who may read the REST API.
    ReadAccess {
        /// Who has the read token.
        Token = "token",
        /// Everybody who reaches it.
        Open = "open",
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
    /// What elects the leading JobManager.
    HighAvailabilityKind {
        /// Nothing: there is one.
        None = "NONE",
        /// ZooKeeper.
        ZooKeeper = "zookeeper",
    }
    /// Who may change Flott's nodes in ZooKeeper.
    ZooKeeperAcl {
        /// Everybody.
        Open = "open",
        /// Who made them.
        Creator = "creator",
    }
    /// Where keyed state lives.
    StateBackendKind {
        /// In hash tables on the heap.
        HashMap = "hashmap",
    }
    /// What restarts when a task fails.
    FailoverStrategy {
        /// The pipelined regions the failure touches.
        Region = "region",
        /// The whole job.
        Full = "full",
    }
    /// Where programs run.
    DeploymentTarget {
        /// On an embedded cluster in the program's own process.
        Local = "local",
        /// On a cluster whose JobManager runs already, at a known address.
        Remote = "remote",
        /// In a session on YARN.
        YarnSession = "yarn-session",
        /// On a cluster of its own on YARN; main runs where the command does.
        YarnPerJob = "yarn-per-job" | "yarn-cluster",
        /// On a cluster of its own on YARN, in which main runs too.
        YarnApplication = "yarn-application",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_underscores_and_older_words_make_no_difference() {
        assert_eq!(CheckpointMode::read("exactly-once"), Ok(CheckpointMode::ExactlyOnce));
        assert_eq!(RestartStrategyKind::read("FIXED_DELAY"), Ok(RestartStrategyKind::FixedDelay));
        assert_eq!(RestartStrategyKind::read("off"), Ok(RestartStrategyKind::None));
        assert_eq!(RuntimeMode::read("automatic"), Err("one of STREAMING BATCH is expected".to_owned()));
    }

    #[test]
    fn every_choice_is_read_as_it_is_written() {
        for kind in RestartStrategyKind::ALL {
            assert_eq!(RestartStrategyKind::read(&kind.to_string()), Ok(*kind));
        }
    }
}
