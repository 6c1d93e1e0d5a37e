//! The JobGraph as JSON, for tools. Fields come in the order in which they stand here, which stays.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::job_graph::{ChainedOperator, JobEdge, JobGraph, JobVertex, OutputPort};

#[derive(Serialize)]
struct Graph<'a> {
    name: &'a str,
    mode: &'a str,
    program_hash: String,
    slots: u32,
    configuration: BTreeMap<&'a str, &'a str>,
    vertices: Vec<Vertex<'a>>,
}

#[derive(Serialize)]
struct Vertex<'a> {
    id: u32,
    name: &'a str,
    role: &'a str,
    parallelism: u32,
    max_parallelism: u32,
    slot_sharing_group: &'a str,
    managed_memory_weight: u32,
    blocking: bool,
    operators: Vec<Operator<'a>>,
    inputs: Vec<Input<'a>>,
}

#[derive(Serialize)]
struct Operator<'a> {
    id: String,
    variant: &'a str,
    name: &'a str,
    uid: Option<&'a str>,
    stateful: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark_group: Option<&'a str>,
    managed_memory_weight: u32,
    origin: String,
    /// The position of the feeding operator in the chain.
    fed_by: Option<usize>,
    side_output: Option<&'a str>,
}

#[derive(Serialize)]
struct Input<'a> {
    edge: u32,
    input: u32,
    vertex: u32,
    operator: usize,
    side_output: Option<&'a str>,
    partitioning: &'a str,
    mode: &'a str,
    buffer_timeout_ms: Option<u32>,
}

impl JobGraph {
    /// The graph as JSON, indented.
    pub fn to_json(&self) -> String {
        let graph = Graph {
            name: &self.name,
            mode: self.mode.name(),
            program_hash: self.program_hash.to_string(),
            slots: self.slots_needed(),
            configuration: self.shown_configuration(),
            vertices: self.vertices.iter().map(|vertex| self.vertex_json(vertex)).collect(),
        };
        // Text keys and plain values only: nothing that JSON does not have.
        serde_json::to_string_pretty(&graph).unwrap_or_default()
    }

    fn vertex_json<'a>(&'a self, vertex: &'a JobVertex) -> Vertex<'a> {
        Vertex {
            id: vertex.id.0,
            name: &vertex.name,
            role: vertex.role.name(),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism.get(),
            slot_sharing_group: &vertex.slot_sharing_group,
            managed_memory_weight: vertex.managed_memory_weight(),
            blocking: vertex.blocking,
            operators: vertex.operators.iter().map(operator_json).collect(),
            inputs: self.inputs(vertex.id).map(input_json).collect(),
        }
    }
}

fn operator_json(operator: &ChainedOperator) -> Operator<'_> {
    Operator {
        id: operator.key.id.to_string(),
        variant: operator.key.variant.name(),
        name: &operator.name,
        uid: operator.uid.as_deref(),
        stateful: operator.stateful,
        watermark_group: operator.watermark_group.as_deref(),
        managed_memory_weight: operator.managed_memory_weight,
        origin: operator.origin.to_string(),
        fed_by: operator.input.as_ref().map(|input| input.operator),
        side_output: operator.input.as_ref().and_then(|input| side_output(&input.output)),
    }
}

fn input_json(edge: &JobEdge) -> Input<'_> {
    Input {
        edge: edge.id.0,
        input: edge.input,
        vertex: edge.source.0,
        operator: edge.source_operator,
        side_output: side_output(&edge.key.output),
        partitioning: edge.partitioning.name(),
        mode: edge.mode.name(),
        buffer_timeout_ms: edge.buffer_timeout_ms,
    }
}

fn side_output(port: &OutputPort) -> Option<&str> {
    match port {
        OutputPort::Main => None,
        OutputPort::Side(tag) => Some(tag),
    }
}
