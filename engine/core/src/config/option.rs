//! What an option is: a key with the type, the bounds and the default of its value.
//!
//! Whether an option has a default is part of its type: [`Configuration::get`](super::Configuration::get) takes only those
//! that have one, so it always has an answer.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use super::value::ConfigValue;

/// An option that has a default.
pub type WithDefault<T> = fn() -> T;

/// The marker of an option that is unset until somebody sets it.
#[derive(Debug, Clone, Copy)]
pub struct NoDefault;

/// A key, and how its value is read and what it is when nobody sets it. `D` is [`WithDefault`] or [`NoDefault`].
pub struct ConfigOption<T, D = WithDefault<T>> {
    /// The key.
    pub key: &'static str,
    pub(super) read: fn(&str) -> Result<T, String>,
    pub(super) default: D,
}

impl<T, D> fmt::Debug for ConfigOption<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}

/// What an option gives that nobody sets.
pub trait DefaultValue<T> {
    /// The default, if there is one.
    fn value(&self) -> Option<T>;
}

impl<T> DefaultValue<T> for WithDefault<T> {
    fn value(&self) -> Option<T> {
        Some(self())
    }
}

impl<T> DefaultValue<T> for NoDefault {
    fn value(&self) -> Option<T> {
        None
    }
}

/// Options that belong together.
pub struct Section {
    /// The heading above them.
    pub title: &'static str,
    /// The options, in the order of the documentation.
    pub rows: &'static [OptionRow],
}

/// A row of the table of options, without its type.
pub struct OptionRow {
    /// The key.
    pub key: &'static str,
    /// What it does, in a sentence or two.
    pub description: &'static str,
    pub(super) kind: fn() -> String,
    pub(super) default: fn() -> Option<String>,
    pub(super) check: fn(&str) -> Result<(), String>,
}

impl OptionRow {
    /// What a value looks like.
    pub fn kind(&self) -> String {
        (self.kind)()
    }

    /// The default as it would be written; none: the option is unset unless somebody sets it.
    pub fn default(&self) -> Option<String> {
        (self.default)()
    }

    /// Whether a text is a value of the option.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn check(&self, text: &str) -> Result<(), String> {
        (self.check)(text)
    }
}

/// Reads a value that lies within bounds.
pub(super) fn read_within<T: ConfigValue + PartialOrd>(
    text: &str,
    bounds: &impl RangeBounds<T>,
) -> Result<T, String> {
    let inside = T::read(text).ok().filter(|value| bounds.contains(value));
    inside.ok_or_else(|| format!("{} is expected", kind_within(bounds)))
}

/// What a value within bounds looks like.
pub(super) fn kind_within<T: ConfigValue>(bounds: &impl RangeBounds<T>) -> String {
    let lower = match bounds.start_bound() {
        Bound::Included(least) => format!(" of at least {}", least.write()),
        Bound::Excluded(least) => format!(" above {}", least.write()),
        Bound::Unbounded => String::new(),
    };
    let upper = match bounds.end_bound() {
        Bound::Included(most) => format!(" of at most {}", most.write()),
        Bound::Excluded(most) => format!(" below {}", most.write()),
        Bound::Unbounded => String::new(),
    };
    let both = if lower.is_empty() || upper.is_empty() { "" } else { " and" };
    format!("{}{lower}{both}{upper}", T::KIND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_kept_and_named() {
        assert_eq!(read_within("3", &(1_u32..)), Ok(3));
        let error = "a whole number of at least 1 and of at most 9 is expected".to_owned();
        for text in ["0", "10", "-1", "x", ""] {
            assert_eq!(read_within::<u32>(text, &(1..=9)), Err(error.clone()), "{text}");
        }
        assert_eq!(kind_within::<f64>(&(0.0..1.0)), "a number of at least 0 and below 1");
    }
}
