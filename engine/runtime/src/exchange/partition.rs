//! Partitioners: which channel a record takes. The partitioning is a value of the JobGraph; the code that knows the record
//! type stands behind one trait.

use std::sync::Arc;

use flott_core::{Batch, Data, MaxParallelism, Records};
use flott_plan::Partitioning;

use super::output::Channels;
use crate::element::AnyBatch;
use crate::error::OperatorError;
use crate::key_selector::KeySelector;

/// What a partitioner needs to know of its output.
#[derive(Debug, Clone)]
pub struct PartitionContext {
    /// How records are spread.
    pub partitioning: Partitioning,
    /// Over how many channels.
    pub channels: u32,
    /// The producing subtask.
    pub subtask: u32,
    /// The consumer's key groups.
    pub max_parallelism: MaxParallelism,
    /// The name of the producing operator, for errors.
    pub operator: String,
}

/// Spreads batches over channels.
pub trait Partitioner {
    /// Spreads one batch; may hold back records to fill batches.
    ///
    /// # Errors
    /// What the user's key selector or partitioner did wrong.
    fn write(&mut self, batch: AnyBatch, channels: &Channels) -> Result<(), OperatorError>;

    /// Sends what was held back.
    fn flush(&mut self, channels: &Channels);

    /// Whether records are held back.
    fn holds_records(&self) -> bool;

    /// Whether room in a single channel is enough to write.
    fn chooses_by_room(&self) -> bool {
        false
    }
}

/// The partitioner of rows for every partitioning that needs no key and no function of the user's.
pub fn records_partitioner<T: Data>(context: &PartitionContext) -> Box<dyn Partitioner> {
    match context.partitioning {
        Partitioning::Rebalance | Partitioning::Rescale => {
            // Producers start at different channels, so that few records do not all meet in the first.
            let (channels, mut next) = (context.channels as usize, context.subtask as usize);
            Box::new(Scatter::<T, _>::new(context.channels, move |_: &T| {
                next = if next + 1 >= channels { 0 } else { next + 1 };
                Ok(next)
            }))
        }
        Partitioning::Shuffle => {
            let channels = u64::from(context.channels);
            let mut random = 0x9E37_79B9_7F4A_7C15_u64 ^ u64::from(context.subtask + 1);
            Box::new(Scatter::<T, _>::new(context.channels, move |_: &T| {
                // Marsaglia's xorshift64: evenness is all that is asked of it.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                Ok((((random >> 32) * channels) >> 32) as usize)
            }))
        }
        _ => Box::new(WholeBatchPartitioner::new(context)),
    }
}

/// Passes whole batches on: to the one consumer, to all, or to one that has room.
pub struct WholeBatchPartitioner {
    partitioning: Partitioning,
    next: usize,
}

impl WholeBatchPartitioner {
    /// For any partitioning that does not look into records.
    pub fn new(context: &PartitionContext) -> Self {
        Self { partitioning: context.partitioning, next: 0 }
    }
}

impl Partitioner for WholeBatchPartitioner {
    fn write(&mut self, batch: AnyBatch, channels: &Channels) -> Result<(), OperatorError> {
        match self.partitioning {
            Partitioning::Broadcast => {
                for channel in 1..channels.len() {
                    channels.send(channel, batch.duplicate());
                }
                channels.send(0, batch);
            }
            Partitioning::Demand => channels.send_to_chosen(batch),
            _ => {
                self.next = (self.next + 1) % channels.len();
                channels.send(self.next, batch);
            }
        }
        Ok(())
    }

    fn flush(&mut self, _channels: &Channels) {}

    fn holds_records(&self) -> bool {
        false
    }

    fn chooses_by_room(&self) -> bool {
        self.partitioning == Partitioning::Demand
    }
}

/// Spreads records by a function of each, and fills a batch for every channel.
struct Scatter<T, F> {
    partial: Vec<Records<T>>,
    choose: F,
}

impl<T: Data, F: FnMut(&T) -> Result<usize, OperatorError>> Scatter<T, F> {
    fn new(channels: u32, choose: F) -> Self {
        Self { partial: (0..channels).map(|_| Records::new()).collect(), choose }
    }
}

