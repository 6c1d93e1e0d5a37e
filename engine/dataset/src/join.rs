//! The inner join of two DataSets.

use std::sync::Arc;

use flott_core::{Data, Key};
use flott_plan::data_graph::DataOperator;
use flott_plan::{OperatorKey, Origin, Variant};
use flott_runtime::batch::HybridHashJoin;
use flott_runtime::key_selector::{Computed, KeySelector};
use flott_runtime::operator::Side;
use flott_runtime::program::Program;

use crate::builder::{NewInput, NewNode};
use crate::data_set::DataSet;

/// Two DataSets that are joined, once it is said [on](Self::on) what.
///
/// ```
/// # use flott_dataset::ExecutionEnvironment;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let env = ExecutionEnvironment::new()?;
/// let users = env.from_collection([(1_u64, "ada".to_owned()), (2, "grace".to_owned())]);
/// let visits = env.from_collection([(2_u64, 17_u64), (2, 18), (3, 19)]);
/// let mut visitors = users
///     .join(&visits)
///     .on(|user| user.0, |visit| visit.0)
///     .with(|user, visit| (user.1.clone(), visit.1))
///     .collect()?;
/// visitors.sort();
/// assert_eq!(visitors, [("grace".to_owned(), 17), ("grace".to_owned(), 18)]);
/// # Ok(())
/// # }
/// ```
pub struct Join<L, R> {
    left: DataSet<L>,
    right: DataSet<R>,
}

impl<L: Data, R: Data> Join<L, R> {
    pub(crate) fn new(left: DataSet<L>, right: DataSet<R>) -> Self {
        Self { left, right }
    }

    /// The keys that have to be equal.
    pub fn on<K: Key, FL, FR>(self, left: FL, right: FR) -> JoinOn<L, R, Computed<K, FL>, Computed<K, FR>>
    where
        FL: Fn(&L) -> K + Send + Sync + 'static,
        FR: Fn(&R) -> K + Send + Sync + 'static,
    {
        let selectors = (Arc::new(Computed::new(left)), Arc::new(Computed::new(right)));
        JoinOn { left: self.left, right: self.right, selectors }
    }
}

/// Two DataSets that are joined on keys; [`with`](Self::with) says what a pair becomes.
pub struct JoinOn<L, R, SL, SR> {
    left: DataSet<L>,
    right: DataSet<R>,
    selectors: (Arc<SL>, Arc<SR>),
}

impl<L, R, SL, SR> JoinOn<L, R, SL, SR>
where
    L: Data,
    R: Data,
    SL: KeySelector<L>,
    SR: KeySelector<R, Key = SL::Key>,
{
    /// What becomes of each pair of records with equal keys.
    #[track_caller]
    pub fn with<O: Data>(&self, join: impl Fn(&L, &R) -> O + Clone + Send + Sync + 'static) -> DataSet<O> {
        let builder = &self.left.builder;
        let (left, right) = (Arc::clone(&self.selectors.0), Arc::clone(&self.selectors.1));
        let register = Box::new(move |program: &mut Program, id| {
            for (variant, side) in [(Variant::BuildLeft, Side::Left), (Variant::BuildRight, Side::Right)] {
                let (left, right, join) = (Arc::clone(&left), Arc::clone(&right), join.clone());
                let make =
                    move || HybridHashJoin::new(side, Arc::clone(&left), Arc::clone(&right), join.clone());
                program.two_input_operator(OperatorKey::variant(id, variant), make);
            }
        });
        let kind = DataOperator::Join { left: builder.new_key(), right: builder.new_key() };
        let node = NewNode::new::<O>("Join", kind, Origin::caller(), register);
        let inputs = vec![
            NewInput::keyed(self.left.node, Arc::clone(&self.selectors.0)),
            NewInput::keyed(self.right.node, Arc::clone(&self.selectors.1)),
        ];
        DataSet::of_node(builder.clone(), builder.add(node, inputs))
    }
}
