//! An input gate: merges the channels of one input into one sequence with one watermark.

use std::sync::Arc;

use flott_core::time::{MAX_WATERMARK, NO_TIMESTAMP};
use flott_core::{CodecError, Timestamp};

use super::align::BarrierAligner;
use super::channel::{Channel, ChannelSender, ReadyQueue};
use crate::element::{AnyBatch, Barrier, Element};
use crate::error::{Fault, OperatorError};

/// What a gate gives its subtask.
#[derive(Debug)]
pub enum GateEvent {
    /// Records of some channel.
    Batch(AnyBatch),
    /// The watermark of all channels together has risen to this.
    Watermark(Timestamp),
    /// No channel has anything for a while.
    Idle,
    /// A channel's barrier; the number counts the subtask's channels over all gates.
    Barrier(usize, Barrier),
    /// A channel has ended; numbered like a barrier's.
    ChannelEnd(usize),
}

/// One input of a subtask.
pub struct InputGate {
    channels: Vec<GateChannel>,
    ready: Arc<ReadyQueue>,
    decode: fn(&[u8]) -> Result<AnyBatch, CodecError>,
    /// Number of this gate's first channel among all channels of the subtask.
    first_channel: usize,
    /// Channels that have something but are blocked by an alignment.
    parked: Vec<u32>,
    watermark: Timestamp,
    idle: bool,
    /// Charges to give back once the head operator has let go of what it took.
    held: Vec<(u32, usize)>,
    bytes_taken: u64,
}

struct GateChannel {
    channel: Arc<Channel>,
    watermark: Timestamp,
    idle: bool,
    ended: bool,
}

impl InputGate {
    /// A gate over `channels`, which are attached to it.
    pub fn new(
        channels: Vec<Arc<Channel>>,
        ready: Arc<ReadyQueue>,
        decode: fn(&[u8]) -> Result<AnyBatch, CodecError>,
        first_channel: usize,
    ) -> Self {
        for (index, channel) in channels.iter().enumerate() {
            channel.set_consumer(Arc::clone(&ready), index as u32);
        }
        let channels = channels
            .into_iter()
            .map(|channel| GateChannel { channel, watermark: NO_TIMESTAMP, idle: false, ended: false })
            .collect();
        Self {
            channels,
            ready,
            decode,
            first_channel,
            parked: Vec::new(),
            watermark: NO_TIMESTAMP,
            idle: false,
            held: Vec::new(),
            bytes_taken: 0,
        }
    }

    /// How many bytes were taken from its channels.
    pub fn bytes_taken(&self) -> u64 {
        self.bytes_taken
    }

    /// How many channels the gate has.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// The next event, if something is there that the alignment lets through.
    ///
    /// # Errors
    /// If a batch from another process cannot be decoded, or its producer is out of reach.
    pub fn next(&mut self, aligner: &BarrierAligner) -> Result<Option<GateEvent>, OperatorError> {
        while let Some(index) = self.ready.pop() {
            if aligner.is_blocked(self.first_channel + index as usize) {
                self.parked.push(index);
                continue;
            }
            if let Some(event) = self.take_from(index)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// A barrier that is next in its channel, for a subtask that is firing in steps and reads nothing else meanwhile.
    ///
    /// # Errors
    /// Like [`next`](Self::next).
    pub fn next_barrier(&mut self, aligner: &BarrierAligner) -> Result<Option<GateEvent>, OperatorError> {
        let mut passed = Vec::new();
        let mut found = None;
        while let Some(index) = self.ready.pop() {
            let blocked = aligner.is_blocked(self.first_channel + index as usize);
            if !blocked && self.channels[index as usize].channel.next_is_barrier() {
                found = self.take_from(index)?;
                break;
            }
            passed.push(index);
        }
        for index in passed {
            self.ready.push_back(index);
        }
        Ok(found)
    }

    /// Reads from all channels again, after an alignment.
    pub fn unblock(&mut self) {
        for index in self.parked.drain(..) {
            self.ready.push_back(index);
        }
    }

    /// Gives back the charge of all that was taken; called when the head operator has let go of it.
    pub fn release_held(&mut self) {
        for (index, bytes) in self.held.drain(..) {
            self.channels[index as usize].channel.release(bytes);
        }
    }

    fn take_from(&mut self, index: u32) -> Result<Option<GateEvent>, OperatorError> {
        let slot = &mut self.channels[index as usize];
        let (element, more) = slot.channel.pop(&self.ready);
        if more {
            self.ready.push_back(index);
        }
        let Some(element) = element else {
            let error = slot.channel.error();
            return error.map_or(Ok(None), |error| Err(OperatorError::new(Fault::Environment, error)));
        };
        let charge = element.charged_bytes();
        if charge > 0 {
            self.held.push((index, charge));
            self.bytes_taken += charge as u64;
        }
        let number = self.first_channel + index as usize;
        Ok(match element {
            Element::Batch(batch) => {
                self.end_idleness(index);
                Some(GateEvent::Batch(batch))
            }
            Element::Encoded(bytes) => {
                self.end_idleness(index);
                Some(GateEvent::Batch((self.decode)(&bytes)?))
            }
            Element::Watermark(watermark) => {
                slot.watermark = slot.watermark.max(watermark);
                slot.idle = false;
                self.idle = false;
                self.risen_watermark()
            }
            Element::Idle => {
                slot.idle = true;
                self.risen_watermark().or_else(|| self.fallen_idle())
            }
            Element::Barrier(barrier) => Some(GateEvent::Barrier(number, barrier)),
            Element::End => {
                slot.ended = true;
                slot.watermark = MAX_WATERMARK;
                Some(GateEvent::ChannelEnd(number))
            }
        })
    }

    /// The watermark of the channels that neither are idle nor have ended, if it has risen since it was last given.
    pub fn risen_watermark(&mut self) -> Option<GateEvent> {
        let lowest = |channels: &[GateChannel]| {
            channels.iter().filter(|c| !c.idle).map(|c| c.watermark).min().unwrap_or(NO_TIMESTAMP)
        };
        let watermark = lowest(&self.channels);
        (watermark > self.watermark).then(|| {
            self.watermark = watermark;
            GateEvent::Watermark(watermark)
        })
    }

    fn end_idleness(&mut self, index: u32) {
        self.channels[index as usize].idle = false;
        self.idle = false;
    }

    fn fallen_idle(&mut self) -> Option<GateEvent> {
        let idle = self.channels.iter().all(|channel| channel.idle || channel.ended);
        (idle && !std::mem::replace(&mut self.idle, idle)).then_some(GateEvent::Idle)
    }
}
