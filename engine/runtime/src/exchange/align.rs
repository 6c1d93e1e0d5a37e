//! Barrier alignment: when has the barrier of a checkpoint come from every channel? A pure decision.

use flott_core::ids::CheckpointId;

/// What the arrival of a barrier, or of the end of a channel, means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlignmentDecision {
    /// Nothing: the barrier is of a checkpoint that was given up.
    Ignore,
    /// Others are missing; read no more of this channel (exactly once), or go on (at least once).
    Wait,
    /// All have come: take the checkpoint, and read from all channels again.
    Aligned(CheckpointId),
}

/// Counts the barriers of one checkpoint over all input channels of a subtask.
#[derive(Debug)]
pub struct BarrierAligner {
    channels: Vec<ChannelBarrier>,
    /// The checkpoint in hand, and all older ones are over.
    current: Option<CheckpointId>,
    last: CheckpointId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelBarrier {
    Missing,
    Arrived,
    Ended,
}

impl BarrierAligner {
    /// For so many channels.
    pub fn new(channels: usize) -> Self {
        Self { channels: vec![ChannelBarrier::Missing; channels], current: None, last: CheckpointId(0) }
    }

    /// The barrier of `checkpoint` came from `channel`.
    pub fn barrier(&mut self, channel: usize, checkpoint: CheckpointId) -> AlignmentDecision {
        if checkpoint <= self.last {
            return AlignmentDecision::Ignore;
        }
        if self.current.is_none_or(|current| checkpoint > current) {
            // A later barrier means that the checkpoint in hand was given up.
            self.reset();
            self.current = Some(checkpoint);
        } else if self.current != Some(checkpoint) {
            return AlignmentDecision::Ignore;
        }
        self.channels[channel] = ChannelBarrier::Arrived;
        self.decide()
    }

    /// `channel` has ended: no barrier will come from it.
    pub fn end(&mut self, channel: usize) -> AlignmentDecision {
        self.channels[channel] = ChannelBarrier::Ended;
        self.decide()
    }

    /// `checkpoint` was given up: its barriers are not waited for. Returns whether channels were blocked for it.
    pub fn abort(&mut self, checkpoint: CheckpointId) -> bool {
        self.last = self.last.max(checkpoint);
        let was_waiting = self.current.is_some_and(|current| current <= checkpoint);
        if was_waiting {
            self.reset();
        }
        was_waiting
    }

    /// Whether `channel` must not be read until the alignment is over.
    pub fn is_blocked(&self, channel: usize) -> bool {
        self.channels[channel] == ChannelBarrier::Arrived
    }

    /// Whether barriers are still missing.
    pub fn is_waiting(&self) -> bool {
        self.current.is_some()
    }

    /// Whether every channel has ended.
    pub fn all_ended(&self) -> bool {
        self.channels.iter().all(|channel| *channel == ChannelBarrier::Ended)
    }

    fn decide(&mut self) -> AlignmentDecision {
        match self.current {
            Some(checkpoint) if !self.channels.contains(&ChannelBarrier::Missing) => {
                self.last = checkpoint;
                self.reset();
                AlignmentDecision::Aligned(checkpoint)
            }
            _ => AlignmentDecision::Wait,
        }
    }

    fn reset(&mut self) {
        self.current = None;
        for channel in &mut self.channels {
            if *channel == ChannelBarrier::Arrived {
                *channel = ChannelBarrier::Missing;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: CheckpointId = CheckpointId(1);
    const TWO: CheckpointId = CheckpointId(2);

    #[test]
    fn aligns_when_every_channel_has_sent_its_barrier() {
        let mut aligner = BarrierAligner::new(2);
        assert_eq!(aligner.barrier(0, ONE), AlignmentDecision::Wait);
        assert!(aligner.is_blocked(0) && !aligner.is_blocked(1));
        assert_eq!(aligner.barrier(1, ONE), AlignmentDecision::Aligned(ONE));
        assert!(!aligner.is_blocked(0) && !aligner.is_waiting());
    }

    #[test]
    fn an_ended_channel_counts_as_aligned() {
        let mut aligner = BarrierAligner::new(2);
        assert_eq!(aligner.barrier(0, ONE), AlignmentDecision::Wait);
        assert_eq!(aligner.end(1), AlignmentDecision::Aligned(ONE));
        assert_eq!(aligner.barrier(0, TWO), AlignmentDecision::Aligned(TWO));
    }

    #[test]
    fn a_later_barrier_gives_up_the_checkpoint_in_hand() {
        let mut aligner = BarrierAligner::new(2);
        assert_eq!(aligner.barrier(0, ONE), AlignmentDecision::Wait);
        assert_eq!(aligner.barrier(1, TWO), AlignmentDecision::Wait);
        assert!(!aligner.is_blocked(0) && aligner.is_blocked(1));
        assert_eq!(aligner.barrier(1, ONE), AlignmentDecision::Ignore);
        assert_eq!(aligner.barrier(0, TWO), AlignmentDecision::Aligned(TWO));
    }

    #[test]
    fn an_aborted_checkpoint_blocks_nothing() {
        let mut aligner = BarrierAligner::new(2);
        assert_eq!(aligner.barrier(0, ONE), AlignmentDecision::Wait);
        assert!(aligner.abort(ONE));
        assert!(!aligner.is_blocked(0));
        assert_eq!(aligner.barrier(1, ONE), AlignmentDecision::Ignore);
        assert!(!aligner.abort(ONE));
    }
}
