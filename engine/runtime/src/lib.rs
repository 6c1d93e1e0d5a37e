//! Tasks: how a vertex of the JobGraph runs.
//!
//! A *slot* is one thread that runs subtasks cooperatively. A subtask is a *chain* of operators behind *input gates* and
//! before *outputs*; whole batches move between them. Every queue is bounded: a subtask runs only while its outputs have
//! room, so back-pressure reaches the sources without any thread waiting for another.

pub mod batch;
pub mod chain;
pub mod collector;
pub mod cursor;
pub mod element;
pub mod error;
pub mod exchange;
pub mod harness;
pub mod io_queue;
pub mod key_selector;
pub mod metrics;
pub mod net;
pub mod operator;
pub mod operators;
pub mod program;
pub mod sinks;
pub mod slot;
pub mod snapshot;
pub mod source;
pub mod task;
pub mod watermark;
