//! Chains → vertices. Each source gets a vertex for its enumerator, before its own.

use flott_core::MaxParallelism;
use flott_core::ids::{EdgeId, VertexId};

use super::chaining::Chains;
use super::{PhysicalEdge, PhysicalNode, PhysicalPlan};
use crate::job_graph::{
    ChainInput, ChainedOperator, EdgeKey, ExchangeMode, JobEdge, JobGraph, JobVertex, OperatorKey,
    OutputPort, Partitioning, Variant, VertexRole,
};

/// Where a node ended up: its vertex, and its place in the chain.
type Place = (VertexId, usize);

/// Makes the JobGraph of a plan and its chains.
pub(super) fn assemble(plan: PhysicalPlan, chains: &Chains) -> JobGraph {
    let mut graph = JobGraph {
        name: plan.name,
        mode: plan.mode,
        vertices: Vec::new(),
        edges: Vec::new(),
        configuration: plan.configuration,
        program_hash: plan.program.hash(),
        program: plan.program,
    };
    let mut chained_input: Vec<Option<&PhysicalEdge>> = vec![None; plan.nodes.len()];
    for (edge, chained) in plan.edges.iter().zip(&chains.chained) {
        if *chained {
            chained_input[edge.target] = Some(edge);
        }
    }
    let mut places: Vec<Place> = Vec::with_capacity(plan.nodes.len());
    for (node, input) in plan.nodes.iter().zip(chained_input) {
        let place = match input {
            Some(edge) => extend_chain(&mut graph, node, edge, places[edge.source]),
            None => begin_chain(&mut graph, node),
        };
        places.push(place);
    }
    for (edge, _) in plan.edges.iter().zip(&chains.chained).filter(|(_, chained)| !**chained) {
        let ((source, source_operator), (target, _)) = (places[edge.source], places[edge.target]);
        let id = next_edge(&graph);
        graph.edges.push(JobEdge {
            id,
            source,
            source_operator,
            target,
            input: edge.input,
            key: EdgeKey {
                source: plan.nodes[edge.source].key,
                output: edge.output.clone(),
                target: plan.nodes[edge.target].key,
                input: edge.input,
            },
            partitioning: edge.partitioning,
            mode: edge.mode,
            buffer_timeout_ms: edge.buffer_timeout_ms,
        });
    }
    for vertex in &mut graph.vertices {
        vertex.name = chain_name(&vertex.operators);
    }
    graph
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
