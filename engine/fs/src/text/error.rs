//! Why a line could not be read.

use crate::error::FsError;
use crate::path::FsPath;

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FsError),
    /// The line is not text.
    #[error("{path} is not UTF-8 at byte {offset}; skip such lines if that is expected")]
    NotUtf8 {
        /// The file.
        path: FsPath,
        /// Where the first wrong byte is.
        offset: u64,
    },
    /// The line is too long.
    #[error("the line at byte {offset} of {path} is longer than {limit} bytes")]
    TooLong {
        /// The file.
        path: FsPath,
        /// Where the line begins.
        offset: u64,
        /// What is allowed.
        limit: usize,
    },
    /// Bytes of a split are gone.
    #[error(
        "{path} has {found} bytes, but had {planned} or more when it was cut into splits; do not change files while they are read"
    )]
    Shorter {
        /// The file.
        path: FsPath,
        /// How many bytes it needs to have.
        planned: u64,
        /// How many it has.
        found: u64,
    },
    /// The file is as long as it was, and another.
    #[error(
        "{path} was last changed at {found} ms, but at {planned} ms when it was cut into splits; do not change files while they are read"
    )]
    Rewritten {
        /// The file.
        path: FsPath,
        /// When it had been changed, in milliseconds since the epoch.
        planned: i64,
        /// When it was changed.
        found: i64,
    },
}

impl LineError {
    /// Whether trying again may help without anybody changing the file.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::File(error) if error.is_retryable())
    }
}
