//! Collects what a program says until it is executed: the logical graph, and how to register its typed half.

use std::cell::RefCell;
use std::rc::Rc;

use flott_core::config::Configuration;
use flott_core::ids::OperatorId;
use flott_core::{Data, config};
use flott_plan::stream_graph::{Chaining, NodeId, NodeKind, StreamEdge, StreamGraph, StreamNode};
use flott_plan::{EdgeKey, ExecutionMode, OperatorKey, Origin, OutputPort, Partitioning, Variant};
use flott_runtime::program::Program;

/// Registers an operator under its key.
pub(crate) type RegisterOperator = Box<dyn Fn(&mut Program, OperatorKey)>;

/// Registers an edge under its key.
pub(crate) type RegisterEdge = Rc<dyn Fn(&mut Program, EdgeKey)>;

/// A program in the making. Clones share it.
#[derive(Clone)]
pub(crate) struct Builder(Rc<RefCell<Building>>);

struct Building {
    nodes: Vec<StreamNode>,
    edges: Vec<StreamEdge>,
    operators: Vec<Vec<(Variant, RegisterOperator)>>,
    edge_types: Vec<RegisterEdge>,
    configuration: Configuration,
    /// How many times the program was executed; ids by position differ from one to the next.
    executions: u32,
}

/// An operator to add.
pub(crate) struct NewNode {
    pub(crate) name: &'static str,
    pub(crate) kind: NodeKind,
    pub(crate) origin: Origin,
    pub(crate) keyed: bool,
    pub(crate) stateful: bool,
    pub(crate) watermark_group: Option<String>,
    /// The files and folders that a source reads.
    pub(crate) reads: Vec<String>,
    pub(crate) parallelism: Option<u32>,
    /// Whether there can only be one subtask.
    pub(crate) non_parallel: bool,
    /// How to make it, by alternative; the default is the first.
    pub(crate) operators: Vec<(Variant, RegisterOperator)>,
    pub(crate) output_schema: String,
}

impl NewNode {
    /// An operator without state that emits `T`.
    pub(crate) fn new<T: Data>(name: &'static str, origin: Origin, register: RegisterOperator) -> Self {
        Self {
            name,
            kind: NodeKind::Operator,
            origin,
            keyed: false,
            stateful: false,
            watermark_group: None,
            reads: Vec::new(),
            parallelism: None,
            non_parallel: false,
            operators: vec![(Variant::Default, register)],
            output_schema: T::schema().to_string(),
        }
    }

    /// Makes it one that works on keyed streams and has state.
    pub(crate) fn keyed(self) -> Self {
        Self { keyed: true, stateful: true, ..self }
    }
}

/// An edge into a node that is added.
pub(crate) struct NewEdge {
    pub(crate) source: NodeId,
    pub(crate) output: OutputPort,
    pub(crate) partitioning: Option<Partitioning>,
    pub(crate) register: RegisterEdge,
    /// What travels on it.
    pub(crate) schema: String,
}

