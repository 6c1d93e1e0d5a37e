//! Assembles a subtask: operators by the plan, state from the checkpoint, gates and outputs by the channels.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use flott_core::memory::ManagedMemory;
use flott_core::time::NO_TIMESTAMP;
use flott_plan::{ChainedOperator, JobVertex, OutputPort, Partitioning};
use flott_state::{OperatorState, StateContext};

use super::{InputSpec, OutputSpec, Phase, Subtask, TaskFailure, TaskSpec};
use crate::chain::{Chain, Link, LinkElement, Route};
use crate::error::{Fault, OperatorError};
use crate::exchange::align::BarrierAligner;
use crate::exchange::channel::ReadyQueue;
use crate::exchange::gate::InputGate;
use crate::exchange::output::{Channels, Output};
use crate::exchange::partition::PartitionContext;
use crate::exchange::readers::Readers;
use crate::metrics::{OperatorMetrics, TaskClock};
use crate::operator::OperatorInfo;
use crate::slot::now;
use crate::snapshot::StateHandle;

fn vertex(spec: &TaskSpec) -> Option<&JobVertex> {
    spec.context.graph.vertices.get(spec.execution.subtask.vertex.0 as usize)
}

pub(super) fn vertex_name(spec: &TaskSpec) -> String {
    vertex(spec).map_or_else(|| format!("vertex {}", spec.execution.subtask.vertex), |v| v.name.clone())
}

pub(super) fn assemble(spec: TaskSpec) -> Result<Subtask, TaskFailure> {
    let subtask = spec.execution.subtask.index;
    let fail = |operator: &str, error: OperatorError| TaskFailure {
        operator: operator.to_owned(),
        subtask,
        fault: error.fault(),
        message: error.to_string(),
        backtrace: None,
    };
    let graph = Arc::clone(&spec.context.graph);
    let Some(vertex) = graph.vertices.get(spec.execution.subtask.vertex.0 as usize) else {
        let error = OperatorError::new(Fault::Flott, "the JobGraph has no such vertex");
        return Err(fail(&vertex_name(&spec), error));
    };

    let readers = readers(&spec);
    let weights: u64 = vertex.operators.iter().map(|o| u64::from(o.managed_memory_weight)).sum();
    let mut links = Vec::with_capacity(vertex.operators.len());
    for operator in &vertex.operators {
        let share = spec.managed_memory.share(u64::from(operator.managed_memory_weight), weights);
        let link =
            link(&spec, vertex, operator, share, &readers).map_err(|error| fail(&operator.name, error))?;
        links.push(link);
    }
    for (index, operator) in vertex.operators.iter().enumerate() {
        if let Some(input) = &operator.input {
            add_route(&mut links[input.operator], &input.output, Route::Link(index));
        }
    }
    let mut outputs = Vec::with_capacity(spec.outputs.len());
    for (index, output) in spec.outputs.iter().enumerate() {
        let edge = &graph.edges[output.edge.0 as usize];
        let made = make_output(&spec, output, &readers).map_err(|error| fail(&vertex.name, error))?;
        outputs.push(made);
        add_route(&mut links[edge.source_operator], &edge.key.output, Route::Output(index));
    }
    let mut gates = Vec::with_capacity(spec.inputs.len());
    let mut channels = 0;
    let mut open_inputs = Vec::new();
    for input in &spec.inputs {
        let gate = make_gate(&spec, input, channels).map_err(|error| fail(&vertex.name, error))?;
        channels += input.channels.len();
        if open_inputs.len() <= input.input {
            open_inputs.resize(input.input + 1, 0);
        }
        open_inputs[input.input] += input.channels.len();
        gates.push((input.input, gate));
    }

    let chain = Chain::new(links);
    let unopened = chain.links().len();
    let last_watermark = vec![NO_TIMESTAMP; gates.len()];
    let name = format!("{} ({}/{})", vertex.name, subtask + 1, vertex.parallelism).into();
    Ok(Subtask {
        spec,
        chain,
        gates,
        outputs,
        aligner: BarrierAligner::new(channels),
        snapshot: None,
        triggered: None,
        last_barrier: flott_core::ids::CheckpointId(0),
        open_inputs,
        last_watermark,
        phase: Phase::Running,
        name,
        clock: TaskClock::new(Arc::default(), std::time::Instant::now()),
        blocked: false,
        note_memory_at: std::time::Instant::now(),
        unopened,
        final_handles: None,
        closing: None,
        abandoned: Vec::new(),
    })
}

impl Subtask {
    /// Opens the operators, the last first.
    pub(super) fn open(&mut self) -> Result<(), TaskFailure> {
        let allow = self.spec.context.allow_non_restored_state;
        while self.unopened > 0 {
            // It counts from now on: whatever opening does, it is closed.
            self.unopened -= 1;
            let opened = self.chain.links_mut()[self.unopened].call(now(), |operator, context| {
                operator.open(context)?;
                context.state.finish_declarations(allow)?;
                Ok(())
            });
            opened.map_err(|error| self.failure(self.unopened, error))?;
        }
        if self.spec.restore.ended.is_some() {
            self.pass_end_on();
        } else if self.gates.is_empty() {
            // Without inputs all input has come: the operator emits what it has in the steps of its end.
            self.chain.head_mut().push(LinkElement::End);
        }
        Ok(())
    }

    /// An earlier attempt had ended: its consumers only need to know that.
    fn pass_end_on(&mut self) {
        for output in &mut self.outputs {
            output.send_control(|| crate::element::Element::End);
        }
        self.phase = Phase::Ended;
    }
}

