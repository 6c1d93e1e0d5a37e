//! A channel inside a process: a queue with a bound in bytes.
//!
//! Invariant: a channel with something in it stands in its gate's ready queue, or the gate knows why not.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flott_core::ids::{Attempt, EdgeId};

use super::spill::SpillQueue;
use crate::element::Element;
use crate::slot::TaskWaker;

/// The bytes a channel holds before its producer must wait: four full batches.
pub const CHANNEL_BYTES: usize = 4 * flott_core::MAX_BATCH_BYTES;

/// Names a channel between two attempts of two subtasks; what belongs to a replaced attempt never meets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId {
    /// The edge of the JobGraph.
    pub edge: EdgeId,
    /// The producing subtask's index.
    pub producer: u32,
    /// The producing subtask's attempt.
    pub producer_attempt: Attempt,
    /// The consuming subtask's index.
    pub consumer: u32,
    /// The consuming subtask's attempt.
    pub consumer_attempt: Attempt,
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "edge {} from {} (attempt {}) to {} (attempt {})",
            self.edge, self.producer, self.producer_attempt, self.consumer, self.consumer_attempt
        )
    }
}

/// The producer's end of a channel, whether the consumer is in this process or not.
pub trait ChannelSender: Send + Sync {
    /// Whether a batch may be sent now. Once told no, the producer is woken when that changes.
    fn has_room(&self) -> bool;

    /// Sends an element. Never blocks: a producer asks [`has_room`](Self::has_room) before it makes a batch.
    /// Tells how many bytes the channel counts for it.
    fn send(&self, element: Element) -> usize;

    /// Names the subtask to wake when there is room again.
    fn set_producer(&self, waker: TaskWaker);

    /// Why the channel does not keep what is sent, if it does not.
    fn error(&self) -> Option<String>;
}

/// Called with the bytes a consumer has taken from a channel, so that credit can go back to another process.
pub type ReleaseHook = Box<dyn Fn(usize) + Send + Sync>;

/// A queue between two subtasks of this process, or the consumer's end of one that spans processes. One of a blocking
/// exchange keeps everything, on disk, until its consumer starts.
pub struct Channel {
    capacity: usize,
    /// Its consumer is in another process: what is sent is encoded at once, on the producer's thread.
    encodes: bool,
    charged: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Element>,
    /// The batches of a blocking exchange; in `queue` then stands what comes behind them.
    spill: Option<SpillQueue>,
    consumer: Option<Consumer>,
    producer: Option<TaskWaker>,
    release_hook: Option<ReleaseHook>,
    /// The producer has sent its end.
    ended: bool,
    /// Why the other end is out of reach.
    failure: Option<String>,
}

struct Consumer {
    ready: Arc<ReadyQueue>,
    index: u32,
}

