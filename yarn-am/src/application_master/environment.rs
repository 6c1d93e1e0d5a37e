//! What a NodeManager tells a container by its environment, and the files it lays out for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hadoop_rpc::proto::yarn::{ApplicationAttemptId, ContainerId};

use crate::ids::{IdError, parse_container};

/// The folder below a container's own that holds Hadoop's configuration.
pub const HADOOP_CONF: &str = "hadoop-conf";

/// Why a process cannot be one of an application.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// A variable is missing.
    #[error("{name} is not set: is this process started by a NodeManager of YARN?")]
    NotSet {
        /// Its name.
        name: &'static str,
    },
    /// The container's id makes no sense.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A file cannot be written.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A container of YARN, from the inside.
#[derive(Debug, Clone)]
pub struct ContainerEnvironment {
    /// Its id.
    pub id: ContainerId,
    /// The same, as YARN writes it.
    pub name: String,
    /// Under which name others reach its node.
    pub host: String,
    /// The NodeManager's port.
    pub node_port: u16,
    /// Where its logs go.
    pub log_dir: PathBuf,
    /// Folders for its files, on every disk one, with commas between.
    pub local_dirs: String,
}

fn variable(name: &'static str) -> Result<String, EnvironmentError> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or(EnvironmentError::NotSet { name })
}

impl ContainerEnvironment {
    /// This process's.
    ///
    /// # Errors
    /// [`EnvironmentError`] if no NodeManager has started it.
    pub fn of_process() -> Result<Self, EnvironmentError> {
        let name = variable("CONTAINER_ID")?;
        let logs = variable("LOG_DIRS")?;
        Ok(Self {
            id: parse_container(&name)?,
            host: variable("NM_HOST")?,
            node_port: variable("NM_PORT")?
                .parse()
                .map_err(|_| EnvironmentError::NotSet { name: "NM_PORT" })?,
            log_dir: logs.split(',').next().unwrap_or_default().into(),
            local_dirs: variable("LOCAL_DIRS")?,
            name,
        })
    }
}

impl ContainerEnvironment {
    /// The attempt of the application that it belongs to.
    pub fn attempt(&self) -> ApplicationAttemptId {
        self.id.app_attempt_id.unwrap_or_default()
    }
}

/// Writes Hadoop's configuration where `HADOOP_CONF_DIR` of the container points.
///
/// # Errors
/// [`EnvironmentError::Io`].
pub fn write_hadoop_configuration(
    folder: &Path,
    entries: &BTreeMap<String, String>,
) -> Result<PathBuf, EnvironmentError> {
    let path = folder.join(HADOOP_CONF);
    let failed = |source| EnvironmentError::Io { path: path.clone(), source };
    DirBuilder::new().mode(0o700).recursive(true).create(&path).map_err(failed)?;
    let file = path.join("core-site.xml");
    let failed = |source| EnvironmentError::Io { path: file.clone(), source };
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).map_err(failed)?;
    out.write_all(site_file(entries).as_bytes()).map_err(failed)?;
    Ok(path)
}

/// Entries as one of Hadoop's XML files. Values stand there as they are meant: what looks like a variable is none.
fn site_file(entries: &BTreeMap<String, String>) -> String {
    let mut text = "<configuration>\n".to_owned();
    for (name, value) in entries {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "<property><name>{}</name><value>{}</value></property>",
            escape(name),
            escape(value)
        );
    }
    text.push_str("</configuration>\n");
    text
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // XML knows no other control characters, not even as references.
            '\n' | '\r' | '\t' => {
                let _ = write!(escaped, "&#{};", character as u32);
            }
            other if !other.is_control() => escaped.push(other),
            _ => {}
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hadoop_reads_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let entries: BTreeMap<String, String> = [
            ("fs.defaultFS", "hdfs://nn:8020"),
            ("a.b", "<x> & \"y\"\n'z'"),
            ("rule", "RULE:[2:$1@$0](nm@X)s/.*/root/"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for _ in 0..2 {
            let conf = write_hadoop_configuration(folder.path(), &entries).unwrap();
            let read = hadoop_rpc::configuration::Configuration::load(&conf).unwrap();
            for (name, value) in &entries {
                assert_eq!(read.get(name).as_deref(), Some(value.as_str()), "{name}");
            }
        }
    }
}
