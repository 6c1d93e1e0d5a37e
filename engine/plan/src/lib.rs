//! Flott's graphs, and the translations between them: pure data and pure functions.
//!
//! ```text
//! DataStream API → StreamGraph ┐
//!                              ├→ JobGraph → ExecutionGraph
//! DataSet API → OptimizedPlan ─┘
//! ```

mod describe;
mod error;
pub mod execution_graph;
pub mod job_graph;
pub mod restart_strategy;
pub mod stream_graph;
mod stream_to_job;

pub use error::PlanError;
pub use job_graph::{
    ChainInput, ChainedOperator, EdgeKey, ExchangeMode, ExecutionMode, JobEdge, JobGraph, JobVertex,
    OperatorKey, Origin, OutputPort, Partitioning, Variant, VertexRole,
};
