//! Configuration: the keys there are, with their types, defaults and meaning, in one table; and the values that were set.
//!
//! ```
//! use flott_core::config::{self, Configuration};
//!
//! let mut configuration = Configuration::from_yaml("parallelism.default: 4", "flott-conf.yaml").unwrap();
//! configuration.set_override("taskmanager.numberOfTaskSlots=2").unwrap();
//! assert_eq!(configuration.get(&config::PARALLELISM), 4);
//! assert_eq!(configuration.get(&config::TASK_SLOTS), 2);
//!
//! let error = configuration.set_override("parallelism.defaults=3").unwrap_err();
//! assert!(error.to_string().contains("did you mean 'parallelism.default'"));
//! ```

mod docs;
mod options;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

pub use docs::{default_file, markdown};
pub use options::*;
pub use value::{ConfigValue, MemorySize, PortRange, format_duration, parse_duration};

/// A key, and the type and default of its value.
pub struct ConfigOption<T> {
    /// The key.
    pub key: &'static str,
    /// The default, as it would be written; none: the option is unset unless somebody sets it.
    pub default: Option<&'static str>,
    read: fn(&str) -> Result<T, String>,
}

/// A row of the table of options, without its type.
pub struct OptionRow {
    /// The key.
    pub key: &'static str,
    /// What a value looks like.
    pub kind: &'static str,
    /// See [`ConfigOption::default`].
    pub default: Option<&'static str>,
    /// What it does, in a sentence.
    pub description: &'static str,
    check: fn(&str) -> Result<(), String>,
}

/// Where a value came from, for error messages.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    File(String),
    Override,
}

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A key nobody knows.
    #[error(
        "unknown configuration key '{key}' in {origin}: did you mean '{nearest}'? Keys of your own begin with 'user.'"
    )]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it stands.
        origin: String,
        /// The known key that is most like it.
        nearest: &'static str,
    },
    /// A value that is not of the key's type.
    #[error("'{value}' in {origin} is no value for the configuration key '{key}': {reason}")]
    BadValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Where it stands.
        origin: String,
        /// What a value looks like.
        reason: String,
    },
    /// `-D` without `=`.
    #[error("'{text}' sets nothing: write -D key=value")]
    NoAssignment {
        /// What was given.
        text: String,
    },
}

/// Keys of users' own (global job parameters) begin so.
const USER_PREFIX: &str = "user.";

/// The values that were set; everything else has its default. Every key and value in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    values: BTreeMap<String, String>,
}

