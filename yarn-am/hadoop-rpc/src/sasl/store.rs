//! Credentials from a named place: a keytab, or a ticket cache in a file.
//!
//! GSSAPI takes such places as a credential store, a call that `libgssapi` does not wrap. Tickets got by a keytab go to a cache in this
//! process's memory, one for each keytab and principal: the library shares it between connections and gets a new ticket there when half of its
//! life is over. A file with tickets is named outright, too: to find the default one, MIT Kerberos 1.20 walks all caches, and a damaged one
//! makes it use memory that was never set.
#![allow(unsafe_code, reason = "calls of C, argued below")]

use std::ffi::{CStr, CString, c_void};
use std::path::Path;
use std::ptr;

use libgssapi::credential::Cred;
use libgssapi::error::{Error, MajorFlags};
use libgssapi::oid::{GSS_MECH_KRB5, GSS_NT_KRB5_PRINCIPAL};
use libgssapi_sys::{
    GSS_C_INITIATE, GSS_S_COMPLETE, gss_OID_desc, gss_OID_set_desc, gss_acquire_cred_from, gss_buffer_desc,
    gss_cred_id_t, gss_import_name, gss_key_value_element_desc, gss_key_value_set_desc, gss_name_t,
    gss_release_name,
};

use super::digest::md5;

/// Gets credentials for a principal by its keytab.
///
/// # Errors
/// What Kerberos says; a path or principal with a zero byte is a bad name.
pub(super) fn from_keytab(principal: &str, keytab: &Path) -> Result<Cred, Error> {
    let keytab = format!("FILE:{}", keytab.display());
    let cache: String = md5(&[principal.as_bytes(), b"\0", keytab.as_bytes()])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let (keytab, cache) = (c_string(keytab)?, c_string(format!("MEMORY:hadoop-rpc-{cache}"))?);
    acquire(Some(principal), &[(c"client_keytab", &keytab), (c"ccache", &cache)])
}

/// Gets credentials from a ticket cache, those of a principal or whoever they are of.
///
/// # Errors
/// What Kerberos says.
pub(super) fn from_cache(principal: Option<&str>, cache: String) -> Result<Cred, Error> {
    acquire(principal, &[(c"ccache", &c_string(cache)?)])
}

fn c_string(text: String) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error { major: MajorFlags::GSS_S_BAD_NAME, minor: 0 })
}

fn acquire(principal: Option<&str>, places: &[(&CStr, &CStr)]) -> Result<Cred, Error> {
    let element = |(key, value): &(&CStr, &CStr)| gss_key_value_element_desc {
        key: key.as_ptr(),
        value: value.as_ptr(),
    };
    let mut elements: Vec<_> = places.iter().map(element).collect();
    let name = match principal {
        Some(principal) => import(principal)?,
        None => OwnedName(ptr::null_mut()),
    };
    let store = gss_key_value_set_desc { count: elements.len() as u32, elements: elements.as_mut_ptr() };
    let mut mechanism = oid(&GSS_MECH_KRB5);
    let mut mechanisms = gss_OID_set_desc { count: 1, elements: &mut mechanism };
    let mut credentials: gss_cred_id_t = ptr::null_mut();
    let mut minor = 0;
    // SAFETY: every pointer is to a local or an argument that outlives the call, which keeps none of them; the strings end with a zero byte
    // and the counts are those of the arrays. A null name means any, and null outputs are allowed (RFC 2744, RFC 5588).
    let major = unsafe {
        gss_acquire_cred_from(
            &mut minor,
            name.0,
            u32::MAX, // as long as possible
            &mut mechanisms,
            GSS_C_INITIATE as i32,
            &store,
            &mut credentials,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if major == GSS_S_COMPLETE {
        // SAFETY: the call succeeded, so the id is valid, and nothing else owns it.
        Ok(unsafe { Cred::from_c(credentials) })
    } else {
        Err(Error { major: MajorFlags::from_bits_retain(major), minor })
    }
}

/// A name that is given back when it goes out of scope.
struct OwnedName(gss_name_t);

impl Drop for OwnedName {
    fn drop(&mut self) {
        if self.0.is_null() {
            return;
        }
        let mut minor = 0;
        // SAFETY: the name came from gss_import_name and is released once.
        unsafe { gss_release_name(&mut minor, &mut self.0) };
    }
}

fn import(principal: &str) -> Result<OwnedName, Error> {
    let mut buffer =
        gss_buffer_desc { length: principal.len(), value: principal.as_ptr().cast::<c_void>().cast_mut() };
    let mut kind = oid(&GSS_NT_KRB5_PRINCIPAL);
    let mut name = OwnedName(ptr::null_mut());
    let mut minor = 0;
    // SAFETY: buffer and kind are locals over bytes that outlive the call, which reads and does not write them; the name is released by
    // its owner.
    let major = unsafe { gss_import_name(&mut minor, &mut buffer, &mut kind, &mut name.0) };
    if major == GSS_S_COMPLETE {
        Ok(name)
    } else {
        Err(Error { major: MajorFlags::from_bits_retain(major), minor })
    }
}

/// An object identifier over static bytes.
fn oid(bytes: &'static [u8]) -> gss_OID_desc {
    gss_OID_desc { length: bytes.len() as u32, elements: bytes.as_ptr().cast::<c_void>().cast_mut() }
}