impl Channel {
    /// A channel that holds `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, encodes: false, charged: AtomicUsize::new(0), state: Mutex::default() }
    }

    /// The producer's end of a channel of `capacity` bytes to another process: what comes out of it is encoded.
    pub fn encoding(capacity: usize) -> Self {
        Self { encodes: true, ..Self::new(capacity) }
    }

    /// A channel of a blocking exchange, with its file in `folder`.
    pub fn blocking(folder: &Path) -> Self {
        let state = State { spill: Some(SpillQueue::new(folder)), ..State::default() };
        Self { state: Mutex::new(state), ..Self::new(usize::MAX) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic halfway, so a poisoned lock still guards a sound queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes the channel holds before its producer must wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The bytes in the channel that the consumer has not released.
    pub fn charged(&self) -> usize {
        self.charged.load(Ordering::Acquire)
    }

    /// Attaches the consuming gate, as its channel `index`. A later consumer of a blocking exchange reads it from its beginning.
    pub fn set_consumer(&self, ready: Arc<ReadyQueue>, index: u32) {
        let mut state = self.state();
        if state.consumer.is_some() {
            state.rewind();
        }
        if !state.is_empty() || state.failure.is_some() {
            ready.push(index);
        }
        state.consumer = Some(Consumer { ready, index });
    }

    /// Sets what is called when the consumer releases bytes.
    pub fn set_release_hook(&self, hook: ReleaseHook) {
        self.state().release_hook = Some(hook);
    }

    /// Whether it is of a blocking exchange: it keeps what it is sent, and can be read again.
    pub fn is_blocking(&self) -> bool {
        self.capacity == usize::MAX
    }

    /// Takes the next element for `reader`, and whether more are behind it; nothing, if another reader was attached meanwhile. The
    /// charge stays until [`release`](Self::release).
    pub fn pop(&self, reader: &Arc<ReadyQueue>) -> (Option<Element>, bool) {
        let mut state = self.state();
        if state.consumer.as_ref().is_none_or(|consumer| !Arc::ptr_eq(&consumer.ready, reader)) {
            return (None, false);
        }
        let spilled = state.spill.as_mut().and_then(SpillQueue::pop).map(Element::Encoded);
        let element = spilled.or_else(|| state.queue.pop_front());
        (element, !state.is_empty())
    }

    /// Whether the producer has sent its end, be it taken or not.
    pub fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// The other end is out of reach: producer and consumer are told why at their next turn. What is in the channel can still be
    /// taken.
    pub fn fail(&self, reason: &str) {
        let mut state = self.state();
        if state.failure.is_some() {
            return;
        }
        state.failure = Some(reason.to_owned());
        if let Some(producer) = &state.producer {
            producer.wake();
        }
        if let Some(consumer) = &state.consumer {
            consumer.ready.push(consumer.index);
        }
    }

    /// Whether the next element counts against the bound.
    pub fn next_is_charged(&self) -> bool {
        let state = self.state();
        let spilled = state.spill.as_ref().is_some_and(|spill| !spill.is_empty());
        spilled || matches!(state.queue.front(), Some(Element::Batch(_) | Element::Encoded(_)))
    }

    /// Whether the next element is a barrier.
    pub fn next_is_barrier(&self) -> bool {
        matches!(self.state().queue.front(), Some(Element::Barrier(_)))
    }

    /// Gives back `bytes` of the channel's bound.
    pub fn release(&self, bytes: usize) {
        if bytes == 0 || self.is_blocking() {
            return;
        }
        let before = self.charged.fetch_sub(bytes, Ordering::AcqRel);
        let state = self.state();
        if let Some(hook) = &state.release_hook {
            hook(bytes);
        }
        if before >= self.capacity
            && before - bytes < self.capacity
            && let Some(producer) = &state.producer
        {
            producer.wake();
        }
    }
}

impl ChannelSender for Channel {
    fn has_room(&self) -> bool {
        self.charged.load(Ordering::Acquire) < self.capacity
    }

    fn send(&self, element: Element) -> usize {
        let element = match element {
            Element::Batch(batch) if self.encodes => {
                let mut encoded = Vec::with_capacity(batch.size_estimate());
                batch.encode(&mut encoded);
                Element::Encoded(encoded.into())
            }
            element => element,
        };
        let mut bytes = 0;
        if !self.is_blocking() {
            bytes = element.charged_bytes();
            self.charged.fetch_add(bytes, Ordering::AcqRel);
        }
        let mut state = self.state();
        let was_empty = state.is_empty();
        state.ended |= matches!(element, Element::End);
        match (&mut state.spill, element) {
            (Some(spill), Element::Batch(batch)) => bytes = spill.push(|out| batch.encode(out)),
            (Some(spill), Element::Encoded(encoded)) => {
                bytes = spill.push(|out| out.extend_from_slice(&encoded));
            }
            // A batch job has no use for progress on the way: everything is there when it is read.
            (Some(_), Element::Watermark(_) | Element::Idle) => {}
            (_, element) => state.queue.push_back(element),
        }
        if was_empty && let Some(consumer) = &state.consumer {
            consumer.ready.push(consumer.index);
        }
        bytes
    }

    fn set_producer(&self, waker: TaskWaker) {
        self.state().producer = Some(waker);
    }

    fn error(&self) -> Option<String> {
        let state = self.state();
        state.failure.clone().or_else(|| state.spill.as_ref()?.error().map(str::to_owned))
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.spill.as_ref().is_none_or(SpillQueue::is_empty)
    }

    fn rewind(&mut self) {
        if let Some(spill) = &mut self.spill {
            spill.rewind();
            self.queue.clear();
            self.queue.extend(self.ended.then_some(Element::End));
        }
    }
}

/// The channels of a gate, or of a connection, that have something in them, in the order in which they got it.
pub struct ReadyQueue {
    channels: Mutex<VecDeque<u32>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl ReadyQueue {
    /// The ready queue of a reader that `wake` wakes.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { channels: Mutex::new(VecDeque::new()), wake: Box::new(wake) }
    }

    fn channels(&self) -> MutexGuard<'_, VecDeque<u32>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a channel and wakes the reader.
    pub fn push(&self, channel: u32) {
        self.channels().push_back(channel);
        (self.wake)();
    }

    /// Takes the channel that has waited longest.
    pub(crate) fn pop(&self) -> Option<u32> {
        self.channels().pop_front()
    }

    /// Puts a channel back that has more; the reader is awake.
    pub(crate) fn push_back(&self, channel: u32) {
        self.channels().push_back(channel);
    }
}
