//! Removes what is kept for the next leader of a cluster that will have none.
//!
//! Checkpoints stay: those of jobs that are over are gone unless they were to be kept, and a job that was given up can go on from its own.

use flott_core::config::{self, Configuration};
use flott_fs::{FsError, FsErrorKind, FsPath};
use flott_runtime::net::handshake::Secret;

use super::{HighAvailabilityError, zookeeper};

/// What is kept for the next leader.
pub(crate) trait Remains {
    /// Removes the pointers, unless somebody contends for the leadership: then false.
    async fn remove_pointers(&self) -> Result<bool, HighAvailabilityError>;

    /// Removes the files.
    async fn remove_files(&self) -> Result<(), HighAvailabilityError>;
}

/// Removes all, unless somebody contends for the leadership: then false. What was ended in the middle is done again from the beginning.
pub(crate) async fn remove(remains: &impl Remains) -> Result<bool, HighAvailabilityError> {
    // Pointers first: what they point to is not missed then.
    let over = remains.remove_pointers().await?;
    if over {
        remains.remove_files().await?;
    }
    Ok(over)
}

/// The nodes and files of a cluster.
struct ClusterRemains<'a> {
    configuration: &'a Configuration,
    secret: &'a Secret,
    directory: FsPath,
}

impl Remains for ClusterRemains<'_> {
    async fn remove_pointers(&self) -> Result<bool, HighAvailabilityError> {
        zookeeper::remove_cluster(self.configuration, self.secret).await
    }

    async fn remove_files(&self) -> Result<(), HighAvailabilityError> {
        let directory = self.directory.clone();
        let removed = tokio::task::spawn_blocking(move || remove_files(&directory)).await;
        Ok(removed.map_err(|error| HighAvailabilityError::Thread(error.to_string()))??)
    }
}

/// Removes the nodes and the files of the cluster that the configuration names and that has this secret, unless somebody contends for it. False: somebody does.
/// What is gone already is no error.
///
/// # Errors
/// [`HighAvailabilityError`] that says what cannot be reached or removed; the rest stays, and may be removed later.
pub async fn clean_up(configuration: &Configuration, secret: &Secret) -> Result<bool, HighAvailabilityError> {
    let directory = configuration.get_optional(&config::HA_STORAGE_DIR);
    let directory: FsPath = directory.ok_or(HighAvailabilityError::NoStorageDir)?.parse()?;
    let directory = directory.join(&zookeeper::cluster_id(configuration)?);
    remove(&ClusterRemains { configuration, secret, directory }).await
}

/// Removes all below a cluster's directory but checkpoints. Blocks.
fn remove_files(directory: &FsPath) -> Result<(), FsError> {
    let fs = flott_fs::for_path(directory)?;
    for own in ["jobs", "programs"] {
        fs.delete_dir(&directory.join(own))?;
    }
    if holds_files(directory)? {
        return Ok(());
    }
    fs.delete_dir(directory)
}

fn holds_files(directory: &FsPath) -> Result<bool, FsError> {
    let fs = flott_fs::for_path(directory)?;
    let mut waiting = vec![directory.clone()];
    while let Some(folder) = waiting.pop() {
        let entries = match fs.list(&folder) {
            Err(error) if error.kind() == FsErrorKind::NotFound => continue,
            listed => listed?,
        };
        if entries.iter().any(|entry| !entry.is_dir) {
            return Ok(true);
        }
        waiting.extend(entries.into_iter().map(|entry| entry.path));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_goes_but_checkpoints() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = folder.path().join("ID");
        let make = || {
            for name in ["jobs/1", "programs", "checkpoints/1/chk-2"] {
                std::fs::create_dir_all(cluster.join(name)).unwrap();
            }
            std::fs::write(cluster.join("jobs/1/submission"), b"").unwrap();
            std::fs::write(cluster.join("programs/a"), b"").unwrap();
        };
        make();
        remove_files(&FsPath::local(&cluster)).unwrap();
        assert!(!cluster.exists());
        make();
        std::fs::write(cluster.join("checkpoints/1/chk-2/_metadata"), b"").unwrap();
        remove_files(&FsPath::local(&cluster)).unwrap();
        assert!(cluster.join("checkpoints/1/chk-2/_metadata").exists());
        assert!(!cluster.join("jobs").exists() && !cluster.join("programs").exists());
        remove_files(&FsPath::local(&folder.path().join("none"))).unwrap();
    }
}
