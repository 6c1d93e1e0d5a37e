//! How soon another container is asked for after some did not come up: at once at first, later and later while none does, and after
//! `resourcemanager.start-worker.retry-interval` where more than `max-failure-rate` failed within a minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The pause after the first failure; each one after it doubles it.
const FIRST: Duration = Duration::from_millis(100);

/// In which failures are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// The most failures that are remembered: more than any rate that makes sense.
const REMEMBERED: usize = 10_000;

/// Failed starts, and the pause they ask for.
#[derive(Debug)]
pub struct StartPace {
    /// A minute.
    max_failure_rate: f64,
    retry_interval: Duration,
    failures: VecDeque<Instant>,
    in_a_row: u32,
    until: Option<Instant>,
}

impl StartPace {
    /// Nothing has failed yet.
    pub fn new(max_failure_rate: f64, retry_interval: Duration) -> Self {
        Self { max_failure_rate, retry_interval, failures: VecDeque::new(), in_a_row: 0, until: None }
    }

    /// A container did not come up. `chance`, from 0 to 1, makes the pause longer by up to a half, so that not all applications of a
    /// cluster come back at once.
    pub fn failed(&mut self, now: Instant, chance: f64) {
        self.failures.push_back(now);
        while self.failures.len() > REMEMBERED
            || self.failures.front().is_some_and(|first| now.saturating_duration_since(*first) >= MINUTE)
        {
            self.failures.pop_front();
        }
        let pause = if self.failures.len() as f64 > self.max_failure_rate {
            self.retry_interval
        } else {
            FIRST.saturating_mul(1 << self.in_a_row.min(16)).min(self.retry_interval)
        };
        self.in_a_row = self.in_a_row.saturating_add(1);
        let until = now + pause.mul_f64(1.0 + chance.clamp(0.0, 1.0) / 2.0);
        self.until = self.until.max(Some(until));
    }

    /// A container came up: the next failure is the first again.
    pub fn came_up(&mut self) {
        self.in_a_row = 0;
        self.until = None;
    }

    /// Whether no more may be asked for yet.
    pub fn is_paused(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_secs(3);

    fn pause(pace: &StartPace, now: Instant) -> u128 {
        pace.until.map_or(0, |until| until.saturating_duration_since(now).as_millis())
    }

    #[test]
    fn pauses_grow_until_a_container_comes_up() {
        let (mut pace, mut now) = (StartPace::new(10.0, RETRY), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert!(!pace.is_paused(now));
            pace.failed(now, 0.0);
            assert!(pace.is_paused(now));
            pauses.push(pause(&pace, now));
            now = pace.until.unwrap_or(now);
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3000, 3000]);
        pace.came_up();
        assert!(!pace.is_paused(now));
        pace.failed(now, 1.0);
        assert_eq!(pause(&pace, now), 150);
    }

    #[test]
    fn more_failures_a_minute_than_allowed_cost_the_whole_interval() {
        let (mut pace, now) = (StartPace::new(2.0, RETRY), Instant::now());
        for (second, expected) in [(0, 100), (10, 100), (20, 3000), (100, 100)] {
            let now = now + Duration::from_secs(second);
            pace.came_up();
            pace.failed(now, 0.0);
            assert_eq!(pause(&pace, now), expected, "after {second} s");
        }
    }
}
