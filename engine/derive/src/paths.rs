//! Where the user's program finds `flott-core`: as a dependency of its own, under whatever name, or inside the facade
//! `flott`, which every program depends on.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// The path of `flott_core`.
pub fn core() -> TokenStream {
    match (crate_name("flott-core"), crate_name("flott")) {
        // The crate knows itself by its own name too, so that its tests need nothing else.
        (Ok(FoundCrate::Itself), _) => quote!(::flott_core),
        (Ok(FoundCrate::Name(name)), _) => named(&name),
        (Err(_), Ok(FoundCrate::Name(name))) => {
            let flott = named(&name);
            quote!(#flott::core)
        }
        (Err(_), Ok(FoundCrate::Itself)) => quote!(::flott::core),
        // Not built by cargo, or built by way of a crate that depends on neither: the compiler says what is missing.
        (Err(_), Err(_)) => quote!(::flott_core),
    }
}

fn named(name: &str) -> TokenStream {
    let ident = Ident::new(name, Span::call_site());
    quote!(::#ident)
}
