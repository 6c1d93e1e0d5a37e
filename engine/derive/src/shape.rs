//! What a type looks like to the derives: its variants (a struct has one, without name) and their fields.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, Ident, Type};

pub struct Shape {
    pub is_enum: bool,
    pub variants: Vec<Variant>,
}

pub struct Variant {
    pub name: Option<Ident>,
    pub fields: Vec<Field>,
    style: Style,
}

pub struct Field {
    /// What it is called in the schema: its name, or its position.
    pub label: String,
    pub member: Option<Ident>,
    /// A local name for it.
    pub binding: Ident,
    pub ty: Type,
}

enum Style {
    Named,
    Tuple,
    Unit,
}

impl Shape {
    pub fn of(input: &DeriveInput) -> Result<Self, Error> {
        match &input.data {
            Data::Struct(data) => {
                Ok(Self { is_enum: false, variants: vec![Variant::of(None, &data.fields)] })
            }
            Data::Enum(data) if data.variants.is_empty() => {
                Err(Error::new_spanned(&input.ident, "an enum without variants has no values to encode"))
            }
            Data::Enum(data) => {
                let variants = data.variants.iter().map(|v| Variant::of(Some(v.ident.clone()), &v.fields));
                Ok(Self { is_enum: true, variants: variants.collect() })
            }
            Data::Union(data) => Err(Error::new(
                data.union_token.span,
                "a union cannot be a record: nobody knows which field holds",
            )),
        }
    }

    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.variants.iter().flat_map(|variant| &variant.fields)
    }
}

impl Variant {
    fn of(name: Option<Ident>, fields: &Fields) -> Self {
        let style = match fields {
            Fields::Named(_) => Style::Named,
            Fields::Unnamed(_) => Style::Tuple,
            Fields::Unit => Style::Unit,
        };
        let fields = fields.iter().enumerate().map(|(position, field)| Field {
            label: field.ident.as_ref().map_or_else(|| position.to_string(), ToString::to_string),
            member: field.ident.clone(),
            binding: format_ident!("field_{}", position, span = Span::call_site()),
            ty: field.ty.clone(),
        });
        Self { name, fields: fields.collect(), style }
    }

    /// `Self`, or `Self::Variant`.
    fn path(&self) -> TokenStream {
        self.name.as_ref().map_or_else(|| quote!(Self), |name| quote!(Self::#name))
    }

    /// Takes the variant apart into its bindings; also puts it together from them.
    pub fn pattern(&self) -> TokenStream {
        let path = self.path();
        let bindings = self.fields.iter().map(|field| &field.binding);
        match self.style {
            Style::Named => {
                let members = self.fields.iter().map(|field| &field.member);
                quote!(#path { #(#members: #bindings),* })
            }
            Style::Tuple => quote!(#path(#(#bindings),*)),
            Style::Unit => path,
        }
    }
}
