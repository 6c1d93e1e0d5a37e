//! JobGraph ↔ bytes, by `proto/job_graph.proto`. Reading believes nothing: what comes out is [valid](JobGraph::validate).

use prost::Message;

use flott_core::MaxParallelism;
use flott_core::ids::{EdgeId, OperatorId, VertexId};

use super::{
    ChainInput, ChainedOperator, EdgeKey, ExchangeMode, ExecutionMode, JobEdge, JobGraph, JobVertex,
    OperatorKey, Origin, OutputPort, Partitioning, Variant, VertexRole,
};
use crate::error::PlanError;
use crate::program::{LogicalInput, LogicalOperator, ProgramHash, ProgramListing};

mod wire {
    include!(concat!(env!("OUT_DIR"), "/flott.plan.rs"));
}

impl JobGraph {
    /// The graph as bytes.
    pub fn encode(&self) -> Vec<u8> {
        wire::JobGraph::from(self).encode_to_vec()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`PlanError::Decode`] if the bytes are something else, [`PlanError::Invalid`] if the graph contradicts itself.
    pub fn decode(bytes: &[u8]) -> Result<Self, PlanError> {
        let refuse = |reason| PlanError::Decode { length: bytes.len(), reason };
        let graph = wire::JobGraph::decode(bytes).map_err(|error| refuse(error.to_string()))?;
        let graph = Self::try_from(graph).map_err(refuse)?;
        graph.validate()?;
        Ok(graph)
    }
}

/// The two directions between an enumeration of the plan and that of the wire, whose variants have the same names.
macro_rules! same_variants {
    ($($name:ident { $($variant:ident),* })*) => {$(
        impl From<$name> for wire::$name {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant),*
                }
            }
        }

        impl TryFrom<wire::$name> for $name {
            type Error = String;

            fn try_from(value: wire::$name) -> Result<Self, String> {
                match value {
                    wire::$name::Unspecified => {
                        Err(concat!("a ", stringify!($name), " is missing or of a newer version").to_owned())
                    }
                    $(wire::$name::$variant => Ok(Self::$variant)),*
                }
            }
        }
    )*};
}

same_variants! {
    ExecutionMode { Streaming, Batch }
    VertexRole { Subtasks, Enumerator }
    ExchangeMode { Pipelined, Blocking }
    Partitioning { Forward, Rebalance, Rescale, Shuffle, Broadcast, Hash, Custom, Demand }
    Variant {
        Default, Enumerator, Combine, HashAggregate, SortAggregate, FinalHashAggregate, FinalSortAggregate,
        BuildLeft, BuildRight
    }
}

fn index(position: usize) -> u32 {
    // A chain has fewer than 2³² operators: each has an id of 16 bytes in memory.
    u32::try_from(position).unwrap_or(u32::MAX)
}

fn present<T>(part: Option<T>, what: &str) -> Result<T, String> {
    part.ok_or_else(|| format!("{what} is missing"))
}

fn sixteen(bytes: &[u8], what: &str) -> Result<[u8; 16], String> {
    bytes.try_into().map_err(|_| format!("{what} has {} bytes instead of 16", bytes.len()))
}

fn operator_id(bytes: &[u8]) -> Result<OperatorId, String> {
    sixteen(bytes, "an operator id").map(OperatorId::from_bytes)
}

fn side_output(port: &OutputPort) -> Option<String> {
    match port {
        OutputPort::Main => None,
        OutputPort::Side(tag) => Some(tag.clone()),
    }
}

fn output_port(side_output: Option<String>) -> OutputPort {
    side_output.map_or(OutputPort::Main, OutputPort::Side)
}

