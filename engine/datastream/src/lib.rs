//! The DataStream API: a program says what happens to records; `execute` plans it and runs it.
//!
//! ```
//! use flott_datastream::StreamExecutionEnvironment;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let env = StreamExecutionEnvironment::new()?;
//! let sums = env
//!     .from_collection([("a".to_owned(), 1_u64), ("b".to_owned(), 2), ("a".to_owned(), 3)])
//!     .key_by_ref(|record| &record.0)
//!     .sum(|record| &mut record.1)
//!     .collect();
//! let result = env.execute("sums")?;
//! let mut sums = result.get(&sums)?;
//! sums.sort();
//! assert_eq!(sums, [("a".to_owned(), 1), ("a".to_owned(), 4), ("b".to_owned(), 2)]);
//! # Ok(())
//! # }
//! ```

mod builder;
mod data_stream;
mod environment;
mod keyed_stream;
mod sinks;
mod windowed_stream;

pub use data_stream::DataStream;
pub use environment::{JobExecutionResult, StreamExecutionEnvironment};
pub use flott_cluster::program::ProgramError;
pub use keyed_stream::KeyedStream;
pub use sinks::{Collected, DataStreamSink};
pub use windowed_stream::WindowedStream;
