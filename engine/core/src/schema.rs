//! Schemas: the names and types of a record's parts, known without a value.
//!
//! A schema is written once in each snapshot of state, so that a later program can tell what it reads; its encoding is
//! frozen. On one line it reads like this:
//!
//! ```
//! use flott_core::Data;
//!
//! #[derive(Clone, Data)]
//! struct Click { user: String, at: i64, tags: Vec<String> }
//!
//! assert_eq!(Click::schema().to_string(), "{user: string, at: i64, tags: vec<string>}");
//! ```

use std::any::TypeId;
use std::cell::RefCell;

use crate::codec::{CodecError, nested, read_length, read_varint, write_varint};
use crate::data::Data;
use crate::key::KeyHash;

/// A part's name and type.
pub type Field = (String, Schema);

/// The shape of a record type. Two types with equal schemas read each other's bytes.
///
/// A tuple struct's fields are named by their positions.
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
        fields: Vec<Field>,
    },
    Enum {
        name: String,
        variants: Vec<(String, Vec<Field>)>,
    },
    /// A foreign type, by its name, written by its own rules: it cannot evolve.
    Opaque(String),
    /// A type inside itself: the enclosing struct or enum, counted outwards from 0, the innermost.
    Recursive {
        name: String,
        levels: u64,
    },
}

mod display;

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
    /// The structs and enums whose schemas are being made, outermost first.
    static OPEN: RefCell<Vec<TypeId>> = const { RefCell::new(Vec::new()) };
}

/// Closes the innermost open type when dropped, also by a panic.
struct Open;

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.with_borrow_mut(Vec::pop);
    }
}

/// The schema of a struct or enum; where the type contains itself, it is [`Schema::Recursive`]. For the derives, and for
/// codecs written by hand.
pub fn named<T: 'static>(name: &str, schema: impl FnOnce() -> Schema) -> Schema {
    let id = TypeId::of::<T>();
    let levels = OPEN.with_borrow(|open| open.iter().rev().position(|enclosing| *enclosing == id));
    if let Some(levels) = levels {
        return Schema::Recursive { name: name.to_owned(), levels: levels as u64 };
    }
    OPEN.with_borrow_mut(|open| open.push(id));
    let _open = Open;
    schema()
}

fn encode_fields(fields: &[Field], out: &mut Vec<u8>) {
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

fn decode_fields(input: &mut &[u8]) -> Result<Vec<Field>, CodecError> {
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
            Self::Recursive { name, levels } => {
                out.push(41);
                name.encode(out);
                write_varint(*levels, out);
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
                41 => Self::Recursive { name: String::decode(input)?, levels: read_varint(input, "schema")? },
                _ => return Err(CodecError::invalid("schema", format!("no type {code}"))),
            })
        })
    }

    /// A number that is the same for equal schemas and, but for chance, for no others. Frozen.
    pub fn fingerprint(&self) -> u64 {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        KeyHash::of(&bytes).bits()
    }

    /// Whether state written with this schema can be read with `reader`: everything is the same but for the names of
    /// structs and enums, which may change. (Names of fields and variants may not: they tell the parts apart.)
    pub fn compatible_with(&self, reader: &Self) -> bool {
        let all = |ours: &[Field], theirs: &[Field]| {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|(our, their)| our.0 == their.0 && our.1.compatible_with(&their.1))
        };
        match (self, reader) {
            (Self::Option(ours), Self::Option(theirs))
            | (Self::Vec(ours), Self::Vec(theirs))
            | (Self::Set(ours), Self::Set(theirs)) => ours.compatible_with(theirs),
            (Self::Array(ours, length), Self::Array(theirs, other)) => {
                length == other && ours.compatible_with(theirs)
            }
            (Self::Map(key, value), Self::Map(other_key, other_value)) => {
                key.compatible_with(other_key) && value.compatible_with(other_value)
            }
            (Self::Tuple(ours), Self::Tuple(theirs)) => {
                ours.len() == theirs.len()
                    && ours.iter().zip(theirs).all(|(our, their)| our.compatible_with(their))
            }
            (Self::Struct { fields, .. }, Self::Struct { fields: others, .. }) => all(fields, others),
            (Self::Enum { variants, .. }, Self::Enum { variants: others, .. }) => {
                variants.len() == others.len()
                    && variants
                        .iter()
                        .zip(others)
                        .all(|(our, their)| our.0 == their.0 && all(&our.1, &their.1))
            }
            (Self::Recursive { levels, .. }, Self::Recursive { levels: others, .. }) => levels == others,
            _ => self == reader,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    mod other {
        /// Another type of the same name, in which the first stands.
        #[derive(Clone, crate::Data)]
        pub struct Tree {
            pub inner: Vec<super::Tree>,
            pub own: Vec<Tree>,
        }
    }

    #[derive(Clone, crate::Data)]
    struct Tree {
        left: Option<Box<Tree>>,
        others: Vec<other::Tree>,
    }

    #[test]
    fn a_type_inside_itself_says_which_type_it_is() {
        let recursive = |levels| Schema::Recursive { name: "Tree".to_owned(), levels };
        let vec = |schema| Schema::Vec(Box::new(schema));
        let inner = vec![("inner".to_owned(), vec(recursive(1))), ("own".to_owned(), vec(recursive(0)))];
        let other = Schema::Struct { name: "Tree".to_owned(), fields: inner };
        let fields = vec![
            ("left".to_owned(), Schema::Option(Box::new(recursive(0)))),
            ("others".to_owned(), vec(other)),
        ];
        assert_eq!(Tree::schema(), Schema::Struct { name: "Tree".to_owned(), fields });
        // The walk leaves nothing behind.
        assert_eq!(Tree::schema(), Tree::schema());
    }

    #[test]
    fn a_panic_in_a_schema_leaves_nothing_behind() {
        let panicked = std::panic::catch_unwind(|| named::<Tree>("Tree", || panic!("in the middle")));
        assert!(panicked.is_err());
        assert!(matches!(Tree::schema(), Schema::Struct { .. }));
    }

    #[test]
    fn names_of_types_may_change_and_nothing_else() {
        fn user(name: &str, field: &str, at: Schema) -> Schema {
            let fields = vec![(field.to_owned(), Schema::String), ("at".to_owned(), at)];
            Schema::Option(Box::new(Schema::Struct { name: name.to_owned(), fields }))
        }
        let written = user("Click", "user", Schema::I64);
        assert!(written.compatible_with(&user("Visit", "user", Schema::I64)));
        assert!(!written.compatible_with(&user("Click", "name", Schema::I64)));
        assert!(!written.compatible_with(&user("Click", "user", Schema::U64)));
        assert!(!Schema::Vec(Box::new(Schema::U8)).compatible_with(&Schema::Bytes));
        assert_ne!(written, user("Visit", "user", Schema::I64));
    }
}
