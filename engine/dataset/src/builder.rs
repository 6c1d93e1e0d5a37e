//! Collects what a program says: the logical graph, and how to register its typed half.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use flott_core::Data;
use flott_core::config::{self, Configuration};
use flott_core::ids::OperatorId;
use flott_plan::data_graph::{DataGraph, DataNode, DataNodeId, DataOperator, ForwardedKey, KeyId};
use flott_plan::{EdgeKey, OperatorKey, Origin, Variant};
use flott_runtime::key_selector::KeySelector;
use flott_runtime::program::Program;

/// Registers an operator in all variants of it.
pub(crate) type RegisterOperator = Box<dyn Fn(&mut Program, OperatorId)>;

/// Registers an edge into an input.
pub(crate) type RegisterEdge = Box<dyn Fn(&mut Program, EdgeKey)>;

/// A program in the making. Clones share it.
#[derive(Clone)]
pub(crate) struct Builder(Rc<RefCell<Building>>);

struct Building {
    nodes: Vec<Node>,
    keys: u32,
    configuration: Configuration,
}

struct Node {
    node: DataNode,
    operator: RegisterOperator,
    inputs: Vec<RegisterEdge>,
    /// A sink whose job has run.
    done: bool,
}

/// An operator to add.
pub(crate) struct NewNode {
    pub(crate) name: &'static str,
    pub(crate) kind: DataOperator,
    pub(crate) origin: Origin,
    pub(crate) forwarded_keys: Vec<ForwardedKey>,
    pub(crate) non_parallel: bool,
    /// The files and folders that a source reads.
    pub(crate) reads: Vec<String>,
    pub(crate) operator: RegisterOperator,
    pub(crate) output_schema: String,
}

impl NewNode {
    /// An operator that emits `T`.
    pub(crate) fn new<T: Data>(
        name: &'static str,
        kind: DataOperator,
        origin: Origin,
        operator: RegisterOperator,
    ) -> Self {
        let output_schema = T::schema().to_string();
        let (forwarded_keys, reads, non_parallel) = (Vec::new(), Vec::new(), false);
        Self { name, kind, origin, forwarded_keys, non_parallel, reads, operator, output_schema }
    }
}

/// An input of a node that is added.
pub(crate) struct NewInput {
    pub(crate) source: DataNodeId,
    register: RegisterEdge,
    schema: String,
}

impl NewInput {
    /// Records of type `T`, which may come in any way but by key.
    pub(crate) fn plain<T: Data>(source: DataNodeId) -> Self {
        let register = Box::new(|program: &mut Program, key| program.edge::<T>(key));
        Self { source, register, schema: T::schema().to_string() }
    }

    /// Records of type `T`, which may be partitioned by the key that `selector` finds.
    pub(crate) fn keyed<T: Data, S: KeySelector<T>>(source: DataNodeId, selector: Arc<S>) -> Self {
        let register = Box::new(move |program: &mut Program, key| {
            program.keyed_edge::<T, S>(key, Arc::clone(&selector))
        });
        Self { source, register, schema: format!("{} by {}", T::schema(), S::Key::schema()) }
    }
}

impl Builder {
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self(Rc::new(RefCell::new(Building { nodes: Vec::new(), keys: 0, configuration })))
    }

    pub(crate) fn configuration(&self) -> Configuration {
        self.0.borrow().configuration.clone()
    }

    pub(crate) fn configure<R>(&self, change: impl FnOnce(&mut Configuration) -> R) -> R {
        change(&mut self.0.borrow_mut().configuration)
    }

    /// A key that no operator has used yet.
    pub(crate) fn new_key(&self) -> KeyId {
        let building = &mut *self.0.borrow_mut();
        building.keys += 1;
        KeyId(building.keys - 1)
    }

    pub(crate) fn add(&self, node: NewNode, inputs: Vec<NewInput>) -> DataNodeId {
        let building = &mut *self.0.borrow_mut();
        let id = DataNodeId(building.nodes.len());
        let logical = DataNode {
            operator: OperatorId::from_position(&id.0.to_string()),
            name: node.name.to_owned(),
            uid: None,
            origin: node.origin,
            kind: node.kind,
            inputs: inputs.iter().map(|input| input.source).collect(),
            reads: node.reads,
            forwarded_keys: node.forwarded_keys,
            parallelism: None,
            non_parallel: node.non_parallel,
            blocking: false,
            input_schemas: inputs.iter().map(|input| input.schema.clone()).collect(),
            output_schema: node.output_schema,
        };
        let inputs = inputs.into_iter().map(|input| input.register).collect();
        building.nodes.push(Node { node: logical, operator: node.operator, inputs, done: false });
        id
    }

    /// Changes an operator that was added.
    pub(crate) fn change(&self, node: DataNodeId, change: impl FnOnce(&mut DataNode)) {
        if let Some(node) = self.0.borrow_mut().nodes.get_mut(node.0) {
            change(&mut node.node);
        }
    }

    /// The id of an operator, by which its results are found.
    pub(crate) fn operator_id(&self, node: DataNodeId) -> Option<OperatorId> {
        self.0.borrow().nodes.get(node.0).map(|node| node.node.operator)
    }

    /// The program of all sinks that no job has run yet: its logical graph, and its typed half.
    pub(crate) fn program(&self, name: &str) -> (DataGraph, Program) {
        let building = self.0.borrow();
        // Positions are those in the graph without the sinks that are done, which nothing reads.
        let mut positions = Vec::with_capacity(building.nodes.len());
        let mut nodes = Vec::new();
        let mut registers = Vec::new();
        for node in &building.nodes {
            positions.push(DataNodeId(nodes.len()));
            if node.done {
                continue;
            }
            let inputs = node.node.inputs.iter().map(|input| positions[input.0]).collect();
            nodes.push(DataNode { inputs, ..node.node.clone() });
            registers.push(node);
        }
        let graph = DataGraph {
            name: name.to_owned(),
            nodes,
            default_parallelism: building.configuration.get(&config::PARALLELISM),
            configuration: building.configuration.entries().clone(),
        };
        let mut program = Program::new();
        registers.iter().for_each(|node| (node.operator)(&mut program, node.node.operator));
        for edge in graph.alternatives().edges {
            // A source registers the edge from its enumerator itself.
            if edge.key.source.variant == Variant::Enumerator {
                continue;
            }
            let target = registers.iter().find(|node| node.node.operator == edge.key.target.id);
            if let Some(register) = target.and_then(|node| node.inputs.get(edge.key.input as usize)) {
                register(&mut program, edge.key);
            }
        }
        (graph, program)
    }

    /// The sinks so far have been run.
    pub(crate) fn sinks_are_done(&self) {
        for node in &mut self.0.borrow_mut().nodes {
            node.done |= node.node.kind == DataOperator::Sink;
        }
    }
}

/// Registers an operator that has one form.
pub(crate) fn operator<O: flott_runtime::operator::Operator>(
    make: impl Fn() -> O + Clone + Send + Sync + 'static,
) -> RegisterOperator {
    Box::new(move |program, id| program.operator(OperatorKey::new(id), make.clone()))
}
