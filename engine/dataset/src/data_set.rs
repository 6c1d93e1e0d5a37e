//! `DataSet`: records without order, and what can be made of them.

use std::fmt::Display;
use std::io::Write;
use std::marker::PhantomData;
use std::sync::Arc;

use flott_cluster::program::ProgramError;
use flott_core::{Data, Key};
use flott_fs::FsPath;
use flott_plan::data_graph::{DataNode, DataNodeId, DataOperator};
use flott_plan::{OperatorKey, Origin, Variant};
use flott_runtime::batch::{Combine, HashAggregate, Order, SortAggregate, SortPartition};
use flott_runtime::key_selector::{Borrowed, Computed, KeySelector};
use flott_runtime::operator::Operator;
use flott_runtime::operators::{Count, Emitter, Filter, FlatMap, FlatMapInto, Map, Sink, SinkOperator};
use flott_runtime::program::Program;
use flott_runtime::sinks::{CollectSink, Encode, FileSink, FileSinkOptions};

use crate::builder::{Builder, NewInput, NewNode, operator};
use crate::grouped::GroupedDataSet;
use crate::join::Join;

/// Records of a bounded program. Nothing is computed before somebody asks: [`collect`](Self::collect), [`count`](Self::count) and
/// [`print`](Self::print) run a job at once, sinks wait for [`execute`](crate::ExecutionEnvironment::execute).
pub struct DataSet<T> {
    pub(crate) builder: Builder,
    pub(crate) node: DataNodeId,
    records: PhantomData<fn() -> T>,
}

impl<T> Clone for DataSet<T> {
    fn clone(&self) -> Self {
        Self { builder: self.builder.clone(), node: self.node, records: PhantomData }
    }
}

/// A map of which nothing is known.
const MAP: DataOperator = DataOperator::Map { selectivity: None, record_bytes: None };

impl<T: Data> DataSet<T> {
    pub(crate) fn of_node(builder: Builder, node: DataNodeId) -> Self {
        Self { builder, node, records: PhantomData }
    }

    /// An operator that reads these records as they come.
    fn then<O: Data>(&self, node: NewNode) -> DataSet<O> {
        let id = self.builder.add(node, vec![NewInput::plain::<T>(self.node)]);
        DataSet::of_node(self.builder.clone(), id)
    }

    /// Each record becomes another.
    #[track_caller]
    pub fn map<O: Data>(&self, function: impl Fn(T) -> O + Clone + Send + Sync + 'static) -> DataSet<O> {
        let kind = DataOperator::Map { selectivity: Some(1.0), record_bytes: None };
        let make = operator(move || Map::new(function.clone()));
        self.then(NewNode::new::<O>("Map", kind, Origin::caller(), make))
    }