impl Builder {
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self(Rc::new(RefCell::new(Building {
            nodes: Vec::new(),
            edges: Vec::new(),
            operators: Vec::new(),
            edge_types: Vec::new(),
            configuration,
            executions: 0,
        })))
    }

    pub(crate) fn configuration(&self) -> Configuration {
        self.0.borrow().configuration.clone()
    }

    pub(crate) fn configure<R>(&self, change: impl FnOnce(&mut Configuration) -> R) -> R {
        change(&mut self.0.borrow_mut().configuration)
    }

    pub(crate) fn add(&self, node: NewNode, inputs: Vec<NewEdge>) -> NodeId {
        let building = &mut *self.0.borrow_mut();
        let id = NodeId(building.nodes.len());
        let timeout = building.configuration.get(&config::BUFFER_TIMEOUT);
        let input_schemas = inputs.first().map(|edge| edge.schema.clone()).into_iter().collect();
        building.nodes.push(StreamNode {
            // The final id is given when the program is executed: a uid may still come.
            operator: OperatorId::from_position(""),
            name: node.name.to_owned(),
            uid: None,
            origin: node.origin,
            kind: node.kind,
            parallelism: node.parallelism,
            non_parallel: node.non_parallel,
            max_parallelism: None,
            slot_sharing_group: None,
            chaining: Chaining::Always,
            keyed: node.keyed,
            stateful: node.stateful,
            watermark_group: node.watermark_group,
            reads: node.reads,
            managed_memory_weight: u32::from(
                node.operators.len() > 1 && !matches!(node.kind, NodeKind::Source { .. }),
            ),
            batch_variant: node
                .operators
                .iter()
                .map(|(variant, _)| *variant)
                .find(|variant| matches!(variant, Variant::HashAggregate | Variant::SortAggregate)),
            input_schemas,
            output_schema: node.output_schema,
        });
        building.operators.push(node.operators);
        for edge in inputs {
            building.edges.push(StreamEdge {
                source: edge.source,
                output: edge.output,
                target: id,
                input: 0,
                partitioning: edge.partitioning,
                buffer_timeout_ms: Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)),
            });
            building.edge_types.push(edge.register);
        }
        id
    }

    /// The id an operator without uid will have.
    pub(crate) fn operator_id(&self, node: NodeId) -> OperatorId {
        OperatorId::from_position(&format!("{}/{}", self.0.borrow().executions, node.0))
    }

    /// Changes an operator that was added.
    pub(crate) fn change(&self, node: NodeId, change: impl FnOnce(&mut StreamNode)) {
        if let Some(node) = self.0.borrow_mut().nodes.get_mut(node.0) {
            change(node);
        }
    }

    /// Sets the buffer timeout of what an operator emits.
    pub(crate) fn set_buffer_timeout(&self, node: NodeId, millis: Option<u32>) {
        for edge in self.0.borrow_mut().edges.iter_mut().filter(|edge| edge.source == node) {
            edge.buffer_timeout_ms = millis;
        }
    }

    /// Takes the program out: its logical graph, and its typed half.
    pub(crate) fn take(&self, name: &str) -> (StreamGraph, Program) {
        let building = &mut *self.0.borrow_mut();
        let execution = building.executions;
        building.executions += 1;
        let mut nodes = std::mem::take(&mut building.nodes);
        let edges = std::mem::take(&mut building.edges);
        let operators = std::mem::take(&mut building.operators);
        let edge_types = std::mem::take(&mut building.edge_types);
        let mut program = Program::new();
        for (position, (node, operators)) in nodes.iter_mut().zip(&operators).enumerate() {
            node.operator = match &node.uid {
                Some(uid) => OperatorId::from_uid(uid),
                None => OperatorId::from_position(&format!("{execution}/{position}")),
            };
            for (variant, register) in operators {
                register(&mut program, OperatorKey::variant(node.operator, *variant));
            }
        }
        for (edge, register) in edges.iter().zip(&edge_types) {
            let keys = |node: NodeId| {
                let id = nodes[node.0].operator;
                operators[node.0].iter().map(move |(variant, _)| OperatorKey::variant(id, *variant))
            };
            for source in keys(edge.source) {
                for target in keys(edge.target) {
                    register(
                        &mut program,
                        EdgeKey { source, output: edge.output.clone(), target, input: edge.input },
                    );
                }
            }
        }
        let configuration = &building.configuration;
        let mode = match configuration.get(&config::RUNTIME_MODE) {
            config::RuntimeMode::Streaming => ExecutionMode::Streaming,
            config::RuntimeMode::Batch => ExecutionMode::Batch,
        };
        let graph = StreamGraph {
            name: name.to_owned(),
            mode,
            nodes,
            edges,
            default_parallelism: configuration.get(&config::PARALLELISM),
            configuration: configuration.entries().clone(),
        };
        (graph, program)
    }

    /// Registers the edge from a source's enumerator to its readers.
    pub(crate) fn register_splits<S: Data>() -> RegisterEdge {
        Rc::new(|program, key| program.edge::<S>(key))
    }
}
