//! What the derives write.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{DeriveInput, Error, Generics, parse_quote};

use crate::paths;
use crate::shape::{Shape, Variant};

/// The generics of the type, with `bound` for each type parameter.
fn bounded(input: &DeriveInput, bound: &TokenStream) -> Generics {
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(#bound));
    }
    generics
}

/// The impl of `Data`.
///
/// # Errors
/// What keeps the type from being a record, with its place.
pub fn data(input: &DeriveInput) -> Result<TokenStream, Error> {
    let shape = Shape::of(input, "a record")?;
    let core = paths::core();
    let (ident, name) = (&input.ident, input.ident.unraw().to_string());
    let generics = bounded(input, &quote!(#core::Data));
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let (_, type_generics, _) = input.generics.split_for_impl();

    let tag_bytes = usize::from(shape.is_enum);
    let min_encoded = shape.variants.iter().map(|variant| {
        let types = variant.fields.iter().map(|field| field.ty_as(&core, "Data"));
        quote!(0 #(+ #types::MIN_ENCODED)*)
    });
    let fixed = shape.fields().map(|field| field.ty_as(&core, "Data"));
    let schema = schema(&shape, &core, &name);
    let encode = shape.variants.iter().enumerate().map(|(position, variant)| {
        let (pattern, position) = (variant.pattern(), position as u64);
        let tag = shape.is_enum.then(|| quote!(#core::codec::write_varint(#position, out);));
        let fields = variant.fields.iter().map(|field| {
            let (ty, binding) = (field.ty_as(&core, "Data"), &field.binding);
            quote!(#ty::encode(#binding, out);)
        });
        quote!(#pattern => { #tag #(#fields)* })
    });
    let read_tag = quote!(#core::codec::read_varint(input, #name)?);
    let decode = decode(&shape, &core, &name, "Data", "decode", &read_tag);
    let sizes = shape.variants.iter().map(|variant| {
        let (pattern, bindings) = (variant.pattern(), variant.bindings());
        quote!(#pattern => 0 #(+ #core::data::heap_bytes(#bindings))*)
    });
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #core::Data for #ident #type_generics #where_clause {
            const MIN_ENCODED: usize = #tag_bytes + #core::codec::least(&[#(#min_encoded),*]);
            const FIXED_SIZE: bool = true #(&& #fixed::FIXED_SIZE)*;

            fn schema() -> #core::Schema {
                #schema
            }

            #[inline]
            fn encode(&self, out: &mut ::std::vec::Vec<u8>) {
                match self { #(#encode)* }
            }

            #[inline]
            fn decode(input: &mut &[u8]) -> ::core::result::Result<Self, #core::CodecError> {
                #decode
            }

            #[inline]
            fn size_estimate(&self) -> usize {
                let owned = match self { #(#sizes,)* };
                ::core::mem::size_of::<Self>() + owned
            }
        }
    })
}

/// The impl of `Key`.
///
/// # Errors
/// What keeps the type from being a key, with its place.
pub fn key(input: &DeriveInput) -> Result<TokenStream, Error> {
    let shape = Shape::of(input, "a key")?;
    let core = paths::core();
    let (ident, name) = (&input.ident, input.ident.unraw().to_string());
    let generics = bounded(input, &quote!(#core::Key));
    let (impl_generics, _, where_clause) = generics.split_for_impl();
    let (_, type_generics, _) = input.generics.split_for_impl();

    let encode = shape.variants.iter().enumerate().map(|(position, variant)| {
        let (pattern, position) = (variant.pattern(), position as u32);
        let tag = shape.is_enum.then(|| quote!(<u32 as #core::Key>::encode_key(&#position, out);));
        let fields = variant.fields.iter().map(|field| {
            let (ty, binding) = (field.ty_as(&core, "Key"), &field.binding);
            quote!(#ty::encode_key(#binding, out);)
        });
        quote!(#pattern => { #tag #(#fields)* })
    });
    let read_tag = quote!(<u32 as #core::Key>::decode_key(input)?);
    let decode = decode(&shape, &core, &name, "Key", "decode_key", &read_tag);
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #core::Key for #ident #type_generics #where_clause {
            #[inline]
            fn encode_key(&self, out: &mut ::std::vec::Vec<u8>) {
                match self { #(#encode)* }
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> ::core::result::Result<Self, #core::CodecError> {
                #decode
            }
        }
    })
}

/// The body of `schema`.
fn schema(shape: &Shape, core: &TokenStream, name: &str) -> TokenStream {
    let fields = |variant: &Variant| {
        let labels = variant.fields.iter().map(|field| &field.label);
        let types = variant.fields.iter().map(|field| field.ty_as(core, "Data"));
        quote!(::std::vec![#((#labels.into(), #types::schema())),*])
    };
    let schema = if shape.is_enum {
        let labels = shape.variants.iter().map(Variant::label);
        let fields = shape.variants.iter().map(fields);
        quote!(Enum { name: #name.into(), variants: ::std::vec![#((#labels.into(), #fields)),*] })
    } else {
        let fields = shape.variants.iter().map(fields);
        quote!(Struct { name: #name.into(), #(fields: #fields)* })
    };
    quote!(#core::schema::named::<Self>(#name, || #core::Schema::#schema))
}

/// The body of `decode` and `decode_key`: the function `read` of the trait for each field, after `tag` has told the
/// variant.
fn decode(
    shape: &Shape,
    core: &TokenStream,
    name: &str,
    role: &str,
    read: &str,
    tag: &TokenStream,
) -> TokenStream {
    let read = quote::format_ident!("{read}");
    let made = shape.variants.iter().map(|variant| {
        let pattern = variant.pattern();
        let bindings = variant.bindings();
        let types = variant.fields.iter().map(|field| field.ty_as(core, role));
        quote!({ #(let #bindings = #types::#read(input)?;)* ::core::result::Result::Ok(#pattern) })
    });
    if !shape.is_enum {
        return quote!(#(#made)*);
    }
    let positions = (0_u64..).take(shape.variants.len());
    quote! {
        match ::core::primitive::u64::from(#tag) {
            #(#positions => #made)*
            unknown => ::core::result::Result::Err(
                #core::CodecError::invalid(#name, ::std::format!("no variant {}", unknown))
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_str;

    use super::*;

    fn refusals(source: &str) -> [String; 2] {
        let input: DeriveInput = parse_str(source).unwrap();
        [data(&input).unwrap_err().to_string(), key(&input).unwrap_err().to_string()]
    }

    #[test]
    fn what_cannot_be_a_record_or_a_key_is_told_why() {
        let cases = [
            ("union Bits { int: u32, float: f32 }", "cannot be a union: nothing says which field holds"),
            ("enum Never {}", "must have values, and an enum without variants has none"),
            (
                "struct Word<'a>(&'a str);",
                "cannot borrow, as it goes to other threads and processes: own the data",
            ),
        ];
        for (source, reason) in cases {
            assert_eq!(refusals(source), [format!("a record {reason}"), format!("a key {reason}")]);
        }
    }
}
