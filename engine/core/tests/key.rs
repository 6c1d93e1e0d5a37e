//! Keys: equal bytes exactly when equal, byte order is value order, and each quick hash is the hash of the encoding.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use flott_core::codec::MAX_DEPTH;
use flott_core::data::Ordered;
use flott_core::{Data, Key, KeyHash};
use proptest::collection::vec;
use proptest::prelude::*;

fn encoded<K: Key>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode_key(&mut bytes);
    bytes
}

fn check_one<K: Key + Debug>(key: &K) {
    let mut bytes = encoded(key);
    assert_eq!(key.key_hash(), KeyHash::of(&bytes), "{key:?}");
    for cut in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
        assert!(K::decode_key(&mut &bytes[..cut]).is_err(), "{key:?} from {cut} bytes");
    }
    bytes.extend_from_slice(b"rest");
    let mut input = bytes.as_slice();
    assert_eq!(K::decode_key(&mut input).as_ref(), Ok(key));
    assert_eq!(input, b"rest");
}

fn check<K: Key + Ord + Debug>(a: &K, b: &K) {
    check_one(a);
    let (a_bytes, b_bytes) = (encoded(a), encoded(b));
    assert_eq!(a_bytes == b_bytes, a == b, "{a:?} {b:?}");
    assert_eq!(a_bytes.cmp(&b_bytes), a.cmp(b), "{a:?} {b:?}");
    // Also where other parts follow: no encoding is the beginning of another.
    let (a_bytes, b_bytes) = (encoded(&(a.clone(), 9_u8)), encoded(&(b.clone(), 3_u8)));
    assert_eq!(a_bytes.cmp(&b_bytes), (a, 9).cmp(&(b, 3)), "{a:?} {b:?}");
}

/// Reads garbage; a key has one encoding, so what can be read is written the same again.
fn feed<K: Key + Debug>(bytes: &[u8]) {
    let mut input = bytes;
    if let Ok(key) = K::decode_key(&mut input) {
        assert_eq!(encoded(&key), bytes[..bytes.len() - input.len()], "{key:?}");
        check_one(&key);
    }
}

/// Two keys, near each other more often than by chance.
fn two<K: Arbitrary + Clone + Debug>() -> impl Strategy<Value = (K, K)> {
    prop_oneof![any::<(K, K)>(), any::<K>().prop_map(|key| (key.clone(), key))]
}

