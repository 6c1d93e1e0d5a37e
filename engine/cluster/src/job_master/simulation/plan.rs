//! The job that is simulated.

use std::collections::BTreeMap;
use std::sync::Arc;

use flott_core::ids::OperatorId;
use flott_plan::stream_graph::{Chaining, NodeId, NodeKind, StreamEdge, StreamNode};
use flott_plan::{ExecutionMode, JobGraph, Origin, OutputPort, Partitioning, StreamGraph};

fn node(name: &str, kind: NodeKind) -> StreamNode {
    StreamNode {
        operator: OperatorId::from_uid(name),
        name: name.to_owned(),
        uid: Some(name.to_owned()),
        origin: Origin { file: "simulation".into(), line: 1 },
        kind,
        parallelism: None,
        non_parallel: false,
        max_parallelism: None,
        slot_sharing_group: name.starts_with("beside").then(|| "beside".to_owned()),
        chaining: Chaining::Never,
        keyed: false,
        stateful: false,
        watermark_group: None,
        reads: Vec::new(),
        managed_memory_weight: 0,
        batch_variant: None,
        input_schemas: vec!["u64".into()],
        output_schema: "u64".into(),
    }
}

/// `source → map ═ sink`, and beside it `source ─ sink`, which shares nothing with it.
pub(crate) fn graph() -> Arc<JobGraph> {
    let edge = |source: usize, target: usize, partitioning| StreamEdge {
        source: NodeId(source),
        output: OutputPort::Main,
        target: NodeId(target),
        input: 0,
        partitioning: Some(partitioning),
        buffer_timeout_ms: None,
    };
    let source = NodeKind::Source { bounded: true };
    let graph = StreamGraph {
        name: "simulated".into(),
        mode: ExecutionMode::Streaming,
        nodes: vec![
            node("source", source),
            node("map", NodeKind::Operator),
            node("sink", NodeKind::Sink),
            node("beside source", source),
            node("beside sink", NodeKind::Sink),
        ],
        edges: vec![
            edge(0, 1, Partitioning::Forward),
            edge(1, 2, Partitioning::Hash),
            edge(3, 4, Partitioning::Forward),
        ],
        default_parallelism: 2,
        configuration: BTreeMap::new(),
    };
    Arc::new(graph.to_job_graph().unwrap())
}