impl Configuration {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `flott-conf.yaml` in a folder.
    ///
    /// # Errors
    /// [`ConfigError`] that names the file, and the key.
    pub fn load(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join("flott-conf.yaml");
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
    /// [`ConfigError`] that names the key.
    pub fn from_yaml(text: &str, path: &str) -> Result<Self, ConfigError> {
        let unreadable = |reason: String| ConfigError::Unreadable { path: path.to_owned(), reason };
        let document: serde_yaml::Value =
            serde_yaml::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        let mut flat = Vec::new();
        flatten("", &document, &mut flat).map_err(unreadable)?;
        let mut configuration = Self::new();
        let origin = Origin::File(path.to_owned());
        for (key, value) in flat {
            configuration.set_checked(key, value, &origin)?;
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
        self.set_checked(key.to_owned(), value.to_owned(), &Origin::Override)
    }

    fn set_checked(&mut self, key: String, value: String, origin: &Origin) -> Result<(), ConfigError> {
        if !key.starts_with(USER_PREFIX) {
            let Some(row) = OPTIONS.iter().find(|row| row.key == key) else {
                return Err(ConfigError::UnknownKey {
                    nearest: nearest(&key),
                    key,
                    origin: origin.to_string(),
                });
            };
            if let Err(reason) = (row.check)(&value) {
                return Err(ConfigError::BadValue { key, value, origin: origin.to_string(), reason });
            }
        }
        self.values.insert(key, value);
        Ok(())
    }

    /// The value of an option that has a default.
    pub fn get<T: ConfigValue>(&self, option: &ConfigOption<T>) -> T {
        let text = self.values.get(option.key).map(String::as_str).or(option.default);
        // Every value was checked when it was set, and every default is checked by the tests of the table.
        text.and_then(|text| (option.read)(text).ok()).unwrap_or_else(T::fallback)
    }

    /// The value of an option, if it is set or has a default.
    pub fn get_optional<T>(&self, option: &ConfigOption<T>) -> Option<T> {
        let text = self.values.get(option.key).map(String::as_str).or(option.default)?;
        (option.read)(text).ok()
    }

    /// Whether somebody set the option.
    pub fn is_set<T>(&self, option: &ConfigOption<T>) -> bool {
        self.values.contains_key(option.key)
    }

    /// A key of a user's own; `key` without the prefix `user.`.
    pub fn user_parameter(&self, key: &str) -> Option<&str> {
        self.values.get(&format!("{USER_PREFIX}{key}")).map(String::as_str)
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

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(path),
            Self::Override => f.write_str("the overrides"),
        }
    }
}

fn flatten(prefix: &str, value: &serde_yaml::Value, flat: &mut Vec<(String, String)>) -> Result<(), String> {
    use serde_yaml::Value;
    let text = match value {
        Value::Mapping(entries) => {
            for (key, value) in entries {
                let Some(key) = key.as_str() else {
                    return Err(format!("a key below '{prefix}' is no text"));
                };
                let key = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
                flatten(&key, value, flat)?;
            }
            return Ok(());
        }
        Value::Null if prefix.is_empty() => return Ok(()),
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => value.clone(),
        Value::Sequence(values) => {
            let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
            texts
                .collect::<Option<Vec<_>>>()
                .ok_or(format!("'{prefix}' is a list of more than texts"))?
                .join(";")
        }
        Value::Tagged(_) => return Err(format!("'{prefix}' has a tag")),
    };
    if prefix.is_empty() {
        return Err("it holds no keys".to_owned());
    }
    flat.push((prefix.to_owned(), text));
    Ok(())
}

/// The known key with the fewest edits from `key`.
fn nearest(key: &str) -> &'static str {
    let nearest = OPTIONS.iter().min_by_key(|row| edits(key, row.key));
    nearest.map_or("", |row| row.key)
}

/// Levenshtein's distance (V. I. Levenshtein, 1966), by rows.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_option() {
        for row in OPTIONS {
            if let Some(default) = row.default {
                assert_eq!((row.check)(default), Ok(()), "{}", row.key);
            }
        }
    }

    #[test]
    fn nested_and_dotted_keys_are_the_same() {
        let nested =
            "parallelism:\n  default: 3\nexecution:\n  checkpointing:\n    interval: 1 s\nuser.name: x\n";
        let dotted = "parallelism.default: 3\nexecution.checkpointing.interval: 1 s\nuser:\n  name: x\n";
        let nested = Configuration::from_yaml(nested, "a").unwrap();
        assert_eq!(nested, Configuration::from_yaml(dotted, "b").unwrap());
        assert_eq!(nested.user_parameter("name"), Some("x"));
        assert_eq!(Configuration::from_yaml("", "empty"), Ok(Configuration::new()));
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = Configuration::from_yaml("taskmanager.numberOfTaskSlot: 3", "conf.yaml").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown configuration key 'taskmanager.numberOfTaskSlot' in conf.yaml: did you mean \
             'taskmanager.numberOfTaskSlots'? Keys of your own begin with 'user.'"
        );
    }

    #[test]
    fn a_bad_value_says_what_is_expected() {
        let error = Configuration::new().set_override("parallelism.default=many").unwrap_err();
        assert_eq!(
            error.to_string(),
            "'many' in the overrides is no value for the configuration key 'parallelism.default': \
             a whole number is expected"
        );
        assert!(Configuration::from_yaml("a: [", "f").is_err());
        assert!(Configuration::from_yaml("just text", "f").is_err());
        assert!(Configuration::new().set_override("novalue").is_err());
    }

    #[test]
    fn docs_and_default_file_are_in_step_with_the_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (path, expected) in
            [("docs/configuration.md", markdown()), ("conf/flott-conf.yaml", default_file())]
        {
            let path = root.join(path);
            if std::env::var_os("FLOTT_UPDATE_DOCS").is_some() {
                std::fs::write(&path, &expected).unwrap();
            }
            let found = std::fs::read_to_string(&path).unwrap();
            assert_eq!(found, expected, "run the test with FLOTT_UPDATE_DOCS=1 to update {}", path.display());
        }
        let file = Configuration::from_yaml(&default_file(), "default").unwrap();
        assert_eq!(file, Configuration::new());
    }
}
