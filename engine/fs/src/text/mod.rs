//! Text files as lines, in splits that can be read side by side.
//!
//! The rule of splits: a split from `start` with `length` bytes holds the lines that begin in `start + 1 ..= start +
//! length`, and the first line of the file if `start` is 0. So every line belongs to one split, wherever the cuts are.
//!
//! ```
//! use flott_fs::text::{Block, BlockReader, InvalidUtf8, LineSplitter, Next, plan_splits};
//! use flott_fs::{Access, FsPath, for_path};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path = FsPath::local(folder.path()).join("poem");
//! let fs = for_path(&path)?;
//! fs.write_atomically_with(&path, b"the boat\nis afloat\r\nagain", Access::Ordinary)?;
//!
//! let mut lines = Vec::new();
//! for split in plan_splits(&fs.list_files(&path)?, 10, 5) {
//!     let mut blocks = BlockReader::open(&split, None)?;
//!     let mut splitter = LineSplitter::new(split.split, None, InvalidUtf8::Fail, 1024);
//!     let mut used = Block::default();
//!     loop {
//!         match splitter.next_line()? {
//!             Next::Line(line) => lines.push(line.to_owned()),
//!             Next::Block => used = splitter.feed(blocks.read(used)?),
//!             Next::End => break,
//!         }
//!     }
//! }
//! assert_eq!(lines, ["the boat", "is afloat", "again"]);
//! # Ok(())
//! # }
//! ```

mod block;
mod error;
mod split;
mod splitter;

pub use block::{Block, BlockReader};
pub use error::LineError;
pub use split::{FileSplit, PlannedSplit, plan_splits};
pub use splitter::{InvalidUtf8, LineSplitter, Next};
