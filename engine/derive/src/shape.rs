//! What a type looks like to the derives: its variants (a struct has one, without name) and their fields.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Member, Type};

/// A struct or an enum.
pub struct Shape {
    pub is_enum: bool,
    pub variants: Vec<Variant>,
}

/// A variant of an enum, or all of a struct.
pub struct Variant {
    ident: Option<Ident>,
    pub fields: Vec<Field>,
}

/// A field of a variant.
pub struct Field {
    /// What it is called in the schema: its name, or its position.
    pub label: String,
    /// A local name for it.
    pub binding: Ident,
    pub ty: Type,
    member: Member,
}

impl Shape {
    /// The shape of a type, or why it has none; `role` is what the type wants to be.
    pub fn of(input: &DeriveInput, role: &str) -> Result<Self, Error> {
        if let Some(lifetime) = input.generics.lifetimes().next() {
            let message =
                format!("{role} cannot borrow, as it goes to other threads and processes: own the data");
            return Err(Error::new_spanned(lifetime, message));
        }
        match &input.data {
            Data::Struct(data) => {
                Ok(Self { is_enum: false, variants: vec![Variant::of(None, &data.fields)] })
            }
            Data::Enum(data) if data.variants.is_empty() => {
                let message = format!("{role} must have values, and an enum without variants has none");
                Err(Error::new_spanned(&input.ident, message))
            }
            Data::Enum(data) => {
                let variants = data.variants.iter().map(|v| Variant::of(Some(v.ident.clone()), &v.fields));
                Ok(Self { is_enum: true, variants: variants.collect() })
            }
            Data::Union(data) => {
                let message = format!("{role} cannot be a union: nothing says which field holds");
                Err(Error::new(data.union_token.span, message))
            }
        }
    }

    /// The fields of all variants.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.variants.iter().flat_map(|variant| &variant.fields)
    }
}

impl Variant {
    fn of(ident: Option<Ident>, fields: &Fields) -> Self {
        let fields = fields.members().zip(fields).enumerate().map(|(position, (member, field))| Field {
            label: match &member {
                Member::Named(name) => name.unraw().to_string(),
                Member::Unnamed(index) => index.index.to_string(),
            },
            binding: format_ident!("field_{}", position),
            ty: field.ty.clone(),
            member,
        });
        Self { ident, fields: fields.collect() }
    }

    /// What it is called in the schema.
    pub fn label(&self) -> String {
        self.ident.as_ref().map(|ident| ident.unraw().to_string()).unwrap_or_default()
    }

    /// Takes the variant apart into its bindings; also puts it together from them. (Braces and positions serve tuples
    /// and units too.)
    pub fn pattern(&self) -> TokenStream {
        let path = self.ident.iter();
        let members = self.fields.iter().map(|field| &field.member);
        let bindings = self.bindings();
        quote!(Self #(::#path)* { #(#members: #bindings),* })
    }

    /// The local names of the fields.
    pub fn bindings(&self) -> impl Iterator<Item = &Ident> {
        self.fields.iter().map(|field| &field.binding)
    }
}

impl Field {
    /// The field's type as the trait `name`, such that an error points at the field.
    pub fn ty_as(&self, core: &TokenStream, name: &str) -> TokenStream {
        let (ty, name) = (&self.ty, Ident::new(name, self.ty.span()));
        let colons = quote_spanned!(self.ty.span()=> ::#name);
        let path = quote!(#core #colons);
        quote_spanned!(self.ty.span()=> <#ty as #path>)
    }
}
