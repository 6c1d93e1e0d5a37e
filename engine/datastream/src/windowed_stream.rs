//! `WindowedStream`: the records of a key in windows of event time.

use std::sync::Arc;
use std::time::Duration;

use flott_core::Data;
use flott_plan::Origin;
use flott_runtime::collector::OutputTag;
use flott_runtime::key_selector::KeySelector;
use flott_runtime::operators::{
    AggregateFunction, TimeWindow, Window, WindowAggregate, WindowAssigner, WindowContents, WindowProcess,
    WindowProcessFunction, WindowReduce,
};

use crate::builder::NewNode;
use crate::data_stream::{DataStream, operator};
use crate::keyed_stream::KeyedStream;

/// Records by key and window.
pub struct WindowedStream<T, S, A> {
    stream: KeyedStream<T, S>,
    assigner: A,
    allowed_lateness: Duration,
    late_output: Option<OutputTag<T>>,
}

impl<T: Data, S: KeySelector<T>, A: WindowAssigner> WindowedStream<T, S, A> {
    pub(crate) fn new(stream: KeyedStream<T, S>, assigner: A) -> Self {
        Self { stream, assigner, allowed_lateness: Duration::ZERO, late_output: None }
    }

    /// Keeps windows for a while after they fired; a record that comes meanwhile gives an updated result.
    #[must_use]
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        Self { allowed_lateness: lateness, ..self }
    }

    /// Sends records that come too late to a side output instead of dropping them; dropped ones are counted.
    #[must_use]
    pub fn side_output_late_data(self, tag: &OutputTag<T>) -> Self {
        Self { late_output: Some(tag.clone()), ..self }
    }

    fn then<C: WindowContents<S::Key, T>>(
        self,
        origin: Origin,
        make: impl Fn(Arc<S>, A) -> Window<T, S, A, C> + Clone + Send + Sync + 'static,
    ) -> DataStream<C::Out> {
        let Self { stream, assigner, allowed_lateness, late_output } = self;
        let selector = stream.selector();
        let make = operator(move || {
            let window =
                make(Arc::clone(&selector), assigner.clone()).with_allowed_lateness(allowed_lateness);
            match &late_output {
                Some(tag) => window.with_late_output(tag.clone()),
                None => window,
            }
        });
        stream.then(NewNode::new::<C::Out>("Window", origin, make))
    }

    /// Folds the records of a window into one.
    #[track_caller]
    pub fn reduce(self, reduce: impl Fn(T, T) -> T + Clone + Send + Sync + 'static) -> DataStream<T> {
        self.then(Origin::caller(), move |selector, assigner| {
            let reduce = reduce.clone();
            let fold = move |kept: &mut T, record: T| *kept = reduce(kept.clone(), record);
            WindowReduce::new(selector, assigner, fold)
        })
    }

    /// Aggregates the records of a window; `finish` makes the result of key, window and aggregate.
    #[track_caller]
    pub fn aggregate<G, O>(
        self,
        aggregate: G,
        finish: impl Fn(S::Key, TimeWindow, G::Out) -> O + Clone + Send + Sync + 'static,
    ) -> DataStream<O>
    where
        G: AggregateFunction<T> + Clone + Send + Sync,
        O: Data,
    {
        self.then(Origin::caller(), move |selector, assigner| {
            WindowAggregate::new(selector, assigner, aggregate.clone(), finish.clone())
        })
    }

    /// Gives all records of a window to a function; `make` makes one for each subtask.
    #[track_caller]
    pub fn process<O: Data, F: WindowProcessFunction<S::Key, T, O>>(
        self,
        make: impl Fn() -> F + Clone + Send + Sync + 'static,
    ) -> DataStream<O> {
        self.then(Origin::caller(), move |selector, assigner| WindowProcess::new(selector, assigner, make()))
    }

    /// The sum of a field.
    #[track_caller]
    pub fn sum<V: Data + std::ops::AddAssign>(
        self,
        field: impl Fn(&mut T) -> &mut V + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        self.then(Origin::caller(), move |selector, assigner| {
            let field = field.clone();
            let fold = move |kept: &mut T, mut record: T| *field(kept) += field(&mut record).clone();
            WindowReduce::new(selector, assigner, fold)
        })
    }
}
