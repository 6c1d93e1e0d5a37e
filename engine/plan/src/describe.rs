//! The JobGraph for people and for tools.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::job_graph::{ExchangeMode, ExecutionMode, JobEdge, JobGraph, JobVertex, OutputPort, VertexRole};

fn mode(edge: &JobEdge) -> &'static str {
    match edge.mode {
        ExchangeMode::Pipelined => "pipelined",
        ExchangeMode::Blocking => "blocking",
    }
}

impl JobGraph {
    /// The graph as text: a paragraph a vertex, with what comes in.
    pub fn describe(&self) -> String {
        let mode_name = match self.mode {
            ExecutionMode::Streaming => "streaming",
            ExecutionMode::Batch => "batch",
        };
        let mut text = format!("Job '{}' ({mode_name}), {} slots\n", self.name, self.slots_needed());
        for vertex in &self.vertices {
            self.describe_vertex(vertex, &mut text);
        }
        text
    }

    fn describe_vertex(&self, vertex: &JobVertex, text: &mut String) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n[{}] {}", vertex.id, vertex.name);
        let role = if vertex.role == VertexRole::Enumerator { ", enumerator" } else { "" };
        let _ = writeln!(
            text,
            "    parallelism {} of {}, slot sharing group {}, managed memory weight {}{role}",
            vertex.parallelism,
            vertex.max_parallelism.get(),
            vertex.slot_sharing_group,
            vertex.managed_memory_weight()
        );
        for edge in self.inputs(vertex.id) {
            let port = match &edge.key.output {
                OutputPort::Main => String::new(),
                OutputPort::Side(tag) => format!(", side output '{tag}'"),
            };
            let input = if edge.input > 0 { format!(" into input {}", edge.input) } else { String::new() };
            let _ = writeln!(
                text,
                "    <- [{}] {} {}{port}{input}",
                edge.source,
                edge.partitioning.name(),
                mode(edge)
            );
        }
    }

    /// The graph as JSON.
    pub fn to_json(&self) -> String {
        let vertices: Vec<Value> = self.vertices.iter().map(|vertex| self.vertex_json(vertex)).collect();
        let graph = json!({
            "name": self.name,
            "mode": if self.mode == ExecutionMode::Batch { "BATCH" } else { "STREAMING" },
            "slots": self.slots_needed(),
            "vertices": vertices,
        });
        format!("{graph:#}")
    }

    fn vertex_json(&self, vertex: &JobVertex) -> Value {
        let operators: Vec<Value> = vertex
            .operators
            .iter()
            .map(|operator| {
                json!({
                    "id": operator.key.id.to_string(),
                    "variant": format!("{:?}", operator.key.variant),
                    "name": operator.name,
                    "uid": operator.uid,
                    "stateful": operator.stateful,
                    "origin": operator.origin.to_string(),
                })
            })
            .collect();
        let inputs: Vec<Value> = self
            .inputs(vertex.id)
            .map(|edge| {
                json!({
                    "vertex": edge.source.0,
                    "input": edge.input,
                    "partitioning": edge.partitioning.name(),
                    "mode": mode(edge),
                })
            })
            .collect();
        json!({
            "id": vertex.id.0,
            "name": vertex.name,
            "parallelism": vertex.parallelism,
            "max_parallelism": vertex.max_parallelism.get(),
            "slot_sharing_group": vertex.slot_sharing_group,
            "managed_memory_weight": vertex.managed_memory_weight(),
            "operators": operators,
            "inputs": inputs,
        })
    }
}
