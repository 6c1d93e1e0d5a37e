//! Restart strategies: what to do when a task fails. Pure decisions; time and chance are given.

use std::collections::VecDeque;
use std::time::Duration;

use flott_core::config::{self, Configuration, RestartStrategyKind};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartDecision {
    /// Restart after a while.
    Restart {
        /// How long to wait.
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

/// Restarts after times that grow.
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
    /// What a job's configuration asks for; a job with checkpoints that asks for nothing restarts with growing delays, one
    /// without does not restart.
    pub fn from_configuration(configuration: &Configuration) -> Self {
        let get_duration = |option| configuration.get::<Duration>(option);
        let fixed = |attempts, delay| Self::FixedDelay { attempts, delay, restarts: 0 };
        let kind = match configuration.get_optional(&config::RESTART_STRATEGY) {
            Some(kind) => kind,
            None => match configuration.get_optional(&config::EXECUTION_RETRIES) {
                Some(attempts) => return fixed(attempts, get_duration(&config::EXECUTION_RETRY_DELAY)),
                None if configuration.is_set(&config::CHECKPOINT_INTERVAL) => {
                    RestartStrategyKind::ExponentialDelay
                }
                None => RestartStrategyKind::None,
            },
        };
        match kind {
            RestartStrategyKind::None => Self::None,
            RestartStrategyKind::FixedDelay => {
                fixed(configuration.get(&config::FIXED_DELAY_ATTEMPTS), get_duration(&config::FIXED_DELAY))
            }
            RestartStrategyKind::ExponentialDelay => {
                let initial = get_duration(&config::EXPONENTIAL_INITIAL);
                Self::ExponentialDelay(ExponentialDelay {
                    initial,
                    max: get_duration(&config::EXPONENTIAL_MAX).max(initial),
                    multiplier: configuration.get(&config::EXPONENTIAL_MULTIPLIER).max(1.0),
                    reset_after: get_duration(&config::EXPONENTIAL_RESET),
                    jitter: configuration.get(&config::EXPONENTIAL_JITTER).min(1.0),
                    attempts: configuration.get_optional(&config::EXPONENTIAL_ATTEMPTS),
                    current: initial,
                    restarts: 0,
                    last_failure: None,
                })
            }
            RestartStrategyKind::FailureRate => Self::FailureRate {
                max_failures: configuration.get(&config::FAILURE_RATE_MAX),
                interval: get_duration(&config::FAILURE_RATE_INTERVAL),
                delay: get_duration(&config::FAILURE_RATE_DELAY),
                failures: VecDeque::new(),
            },
        }
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
        let varied = self.current.mul_f64((1.0 + self.jitter * (2.0 * chance - 1.0)).max(0.0));
        self.current = self.current.mul_f64(self.multiplier).min(self.max);
        RestartDecision::Restart { delay: varied.min(self.max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategy(settings: &[&str]) -> RestartStrategy {
        let mut configuration = Configuration::new();
        settings.iter().for_each(|setting| configuration.set_override(setting).unwrap());
        RestartStrategy::from_configuration(&configuration)
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
