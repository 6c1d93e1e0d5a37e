//! A YAML document as keys and values: nested keys are joined by dots, lists by semicolons.
//!
//! ```yaml
//! parallelism.default: 4     # these two
//! parallelism:               # say
//!   default: 4               # the same
//! ```

use serde_yaml::Value;

/// Keys and the texts of their values, in the order they stand in. A value that is left empty is none.
///
/// # Errors
/// What cannot be a configuration.
pub(super) fn entries(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let document: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let mut entries = Vec::new();
    match &document {
        Value::Null => {}
        Value::Mapping(_) => flatten("", &document, &mut entries)?,
        _ => return Err("it holds no 'key: value'".to_owned()),
    }
    Ok(entries)
}

fn flatten(prefix: &str, value: &Value, entries: &mut Vec<(String, Option<String>)>) -> Result<(), String> {
    let text = match value {
        Value::Mapping(inner) => {
            for (key, value) in inner {
                let Some(key) = key.as_str() else {
                    return Err(format!("a key below '{prefix}' is not a text"));
                };
                let key = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
                flatten(&key, value, entries)?;
            }
            return Ok(());
        }
        Value::Null => None,
        Value::Sequence(items) => {
            let texts: Option<Vec<_>> = items.iter().map(scalar).collect();
            Some(texts.ok_or(format!("'{prefix}' is a list of more than texts and numbers"))?.join(";"))
        }
        single => Some(scalar(single).ok_or(format!("'{prefix}' has a tag"))?),
    };
    entries.push((prefix.to_owned(), text));
    Ok(())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        _ => None,
    }
}

/// The line, from 1, a dotted key stands in. It knows blocks, which configuration files are made of; none: the key stands
/// within braces or in another unusual place.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    // The keys that enclose the line, with their indentation.
    let mut enclosing: Vec<(usize, &str)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let content = line.trim_start();
        let is_comment = content.is_empty() || content.starts_with('#');
        let Some(colon) = content.find(": ").or_else(|| content.trim_end().strip_suffix(':').map(str::len))
        else {
            continue;
        };
        if is_comment {
            continue;
        }
        let indentation = line.len() - content.len();
        while enclosing.pop_if(|(outer, _)| *outer >= indentation).is_some() {}
        enclosing.push((indentation, content[..colon].trim().trim_matches(['"', '\''])));
        let path = enclosing.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(".");
        if path == key {
            return Some(index + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "# a: 1\na.b: 1\n\na:\n  c: x # y\n  'd e':\n    f: [1, two, true]\nb: {g: 2}\nc:\n";

    #[test]
    fn keys_are_dotted_or_nested_and_values_are_texts() {
        let found = entries(TEXT).unwrap();
        let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let expected = [
            ("a.b", Some("1")),
            ("a.c", Some("x")),
            ("a.d e.f", Some("1;two;true")),
            ("b.g", Some("2")),
            ("c", None),
        ];
        assert_eq!(found, expected);
        assert_eq!(entries("# nothing"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for bad in ["a: [", "just text", "- a\n- b", "1: 2", "a: [[1]]", "a: !tag 1", "a: 1\na: 2"] {
            assert!(entries(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_of_keys_are_found_in_blocks() {
        let lines = ["a.b", "a.c", "a.d e.f", "c", "b.g", "z"].map(|key| line_of(TEXT, key));
        assert_eq!(lines, [Some(2), Some(5), Some(7), Some(9), None, None]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ab.:{}\\[\\] \n#'\"-]{0,60}") {
            if let Ok(found) = entries(&text) {
                for (key, _) in found {
                    let _ = line_of(&text, &key);
                }
            }
        }
    }
}
