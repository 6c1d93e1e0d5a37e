//! What a program registers: typed factories under logical ids. The shipped JobGraph alone says which of them run,
//! chained how and how parallel; so every physical alternative is registered.

use std::collections::HashMap;
use std::sync::Arc;

use flott_core::{Batch, CodecError, Data, Records};
use flott_plan::{EdgeKey, OperatorKey, OutputPort, Variant};

use crate::chain::{BoxedOperator, OneInput, TwoInput};
use crate::element::AnyBatch;
use crate::exchange::partition::{
    ChoosePartition, CustomPartitioner, HashPartitioner, PartitionContext, Partitioner,
    WholeBatchPartitioner, records_partitioner,
};
use crate::key_selector::KeySelector;
use crate::operator::{Operator, TwoInputOperator};
use crate::source::{EnumeratorOperator, Source, SourceReaderOperator};
use crate::watermark::WatermarkStrategy;

/// Makes an operator on the slot thread where it will live.
pub type OperatorFactory = Arc<dyn Fn() -> BoxedOperator + Send + Sync>;

/// Makes the part of an exchange that knows the record type.
pub type PartitionerFactory = Arc<dyn Fn(&PartitionContext) -> Box<dyn Partitioner> + Send + Sync>;

/// What an edge needs to know of its record type.
#[derive(Clone)]
pub struct EdgeType {
    /// Splits batches by channel.
    pub partitioner: PartitionerFactory,
    /// Reads a batch that came from another process.
    pub decode: fn(&[u8]) -> Result<AnyBatch, CodecError>,
}

fn decode<B: Batch>(bytes: &[u8]) -> Result<AnyBatch, CodecError> {
    B::decode(bytes).map(AnyBatch::new)
}

/// The typed half of a plan; the JobGraph is the other.
#[derive(Default, Clone)]
pub struct Program {
    operators: HashMap<OperatorKey, OperatorFactory>,
    edges: HashMap<EdgeKey, EdgeType>,
}

impl Program {
    /// A program without operators.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers an operator; `make` is called once a subtask.
    pub fn operator<O: Operator>(&mut self, key: OperatorKey, make: impl Fn() -> O + Send + Sync + 'static) {
        self.operators.insert(key, Arc::new(move || BoxedOperator::new(OneInput::new(make()))));
    }

    /// Registers an operator with two inputs.
    pub fn two_input_operator<O: TwoInputOperator>(
        &mut self,
        key: OperatorKey,
        make: impl Fn() -> O + Send + Sync + 'static,
    ) {
        self.operators.insert(key, Arc::new(move || BoxedOperator::new(TwoInput::new(make()))));
    }

    /// Registers a source: its readers under `key`, its enumerator, and the edge on which splits travel.
    pub fn source<S: Source>(
        &mut self,
        key: OperatorKey,
        source: Arc<S>,
        strategy: WatermarkStrategy<S::Out>,
    ) {
        let enumerator = OperatorKey::variant(key.id, Variant::Enumerator);
        self.edge::<S::Split>(EdgeKey {
            source: enumerator,
            output: OutputPort::Main,
            target: key,
            input: 0,
        });
        let enumerated = Arc::clone(&source);
        self.operator(enumerator, move || EnumeratorOperator::new(Arc::clone(&enumerated)));
        self.operator(key, move || SourceReaderOperator::new(Arc::clone(&source), strategy.clone()));
    }

    /// Registers an edge for records of type `T`, for every partitioning but by key and by the user's function.
    pub fn edge<T: Data>(&mut self, key: EdgeKey) {
        self.container_edge::<Records<T>>(key, Arc::new(|context| records_partitioner::<T>(context)));
    }

    /// Registers an edge that can partition by key.
    pub fn keyed_edge<T: Data, S: KeySelector<T>>(&mut self, key: EdgeKey, selector: Arc<S>) {
        self.container_edge::<Records<T>>(
            key,
            Arc::new(move |context| match context.partitioning {
                flott_plan::Partitioning::Hash => {
                    Box::new(HashPartitioner::<T, S>::new(Arc::clone(&selector), context))
                }
                _ => records_partitioner::<T>(context),
            }),
        );
    }

    /// Registers an edge that can partition by the user's function, which gets a record and the number of channels.
    pub fn custom_edge<T: Data>(&mut self, key: EdgeKey, choose: ChoosePartition<T>) {
        self.container_edge::<Records<T>>(
            key,
            Arc::new(move |context| match context.partitioning {
                flott_plan::Partitioning::Custom => {
                    Box::new(CustomPartitioner::<T>::new(Arc::clone(&choose), context))
                }
                _ => records_partitioner::<T>(context),
            }),
        );
    }

    /// Registers an edge for another container than rows: the one seam where columns come in.
    pub fn container_edge<B: Batch>(&mut self, key: EdgeKey, partitioner: PartitionerFactory) {
        self.edges.insert(key, EdgeType { partitioner, decode: decode::<B> });
    }

    /// An edge for a container that is only ever passed on whole.
    pub fn whole_batch_edge<B: Batch>(&mut self, key: EdgeKey) {
        self.container_edge::<B>(key, Arc::new(|context| Box::new(WholeBatchPartitioner::new(context))));
    }

    /// The factory of an operator.
    pub fn operator_factory(&self, key: &OperatorKey) -> Option<&OperatorFactory> {
        self.operators.get(key)
    }

    /// The types of an edge.
    pub fn edge_type(&self, key: &EdgeKey) -> Option<&EdgeType> {
        self.edges.get(key)
    }
}
