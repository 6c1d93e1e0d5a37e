//! What goes wrong with files.
//!
//! An error says what was tried on which path; its kind says who must act, [`FsError::is_retryable`] whether waiting can help.

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
    /// There is something of that name already.
    AlreadyExists,
    /// It is a folder where a file is needed.
    IsDirectory,
    /// The path is not one.
    InvalidPath,
    /// No file system is registered for the path's scheme.
    UnsupportedScheme,
    /// The file system cannot do that.
    Unsupported,
    /// Anything else.
    Other,
}

impl FsErrorKind {
    fn of(source: &io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::AlreadyExists => Self::AlreadyExists,
            io::ErrorKind::IsADirectory => Self::IsDirectory,
            io::ErrorKind::InvalidFilename => Self::InvalidPath,
            io::ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Other,
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::NoSpace => "; free space there, or choose another folder",
            Self::PermissionDenied => "; the user Flott runs as needs the right to it",
            _ => "",
        }
    }
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

impl FsError {
    /// `action` (a verb) on `path` ended with `source`.
    pub fn io(action: &'static str, path: &FsPath, source: io::Error) -> Self {
        Self { action, path: path.to_string(), kind: FsErrorKind::of(&source), source }
    }

    pub(crate) fn rename(from: &FsPath, to: &FsPath, source: io::Error) -> Self {
        Self { action: "rename", path: format!("{from} to {to}"), kind: FsErrorKind::of(&source), source }
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

    /// What was tried: a verb.
    pub fn action(&self) -> &'static str {
        self.action
    }

    /// The path or paths it was tried on, as they are shown.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the operating system, or the file system's client, called it.
    pub fn io_kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether trying again may help without anybody changing the program, its arguments or the files it names: true for a full
    /// disk, which others may free, and for what devices and networks do.
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            FsErrorKind::NoSpace => true,
            FsErrorKind::Other => !matches!(
                self.source.kind(),
                io::ErrorKind::CrossesDevices
                    | io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::FileTooLarge
                    | io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::NotSeekable
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::TooManyLinks
                    | io::ErrorKind::UnexpectedEof
            ),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: io::ErrorKind) -> FsError {
        FsError::io("open", &"/data/x".parse().unwrap(), kind.into())
    }

    #[test]
    fn kinds_follow_the_operating_system() {
        for (from, to, retryable) in [
            (io::ErrorKind::NotFound, FsErrorKind::NotFound, false),
            (io::ErrorKind::PermissionDenied, FsErrorKind::PermissionDenied, false),
            (io::ErrorKind::StorageFull, FsErrorKind::NoSpace, true),
            (io::ErrorKind::QuotaExceeded, FsErrorKind::NoSpace, true),
            (io::ErrorKind::AlreadyExists, FsErrorKind::AlreadyExists, false),
            (io::ErrorKind::IsADirectory, FsErrorKind::IsDirectory, false),
            (io::ErrorKind::InvalidFilename, FsErrorKind::InvalidPath, false),
            (io::ErrorKind::Unsupported, FsErrorKind::Unsupported, false),
            (io::ErrorKind::NotADirectory, FsErrorKind::Other, false),
            (io::ErrorKind::UnexpectedEof, FsErrorKind::Other, false),
            (io::ErrorKind::TimedOut, FsErrorKind::Other, true),
            (io::ErrorKind::ConnectionReset, FsErrorKind::Other, true),
        ] {
            let error = error(from);
            assert_eq!((error.kind(), error.is_retryable()), (to, retryable), "{from:?}");
        }
    }

    #[test]
    fn messages_say_what_was_tried_and_what_to_do() {
        let denied = error(io::ErrorKind::PermissionDenied);
        assert_eq!(
            denied.to_string(),
            "cannot open /data/x: permission denied; the user Flott runs as needs the right to it"
        );
        assert_eq!((denied.action(), denied.path()), ("open", "/data/x"));
        assert_eq!(denied.io_kind(), io::ErrorKind::PermissionDenied);
    }
}