    /// Each record becomes as many as the function gives; they are pulled as the next operator takes them.
    #[track_caller]
    pub fn flat_map<R>(&self, function: impl Fn(T) -> R + Clone + Send + Sync + 'static) -> DataSet<R::Item>
    where
        R: IntoIterator + 'static,
        R::Item: Data,
    {
        let make = operator(move || FlatMap::new(function.clone()));
        self.then(NewNode::new::<R::Item>("Flat Map", MAP, Origin::caller(), make))
    }

    /// Each record becomes as many as the function emits, which may borrow from it: the fast way to take records apart.
    #[track_caller]
    pub fn flat_map_into<O: Data>(
        &self,
        function: impl Fn(T, &mut Emitter<'_, O>) + Clone + Send + Sync + 'static,
    ) -> DataSet<O> {
        let make = operator(move || FlatMapInto::new(function.clone()));
        self.then(NewNode::new::<O>("Flat Map", MAP, Origin::caller(), make))
    }

    /// Keeps the records of which `keep` is true.
    #[track_caller]
    pub fn filter(&self, keep: impl Fn(&T) -> bool + Clone + Send + Sync + 'static) -> Self {
        let kind = DataOperator::Filter { selectivity: None };
        let make = operator(move || Filter::new(keep.clone()));
        self.then(NewNode::new::<T>("Filter", kind, Origin::caller(), make))
    }

    /// Groups records by a key that is computed from them.
    pub fn group_by<K: Key, F>(&self, select: F) -> GroupedDataSet<T, Computed<K, F>>
    where
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        GroupedDataSet::new(self.clone(), Arc::new(Computed::new(select)))
    }

    /// Groups records by a key that is a part of them: nothing is copied.
    pub fn group_by_ref<K: Key, F>(&self, select: F) -> GroupedDataSet<T, Borrowed<K, F>>
    where
        F: Fn(&T) -> &K + Send + Sync + 'static,
    {
        GroupedDataSet::new(self.clone(), Arc::new(Borrowed::new(select)))
    }

    /// One of each record.
    #[track_caller]
    pub fn distinct(&self) -> Self
    where
        T: Key + Sync,
    {
        self.distinct_with(Arc::new(Borrowed::new(|record: &T| record)), Origin::caller())
    }

    /// One record of each key; which one, is not said.
    #[track_caller]
    pub fn distinct_by<K: Key>(&self, select: impl Fn(&T) -> K + Send + Sync + 'static) -> Self {
        self.distinct_with(Arc::new(Computed::new(select)), Origin::caller())
    }

    fn distinct_with<S: KeySelector<T>>(&self, selector: Arc<S>, origin: Origin) -> Self {
        let kind = DataOperator::Distinct { key: self.builder.new_key(), groups: None };
        let node = NewNode::new::<T>("Distinct", kind, origin, reducing(&selector, |first: T, _: T| first));
        let id = self.builder.add(node, vec![NewInput::keyed(self.node, selector)]);
        Self::of_node(self.builder.clone(), id)
    }

    /// These records and others.
    #[must_use]
    #[track_caller]
    pub fn union(&self, other: &Self) -> Self {
        let node = NewNode::new::<T>("Union", DataOperator::Union, Origin::caller(), Box::new(|_, _| {}));
        let inputs = vec![NewInput::plain::<T>(self.node), NewInput::plain::<T>(other.node)];
        Self::of_node(self.builder.clone(), self.builder.add(node, inputs))
    }

    /// Pairs of a record of this and a record of another with equal keys; see [`Join`].
    pub fn join<R: Data>(&self, other: &DataSet<R>) -> Join<T, R> {
        Join::new(self.clone(), other.clone())
    }

    /// Sorts the records of each subtask by a key that is computed from them; equal keys keep their order. What does not fit into
    /// managed memory is sorted on disk.
    #[track_caller]
    pub fn sort_partition<K: Key>(
        &self,
        select: impl Fn(&T) -> K + Send + Sync + 'static,
        order: Order,
    ) -> Self {
        self.sorted(Arc::new(Computed::new(select)), order, Origin::caller())
    }

    /// Sorts the records of each subtask by a key that is a part of them, or all of them: nothing is copied.
    #[track_caller]
    pub fn sort_partition_ref<K: Key>(
        &self,
        select: impl Fn(&T) -> &K + Send + Sync + 'static,
        order: Order,
    ) -> Self {
        self.sorted(Arc::new(Borrowed::new(select)), order, Origin::caller())
    }

    fn sorted<S: KeySelector<T>>(&self, selector: Arc<S>, order: Order, origin: Origin) -> Self {
        let make = operator(move || SortPartition::new(Arc::clone(&selector), order));
        self.then(NewNode::new::<T>("Sort Partition", DataOperator::SortPartition, origin, make))
    }

    /// Names the operator.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.change(|node| node.name = name.to_owned())
    }

