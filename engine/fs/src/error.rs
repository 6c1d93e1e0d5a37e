//! What goes wrong with files.

use std::io;

use crate::path::FsPath;

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsErrorKind {
    /// There is no such file or folder.
    NotFound,
    /// The user may not.
    PermissionDenied,
    /// The disk is full, or the quota used up.
    NoSpace,
    /// The path is not one.
    InvalidPath,
    /// No file system is registered for the path's scheme.
    UnsupportedScheme,
    /// Anything else.
    Other,
}

/// What was tried on which path, and what came of it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}{}", .kind.remedy())]
pub struct FsError {
    action: &'static str,
    path: String,
    kind: FsErrorKind,
    source: io::Error,
}

impl FsErrorKind {
    fn remedy(self) -> &'static str {
        match self {
            Self::NoSpace => "; free space there, or choose another folder",
            Self::PermissionDenied => "; the user Flott runs as needs the right to it",
            _ => "",
        }
    }
}

impl FsError {
    /// `action` (a verb) on `path` ended with `source`.
    pub fn io(action: &'static str, path: &FsPath, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => FsErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => FsErrorKind::PermissionDenied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FsErrorKind::NoSpace,
            _ => FsErrorKind::Other,
        };
        Self { action, path: path.to_string(), kind, source }
    }

    pub(crate) fn invalid_path(text: &str, why: &'static str) -> Self {
        Self {
            action: "use the path",
            path: format!("'{text}'"),
            kind: FsErrorKind::InvalidPath,
            source: io::Error::new(io::ErrorKind::InvalidInput, why),
        }
    }

    pub(crate) fn unsupported_scheme(path: &FsPath) -> Self {
        Self {
            action: "use",
            path: path.to_string(),
            kind: FsErrorKind::UnsupportedScheme,
            source: io::Error::new(
                io::ErrorKind::Unsupported,
                format!("this program has no file system for '{}:'", path.scheme()),
            ),
        }
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> FsErrorKind {
        self.kind
    }

    /// Whether trying again may help without anybody doing something.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, FsErrorKind::Other | FsErrorKind::NoSpace)
    }
}
