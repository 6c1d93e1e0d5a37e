//! Where streams end.

use std::marker::PhantomData;

use flott_core::ids::OperatorId;
use flott_plan::stream_graph::{Chaining, NodeId};

use crate::builder::Builder;

/// A sink that was added, to be named and tuned.
pub struct DataStreamSink {
    builder: Builder,
    node: NodeId,
}

impl DataStreamSink {
    pub(crate) fn new(builder: Builder, node: NodeId) -> Self {
        Self { builder, node }
    }

    /// Names the sink.
    pub fn name(self, name: &str) -> Self {
        self.builder.change(self.node, |node| node.name = name.to_owned());
        self
    }

    /// Gives the sink an id that stays when the program around it changes.
    pub fn uid(self, uid: &str) -> Self {
        self.builder.change(self.node, |node| node.uid = Some(uid.to_owned()));
        self
    }

    /// How many subtasks the sink has.
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.builder.change(self.node, |node| node.parallelism = Some(parallelism));
        self
    }

    /// Does not chain the sink to what is before it.
    pub fn disable_chaining(self) -> Self {
        self.builder.change(self.node, |node| node.chaining = node.chaining.max(Chaining::Never));
        self
    }

    /// Says that the sink blocks; see [`DataStream::blocking`](crate::DataStream::blocking).
    pub fn blocking(self) -> Self {
        self.builder.change(self.node, |node| node.chaining = Chaining::OwnThread);
        self
    }

    /// The sink's slot sharing group.
    pub fn slot_sharing_group(self, group: &str) -> Self {
        self.builder.change(self.node, |node| node.slot_sharing_group = Some(group.to_owned()));
        self
    }
}

/// Records on their way to the client; [`JobExecutionResult::get`](crate::JobExecutionResult::get) has them.
pub struct Collected<T> {
    operator: OperatorId,
    types: PhantomData<fn() -> T>,
}

impl<T> Collected<T> {
    pub(crate) fn new(sink: DataStreamSink, types: PhantomData<fn() -> T>) -> Self {
        let operator = sink.builder.operator_id(sink.node);
        Self { operator, types }
    }

    pub(crate) fn operator(&self) -> OperatorId {
        self.operator
    }
}
