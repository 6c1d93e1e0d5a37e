//! The tokens by which this process and its workers use file systems: a file that the system that started the TaskManager has laid
//! out, and that is replaced when the JobManager has newer ones. Whoever connects after that reads it anew.

use std::path::Path;

use flott_fs::{Access, FsError, FsPath, for_path};

/// The variable that names the file, for this process and its workers.
const LOCATION: &str = "HADOOP_TOKEN_FILE_LOCATION";

/// Replaces the tokens; who reads the file meanwhile sees the old ones or the new ones, whole. Blocks.
pub(super) fn replace(tokens: &[u8]) {
    let Some(file) = std::env::var_os(LOCATION).filter(|file| !file.is_empty()) else {
        tracing::warn!("the JobManager has new tokens, but {LOCATION} names no file to keep them in");
        return;
    };
    match write(Path::new(&file), tokens) {
        Ok(()) => tracing::info!("there are new tokens"),
        Err(error) => tracing::warn!(%error, "the new tokens cannot be kept"),
    }
}

fn write(file: &Path, tokens: &[u8]) -> Result<(), FsError> {
    let path = FsPath::local(file);
    for_path(&path)?.write_atomically_with(&path, tokens, Access::Private)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_is_replaced_and_stays_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("container_tokens");
        std::fs::write(&file, b"old").unwrap();
        write(&file, b"new").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
