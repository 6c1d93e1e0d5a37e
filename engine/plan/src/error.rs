//! What is wrong with a plan. Every error of a program names the operator and the line of user code that made it; none can be
//! helped by trying again.

use flott_core::config::ConfigError;

use crate::job_graph::Origin;

/// An operator, as errors name it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operator '{name}' ({origin})")]
pub struct Culprit {
    /// The operator's name.
    pub name: String,
    /// Where the user made it.
    pub origin: Origin,
}

/// Why a plan was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing to run.
    #[error("the program defines no operators: add a source and a sink before execute")]
    Empty,
    /// A DataSet program computes nothing that anybody asked for.
    #[error("the program defines no sink: write, print, collect or count a data set before execute")]
    NoSink,
    /// A keyed function on a stream that is not partitioned by key.
    #[error("{operator} needs a keyed stream: call key_by before it")]
    NotKeyed {
        /// The operator.
        operator: Culprit,
    },
    /// One uid for two operators.
    #[error("{first} and {second} have the same uid '{uid}': a uid names one operator")]
    DuplicateUid {
        /// The uid.
        uid: String,
        /// The one.
        first: Box<Culprit>,
        /// The other.
        second: Box<Culprit>,
    },
    /// No subtask at all, because an operator says so.
    #[error("{operator} has parallelism 0: it must be at least 1")]
    ZeroParallelism {
        /// The operator.
        operator: Culprit,
    },
    /// No subtask at all, because the environment, the client or the configuration says so.
    #[error(
        "the parallelism of the job is 0: set it to at least 1 in the program, by -p or by parallelism.default"
    )]
    ZeroDefaultParallelism,
    /// More subtasks than key groups.
    #[error(
        "{operator} has parallelism {parallelism}, above its max parallelism {max_parallelism}: lower the one or raise the other"
    )]
    AboveMaxParallelism {
        /// The operator.
        operator: Culprit,
        /// The parallelism.
        parallelism: u32,
        /// The max parallelism.
        max_parallelism: u32,
    },
    /// A max parallelism that is none.
    #[error("{operator} has max parallelism {max_parallelism}: it must be 1 to 32768")]
    BadMaxParallelism {
        /// The operator.
        operator: Culprit,
        /// The max parallelism.
        max_parallelism: u32,
    },
    /// Several subtasks of what can only be one.
    #[error("{operator} cannot run in parallel, but has parallelism {parallelism}: it must be 1")]
    NonParallel {
        /// The operator.
        operator: Culprit,
        /// The parallelism.
        parallelism: u32,
    },
    /// Forward from n to m subtasks.
    #[error(
        "forward from {producer} with parallelism {from} to {consumer} with parallelism {to}: forward needs equal \
         parallelism, use rebalance or rescale"
    )]
    ForwardParallelism {
        /// The producer.
        producer: Box<Culprit>,
        /// The consumer.
        consumer: Box<Culprit>,
        /// The producer's parallelism.
        from: u32,
        /// The consumer's.
        to: u32,
    },
    /// A source without end in a batch.
    #[error("{operator} never ends, so it cannot run in batch mode: give it an end or run in streaming mode")]
    Unbounded {
        /// The source.
        operator: Culprit,
    },
    /// An operator that reads, by way of others, its own output.
    #[error("{operator} reads its own output, by way of others: a plan must not go round in circles")]
    Cycle {
        /// One of the operators in the circle.
        operator: Culprit,
    },
    /// An operator was wired in a way that the APIs do not allow.
    #[error("{operator} {reason}; this is a defect of the API that made the plan")]
    Malformed {
        /// The operator.
        operator: Culprit,
        /// What is wrong with it.
        reason: String,
    },
    /// The job's configuration is not one.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// Bytes that are no JobGraph.
    #[error("these {length} bytes are no JobGraph: {reason}")]
    Decode {
        /// How many bytes there were.
        length: usize,
        /// What the decoder said.
        reason: String,
    },
    /// A JobGraph that contradicts itself.
    #[error("the JobGraph '{job}' is not valid: {reason}")]
    Invalid {
        /// The job's name.
        job: String,
        /// What is wrong.
        reason: String,
    },
}
