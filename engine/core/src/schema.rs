//! Schemas: the names and types of a record's parts, known without a value.
//!
//! A schema is written once in each snapshot of state, so that a later program can tell what it reads.

use std::any::TypeId;
use std::cell::RefCell;
use std::fmt;

use crate::codec::{CodecError, nested, read_length, read_varint, write_varint};
use crate::data::Data;

/// The shape of a record type. Two types with equal schemas read each other's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are the types they name")]
pub enum Schema {
    Unit,
    Bool,
    Char,
    U8,
    U16,
    U32,
    U64,
    U128,
    I8,
    I16,
    I32,
    I64,
    I128,
    F32,
    F64,
    String,
    Bytes,
    Option(Box<Schema>),
    Vec(Box<Schema>),
    Set(Box<Schema>),
    Array(Box<Schema>, u64),
    Map(Box<Schema>, Box<Schema>),
    Tuple(Vec<Schema>),
    Struct {
        name: String,
        fields: Vec<(String, Schema)>,
    },
    Enum {
        name: String,
        variants: Vec<(String, Vec<(String, Schema)>)>,
    },
    /// A foreign type, written by its own rules: it cannot evolve.
    Opaque(String),
    /// A type inside itself.
    Recursive(String),
}

/// The leaves, in the order of their codes; the order is frozen.
const LEAVES: [(Schema, &str); 17] = [
    (Schema::Unit, "unit"),
    (Schema::Bool, "bool"),
    (Schema::Char, "char"),
    (Schema::U8, "u8"),
    (Schema::U16, "u16"),
    (Schema::U32, "u32"),
    (Schema::U64, "u64"),
    (Schema::U128, "u128"),
    (Schema::I8, "i8"),
    (Schema::I16, "i16"),
    (Schema::I32, "i32"),
    (Schema::I64, "i64"),
    (Schema::I128, "i128"),
    (Schema::F32, "f32"),
    (Schema::F64, "f64"),
    (Schema::String, "string"),
    (Schema::Bytes, "bytes"),
];

thread_local! {
    static OPEN: RefCell<Vec<TypeId>> = const { RefCell::new(Vec::new()) };
}

/// The schema of a named type; a type that contains itself is [`Schema::Recursive`] there.
pub fn named<T: 'static>(name: &str, schema: impl FnOnce() -> Schema) -> Schema {
    let id = TypeId::of::<T>();
    if OPEN.with(|open| open.borrow().contains(&id)) {
        return Schema::Recursive(name.to_owned());
    }
    OPEN.with(|open| open.borrow_mut().push(id));
    let schema = schema();
    OPEN.with(|open| open.borrow_mut().pop());
    schema
}

type Fields = Vec<(String, Schema)>;

fn encode_fields(fields: &Fields, out: &mut Vec<u8>) {
    write_varint(fields.len() as u64, out);
    for (name, schema) in fields {
        name.encode(out);
        schema.encode(out);
    }
}

fn decode_many<T>(
    input: &mut &[u8],
    decode: impl Fn(&mut &[u8]) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    let length = read_length(input, 1, "schema")?;
    (0..length).map(|_| decode(input)).collect()
}

fn decode_fields(input: &mut &[u8]) -> Result<Fields, CodecError> {
    decode_many(input, |input| Ok((String::decode(input)?, Schema::decode(input)?)))
}

