//! The control plane: the messages between JobManager, TaskManagers, workers and clients, and the connections that carry them.
//!
//! A connection proves that both ends know the cluster's secret before HTTP/2 begins on it; see [`connect`] and [`listen`].

pub mod connect;
mod convert;
pub mod listen;
mod names;

pub use convert::WireError;
pub(crate) use convert::{
    WireId, read_deploy, read_event, read_final_handles, read_message, read_outcome, read_result, required,
    write_deploy, write_event, write_final_handles, write_message, write_outcome, write_report, write_result,
};
pub use names::resolve;

/// The messages of `control.proto`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::unwrap_used,
    reason = "generated from control.proto, which says it"
)]
pub mod control {
    tonic::include_proto!("flott.control");
}

/// The messages of `launch.proto`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::unwrap_used,
    reason = "generated from launch.proto, which says it"
)]
pub mod launch {
    tonic::include_proto!("flott.launch");
}

/// The messages of `ha.proto`.
#[allow(missing_docs, clippy::all, clippy::unwrap_used, reason = "generated from ha.proto, which says it")]
pub mod ha {
    tonic::include_proto!("flott.ha");
}

/// The largest message: a plan with the data of its collections.
pub const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// The bytes of a program that travel in one message.
pub const CHUNK_BYTES: usize = 1 << 20;

/// What a control connection proves its secret for.
pub(crate) const CONTROL_PURPOSE: &str = "flott control";
