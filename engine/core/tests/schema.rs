//! The encoding of schemas: what is written is read, and nothing else is, within bounds.

use flott_core::{CodecError, Schema};
use flott_fuzz::Decoder;
use proptest::collection::vec;
use proptest::prelude::*;

fn any_schema() -> impl Strategy<Value = Schema> {
    let leaf = prop_oneof![
        Just(Schema::Unit),
        Just(Schema::Char),
        Just(Schema::U64),
        Just(Schema::F64),
        Just(Schema::Bytes),
        "[a-z:<>]{0,12}".prop_map(Schema::Opaque),
        ("[A-Z]{1,3}", any::<u64>()).prop_map(|(name, levels)| Schema::Recursive { name, levels }),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let fields = || vec(("[a-z]{0,4}", inner.clone()), 0..4);
        prop_oneof![
            boxed.clone().prop_map(Schema::Option),
            boxed.clone().prop_map(Schema::Vec),
            boxed.clone().prop_map(Schema::Set),
            (boxed.clone(), any::<u64>()).prop_map(|(inner, length)| Schema::Array(inner, length)),
            (boxed.clone(), boxed).prop_map(|(key, value)| Schema::Map(key, value)),
            vec(inner.clone(), 0..4).prop_map(Schema::Tuple),
            ("[A-Z]{1,3}", fields()).prop_map(|(name, fields)| Schema::Struct { name, fields }),
            ("[A-Z]{1,3}", vec(("[A-Z]{1,3}", fields()), 0..4))
                .prop_map(|(name, variants)| Schema::Enum { name, variants }),
        ]
    })
}

fn encoded(schema: &Schema) -> Vec<u8> {
    let mut bytes = Vec::new();
    schema.encode(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn a_schema_is_read_as_it_was_written(schema in any_schema(), other in any_schema()) {
        let mut bytes = encoded(&schema);
        for cut in 0..bytes.len() {
            prop_assert!(Schema::decode(&mut &bytes[..cut]).is_err());
        }
        bytes.push(7);
        let mut input = bytes.as_slice();
        prop_assert_eq!(Schema::decode(&mut input), Ok(schema.clone()));
        prop_assert_eq!(input, [7]);
        prop_assert_eq!(schema.fingerprint() == other.fingerprint(), schema == other);
        prop_assert!(schema.compatible_with(&schema));
        prop_assert_eq!(schema.compatible_with(&other), other.compatible_with(&schema));
        prop_assert!(!schema.to_string().contains('\n'));
    }
}

#[test]
fn fuzz_state_schemas() {
    let fields = vec![("a".to_owned(), Schema::Vec(Box::new(Schema::U64))), ("b".to_owned(), Schema::Bytes)];
    let samples = [
        Schema::Map(Box::new(Schema::String), Box::new(Schema::Tuple(vec![Schema::Char, Schema::Unit]))),
        Schema::Struct { name: "S".to_owned(), fields: fields.clone() },
        Schema::Enum {
            name: "E".to_owned(),
            variants: vec![("V".to_owned(), fields), ("W".to_owned(), Vec::new())],
        },
        Schema::Array(Box::new(Schema::Recursive { name: "R".to_owned(), levels: 1 }), 7),
    ];
    let decoder =
        samples.iter().fold(Decoder::new("schemas"), |decoder, schema| decoder.sample(encoded(schema)));
    decoder.bytes(|bytes| {
        if let Ok(schema) = Schema::decode(&mut &*bytes) {
            assert_eq!(Schema::decode(&mut encoded(&schema).as_slice()), Ok(schema));
        }
    });
}

#[test]
fn a_schema_of_endless_depth_or_length_is_refused() {
    let code_of_option = encoded(&Schema::Option(Box::new(Schema::U8)))[0];
    let endless = vec![code_of_option; 1 << 20];
    assert!(matches!(Schema::decode(&mut endless.as_slice()), Err(CodecError::Invalid { .. })));
    let code_of_tuple = encoded(&Schema::Tuple(Vec::new()))[0];
    let mut endless = vec![code_of_tuple];
    flott_core::codec::write_varint(1 << 50, &mut endless);
    assert!(Schema::decode(&mut endless.as_slice()).is_err());
}
