//! StreamGraph → JobGraph: parallelism, slot sharing, chaining.

use std::collections::HashMap;

use flott_core::MaxParallelism;
use flott_core::ids::{EdgeId, VertexId};

use crate::error::PlanError;
use crate::job_graph::{
    ChainInput, ChainedOperator, EdgeKey, ExchangeMode, ExecutionMode, JobEdge, JobGraph, JobVertex,
    OperatorKey, OutputPort, Partitioning, Variant, VertexRole,
};
use crate::stream_graph::{Chaining, NodeId, NodeKind, StreamEdge, StreamGraph, StreamNode};

/// The group of operators that name none.
const DEFAULT_GROUP: &str = "default";

/// What was decided for a node.
struct Physical {
    parallelism: u32,
    max_parallelism: MaxParallelism,
    slot_sharing_group: String,
}

impl StreamGraph {
    /// Decides what is physical: parallelism, slot sharing, chains, exchanges.
    ///
    /// # Errors
    /// [`PlanError`] that names the operator and the line that made it.
    pub fn to_job_graph(&self) -> Result<JobGraph, PlanError> {
        if self.nodes.is_empty() {
            return Err(PlanError::Empty);
        }
        self.check_uids()?;
        let physical = self.decide_nodes()?;
        let partitioning = self.edges.iter().map(|edge| self.partitioning(edge, &physical));
        let partitioning = partitioning.collect::<Result<Vec<_>, _>>()?;
        let chained: Vec<bool> = self
            .edges
            .iter()
            .zip(&partitioning)
            .map(|(edge, partitioning)| self.is_chainable(edge, *partitioning, &physical))
            .collect();
        Ok(self.build(&physical, &partitioning, &chained))
    }

    fn node(&self, id: NodeId) -> &StreamNode {
        &self.nodes[id.0]
    }

    fn check_uids(&self) -> Result<(), PlanError> {
        let mut seen: HashMap<&str, &StreamNode> = HashMap::new();
        for node in &self.nodes {
            let Some(uid) = &node.uid else { continue };
            if let Some(first) = seen.insert(uid, node) {
                return Err(PlanError::DuplicateUid {
                    uid: uid.clone(),
                    first: first.name.clone(),
                    first_origin: Box::new(first.origin.clone()),
                    second: node.name.clone(),
                    second_origin: Box::new(node.origin.clone()),
                });
            }
        }
        Ok(())
    }

    fn decide_nodes(&self) -> Result<Vec<Physical>, PlanError> {
        let mut decided: Vec<Physical> = Vec::with_capacity(self.nodes.len());
        for (position, node) in self.nodes.iter().enumerate() {
            let operator = || (node.name.clone(), node.origin.clone());
            let parallelism = node.parallelism.unwrap_or(self.default_parallelism);
            if parallelism == 0 {
                let (operator, origin) = operator();
                return Err(PlanError::ZeroParallelism { operator, origin });
            }
            let max_parallelism = match node.max_parallelism.or(self.default_max_parallelism) {
                None => MaxParallelism::default_for(parallelism),
                Some(max) => MaxParallelism::new(max).ok_or_else(|| {
                    let (operator, origin) = operator();
                    PlanError::BadMaxParallelism { operator, origin, max_parallelism: max }
                })?,
            };
            if parallelism > max_parallelism.get() {
                let (operator, origin) = operator();
                let max_parallelism = max_parallelism.get();
                return Err(PlanError::AboveMaxParallelism {
                    operator,
                    origin,
                    parallelism,
                    max_parallelism,
                });
            }
            // A group is inherited where all inputs agree.
            let mut inherited = self.edges.iter().filter(|edge| edge.target.0 == position);
            let first = inherited.next().map(|edge| decided[edge.source.0].slot_sharing_group.as_str());
            let agreed = first
                .filter(|group| inherited.all(|edge| decided[edge.source.0].slot_sharing_group == *group));
            let group = node.slot_sharing_group.as_deref().or(agreed).unwrap_or(DEFAULT_GROUP);
            decided.push(Physical { parallelism, max_parallelism, slot_sharing_group: group.to_owned() });
        }
        Ok(decided)
    }

    fn partitioning(&self, edge: &StreamEdge, physical: &[Physical]) -> Result<Partitioning, PlanError> {
        let (source, target) = (self.node(edge.source), self.node(edge.target));
        let (from, to) = (physical[edge.source.0].parallelism, physical[edge.target.0].parallelism);
        if target.keyed && edge.partitioning != Some(Partitioning::Hash) {
            return Err(PlanError::NotKeyed { operator: target.name.clone(), origin: target.origin.clone() });
        }
        match edge.partitioning {
            Some(Partitioning::Forward) if from != to => Err(PlanError::ForwardParallelism {
                source_operator: source.name.clone(),
                target: target.name.clone(),
                origin: target.origin.clone(),
                from,
                to,
            }),
            Some(partitioning) => Ok(partitioning),
            None if from == to => Ok(Partitioning::Forward),
            None => Ok(Partitioning::Rebalance),
        }
    }

    fn is_chainable(&self, edge: &StreamEdge, partitioning: Partitioning, physical: &[Physical]) -> bool {
        let (source, target) = (self.node(edge.source), self.node(edge.target));
        let (from, to) = (&physical[edge.source.0], &physical[edge.target.0]);
        let only_input = self.edges.iter().filter(|other| other.target == edge.target).count() == 1;
        self.chaining
            && partitioning == Partitioning::Forward
            && from.parallelism == to.parallelism
            && from.max_parallelism == to.max_parallelism
            && from.slot_sharing_group == to.slot_sharing_group
            && source.chaining != Chaining::Never
            && target.chaining == Chaining::Always
            && only_input
    }

