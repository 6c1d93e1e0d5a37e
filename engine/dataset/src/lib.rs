//! The DataSet API: programs over bounded data, for which an optimizer chooses how they run.
//!
//! A program says what is computed; whether records are combined before they are sent, which side of a join is broadcast, whether
//! groups are hashed or sorted is decided when it is executed. What depends on it sees the same results.
//!
//! ```
//! use flott_dataset::ExecutionEnvironment;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let env = ExecutionEnvironment::new()?;
//! let mut counts = env
//!     .from_collection(["to be or", "not to be"].map(str::to_owned))
//!     .flat_map(|line: String| line.split(' ').map(|word| (word.to_owned(), 1_u64)).collect::<Vec<_>>())
//!     .group_by_ref(|(word, _)| word)
//!     .sum(|(_, count)| count)
//!     .collect()?;
//! counts.sort();
//! assert_eq!(counts.first(), Some(&("be".to_owned(), 2)));
//! # Ok(())
//! # }
//! ```

mod builder;
mod data_set;
mod environment;
mod grouped;
mod join;

pub use data_set::{DataSet, DataSink};
pub use environment::ExecutionEnvironment;
pub use flott_cluster::program::ProgramError;
pub use flott_runtime::batch::Order;
pub use grouped::GroupedDataSet;
pub use join::{Join, JoinOn};
