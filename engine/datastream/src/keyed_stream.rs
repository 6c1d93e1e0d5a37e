//! `KeyedStream`: records by key, with state.

use std::ops::AddAssign;
use std::rc::Rc;
use std::sync::Arc;

use flott_core::Data;
use flott_plan::{Origin, Partitioning, Variant};
use flott_runtime::batch::HashAggregate;
use flott_runtime::key_selector::KeySelector;
use flott_runtime::operators::{
    Combine, KeyedProcess, KeyedProcessFunction, KeyedReduce, KeyedSetup, Max, Min, RollingAggregate, Sum,
    WindowAssigner, combine_field,
};

use crate::builder::{NewNode, RegisterEdge};
use crate::data_stream::{DataStream, operator};
use crate::windowed_stream::WindowedStream;

/// A stream whose records are partitioned by the key that `S` finds.
pub struct KeyedStream<T, S> {
    stream: DataStream<T>,
    selector: Arc<S>,
}

impl<T: Data, S: KeySelector<T>> KeyedStream<T, S> {
    pub(crate) fn new(stream: DataStream<T>, selector: Arc<S>) -> Self {
        Self { stream, selector }
    }

    pub(crate) fn selector(&self) -> Arc<S> {
        Arc::clone(&self.selector)
    }

    pub(crate) fn then<O: Data>(&self, node: NewNode) -> DataStream<O> {
        let selector = Arc::clone(&self.selector);
        let register: RegisterEdge =
            Rc::new(move |program, key| program.keyed_edge::<T, S>(key, Arc::clone(&selector)));
        let edges = self.stream.edges(Some((Partitioning::Hash, register)));
        let id = self.stream.builder.add(node.keyed(), edges);
        DataStream::of_node(self.stream.builder.clone(), id)
    }

    /// A rolling operator in a stream, an aggregation to the last value in a batch.
    fn rolling<O: flott_runtime::operator::Operator>(
        &self,
        name: &'static str,
        origin: Origin,
        make: impl Fn() -> O + Clone + Send + Sync + 'static,
        reduce: impl Fn(T, T) -> T + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        let selector = Arc::clone(&self.selector);
        let aggregate = operator(move || HashAggregate::new(Arc::clone(&selector), reduce.clone()));
        let mut node = NewNode::new::<T>(name, origin, operator(make));
        node.operators.push((Variant::HashAggregate, aggregate));
        self.then(node)
    }

    /// Folds the records of a key into one; emits it after each record (in batch mode, after the last).
    #[track_caller]
    pub fn reduce(&self, reduce: impl Fn(T, T) -> T + Clone + Send + Sync + 'static) -> DataStream<T> {
        let (selector, in_batch) = (Arc::clone(&self.selector), reduce.clone());
        let make = move || {
            let reduce = reduce.clone();
            KeyedReduce::new(Arc::clone(&selector), move |kept: &mut T, record: T| {
                *kept = reduce(kept.clone(), record);
            })
        };
        self.rolling("Keyed Reduce", Origin::caller(), make, in_batch)
    }

    fn aggregate_field<V: Data, C: Combine<V>>(
        &self,
        name: &'static str,
        origin: Origin,
        field: impl Fn(&mut T) -> &mut V + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        let (selector, in_batch) = (Arc::clone(&self.selector), field.clone());
        let make = move || RollingAggregate::<T, S, V, _, C>::new(Arc::clone(&selector), field.clone());
        self.rolling(name, origin, make, combine_field::<T, V, C>(in_batch))
    }

    /// The sum of a field by key: each record goes on with the sum so far in that field (in batch mode, one record a key).
    #[track_caller]
    pub fn sum<V: Data + AddAssign>(
        &self,
        field: impl Fn(&mut T) -> &mut V + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        self.aggregate_field::<V, Sum>("Keyed Sum", Origin::caller(), field)
    }

    /// The least of a field by key; see [`sum`](Self::sum).
    #[track_caller]
    pub fn min<V: Data + PartialOrd>(
        &self,
        field: impl Fn(&mut T) -> &mut V + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        self.aggregate_field::<V, Min>("Keyed Min", Origin::caller(), field)
    }

    /// The greatest of a field by key; see [`sum`](Self::sum).
    #[track_caller]
    pub fn max<V: Data + PartialOrd>(
        &self,
        field: impl Fn(&mut T) -> &mut V + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        self.aggregate_field::<V, Max>("Keyed Max", Origin::caller(), field)
    }

    /// Gives each record to a function with state of its key and timers; `make` makes one for each subtask and declares its
    /// state.
    #[track_caller]
    pub fn process<O: Data, F: KeyedProcessFunction<S::Key, T, O>>(
        &self,
        make: impl Fn(&mut KeyedSetup<'_, S::Key>) -> F + Clone + Send + Sync + 'static,
    ) -> DataStream<O> {
        let selector = Arc::clone(&self.selector);
        let make = operator(move || KeyedProcess::new(Arc::clone(&selector), make.clone()));
        self.then(NewNode::new::<O>("Keyed Process", Origin::caller(), make))
    }

    /// Collects the records of a key in windows.
    pub fn window<A: WindowAssigner>(self, assigner: A) -> WindowedStream<T, S, A> {
        WindowedStream::new(self, assigner)
    }
}
