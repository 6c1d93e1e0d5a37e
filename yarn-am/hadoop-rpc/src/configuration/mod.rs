//! Hadoop's configuration: what core-site.xml, hdfs-site.xml and yarn-site.xml say, as Hadoop reads them.
//!
//! `${other.property}`, `${env.NAME}`, `${env.NAME:-default}`, includes, final and renamed properties mean what they mean in
//! Hadoop. Hadoop's own defaults are not known here: whoever asks says what holds if nothing is set. A configuration that
//! was loaded is in order: every value could be worked out.
//!
//! ```
//! use hadoop_rpc::configuration::Configuration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! std::fs::write(
//!     folder.path().join("core-site.xml"),
//!     "<configuration>
//!        <property><name>host</name><value>nn.example.org</value></property>
//!        <property><name>fs.defaultFS</name><value>hdfs://${host}:8020</value></property>
//!      </configuration>",
//! )?;
//! let configuration = Configuration::load(folder.path())?;
//! assert_eq!(configuration.get("fs.defaultFS").as_deref(), Some("hdfs://nn.example.org:8020"));
//! assert_eq!(configuration.get_u64("dfs.replication", 3), 3);
//! # Ok(())
//! # }
//! ```

mod deprecated;
mod error;
mod expand;
mod load;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use deprecated::canonical;
use expand::{Environment, Expansion, process_environment};
use load::Loader;

pub use error::{ConfigurationError, Origin};

/// The files that are read, later ones over earlier ones.
const FILES: [&str; 3] = ["core-site.xml", "hdfs-site.xml", "yarn-site.xml"];

type Properties = BTreeMap<String, Property>;

#[derive(Clone)]
struct Property {
    value: String,
    origin: Origin,
    is_final: bool,
}

impl Property {
    /// Whether `${` in it is nothing but text.
    fn is_literal(&self) -> bool {
        self.origin == Origin::Program
    }
}

/// Hadoop's configuration. What it holds may be secret, so it is not shown: `Debug` says how much it is.
#[derive(Clone)]
pub struct Configuration {
    properties: Properties,
    environment: Environment,
    folder: Option<PathBuf>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { properties: Properties::new(), environment: process_environment, folder: None }
    }
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties = self.properties.len();
        f.debug_struct("Configuration")
            .field("folder", &self.folder)
            .field("properties", &properties)
            .finish()
    }
}

impl Configuration {
    /// One in which nothing is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the files in a folder; those that are not there say nothing.
    ///
    /// # Errors
    /// [`ConfigurationError`] that names file, line and property.
    pub fn load(folder: &Path) -> Result<Self, ConfigurationError> {
        Self::load_with(folder, "the caller", process_environment)
    }

    /// Reads the files in `HADOOP_CONF_DIR`, else in `YARN_CONF_DIR`, else in `etc/hadoop` below `HADOOP_HOME`.
    ///
    /// # Errors
    /// [`ConfigurationError`] that says what to set if neither is, or names file, line and property.
    pub fn from_env() -> Result<Self, ConfigurationError> {
        Self::from_environment(process_environment)
    }

    fn from_environment(environment: Environment) -> Result<Self, ConfigurationError> {
        let set = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        for variable in ["HADOOP_CONF_DIR", "YARN_CONF_DIR"] {
            if let Some(folder) = set(variable) {
                return Self::load_with(&folder, variable, environment);
            }
        }
        let home = set("HADOOP_HOME").ok_or(ConfigurationError::NotSet)?;
        Self::load_with(&home.join("etc/hadoop"), "HADOOP_HOME", environment)
    }

    fn load_with(
        folder: &Path,
        variable: &'static str,
        environment: Environment,
    ) -> Result<Self, ConfigurationError> {
        if !folder.is_dir() {
            return Err(ConfigurationError::NoFolder { variable, folder: folder.to_owned() });
        }
        let mut loader = Loader::default();
        for file in FILES {
            loader.add_file(&folder.join(file))?;
        }
        let loaded = Self { properties: loader.properties, environment, folder: Some(folder.to_owned()) };
        for name in loaded.properties.keys() {
            loaded.try_get(name)?;
        }
        Ok(loaded)
    }

