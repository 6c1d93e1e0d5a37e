//! Names who holds a slot.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use flott_runtime::slot::{Held, SlotActivity};

/// How long a subtask may hold its slot before that is reported; also how often slots are looked at.
const LIMIT: Duration = Duration::from_millis(100);

/// Reports the same again when the time has grown by this factor.
const GROWTH: u32 = 10;

/// How long nothing else is reported of a slot.
const SILENCE: Duration = Duration::from_secs(10);

/// The slots that are looked after.
#[derive(Default)]
pub(super) struct Watchdog {
    slots: Mutex<Vec<Watched>>,
}

struct Watched {
    activity: Weak<SlotActivity>,
    reported: Option<Reported>,
}

/// What was said of a slot last.
struct Reported {
    /// Since when it was held, in milliseconds since the epoch.
    since_millis: i64,
    /// For how long.
    time: Duration,
    at: Instant,
}

impl Watched {
    /// What is to be reported now.
    fn look(&mut self) -> Option<Held> {
        let held = self.activity.upgrade()?.held(LIMIT)?;
        let is_new = match &self.reported {
            None => true,
            Some(last) if last.since_millis == held.since_millis => held.time >= last.time * GROWTH,
            Some(last) => last.at.elapsed() >= SILENCE,
        };
        if !is_new {
            return None;
        }
        self.reported =
            Some(Reported { since_millis: held.since_millis, time: held.time, at: Instant::now() });
        Some(held)
    }
}

impl Watchdog {
    /// Begins to look, until all other owners of the watchdog are gone.
    pub(super) fn start(io: &tokio::runtime::Handle) -> Arc<Self> {
        let watchdog = Arc::new(Self::default());
        let watched = Arc::downgrade(&watchdog);
        io.spawn(async move {
            let mut interval = tokio::time::interval(LIMIT);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                let Some(watchdog) = watched.upgrade() else { return };
                watchdog.report();
            }
        });
        watchdog
    }

    /// Looks after one more slot.
    pub(super) fn watch(&self, activity: &Arc<SlotActivity>) {
        let watched = Watched { activity: Arc::downgrade(activity), reported: None };
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
    }

    fn report(&self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|slot| slot.activity.strong_count() > 0);
        for Held { subtask, operator, time, .. } in slots.iter_mut().filter_map(Watched::look) {
            tracing::warn!(
                "operator '{operator}' of {subtask} has held its slot for {} ms, and what shares the slot waits: if its function \
                 blocks, say blocking() behind it",
                time.as_millis()
            );
        }
    }
}
