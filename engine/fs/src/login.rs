//! With which key this process logs in where a file system asks for Kerberos.
//!
//! Without one, whoever has a ticket (`kinit`) or tokens (`HADOOP_TOKEN_FILE_LOCATION`) uses those.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

/// A key of a Kerberos principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keytab {
    /// Whose key.
    pub principal: String,
    /// The file it is in.
    pub path: PathBuf,
}

static KEYTAB: RwLock<Option<Keytab>> = RwLock::new(None);

/// Logs in with a keytab from now on, or without one. File systems that were used before keep their logins.
pub fn log_in(keytab: Option<Keytab>) {
    *KEYTAB.write().unwrap_or_else(PoisonError::into_inner) = keytab;
}

/// The keytab to log in with.
#[cfg(feature = "hdfs")]
pub(crate) fn keytab() -> Option<Keytab> {
    KEYTAB.read().unwrap_or_else(PoisonError::into_inner).clone()
}
