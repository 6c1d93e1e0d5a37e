//! Works out `${…}` in values.
//!
//! What stands for a variable is text: only values from files are worked out further. So a value that the program or the
//! environment gives cannot refer to anything, and a configuration that was worked out once stays so.

use std::env;

use super::deprecated::canonical;
use super::error::ConfigurationError;
use super::{Properties, Property};

/// How deep values may refer to values.
const MAX_DEPTH: usize = 20;
/// How many variables may be replaced for one value.
const MAX_VARIABLES: usize = 10_000;
/// How long one value may become.
const MAX_BYTES: usize = 1024 * 1024;

/// What a name in the environment stands for.
pub(super) type Environment = fn(&str) -> Option<String>;

/// The process's own.
pub(super) fn process_environment(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Works out one value.
pub(super) struct Expansion<'a> {
    properties: &'a Properties,
    environment: Environment,
    /// The properties that are being worked out, the outermost first.
    open: Vec<&'a str>,
    variables: usize,
    bytes: usize,
}

impl<'a> Expansion<'a> {
    pub(super) fn new(properties: &'a Properties, environment: Environment) -> Self {
        Self { properties, environment, open: Vec::new(), variables: 0, bytes: 0 }
    }

    /// The value of a property, worked out.
    pub(super) fn run(mut self, name: &'a str, property: &'a Property) -> Result<String, ConfigurationError> {
        self.property(name, property).map_err(|why| ConfigurationError::Expansion {
            name: name.to_owned(),
            origin: property.origin.clone(),
            why,
        })
    }

    fn property(&mut self, name: &'a str, property: &'a Property) -> Result<String, String> {
        if property.is_literal() {
            self.count(property.value.len())?;
            return Ok(property.value.clone());
        }
        if self.open.contains(&name) {
            return Err(format!("it refers to itself: {} → {name}", self.open.join(" → ")));
        }
        if self.open.len() == MAX_DEPTH {
            let way = self.open.join(" → ");
            return Err(format!("properties refer to each other more than {MAX_DEPTH} deep: {way} → {name}"));
        }
        self.open.push(name);
        let expanded = self.text(&property.value, 0)?;
        self.open.pop();
        Ok(expanded)
    }

    /// `nesting` is how deep variables stand in variables' names.
    fn text(&mut self, text: &str, nesting: usize) -> Result<String, String> {
        if nesting > MAX_DEPTH {
            return Err(format!("variables are nested more than {MAX_DEPTH} deep"));
        }
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            expanded.push_str(before);
            let Some(length) = variable_length(from) else {
                // As in Hadoop, what is not closed is text.
                expanded.push_str(from);
                self.count(from.len())?;
                rest = "";
                break;
            };
            self.variables += 1;
            if self.variables > MAX_VARIABLES {
                return Err(format!("it refers to more than {MAX_VARIABLES} values"));
            }
            let (variable, behind) = from.split_at(length);
            let name = self.text(&variable[2..length - 1], nesting + 1)?;
            match self.variable(&name)? {
                Some(value) => expanded.push_str(&value),
                None => expanded.push_str(&format!("${{{name}}}")),
            }
            self.count(before.len())?;
            rest = behind;
        }
        expanded.push_str(rest);
        self.count(rest.len())?;
        Ok(expanded)
    }

    /// What a variable stands for; as in Hadoop, one that nobody knows is text.
    fn variable(&mut self, name: &str) -> Result<Option<String>, String> {
        let value = match name.strip_prefix("env.") {
            Some(variable) => self.of_environment(variable),
            // What stands for a name may be anything; only names are looked up.
            None if name.contains(|c: char| c.is_whitespace() || c == '$') => None,
            None => match system_property(name, self.environment) {
                Some(value) => Some(value),
                None => {
                    let properties = self.properties;
                    let found = properties.get_key_value(canonical(name));
                    return found.map(|(name, property)| self.property(name, property)).transpose();
                }
            },
        };
        self.count(value.as_ref().map_or(0, String::len))?;
        Ok(value)
    }

    /// `X`, `X-default` if it is not set, `X:-default` if it is not set or empty.
    fn of_environment(&self, variable: &str) -> Option<String> {
        let Some(at) = variable.find('-') else {
            return (self.environment)(variable);
        };
        let (name, default) = (&variable[..at], &variable[at + 1..]);
        let value = match name.strip_suffix(':') {
            Some(name) => (self.environment)(name).filter(|value| !value.is_empty()),
            None => (self.environment)(name),
        };
        Some(value.unwrap_or_else(|| default.to_owned()))
    }

    fn count(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_BYTES {
            return Err(format!("it becomes longer than {MAX_BYTES} bytes"));
        }
        Ok(())
    }
}

/// How long the variable is that a text begins with, if it is closed.
fn variable_length(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'$' if bytes.peek().is_some_and(|(_, next)| *next == b'{') => {
                open += 1;
                bytes.next();
            }
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The few properties of the Java machine that Hadoop's files refer to.
fn system_property(name: &str, environment: Environment) -> Option<String> {
    match name {
        "user.name" => environment("USER").or_else(|| environment("LOGNAME")),
        "user.home" => environment("HOME"),
        "java.io.tmpdir" => Some("/tmp".to_owned()),
        _ => None,
    }
}
