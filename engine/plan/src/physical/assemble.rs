//! Chains → vertices. Each source gets a vertex for its enumerator, before its own.

use flott_core::MaxParallelism;
use flott_core::ids::{EdgeId, VertexId};

use super::chaining::Chains;
use super::{Chaining, PhysicalEdge, PhysicalNode, PhysicalPlan};
use crate::job_graph::{
    ChainInput, ChainedOperator, EdgeKey, ExchangeMode, JobEdge, JobGraph, JobVertex, MOST_READS,
    OperatorKey, OutputPort, Partitioning, Variant, VertexRole,
};

/// Where a node ended up: its vertex, and its place in the chain.
type Place = (VertexId, usize);

impl PhysicalPlan {
    /// Makes the JobGraph of a plan and its chains.
    pub fn assemble(self, chains: &Chains) -> JobGraph {
        let mut graph = JobGraph {
            name: self.name,
            mode: self.mode,
            vertices: Vec::new(),
            edges: Vec::new(),
            configuration: self.configuration,
            program_hash: self.program.hash(),
            program: self.program,
        };
        let places = place_nodes(&mut graph, &self.nodes, &self.edges, chains);
        for (edge, _) in self.edges.iter().zip(&chains.chained).filter(|(_, chained)| !**chained) {
            let key = EdgeKey {
                source: self.nodes[edge.source].key,
                output: edge.output.clone(),
                target: self.nodes[edge.target].key,
                input: edge.input,
            };
            add_edge(&mut graph, edge, key, places[edge.source], places[edge.target]);
        }
        for vertex in &mut graph.vertices {
            vertex.name = chain_name(&vertex.operators);
        }
        graph
    }
}

/// Gives every node its place in the graph.
fn place_nodes(
    graph: &mut JobGraph,
    nodes: &[PhysicalNode],
    edges: &[PhysicalEdge],
    chains: &Chains,
) -> Vec<Place> {
    let mut chained_input: Vec<Option<&PhysicalEdge>> = vec![None; nodes.len()];
    for (edge, chained) in edges.iter().zip(&chains.chained) {
        if *chained {
            chained_input[edge.target] = Some(edge);
        }
    }
    let mut places: Vec<Place> = Vec::with_capacity(nodes.len());
    for (node, input) in nodes.iter().zip(chained_input) {
        let place = match input {
            Some(edge) => extend_chain(graph, node, edge, places[edge.source]),
            None => begin_chain(graph, node),
        };
        places.push(place);
    }
    places
}

fn add_edge(graph: &mut JobGraph, edge: &PhysicalEdge, key: EdgeKey, source: Place, target: Place) {
    graph.edges.push(JobEdge {
        id: next_edge(graph),
        source: source.0,
        source_operator: source.1,
        target: target.0,
        input: edge.input,
        key,
        partitioning: edge.partitioning,
        mode: edge.mode,
        buffer_timeout_ms: edge.buffer_timeout_ms,
    });
}

fn next_vertex(graph: &JobGraph) -> VertexId {
    VertexId(graph.vertices.len() as u32)
}

fn next_edge(graph: &JobGraph) -> EdgeId {
    EdgeId(graph.edges.len() as u32)
}

fn chained_operator(node: &PhysicalNode, input: Option<ChainInput>) -> ChainedOperator {
    ChainedOperator {
        key: node.key,
        name: node.name.clone(),
        uid: node.uid.clone(),
        input,
        managed_memory_weight: node.managed_memory_weight,
        stateful: node.stateful,
        watermark_group: node.watermark_group.clone(),
        origin: node.origin.clone(),
    }
}

fn extend_chain(graph: &mut JobGraph, node: &PhysicalNode, edge: &PhysicalEdge, source: Place) -> Place {
    let (vertex, operator) = source;
    let operators = &mut graph.vertices[vertex.0 as usize].operators;
    operators.push(chained_operator(node, Some(ChainInput { operator, output: edge.output.clone() })));
    (vertex, operators.len() - 1)
}

fn begin_chain(graph: &mut JobGraph, node: &PhysicalNode) -> Place {
    if node.is_source {
        add_enumerator(graph, node);
    }
    let id = next_vertex(graph);
    graph.vertices.push(JobVertex {
        id,
        name: String::new(),
        parallelism: node.width.parallelism,
        max_parallelism: node.width.max_parallelism,
        operators: vec![chained_operator(node, None)],
        slot_sharing_group: node.slot_sharing_group.clone(),
        role: VertexRole::Subtasks,
        blocking: node.chaining == Chaining::OwnThread,
        reads: Vec::new(),
    });
    (id, 0)
}

/// Adds the vertex that finds the splits of `source`, whose own vertex comes next, and the edge between the two.
fn add_enumerator(graph: &mut JobGraph, source: &PhysicalNode) {
    let id = next_vertex(graph);
    let key = OperatorKey::variant(source.key.id, Variant::Enumerator);
    let operator = ChainedOperator {
        key,
        name: format!("{} (splits)", source.name),
        uid: source.uid.clone(),
        input: None,
        managed_memory_weight: 0,
        stateful: true,
        watermark_group: None,
        origin: source.origin.clone(),
    };
    graph.vertices.push(JobVertex {
        id,
        name: String::new(),
        parallelism: 1,
        max_parallelism: MaxParallelism::default_for(1),
        operators: vec![operator],
        slot_sharing_group: source.slot_sharing_group.clone(),
        role: VertexRole::Enumerator,
        blocking: source.chaining == Chaining::OwnThread,
        reads: source.reads.iter().take(MOST_READS).cloned().collect(),
    });
    let edge = next_edge(graph);
    graph.edges.push(JobEdge {
        id: edge,
        source: id,
        source_operator: 0,
        target: next_vertex(graph),
        input: 0,
        key: EdgeKey { source: key, output: OutputPort::Main, target: source.key, input: 0 },
        partitioning: Partitioning::Demand,
        mode: ExchangeMode::Pipelined,
        // A split is handed over at once.
        buffer_timeout_ms: Some(0),
    });
}

/// The names of a chain's operators: `Source: lines -> Map -> (Filter -> Sink: a, Sink: b)`.
fn chain_name(operators: &[ChainedOperator]) -> String {
    let mut names: Vec<String> = operators.iter().map(|operator| operator.name.clone()).collect();
    let mut fed: Vec<Vec<String>> = vec![Vec::new(); operators.len()];
    // An operator stands behind the one that feeds it, so that its own name is whole when it is handed up.
    for (position, operator) in operators.iter().enumerate().rev() {
        let mut name = std::mem::take(&mut names[position]);
        let behind = std::mem::take(&mut fed[position]);
        match behind.as_slice() {
            [] => {}
            [one] => name.extend([" -> ", one]),
            many => {
                let many: Vec<&str> = many.iter().rev().map(String::as_str).collect();
                name.extend([" -> (", &many.join(", "), ")"]);
            }
        }
        match &operator.input {
            Some(input) => fed[input.operator].push(name),
            None => return name,
        }
    }
    String::new()
}