impl From<&JobGraph> for wire::JobGraph {
    fn from(graph: &JobGraph) -> Self {
        Self {
            name: graph.name.clone(),
            mode: wire::ExecutionMode::from(graph.mode).into(),
            vertices: graph.vertices.iter().map(Into::into).collect(),
            edges: graph.edges.iter().map(Into::into).collect(),
            configuration: graph.configuration.clone(),
            program_hash: graph.program_hash.as_bytes().to_vec(),
            program: graph.program.operators().iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::JobGraph> for JobGraph {
    type Error = String;

    fn try_from(graph: wire::JobGraph) -> Result<Self, String> {
        let mode = graph.mode().try_into()?;
        let vertices = (0..).map(VertexId).zip(graph.vertices).map(|(id, vertex)| job_vertex(id, vertex));
        let edges = (0..).map(EdgeId).zip(graph.edges).map(|(id, edge)| job_edge(id, edge));
        let program = graph.program.into_iter().map(TryInto::try_into);
        Ok(Self {
            name: graph.name,
            mode,
            vertices: vertices.collect::<Result<_, _>>()?,
            edges: edges.collect::<Result<_, _>>()?,
            configuration: graph.configuration,
            program_hash: ProgramHash::from_bytes(sixteen(&graph.program_hash, "the program hash")?),
            program: ProgramListing::new(program.collect::<Result<_, _>>()?),
        })
    }
}

impl From<&JobVertex> for wire::JobVertex {
    fn from(vertex: &JobVertex) -> Self {
        Self {
            name: vertex.name.clone(),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism.get(),
            operators: vertex.operators.iter().map(Into::into).collect(),
            slot_sharing_group: vertex.slot_sharing_group.clone(),
            role: wire::VertexRole::from(vertex.role).into(),
            blocking: vertex.blocking,
            reads: vertex.reads.clone(),
        }
    }
}

fn job_vertex(id: VertexId, vertex: wire::JobVertex) -> Result<JobVertex, String> {
    let role = vertex.role().try_into()?;
    let max_parallelism = MaxParallelism::new(vertex.max_parallelism)
        .ok_or_else(|| format!("vertex {id} has max parallelism {}", vertex.max_parallelism))?;
    let operators = vertex.operators.into_iter().map(TryInto::try_into);
    Ok(JobVertex {
        id,
        name: vertex.name,
        parallelism: vertex.parallelism,
        max_parallelism,
        operators: operators.collect::<Result<_, _>>()?,
        slot_sharing_group: vertex.slot_sharing_group,
        role,
        blocking: vertex.blocking,
        reads: vertex.reads,
    })
}

impl From<&ChainedOperator> for wire::ChainedOperator {
    fn from(operator: &ChainedOperator) -> Self {
        let input = operator.input.as_ref().map(|input| wire::ChainInput {
            operator: index(input.operator),
            side_output: side_output(&input.output),
        });
        Self {
            key: Some(operator.key.into()),
            name: operator.name.clone(),
            uid: operator.uid.clone(),
            input,
            managed_memory_weight: operator.managed_memory_weight,
            stateful: operator.stateful,
            watermark_group: operator.watermark_group.clone(),
            origin: Some(wire::Origin { file: operator.origin.file.clone(), line: operator.origin.line }),
        }
    }
}

impl TryFrom<wire::ChainedOperator> for ChainedOperator {
    type Error = String;

    fn try_from(operator: wire::ChainedOperator) -> Result<Self, String> {
        let origin = present(operator.origin, "an operator's origin")?;
        let input = operator.input.map(|input| ChainInput {
            operator: input.operator as usize,
            output: output_port(input.side_output),
        });
        Ok(Self {
            key: present(operator.key, "an operator's key")?.try_into()?,
            name: operator.name,
            uid: operator.uid,
            input,
            managed_memory_weight: operator.managed_memory_weight,
            stateful: operator.stateful,
            watermark_group: operator.watermark_group,
            origin: Origin { file: origin.file, line: origin.line },
        })
    }
}

impl From<&JobEdge> for wire::JobEdge {
    fn from(edge: &JobEdge) -> Self {
        Self {
            source: edge.source.0,
            source_operator: index(edge.source_operator),
            target: edge.target.0,
            input: edge.input,
            key: Some((&edge.key).into()),
            partitioning: wire::Partitioning::from(edge.partitioning).into(),
            mode: wire::ExchangeMode::from(edge.mode).into(),
            buffer_timeout: edge.buffer_timeout_ms,
        }
    }
}

fn job_edge(id: EdgeId, edge: wire::JobEdge) -> Result<JobEdge, String> {
    Ok(JobEdge {
        id,
        source: VertexId(edge.source),
        source_operator: edge.source_operator as usize,
        target: VertexId(edge.target),
        input: edge.input,
        partitioning: edge.partitioning().try_into()?,
        mode: edge.mode().try_into()?,
        buffer_timeout_ms: edge.buffer_timeout,
        key: present(edge.key, "an edge's key")?.try_into()?,
    })
}

impl From<OperatorKey> for wire::OperatorKey {
    fn from(key: OperatorKey) -> Self {
        Self { id: key.id.as_bytes().to_vec(), variant: wire::Variant::from(key.variant).into() }
    }
}

impl TryFrom<wire::OperatorKey> for OperatorKey {
    type Error = String;

    fn try_from(key: wire::OperatorKey) -> Result<Self, String> {
        Ok(Self { id: operator_id(&key.id)?, variant: key.variant().try_into()? })
    }
}

impl From<&EdgeKey> for wire::EdgeKey {
    fn from(key: &EdgeKey) -> Self {
        Self {
            source: Some(key.source.into()),
            side_output: side_output(&key.output),
            target: Some(key.target.into()),
            input: key.input,
        }
    }
}

impl TryFrom<wire::EdgeKey> for EdgeKey {
    type Error = String;

    fn try_from(key: wire::EdgeKey) -> Result<Self, String> {
        Ok(Self {
            source: present(key.source, "an edge's source")?.try_into()?,
            output: output_port(key.side_output),
            target: present(key.target, "an edge's target")?.try_into()?,
            input: key.input,
        })
    }
}

impl From<&LogicalOperator> for wire::LogicalOperator {
    fn from(operator: &LogicalOperator) -> Self {
        let inputs = operator.inputs.iter().map(|input| wire::LogicalInput {
            input: input.input,
            source: input.source.as_bytes().to_vec(),
            side_output: side_output(&input.output),
            by_function: input.by_function,
            schema: input.schema.clone(),
        });
        Self {
            operator: operator.operator.as_bytes().to_vec(),
            name: operator.name.clone(),
            logic: operator.logic.clone(),
            inputs: inputs.collect(),
            output_schema: operator.output_schema.clone(),
        }
    }
}

impl TryFrom<wire::LogicalOperator> for LogicalOperator {
    type Error = String;

    fn try_from(operator: wire::LogicalOperator) -> Result<Self, String> {
        let inputs = operator.inputs.into_iter().map(|input| {
            Ok(LogicalInput {
                input: input.input,
                source: operator_id(&input.source)?,
                output: output_port(input.side_output),
                by_function: input.by_function,
                schema: input.schema,
            })
        });
        Ok(Self {
            operator: operator_id(&operator.operator)?,
            inputs: inputs.collect::<Result<_, String>>()?,
            name: operator.name,
            logic: operator.logic,
            output_schema: operator.output_schema,
        })
    }
}

#[cfg(test)]
mod tests {
    use flott_fuzz::Decoder;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{any_job_graph, word_count};

    #[test]
    fn every_variant_has_its_number() {
        for variant in Variant::ALL {
            assert_eq!(Variant::try_from(wire::Variant::from(*variant)), Ok(*variant));
        }
        for partitioning in Partitioning::ALL {
            assert_eq!(Partitioning::try_from(wire::Partitioning::from(*partitioning)), Ok(*partitioning));
        }
    }

    #[test]
    fn a_truncated_graph_is_refused() {
        let bytes = word_count().to_job_graph().unwrap().encode();
        for length in 0..bytes.len() {
            assert!(JobGraph::decode(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
    }

    proptest! {
        #[test]
        fn graphs_come_back_as_they_were(graph in any_job_graph()) {
            prop_assert_eq!(JobGraph::decode(&graph.encode()), Ok(graph));
        }
    }

    #[test]
    fn fuzz_ha_job_graphs() {
        let sample = word_count().to_job_graph().unwrap().encode();
        Decoder::new("job graphs").sample(sample).bytes(|bytes| {
            if let Ok(graph) = JobGraph::decode(bytes) {
                // What was accepted can be worked with.
                let _ = (graph.describe(), graph.to_json(), graph.slots_needed());
                assert_eq!(graph.validate(), Ok(()));
            }
        });
    }
}
