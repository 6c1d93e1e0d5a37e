//! Every operator and edge that some plan of a DataSet program may have. A program registers all of them, so that the plan can be
//! changed without the program.

use std::collections::BTreeSet;

use super::{DataGraph, DataNode, DataNodeId, DataOperator, KeyId};
use crate::job_graph::{EdgeKey, OperatorKey, OutputPort, Variant};

/// An edge that some plan may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EdgeAlternative {
    /// The edge.
    pub key: EdgeKey,
    /// The key by which it may be partitioned. Behind a combiner it is that of a partial result.
    pub partitioned_by: Option<KeyId>,
}

/// Everything that some plan may have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alternatives {
    /// The operators.
    pub operators: BTreeSet<OperatorKey>,
    /// The edges.
    pub edges: BTreeSet<EdgeAlternative>,
}

impl DataOperator {
    /// The variants that read the logical inputs, and the key by which each input may be partitioned.
    fn entries(&self) -> &'static [Variant] {
        use Variant::*;
        match self {
            Self::Aggregate { combinable: true, .. } | Self::Distinct { .. } => {
                &[Combine, HashAggregate, SortAggregate]
            }
            Self::Aggregate { combinable: false, .. } => &[HashAggregate, SortAggregate],
            Self::GroupReduce { combinable: true, .. } => &[Combine, SortAggregate],
            Self::GroupReduce { combinable: false, .. } => &[SortAggregate],
            Self::Join { .. } => &[BuildLeft, BuildRight],
            Self::Union => &[],
            _ => &[Default],
        }
    }

    /// The variants that read what a combiner gives.
    fn finals(&self) -> &'static [Variant] {
        use Variant::*;
        match self {
            Self::Aggregate { combinable: true, .. } | Self::Distinct { .. } => {
                &[FinalHashAggregate, FinalSortAggregate]
            }
            Self::GroupReduce { combinable: true, .. } => &[FinalSortAggregate],
            _ => &[],
        }
    }

    /// The key of an input.
    pub(crate) fn input_key(&self, input: u32) -> Option<KeyId> {
        match *self {
            Self::Aggregate { key, .. } | Self::GroupReduce { key, .. } | Self::Distinct { key, .. } => {
                Some(key)
            }
            Self::Join { left, right } => Some(if input == 0 { left } else { right }),
            _ => None,
        }
    }

    /// The variants that give the logical output.
    fn exits(&self) -> impl Iterator<Item = Variant> {
        let not_partial = self.entries().iter().filter(|variant| **variant != Variant::Combine);
        not_partial.chain(self.finals()).copied()
    }
}

impl DataGraph {
    /// Everything that some plan of this program may have.
    pub fn alternatives(&self) -> Alternatives {
        let mut alternatives = Alternatives::default();
        for (position, node) in self.nodes.iter().enumerate() {
            let variants = node.kind.entries().iter().chain(node.kind.finals());
            let keys = variants.map(|variant| OperatorKey::variant(node.operator, *variant));
            alternatives.operators.extend(keys);
            self.add_edges(DataNodeId(position), node, &mut alternatives);
        }
        alternatives
    }

    fn add_edges(&self, id: DataNodeId, node: &DataNode, alternatives: &mut Alternatives) {
        let mut add = |source, target, input, partitioned_by| {
            let key = EdgeKey { source, output: OutputPort::Main, target, input };
            alternatives.edges.insert(EdgeAlternative { key, partitioned_by });
        };
        let own = |variant| OperatorKey::variant(node.operator, variant);
        match node.kind {
            DataOperator::Union => return,
            DataOperator::Source { .. } => {
                add(own(Variant::Enumerator), own(Variant::Default), 0, None);
                alternatives.operators.insert(own(Variant::Enumerator));
                return;
            }
            _ => {}
        }
        for last in node.kind.finals() {
            add(own(Variant::Combine), own(*last), 0, node.kind.input_key(0));
        }
        for (input, source) in (0..).zip(&self.nodes[id.0].inputs) {
            for producer in self.producers(*source) {
                let producer = &self.nodes[producer.0];
                for exit in producer.kind.exits() {
                    for entry in node.kind.entries() {
                        let source = OperatorKey::variant(producer.operator, exit);
                        // A combiner stands before the exchange, never behind it.
                        let key = node.kind.input_key(input).filter(|_| *entry != Variant::Combine);
                        add(source, own(*entry), input, key);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing_data::{data_graph, join_of_counts};

    #[test]
    fn an_aggregate_has_five_ways_and_its_reader_four_sources() {
        let graph = join_of_counts();
        let alternatives = graph.alternatives();
        let name = |key: &OperatorKey| {
            let node = graph.nodes.iter().find(|node| node.operator == key.id).unwrap();
            format!("{} [{}]", node.display_name(), key.variant)
        };
        let operators = alternatives.operators.iter().map(name);
        let edges = alternatives.edges.iter().map(|edge| {
            let by = edge.partitioned_by.map_or(String::new(), |key| format!(" by {key}"));
            format!("{} -> {}, input {}{by}", name(&edge.key.source), name(&edge.key.target), edge.key.input)
        });
        let mut lines: Vec<String> = operators.chain(edges).collect();
        lines.sort();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn nothing_has_no_alternatives() {
        assert_eq!(data_graph(vec![]).alternatives(), Alternatives::default());
    }
}
