//! How much each node gives, from what the sources give and what is known of the operators. What cannot be told stays unknown:
//! a wrong guess broadcasts what does not fit.

use crate::data_graph::{DataGraph, DataOperator, Estimate};

/// The estimate of each node of a graph whose nodes stand behind those they read.
pub(super) fn estimates(graph: &DataGraph) -> Vec<Estimate> {
    let mut estimates: Vec<Estimate> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let inputs: Vec<Estimate> = node.inputs.iter().map(|input| estimates[input.0]).collect();
        estimates.push(output(&node.kind, &inputs));
    }
    estimates
}

/// How much an operator gives for what it reads.
pub(super) fn output(kind: &DataOperator, inputs: &[Estimate]) -> Estimate {
    let input = inputs.first().copied().unwrap_or_default();
    match *kind {
        DataOperator::Source { estimate } => estimate,
        DataOperator::Map { selectivity, record_bytes } => mapped(input, selectivity, record_bytes),
        DataOperator::Filter { selectivity } => mapped(input, Some(selectivity.unwrap_or(1.0)), None),
        DataOperator::Aggregate { groups, .. }
        | DataOperator::GroupReduce { groups, .. }
        | DataOperator::Distinct { groups, .. } => grouped(input, groups),
        DataOperator::Join { .. } => Estimate::UNKNOWN,
        DataOperator::Union => inputs.iter().copied().reduce(both).unwrap_or_default(),
        DataOperator::SortPartition | DataOperator::Sink => input,
    }
}

/// How much a combiner gives: each of its subtasks may see every key.
pub(super) fn combined(input: Estimate, groups: Option<u64>, parallelism: u32) -> Estimate {
    grouped(input, groups.map(|groups| groups.saturating_mul(u64::from(parallelism))))
}

fn mapped(input: Estimate, selectivity: Option<f64>, record_bytes: Option<u64>) -> Estimate {
    // The cast is bounded at both ends, and takes what is no number for 0.
    let times = |amount: Option<u64>| Some((amount? as f64 * selectivity?) as u64);
    let records = times(input.records);
    let bytes = match record_bytes {
        Some(size) => records.map(|records| records.saturating_mul(size)),
        None => times(input.bytes),
    };
    Estimate { bytes, records }
}

fn grouped(input: Estimate, groups: Option<u64>) -> Estimate {
    let at_most_input = |groups: u64| input.records.map_or(groups, |records| groups.min(records));
    let records = groups.map(at_most_input);
    let record_bytes = match (input.bytes, input.records) {
        (Some(bytes), Some(records)) if records > 0 => Some(bytes.div_ceil(records)),
        _ => None,
    };
    let bytes = records.zip(record_bytes).map(|(records, size)| records.saturating_mul(size));
    Estimate { bytes, records }
}

fn both(one: Estimate, other: Estimate) -> Estimate {
    let sum = |one: Option<u64>, other: Option<u64>| Some(one?.saturating_add(other?));
    Estimate { bytes: sum(one.bytes, other.bytes), records: sum(one.records, other.records) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_graph::KeyId;

    const INPUT: Estimate = Estimate { bytes: Some(1000), records: Some(100) };

    fn known(bytes: u64, records: u64) -> Estimate {
        Estimate { bytes: Some(bytes), records: Some(records) }
    }

    #[test]
    fn amounts_follow_from_selectivity_and_size() {
        let map =
            |selectivity, record_bytes| output(&DataOperator::Map { selectivity, record_bytes }, &[INPUT]);
        assert_eq!(map(Some(1.0), None), INPUT);
        assert_eq!(map(Some(2.5), None), known(2500, 250));
        assert_eq!(map(Some(1.0), Some(8)), known(800, 100));
        assert_eq!(map(None, Some(8)), Estimate::UNKNOWN);
        assert_eq!(map(Some(f64::NAN), None), known(0, 0));
        let filter = |selectivity| output(&DataOperator::Filter { selectivity }, &[INPUT]);
        assert_eq!(filter(None), INPUT);
        assert_eq!(filter(Some(0.1)), known(100, 10));
    }

    #[test]
    fn groups_are_known_only_if_somebody_says() {
        let distinct = |groups| output(&DataOperator::Distinct { key: KeyId(0), groups }, &[INPUT]);
        assert_eq!(distinct(None), Estimate::UNKNOWN);
        assert_eq!(distinct(Some(7)), known(70, 7));
        assert_eq!(distinct(Some(700)), INPUT);
        assert_eq!(combined(INPUT, Some(7), 4), known(280, 28));
    }

    #[test]
    fn a_union_is_known_if_all_of_it_is() {
        let union = |inputs: &[Estimate]| output(&DataOperator::Union, inputs);
        assert_eq!(union(&[INPUT, INPUT]), known(2000, 200));
        assert_eq!(union(&[INPUT, Estimate { bytes: Some(1), records: None }]).records, None);
        assert_eq!(union(&[INPUT, Estimate { bytes: Some(1), records: None }]).bytes, Some(1001));
    }
}