impl<T: Data, F: FnMut(&T) -> Result<usize, OperatorError>> Partitioner for Scatter<T, F> {
    fn write(&mut self, batch: AnyBatch, channels: &Channels) -> Result<(), OperatorError> {
        if let [_] = self.partial.as_slice() {
            channels.send(0, batch);
            return Ok(());
        }
        let mut records = batch.downcast::<Records<T>>()?;
        for (record, time) in records.drain() {
            let channel = (self.choose)(&record)?;
            let partial = &mut self.partial[channel];
            if partial.is_empty() {
                partial.reserve_full();
            }
            partial.push(record, time);
            if partial.is_full() {
                channels.send(channel, AnyBatch::new(std::mem::take(partial)));
            }
        }
        Ok(())
    }

    fn flush(&mut self, channels: &Channels) {
        for (channel, partial) in self.partial.iter_mut().enumerate() {
            if !partial.is_empty() {
                channels.send(channel, AnyBatch::new(std::mem::take(partial)));
            }
        }
    }

    fn holds_records(&self) -> bool {
        self.partial.iter().any(|partial| !partial.is_empty())
    }
}

/// The channel of every key group.
pub fn channels_by_key_group(max_parallelism: MaxParallelism, channels: u32) -> Vec<u16> {
    (0..max_parallelism.get())
        .map(|group| max_parallelism.subtask(flott_core::KeyGroup::new(group as u16), channels) as u16)
        .collect()
}

/// Spreads rows by the key group of their key.
pub struct HashPartitioner<T, S> {
    scatter: Box<dyn Partitioner>,
    types: std::marker::PhantomData<fn(T, S)>,
}

impl<T: Data, S: KeySelector<T>> HashPartitioner<T, S> {
    /// By the key that `selector` finds.
    pub fn new(selector: Arc<S>, context: &PartitionContext) -> Self {
        let max_parallelism = context.max_parallelism;
        let channels = channels_by_key_group(max_parallelism, context.channels);
        let choose = move |record: &T| {
            let group =
                selector.with_key(record, |key| flott_core::Key::key_hash(key).group(max_parallelism));
            Ok(usize::from(channels[usize::from(group.index())]))
        };
        Self {
            scatter: Box::new(Scatter::<T, _>::new(context.channels, choose)),
            types: std::marker::PhantomData,
        }
    }
}

impl<T: Data, S: KeySelector<T>> Partitioner for HashPartitioner<T, S> {
    fn write(&mut self, batch: AnyBatch, channels: &Channels) -> Result<(), OperatorError> {
        self.scatter.write(batch, channels)
    }

    fn flush(&mut self, channels: &Channels) {
        self.scatter.flush(channels);
    }

    fn holds_records(&self) -> bool {
        self.scatter.holds_records()
    }
}

/// The user's choice of a partition for a record, of so many.
pub type ChoosePartition<T> = Arc<dyn Fn(&T, u32) -> u32 + Send + Sync>;

/// Spreads rows by the user's function.
pub struct CustomPartitioner<T> {
    scatter: Box<dyn Partitioner>,
    types: std::marker::PhantomData<fn(T)>,
}

impl<T: Data> CustomPartitioner<T> {
    /// By `choose`, which gets a record and the number of channels.
    pub fn new(choose: ChoosePartition<T>, context: &PartitionContext) -> Self {
        let (channels, operator) = (context.channels, context.operator.clone());
        let choose = move |record: &T| match choose(record, channels) {
            channel if channel < channels => Ok(channel as usize),
            channel => Err(OperatorError::new(
                crate::error::Fault::User,
                format!(
                    "the custom partitioner behind '{operator}' chose partition {channel} of {channels}: it must return 0 to {}",
                    channels - 1
                ),
            )),
        };
        Self { scatter: Box::new(Scatter::<T, _>::new(channels, choose)), types: std::marker::PhantomData }
    }
}

impl<T: Data> Partitioner for CustomPartitioner<T> {
    fn write(&mut self, batch: AnyBatch, channels: &Channels) -> Result<(), OperatorError> {
        self.scatter.write(batch, channels)
    }

    fn flush(&mut self, channels: &Channels) {
        self.scatter.flush(channels);
    }

    fn holds_records(&self) -> bool {
        self.scatter.holds_records()
    }
}
