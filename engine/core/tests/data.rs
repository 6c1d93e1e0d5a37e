//! The record codec: what is written is read, whatever is read never panics, and equal schemas mean equal bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::panic::catch_unwind;
use std::sync::Arc;

use bytes::Bytes;
use flott_core::codec::MAX_DEPTH;
use flott_core::data::{Ordered, Serde};
use flott_core::{CodecError, Data};
use flott_fuzz::Decoder;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

fn encoded<T: Data>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0xAA];
    value.encode(&mut bytes);
    bytes.remove(0);
    bytes
}

/// Writes and reads `value`, alone, before other bytes, and cut short.
fn check<T: Data + PartialEq + Debug>(value: &T) {
    let mut bytes = encoded(value);
    assert!(bytes.len() >= T::MIN_ENCODED, "{value:?} takes {} bytes", bytes.len());
    assert!(value.size_estimate() >= size_of_val(value).min(1), "{value:?}");
    for cut in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
        assert!(T::decode(&mut &bytes[..cut]).is_err(), "{value:?} from {cut} bytes");
    }
    bytes.extend_from_slice(b"rest");
    let mut input = bytes.as_slice();
    assert_eq!(T::decode(&mut input).as_ref(), Ok(value));
    assert_eq!(input, b"rest");
}

/// Reads garbage; what can be read at all is read the same again.
fn feed<T: Data + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(value) = T::decode(&mut &bytes[..]) {
        check(&value);
    }
}

macro_rules! every_type {
    ($($name:ident: $type:ty;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(64))]
            $(
                #[test]
                fn $name(value in any::<$type>(), garbage in vec(prop_oneof![0_u8..4, any::<u8>()], 0..96)) {
                    check(&value);
                    feed::<$type>(&garbage);
                }
            )*
        }
    };
}

every_type! {
    units: ();
    bools: bool;
    chars: char;
    bytes: u8;
    shorts: (u16, i16);
    numbers: (u32, i32, u64, i64);
    wide_numbers: (u128, i128, usize, isize);
    strings: String;
    boxed_strings: Box<str>;
    shared_strings: Arc<str>;
    options: Option<Option<u8>>;
    vectors: Vec<String>;
    vectors_of_bytes: Vec<u8>;
    vectors_of_numbers: Vec<(Vec<u16>, Vec<i128>)>;
    vectors_of_boxes: Vec<Box<u32>>;
    vectors_of_units: Vec<()>;
    vectors_of_boxed_units: Vec<(Box<()>, PhantomData<String>)>;
    shared: Arc<(Arc<u64>, String)>;
    arrays: [[u32; 3]; 2];
    arrays_of_strings: [String; 3];
    empty_arrays: Vec<[u64; 0]>;
    maps: BTreeMap<String, Vec<u8>>;
    hash_maps: HashMap<u32, Option<String>>;
    sets: BTreeSet<(u8, bool)>;
    hash_sets: HashSet<String>;
    sets_of_units: (BTreeSet<()>, HashSet<Box<()>>, BTreeMap<(), ()>);
    sets_of_boxes: BTreeSet<Box<u16>>;
    four: (u8, u8, u8, u8);
}

