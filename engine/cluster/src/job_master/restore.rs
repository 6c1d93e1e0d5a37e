//! What each subtask goes on from: a checkpoint, dealt out to the subtasks of a plan. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use flott_core::ids::SubtaskId;
use flott_plan::{JobGraph, OperatorKey};
use flott_runtime::snapshot::StateHandle;
use flott_runtime::task::{FinalHandles, Restore};

use crate::checkpoint::{CompletedCheckpoint, SubtaskCheckpoint};

/// Deals a checkpoint out to the subtasks of `graph`. With `redistribute` the plan may have another parallelism and other chains
/// than the one that wrote it; without, each subtask gets its own state back, untouched.
///
/// # Errors
/// What does not fit, in a sentence: state of operators the plan does not have (unless `allow_non_restored_state`), or a
/// parallelism that changed while only a part of a vertex had ended.
pub fn plan_restore(
    graph: &JobGraph,
    checkpoint: &CompletedCheckpoint,
    allow_non_restored_state: bool,
    redistribute: bool,
) -> Result<BTreeMap<SubtaskId, Restore>, String> {
    let mut states: HashMap<OperatorKey, Vec<(u32, StateHandle)>> = HashMap::new();
    let mut running: BTreeMap<OperatorKey, BTreeSet<u32>> = BTreeMap::new();
    let mut ended: BTreeMap<OperatorKey, BTreeMap<u32, Vec<Bytes>>> = BTreeMap::new();
    for (subtask, part) in &checkpoint.subtasks {
        match part {
            SubtaskCheckpoint::Running(snapshot) => {
                for operator in &snapshot.operators {
                    states
                        .entry(operator.operator)
                        .or_default()
                        .push((subtask.index, operator.state.clone()));
                    running.entry(operator.operator).or_default().insert(subtask.index);
                }
            }
            SubtaskCheckpoint::Ended(handles) => {
                for (key, handles) in handles {
                    ended.entry(*key).or_default().insert(subtask.index, handles.clone());
                }
            }
        }
    }
    let planned: BTreeSet<OperatorKey> = graph
        .vertices
        .iter()
        .flat_map(|vertex| vertex.operators.iter().map(|operator| operator.key))
        .collect();
    let unknown = states.keys().chain(ended.keys()).find(|key| !planned.contains(key));
    if let Some(key) = unknown.filter(|_| !allow_non_restored_state) {
        return Err(format!(
            "checkpoint {} of job {} holds state of operator {}, which this program does not have: is it a checkpoint \
             of another program? Set execution.state-recovery.ignore-unclaimed-state to drop that state",
            checkpoint.id, checkpoint.job, key.id
        ));
    }
    let mut restores = BTreeMap::new();
    for vertex in &graph.vertices {
        let now = vertex.max_parallelism.get();
        let other = vertex.operators.iter().find_map(|operator| {
            let then = *checkpoint.max_parallelism.get(&operator.key)?;
            (states.contains_key(&operator.key) && then != now).then_some((&operator.name, then))
        });
        if let Some((name, then)) = other {
            // Its state is divided by key groups, and a key would belong to another one.
            return Err(format!(
                "operator '{name}' had max parallelism {then} in checkpoint {} and has {now} now: set pipeline.max-parallelism, or the operator's own, to {then}",
                checkpoint.id
            ));
        }
        let operators_of = |index: u32| {
            let handles = |key| {
                let of_all = states.get(&key)?.iter();
                let wanted = of_all.filter(|(owner, _)| redistribute || *owner == index);
                Some((key, wanted.map(|(_, handle)| handle.clone()).collect::<Vec<_>>()))
            };
            vertex.operators.iter().filter_map(|operator| handles(operator.key)).collect::<HashMap<_, _>>()
        };
        let head = vertex.operators[0].key;
        let ended_here = ended.get(&head);
        let none_runs = vertex.operators.iter().all(|operator| !running.contains_key(&operator.key));
        let all_ended = ended_here.is_some() && none_runs;
        let same_width = ended_here
            .is_none_or(|ended| ended.keys().max().is_none_or(|highest| *highest < vertex.parallelism));
        if ended_here.is_some() && !none_runs && !same_width {
            return Err(format!(
                "some subtasks of '{}' had ended in checkpoint {} and others had not: restore it with the parallelism it had",
                vertex.name, checkpoint.id
            ));
        }
        for index in 0..vertex.parallelism {
            let handles_of = |index: u32| -> FinalHandles {
                let own = vertex
                    .operators
                    .iter()
                    .filter_map(|o| Some((o.key, ended.get(&o.key)?.get(&index)?.clone())));
                own.filter(|(_, handles)| !handles.is_empty()).collect()
            };
            let ended = if all_ended && index == 0 && !same_width {
                // Fewer subtasks than there were: the first commits for all.
                let widest = ended_here.and_then(|ended| ended.keys().max().copied()).unwrap_or(0);
                let rest = (vertex.parallelism..=widest).flat_map(handles_of);
                Some(handles_of(0).into_iter().chain(rest).collect())
            } else if all_ended || ended_here.is_some_and(|ended| ended.contains_key(&index)) {
                Some(handles_of(index))
            } else {
                None
            };
            let subtask = SubtaskId { vertex: vertex.id, index };
            restores.insert(
                subtask,
                Restore {
                    checkpoint: Some(checkpoint.id),
                    redistribute,
                    operators: operators_of(index),
                    ended,
                },
            );
        }
    }
    Ok(restores)
}
