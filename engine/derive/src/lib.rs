//! The derives of `Data` and `Key`; used through `flott_core` or the facade `flott`.
//!
//! A struct's fields are encoded in their order; an enum's variant by its position, then its fields.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by a panic"))]

mod expand;
mod paths;
mod shape;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Derives `Data`: schema, codec and size estimate, field by field.
#[proc_macro_derive(Data)]
pub fn derive_data(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::data(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Derives `Key`: the canonical encoding, field by field.
#[proc_macro_derive(Key)]
pub fn derive_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::key(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
