//! Flott: batch and stream programs in Rust.
//!
//! A program is an ordinary binary that depends on this crate alone. Run by itself, it runs on an embedded cluster in its own process.
//!
//! ```
//! use flott::prelude::*;
//!
//! #[derive(Clone, Data)]
//! struct Purchase { customer: String, cents: u64 }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let env = StreamExecutionEnvironment::new()?;
//! let purchase = |customer: &str, cents| Purchase { customer: customer.to_owned(), cents };
//! let totals = env
//!     .from_collection([purchase("ada", 250), purchase("grace", 100), purchase("ada", 50)])
//!     .key_by_ref(|purchase| &purchase.customer)
//!     .sum(|purchase| &mut purchase.cents)
//!     .map(|purchase| (purchase.customer, purchase.cents))
//!     .collect();
//! let mut totals = env.execute("totals")?.get(&totals)?;
//! totals.sort();
//! assert_eq!(totals, [("ada".to_owned(), 250), ("ada".to_owned(), 300), ("grace".to_owned(), 100)]);
//! # Ok(())
//! # }
//! ```

// The derives name this crate as users see it, so they also work inside it.
extern crate self as flott;

pub use flott_cluster as cluster;
pub use flott_core as core;
pub use flott_dataset as dataset;
pub use flott_datastream as datastream;
pub use flott_fs as fs;
pub use flott_plan as plan;
pub use flott_runtime as runtime;
pub use flott_state as state;

pub use flott_cluster::program::arguments as args;

/// What most programs need.
pub mod prelude {
    pub use flott_core::time::NO_TIMESTAMP;
    pub use flott_core::{Data, Key, Text, Timestamp};
    pub use flott_dataset::{DataSet, DataSink, ExecutionEnvironment, GroupedDataSet, Order};
    pub use flott_datastream::{
        Collected, DataStream, DataStreamSink, JobExecutionResult, KeyedStream, ProgramError,
        StreamExecutionEnvironment, WindowedStream,
    };
    pub use flott_fs::text::InvalidUtf8;
    pub use flott_runtime::collector::OutputTag;
    pub use flott_runtime::error::{Fault, OperatorError};
    pub use flott_runtime::operators::{
        AggregateFunction, KeyedContext, KeyedProcessFunction, KeyedSetup, ProcessContext, ProcessFunction,
        Sink, SinkWriter, SlidingEventTimeWindows, TimeWindow, Timer, TumblingEventTimeWindows,
        WindowProcessFunction,
    };
    pub use flott_runtime::sinks::FileSinkOptions;
    pub use flott_runtime::source::{
        Boundedness, NextSplit, ReadProgress, ReaderInfo, Source, SourceReader, SplitEnumerator,
    };
    pub use flott_runtime::watermark::{WatermarkGenerator, WatermarkStrategy};
    pub use flott_state::ValueState;
}
