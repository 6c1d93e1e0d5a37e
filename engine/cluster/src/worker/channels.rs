//! The channels of a worker's subtasks: inside the worker, from and to other ones.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use flott_core::MAX_BATCH_BYTES;
use flott_core::ids::{Attempt, ExecutionId, SubtaskId};
use flott_plan::{ExchangeMode, JobEdge, JobGraph, Partitioning};
use flott_runtime::exchange::channel::{CHANNEL_BYTES, Channel, ChannelId};
use flott_runtime::net::{DataPlane, Peer};

use crate::gateway::Neighbour;

/// The bytes a channel of splits holds: one split, whatever its size.
const SPLIT_CHANNEL_BYTES: usize = 1;

/// What a worker keeps of a channel.
struct Entry {
    channel: Arc<Channel>,
    /// It is the near end of a channel from another worker.
    from_peer: bool,
}

/// A worker's channels.
pub(super) struct Channels {
    temp_dir: PathBuf,
    plane: Option<Arc<DataPlane>>,
    entries: HashMap<ChannelId, Entry>,
}

/// What the channels of an edge hold for one subtask, in bytes, however many they are; each has room for a batch.
const EDGE_BYTES: usize = 16 << 20;

/// The bytes that each channel of an edge holds: the same in every worker, since they are credit, too.
pub(super) fn capacity(graph: &JobGraph, edge: &JobEdge) -> usize {
    if edge.partitioning == Partitioning::Demand {
        return SPLIT_CHANNEL_BYTES;
    }
    let most = graph.producers(edge.id, 0).len().max(graph.consumers(edge.id, 0).len());
    (EDGE_BYTES / most.max(1)).clamp(MAX_BATCH_BYTES, CHANNEL_BYTES)
}

/// What a blocking exchange keeps is the same for whichever attempt reads it.
fn channel_id(edge: &JobEdge, producer: (u32, Attempt), consumer: (u32, Attempt)) -> ChannelId {
    let consumer_attempt = if edge.mode == ExchangeMode::Blocking { Attempt(0) } else { consumer.1 };
    ChannelId {
        edge: edge.id,
        producer: producer.0,
        producer_attempt: producer.1,
        consumer: consumer.0,
        consumer_attempt,
    }
}

impl Channels {
    /// None yet. Without a data plane every neighbour is in this worker.
    pub(super) fn new(temp_dir: PathBuf, plane: Option<Arc<DataPlane>>) -> Self {
        Self { temp_dir, plane, entries: HashMap::new() }
    }

    /// The channel from a neighbour to one of this worker's subtasks.
    pub(super) fn inbound(
        &mut self,
        edge: &JobEdge,
        capacity: usize,
        producer: (u32, Neighbour),
        consumer: (u32, Attempt),
    ) -> Arc<Channel> {
        let (index, Neighbour { attempt, worker }) = producer;
        let id = channel_id(edge, (index, attempt), consumer);
        match (worker, &self.plane) {
            (Some(peer), Some(plane)) => {
                let channel = Arc::new(Channel::new(capacity));
                plane.receive(id, &channel, &peer);
                self.entries.insert(id, Entry { channel: Arc::clone(&channel), from_peer: true });
                channel
            }
            _ => self.inside(edge, capacity, id),
        }
    }

    /// The channel from one of this worker's subtasks to a neighbour.
    pub(super) fn outbound(
        &mut self,
        edge: &JobEdge,
        capacity: usize,
        producer: (u32, Attempt),
        consumer: (u32, Neighbour),
    ) -> Arc<Channel> {
        let (index, Neighbour { attempt, worker }) = consumer;
        let id = channel_id(edge, producer, (index, attempt));
        let Some(plane) = self.plane.clone() else { return self.inside(edge, capacity, id) };
        if edge.mode == ExchangeMode::Blocking {
            self.forget_earlier(id, &plane);
            // Where it will be read is not decided before it is complete.
            let channel = self.inside(edge, capacity, id);
            plane.offer(id, &channel);
            return channel;
        }
        let Some(Peer { .. }) = worker else { return self.inside(edge, capacity, id) };
        let channel = Arc::new(Channel::encoding(capacity));
        plane.offer(id, &channel);
        self.entries.insert(id, Entry { channel: Arc::clone(&channel), from_peer: false });
        channel
    }

    fn inside(&mut self, edge: &JobEdge, capacity: usize, id: ChannelId) -> Arc<Channel> {
        let temp_dir = &self.temp_dir;
        let make = || match edge.mode {
            ExchangeMode::Blocking => Channel::blocking(temp_dir),
            ExchangeMode::Pipelined => Channel::new(capacity),
        };
        let entry =
            self.entries.entry(id).or_insert_with(|| Entry { channel: Arc::new(make()), from_peer: false });
        Arc::clone(&entry.channel)
    }

    /// What earlier attempts of a producer have given to a blocking exchange is given again.
    fn forget_earlier(&mut self, id: ChannelId, plane: &DataPlane) {
        self.entries.retain(|other, _| {
            let earlier = ChannelId { producer_attempt: id.producer_attempt, ..*other } == id && *other != id;
            if earlier {
                plane.withdraw(*other);
            }
            !earlier
        });
    }

    /// Attempts are over. What a blocking exchange holds stays: a later attempt may read it again.
    pub(super) fn release(&mut self, graph: &JobGraph, executions: &[ExecutionId]) {
        let plane = self.plane.as_deref();
        self.entries.retain(|id, entry| {
            let edge = graph.edge(id.edge);
            let blocking = edge.mode == ExchangeMode::Blocking;
            let over = |vertex, index, attempt| {
                let subtask = SubtaskId { vertex, index };
                executions.iter().any(|over| over.subtask == subtask && (over.attempt == attempt || blocking))
            };
            let consumer_over = over(edge.target, id.consumer, id.consumer_attempt);
            if entry.from_peer {
                if consumer_over && let Some(plane) = plane {
                    plane.close(*id);
                }
                return !consumer_over;
            }
            if blocking {
                return true;
            }
            let producer_over = over(edge.source, id.producer, id.producer_attempt);
            if producer_over
                && !entry.channel.has_ended()
                && let Some(plane) = plane
            {
                plane.withdraw(*id);
            }
            !(producer_over || consumer_over)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_master::simulated_graph;

    #[test]
    fn the_channels_of_an_edge_hold_no_more_however_many_they_are() {
        let mut graph = (*simulated_graph()).clone();
        graph.edges.iter_mut().for_each(|edge| edge.partitioning = Partitioning::Rebalance);
        for (parallelism, capacity_of_each) in
            [(1, CHANNEL_BYTES), (128, CHANNEL_BYTES), (256, 64 << 10), (2000, MAX_BATCH_BYTES)]
        {
            graph.vertices.iter_mut().for_each(|vertex| vertex.parallelism = parallelism);
            assert_eq!(capacity(&graph, &graph.edges[0]), capacity_of_each, "{parallelism}");
        }
        graph.edges[0].partitioning = Partitioning::Forward;
        assert_eq!(capacity(&graph, &graph.edges[0]), CHANNEL_BYTES);
    }
}