proptest! {
    #[test]
    fn floats_keep_their_bits(bits in any::<(u32, u64)>()) {
        let value = (f32::from_bits(bits.0), f64::from_bits(bits.1), Ordered(f64::from_bits(bits.1)));
        let bytes = encoded(&value);
        let (single, double, ordered) = <(f32, f64, Ordered<f64>)>::decode(&mut bytes.as_slice()).unwrap();
        prop_assert_eq!((single.to_bits(), double.to_bits(), ordered.0.to_bits()), (bits.0, bits.1, bits.1));
    }

    #[test]
    fn shared_bytes_and_borrowed_text(bytes in vec(any::<u8>(), 0..300), text in any::<String>()) {
        check(&Bytes::from(bytes.clone()));
        check(&Cow::<'static, str>::Owned(text));
        feed::<Bytes>(&bytes);
        feed::<Cow<'static, str>>(&bytes);
    }

    #[test]
    fn types_of_equal_schemas_read_each_other(numbers in vec(any::<u32>(), 0..20), text in any::<String>(), bytes in vec(any::<u8>(), 0..40)) {
        let boxed: Vec<Box<u32>> = numbers.iter().copied().map(Box::new).collect();
        prop_assert_eq!(<Vec<Box<u32>>>::schema(), <Vec<u32>>::schema());
        prop_assert_eq!(encoded(&boxed), encoded(&numbers));
        prop_assert_eq!(<Arc<str>>::schema(), String::schema());
        prop_assert_eq!(encoded(&Arc::<str>::from(text.as_str())), encoded(&text));
        prop_assert_eq!(encoded(&Bytes::from(bytes.clone())), encoded(&bytes));
        prop_assert_eq!(usize::schema(), u64::schema());
        prop_assert_eq!(encoded(&text.len()), encoded(&(text.len() as u64)));
    }
}

#[test]
fn the_largest_tuple() {
    check(&(1_u8, 2_u16, 3_u32, 4_u64, 5_i8, 6_i16, 7_i32, 8_i64, true, 'x', "y".to_owned(), Some(12_u8)));
}

#[test]
fn what_is_no_value_of_the_type_is_named() {
    fn refusal<T: Data + Debug>(bytes: &[u8]) -> String {
        T::decode(&mut &bytes[..]).unwrap_err().to_string()
    }
    assert_eq!(refusal::<bool>(&[2]), "the encoded bool is not valid: neither 0 nor 1 but 2");
    assert_eq!(refusal::<Option<u8>>(&[9, 1]), "the encoded option is not valid: neither 0 nor 1 but 9");
    assert_eq!(
        refusal::<char>(&0xD800_u32.to_le_bytes()),
        "the encoded char is not valid: no character 0xd800"
    );
    assert!(
        refusal::<String>(&[2, 0xC3, 0x28]).starts_with("the encoded string is not valid: invalid utf-8")
    );
    assert_eq!(refusal::<u64>(&[0; 5]), "the encoded u64 ends early: 3 more bytes expected");
    assert_eq!(refusal::<BTreeSet<u8>>(&[2, 7, 7]), "the encoded set is not valid: the same key twice");
    assert_eq!(refusal::<HashMap<u8, ()>>(&[2, 7, 7]), "the encoded map is not valid: the same key twice");
}

#[test]
fn a_length_that_the_input_does_not_hold_allocates_nothing_and_ends_at_once() {
    fn refused<T: Data>() {
        // The largest length, one in the range of what might be allocated, and some bytes to read.
        for length in [u64::MAX, 1 << 40, 1 << 28] {
            let mut bytes = Vec::new();
            flott_core::codec::write_varint(length, &mut bytes);
            bytes.extend_from_slice(&[0; 16]);
            assert!(T::decode(&mut bytes.as_slice()).is_err(), "{}", std::any::type_name::<T>());
        }
    }
    refused::<String>();
    refused::<Bytes>();
    refused::<Vec<u8>>();
    refused::<Vec<u128>>();
    refused::<Vec<String>>();
    refused::<Vec<()>>();
    refused::<Vec<Box<u8>>>();
    refused::<Vec<[Box<()>; 1000]>>();
    refused::<HashMap<(), u8>>();
    refused::<HashMap<Box<u8>, Box<u8>>>();
    refused::<BTreeSet<()>>();
    refused::<HashSet<Box<u8>>>();
    refused::<Serde<Vec<String>>>();
}

#[derive(Clone, Debug, PartialEq, Data)]
enum List {
    Nil,
    Cons(u8, Box<List>),
}

#[derive(Clone, Debug, PartialEq, Data)]
struct Tree {
    /// Makes the frames of a decoder large.
    label: [u64; 16],
    children: Vec<Tree>,
    named: HashMap<String, Arc<Tree>>,
}

fn list(length: u32) -> List {
    (0..length).fold(List::Nil, |rest, n| List::Cons(n as u8, Box::new(rest)))
}

fn chain(depth: u32) -> Tree {
    let leaf = || Tree { label: [7; 16], children: Vec::new(), named: HashMap::new() };
    (0..depth).fold(leaf(), |inner, n| match n % 2 {
        0 => Tree { children: vec![inner], ..leaf() },
        _ => Tree { named: HashMap::from([("a".to_owned(), Arc::new(inner))]), ..leaf() },
    })
}

#[test]
fn a_type_may_hold_itself_up_to_a_depth() {
    check(&list(MAX_DEPTH));
    check(&list(0));
    let tree = chain(40);
    assert_eq!(Tree::decode(&mut encoded(&tree).as_slice()), Ok(tree));
}

#[test]
fn what_is_too_deep_to_be_read_is_not_written() {
    let refused = catch_unwind(|| encoded(&list(MAX_DEPTH + 1))).unwrap_err();
    let message = refused.downcast_ref::<String>().unwrap();
    assert!(message.contains("nested deeper than 200"), "{message}");
    // The next value is not held to account for it.
    check(&list(MAX_DEPTH));
}

#[test]
fn bytes_cannot_exhaust_the_stack() {
    const STACK: usize = 1 << 20;
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(|| {
            let endless_list = [1, 0].repeat(1 << 20);
            assert!(List::decode(&mut endless_list.as_slice()).is_err());
            let mut level = vec![0; 128];
            level.push(1);
            let endless_tree = level.repeat(10_000);
            let error = Tree::decode(&mut endless_tree.as_slice()).unwrap_err();
            assert!(matches!(error, CodecError::Invalid { what: "vector", .. }), "{error}");
        })
        .unwrap()
        .join()
        .unwrap();
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Foreign {
    Nothing,
    #[serde(skip)]
    _Internal,
    Number(i128),
    Nested(Box<Foreign>),
    Record {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        maybe: Option<String>,
        #[serde(flatten)]
        rest: BTreeMap<String, Either>,
        bytes: Vec<u8>,
    },
    Map(BTreeMap<(u8, char), f64>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(u64),
    Text(String),
    Point { x: f32, y: f32 },
}

#[test]
fn foreign_types_travel_whatever_serde_makes_of_them() {
    let rest = BTreeMap::from([
        ("a".to_owned(), Either::Number(u64::MAX)),
        ("b".to_owned(), Either::Text(String::new())),
        ("c".to_owned(), Either::Point { x: 0.5, y: -1.0 }),
    ]);
    let values = [
        Foreign::Nothing,
        Foreign::Number(i128::MIN),
        Foreign::Nested(Box::new(Foreign::Nested(Box::new(Foreign::Nothing)))),
        Foreign::Record { maybe: None, rest: rest.clone(), bytes: vec![0; 300] },
        Foreign::Record { maybe: Some("x".into()), rest, bytes: vec![] },
        Foreign::Map(BTreeMap::from([((1, 'ß'), 0.1)])),
    ];
    for value in values {
        let value = Serde(value);
        check(&value);
        assert!(value.size_estimate() > size_of::<Foreign>());
    }
}

#[test]
fn a_foreign_value_that_cannot_be_written_is_not_lost_in_silence() {
    let unwritable = Serde(Foreign::_Internal);
    let refused = catch_unwind(|| encoded(&unwritable)).unwrap_err();
    let message = refused.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("cannot encode a value of type data::Foreign: "), "{message}");
}

fn nested_foreign(levels: usize) -> Foreign {
    (0..levels).fold(Foreign::Nothing, |inner, _| Foreign::Nested(Box::new(inner)))
}

#[test]
fn foreign_values_nest_up_to_a_depth() {
    check(&Serde(nested_foreign(128)));
    assert!(catch_unwind(|| encoded(&Serde(nested_foreign(129)))).is_err());
}

#[test]
fn foreign_bytes_cannot_exhaust_the_stack() {
    // {"Nested": {"Nested": …
    let mut level = vec![0x81, 0xA6];
    level.extend_from_slice(b"Nested");
    let body = level.repeat(100_000);
    let mut bytes = Vec::new();
    flott_core::codec::write_varint(body.len() as u64, &mut bytes);
    bytes.extend_from_slice(&body);
    let error = Serde::<Foreign>::decode(&mut bytes.as_slice()).unwrap_err();
    assert_eq!(error.to_string(), "the encoded serde value is not valid: nested deeper than 128");
}

proptest! {
    #[test]
    fn foreign_garbage_is_refused_without_a_panic(bytes in vec(any::<u8>(), 0..64), kind in 0x80_u8..0xE0) {
        let mut framed = vec![bytes.len() as u8 + 1, kind];
        framed.extend_from_slice(&bytes);
        let _ = Serde::<Foreign>::decode(&mut framed.as_slice());
        let _ = Serde::<Either>::decode(&mut framed.as_slice());
        let _ = Serde::<Vec<(String, Vec<u64>)>>::decode(&mut framed.as_slice());
    }
}

#[test]
fn sizes_count_what_is_on_the_heap() {
    assert_eq!(7_u64.size_estimate(), 8);
    assert_eq!(("x".repeat(100), 1_u64).size_estimate(), size_of::<(String, u64)>() + 100);
    assert_eq!(vec![1_u32; 10].size_estimate(), size_of::<Vec<u32>>() + 40);
    let nested = vec![Some("x".repeat(50)), None];
    assert_eq!(nested.size_estimate(), size_of::<Vec<u8>>() + 2 * size_of::<Option<String>>() + 50);
    assert_eq!(Box::new([0_u8; 64]).size_estimate(), 8 + 64);
    assert_eq!((<Option<[(u8, char); 3]>>::FIXED_SIZE, <Option<Box<u8>>>::FIXED_SIZE), (true, false));
    assert!(list(10).size_estimate() > 10 * size_of::<List>());
}

#[test]
fn fuzz_state_records() {
    type Record = (String, Vec<Option<u64>>, BTreeMap<String, Vec<u8>>, HashSet<char>, Bytes);
    let map = BTreeMap::from([("a".to_owned(), vec![1, 2, 3]), ("b".to_owned(), Vec::new())]);
    let record: Record =
        ("text".to_owned(), vec![Some(7), None], map, HashSet::from(['x']), Bytes::from_static(b"b"));
    Decoder::new("records").sample(encoded(&record)).bytes(feed::<Record>);
}

#[test]
fn fuzz_state_foreign_records() {
    let sample: Serde<Vec<(String, Vec<u64>)>> = Serde(vec![("a".to_owned(), vec![1, u64::MAX])]);
    Decoder::new("records of serde").sample(encoded(&sample)).bytes(|bytes| {
        let _ = Serde::<Vec<(String, Vec<u64>)>>::decode(&mut &*bytes);
        let _ = Serde::<Foreign>::decode(&mut &*bytes);
        let _ = Serde::<Either>::decode(&mut &*bytes);
    });
}
