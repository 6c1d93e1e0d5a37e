//! Credentials in files, which only their user may read.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Credentials, CredentialsError};

/// The most bytes of a file of credentials.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Where YARN says the file is.
const LOCATION: &str = "HADOOP_TOKEN_FILE_LOCATION";

impl Credentials {
    /// Reads the file that `HADOOP_TOKEN_FILE_LOCATION` names; none if it is not set.
    ///
    /// # Errors
    /// [`CredentialsError`] that names the file.
    pub fn from_env() -> Result<Option<Self>, CredentialsError> {
        let file = env::var_os(LOCATION).filter(|file| !file.is_empty());
        file.map(|file| Self::read_file(Path::new(&file))).transpose()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`CredentialsError`] that names the file.
    pub fn read_file(path: &Path) -> Result<Self, CredentialsError> {
        let failed = |source| CredentialsError::Io { action: "read", path: path.to_owned(), source };
        let malformed = |why| CredentialsError::MalformedFile { path: path.to_owned(), why };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(malformed(format!("it has more than {MAX_BYTES} bytes")));
        }
        Self::parse(&bytes).map_err(malformed)
    }

    /// Writes a file that only its user may read, durably. Who reads the path meanwhile sees the old file or the new one, whole.
    ///
    /// # Errors
    /// [`CredentialsError`] that names the file.
    pub fn write_file(&self, path: &Path) -> Result<(), CredentialsError> {
        write_private(path, &self.write()).map_err(|source| CredentialsError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Others may write the same file: each needs a name that nobody else has.
    let temporary = folder.join(format!(".{name}.{:016x}.inprogress", RandomState::new().hash_one(path)));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    let written = write();
    if written.is_err() {
        // What went wrong first is what counts.
        let _ = fs::remove_file(&temporary);
    }
    written
}
