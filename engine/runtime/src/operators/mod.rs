//! The operators of streams, one a file, each named by its verb.
//!
//! They are plain [`Operator`](crate::operator::Operator)s, monomorphised over the user's functions; the APIs above make
//! them from a plan, and the [`harness`](crate::harness) drives them in tests.

mod assign_timestamps_and_watermarks;
mod check;
mod count;
mod discard;
mod emitter;
mod filter;
mod flat_map;
mod flat_map_into;
mod keyed_process;
mod keyed_reduce;
mod map;
mod process;
mod rolling_aggregate;
mod sink;
mod window;
mod window_aggregate;
mod window_assigner;
mod window_process;
mod window_reduce;

pub use assign_timestamps_and_watermarks::AssignTimestampsAndWatermarks;
pub use check::{Checked, ElementChecker};
pub use count::Count;
pub use discard::Discard;
pub use emitter::Emitter;
pub use filter::Filter;
pub use flat_map::FlatMap;
pub use flat_map_into::FlatMapInto;
pub use keyed_process::{KeyedContext, KeyedProcess, KeyedProcessFunction, KeyedSetup, TimeDomain, Timer};
pub use keyed_reduce::KeyedReduce;
pub use map::Map;
pub use process::{Process, ProcessContext, ProcessFunction};
pub use rolling_aggregate::{
    Combine, Max, Min, RollingAggregate, RollingMax, RollingMin, RollingSum, Sum, combine_field,
};
pub use sink::{Sink, SinkOperator, SinkWriter};
pub use window::{Window, WindowContents};
pub use window_aggregate::{AggregateContents, AggregateFunction, WindowAggregate};
pub use window_assigner::{SlidingEventTimeWindows, TimeWindow, TumblingEventTimeWindows, WindowAssigner};
pub use window_process::{ProcessContents, WindowProcess, WindowProcessFunction};
pub use window_reduce::{ReduceContents, WindowReduce};

use std::cell::RefCell;
use std::rc::Rc;

use flott_state::Table;

use crate::error::{Fault, OperatorError};

/// A table that an operator shares with the registry of its states.
type SharedTable<K, V> = Rc<RefCell<Table<K, V>>>;

/// An operator was given records before it was opened.
fn state_not_declared() -> OperatorError {
    OperatorError::new(
        Fault::Flott,
        "an operator got records before it was opened; this is a defect of Flott",
    )
}
