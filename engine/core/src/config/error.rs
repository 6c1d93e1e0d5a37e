//! Why a configuration was refused, and which key was probably meant. All of it is for the user to put right.

use super::SECTIONS;

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read, or is no YAML of keys and values.
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
    /// A key without a value.
    #[error(
        "the configuration key '{key}' has no value in {origin}: write one, or leave the key out for its default"
    )]
    NoValue {
        /// The key.
        key: String,
        /// Where it stands.
        origin: String,
    },
    /// A key that a file sets more than once.
    #[error("the configuration key '{key}' is set a second time in {origin}: leave one of them out")]
    SetTwice {
        /// The key.
        key: String,
        /// Where it stands the second time, or the first if that cannot be told.
        origin: String,
    },
    /// `-D` without `=`.
    #[error("'{text}' sets nothing: write -D key=value")]
    NoAssignment {
        /// What was given.
        text: String,
    },
}

/// The known key that `key` is a part of, else the one with the fewest edits from it.
pub(super) fn nearest(key: &str) -> &'static str {
    let keys = SECTIONS.iter().flat_map(|section| section.rows).map(|row| row.key);
    keys.min_by_key(|known| (!contains_names(known, key), edits(key, known))).unwrap_or_default()
}

/// Whether whole names of a dotted key, next to each other, are `part`.
fn contains_names(key: &str, part: &str) -> bool {
    format!(".{key}.").contains(&format!(".{part}."))
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        for (written, meant) in [
            ("parallelism.defaults", "parallelism.default"),
            ("parallelism", "parallelism.default"),
            ("taskmanager.numberOftaskslots", "taskmanager.numberOfTaskSlots"),
            ("checkpointing.interval", "execution.checkpointing.interval"),
            ("restart-strategy.fixed-delay.attempt", "restart-strategy.fixed-delay.attempts"),
        ] {
            assert_eq!(nearest(written), meant);
        }
    }

    proptest! {
        #[test]
        fn edits_are_a_metric(a in "[abc]{0,6}", b in "[abc]{0,6}", c in "[abc]{0,6}") {
            prop_assert_eq!(edits(&a, &b), edits(&b, &a));
            prop_assert_eq!(edits(&a, &b) == 0, a == b);
            prop_assert!(edits(&a, &c) <= edits(&a, &b) + edits(&b, &c));
        }
    }
}
