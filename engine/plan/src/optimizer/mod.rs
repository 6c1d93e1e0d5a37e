//! DataGraph → OptimizedPlan: a strategy for every operator. Each decision is a function of its own:
//!
//! | file | decides |
//! |---|---|
//! | `estimate` | how much every operator gives |
//! | `combine` | whether to aggregate before the exchange |
//! | `aggregation` | hash table or sorting |
//! | `join` | partition both or broadcast one; which one is read first |
//! | `exchanges` | which exchanges block |
//!
//! Records that are partitioned by a key already, in as many subtasks, are not sent again. What no sink reads does not run.

mod aggregation;
mod check;
mod combine;
mod estimate;
mod exchanges;
mod join;

use std::collections::{BTreeMap, BTreeSet};

use flott_core::config::{self, Configuration};

use crate::data_graph::{DataGraph, DataNode, DataNodeId, DataOperator, Estimate, KeyId};
use crate::error::PlanError;
use crate::job_graph::{ExchangeMode, OperatorKey, Variant};
use crate::optimized_plan::{
    LocalStrategy, OptimizedPlan, PlanInput, PlanNode, PlanNodeId, ShipStrategy, Side,
};
use crate::resolve::{Defaults, JobSettings, Width};
use join::{JoinInput, JoinShip};

/// What the optimizer knows of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptimizerSettings {
    /// The managed memory of a slot, in bytes.
    pub slot_memory: u64,
}

impl OptimizerSettings {
    /// What the configuration of the TaskManagers says.
    pub fn of(configuration: &Configuration) -> Self {
        let managed = configuration.get_optional(&config::MANAGED_MEMORY).map(|size| size.bytes());
        let managed = managed.unwrap_or_else(|| {
            let process = configuration.get(&config::TASK_MANAGER_MEMORY).bytes();
            // The cast is bounded at both ends.
            (process as f64 * configuration.get(&config::MANAGED_FRACTION)) as u64
        });
        Self { slot_memory: managed / u64::from(configuration.get(&config::TASK_SLOTS).max(1)) }
    }
}

impl DataGraph {
    /// Chooses a strategy for every operator.
    ///
    /// # Errors
    /// [`PlanError`] that names the operator and the line that made it.
    pub fn optimize(&self, settings: OptimizerSettings) -> Result<OptimizedPlan, PlanError> {
        check::check(self)?;
        let job = JobSettings::of(&self.configuration)?;
        let defaults =
            Defaults { parallelism: self.default_parallelism, max_parallelism: job.max_parallelism };
        let is_read = self.read_by_sinks();
        let users = self.nodes.iter().zip(&is_read).filter(|(_, is_read)| **is_read);
        let users: u64 = users.map(|(node, _)| memory_users(&node.kind)).sum();
        let mut planner = Planner {
            graph: self,
            estimates: estimate::estimates(self),
            budget: settings.slot_memory / users.max(1),
            nodes: Vec::new(),
            partitioned_by: Vec::new(),
            made: BTreeMap::new(),
        };
        for (position, node) in self.nodes.iter().enumerate() {
            // Also of what will not run the user said something that must be right.
            let width = check::wanted(node).width(&defaults)?;
            if is_read[position] {
                planner.plan(DataNodeId(position), width);
            }
        }
        let mut nodes = planner.nodes;
        exchanges::decide_modes(&mut nodes);
        Ok(OptimizedPlan {
            name: self.name.clone(),
            nodes,
            configuration: self.configuration.clone(),
            program: self.program(),
        })
    }

    /// Of each node: whether a sink reads it, by way of others.
    fn read_by_sinks(&self) -> Vec<bool> {
        let mut is_read: Vec<bool> = self.nodes.iter().map(|node| node.kind == DataOperator::Sink).collect();
        for position in (0..self.nodes.len()).rev() {
            if is_read[position] {
                self.nodes[position].inputs.iter().for_each(|input| is_read[input.0] = true);
            }
        }
        is_read
    }
}

/// How many operators that use managed memory a node may become, which share a slot's.
fn memory_users(kind: &DataOperator) -> u64 {
    match kind {
        DataOperator::Distinct { .. } => 2,
        DataOperator::Aggregate { combinable, .. } | DataOperator::GroupReduce { combinable, .. } => {
            1 + u64::from(*combinable)
        }
        DataOperator::Join { .. } | DataOperator::SortPartition => 1,
        _ => 0,
    }
}

/// A plan in the making.
struct Planner<'a> {
    graph: &'a DataGraph,
    estimates: Vec<Estimate>,
    /// The memory that one operator gets in one slot, in bytes.
    budget: u64,
    nodes: Vec<PlanNode>,
    /// Of each plan node: the keys by any of which its records are partitioned.
    partitioned_by: Vec<BTreeSet<KeyId>>,
    /// The plan node that gives what a logical node gives.
    made: BTreeMap<DataNodeId, PlanNodeId>,
}

/// An aggregation, as far as planning it goes.
struct Aggregation {
    key: KeyId,
    combinable: bool,
    groups: Option<u64>,
    needs_groups: bool,
}

