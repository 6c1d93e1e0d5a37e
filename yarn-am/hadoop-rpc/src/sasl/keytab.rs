//! Tickets from a keytab, without touching any ticket cache on disk.
//!
//! GSSAPI takes the keytab and the cache as a credential store, a call that `libgssapi` does not wrap. The cache is in this process's memory,
//! one for each keytab and principal: the library shares it between connections and gets a new ticket there when half of its life is
//! over.
#![allow(unsafe_code, reason = "two calls of C, argued below")]

use std::ffi::{CString, c_void};
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

/// A name that is given back when it goes out of scope.
struct OwnedName(gss_name_t);

impl Drop for OwnedName {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the name came from gss_import_name, is released once, and a null name is allowed.
        unsafe { gss_release_name(&mut minor, &mut self.0) };
    }
}

/// Gets credentials for a principal by its keytab.
///
/// # Errors
/// What Kerberos says; a path or principal with a zero byte is a bad name.
pub(super) fn acquire(principal: &str, keytab: &Path) -> Result<Cred, Error> {
    let bad_name = |_| Error { major: MajorFlags::GSS_S_BAD_NAME, minor: 0 };
    let keytab = format!("FILE:{}", keytab.display());
    let cache: String = md5(&[principal.as_bytes(), b"\0", keytab.as_bytes()])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let keytab = CString::new(keytab).map_err(bad_name)?;
    let cache = CString::new(format!("MEMORY:hadoop-rpc-{cache}")).map_err(bad_name)?;
    let name = import(principal)?;

    let mut elements = [
        gss_key_value_element_desc { key: c"client_keytab".as_ptr(), value: keytab.as_ptr() },
        gss_key_value_element_desc { key: c"ccache".as_ptr(), value: cache.as_ptr() },
    ];
    let store = gss_key_value_set_desc { count: 2, elements: elements.as_mut_ptr() };
    let mut mechanism = oid(&GSS_MECH_KRB5);
    let mut mechanisms = gss_OID_set_desc { count: 1, elements: &mut mechanism };
    let mut credentials: gss_cred_id_t = ptr::null_mut();
    let mut minor = 0;
    // SAFETY: every pointer is to a local that outlives the call, which keeps none of them; the strings end with a zero byte and the counts
    // are those of the arrays. Outputs that are null are allowed by RFC 5588 and RFC 2744.
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
