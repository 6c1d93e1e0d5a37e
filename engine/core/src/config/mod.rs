//! Configuration: the keys there are, with their types, defaults and meaning, in one table; and the values that were set.
//!
//! Every key and value in a [`Configuration`] has been checked when it was set, so reading one cannot fail.
//!
//! ```
//! use flott_core::config::{self, Configuration};
//!
//! let mut configuration = Configuration::from_yaml("parallelism.default: 4", "flott-conf.yaml").unwrap();
//! configuration.set_override("taskmanager.numberOfTaskSlots=2").unwrap();
//! assert_eq!(configuration.get(&config::PARALLELISM), 4);
//! assert_eq!(configuration.get(&config::TASK_SLOTS), 2);
//! assert_eq!(configuration.get_optional(&config::CHECKPOINT_INTERVAL), None);
//!
//! let error = configuration.set_override("parallelism.defaults=3").unwrap_err();
//! assert!(error.to_string().contains("did you mean 'parallelism.default'"));
//! ```

mod choices;
mod docs;
mod error;
mod option;
mod options;
mod ports;
mod sensitive;
mod size;
mod value;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

pub use choices::*;
pub use docs::{default_file, markdown};
pub use error::ConfigError;
pub use option::{ConfigOption, DefaultValue, NoDefault, OptionRow, Section, WithDefault};
pub use options::*;
pub use ports::PortRange;
pub use sensitive::is_sensitive;
pub use size::MemorySize;
pub use value::{ConfigValue, Seconds, format_duration, parse_duration};

/// Keys of users' own (global job parameters) begin so.
const USER_PREFIX: &str = "user.";

/// Keys of Hadoop's configuration begin so.
const HADOOP_PREFIX: &str = "flink.hadoop.";

/// The file that [`Configuration::load`] reads.
pub const FILE_NAME: &str = "flott-conf.yaml";

/// The values that were set; everything else has its default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    values: BTreeMap<String, String>,
}

impl Configuration {
    /// Nothing set.
    pub fn new() -> Self {
        Self { values: BTreeMap::new() }
    }

    /// Reads [`FILE_NAME`] in a folder.
    ///
    /// # Errors
    /// [`ConfigError`] that names the file and, where one is wrong, the line and the key.
    pub fn load(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(FILE_NAME);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::from_yaml(&text, &path.display().to_string()),
            Err(error) => {
                Err(ConfigError::Unreadable { path: path.display().to_string(), reason: error.to_string() })
            }
        }
    }

    /// Reads YAML, with dotted or nested keys; `path` is for error messages.
    ///
    /// # Errors
    /// [`ConfigError`] that names the file and, where one is wrong, the line and the key.
    pub fn from_yaml(text: &str, path: &str) -> Result<Self, ConfigError> {
        let entries = yaml::entries(text)
            .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
        let mut configuration = Self::new();
        for (key, value) in entries {
            let origin = match yaml::line_of(text, &key) {
                Some(line) => format!("{path}:{line}"),
                None => path.to_owned(),
            };
            let Some(value) = value else {
                check_known(&key, &origin)?;
                return Err(ConfigError::NoValue { key, origin });
            };
            if configuration.values.contains_key(&key) {
                return Err(ConfigError::SetTwice { key, origin });
            }
            configuration.set_checked(&key, &value, &origin)?;
        }
        Ok(configuration)
    }

    /// Sets what `-D key=value` says.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key.
    pub fn set_override(&mut self, assignment: &str) -> Result<(), ConfigError> {
        match assignment.split_once('=') {
            Some((key, value)) => self.set(key.trim(), value.trim()),
            None => Err(ConfigError::NoAssignment { text: assignment.to_owned() }),
        }
    }

    /// Sets a key.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        self.set_checked(key, value, "the overrides")
    }

    /// The same with an option set.
    ///
    /// # Errors
    /// [`ConfigError::BadValue`] if the value is out of the option's bounds.
    pub fn with<T: ConfigValue, D>(
        mut self,
        option: &ConfigOption<T, D>,
        value: &T,
    ) -> Result<Self, ConfigError> {
        self.set(option.key, &value.write())?;
        Ok(self)
    }

    fn set_checked(&mut self, key: &str, value: &str, origin: &str) -> Result<(), ConfigError> {
        if let Some(row) = check_known(key, origin)? {
            row.check(value).map_err(|reason| ConfigError::BadValue {
                key: key.to_owned(),
                value: value.to_owned(),
                origin: origin.to_owned(),
                reason,
            })?;
        }
        self.values.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// The value of an option: what was set, else the default.
    pub fn get<T>(&self, option: &ConfigOption<T>) -> T {
        self.read(option).unwrap_or_else(option.default)
    }

    /// The value of an option, if it is set or has a default.
    pub fn get_optional<T, D: DefaultValue<T>>(&self, option: &ConfigOption<T, D>) -> Option<T> {
        self.read(option).or_else(|| option.default.value())
    }

    fn read<T, D>(&self, option: &ConfigOption<T, D>) -> Option<T> {
        // What is in `values` was read once already, when it was set.
        self.values.get(option.key).and_then(|text| (option.read)(text).ok())
    }

    /// Whether somebody set the option.
    pub fn is_set<T, D>(&self, option: &ConfigOption<T, D>) -> bool {
        self.values.contains_key(option.key)
    }

    /// A key of a user's own; `key` without the prefix `user.`.
    pub fn user_parameter(&self, key: &str) -> Option<&str> {
        self.values.get(&format!("{USER_PREFIX}{key}")).map(String::as_str)
    }

    /// What Hadoop's configuration is to say beside its files, by Hadoop's names: the keys with the prefix `flink.hadoop.`.
    pub fn hadoop_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().filter_map(|(key, value)| Some((key.strip_prefix(HADOOP_PREFIX)?, value.as_str())))
    }

    /// Sets everything that `other` sets.
    pub fn extend(&mut self, other: &Self) {
        self.values.extend(other.values.iter().map(|(key, value)| (key.clone(), value.clone())));
    }

    /// What was set, by key.
    pub fn entries(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// A configuration of entries that another one gave by [`entries`](Self::entries).
    ///
    /// # Errors
    /// [`ConfigError`] if one of them is not known here.
    pub fn from_entries(entries: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut configuration = Self::new();
        for (key, value) in entries {
            configuration.set(key, value)?;
        }
        Ok(configuration)
    }
}

/// The row of a key, none for a user's own and for Hadoop's.
fn check_known(key: &str, origin: &str) -> Result<Option<&'static OptionRow>, ConfigError> {
    if key.starts_with(USER_PREFIX) || key.starts_with(HADOOP_PREFIX) {
        return Ok(None);
    }
    let row = SECTIONS.iter().flat_map(|section| section.rows).find(|row| row.key == key);
    row.map(Some).ok_or_else(|| ConfigError::UnknownKey {
        key: key.to_owned(),
        origin: origin.to_owned(),
        nearest: error::nearest(key),
    })
}

#[cfg(test)]
mod tests;
