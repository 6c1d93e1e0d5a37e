//! Restart strategies: what to do when a task fails. Pure decisions; time and chance are given.
//!
//! ```
//! use std::time::Duration;
//! use flott_core::config::Configuration;
//! use flott_plan::restart_strategy::{RestartDecision, RestartStrategy};
//!
//! let mut job = Configuration::new();
//! job.set("restart-strategy.type", "fixed-delay").unwrap();
//! let mut strategy = RestartStrategy::of_job(&job, &Configuration::new());
//! let second = Duration::from_secs(1);
//! assert_eq!(strategy.on_failure(Duration::ZERO, 0.5), RestartDecision::Restart { delay: second });
//! assert!(matches!(strategy.on_failure(second, 0.5), RestartDecision::Fail { .. }));
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use flott_core::config::{self, Configuration, RestartStrategyKind};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartDecision {
    /// Restart after a while.
    Restart {
        /// How long to wait first.
        delay: Duration,
    },
    /// Let the job fail.
    Fail {
        /// Why no restart follows.
        reason: String,
    },
}

/// A restart strategy and what it remembers.
#[derive(Debug, Clone, PartialEq)]
pub enum RestartStrategy {
    /// Never restarts.
    None,
    /// A number of restarts, each after the same time.
    FixedDelay {
        /// How many there may be.
        attempts: u32,
        /// How long to wait.
        delay: Duration,
        /// How many there were.
        restarts: u32,
    },
    /// Restarts after times that grow.
    ExponentialDelay(ExponentialDelay),
    /// Restarts while failures are rare.
    FailureRate {
        /// How many failures an interval bears.
        max_failures: u32,
        /// The interval.
        interval: Duration,
        /// How long to wait.
        delay: Duration,
        /// When the latest failures were, on the job's clock.
        failures: VecDeque<Duration>,
    },
}

/// Restarts after times that grow, up to a bound, and that begin anew after a time without failure. Each is varied at random, so
/// that jobs that failed together do not all restart at once.
#[derive(Debug, Clone, PartialEq)]
pub struct ExponentialDelay {
    initial: Duration,
    max: Duration,
    multiplier: f64,
    reset_after: Duration,
    jitter: f64,
    attempts: Option<u32>,
    current: Duration,
    restarts: u32,
    last_failure: Option<Duration>,
}

impl RestartStrategy {
    /// What a job asks for, else what its cluster says, else growing delays for a job with checkpoints and no restart for one
    /// without. `execution-retries.default` is the older way to ask for fixed delays; it counts where no strategy is named.
    pub fn of_job(job: &Configuration, cluster: &Configuration) -> Self {
        let mut both = cluster.clone();
        both.extend(job);
        for asked in [job, cluster] {
            if let Some(kind) = asked.get_optional(&config::RESTART_STRATEGY) {
                return Self::of_kind(kind, &both);
            }
            if let Some(attempts) = asked.get_optional(&config::EXECUTION_RETRIES) {
                return Self::fixed_delay(attempts, both.get(&config::EXECUTION_RETRY_DELAY));
            }
        }
        let has_checkpoints = both.is_set(&config::CHECKPOINT_INTERVAL);
        let kind =
            if has_checkpoints { RestartStrategyKind::ExponentialDelay } else { RestartStrategyKind::None };
        Self::of_kind(kind, &both)
    }

