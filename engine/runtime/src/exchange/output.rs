//! The output of a subtask: one edge's channels and how batches are spread over them.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::channel::ChannelSender;
use super::partition::Partitioner;
use super::readers::Readers;
use crate::element::{AnyBatch, Element};
use crate::error::{Fault, OperatorError};

/// The channels of an output.
pub struct Channels {
    senders: Vec<Arc<dyn ChannelSender>>,
    /// Who reads them, if they ask for what they get.
    readers: Arc<Readers>,
    /// Bytes sent so far.
    sent: Cell<u64>,
}

impl Channels {
    /// These channels, in the order of their consumers.
    pub fn new(channels: Vec<Arc<dyn ChannelSender>>) -> Self {
        Self { senders: channels, readers: Arc::default(), sent: Cell::new(0) }
    }

    /// These channels, whose readers ask for what they get.
    pub fn by_demand(channels: Vec<Arc<dyn ChannelSender>>, readers: Arc<Readers>) -> Self {
        Self { readers, ..Self::new(channels) }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.senders.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.senders.is_empty()
    }

    /// Sends records to one channel.
    pub fn send(&self, channel: usize, batch: AnyBatch) {
        let bytes = self.senders[channel].send(Element::Batch(batch));
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// Sends records to the reader that was chosen, or to one that has room.
    pub(super) fn send_to_chosen(&self, batch: AnyBatch) {
        self.send(self.readers.take_chosen(), batch);
    }

    /// Whether one channel has room.
    pub fn has_room(&self, channel: usize) -> bool {
        self.senders[channel].has_room()
    }
}

/// An edge's producing side in one subtask.
pub struct Output {
    channels: Channels,
    partitioner: Box<dyn Partitioner>,
    /// How long a record may wait in a partial batch; none: until the batch is full.
    timeout: Option<Duration>,
    waiting_since: Option<Instant>,
}

impl Output {
    /// An output over `channels`.
    pub fn new(channels: Channels, partitioner: Box<dyn Partitioner>, timeout: Option<Duration>) -> Self {
        Self { channels, partitioner, timeout, waiting_since: None }
    }

    /// How many bytes were given to its channels.
    pub fn bytes_sent(&self) -> u64 {
        self.channels.sent.get()
    }

    /// Whether a batch may be written now.
    pub fn has_room(&self) -> bool {
        let mut rooms = (0..self.channels.len()).map(|channel| self.channels.has_room(channel));
        if self.partitioner.chooses_by_room() { rooms.any(|room| room) } else { rooms.all(|room| room) }
    }

    /// Spreads a batch over the channels; what does not fill a batch waits for more.
    ///
    /// # Errors
    /// What the user's key selector or partitioner did wrong.
    pub fn write(&mut self, batch: AnyBatch, now: Instant) -> Result<(), OperatorError> {
        self.partitioner.write(batch, &self.channels)?;
        if !self.partitioner.holds_records() {
            self.waiting_since = None;
        } else if self.timeout == Some(Duration::ZERO) {
            self.flush();
        } else if self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
        Ok(())
    }

    /// Sends what waits, whether or not it fills a batch.
    pub fn flush(&mut self) {
        if self.waiting_since.take().is_some() || self.partitioner.holds_records() {
            self.partitioner.flush(&self.channels);
        }
    }

    /// When [`flush`](Self::flush) is due.
    pub fn flush_at(&self) -> Option<Instant> {
        Some(self.waiting_since? + self.timeout?)
    }

    /// Whether the channels keep what they are sent.
    ///
    /// # Errors
    /// What keeps them from it: a full disk, say.
    pub fn check(&self) -> Result<(), OperatorError> {
        let error = self.channels.senders.iter().find_map(|channel| channel.error());
        error.map_or(Ok(()), |error| Err(OperatorError::new(Fault::Environment, error)))
    }

    /// Sends a control element to all channels, behind the records so far.
    pub fn send_control(&mut self, make: impl Fn() -> Element) {
        self.flush();
        for channel in &self.channels.senders {
            channel.send(make());
        }
    }
}