impl Schema {
    /// Appends the encoded schema to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Some(code) = LEAVES.iter().position(|(leaf, _)| leaf == self) {
            out.push(code as u8);
            return;
        }
        match self {
            Self::Option(inner) => {
                out.push(32);
                inner.encode(out);
            }
            Self::Vec(inner) => {
                out.push(33);
                inner.encode(out);
            }
            Self::Set(inner) => {
                out.push(34);
                inner.encode(out);
            }
            Self::Array(inner, length) => {
                out.push(35);
                write_varint(*length, out);
                inner.encode(out);
            }
            Self::Map(key, value) => {
                out.push(36);
                key.encode(out);
                value.encode(out);
            }
            Self::Tuple(parts) => {
                out.push(37);
                write_varint(parts.len() as u64, out);
                parts.iter().for_each(|part| part.encode(out));
            }
            Self::Struct { name, fields } => {
                out.push(38);
                name.encode(out);
                encode_fields(fields, out);
            }
            Self::Enum { name, variants } => {
                out.push(39);
                name.encode(out);
                write_varint(variants.len() as u64, out);
                for (name, fields) in variants {
                    name.encode(out);
                    encode_fields(fields, out);
                }
            }
            Self::Opaque(name) => {
                out.push(40);
                name.encode(out);
            }
            Self::Recursive(name) => {
                out.push(41);
                name.encode(out);
            }
            // The rest are leaves, written above.
            _ => {}
        }
    }

    /// Takes an encoded schema off the front of `input`.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes are not the encoding of a schema.
    pub fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        nested("schema", || {
            let code = u8::decode(input)?;
            if let Some((leaf, _)) = LEAVES.get(usize::from(code)) {
                return Ok(leaf.clone());
            }
            let boxed = |input: &mut &[u8]| Self::decode(input).map(Box::new);
            Ok(match code {
                32 => Self::Option(boxed(input)?),
                33 => Self::Vec(boxed(input)?),
                34 => Self::Set(boxed(input)?),
                35 => {
                    let length = read_varint(input, "schema")?;
                    Self::Array(boxed(input)?, length)
                }
                36 => Self::Map(boxed(input)?, boxed(input)?),
                37 => Self::Tuple(decode_many(input, Self::decode)?),
                38 => Self::Struct { name: String::decode(input)?, fields: decode_fields(input)? },
                39 => Self::Enum {
                    name: String::decode(input)?,
                    variants: decode_many(input, |input| {
                        Ok((String::decode(input)?, decode_fields(input)?))
                    })?,
                },
                40 => Self::Opaque(String::decode(input)?),
                41 => Self::Recursive(String::decode(input)?),
                _ => return Err(CodecError::invalid("schema", format!("no type {code}"))),
            })
        })
    }
}

struct List<'a>(&'a [(String, Schema)]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, schema)) in self.0.iter().enumerate() {
            write!(f, "{}{name}: {schema}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, name)) = LEAVES.iter().find(|(leaf, _)| leaf == self) {
            return f.write_str(name);
        }
        match self {
            Self::Option(inner) => write!(f, "option<{inner}>"),
            Self::Vec(inner) => write!(f, "vec<{inner}>"),
            Self::Set(inner) => write!(f, "set<{inner}>"),
            Self::Array(inner, length) => write!(f, "[{inner}; {length}]"),
            Self::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Self::Tuple(parts) => {
                f.write_str("(")?;
                for (index, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Self::Struct { name, fields } => write!(f, "{name} {}", List(fields)),
            Self::Enum { name, variants } => {
                write!(f, "{name} ")?;
                for (index, (name, fields)) in variants.iter().enumerate() {
                    write!(f, "{}{name}", if index == 0 { "" } else { " | " })?;
                    if !fields.is_empty() {
                        write!(f, " {}", List(fields))?;
                    }
                }
                Ok(())
            }
            Self::Opaque(name) => write!(f, "opaque {name}"),
            Self::Recursive(name) => f.write_str(name),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate as flott_core;

    #[derive(Clone, crate::Data)]
    #[allow(dead_code)]
    enum Tree {
        Leaf,
        Node { left: Box<Tree>, right: Box<Tree>, at: (i64, Option<String>) },
    }

    #[test]
    fn a_schema_reads_like_a_type_and_survives_its_codec() {
        let _ = flott_core::MAX_BATCH_BYTES;
        let schema = Tree::schema();
        assert_eq!(
            schema.to_string(),
            "Tree Leaf | Node {left: Tree, right: Tree, at: (i64, option<string>)}"
        );
        let mut bytes = Vec::new();
        schema.encode(&mut bytes);
        assert_eq!(Schema::decode(&mut bytes.as_slice()), Ok(schema));
        for cut in 0..bytes.len() {
            assert!(Schema::decode(&mut &bytes[..cut]).is_err());
        }
    }
}
