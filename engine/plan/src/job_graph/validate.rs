//! What holds of every JobGraph, checked where one comes in from outside.

use std::collections::BTreeSet;

use super::{ExchangeMode, JobEdge, JobGraph, JobVertex, MOST_READS, Partitioning, VertexRole};
use crate::error::PlanError;
use crate::exchange_mode;

impl JobGraph {
    /// Checks that
    /// - the ids of vertices and edges are their positions, and producers stand before consumers,
    /// - every vertex has operators, the head first and every other behind the one that feeds it,
    /// - 1 ≤ parallelism ≤ max parallelism, and enumerators have one subtask and alone name paths, not too many,
    /// - no operator stands in the graph twice,
    /// - the inputs of a vertex are numbered from 0 without gaps, and edges lead from and to the operators they name,
    /// - both ends of a forward edge have the same parallelism, and splits come from enumerators,
    /// - no blocking edge leads back into the stage it comes from,
    /// - the program hash is that of the listing.
    ///
    /// # Errors
    /// [`PlanError::Invalid`] that names the vertex or edge.
    pub fn validate(&self) -> Result<(), PlanError> {
        self.find_fault().map_err(|reason| PlanError::Invalid { job: self.name.clone(), reason })
    }

    fn find_fault(&self) -> Result<(), String> {
        if self.vertices.is_empty() {
            return Err("it has no vertices".to_owned());
        }
        let mut operators = BTreeSet::new();
        for (position, vertex) in self.vertices.iter().enumerate() {
            check_vertex(position, vertex)?;
            for operator in &vertex.operators {
                if !operators.insert(operator.key) {
                    return Err(format!(
                        "operator '{}' ({}) stands in it twice",
                        operator.name, operator.key
                    ));
                }
            }
        }
        for (position, edge) in self.edges.iter().enumerate() {
            self.check_edge(position, edge)?;
        }
        self.check_inputs()?;
        self.check_stages()?;
        let hash = self.program.hash();
        if hash != self.program_hash {
            return Err(format!(
                "its program hash is {}, but that of its operators is {hash}",
                self.program_hash
            ));
        }
        Ok(())
    }

    fn check_edge(&self, position: usize, edge: &JobEdge) -> Result<(), String> {
        let fault = |reason: &str| Err(format!("edge {position} {reason}"));
        if edge.id.0 as usize != position {
            return fault(&format!("has the id {}", edge.id));
        }
        if edge.source >= edge.target {
            return fault(&format!("leads from vertex {} to vertex {}", edge.source, edge.target));
        }
        let ends = self.vertices.get(edge.source.0 as usize).zip(self.vertices.get(edge.target.0 as usize));
        let Some((source, target)) = ends else {
            return fault(&format!("leads to vertex {}, which does not exist", edge.target));
        };
        let Some(producer) = source.operators.get(edge.source_operator) else {
            return fault(&format!("comes from operator {}, which does not exist", edge.source_operator));
        };
        let consumer = target.head().map(|head| head.key);
        if edge.key.source != producer.key
            || Some(edge.key.target) != consumer
            || edge.key.input != edge.input
        {
            return fault("names other operators than it joins");
        }
        if edge.partitioning == Partitioning::Forward && source.parallelism != target.parallelism {
            return fault(&format!(
                "forwards from {} to {} subtasks",
                source.parallelism, target.parallelism
            ));
        }
        let from_enumerator = source.role == VertexRole::Enumerator;
        if from_enumerator != (edge.partitioning == Partitioning::Demand) {
            return fault("must be a demand edge exactly if it comes from an enumerator");
        }
        Ok(())
    }

    fn check_inputs(&self) -> Result<(), String> {
        let mut inputs = vec![BTreeSet::new(); self.vertices.len()];
        for edge in &self.edges {
            inputs[edge.target.0 as usize].insert(edge.input);
        }
        for (vertex, inputs) in self.vertices.iter().zip(inputs) {
            if (0..).zip(&inputs).any(|(expected, input)| *input != expected) {
                return Err(format!("the inputs of vertex {} are numbered with gaps: {inputs:?}", vertex.id));
            }
        }
        Ok(())
    }

    fn check_stages(&self) -> Result<(), String> {
        let ends = |edge: &JobEdge| (edge.source.0 as usize, edge.target.0 as usize);
        let edges: Vec<exchange_mode::Edge> = self
            .edges
            .iter()
            .map(|edge| {
                let (source, target) = ends(edge);
                exchange_mode::Edge { source, target, blocking: edge.mode == ExchangeMode::Blocking }
            })
            .collect();
        match exchange_mode::find_circular_wait(self.vertices.len(), &edges) {
            None => Ok(()),
            Some(edge) => Err(format!(
                "edge {edge} is blocking, but its producer cannot finish before its consumer runs"
            )),
        }
    }
}

