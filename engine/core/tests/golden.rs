//! Golden vectors: key encodings, hashes and key groups, record encodings, schemas. They are frozen: checkpoints and
//! savepoints hold these bytes, and the hash says which subtask owns a key. A line may be added to the files; a line that
//! changes orphans every checkpoint there is, so there is no way to rewrite them from here.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use flott_core::data::{Ordered, Serde};
use flott_core::{Data, Key, MaxParallelism, Schema};

#[derive(Clone, PartialEq, Eq, Data, Key)]
struct User {
    name: String,
    id: u64,
}

#[derive(Clone, PartialEq, Eq, Data, Key)]
enum Place {
    Nowhere,
    At { x: i32, y: i32 },
    Named(String, Option<u8>),
}

#[derive(Clone, Data)]
struct Tree {
    value: f64,
    children: Vec<Tree>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A line for a key: what it is, its encoding, its hash, its key group of 128, of 1,000 and of 32,768.
fn key<K: Key>(name: &str, key: &K) -> String {
    let mut bytes = Vec::new();
    key.encode_key(&mut bytes);
    assert!(K::decode_key(&mut bytes.as_slice()).as_ref() == Ok(key), "{name}");
    let hash = key.key_hash();
    let group = |max| hash.group(MaxParallelism::new(max).unwrap()).index();
    let groups = format!("{} {} {}", group(128), group(1000), group(32_768));
    format!("{name} | {} | {:016x} | {groups}", hex(&bytes), hash.bits())
}

/// A line for a record: what it is, and its encoding.
fn record<T: Data>(name: &str, value: &T) -> String {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    let mut again = Vec::new();
    T::decode(&mut bytes.as_slice()).unwrap().encode(&mut again);
    assert_eq!(bytes, again, "{name}");
    format!("{name} | {}", hex(&bytes))
}

/// A line for a schema: what it reads like, its fingerprint, and its encoding.
fn schema(schema: &Schema) -> String {
    let mut bytes = Vec::new();
    schema.encode(&mut bytes);
    assert_eq!(Schema::decode(&mut bytes.as_slice()).as_ref(), Ok(schema));
    format!("{schema} | {:016x} | {}", schema.fingerprint(), hex(&bytes))
}

fn compare(lines: &[String], golden: &str) {
    let found = lines.join("\n");
    assert!(found == golden.trim_end(), "the frozen vectors differ; this build gives:\n{found}");
}

#[test]
fn keys() {
    let text = |text: &str| text.to_owned();
    let lines = [
        key("0_u64", &0_u64),
        key("1_u64", &1_u64),
        key("u64::MAX", &u64::MAX),
        key("-1_i32", &-1_i32),
        key("7_u8", &7_u8),
        key("true", &true),
        key("'ß'", &'ß'),
        key("\"\"", &text("")),
        key("\"a\"", &text("a")),
        key("\"flott\"", &text("flott")),
        key("\"exactly8\"", &text("exactly8")),
        key("\"a\\0b\\1\"", &text("a\0b\u{1}")),
        key("(\"user\", 42_i64)", &(text("user"), 42_i64)),
        key("Some(3_u16)", &Some(3_u16)),
        key("vec![1_u8, 2]", &vec![1_u8, 2]),
        key("Ordered(-0.5_f64)", &Ordered(-0.5_f64)),
        key("u128::MAX", &u128::MAX),
        key("()", &()),
        key("false", &false),
        key("'\\0'", &'\0'),
        key("char::MAX", &char::MAX),
        key("0x1234_u16", &0x1234_u16),
        key("0x12345678_u32", &0x1234_5678_u32),
        key("1_u128 << 64", &(1_u128 << 64)),
        key("i8::MIN", &i8::MIN),
        key("-2_i16", &-2_i16),
        key("0_i64", &0_i64),
        key("i64::MAX", &i64::MAX),
        key("-3_i128", &-3_i128),
        key("5_usize", &5_usize),
        key("-5_isize", &-5_isize),
        key("\"be\"", &text("be")),
        key("\"the\"", &text("the")),
        key("\"seven77\"", &text("seven77")),
        key("\"nine99999\"", &text("nine99999")),
        key("\"fifteen15151515\"", &text("fifteen15151515")),
        key("\"sixteen161616161\"", &text("sixteen161616161")),
        key("\"Grüße, мир\"", &text("Grüße, мир")),
        key("\"x\" * 100", &"x".repeat(100)),
        key("\"\\0\" * 9", &"\0".repeat(9)),
        key("Arc<str> \"flott\"", &Arc::<str>::from("flott")),
        key("Bytes 00 01 02 ff", &Bytes::from_static(&[0, 1, 2, 0xFF])),
        key("None::<String>", &None::<String>),
        key("Some(None::<u8>)", &Some(None::<u8>)),
        key("Vec::<u64>::new()", &Vec::<u64>::new()),
        key("vec![\"a\", \"b\"]", &vec![text("a"), text("b")]),
        key("[1_i16, -1]", &[1_i16, -1]),
        key("Box(9_u32)", &Box::new(9_u32)),
        key("Ordered(0.0_f64)", &Ordered(0.0_f64)),
        key("Ordered(-0.0_f64)", &Ordered(-0.0_f64)),
        key("Ordered(f64::NAN)", &Ordered(f64::NAN)),
        key("Ordered(-f64::NAN)", &Ordered(-f64::NAN)),
        key("Ordered(f64::NEG_INFINITY)", &Ordered(f64::NEG_INFINITY)),
        key("Ordered(1.5_f32)", &Ordered(1.5_f32)),
        key("Ordered(f32::NAN)", &Ordered(f32::NAN)),
        key("(1_u8, true, 'x')", &(1_u8, true, 'x')),
        key("User { \"ada\", 7 }", &User { name: text("ada"), id: 7 }),
        key("Place::Nowhere", &Place::Nowhere),
        key("Place::At { 1, -1 }", &Place::At { x: 1, y: -1 }),
        key("Place::Named(\"home\", Some(1))", &Place::Named(text("home"), Some(1))),
    ];
    compare(&lines, include_str!("golden/keys.txt"));
}

#[test]
fn records() {
    let text = |text: &str| text.to_owned();
    let leaf = |value| Tree { value, children: Vec::new() };
    let lines = [
        record("()", &()),
        record("true", &true),
        record("'ß'", &'ß'),
        record("(1_u8, 2_u16, 3_u32, 4_u64, 5_u128)", &(1_u8, 2_u16, 3_u32, 4_u64, 5_u128)),
        record("(-1_i8, -2_i16, -3_i32, -4_i64, -5_i128)", &(-1_i8, -2_i16, -3_i32, -4_i64, -5_i128)),
        record("(6_usize, -7_isize)", &(6_usize, -7_isize)),
        record("(0.5_f32, -0.5_f64)", &(0.5_f32, -0.5_f64)),
        record("Ordered(-0.0_f64)", &Ordered(-0.0_f64)),
        record("\"Grüße\"", &text("Grüße")),
        record("\"x\" * 130", &"x".repeat(130)),
        record("Bytes 00 ff", &Bytes::from_static(&[0, 0xFF])),
        record("Some(\"a\")", &Some(text("a"))),
        record("None::<u64>", &None::<u64>),
        record("vec![1_u16, 2]", &vec![1_u16, 2]),
        record("vec![(); 3]", &vec![(); 3]),
        record("vec![Box(1_u8)]", &vec![Box::new(1_u8)]),
        record("[1_u16, 2, 3]", &[1_u16, 2, 3]),
        record("BTreeMap {1: \"a\", 2: \"\"}", &BTreeMap::from([(1_u8, text("a")), (2, text(""))])),
        record("BTreeSet {3, 4}", &BTreeSet::from([3_i8, 4])),
        record("User { \"ada\", 7 }", &User { name: text("ada"), id: 7 }),
        record("Place::Nowhere", &Place::Nowhere),
        record("Place::At { 1, -1 }", &Place::At { x: 1, y: -1 }),
        record("Place::Named(\"home\", None)", &Place::Named(text("home"), None)),
        record("Tree", &Tree { value: 1.0, children: vec![leaf(2.0), leaf(3.0)] }),
        record("Serde((1, \"a\", None))", &Serde((1_u8, text("a"), None::<u8>))),
    ];
    compare(&lines, include_str!("golden/records.txt"));
}

#[test]
fn schemas() {
    type Numbers = (u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);
    type Others = (bool, char, (), usize, isize, Ordered<f64>);
    type Containers = (Option<String>, Vec<Bytes>, BTreeSet<u8>, [u8; 300], BTreeMap<String, Box<u8>>);
    let lines = [
        schema(&Numbers::schema()),
        schema(&Others::schema()),
        schema(&Containers::schema()),
        schema(&User::schema()),
        schema(&Place::schema()),
        schema(&Tree::schema()),
        schema(&Serde::<u8>::schema()),
    ];
    compare(&lines, include_str!("golden/schemas.txt"));
}
