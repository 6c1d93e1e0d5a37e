//! The file by which a later command finds the session that `flott yarn-session` has started: a user's own, in the temporary folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flott_core::config::{self, Configuration};

const KEY: &str = "applicationID=";

/// Where the session's id stands.
#[derive(Debug, Clone)]
pub(crate) struct SessionFile(PathBuf);

impl SessionFile {
    /// This user's.
    pub(crate) fn of(configuration: &Configuration) -> Self {
        let folder =
            configuration.get_optional(&config::YARN_PROPERTIES_DIR).unwrap_or_else(std::env::temp_dir);
        let user = rustix::process::getuid().as_raw();
        Self(folder.join(format!(".flott-yarn-properties-{user}")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The session's id, if there is one and this user has written it: anybody may write into a temporary folder.
    pub(crate) fn read(&self) -> Option<String> {
        let own = fs::symlink_metadata(&self.0).ok()?;
        if !own.is_file() || own.uid() != rustix::process::getuid().as_raw() || own.len() > 4096 {
            return None;
        }
        let text = fs::read_to_string(&self.0).ok()?;
        text.lines().find_map(|line| line.strip_prefix(KEY)).map(|id| id.trim().to_owned())
    }

    /// Remembers a session.
    pub(crate) fn write(&self, application: &str) -> io::Result<()> {
        let _ = fs::remove_file(&self.0);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.0)?;
        writeln!(file, "# The session that flott run finds on YARN.\n{KEY}{application}")
    }

    /// Forgets a session, if it is the one that stands there.
    pub(crate) fn forget(&self, application: &str) {
        if self.read().as_deref() == Some(application) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_configuration_session_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = SessionFile(folder.path().join("session"));
        file.write("application_1732183200000_0007").unwrap();
        assert_eq!(file.read().as_deref(), Some("application_1732183200000_0007"));
        let sample = fs::read(file.path()).unwrap();
        flott_fuzz::Decoder::new("files of sessions").sample(sample).words(&["\n", KEY]).bytes(|bytes| {
            fs::write(file.path(), bytes).unwrap();
            let _ = file.read();
        });
    }
}
