//! What must hold of a DataGraph before anything is chosen.

use crate::data_graph::{DataGraph, DataNode, DataOperator};
use crate::error::PlanError;
use crate::resolve::{Wanted, check_identities};

/// Checks the graph.
pub(super) fn check(graph: &DataGraph) -> Result<(), PlanError> {
    if graph.nodes.is_empty() {
        return Err(PlanError::Empty);
    }
    check_identities(graph.nodes.iter().map(wanted))?;
    for (position, node) in graph.nodes.iter().enumerate() {
        let malformed = |reason: String| Err(PlanError::Malformed { operator: node.culprit(), reason });
        let inputs = node.inputs.len();
        let fits = node.kind.arity().map_or(inputs > 0, |arity| arity == inputs);
        if !fits {
            return malformed(format!("has {inputs} inputs"));
        }
        if node.inputs.iter().any(|input| input.0 >= position) {
            return malformed("reads an operator that does not stand before it".to_owned());
        }
    }
    if graph.nodes.iter().all(|node| node.kind != DataOperator::Sink) {
        return Err(PlanError::NoSink);
    }
    Ok(())
}

/// What the user said of a node's width.
pub(super) fn wanted(node: &DataNode) -> Wanted<'_> {
    Wanted {
        operator: node.operator,
        culprit: node.culprit(),
        uid: node.uid.as_deref(),
        parallelism: node.parallelism,
        max_parallelism: None,
        non_parallel: node.non_parallel,
    }
}
