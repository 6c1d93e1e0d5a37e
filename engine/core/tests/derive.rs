//! The derives, over every shape of type.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![deny(warnings, reason = "what the derives write gives users no warnings")]

use std::collections::HashMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use flott_core::{Data, Key, KeyHash};

fn encoded<T: Data>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

fn check<T: Data + PartialEq + Debug>(value: &T, bytes: &[u8], schema: &str) {
    assert_eq!(encoded(value), bytes);
    assert!(bytes.len() >= T::MIN_ENCODED);
    assert_eq!(T::decode(&mut &bytes[..]).as_ref(), Ok(value));
    assert_eq!(T::schema().to_string(), schema);
    for cut in 0..bytes.len() {
        assert!(T::decode(&mut &bytes[..cut]).is_err());
    }
}

fn check_key<K: Key + Debug>(key: &K, bytes: &[u8]) {
    let mut written = Vec::new();
    key.encode_key(&mut written);
    assert_eq!(written, bytes);
    assert_eq!(K::decode_key(&mut &bytes[..]).as_ref(), Ok(key));
    assert_eq!(key.key_hash(), KeyHash::of(bytes));
    for cut in 0..bytes.len() {
        assert!(K::decode_key(&mut &bytes[..cut]).is_err());
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Data, Key)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Eq, Data, Key)]
struct Empty {}

#[derive(Clone, Debug, PartialEq, Eq, Data, Key)]
struct Pair(u16, String);

#[derive(Clone, Debug, PartialEq, Eq, Data, Key)]
struct Named {
    r#type: u8,
    out: i8,
    input: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Data, Key)]
enum Shape {
    Empty,
    Circle { radius: u8 },
    Pair(u8, Option<String>),
    Braces {},
}

#[derive(Clone, Debug, PartialEq, Eq, Data, Key)]
#[repr(u8)]
enum Far {
    // The position counts, not the number that the program gives.
    Second = 200,
    First = 7,
}

#[derive(Clone, Debug, PartialEq, Eq, Data, Key)]
struct Generic<T: Ord = u8, const N: usize = 2>
where
    T: Debug,
{
    values: [T; N],
    marker: PhantomData<T>,
}

#[derive(Clone, Debug, PartialEq, Data)]
struct Holder<K, V>
where
    K: std::hash::Hash + Eq,
{
    map: HashMap<K, Vec<V>>,
    rest: Option<Box<Holder<K, V>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Data, Key)]
enum Either<L, R> {
    Left(L),
    Right(R),
}

#[test]
fn structs() {
    check(&Unit, &[], "{}");
    check(&Empty {}, &[], "{}");
    check(&Pair(1, "a".into()), &[1, 0, 1, b'a'], "(u16, string)");
    check(&Named { r#type: 1, out: -1, input: true }, &[1, 255, 1], "{type: u8, out: i8, input: bool}");
    check_key(&Unit, &[]);
    check_key(&Empty {}, &[]);
    check_key(&Pair(1, "a".into()), &[0, 1, b'a', 0]);
    check_key(&Named { r#type: 1, out: -1, input: true }, &[1, 127, 1]);
}

#[test]
fn enums() {
    let schema = "<Empty | Circle{radius: u8} | Pair(u8, option<string>) | Braces>";
    check(&Shape::Empty, &[0], schema);
    check(&Shape::Circle { radius: 3 }, &[1, 3], schema);
    check(&Shape::Pair(4, Some("x".into())), &[2, 4, 1, 1, b'x'], schema);
    check(&Shape::Braces {}, &[3], schema);
    check(&Far::First, &[1], "<Second | First>");
    check_key(&Shape::Circle { radius: 3 }, &[0, 0, 0, 1, 3]);
    check_key(&Shape::Pair(4, None), &[0, 0, 0, 2, 4, 0]);
    check_key(&Far::Second, &[0, 0, 0, 0]);
    assert_eq!(
        Shape::decode(&mut [4].as_slice()).unwrap_err().to_string(),
        "the encoded Shape is not valid: no variant 4"
    );
    assert!(Shape::decode_key(&mut [0, 0, 1, 0].as_slice()).is_err());
    assert!(Shape::decode(&mut [0xFF; 10].as_slice()).is_err());
}

#[test]
fn generics() {
    let generic = Generic::<u16, 3> { values: [1, 2, 3], marker: PhantomData };
    check(&generic, &[1, 0, 2, 0, 3, 0], "{values: [u16; 3], marker: unit}");
    check_key(&generic, &[0, 1, 0, 2, 0, 3]);
    let holder = Holder { map: HashMap::from([(1_u8, vec![2_u8])]), rest: None };
    let holder = Holder { map: HashMap::new(), rest: Some(Box::new(holder)) };
    check(&holder, &[0, 1, 1, 1, 1, 2, 0], "{map: map<u8, vec<u8>>, rest: option<^Holder>}");
    check(&Either::<u8, String>::Left(1), &[0, 1], "<Left(u8) | Right(string)>");
    check_key(&Either::<u8, String>::Right("a".into()), &[0, 0, 0, 1, b'a', 0]);
}

#[test]
fn constants_and_sizes_are_those_of_the_fields() {
    assert_eq!((Pair::MIN_ENCODED, Pair::FIXED_SIZE), (3, false));
    assert_eq!((Named::MIN_ENCODED, Named::FIXED_SIZE), (3, true));
    assert_eq!((Shape::MIN_ENCODED, Shape::FIXED_SIZE), (1, false));
    assert_eq!((<Either<u8, u64>>::MIN_ENCODED, <Either<u8, u64>>::FIXED_SIZE), (2, true));
    assert_eq!((Far::MIN_ENCODED, Far::FIXED_SIZE), (1, true));
    assert_eq!(Unit::MIN_ENCODED, 0);
    assert_eq!(Pair(1, "x".repeat(10)).size_estimate(), size_of::<Pair>() + 10);
    assert_eq!(Shape::Pair(1, Some("x".repeat(10))).size_estimate(), size_of::<Shape>() + 10);
    assert_eq!(Shape::Empty.size_estimate(), size_of::<Shape>());
}

/// A program may have names of its own for everything the derives write.
#[test]
fn names_of_the_program_do_not_get_in_the_way() {
    #![allow(dead_code, non_snake_case, non_camel_case_types, reason = "the names are what is tested")]
    struct Vec;
    struct Option;
    struct Result;
    struct u64;
    trait Data {}
    fn Ok() {}
    fn Err() {}

    #[derive(Clone, Debug, PartialEq, Eq, flott_core::Data, flott_core::Key)]
    enum Plain {
        Ok { field_0: u8, unknown: u8 },
        Err,
    }

    check(&Plain::Ok { field_0: 1, unknown: 2 }, &[0, 1, 2], "<Ok{field_0: u8, unknown: u8} | Err>");
    check_key(&Plain::Err, &[0, 0, 0, 1]);
}
