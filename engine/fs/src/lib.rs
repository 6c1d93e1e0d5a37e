//! File systems: one trait for local files, HDFS and object stores.
//!
//! Calls block, so they belong on threads that may: never on a slot's thread and never inside an async task. A file system
//! that is asynchronous within waits for itself. Paths carry their scheme; [`for_path`] finds the file system.
//!
//! What a call has returned for is durable where it says so: [`FileWriter::sync`] and [`FileWriter::close`] (the bytes and the
//! file's name), [`FileSystem::rename`], [`FileSystem::create_dirs_with`].
//!
//! ```
//! use flott_fs::{FsPath, for_path};
//! use std::io::Write;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path: FsPath = folder.path().join("greeting").display().to_string().parse()?;
//! let fs = for_path(&path)?;
//! let mut file = fs.create(&path)?;
//! file.write_all(b"hello")?;
//! file.close()?;
//! assert_eq!(fs.read(&path)?, b"hello");
//! # Ok(())
//! # }
//! ```

mod error;
mod file_system;
mod hadoop;
#[cfg(feature = "hdfs")]
mod hdfs;
mod listing;
mod local;
mod locations;
mod login;
mod path;
mod registry;
pub mod text;

pub use error::{FsError, FsErrorKind};
pub use file_system::{Access, FileReader, FileStatus, FileSystem, FileWriter};
pub use hadoop::set_hadoop_properties;
#[cfg(feature = "hdfs")]
pub use hdfs::HdfsFileSystem;
pub use listing::is_visible;
pub use local::LocalFileSystem;
pub use locations::{BlockHost, BlockLocation, KnownHost, hosts_of_range};
pub use login::{Keytab, log_in};
pub use path::FsPath;
pub use registry::{for_path, register};
