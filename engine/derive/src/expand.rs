//! What the derives write.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{DeriveInput, Error, Ident, parse_quote};

use crate::shape::{Shape, Variant};

/// The path of `flott_core` for who uses the derive: a dependency of its own, or inside the facade.
fn core() -> TokenStream {
    if crate_name("flott-core").is_err() {
        match crate_name("flott") {
            Ok(FoundCrate::Name(name)) => {
                let name = Ident::new(&name, Span::call_site());
                return quote!(::#name::core);
            }
            Ok(FoundCrate::Itself) => return quote!(::flott::core),
            Err(_) => {}
        }
    }
    quote!(::flott_core)
}

pub fn data(input: &DeriveInput) -> Result<TokenStream, Error> {
    let shape = Shape::of(input)?;
    let core = core();
    let name = &input.ident;
    let mut generics = input.generics.clone();
    for parameter in input.generics.type_params() {
        let ident = &parameter.ident;
        generics.make_where_clause().predicates.push(parse_quote!(#ident: #core::Data));
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();

    let min_encoded = shape.variants.iter().map(|variant| {
        let types = variant.fields.iter().map(|field| &field.ty);
        quote!(0 #(+ <#types as #core::Data>::MIN_ENCODED)*)
    });
    let tag_bytes = usize::from(shape.is_enum);
    let fixed = shape.fields().map(|field| &field.ty);
    let schema = schema(&shape, &core, &name.to_string());
    let encode = shape.variants.iter().enumerate().map(|(position, variant)| {
        let pattern = variant.pattern();
        let tag = shape.is_enum.then(|| quote!(#core::codec::write_varint(#position as u64, out);));
        let fields = variant.fields.iter().map(|field| &field.binding);
        quote!(#pattern => { #tag #(#core::Data::encode(#fields, out);)* })
    });
    let decode = decode(
        &shape,
        &core,
        &name.to_string(),
        &quote!(#core::Data::decode),
        &quote! {
            #core::codec::read_varint(input, concat!("variant of ", stringify!(#name)))?
        },
    );
    let sizes = shape.variants.iter().map(|variant| {
        let pattern = variant.pattern();
        let fields = variant.fields.iter().map(|field| {
            let (binding, ty) = (&field.binding, &field.ty);
            quote!(+ (#core::Data::size_estimate(#binding) - ::core::mem::size_of::<#ty>().min(#core::Data::size_estimate(#binding))))
        });
        quote!(#pattern => ::core::mem::size_of::<Self>() #(#fields)*)
    });
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #core::Data for #name #type_generics #where_clause {
            const MIN_ENCODED: usize = #tag_bytes + #core::codec::least(&[#(#min_encoded),*]);
            const FIXED_SIZE: bool = true #(&& <#fixed as #core::Data>::FIXED_SIZE)*;

            fn schema() -> #core::Schema {
                #schema
            }

            fn encode(&self, out: &mut ::std::vec::Vec<u8>) {
                match self { #(#encode),* }
            }

            fn decode(input: &mut &[u8]) -> ::core::result::Result<Self, #core::CodecError> {
                #decode
            }

            fn size_estimate(&self) -> usize {
                match self { #(#sizes),* }
            }
        }
    })
}

fn schema(shape: &Shape, core: &TokenStream, name: &str) -> TokenStream {
    let fields = |variant: &Variant| {
        let labels = variant.fields.iter().map(|field| &field.label);
        let types = variant.fields.iter().map(|field| &field.ty);
        quote!(::std::vec![#((#labels.into(), <#types as #core::Data>::schema())),*])
    };
    if shape.is_enum {
        let variants = shape.variants.iter().map(|variant| {
            let label = variant.name.as_ref().map(ToString::to_string).unwrap_or_default();
            let fields = fields(variant);
            quote!((#label.into(), #fields))
        });
        quote!(#core::schema::named::<Self>(#name, || #core::Schema::Enum {
            name: #name.into(),
            variants: ::std::vec![#(#variants),*],
        }))
    } else {
        let fields = fields(&shape.variants[0]);
        quote!(#core::schema::named::<Self>(#name, || #core::Schema::Struct { name: #name.into(), fields: #fields }))
    }
}

fn decode(
    shape: &Shape,
    core: &TokenStream,
    name: &str,
    read: &TokenStream,
    tag: &TokenStream,
) -> TokenStream {
    let make = |variant: &Variant| {
        let pattern = variant.pattern();
        let bindings = variant.fields.iter().map(|field| &field.binding);
        quote!({ #(let #bindings = #read(input)?;)* ::core::result::Result::Ok(#pattern) })
    };
    if !shape.is_enum {
        let made = make(&shape.variants[0]);
        return quote!(#core::codec::nested(#name, || #made));
    }
    let arms = shape.variants.iter().enumerate().map(|(position, variant)| {
        let (position, made) = (position as u64, make(variant));
        quote!(#position => #made)
    });
    quote! {
        #core::codec::nested(#name, || match u64::from(#tag) {
            #(#arms,)*
            unknown => ::core::result::Result::Err(#core::CodecError::invalid(#name, ::std::format!("no variant {unknown}"))),
        })
    }
}

pub fn key(input: &DeriveInput) -> Result<TokenStream, Error> {
    let shape = Shape::of(input)?;
    let core = core();
    let name = &input.ident;
    let mut generics = input.generics.clone();
    for parameter in input.generics.type_params() {
        let ident = &parameter.ident;
        generics.make_where_clause().predicates.push(parse_quote!(#ident: #core::Key));
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let encode = shape.variants.iter().enumerate().map(|(position, variant)| {
        let pattern = variant.pattern();
        let position = position as u32;
        let tag = shape.is_enum.then(|| quote!(#core::Key::encode_key(&#position, out);));
        let fields = variant.fields.iter().map(|field| &field.binding);
        quote!(#pattern => { #tag #(#core::Key::encode_key(#fields, out);)* })
    });
    let decode = decode(
        &shape,
        &core,
        &name.to_string(),
        &quote!(#core::Key::decode_key),
        &quote! {
            <u32 as #core::Key>::decode_key(input)?
        },
    );
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #core::Key for #name #type_generics #where_clause {
            fn encode_key(&self, out: &mut ::std::vec::Vec<u8>) {
                match self { #(#encode),* }
            }

            fn decode_key(input: &mut &[u8]) -> ::core::result::Result<Self, #core::CodecError> {
                #decode
            }
        }
    })
}