fn check_vertex(position: usize, vertex: &JobVertex) -> Result<(), String> {
    let fault = |reason: &str| Err(format!("vertex {position} '{}' {reason}", vertex.name));
    if vertex.id.0 as usize != position {
        return fault(&format!("has the id {}", vertex.id));
    }
    let max_parallelism = vertex.max_parallelism.get();
    if !(1..=max_parallelism).contains(&vertex.parallelism) {
        return fault(&format!("has parallelism {} of at most {max_parallelism}", vertex.parallelism));
    }
    if vertex.role == VertexRole::Enumerator && vertex.parallelism != 1 {
        return fault(&format!("is an enumerator with parallelism {}", vertex.parallelism));
    }
    let most_reads = if vertex.role == VertexRole::Enumerator { MOST_READS } else { 0 };
    if vertex.reads.len() > most_reads {
        return fault(&format!("names {} paths that it reads, of at most {most_reads}", vertex.reads.len()));
    }
    if vertex.operators.is_empty() {
        return fault("has no operators");
    }
    for (position, operator) in vertex.operators.iter().enumerate() {
        let feeding = operator.input.as_ref().map(|input| input.operator);
        if feeding.is_none() != (position == 0) || feeding.is_some_and(|feeding| feeding >= position) {
            return fault(&format!("has operator {position} fed by {feeding:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use flott_core::ids::{EdgeId, VertexId};

    use super::*;
    use crate::job_graph::{ChainInput, OutputPort};
    use crate::testing::word_count;

    fn fault_of(change: impl FnOnce(&mut JobGraph)) -> String {
        let mut graph = word_count().to_job_graph().unwrap();
        assert_eq!(graph.validate(), Ok(()));
        change(&mut graph);
        graph.validate().unwrap_err().to_string()
    }

    #[test]
    fn faults_are_named() {
        let fed_by = |operator| Some(ChainInput { operator, output: OutputPort::Main });
        let faults = [
            fault_of(|g| g.vertices.clear()),
            fault_of(|g| g.vertices[1].id = VertexId(7)),
            fault_of(|g| g.vertices[1].parallelism = 0),
            fault_of(|g| g.vertices[1].parallelism = 129),
            fault_of(|g| g.vertices[0].parallelism = 2),
            fault_of(|g| g.vertices[1].operators.clear()),
            fault_of(|g| g.vertices[1].operators[0].input = fed_by(0)),
            fault_of(|g| g.vertices[1].operators[1].input = fed_by(1)),
            fault_of(|g| g.vertices[1].operators[1].input = None),
            fault_of(|g| g.vertices[1].operators[1].key = g.vertices[1].operators[0].key),
            fault_of(|g| g.edges[1].id = EdgeId(0)),
            fault_of(|g| g.edges[1].target = VertexId(0)),
            fault_of(|g| g.edges[1].target = VertexId(9)),
            fault_of(|g| g.edges[1].source_operator = 9),
            fault_of(|g| g.edges[1].source_operator = 0),
            fault_of(|g| (g.edges[1].input, g.edges[1].key.input) = (1, 1)),
            fault_of(|g| g.edges[0].partitioning = Partitioning::Forward),
            fault_of(|g| g.edges[0].partitioning = Partitioning::Rebalance),
            fault_of(|g| g.program = Default::default()),
        ];
        insta::assert_snapshot!(faults.join("\n"));
    }

    #[test]
    fn enumerators_alone_name_what_is_read_and_not_all_of_very_much() {
        let reader = fault_of(|g| g.vertices[1].reads.push("/x".into()));
        assert!(reader.ends_with("names 1 paths that it reads, of at most 0"), "{reader}");
        let many = fault_of(|g| g.vertices[0].reads = vec!["/x".into(); MOST_READS + 1]);
        assert!(many.ends_with("names 257 paths that it reads, of at most 256"), "{many}");
        let mut graph = word_count();
        graph.nodes[0].reads = vec!["/x".into(); MOST_READS + 1];
        let job = graph.to_job_graph().unwrap();
        assert_eq!(JobGraph::decode(&job.encode()).unwrap().vertices[0].reads.len(), MOST_READS);
    }

    #[test]
    fn nothing_waits_for_itself() {
        let fault = fault_of(|graph| {
            let pipelined = &graph.edges[1];
            let blocking = JobEdge { id: EdgeId(2), mode: ExchangeMode::Blocking, ..pipelined.clone() };
            graph.edges.push(blocking);
        });
        insta::assert_snapshot!(fault);
    }
}
