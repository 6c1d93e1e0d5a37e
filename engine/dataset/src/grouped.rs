//! `GroupedDataSet`: records by key, to be brought down to one a key.

use std::ops::AddAssign;
use std::sync::Arc;

use flott_core::Data;
use flott_plan::Origin;
use flott_plan::data_graph::{DataOperator, ForwardedKey};
use flott_runtime::key_selector::{Borrowed, KeySelector};
use flott_runtime::operators::{AggregateFunction, Combine, Map, Max, Min, Sum, combine_field};

use crate::builder::{NewInput, NewNode, operator};
use crate::data_set::{DataSet, reducing};

/// Records by the key that `S` finds.
pub struct GroupedDataSet<T, S> {
    records: DataSet<T>,
    selector: Arc<S>,
}

impl<T: Data, S: KeySelector<T>> GroupedDataSet<T, S> {
    pub(crate) fn new(records: DataSet<T>, selector: Arc<S>) -> Self {
        Self { records, selector }
    }

    fn reduced(
        &self,
        name: &'static str,
        origin: Origin,
        reduce: impl Fn(T, T) -> T + Clone + Send + Sync + 'static,
    ) -> DataSet<T> {
        let builder = &self.records.builder;
        let key = builder.new_key();
        let kind = DataOperator::Aggregate { key, combinable: true, groups: None };
        let node = NewNode {
            forwarded_keys: vec![ForwardedKey { input: 0, from: key, to: key }],
            ..NewNode::new::<T>(name, kind, origin, reducing(&self.selector, reduce))
        };
        let input = NewInput::keyed(self.records.node, Arc::clone(&self.selector));
        DataSet::of_node(builder.clone(), builder.add(node, vec![input]))
    }

    /// Makes one record of two of the same key, until there is one of each. `reduce` must be associative and commutative, and its
    /// result must have the key: part of the records may be reduced before the rest is there.
    #[track_caller]
    pub fn reduce(&self, reduce: impl Fn(T, T) -> T + Clone + Send + Sync + 'static) -> DataSet<T> {
        self.reduced("Reduce", Origin::caller(), reduce)
    }

    fn field<V: Data, C: Combine<V>>(
        &self,
        name: &'static str,
        origin: Origin,
        field: impl Fn(&mut T) -> &mut V + Clone + Send + Sync + 'static,
    ) -> DataSet<T> {
        self.reduced(name, origin, combine_field::<T, V, C>(field))
    }

    /// One record a key, in which a field is the sum of that field in all of them.
    #[track_caller]
    pub fn sum<V: Data + AddAssign>(
        &self,
        field: impl Fn(&mut T) -> &mut V + Clone + Send + Sync + 'static,
    ) -> DataSet<T> {
        self.field::<V, Sum>("Sum", Origin::caller(), field)
    }

    /// One record a key, in which a field is the least of that field in all of them.
    #[track_caller]
    pub fn min<V: Data + PartialOrd>(
        &self,
        field: impl Fn(&mut T) -> &mut V + Clone + Send + Sync + 'static,
    ) -> DataSet<T> {
        self.field::<V, Min>("Min", Origin::caller(), field)
    }

    /// One record a key, in which a field is the greatest of that field in all of them.
    #[track_caller]
    pub fn max<V: Data + PartialOrd>(
        &self,
        field: impl Fn(&mut T) -> &mut V + Clone + Send + Sync + 'static,
    ) -> DataSet<T> {
        self.field::<V, Max>("Max", Origin::caller(), field)
    }

    /// Each key with what a function makes of its records. What it has accumulated of part of them is what is sent.
    #[track_caller]
    pub fn aggregate<A>(&self, function: A) -> DataSet<(S::Key, A::Out)>
    where
        A: AggregateFunction<T> + Clone + Send + Sync,
        A::Out: Data,
    {
        let origin = Origin::caller();
        let (builder, selector) = (&self.records.builder, Arc::clone(&self.selector));
        let one_to_one = DataOperator::Map { selectivity: Some(1.0), record_bytes: None };
        let begin = function.clone();
        let accumulate = move |record: T| {
            let mut accumulator = begin.create();
            begin.add(&mut accumulator, &record);
            (selector.with_key(&record, Clone::clone), accumulator)
        };
        let make = operator(move || Map::new(accumulate.clone()));
        let node = NewNode::new::<(S::Key, A::Accumulator)>("Accumulate", one_to_one, origin.clone(), make);
        let id = builder.add(node, vec![NewInput::plain::<T>(self.records.node)]);
        let accumulated = DataSet::<(S::Key, A::Accumulator)>::of_node(builder.clone(), id);
        let by_key = Arc::new(Borrowed::new(|pair: &(S::Key, A::Accumulator)| &pair.0));
        let merge = function.clone();
        let merged = GroupedDataSet::new(accumulated, by_key).reduced(
            "Aggregate",
            origin.clone(),
            move |(key, mut accumulator), (_, other)| {
                merge.merge(&mut accumulator, other);
                (key, accumulator)
            },
        );
        let result = move |(key, accumulator): (S::Key, A::Accumulator)| (key, function.result(&accumulator));
        let make = operator(move || Map::new(result.clone()));
        let node = NewNode::new::<(S::Key, A::Out)>("Result", one_to_one, origin, make);
        let input = NewInput::plain::<(S::Key, A::Accumulator)>(merged.node);
        DataSet::of_node(builder.clone(), builder.add(node, vec![input]))
    }
}