    /// The folder the files were in, if there were any.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Where a property was set, if it is.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.properties.get(canonical(name)).map(|property| &property.origin)
    }

    /// A property's value, worked out; none if it is not set.
    pub fn get(&self, name: &str) -> Option<String> {
        // That it can be worked out was seen when it was loaded; only a variable of the environment that names properties, and
        // has changed since, is left.
        let as_written = || self.properties.get(canonical(name)).map(|property| property.value.clone());
        self.try_get(name).unwrap_or_else(|_| as_written())
    }

    fn try_get(&self, name: &str) -> Result<Option<String>, ConfigurationError> {
        let Some((name, property)) = self.properties.get_key_value(canonical(name)) else {
            return Ok(None);
        };
        Expansion::new(&self.properties, self.environment).run(name, property).map(Some)
    }

    /// A property's value, or `default` if it is not set.
    pub fn get_or(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or_else(|| default.to_owned())
    }

    /// Whether something holds; what is neither `true` nor `false` is `default`, as in Hadoop.
    pub fn get_bool(&self, name: &str, default: bool) -> bool {
        match self.get(name) {
            Some(value) if value.eq_ignore_ascii_case("true") => true,
            Some(value) if value.eq_ignore_ascii_case("false") => false,
            _ => default,
        }
    }

    /// A number. What is none is logged and taken as `default`; [`parse_u64`](Self::parse_u64) is strict.
    pub fn get_u64(&self, name: &str, default: u64) -> u64 {
        or_default(self.parse_u64(name), default)
    }

    /// A duration: `10s`, or a number of milliseconds. What is none is logged and taken as `default`.
    pub fn get_duration(&self, name: &str, default: Duration) -> Duration {
        or_default(self.parse_duration(name), default)
    }

    /// A number of bytes: `64m`, or a number. What is none is logged and taken as `default`.
    pub fn get_size(&self, name: &str, default: u64) -> u64 {
        or_default(self.parse_size(name), default)
    }

    /// A number, if it is set.
    ///
    /// # Errors
    /// [`ConfigurationError::Value`] if it is none.
    pub fn parse_u64(&self, name: &str) -> Result<Option<u64>, ConfigurationError> {
        self.parse(name, "a whole number", value::number)
    }

    /// A duration, if it is set.
    ///
    /// # Errors
    /// [`ConfigurationError::Value`] if it is none.
    pub fn parse_duration(&self, name: &str) -> Result<Option<Duration>, ConfigurationError> {
        self.parse(name, "a duration such as 10s, or a number of milliseconds,", value::duration)
    }

    /// A number of bytes, if it is set.
    ///
    /// # Errors
    /// [`ConfigurationError::Value`] if it is none.
    pub fn parse_size(&self, name: &str) -> Result<Option<u64>, ConfigurationError> {
        self.parse(name, "a size such as 64m, or a number of bytes,", value::size)
    }

    fn parse<T>(
        &self,
        name: &str,
        expected: &'static str,
        read: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigurationError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let wrong = |value| ConfigurationError::Value {
            name: name.to_owned(),
            origin: self.origin(name).cloned().unwrap_or(Origin::Program),
            value,
            expected,
        };
        read(&value).map(Some).ok_or_else(|| wrong(value))
    }

    /// What stands between commas, without the spaces around it; nothing if it is not set.
    pub fn get_list(&self, name: &str) -> Vec<String> {
        let value = self.get(name).unwrap_or_default();
        value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// All that is set, by name, worked out.
    pub fn entries(&self) -> Vec<(String, String)> {
        let entry = |name: &String| Some((name.clone(), self.get(name)?));
        self.properties.keys().filter_map(entry).collect()
    }

    /// Sets a property, final or not, to a value that is taken as it is: `${` in it is text.
    pub fn set(&mut self, name: &str, value: &str) {
        let property = Property { value: value.to_owned(), origin: Origin::Program, is_final: true };
        self.properties.insert(canonical(name).to_owned(), property);
    }
}

fn or_default<T>(parsed: Result<Option<T>, ConfigurationError>, default: T) -> T {
    match parsed {
        Ok(value) => value.unwrap_or(default),
        Err(error) => {
            tracing::warn!("{error}; the default is used");
            default
        }
    }
}

#[cfg(test)]
mod tests;