impl Planner<'_> {
    fn plan(&mut self, id: DataNodeId, width: Width) {
        let aggregation =
            |key, combinable, groups, needs_groups| Aggregation { key, combinable, groups, needs_groups };
        let made = match self.graph.nodes[id.0].kind {
            DataOperator::Union => return,
            DataOperator::Aggregate { key, combinable, groups } => {
                self.plan_aggregation(id, width, &aggregation(key, combinable, groups, false))
            }
            DataOperator::Distinct { key, groups } => {
                self.plan_aggregation(id, width, &aggregation(key, true, groups, false))
            }
            DataOperator::GroupReduce { key, combinable, groups } => {
                self.plan_aggregation(id, width, &aggregation(key, combinable, groups, true))
            }
            DataOperator::Join { left, right } => self.plan_join(id, width, left, right),
            DataOperator::SortPartition => self.plan_simple(id, width, LocalStrategy::Sort),
            _ => self.plan_simple(id, width, LocalStrategy::None),
        };
        self.made.insert(id, made);
    }

    /// Operators that take their records wherever they are.
    fn plan_simple(&mut self, id: DataNodeId, width: Width, local: LocalStrategy) -> PlanNodeId {
        let sources = self.sources(id, 0);
        let mut arriving: Option<BTreeSet<KeyId>> = None;
        let mut inputs = Vec::with_capacity(sources.len());
        for source in sources {
            let input = self.stay_or_rebalance(0, source, width);
            let keys = match input.ship {
                ShipStrategy::Forward => self.partitioned_by[source.0].clone(),
                _ => BTreeSet::new(),
            };
            arriving = Some(arriving.map_or(keys.clone(), |arriving| &arriving & &keys));
            inputs.push(input);
        }
        let given = self.given_keys(id, 0, &arriving.unwrap_or_default());
        let node = self.node(id, Variant::Default, width, local, inputs);
        self.add(node, given)
    }

    fn plan_aggregation(&mut self, id: DataNodeId, width: Width, wanted: &Aggregation) -> PlanNodeId {
        let Aggregation { key, combinable, groups, needs_groups } = *wanted;
        let input = self.input_estimate(id, 0);
        let local = aggregation::strategy(needs_groups, self.estimates[id.0], width.parallelism, self.budget);
        let mut sources = self.sources(id, 0);
        let is_there = sources.iter().all(|source| self.is_partitioned(*source, key, width));
        let is_combined = combine::is_combined(combinable, !is_there, input.records, groups);
        if is_combined {
            sources = vec![self.plan_combiner(id, width, &sources, groups)];
        }
        let ship = if is_there { ShipStrategy::Forward } else { ShipStrategy::HashPartition { key } };
        let inputs = sources.into_iter().map(|source| plan_input(0, source, ship)).collect();
        let variant = match (local, is_combined) {
            (LocalStrategy::SortAggregate, false) => Variant::SortAggregate,
            (LocalStrategy::SortAggregate, true) => Variant::FinalSortAggregate,
            (_, false) => Variant::HashAggregate,
            (_, true) => Variant::FinalHashAggregate,
        };
        let given = self.given_keys(id, 0, &BTreeSet::from([key]));
        let node = self.node(id, variant, width, local, inputs);
        self.add(node, given)
    }

    /// Puts a combiner behind what an aggregation reads: in the same subtasks, if what it reads is all of one width.
    fn plan_combiner(
        &mut self,
        id: DataNodeId,
        width: Width,
        sources: &[PlanNodeId],
        groups: Option<u64>,
    ) -> PlanNodeId {
        let width_of = |source: &PlanNodeId| {
            let PlanNode { parallelism, max_parallelism, .. } = self.nodes[source.0];
            Width { parallelism, max_parallelism, own_max_parallelism: false }
        };
        let mut widths = sources.iter().map(width_of);
        let first = widths.next().unwrap_or(width);
        let width = if widths.all(|other| other == first) { first } else { width };
        let inputs = sources.iter().map(|source| self.stay_or_rebalance(0, *source, width)).collect();
        let estimate = estimate::combined(self.input_estimate(id, 0), groups, width.parallelism);
        let node = self.node(id, Variant::Combine, width, LocalStrategy::Combine, inputs);
        let name = format!("{} (combine)", node.name);
        self.add(PlanNode { name, estimate, ..node }, BTreeSet::new())
    }

    fn plan_join(&mut self, id: DataNodeId, width: Width, left: KeyId, right: KeyId) -> PlanNodeId {
        let known = |side: Side, key| {
            let sources = self.sources(id, side.input());
            let is_in_place = |source: &PlanNodeId| self.is_in_place(*source, width);
            JoinInput {
                bytes: self.input_estimate(id, side.input()).bytes,
                is_partitioned: sources.iter().all(|source| self.is_partitioned(*source, key, width)),
                is_in_place: sources.iter().all(is_in_place),
            }
        };
        let (left_input, right_input) = (known(Side::Left, left), known(Side::Right, right));
        let choice = join::choose(left_input, right_input, width.parallelism, self.budget);
        let mut inputs = Vec::new();
        let mut given = BTreeSet::new();
        for (side, key, ship) in [(Side::Left, left, choice.left), (Side::Right, right, choice.right)] {
            for source in self.sources(id, side.input()) {
                inputs.push(match ship {
                    JoinShip::Stay => self.stay_or_rebalance(side.input(), source, width),
                    JoinShip::Partition => {
                        plan_input(side.input(), source, ShipStrategy::HashPartition { key })
                    }
                    JoinShip::Broadcast => plan_input(side.input(), source, ShipStrategy::Broadcast),
                });
            }
            given.extend(self.given_keys(
                id,
                side.input(),
                &self.arriving_at_join(id, side, key, ship, width),
            ));
        }
        let (variant, local) = match choice.build {
            Side::Left => (Variant::BuildLeft, LocalStrategy::HybridHashJoin { build: Side::Left }),
            Side::Right => (Variant::BuildRight, LocalStrategy::HybridHashJoin { build: Side::Right }),
        };
        let node = self.node(id, variant, width, local, inputs);
        self.add(node, given)
    }

    /// The keys by which one side of a join is partitioned when it has arrived.
    fn arriving_at_join(
        &self,
        id: DataNodeId,
        side: Side,
        key: KeyId,
        ship: JoinShip,
        width: Width,
    ) -> BTreeSet<KeyId> {
        match ship {
            JoinShip::Partition => BTreeSet::from([key]),
            JoinShip::Broadcast => BTreeSet::new(),
            JoinShip::Stay => {
                let sources = self.sources(id, side.input());
                let keys = sources.iter().map(|source| match self.is_in_place(*source, width) {
                    true => self.partitioned_by[source.0].clone(),
                    false => BTreeSet::new(),
                });
                keys.reduce(|one, other| &one & &other).unwrap_or_default()
            }
        }
    }

    /// The keys by which the output is partitioned, of those by which an input is.
    fn given_keys(&self, id: DataNodeId, input: u32, arriving: &BTreeSet<KeyId>) -> BTreeSet<KeyId> {
        let node = &self.graph.nodes[id.0];
        let forwarded = node.forwarded_keys.iter().filter(|key| key.input == input);
        let mut given: BTreeSet<KeyId> =
            forwarded.filter(|key| arriving.contains(&key.from)).map(|key| key.to).collect();
        if node.kind.keeps_records() {
            given.extend(arriving);
        }
        given
    }

    /// The plan nodes that give an input, more than one behind a union.
    fn sources(&self, id: DataNodeId, input: u32) -> Vec<PlanNodeId> {
        let logical = self.graph.nodes[id.0].inputs.get(input as usize);
        let producers = logical.map_or_else(Vec::new, |logical| self.graph.producers(*logical));
        producers.iter().filter_map(|producer| self.made.get(producer)).copied().collect()
    }

    fn input_estimate(&self, id: DataNodeId, input: u32) -> Estimate {
        let logical = self.graph.nodes[id.0].inputs.get(input as usize);
        logical.map_or(Estimate::UNKNOWN, |logical| self.estimates[logical.0])
    }

    fn is_in_place(&self, source: PlanNodeId, width: Width) -> bool {
        let source = &self.nodes[source.0];
        source.parallelism == width.parallelism && source.max_parallelism == width.max_parallelism
    }

    /// Whether records of equal keys are in the same subtask, and in the one where an exchange would bring them.
    fn is_partitioned(&self, source: PlanNodeId, key: KeyId, width: Width) -> bool {
        let by_key = width.parallelism == 1 || self.partitioned_by[source.0].contains(&key);
        by_key && self.is_in_place(source, width)
    }

    fn stay_or_rebalance(&self, input: u32, source: PlanNodeId, width: Width) -> PlanInput {
        let stays = self.nodes[source.0].parallelism == width.parallelism;
        plan_input(input, source, if stays { ShipStrategy::Forward } else { ShipStrategy::Rebalance })
    }

    fn node(
        &self,
        id: DataNodeId,
        variant: Variant,
        width: Width,
        local: LocalStrategy,
        inputs: Vec<PlanInput>,
    ) -> PlanNode {
        let node: &DataNode = &self.graph.nodes[id.0];
        PlanNode {
            key: OperatorKey::variant(node.operator, variant),
            name: node.display_name(),
            uid: node.uid.clone(),
            origin: node.origin.clone(),
            is_source: matches!(node.kind, DataOperator::Source { .. }),
            reads: node.reads.clone(),
            parallelism: width.parallelism,
            max_parallelism: width.max_parallelism,
            blocking: node.blocking,
            local,
            inputs,
            estimate: self.estimates[id.0],
        }
    }

    fn add(&mut self, node: PlanNode, partitioned_by: BTreeSet<KeyId>) -> PlanNodeId {
        self.nodes.push(node);
        self.partitioned_by.push(partitioned_by);
        PlanNodeId(self.nodes.len() - 1)
    }
}

fn plan_input(input: u32, source: PlanNodeId, ship: ShipStrategy) -> PlanInput {
    PlanInput { input, source, ship, mode: ExchangeMode::Pipelined }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
