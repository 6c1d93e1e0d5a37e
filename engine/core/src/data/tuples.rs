//! `Data` and `Key` of tuples of up to twelve parts: the parts in order.

use super::{Data, heap_bytes};
use crate::codec::CodecError;
use crate::key::Key;
use crate::schema::Schema;

macro_rules! tuples {
    ($(($($name:ident $index:tt),+);)*) => {$(
        impl<$($name: Data),+> Data for ($($name,)+) {
            const MIN_ENCODED: usize = 0 $(+ $name::MIN_ENCODED)+;
            const FIXED_SIZE: bool = true $(&& $name::FIXED_SIZE)+;

            fn schema() -> Schema {
                Schema::Tuple(vec![$($name::schema()),+])
            }

            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$index.encode(out);)+
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(($($name::decode(input)?,)+))
            }

            #[inline]
            fn size_estimate(&self) -> usize {
                size_of::<Self>() $(+ heap_bytes(&self.$index))+
            }
        }

        impl<$($name: Key),+> Key for ($($name,)+) {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                $(self.$index.encode_key(out);)+
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(($($name::decode_key(input)?,)+))
            }
        }
    )*};
}

tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
}
