//! Patience of a leader with files and networks: what cannot be read or written now is tried again, for as long as it leads.
//!
//! Only what is there and cannot be used ends a wait before that, and somebody else's leadership.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flott_core::ids::JobId;

use super::StoreError;

/// The first and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Pauses that grow, each between a half and one and a half of its length, so that many jobs do not come at once.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: PAUSES.0, longest: PAUSES.1 }
    }
}

impl Backoff {
    /// The next pause.
    pub(crate) fn pause(&mut self) -> Duration {
        self.pause_by(f64::from(JobId::random().as_bytes()[0]) / 255.0)
    }

    /// The next pause, by a chance from 0 to 1.
    pub(crate) fn pause_by(&mut self, chance: f64) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.longest);
        now.mul_f64(0.5 + chance)
    }
}

/// A leader's time. It [ends](Self::end) when another one leads.
#[derive(Debug, Default)]
pub struct Patience {
    over: Mutex<bool>,
    ended: Condvar,
    backoff: Backoff,
}

impl Patience {
    /// With other pauses than usual: the first and the longest.
    #[cfg(test)]
    pub(crate) fn with_pauses(first: Duration, longest: Duration) -> Self {
        Self { backoff: Backoff { next: first, longest }, ..Self::default() }
    }

    /// The leader leads no longer: who waits is told so.
    pub fn end(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.notify_all();
    }

    /// Tries until it is done. What fails because of files or networks is tried again after a pause, and `failing` is told why. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]: it will not be otherwise; [`StoreError::NotLeader`]: the time is over.
    pub fn until_done<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, StoreError>,
        mut failing: impl FnMut(&str),
    ) -> Result<T, StoreError> {
        let mut backoff = self.backoff.clone();
        loop {
            match attempt() {
                Err(StoreError::Failed(reason)) => {
                    failing(&reason);
                    self.wait(backoff.pause())?;
                }
                done => return done,
            }
        }
    }

    fn wait(&self, pause: Duration) -> Result<(), StoreError> {
        let deadline = Instant::now() + pause;
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*over {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            over = self.ended.wait_timeout(over, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(StoreError::NotLeader("another JobManager leads".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_until_it_works_and_what_is_damaged_is_not() {
        let patience = Patience::with_pauses(Duration::from_millis(1), Duration::from_millis(2));
        let failed = || StoreError::Failed("safe mode".to_owned());
        let (mut left, mut told) = (40, 0);
        let done = patience.until_done(
            || {
                left -= 1;
                if left == 0 { Ok(7) } else { Err(failed()) }
            },
            |reason| {
                assert_eq!(reason, "safe mode");
                told += 1;
            },
        );
        assert_eq!((done, told), (Ok(7), 39));
        let damaged = StoreError::Damaged { path: "/x".to_owned(), reason: "short".to_owned() };
        assert_eq!(patience.until_done(|| Err::<(), _>(damaged.clone()), |_| {}), Err(damaged.clone()));
        // Whoever waits hears of the end at once.
        let endless = Patience::with_pauses(Duration::from_secs(60), Duration::from_secs(60));
        let ended = endless.until_done(|| Err::<(), _>(failed()), |_| endless.end());
        assert!(matches!(ended, Err(StoreError::NotLeader(_))));
    }

    #[test]
    fn pauses_grow_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..9).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= PAUSES.0 / 2 && pauses[0] <= PAUSES.0 * 2);
        assert!(pauses.iter().all(|pause| *pause <= PAUSES.1 * 2));
        assert!(pauses[8] >= PAUSES.1 / 2);
    }
}
