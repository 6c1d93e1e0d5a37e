//! StreamGraph → JobGraph: parallelism, slot sharing, partitioning, what blocks. Chains are made in
//! [`physical`](crate::physical).

mod check;

use std::collections::HashMap;

use crate::error::PlanError;
use crate::job_graph::{ExchangeMode, ExecutionMode, JobGraph, OperatorKey, Partitioning, Variant};
use crate::physical::{PhysicalEdge, PhysicalNode, PhysicalPlan};
use crate::resolve::{Defaults, JobSettings};
use crate::stream_graph::{NodeId, NodeKind, StreamEdge, StreamGraph, StreamNode};

/// The slot sharing group of operators that name and inherit none.
pub(crate) const DEFAULT_GROUP: &str = "default";

impl StreamGraph {
    /// Decides what is physical: parallelism, slot sharing, chains, exchanges.
    ///
    /// # Errors
    /// [`PlanError`] that names the operator and the line that made it.
    pub fn to_job_graph(&self) -> Result<JobGraph, PlanError> {
        check::check(self)?;
        let settings = JobSettings::of(&self.configuration)?;
        let order = check::topological_order(self)?;
        let nodes = self.physical_nodes(&order, &settings)?;
        let position: HashMap<NodeId, usize> = order.into_iter().map(NodeId).zip(0..).collect();
        let edges = self.edges.iter().map(|edge| self.physical_edge(edge, &nodes, &position));
        let mut plan = PhysicalPlan {
            name: self.name.clone(),
            mode: self.mode,
            edges: edges.collect::<Result<_, _>>()?,
            nodes,
            configuration: self.configuration.clone(),
            program: self.program(),
        };
        let chains = plan.chains(settings.chaining);
        plan.decide_modes(&chains);
        Ok(plan.assemble(&chains))
    }

    /// The operator of a node, in the alternative that this graph's mode asks for.
    fn key(&self, node: &StreamNode) -> OperatorKey {
        let variant = node.batch_variant.filter(|_| self.mode == ExecutionMode::Batch);
        OperatorKey::variant(node.operator, variant.unwrap_or(Variant::Default))
    }

    fn physical_nodes(
        &self,
        order: &[usize],
        settings: &JobSettings,
    ) -> Result<Vec<PhysicalNode>, PlanError> {
        let defaults =
            Defaults { parallelism: self.default_parallelism, max_parallelism: settings.max_parallelism };
        let mut groups: Vec<&str> = vec![DEFAULT_GROUP; self.nodes.len()];
        let mut nodes = Vec::with_capacity(order.len());
        for position in order {
            let node = &self.nodes[*position];
            groups[*position] = self.slot_sharing_group(*position, &groups);
            nodes.push(PhysicalNode {
                key: self.key(node),
                name: node.display_name(),
                uid: node.uid.clone(),
                origin: node.origin.clone(),
                is_source: matches!(node.kind, NodeKind::Source { .. }),
                reads: node.reads.clone(),
                width: check::wanted(node).width(&defaults)?,
                slot_sharing_group: groups[*position].to_owned(),
                chaining: node.chaining,
                stateful: node.stateful,
                watermark_group: node.watermark_group.clone(),
                managed_memory_weight: node.managed_memory_weight,
            });
        }
        Ok(nodes)
    }

    /// A group is inherited where all inputs agree.
    fn slot_sharing_group<'a>(&'a self, position: usize, groups: &[&'a str]) -> &'a str {
        let mut inputs = self.edges.iter().filter(|edge| edge.target.0 == position);
        let first = inputs.next().map(|edge| groups[edge.source.0]);
        let agreed = first.filter(|group| inputs.all(|edge| groups[edge.source.0] == *group));
        self.nodes[position].slot_sharing_group.as_deref().or(agreed).unwrap_or(DEFAULT_GROUP)
    }

    fn physical_edge(
        &self,
        edge: &StreamEdge,
        nodes: &[PhysicalNode],
        position: &HashMap<NodeId, usize>,
    ) -> Result<PhysicalEdge, PlanError> {
        let (source, target) = (position[&edge.source], position[&edge.target]);
        let (from, to) = (nodes[source].width.parallelism, nodes[target].width.parallelism);
        let partitioning = match edge.partitioning {
            Some(Partitioning::Forward) if from != to => {
                return Err(PlanError::ForwardParallelism {
                    producer: Box::new(self.nodes[edge.source.0].culprit()),
                    consumer: Box::new(self.nodes[edge.target.0].culprit()),
                    from,
                    to,
                });
            }
            Some(partitioning) => partitioning,
            None if from == to => Partitioning::Forward,
            None => Partitioning::Rebalance,
        };
        let is_batch = self.mode == ExecutionMode::Batch;
        let blocking = is_batch && partitioning != Partitioning::Forward;
        Ok(PhysicalEdge {
            source,
            output: edge.output.clone(),
            target,
            input: edge.input,
            partitioning,
            mode: if blocking { ExchangeMode::Blocking } else { ExchangeMode::Pipelined },
            // Nobody waits for the single record of a batch job.
            buffer_timeout_ms: edge.buffer_timeout_ms.filter(|_| !is_batch),
        })
    }
}

#[cfg(test)]
mod tests;
