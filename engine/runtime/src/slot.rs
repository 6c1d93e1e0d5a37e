//! Slots: one thread each, which runs its subtasks cooperatively.
//!
//! A subtask is run when something woke it (input, room, a message) or when it said that it has more to do; it runs for a quantum at
//! most. When nothing can run, partial batches are flushed at once and the thread sleeps until it is woken or a timer is due.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime};

use crate::chain::{Now, WorkingOperator};
use crate::cursor::QUANTUM;
use crate::metrics::nanos;
use crate::task::{RunOutcome, Subtask, TaskSpec};

/// The longest a slot sleeps, so that a clock that is set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How long a slot that is no longer needed waits for the subtask at work to yield.
const LONGEST_END: Duration = Duration::from_secs(5);

/// What a slot's thread shares with those who wake it.
#[derive(Default)]
struct Shared {
    thread: OnceLock<Thread>,
    parked: AtomicBool,
    stopped: AtomicBool,
    inbox: Mutex<Vec<(TaskSpec, TaskWaker)>>,
}

impl Shared {
    fn unpark(&self) {
        if self.parked.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// Wakes a subtask: something it may have waited for has happened. Cheap when the subtask is awake.
#[derive(Clone)]
pub struct TaskWaker {
    slot: Arc<Shared>,
    wake: Arc<Wake>,
}

struct Wake {
    woken: AtomicBool,
    /// When it was woken last, in nanoseconds of the steady clock.
    at: AtomicU64,
}

impl TaskWaker {
    fn new(slot: Arc<Shared>) -> Self {
        Self { slot, wake: Arc::new(Wake { woken: AtomicBool::new(true), at: AtomicU64::new(0) }) }
    }

    /// A waker that wakes nobody, for operators that are driven by hand.
    pub fn detached() -> Self {
        Self::new(Arc::new(Shared::default()))
    }

    /// Wakes the subtask.
    pub fn wake(&self) {
        if !self.wake.woken.swap(true, Ordering::SeqCst) {
            self.wake.at.store(nanos(Instant::now()), Ordering::Relaxed);
            self.slot.unpark();
        }
    }

    fn take(&self) -> bool {
        self.wake.woken.load(Ordering::Relaxed) && self.wake.woken.swap(false, Ordering::SeqCst)
    }

    /// When it was woken last, in nanoseconds of the steady clock.
    pub(crate) fn woken_at(&self) -> u64 {
        self.wake.at.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for TaskWaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TaskWaker")
    }
}

/// A slot: a thread and the subtasks on it.
pub struct Slot {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
    activity: Arc<SlotActivity>,
}

/// What a slot is doing, for a watchdog.
#[derive(Default)]
pub struct SlotActivity {
    /// When the turn in hand began, in milliseconds since the epoch; 0: there is none.
    since_millis: AtomicI64,
    subtask: Mutex<Option<(Arc<str>, Arc<WorkingOperator>)>>,
}

/// A subtask that does not yield.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The subtask.
    pub subtask: Arc<str>,
    /// Which of its operators is at work.
    pub operator: String,
    /// Since when, in milliseconds since the epoch.
    pub since_millis: i64,
    /// How long that is.
    pub time: Duration,
}

impl SlotActivity {
    /// The subtask that has been running for `limit` without yielding, if one has.
    pub fn held(&self, limit: Duration) -> Option<Held> {
        let since_millis = self.since_millis.load(Ordering::Acquire);
        if since_millis == 0 {
            return None;
        }
        let time = Duration::from_millis(u64::try_from(wall_clock_millis() - since_millis).unwrap_or(0));
        if time < limit {
            return None;
        }
        let subtask = self.subtask.lock().unwrap_or_else(PoisonError::into_inner);
        let (subtask, operator) = subtask.as_ref()?;
        let (subtask, operator) = (Arc::clone(subtask), operator.name().to_owned());
        Some(Held { subtask, operator, since_millis, time })
    }

