//! What is wrong with a plan.

use crate::job_graph::Origin;

/// Why a plan was refused; names the operator and the line of user code that made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing to run.
    #[error("the program defines no operators: add a source and a sink before execute")]
    Empty,
    /// A keyed function on a stream that is not partitioned by key.
    #[error("operator '{operator}' ({origin}) needs a keyed stream: call key_by before it")]
    NotKeyed {
        /// The operator.
        operator: String,
        /// Where it was made.
        origin: Origin,
    },
    /// One uid for two operators.
    #[error(
        "operators '{first}' ({first_origin}) and '{second}' ({second_origin}) have the same uid '{uid}': uids name one operator each"
    )]
    DuplicateUid {
        /// The uid.
        uid: String,
        /// The one.
        first: String,
        /// Where it was made.
        first_origin: Box<Origin>,
        /// The other.
        second: String,
        /// Where it was made.
        second_origin: Box<Origin>,
    },
    /// No subtask at all.
    #[error("operator '{operator}' ({origin}) has parallelism 0: it must be at least 1")]
    ZeroParallelism {
        /// The operator.
        operator: String,
        /// Where it was made.
        origin: Origin,
    },
    /// More subtasks than key groups.
    #[error(
        "operator '{operator}' ({origin}) has parallelism {parallelism}, above its max parallelism {max_parallelism}"
    )]
    AboveMaxParallelism {
        /// The operator.
        operator: String,
        /// Where it was made.
        origin: Origin,
        /// The parallelism.
        parallelism: u32,
        /// The max parallelism.
        max_parallelism: u32,
    },
    /// A max parallelism that is none.
    #[error("operator '{operator}' ({origin}) has max parallelism {max_parallelism}: it must be 1 to 32768")]
    BadMaxParallelism {
        /// The operator.
        operator: String,
        /// Where it was made.
        origin: Origin,
        /// The max parallelism.
        max_parallelism: u32,
    },
    /// Forward from n to m subtasks.
    #[error(
        "forward from '{source_operator}' (parallelism {from}) to '{target}' ({origin}, parallelism {to}): forward needs equal parallelism, use rebalance or rescale"
    )]
    ForwardParallelism {
        /// The producer.
        source_operator: String,
        /// The consumer.
        target: String,
        /// Where the consumer was made.
        origin: Origin,
        /// The producer's parallelism.
        from: u32,
        /// The consumer's.
        to: u32,
    },
    /// Bytes that are no JobGraph.
    #[error("the JobGraph is not valid: {reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
}