    fn of_kind(kind: RestartStrategyKind, configuration: &Configuration) -> Self {
        let duration = |option| configuration.get::<Duration>(option);
        match kind {
            RestartStrategyKind::None => Self::None,
            RestartStrategyKind::FixedDelay => Self::fixed_delay(
                configuration.get(&config::FIXED_DELAY_ATTEMPTS),
                duration(&config::FIXED_DELAY),
            ),
            RestartStrategyKind::ExponentialDelay => {
                let initial = duration(&config::EXPONENTIAL_INITIAL);
                Self::ExponentialDelay(ExponentialDelay {
                    initial,
                    max: duration(&config::EXPONENTIAL_MAX).max(initial),
                    multiplier: configuration.get(&config::EXPONENTIAL_MULTIPLIER).max(1.0),
                    reset_after: duration(&config::EXPONENTIAL_RESET),
                    jitter: configuration.get(&config::EXPONENTIAL_JITTER).min(1.0),
                    attempts: configuration.get_optional(&config::EXPONENTIAL_ATTEMPTS),
                    current: initial,
                    restarts: 0,
                    last_failure: None,
                })
            }
            RestartStrategyKind::FailureRate => Self::FailureRate {
                max_failures: configuration.get(&config::FAILURE_RATE_MAX),
                interval: duration(&config::FAILURE_RATE_INTERVAL),
                delay: duration(&config::FAILURE_RATE_DELAY),
                failures: VecDeque::new(),
            },
        }
    }

    fn fixed_delay(attempts: u32, delay: Duration) -> Self {
        Self::FixedDelay { attempts, delay, restarts: 0 }
    }

    /// A task failed at `now`, on a clock that starts with the job; `chance` is a random number from 0 to 1.
    pub fn on_failure(&mut self, now: Duration, chance: f64) -> RestartDecision {
        let fail = |reason: String| RestartDecision::Fail { reason };
        match self {
            Self::None => fail("no restart strategy is set".to_owned()),
            Self::FixedDelay { attempts, restarts, .. } if *restarts >= *attempts => {
                fail(format!("all {attempts} restarts of the fixed-delay strategy are used up"))
            }
            Self::FixedDelay { delay, restarts, .. } => {
                *restarts += 1;
                RestartDecision::Restart { delay: *delay }
            }
            Self::ExponentialDelay(strategy) => strategy.on_failure(now, chance),
            Self::FailureRate { max_failures, interval, delay, failures } => {
                failures.push_back(now);
                while failures.front().is_some_and(|first| now.saturating_sub(*first) > *interval) {
                    failures.pop_front();
                }
                if failures.len() > *max_failures as usize {
                    return fail(format!(
                        "more than {max_failures} failures in {} s",
                        interval.as_secs_f64()
                    ));
                }
                RestartDecision::Restart { delay: *delay }
            }
        }
    }
}

impl ExponentialDelay {
    fn on_failure(&mut self, now: Duration, chance: f64) -> RestartDecision {
        let quiet = self.last_failure.is_some_and(|last| now.saturating_sub(last) >= self.reset_after);
        if quiet {
            self.current = self.initial;
            self.restarts = 0;
        }
        self.last_failure = Some(now);
        if let Some(attempts) = self.attempts.filter(|attempts| self.restarts >= *attempts) {
            let reason = format!("all {attempts} restarts of the exponential-delay strategy are used up");
            return RestartDecision::Fail { reason };
        }
        self.restarts += 1;
        let delay = self.bounded(1.0 + self.jitter * (2.0 * chance - 1.0));
        self.current = self.bounded(self.multiplier);
        RestartDecision::Restart { delay }
    }

