//! A schema on one line, for plans and error messages.

use std::fmt::{self, Display, Formatter, Write};

use super::{Field, LEAVES, Schema};

/// Writes `items` between commas.
fn list<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    mut write: impl FnMut(&T, &mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(item, f)?;
    }
    Ok(())
}

/// Whether fields are named by their positions, as in a tuple struct.
fn positional(fields: &[Field]) -> bool {
    !fields.is_empty() && fields.iter().enumerate().all(|(position, (name, _))| *name == position.to_string())
}

/// Writes `{name: type, …}`, or `(type, …)` if the fields have no names.
fn fields(f: &mut Formatter<'_>, fields: &[Field]) -> fmt::Result {
    if positional(fields) {
        f.write_char('(')?;
        list(f, fields, |(_, schema), f| schema.fmt(f))?;
        return f.write_char(')');
    }
    f.write_char('{')?;
    list(f, fields, |(name, schema), f| write!(f, "{name}: {schema}"))?;
    f.write_char('}')
}

impl Display for Schema {
    /// `{user: string, at: i64}` for a struct, `<Guest | Member{id: u64}>` for an enum, `option<u8>`, `vec<u8>`,
    /// `map<string, u8>`, `[u8; 4]`, `(string, u8)`, and `^Tree` for a type inside itself.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(inner) => write!(f, "option<{inner}>"),
            Self::Vec(inner) => write!(f, "vec<{inner}>"),
            Self::Set(inner) => write!(f, "set<{inner}>"),
            Self::Array(inner, length) => write!(f, "[{inner}; {length}]"),
            Self::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Self::Tuple(parts) => {
                f.write_char('(')?;
                list(f, parts, |part, f| part.fmt(f))?;
                f.write_char(')')
            }
            Self::Struct { fields: all, .. } => fields(f, all),
            Self::Enum { variants, .. } => {
                f.write_char('<')?;
                for (index, (name, parts)) in variants.iter().enumerate() {
                    f.write_str(if index > 0 { " | " } else { "" })?;
                    f.write_str(name)?;
                    if !parts.is_empty() {
                        fields(f, parts)?;
                    }
                }
                f.write_char('>')
            }
            Self::Opaque(name) => write!(f, "opaque {name}"),
            Self::Recursive { name, .. } => write!(f, "^{name}"),
            leaf => match LEAVES.iter().find(|(candidate, _)| candidate == leaf) {
                Some((_, name)) => f.write_str(name),
                None => Err(fmt::Error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use crate::Data;
    use crate::data::Serde;

    #[derive(Clone, Data)]
    enum Shape {
        Empty,
        Circle { radius: f64 },
        Many(Vec<Shape>, u8),
    }

    #[derive(Clone, Data)]
    struct Meters(f32);

    #[derive(Clone, Data)]
    struct Nothing;

    #[test]
    fn every_kind_of_schema_reads_well() {
        type All =
            (Option<Meters>, [Nothing; 2], BTreeMap<String, (u8, char)>, BTreeSet<bool>, bytes::Bytes, ());
        let cases = [
            (Shape::schema(), "<Empty | Circle{radius: f64} | Many(vec<^Shape>, u8)>"),
            (All::schema(), "(option<(f32)>, [{}; 2], map<string, (u8, char)>, set<bool>, bytes, unit)"),
            (Serde::<u8>::schema(), "opaque u8"),
            (u128::schema(), "u128"),
        ];
        for (schema, expected) in cases {
            assert_eq!(schema.to_string(), expected);
        }
    }
}