    /// How many subtasks the operator has.
    #[must_use]
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.change(|node| node.parallelism = Some(parallelism))
    }

    /// Says that the operator's functions block: they wait for a service, or work on one record for long. It is not chained, and
    /// its subtasks run on threads of their own, so that they hold up no others.
    #[must_use]
    pub fn blocking(self) -> Self {
        self.change(|node| node.blocking = true)
    }

    fn change(self, change: impl FnOnce(&mut DataNode)) -> Self {
        self.builder.change(self.node, change);
        self
    }

    fn sink<O: Operator>(
        &self,
        name: &'static str,
        origin: Origin,
        make: impl Fn() -> O + Clone + Send + Sync + 'static,
    ) -> DataSink {
        let node = NewNode::new::<()>(name, DataOperator::Sink, origin, operator(make));
        let id = self.builder.add(node, vec![NewInput::plain::<T>(self.node)]);
        DataSink { builder: self.builder.clone(), node: id }
    }

    /// Runs a job, with all sinks that wait, and gives every record.
    ///
    /// # Errors
    /// [`ProgramError`]: what is wrong with the plan, or what failed; also if the program was submitted detached, so that nobody
    /// waits for the records.
    #[track_caller]
    pub fn collect(&self) -> Result<Vec<T>, ProgramError> {
        self.collected("collect", Origin::caller())
    }

    fn collected(&self, job: &str, origin: Origin) -> Result<Vec<T>, ProgramError> {
        let sink = self.sink("collect", origin, CollectSink::<T>::new);
        let operator = self.builder.operator_id(sink.node);
        let result = self.builder.execute(job)?;
        let records = operator.map(|operator| result.records(operator)).transpose()?;
        Ok(records.unwrap_or_default())
    }

    /// Runs a job, with all sinks that wait, and tells how many records there are.
    ///
    /// # Errors
    /// As [`collect`](Self::collect).
    #[track_caller]
    pub fn count(&self) -> Result<u64, ProgramError> {
        let origin = Origin::caller();
        let kind = DataOperator::Map { selectivity: Some(0.0), record_bytes: None };
        let counts: DataSet<u64> =
            self.then(NewNode::new::<u64>("Count", kind, origin.clone(), operator(Count::<T>::new)));
        Ok(counts.collected("count", origin)?.into_iter().sum())
    }

    /// Runs a job, with all sinks that wait, and prints every record where the program runs.
    ///
    /// # Errors
    /// As [`collect`](Self::collect), and [`ProgramError::Print`].
    #[track_caller]
    pub fn print(&self) -> Result<(), ProgramError>
    where
        T: Display,
    {
        let records = self.collected("print", Origin::caller())?;
        let mut out = std::io::stdout().lock();
        records.iter().try_for_each(|record| writeln!(out, "{record}")).map_err(ProgramError::Print)
    }

    /// Writes every record as a line to files in a folder, one or more a subtask. They appear when the job has finished.
    ///
    /// # Errors
    /// [`ProgramError::Path`] if `folder` is no path.
    #[track_caller]
    pub fn write_as_text(&self, folder: &str) -> Result<DataSink, ProgramError>
    where
        T: Display,
    {
        let encode = |record: &T, out: &mut Vec<u8>| {
            // Writing to a vector cannot fail.
            let _ = writeln!(out, "{record}");
        };
        self.write_files(folder, encode)
    }

    /// Writes every record to files in a folder, in the bytes that `encode` appends; see
    /// [`write_as_text`](Self::write_as_text).
    ///
    /// # Errors
    /// [`ProgramError::Path`] if `folder` is no path.
    #[track_caller]
    pub fn write_files(
        &self,
        folder: &str,
        encode: impl Fn(&T, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> Result<DataSink, ProgramError> {
        let (folder, encode): (FsPath, Encode<T>) = (folder.parse()?, Arc::new(encode));
        let make = move || FileSink::new(folder.clone(), Arc::clone(&encode), FileSinkOptions::default());
        Ok(self.sink("files", Origin::caller(), make))
    }

    /// Gives every record to a sink.
    #[track_caller]
    pub fn sink_to<S: Sink<T>>(&self, sink: S) -> DataSink {
        let sink = Arc::new(sink);
        self.sink("custom", Origin::caller(), move || SinkOperator::new(Arc::clone(&sink)))
    }
}

/// Registers all ways to bring the records of each key down to one.
pub(crate) fn reducing<T: Data, S: KeySelector<T>>(
    selector: &Arc<S>,
    reduce: impl Fn(T, T) -> T + Clone + Send + Sync + 'static,
) -> crate::builder::RegisterOperator {
    let selector = Arc::clone(selector);
    Box::new(move |program: &mut Program, id| {
        let parts = || (Arc::clone(&selector), reduce.clone());
        let (select, function) = parts();
        let make = move || Combine::new(Arc::clone(&select), function.clone());
        program.operator(OperatorKey::variant(id, Variant::Combine), make);
        for variant in [Variant::HashAggregate, Variant::FinalHashAggregate] {
            let (select, function) = parts();
            let make = move || HashAggregate::new(Arc::clone(&select), function.clone());
            program.operator(OperatorKey::variant(id, variant), make);
        }
        for variant in [Variant::SortAggregate, Variant::FinalSortAggregate] {
            let (select, function) = parts();
            let make = move || SortAggregate::new(Arc::clone(&select), function.clone());
            program.operator(OperatorKey::variant(id, variant), make);
        }
    })
}

/// A sink that was added, to be named and tuned. It runs with the next job.
pub struct DataSink {
    builder: Builder,
    node: DataNodeId,
}

impl DataSink {
    /// Names the sink.
    pub fn name(self, name: &str) -> Self {
        self.builder.change(self.node, |node| node.name = name.to_owned());
        self
    }

    /// How many subtasks the sink has.
    pub fn set_parallelism(self, parallelism: u32) -> Self {
        self.builder.change(self.node, |node| node.parallelism = Some(parallelism));
        self
    }

    /// Says that the sink blocks; see [`DataSet::blocking`].
    pub fn blocking(self) -> Self {
        self.builder.change(self.node, |node| node.blocking = true);
        self
    }
}