    fn build(&self, physical: &[Physical], partitioning: &[Partitioning], chained: &[bool]) -> JobGraph {
        let mut vertices: Vec<JobVertex> = Vec::new();
        let mut edges = Vec::new();
        // Where each node ended up: its vertex, and its place in the chain.
        let mut places: Vec<(VertexId, usize)> = Vec::with_capacity(self.nodes.len());
        for (position, node) in self.nodes.iter().enumerate() {
            let feeding =
                self.edges.iter().zip(chained).find(|(edge, chained)| **chained && edge.target.0 == position);
            let operator = |input| ChainedOperator {
                key: self.key(node),
                name: node.name.clone(),
                uid: node.uid.clone(),
                input,
                managed_memory_weight: node.managed_memory_weight,
                stateful: node.stateful,
                origin: node.origin.clone(),
            };
            if let Some((edge, _)) = feeding {
                let (vertex, at) = places[edge.source.0];
                let chain = &mut vertices[vertex.0 as usize].operators;
                chain.push(operator(Some(ChainInput { operator: at, output: edge.output.clone() })));
                places.push((vertex, chain.len() - 1));
                continue;
            }
            if node.kind == NodeKind::Source {
                self.add_enumerator(node, &physical[position], &mut vertices, &mut edges);
            }
            let id = VertexId(vertices.len() as u32);
            let Physical { parallelism, max_parallelism, slot_sharing_group } = &physical[position];
            vertices.push(JobVertex {
                id,
                name: String::new(),
                parallelism: *parallelism,
                max_parallelism: *max_parallelism,
                operators: vec![operator(None)],
                slot_sharing_group: slot_sharing_group.clone(),
                role: VertexRole::Subtasks,
            });
            places.push((id, 0));
        }
        for ((edge, partitioning), chained) in self.edges.iter().zip(partitioning).zip(chained) {
            if *chained {
                continue;
            }
            let ((source, source_operator), (target, _)) = (places[edge.source.0], places[edge.target.0]);
            let key = EdgeKey {
                source: self.key(self.node(edge.source)),
                output: edge.output.clone(),
                target: self.key(self.node(edge.target)),
                input: edge.input,
            };
            let blocking = self.mode == ExecutionMode::Batch && *partitioning != Partitioning::Forward;
            edges.push(JobEdge {
                id: EdgeId(edges.len() as u32),
                source,
                source_operator,
                target,
                input: edge.input,
                key,
                partitioning: *partitioning,
                mode: if blocking { ExchangeMode::Blocking } else { ExchangeMode::Pipelined },
                buffer_timeout_ms: edge.buffer_timeout_ms,
            });
        }
        for vertex in &mut vertices {
            vertex.name = chain_name(vertex);
        }
        JobGraph {
            name: self.name.clone(),
            mode: self.mode,
            vertices,
            edges,
            configuration: self.configuration.clone(),
            program: self.program(),
        }
    }

    fn add_enumerator(
        &self,
        source: &StreamNode,
        physical: &Physical,
        vertices: &mut Vec<JobVertex>,
        edges: &mut Vec<JobEdge>,
    ) {
        let id = VertexId(vertices.len() as u32);
        let key = OperatorKey::variant(source.operator, Variant::Enumerator);
        vertices.push(enumerator_vertex(
            id,
            key,
            &source.name,
            source.uid.clone(),
            physical.slot_sharing_group.clone(),
            source.origin.clone(),
        ));
        edges.push(JobEdge {
            id: EdgeId(edges.len() as u32),
            source: id,
            source_operator: 0,
            target: VertexId(id.0 + 1),
            input: 0,
            key: EdgeKey {
                source: key,
                output: OutputPort::Main,
                target: OperatorKey::new(source.operator),
                input: 0,
            },
            partitioning: Partitioning::Demand,
            mode: ExchangeMode::Pipelined,
            buffer_timeout_ms: Some(0),
        });
    }
}

/// The vertex that finds a source's splits.
pub(crate) fn enumerator_vertex(
    id: VertexId,
    key: OperatorKey,
    source: &str,
    uid: Option<String>,
    slot_sharing_group: String,
    origin: crate::job_graph::Origin,
) -> JobVertex {
    let name = format!("{source} (splits)");
    JobVertex {
        id,
        name: name.clone(),
        parallelism: 1,
        max_parallelism: MaxParallelism::default_for(1),
        operators: vec![ChainedOperator {
            key,
            name,
            uid,
            input: None,
            managed_memory_weight: 0,
            stateful: true,
            origin,
        }],
        slot_sharing_group,
        role: VertexRole::Enumerator,
    }
}

/// `Source: lines -> (Map -> Filter, Sink: print)`.
pub(crate) fn chain_name(vertex: &JobVertex) -> String {
    fn name_from(vertex: &JobVertex, position: usize) -> String {
        let operators = vertex.operators.iter().enumerate();
        let fed = operators.filter(|(_, o)| o.input.as_ref().is_some_and(|input| input.operator == position));
        let behind: Vec<String> = fed.map(|(position, _)| name_from(vertex, position)).collect();
        let name = &vertex.operators[position].name;
        match behind.as_slice() {
            [] => name.clone(),
            [one] => format!("{name} -> {one}"),
            many => format!("{name} -> ({})", many.join(", ")),
        }
    }
    name_from(vertex, 0)
}

#[cfg(test)]
mod tests;
