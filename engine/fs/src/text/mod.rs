//! Text files as lines, in splits that can be read side by side.
//!
//! The rule of splits: a split from `start` with `length` bytes holds the lines that begin in `start + 1 ..= start +
//! length`, and the first line of the file if `start` is 0. So every line belongs to one split, wherever the cuts are.
//!
//! ```
//! use flott_fs::text::{InvalidUtf8, LineReader, plan_splits_of};
//! use flott_fs::{Access, FsPath, for_path};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path = FsPath::local(folder.path()).join("poem");
//! let fs = for_path(&path)?;
//! fs.write_atomically_with(&path, b"the boat\nis afloat\r\nagain", Access::Ordinary)?;
//!
//! let mut lines = Vec::new();
//! for split in plan_splits_of(&fs.list_files(&path)?, 10, 5) {
//!     let mut reader = LineReader::open_planned(&split, None, InvalidUtf8::Fail, 1024)?;
//!     while let Some(line) = reader.next_line()? {
//!         lines.push(line.to_owned());
//!     }
//! }
//! assert_eq!(lines, ["the boat", "is afloat", "again"]);
//! # Ok(())
//! # }
//! ```

mod error;
mod reader;
mod split;

pub use error::LineError;
pub use reader::{InvalidUtf8, LineReader};
pub use split::{FileSplit, PlannedSplit, plan_splits, plan_splits_of};