fn add_route(link: &mut Link, output: &OutputPort, route: Route) {
    match output {
        OutputPort::Main => link.add_main_route(route),
        OutputPort::Side(tag) => link.add_side_route(tag, route),
    }
}

fn link(
    spec: &TaskSpec,
    vertex: &JobVertex,
    operator: &ChainedOperator,
    managed_memory: ManagedMemory,
    readers: &Arc<Readers>,
) -> Result<Link, OperatorError> {
    let (subtask, attempt) = (spec.execution.subtask.index, spec.execution.attempt);
    let Some(factory) = spec.context.program.operator_factory(&operator.key) else {
        let message = "the program does not register this operator: the plan was made by another program";
        return Err(OperatorError::new(Fault::User, message));
    };
    let context = StateContext {
        operator: operator.key.id,
        subtask,
        parallelism: vertex.parallelism,
        max_parallelism: vertex.max_parallelism,
        key_groups: vertex.max_parallelism.range(subtask, vertex.parallelism),
        redistribute: spec.restore.redistribute,
    };
    let mut restored = Vec::new();
    for handle in spec.restore.operators.get(&operator.key).into_iter().flatten() {
        restored.push(read_state(handle)?);
    }
    let state = OperatorState::restore(context, restored)?;
    let info = OperatorInfo {
        name: operator.name.clone(),
        job: spec.context.job,
        job_name: spec.context.graph.name.clone(),
        subtask,
        parallelism: vertex.parallelism,
        consumers: spec.outputs.first().map_or(0, |output| output.channels.len() as u32),
        readers: Arc::clone(readers),
        attempt: attempt.0,
        restored: spec.restore.checkpoint.is_some(),
        ended: spec.restore.ended.is_some(),
        temp_dir: spec.context.temp_dir.clone(),
        managed_memory,
        waker: spec.waker.clone(),
        io: spec.context.io.clone(),
        metrics: Arc::new(OperatorMetrics::default()),
        most_collected: spec.context.most_collected,
        auto_watermark_interval: spec.context.auto_watermark_interval,
    };
    Ok(Link::new(operator.key, factory(), state, info))
}

fn read_state(handle: &StateHandle) -> Result<Vec<u8>, OperatorError> {
    match handle {
        StateHandle::Inline(bytes) => Ok(bytes.to_vec()),
        StateHandle::File { path, offset, length } => {
            let fs = flott_fs::for_path(path).map_err(OperatorError::environment)?;
            let mut file = fs.open(path).map_err(OperatorError::environment)?;
            let mut bytes = vec![0; *length as usize];
            let read = file.seek(SeekFrom::Start(*offset)).and_then(|_| file.read_exact(&mut bytes));
            read.map_err(|error| {
                let message = format!("cannot read the checkpointed state in {path} at {offset}: {error}");
                OperatorError::new(Fault::Environment, message)
            })?;
            Ok(bytes)
        }
    }
}

/// The partitioning of an output.
fn partitioning(spec: &TaskSpec, output: &OutputSpec) -> Partitioning {
    spec.context.graph.edges[output.edge.0 as usize].partitioning
}

/// Those who read what the subtask gives by demand: it is an enumerator, and that its only output.
fn readers(spec: &TaskSpec) -> Arc<Readers> {
    let by_demand = |output: &&OutputSpec| partitioning(spec, output) == Partitioning::Demand;
    let output = spec.outputs.first().filter(by_demand);
    output.map_or_else(Arc::default, |output| {
        Arc::new(Readers::new(output.channels.clone(), output.hosts.clone()))
    })
}

fn make_output(
    spec: &TaskSpec,
    output: &OutputSpec,
    readers: &Arc<Readers>,
) -> Result<Output, OperatorError> {
    let graph = &spec.context.graph;
    let edge = &graph.edges[output.edge.0 as usize];
    let Some(types) = spec.context.program.edge_type(&edge.key) else {
        let message = "the program does not register this edge: the plan was made by another program";
        return Err(OperatorError::new(Fault::User, message));
    };
    let context = PartitionContext {
        partitioning: edge.partitioning,
        channels: output.channels.len() as u32,
        subtask: spec.execution.subtask.index,
        max_parallelism: graph.vertices[edge.target.0 as usize].max_parallelism,
        operator: graph.vertices[edge.source.0 as usize].operators[edge.source_operator].name.clone(),
    };
    for channel in &output.channels {
        channel.set_producer(spec.waker.clone());
    }
    let timeout = edge.buffer_timeout_ms.map(|millis| Duration::from_millis(u64::from(millis)));
    let channels = match edge.partitioning {
        Partitioning::Demand => Channels::by_demand(output.channels.clone(), Arc::clone(readers)),
        _ => Channels::new(output.channels.clone()),
    };
    Ok(Output::new(channels, (types.partitioner)(&context), timeout))
}

fn make_gate(spec: &TaskSpec, input: &InputSpec, first_channel: usize) -> Result<InputGate, OperatorError> {
    let edge = &spec.context.graph.edges[input.edge.0 as usize];
    let Some(types) = spec.context.program.edge_type(&edge.key) else {
        let message = "the program does not register this edge: the plan was made by another program";
        return Err(OperatorError::new(Fault::User, message));
    };
    let ready = Arc::new(ReadyQueue::new({
        let waker = spec.waker.clone();
        move || waker.wake()
    }));
    Ok(InputGate::new(input.channels.clone(), ready, types.decode, first_channel))
}
