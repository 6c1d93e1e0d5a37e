//! `DataStream`: records without keys.

use std::fmt::Display;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use flott_cluster::program::ProgramError;
use flott_core::{Data, Key};
use flott_plan::stream_graph::{Chaining, NodeId, NodeKind, StreamNode};
use flott_plan::{Origin, OutputPort, Partitioning};
use flott_runtime::collector::OutputTag;
use flott_runtime::exchange::partition::ChoosePartition;
use flott_runtime::key_selector::{Borrowed, Computed};
use flott_runtime::operators::{
    AssignTimestampsAndWatermarks, Discard, Emitter, Filter, FlatMap, FlatMapInto, Map, Process,
    ProcessFunction, Sink, SinkOperator,
};
use flott_runtime::sinks::{CollectSink, Encode, FileSink, FileSinkOptions, PrintSink, SocketSink};
use flott_runtime::watermark::WatermarkStrategy;

use crate::builder::{Builder, NewEdge, NewNode, RegisterEdge, RegisterOperator};
use crate::keyed_stream::KeyedStream;
use crate::sinks::{Collected, DataStreamSink};

/// A stream of records of type `T`. What is said of it (`name`, `uid`, `set_parallelism` and so on) is said of the operator
/// that makes it.
pub struct DataStream<T> {
    pub(crate) builder: Builder,
    upstreams: Vec<Upstream<T>>,
}

/// One of the streams that a union consists of.
struct Upstream<T> {
    node: NodeId,
    output: OutputPort,
    ship: Ship<T>,
}

/// How records reach the next operator.
enum Ship<T> {
    Unsaid,
    By(Partitioning),
    Custom(ChoosePartition<T>),
}

impl<T> Clone for Ship<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Unsaid => Self::Unsaid,
            Self::By(partitioning) => Self::By(*partitioning),
            Self::Custom(choose) => Self::Custom(Arc::clone(choose)),
        }
    }
}

impl<T> Clone for Upstream<T> {
    fn clone(&self) -> Self {
        Self { node: self.node, output: self.output.clone(), ship: self.ship.clone() }
    }
}

impl<T> Clone for DataStream<T> {
    fn clone(&self) -> Self {
        Self { builder: self.builder.clone(), upstreams: self.upstreams.clone() }
    }
}

/// Registers an operator that is made anew for each subtask.
pub(crate) fn operator<O: flott_runtime::operator::Operator>(
    make: impl Fn() -> O + Clone + Send + Sync + 'static,
) -> RegisterOperator {
    Box::new(move |program, key| program.operator(key, make.clone()))
}

impl<T: Data> DataStream<T> {
    pub(crate) fn of_node(builder: Builder, node: NodeId) -> Self {
        Self { builder, upstreams: vec![Upstream { node, output: OutputPort::Main, ship: Ship::Unsaid }] }
    }

    /// The edges by which the next operator gets this stream; `register` is for streams partitioned by key.
    pub(crate) fn edges(&self, partitioned: Option<(Partitioning, RegisterEdge)>) -> Vec<NewEdge> {
        let edge = |upstream: &Upstream<T>| {
            let (partitioning, register): (_, RegisterEdge) = match (&partitioned, &upstream.ship) {
                (Some((partitioning, register)), _) => (Some(*partitioning), Rc::clone(register)),
                (None, Ship::Custom(choose)) => {
                    let choose = Arc::clone(choose);
                    let register = move |program: &mut flott_runtime::program::Program, key| {
                        program.custom_edge::<T>(key, Arc::clone(&choose));
                    };
                    (Some(Partitioning::Custom), Rc::new(register))
                }
                (None, Ship::By(partitioning)) => (Some(*partitioning), Builder::register_splits::<T>()),
                (None, Ship::Unsaid) => (None, Builder::register_splits::<T>()),
            };
            NewEdge {
                source: upstream.node,
                output: upstream.output.clone(),
                partitioning,
                register,
                schema: T::schema().to_string(),
            }
        };
        self.upstreams.iter().map(edge).collect()
    }

    fn then<O: Data>(&self, node: NewNode) -> DataStream<O> {
        let id = self.builder.add(node, self.edges(None));
        DataStream::of_node(self.builder.clone(), id)
    }

    fn sink<O: flott_runtime::operator::Operator>(
        &self,
        name: &'static str,
        origin: Origin,
        make: impl Fn() -> O + Clone + Send + Sync + 'static,
    ) -> DataStreamSink {
        let node = NewNode { kind: NodeKind::Sink, ..NewNode::new::<()>(name, origin, operator(make)) };
        DataStreamSink::new(self.builder.clone(), self.builder.add(node, self.edges(None)))
    }

    /// Each record becomes another.
    #[track_caller]
    pub fn map<O: Data>(&self, function: impl Fn(T) -> O + Clone + Send + Sync + 'static) -> DataStream<O> {
        self.then(NewNode::new::<O>("Map", Origin::caller(), operator(move || Map::new(function.clone()))))
    }