macro_rules! every_type {
    ($($name:ident: $type:ty;)*) => {
        proptest! {
            $(
                #[test]
                fn $name((a, b) in two::<$type>(), garbage in vec(prop_oneof![0_u8..4, any::<u8>()], 0..64)) {
                    check(&a, &b);
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
    shorts: u16;
    words: u32;
    longs: u64;
    wide: u128;
    signed_bytes: i8;
    signed_shorts: i16;
    signed_words: i32;
    signed_longs: i64;
    signed_wide: i128;
    sizes: usize;
    signed_sizes: isize;
    strings: String;
    boxed_strings: Box<str>;
    shared_strings: Arc<str>;
    options: Option<Option<u8>>;
    boxes: Box<(Arc<i8>, bool)>;
    vectors: Vec<Vec<u8>>;
    vectors_of_strings: Vec<String>;
    arrays: [(u8, String); 2];
    long_arrays: [i16; 9];
    tuples: (u8, i16, u64, i128, bool, char, Option<u32>, Vec<i8>);
    markers: (PhantomData<f64>, u8);
}

proptest! {
    #[test]
    fn text_with_zeros_and_ones(
        a in vec(prop_oneof![0_u8..4, Just(0x7F), Just(b'a')], 0..24),
        b in vec(prop_oneof![0_u8..4, Just(0x7F), Just(b'a')], 0..24),
        garbage in vec(prop_oneof![0_u8..4, any::<u8>()], 0..64),
    ) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        check(&text(&a), &text(&b));
        check(&Cow::<'static, str>::Owned(text(&a)), &Cow::Owned(text(&b)));
        check(&Bytes::from(a), &Bytes::from(b));
        feed::<Bytes>(&garbage);
        feed::<Cow<'static, str>>(&garbage);
    }

    #[test]
    fn floats(a in any::<f64>(), b in any::<u64>(), c in any::<u32>(), garbage in any::<[u8; 8]>()) {
        let (b, c) = (f64::from_bits(b), f32::from_bits(c));
        let special = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::MAX];
        for other in [b].into_iter().chain(special) {
            check(&Ordered(a), &Ordered(other));
            check(&Ordered(other), &Ordered(b));
            check(&Ordered(c), &Ordered(other as f32));
            if let Some(order) = a.partial_cmp(&other) {
                prop_assert_eq!(Ordered(a).cmp(&Ordered(other)), order);
            }
        }
        feed::<Ordered<f64>>(&garbage);
        feed::<Ordered<f32>>(&garbage);
    }
}

#[test]
fn floats_at_the_edges() {
    assert_eq!(Ordered(0.0_f64), Ordered(-0.0));
    assert_eq!(Ordered(f32::NAN), Ordered(-f32::NAN));
    assert!(Ordered(f64::NAN) > Ordered(f64::INFINITY));
    // What two encodings would mean has only one.
    assert!(<Ordered<f64>>::decode_key(&mut (!(-0.0_f64).to_bits()).to_be_bytes().as_slice()).is_err());
    assert!(<Ordered<f64>>::decode_key(&mut [0xFF; 8].as_slice()).is_err());
    assert!(<Ordered<f32>>::decode_key(&mut [0x00; 4].as_slice()).is_err());
}

#[test]
fn strings_of_every_short_length_hash_as_their_encoding() {
    for length in 0..70 {
        for filler in ["a", "\u{0}", "\u{1}", "\u{2}", "\u{7f}", "ß", "🦀"] {
            check_one(&filler.repeat(length));
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Data, Key)]
enum Path {
    Root,
    Child { of: Box<Path>, name: String },
    Links(Vec<Path>),
}

fn path(depth: u32) -> Path {
    (0..depth).fold(Path::Root, |of, _| Path::Child { of: Box::new(of), name: "x".to_owned() })
}

#[test]
fn keys_that_hold_themselves_are_bounded_too() {
    check(&path(MAX_DEPTH), &path(3));
    check(&Path::Links(vec![path(2), Path::Root]), &Path::Links(vec![path(2)]));
    assert!(std::panic::catch_unwind(|| path(MAX_DEPTH + 1).key_hash()).is_err());
    check_one(&path(1));
    let endless = [0, 0, 0, 1].repeat(100_000);
    assert!(Path::decode_key(&mut endless.as_slice()).is_err());
    let endless = [0, 0, 0, 2, 1].repeat(100_000);
    assert!(Path::decode_key(&mut endless.as_slice()).is_err());
}

#[test]
fn a_key_may_be_hashed_while_another_is() {
    #[derive(Clone, Debug, PartialEq, Eq, Data)]
    struct Sealed(Vec<u16>);

    impl Key for Sealed {
        fn encode_key(&self, out: &mut Vec<u8>) {
            self.0.encode_key(out);
            self.0.key_hash().bits().encode_key(out);
        }

        fn decode_key(input: &mut &[u8]) -> Result<Self, flott_core::CodecError> {
            let key = Self(Key::decode_key(input)?);
            u64::decode_key(input).map(|_| key)
        }
    }

    check_one(&Sealed(vec![1, 2, 3]));
    check_one(&Sealed(vec![7; 10_000]));
}

#[test]
fn fuzz_state_keys() {
    type K = (String, i64, Option<Vec<u8>>, bool, char);
    let key: K = ("a\0b".to_owned(), -7, Some(vec![0, 1, 255]), true, 'ü');
    flott_fuzz::Decoder::new("keys").sample(encoded(&key)).bytes(feed::<K>);
}
