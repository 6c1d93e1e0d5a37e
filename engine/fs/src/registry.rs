//! Which file system serves which scheme.
//!
//! Local files are always there, and HDFS with the feature `hdfs`; a crate that knows another file system registers it once, before
//! paths of its scheme are used.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::error::FsError;
use crate::file_system::FileSystem;
use crate::local::LocalFileSystem;
use crate::path::FsPath;

type Registered = RwLock<Vec<(String, Arc<dyn FileSystem>)>>;

fn registered() -> &'static Registered {
    static FILE_SYSTEMS: OnceLock<Registered> = OnceLock::new();
    FILE_SYSTEMS.get_or_init(|| {
        let local: Arc<dyn FileSystem> = Arc::new(LocalFileSystem);
        let all = vec![
            ("file".to_owned(), local),
            #[cfg(feature = "hdfs")]
            ("hdfs".to_owned(), Arc::new(crate::hdfs::HdfsFileSystem::new())),
        ];
        RwLock::new(all)
    })
}

/// Adds the file system of a scheme (upper and lower case are one), in place of one that is there.
///
/// ```
/// use std::sync::Arc;
/// use flott_fs::{FsPath, LocalFileSystem, for_path, register};
///
/// register("disk", Arc::new(LocalFileSystem));
/// assert!(for_path(&"disk:///tmp".parse()?)?.status(&"disk:///tmp".parse()?)?.is_dir);
/// # Ok::<(), flott_fs::FsError>(())
/// ```
pub fn register(scheme: &str, fs: Arc<dyn FileSystem>) {
    let scheme = scheme.to_ascii_lowercase();
    let mut all = registered().write().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(known, _)| *known != scheme);
    all.push((scheme, fs));
}

/// The file system of a path.
///
/// # Errors
/// [`UnsupportedScheme`](crate::FsErrorKind::UnsupportedScheme) if nobody registered the path's scheme.
pub fn for_path(path: &FsPath) -> Result<Arc<dyn FileSystem>, FsError> {
    let all = registered().read().unwrap_or_else(PoisonError::into_inner);
    let found = all.iter().find(|(scheme, _)| scheme == path.scheme()).map(|(_, fs)| Arc::clone(fs));
    found.ok_or_else(|| FsError::unsupported_scheme(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FsErrorKind;

    #[test]
    fn a_scheme_nobody_knows_is_an_error_that_names_it() {
        let error = for_path(&"s9://bucket/x".parse().unwrap()).err().unwrap();
        assert_eq!(error.kind(), FsErrorKind::UnsupportedScheme);
        assert!(!error.is_retryable());
        assert_eq!(error.to_string(), "cannot use s9://bucket/x: this program has no file system for 's9:'");
    }

    #[test]
    fn schemes_are_found_in_any_case() {
        register("Registry-Test", Arc::new(LocalFileSystem));
        assert!(for_path(&"registry-TEST://host/x".parse().unwrap()).is_ok());
    }
}