    /// Each record becomes as many as the function gives; they are pulled as the next operator takes them.
    #[track_caller]
    pub fn flat_map<R>(
        &self,
        function: impl Fn(T) -> R + Clone + Send + Sync + 'static,
    ) -> DataStream<R::Item>
    where
        R: IntoIterator + 'static,
        R::Item: Data,
    {
        let make = operator(move || FlatMap::new(function.clone()));
        self.then(NewNode::new::<R::Item>("Flat Map", Origin::caller(), make))
    }

    /// Each record becomes as many as the function emits, which may borrow from it: the fast way to take records apart.
    #[track_caller]
    pub fn flat_map_into<O: Data>(
        &self,
        function: impl Fn(T, &mut Emitter<'_, O>) + Clone + Send + Sync + 'static,
    ) -> DataStream<O> {
        let make = operator(move || FlatMapInto::new(function.clone()));
        self.then(NewNode::new::<O>("Flat Map", Origin::caller(), make))
    }

    /// Keeps the records of which `keep` is true.
    #[track_caller]
    pub fn filter(&self, keep: impl Fn(&T) -> bool + Clone + Send + Sync + 'static) -> DataStream<T> {
        self.then(NewNode::new::<T>("Filter", Origin::caller(), operator(move || Filter::new(keep.clone()))))
    }

    /// Gives each record to a process function; `make` makes one for each subtask.
    #[track_caller]
    pub fn process<O: Data, F: ProcessFunction<T, O>>(
        &self,
        make: impl Fn() -> F + Clone + Send + Sync + 'static,
    ) -> DataStream<O> {
        self.then(NewNode::new::<O>("Process", Origin::caller(), operator(move || Process::new(make()))))
    }

    /// Gives records timestamps, and makes watermarks in place of those that come.
    #[track_caller]
    pub fn assign_timestamps_and_watermarks(&self, strategy: WatermarkStrategy<T>) -> DataStream<T> {
        let make = operator(move || AssignTimestampsAndWatermarks::new(strategy.clone()));
        self.then(NewNode::new::<T>("Timestamps/Watermarks", Origin::caller(), make))
    }

    /// The records of this stream and of others.
    #[must_use]
    pub fn union(&self, others: &[&Self]) -> Self {
        let others = others.iter().flat_map(|other| other.upstreams.iter().cloned());
        Self {
            builder: self.builder.clone(),
            upstreams: self.upstreams.iter().cloned().chain(others).collect(),
        }
    }

    /// What the operator emitted to a side output.
    #[must_use]
    pub fn side_output<S: Data>(&self, tag: &OutputTag<S>) -> DataStream<S> {
        let upstream = |upstream: &Upstream<T>| Upstream {
            node: upstream.node,
            output: OutputPort::Side(tag.name().to_owned()),
            ship: Ship::Unsaid,
        };
        DataStream { builder: self.builder.clone(), upstreams: self.upstreams.iter().map(upstream).collect() }
    }

    /// Partitions by a key that is computed from the record.
    pub fn key_by<K: Key, F>(&self, select: F) -> KeyedStream<T, Computed<K, F>>
    where
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        KeyedStream::new(self.clone(), Arc::new(Computed::new(select)))
    }

    /// Partitions by a key that is a part of the record: nothing is copied.
    pub fn key_by_ref<K: Key, F>(&self, select: F) -> KeyedStream<T, Borrowed<K, F>>
    where
        F: Fn(&T) -> &K + Send + Sync + 'static,
    {
        KeyedStream::new(self.clone(), Arc::new(Borrowed::new(select)))
    }

    fn ship(&self, ship: Ship<T>) -> Self {
        let shipped = |upstream: &Upstream<T>| Upstream { ship: ship.clone(), ..upstream.clone() };
        Self { builder: self.builder.clone(), upstreams: self.upstreams.iter().map(shipped).collect() }
    }

    /// Subtask i feeds subtask i; both sides must have the same parallelism.
    #[must_use]
    pub fn forward(&self) -> Self {
        self.ship(Ship::By(Partitioning::Forward))
    }

    /// Spreads records evenly over all subtasks.
    #[must_use]
    pub fn rebalance(&self) -> Self {
        self.ship(Ship::By(Partitioning::Rebalance))
    }

    /// Spreads records evenly over a part of the subtasks.
    #[must_use]
    pub fn rescale(&self) -> Self {
        self.ship(Ship::By(Partitioning::Rescale))
    }

    /// Spreads records at random.
    #[must_use]
    pub fn shuffle(&self) -> Self {
        self.ship(Ship::By(Partitioning::Shuffle))
    }

    /// Gives each record to every subtask.
    #[must_use]
    pub fn broadcast(&self) -> Self {
        self.ship(Ship::By(Partitioning::Broadcast))
    }

