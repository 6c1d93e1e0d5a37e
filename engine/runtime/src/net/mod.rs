//! The data plane: how channels reach other processes.
//!
//! A worker that reads from another one dials it and asks for channels; records come back over the same connection, as far as
//! the reader gave credit. So one connection a direction and pair of workers carries any number of channels, and each end of it
//! has one job.
//!
//! ```text
//! producer's worker                                            consumer's worker
//! Output ─▸ Channel (encodes) ─▸ Serving ─▸ batch, end … ─▸ Reading ─▸ Channel ─▸ InputGate (decodes)
//!                                        ◂─ open, credit ◂─
//! ```
//!
//! Both have proved the application's secret before the first frame; see [`handshake`].

mod frame;
pub mod handshake;
mod hello;
mod plane;
mod reading;
mod serving;
#[cfg(test)]
mod tests;

pub use hello::{Hello, receive_hello};
pub use plane::{DataPlane, Peer};
