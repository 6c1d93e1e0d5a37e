//! Flott's graphs, and the translations between them: pure data and pure functions.
//!
//! ```text
//! DataStream API → StreamGraph ───────────────────┐
//!                                                 ├→ JobGraph → ExecutionGraph
//! DataSet API    → DataGraph → OptimizedPlan ─────┘
//! ```
//!
//! - [`stream_graph`]: what a DataStream program says; [`StreamGraph::to_job_graph`](stream_graph::StreamGraph::to_job_graph)
//! - [`data_graph`], [`optimizer`], [`optimized_plan`]: what a DataSet program says, and the strategies chosen for it;
//!   [`DataGraph::optimize`](data_graph::DataGraph::optimize),
//!   [`OptimizedPlan::to_job_graph`](optimized_plan::OptimizedPlan::to_job_graph)
//! - [`job_graph`]: what is shipped and run, as data and as bytes
//! - [`program`]: what all processes of a job must agree on
//! - [`execution_graph`]: subtasks, their channels, regions, slots and states
//! - [`restart_strategy`]: whether and when a failed job runs again

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic"))]

pub mod data_graph;
mod describe;
mod error;
mod exchange_mode;
pub mod execution_graph;
pub mod job_graph;
mod json;
pub mod optimized_plan;
mod optimized_to_job;
pub mod optimizer;
mod physical;
pub mod program;
mod resolve;
pub mod restart_strategy;
pub mod stream_graph;
mod stream_to_job;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod testing_data;

pub use data_graph::DataGraph;
pub use error::{Culprit, PlanError};
pub use execution_graph::ExecutionGraph;
pub use job_graph::{
    ChainInput, ChainedOperator, EdgeKey, ExchangeMode, ExecutionMode, JobEdge, JobGraph, JobVertex,
    OperatorKey, Origin, OutputPort, Partitioning, Variant, VertexRole,
};
pub use optimized_plan::OptimizedPlan;
pub use optimizer::OptimizerSettings;
pub use program::{ProgramHash, ProgramListing};
pub use stream_graph::StreamGraph;
