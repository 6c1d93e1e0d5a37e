//! What goes wrong with Hadoop's configuration: which file, which line, which property, and what to do.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a property was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file, at a line (from 1).
    File(Arc<PathBuf>, u32),
    /// By the program, after the files were read.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Program => f.write_str("set by the program"),
        }
    }
}

/// Why Hadoop's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// Nobody said where it is.
    #[error(
        "cannot find Hadoop's configuration: none of HADOOP_CONF_DIR, YARN_CONF_DIR and HADOOP_HOME is set; set HADOOP_CONF_DIR \
         to the folder that holds core-site.xml, hdfs-site.xml and yarn-site.xml"
    )]
    NotSet,
    /// There is no such folder.
    #[error(
        "cannot read Hadoop's configuration: {variable} says it is in {}, which is not a folder; set \
         HADOOP_CONF_DIR to the folder that holds core-site.xml, hdfs-site.xml and yarn-site.xml", .folder.display()
    )]
    NoFolder {
        /// What named it.
        variable: &'static str,
        /// The folder.
        folder: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}{}: {source}", .path.display(), included(.by))]
    Read {
        /// The file.
        path: PathBuf,
        /// Where it is included, if it is.
        by: Option<Origin>,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is too large to be a configuration.
    #[error("cannot read {}: it has more than {limit} bytes, which no configuration needs", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// A file is not XML, or not Hadoop's.
    #[error("cannot read {}: {why}", .origin)]
    Malformed {
        /// The file and line.
        origin: Origin,
        /// What is wrong there.
        why: String,
    },
    /// A value refers to itself, or to too much.
    #[error("cannot work out the property {name} ({origin}): {why}")]
    Expansion {
        /// The property.
        name: String,
        /// Where it was set.
        origin: Origin,
        /// What is wrong with it.
        why: String,
    },
    /// A value is not of its type.
    #[error("the property {name} ({origin}) is '{value}', but {expected} is needed")]
    Value {
        /// The property.
        name: String,
        /// Where it was set.
        origin: Origin,
        /// What was found.
        value: String,
        /// What would do.
        expected: &'static str,
    },
}

fn included(by: &Option<Origin>) -> String {
    by.as_ref().map_or_else(String::new, |origin| format!(", included by {origin}"))
}