    fn begin(&self, subtask: (Arc<str>, Arc<WorkingOperator>)) {
        *self.subtask.lock().unwrap_or_else(PoisonError::into_inner) = Some(subtask);
        self.since_millis.store(wall_clock_millis(), Ordering::Release);
    }

    fn end(&self) {
        self.since_millis.store(0, Ordering::Release);
    }
}

impl Slot {
    /// Starts the slot's thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(name: &str) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let activity = Arc::new(SlotActivity::default());
        let (ending, ended) = sync_channel::<()>(0);
        let (for_thread, activity_there) = (Arc::clone(&shared), Arc::clone(&activity));
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ending = ending;
            run(&for_thread, &activity_there);
        })?;
        Ok(Self { shared, thread: Some(thread), ended, activity })
    }

    /// Gives the slot a subtask to run, and what wakes it.
    pub fn deploy(&self, make: impl FnOnce(TaskWaker) -> TaskSpec) {
        let waker = TaskWaker::new(Arc::clone(&self.shared));
        let spec = make(waker.clone());
        self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner).push((spec, waker));
        self.shared.unpark();
    }

    /// What the slot is doing.
    pub fn activity(&self) -> &Arc<SlotActivity> {
        &self.activity
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.shared.thread.get() {
            thread.unpark();
        }
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && self.ended.recv_timeout(LONGEST_END) == Err(RecvTimeoutError::Disconnected)
        {
            // A panic in a subtask is caught where it happens. User code that never returns keeps its thread, and nobody else.
            let _ = thread.join();
        }
    }
}

/// The wall clock, in milliseconds since the epoch.
pub fn wall_clock_millis() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

struct OnSlot {
    task: Subtask,
    waker: TaskWaker,
    more: bool,
    wake_at: Option<Instant>,
    name: Arc<str>,
    operator: Arc<WorkingOperator>,
}

fn run(shared: &Arc<Shared>, activity: &SlotActivity) {
    let _ = shared.thread.set(std::thread::current());
    let mut tasks: Vec<OnSlot> = Vec::new();
    while !shared.stopped.load(Ordering::Acquire) {
        let arrived = std::mem::take(&mut *shared.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        for (spec, waker) in arrived {
            if let Some(task) = Subtask::start(spec) {
                let (name, operator) = (task.name(), task.working_operator());
                tasks.push(OnSlot { task, waker, more: true, wake_at: None, name, operator });
            }
        }

        let mut ran = false;
        let now = Instant::now();
        tasks.retain_mut(|on_slot| {
            let woken = on_slot.waker.take();
            if !(woken || on_slot.more || on_slot.wake_at.is_some_and(|at| at <= now)) {
                return true;
            }
            ran = true;
            activity.begin((Arc::clone(&on_slot.name), Arc::clone(&on_slot.operator)));
            let outcome = on_slot.task.run(woken, QUANTUM);
            activity.end();
            match outcome {
                RunOutcome::Continue { more, wake_at } => {
                    on_slot.more = more;
                    on_slot.wake_at = wake_at;
                    true
                }
                RunOutcome::Over => false,
            }
        });
        if ran {
            continue;
        }
        // Nothing can run: who waits for a full batch would wait for nothing.
        for on_slot in &mut tasks {
            on_slot.wake_at = on_slot.task.flush_partial_batches();
        }
        park(shared, &tasks);
    }
}

fn park(shared: &Shared, tasks: &[OnSlot]) {
    shared.parked.store(true, Ordering::SeqCst);
    let woken = tasks.iter().any(|on_slot| on_slot.waker.wake.woken.load(Ordering::SeqCst))
        || !shared.inbox.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
        || shared.stopped.load(Ordering::SeqCst);
    if !woken {
        let next = tasks.iter().filter_map(|on_slot| on_slot.wake_at).min();
        let sleep = next.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(Instant::now()));
        std::thread::park_timeout(sleep.min(LONGEST_SLEEP));
    }
    shared.parked.store(false, Ordering::SeqCst);
}

/// Reads both clocks.
pub(crate) fn now() -> Now {
    Now { instant: Instant::now(), millis: wall_clock_millis() }
}