    /// The current delay times `factor`, at most the longest.
    fn bounded(&self, factor: f64) -> Duration {
        let seconds = (self.current.as_secs_f64() * factor).clamp(0.0, self.max.as_secs_f64());
        Duration::try_from_secs_f64(seconds).map_or(self.max, |delay| delay.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(settings: &[&str]) -> Configuration {
        let mut configuration = Configuration::new();
        settings.iter().for_each(|setting| configuration.set_override(setting).unwrap());
        configuration
    }

    fn strategy(settings: &[&str]) -> RestartStrategy {
        RestartStrategy::of_job(&configuration(settings), &Configuration::new())
    }

    fn delays(strategy: &mut RestartStrategy, failures_at: &[u64]) -> Vec<Option<u64>> {
        let decide = |at: &u64| match strategy.on_failure(Duration::from_secs(*at), 0.5) {
            RestartDecision::Restart { delay } => Some(delay.as_millis() as u64),
            RestartDecision::Fail { .. } => None,
        };
        failures_at.iter().map(decide).collect()
    }

    #[test]
    fn without_checkpoints_nothing_restarts_by_default() {
        assert_eq!(delays(&mut strategy(&[]), &[0]), [None]);
        let with_checkpoints = strategy(&["execution.checkpointing.interval=1 s"]);
        assert!(matches!(with_checkpoints, RestartStrategy::ExponentialDelay(_)));
    }

    #[test]
    fn fixed_delay_restarts_so_many_times() {
        let fixed = ["restart-strategy.type=fixed-delay", "restart-strategy.fixed-delay.attempts=2"];
        assert_eq!(delays(&mut strategy(&fixed), &[0, 1, 2]), [Some(1000), Some(1000), None]);
        let retries = ["execution-retries.default=1", "execution-retries.delay=5 ms"];
        assert_eq!(delays(&mut strategy(&retries), &[0, 1]), [Some(5), None]);
    }

    #[test]
    fn exponential_delay_grows_to_its_bound_and_is_reset_by_quiet() {
        let settings = [
            "restart-strategy.type=exponential-delay",
            "restart-strategy.exponential-delay.backoff-multiplier=2",
            "restart-strategy.exponential-delay.max-backoff=3 s",
        ];
        let delays = delays(&mut strategy(&settings), &[0, 1, 2, 3, 3700]);
        assert_eq!(delays, [Some(1000), Some(2000), Some(3000), Some(3000), Some(1000)]);
    }

    #[test]
    fn the_job_is_asked_before_its_cluster() {
        let cluster =
            configuration(&["restart-strategy.type=failure-rate", "restart-strategy.fixed-delay.delay=7 s"]);
        let of_job = |settings: &[&str]| RestartStrategy::of_job(&configuration(settings), &cluster);
        assert!(matches!(of_job(&[]), RestartStrategy::FailureRate { .. }));
        assert_eq!(of_job(&["restart-strategy.type=none"]), RestartStrategy::None);
        let mut fixed = of_job(&["restart-strategy.type=fixed-delay"]);
        assert_eq!(delays(&mut fixed, &[0, 1]), [Some(7000), None]);
        let mut retries = of_job(&["execution-retries.default=2"]);
        assert_eq!(delays(&mut retries, &[0, 1, 2]), [Some(1000), Some(1000), None]);
    }

    #[test]
    fn delays_stay_in_bounds_whatever_is_configured() {
        let settings = [
            "restart-strategy.type=exponential-delay",
            "restart-strategy.exponential-delay.backoff-multiplier=1e300",
            "restart-strategy.exponential-delay.jitter-factor=1",
            "restart-strategy.exponential-delay.attempts-before-reset-backoff=3",
        ];
        let mut strategy = strategy(&settings);
        let mut delay = |chance| match strategy.on_failure(Duration::ZERO, chance) {
            RestartDecision::Restart { delay } => delay.as_secs(),
            RestartDecision::Fail { reason } => panic!("{reason}"),
        };
        assert_eq!([delay(1.0), delay(0.0), delay(1.0)], [2, 0, 60]);
        let RestartDecision::Fail { reason } = strategy.on_failure(Duration::ZERO, 0.5) else {
            panic!("three attempts are all")
        };
        assert_eq!(reason, "all 3 restarts of the exponential-delay strategy are used up");
    }

    #[test]
    fn failure_rate_bears_rare_failures_only() {
        let settings = [
            "restart-strategy.type=failure-rate",
            "restart-strategy.failure-rate.max-failures-per-interval=2",
        ];
        assert_eq!(
            delays(&mut strategy(&settings), &[0, 70, 140, 150, 160]),
            [Some(1000), Some(1000), Some(1000), Some(1000), None]
        );
    }
}
