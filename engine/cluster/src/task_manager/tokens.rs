//! The tokens by which this process and its workers use file systems: a file that the system that started the TaskManager has laid
//! out, and that is replaced when the JobManager has newer ones. Whoever connects after that reads it anew.
//!
//! One task writes, so that the newest tokens are the last to be written, however quickly they follow each other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flott_fs::{Access, FsError, FsPath, for_path};
use tokio::sync::watch;

/// The variable that names the file, for this process and its workers.
const LOCATION: &str = "HADOOP_TOKEN_FILE_LOCATION";

/// The pause after tokens could not be written: a full disk may have room again.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps the newest tokens in the file that the environment names, until nobody gives any more.
pub(super) async fn keep(mut newest: watch::Receiver<Vec<u8>>) {
    match std::env::var_os(LOCATION).filter(|file| !file.is_empty()) {
        Some(path) => {
            let mut file = TokenFile { path: path.into(), newest, failed: false };
            while file.follow(RETRY).await {}
        }
        None if newest.changed().await.is_ok() => {
            tracing::warn!("the JobManager has new tokens, but {LOCATION} names no file to keep them in");
        }
        None => {}
    }
}

struct TokenFile {
    path: PathBuf,
    newest: watch::Receiver<Vec<u8>>,
    /// The newest that were seen are not in the file.
    failed: bool,
}

impl TokenFile {
    /// Waits for tokens, or for so long if those at hand could not be written, and writes the newest. False: there will be none any more.
    async fn follow(&mut self, retry: Duration) -> bool {
        let changed = match self.failed {
            true => tokio::time::timeout(retry, self.newest.changed()).await.unwrap_or(Ok(())),
            false => self.newest.changed().await,
        };
        if changed.is_err() {
            return false;
        }
        let (tokens, path) = (self.newest.borrow_and_update().clone(), self.path.clone());
        let written =
            tokio::task::spawn_blocking(move || write(&path, &tokens).map_err(|error| error.to_string()));
        let written = written.await.unwrap_or_else(|panicked| Err(panicked.to_string()));
        match &written {
            Ok(()) => tracing::info!("there are new tokens"),
            Err(error) => tracing::warn!(error, again = ?retry, "the new tokens cannot be kept"),
        }
        self.failed = written.is_err();
        true
    }
}

/// Who reads the file meanwhile sees the old ones or the new ones, whole. Blocks.
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

    fn file_of(path: &Path) -> (watch::Sender<Vec<u8>>, TokenFile) {
        let (give, newest) = watch::channel(Vec::new());
        (give, TokenFile { path: path.to_owned(), newest, failed: false })
    }

    #[tokio::test]
    async fn the_newest_tokens_are_what_remains() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("container_tokens");
        let (give, mut file) = file_of(&path);
        give.send_replace(b"older".to_vec());
        give.send_replace(b"newest".to_vec());
        drop(give);
        assert!(file.follow(RETRY).await);
        assert_eq!(std::fs::read(&path).unwrap(), b"newest");
        assert!(!file.follow(RETRY).await);
    }

    #[tokio::test]
    async fn tokens_that_cannot_be_written_are_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().join("appcache");
        std::fs::write(&parent, b"no folder").unwrap();
        let path = parent.join("container_tokens");
        let (give, mut file) = file_of(&path);
        give.send_replace(b"new".to_vec());
        assert!(file.follow(RETRY).await);
        assert!(!path.exists());
        std::fs::remove_file(&parent).unwrap();
        std::fs::create_dir(&parent).unwrap();
        assert!(file.follow(Duration::ZERO).await, "nobody gives them again");
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }
}
