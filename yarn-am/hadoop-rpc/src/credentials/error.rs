//! What goes wrong with credentials.

use std::io;
use std::path::PathBuf;

/// Why credentials cannot be read or written. What they hold is never part of it.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The bytes are not a token storage.
    #[error("not Hadoop credentials: {0}")]
    Malformed(String),
    /// A file's bytes are not a token storage.
    #[error("cannot read the credentials in {}: {why}; have them written anew", .path.display())]
    MalformedFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} the credentials in {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
