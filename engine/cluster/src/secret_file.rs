//! The file with the secret of a cluster: 64 hexadecimal digits that only its user may read.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flott_core::config::{self, Configuration};
use flott_runtime::net::handshake::Secret;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file system.
    #[error("cannot {what} the secret in {path}: {source}{hint}", path = .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// Others could have read it.
    #[error("others may read the secret in {path} (mode {mode:o}): delete it and let the JobManager write another, or run chmod 600 {path}", path = .path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is something else.
    #[error("{path} holds no secret: 64 hexadecimal digits are expected", path = .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// Nowhere to look for it.
    #[error("there is no folder for the secret: set security.secret.file, XDG_CONFIG_HOME or HOME")]
    NoFolder,
}

/// Where the secret is.
fn path(configuration: &Configuration) -> Result<PathBuf, SecretError> {
    if let Some(path) = configuration.get_optional(&config::SECRET_FILE) {
        return Ok(path.into());
    }
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    Ok(config.ok_or(SecretError::NoFolder)?.join("flott").join("secret"))
}

fn read(path: &Path) -> Result<Secret, SecretError> {
    let failed = |source: io::Error| {
        let missing = source.kind() == io::ErrorKind::NotFound;
        let hint = if missing {
            "; the JobManager writes it: copy it from there, or set security.secret.file"
        } else {
            ""
        };
        SecretError::Io { what: "read", path: path.to_owned(), source, hint }
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text).map_err(failed)?;
    let malformed = || SecretError::Malformed { path: path.to_owned() };
    let digits = text.trim();
    if digits.len() != 2 * Secret::BYTES || !digits.is_ascii() {
        return Err(malformed());
    }
    let bytes = (0..Secret::BYTES).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().map_err(|_| malformed())?;
    Secret::from_bytes(&bytes).ok_or_else(malformed)
}

/// The secret of a cluster, for who joins or uses it.
///
/// # Errors
/// [`SecretError`] that names the file.
pub fn read_secret(configuration: &Configuration) -> Result<Secret, SecretError> {
    read(&path(configuration)?)
}

/// The secret of a cluster, for its JobManager: written, if there is none.
///
/// # Errors
/// [`SecretError`] that names the file.
pub fn read_or_write_secret(configuration: &Configuration) -> Result<Secret, SecretError> {
    let path = path(configuration)?;
    let failed = |source: io::Error| SecretError::Io { what: "write", path: path.clone(), source, hint: "" };
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    // Under another name first: whoever reads it meanwhile reads all of it or none.
    let secret = Secret::random().map_err(failed)?;
    let digits: String = secret.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let draft = path.with_extension(format!("{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(file, "{digits}")?;
        fs::hard_link(&draft, &path)
    };
    let written = write();
    let _ = fs::remove_file(&draft);
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        _ => read(&path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn with_file(path: &Path) -> Configuration {
        let mut configuration = Configuration::new();
        configuration.set(config::SECRET_FILE.key, path.to_str().unwrap()).unwrap();
        configuration
    }

    #[test]
    fn a_secret_is_written_once_and_read_by_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/secret");
        let configuration = with_file(&path);
        assert!(read_secret(&configuration).unwrap_err().to_string().contains("the JobManager writes it"));
        let written = read_or_write_secret(&configuration).unwrap();
        assert!(written == read_or_write_secret(&configuration).unwrap());
        assert!(written == read_secret(&configuration).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_that_others_may_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let configuration = with_file(&path);
        read_or_write_secret(&configuration).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read_secret(&configuration).unwrap_err().to_string().contains("mode 640"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for garbage in ["", "abc", &"ü".repeat(32), &"xy".repeat(32)] {
            fs::write(&path, garbage).unwrap();
            assert!(read_secret(&configuration).unwrap_err().to_string().contains("holds no secret"));
        }
    }

    #[test]
    fn fuzz_credentials_secret_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let configuration = with_file(&path);
        read_or_write_secret(&configuration).unwrap();
        let sample = fs::read(&path).unwrap();
        flott_fuzz::Decoder::new("files of secrets").sample(sample).word("+").bytes(|bytes| {
            fs::write(&path, bytes).unwrap();
            let _ = read_secret(&configuration);
        });
    }
}