    /// Partitions by the user's function, which gets a record and the number of partitions.
    #[must_use]
    pub fn partition_custom(&self, choose: impl Fn(&T, u32) -> u32 + Send + Sync + 'static) -> Self {
        self.ship(Ship::Custom(Arc::new(choose)))
    }

    fn change(self, change: impl Fn(&mut StreamNode)) -> Self {
        self.upstreams.iter().for_each(|upstream| self.builder.change(upstream.node, &change));
        self
    }

    /// Names the operator.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.change(|node| node.name = name.to_owned())
    }

    /// Gives the operator an id that stays when the program around it changes: its state is found by it.
    #[must_use]
    pub fn uid(self, uid: &str) -> Self {
        self.change(|node| node.uid = Some(uid.to_owned()))
    }

    /// How many subtasks the operator has.
    #[must_use]
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.change(|node| node.parallelism = Some(parallelism))
    }

    /// How many key groups the operator has: the most subtasks it can ever have.
    #[must_use]
    pub fn set_max_parallelism(self, max_parallelism: u32) -> Self {
        self.change(|node| node.max_parallelism = Some(max_parallelism))
    }

    /// The operator's slot sharing group; those behind it inherit it.
    #[must_use]
    pub fn slot_sharing_group(self, group: &str) -> Self {
        self.change(|node| node.slot_sharing_group = Some(group.to_owned()))
    }

    /// Does not chain the operator to those before it.
    #[must_use]
    pub fn start_new_chain(self) -> Self {
        self.change(|node| node.chaining = node.chaining.max(Chaining::Head))
    }

    /// Does not chain the operator at all.
    #[must_use]
    pub fn disable_chaining(self) -> Self {
        self.change(|node| node.chaining = node.chaining.max(Chaining::Never))
    }

    /// Says that the operator's functions block: they wait for a service, or work on one record for long. It is not chained, and
    /// its subtasks run on threads of their own, so that they hold up no others.
    ///
    /// ```
    /// # use flott_datastream::StreamExecutionEnvironment;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = StreamExecutionEnvironment::new()?;
    /// let hosts = env.from_collection(vec!["localhost".to_owned()]);
    /// let known = hosts.filter(|host| std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), 80)).is_ok());
    /// known.blocking().print();
    /// # env.execute("hosts")?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn blocking(self) -> Self {
        self.change(|node| node.chaining = Chaining::OwnThread)
    }

    /// How long what the operator emits waits for a full batch at most, in milliseconds; none: until it is full. Say it after
    /// the next operator is there.
    #[must_use]
    pub fn set_buffer_timeout(self, millis: Option<u32>) -> Self {
        self.upstreams.iter().for_each(|upstream| self.builder.set_buffer_timeout(upstream.node, millis));
        self
    }

    /// Gives every record to a sink.
    #[track_caller]
    pub fn sink_to<S: Sink<T>>(&self, sink: S) -> DataStreamSink {
        let sink = Arc::new(sink);
        self.sink("custom", Origin::caller(), move || SinkOperator::new(Arc::clone(&sink)))
    }

    /// Prints every record to standard output.
    #[track_caller]
    pub fn print(&self) -> DataStreamSink
    where
        T: Display,
    {
        self.sink("print", Origin::caller(), PrintSink::<T>::new)
    }

    /// Forgets every record.
    #[track_caller]
    pub fn discard(&self) -> DataStreamSink {
        self.sink("discard", Origin::caller(), Discard::<T>::new)
    }

    /// Writes every record to files in a folder, in the bytes that `encode` appends. Parts appear under their names only when
    /// nothing can take them back: with the checkpoint that holds them, or at the end.
    ///
    /// # Errors
    /// [`ProgramError::Path`] if `folder` is no path.
    #[track_caller]
    pub fn write_files(
        &self,
        folder: &str,
        encode: impl Fn(&T, &mut Vec<u8>) + Send + Sync + 'static,
        options: FileSinkOptions,
    ) -> Result<DataStreamSink, ProgramError> {
        let (folder, encode): (flott_fs::FsPath, Encode<T>) = (folder.parse()?, Arc::new(encode));
        let make = move || FileSink::new(folder.clone(), Arc::clone(&encode), options);
        Ok(self.sink("files", Origin::caller(), make))
    }

    /// Sends every record to a server, in the bytes that `encode` appends.
    #[track_caller]
    pub fn write_to_socket(
        &self,
        host: &str,
        port: u16,
        encode: impl Fn(&T, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> DataStreamSink {
        let (address, encode): (String, Encode<T>) = (format!("{host}:{port}"), Arc::new(encode));
        self.sink("socket", Origin::caller(), move || SocketSink::new(address.clone(), Arc::clone(&encode)))
    }

    /// Hands every record to the client, with the result of `execute`.
    #[track_caller]
    pub fn collect(&self) -> Collected<T> {
        let sink = self.sink("collect", Origin::caller(), CollectSink::<T>::new);
        Collected::new(sink, PhantomData)
    }
}
