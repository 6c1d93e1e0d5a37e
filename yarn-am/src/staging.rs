//! Files of applications on the cluster's file system: runtime and programs, kept by the hash of their content so that each is uploaded
//! once; and what an application keeps while it lives.
//!
//! Below the staging folder, which only the user may enter:
//!
//! ```text
//! .flott/cache/SHA-256        a runtime, a program or a file that is shipped
//! .flott/cache/SHA-256.zip    an archive: YARN tells by the end of the name how it is unpacked
//! .flott/cache/SHA-256.used   says by its time when one was last used
//! .flott/APPLICATION/application  what is to be known of it when it is gone, while it is not over
//! .flott/APPLICATION/secret   what clients of its cluster prove, while it lives
//! .flott/APPLICATION/report   what an ApplicationMaster leaves for the command that waits for it
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use flott_cluster::client::report::JobSummaries;
use flott_cluster::program_store::ContentHash;
use flott_fs::{FileStatus, FsError, FsErrorKind, FsPath, for_path};
use flott_runtime::net::handshake::Secret;

use crate::application::Resource;
use crate::leftovers::{mark, renewal};

/// The name of what an ApplicationMaster leaves for its command.
const REPORT: &str = "report";

/// What is copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// How long an upload that nobody wants any more may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// What a file's name ends with, in any case, that YARN can unpack.
const ARCHIVES: [&str; 5] = [".tar.gz", ".tgz", ".tar", ".zip", ".jar"];

/// By which of them YARN unpacks a file; none: it would leave it as it is.
pub(crate) fn archive_suffix(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    ARCHIVES.into_iter().find(|suffix| name.ends_with(suffix))
}

/// Whether a file of the cache is whole, as its name says.
pub(crate) fn is_whole(name: &str) -> bool {
    let stem = archive_suffix(name).and_then(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    stem.parse::<ContentHash>().is_ok()
}

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// A local file.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Local {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of the cluster.
    #[error(transparent)]
    File(#[from] FsError),
    /// What is to be unpacked and cannot be.
    #[error(
        "{path} cannot be unpacked: yarn.ship-archives takes files whose names end with {}; ship others by yarn.ship-files",
        ARCHIVES.join(" ")
    )]
    NoArchive {
        /// Where it is.
        path: FsPath,
    },
    /// Two files that would be in the same place.
    #[error("{path} cannot be shipped: {other} would be in its place in every container; rename one of them")]
    SameName {
        /// One.
        path: FsPath,
        /// The other.
        other: Box<FsPath>,
    },
    /// What would be in the place of something that is there anyway.
    #[error("{path} cannot be shipped, since every container has a {name} of its own: rename it")]
    OwnName {
        /// Where it is.
        path: FsPath,
        /// The name of that.
        name: String,
    },
    /// A secret that is none.
    #[error("{path} holds no secret of a cluster")]
    NoSecret {
        /// Where it was looked for.
        path: FsPath,
    },
    /// Somebody has stopped it.
    #[error("{path} is not uploaded: nobody wants it any more", path = .path.display())]
    Unwanted {
        /// Which.
        path: PathBuf,
    },
    /// The task that did it.
    #[error("copying a file was given up: {0}")]
    Given(String),
}

/// The folder of a user's applications.
#[derive(Debug, Clone)]
pub struct Staging {
    root: FsPath,
    /// How long what is kept by its hash stays without a use.
    retention: Duration,
    uploads: Uploads,
}

/// What is being uploaded, one after the other.
#[derive(Debug, Clone, Default)]
struct Uploads {
    unwanted: Arc<AtomicBool>,
    /// Held while a draft is there.
    running: Arc<Mutex<()>>,
}

impl Staging {
    /// Below a folder of the cluster's file system. What is kept by its hash stays there for `retention` without a use.
    pub fn below(folder: &FsPath, retention: Duration) -> Self {
        Self { root: folder.join(".flott"), retention, uploads: Uploads::default() }
    }

    pub(crate) fn retention(&self) -> Duration {
        self.retention
    }

    /// For how long nobody removes what was just [provided](Self::provide), though no application uses it yet.
    pub(crate) fn reserved(&self) -> Duration {
        renewal(self.retention)
    }

    /// The folder that all of it is in.
    pub(crate) fn root(&self) -> &FsPath {
        &self.root
    }

    /// The folder of what is kept by its hash.
    pub(crate) fn cache(&self) -> FsPath {
        self.root.join("cache")
    }

    /// The folder of an application.
    pub fn folder_of(&self, application: &str) -> FsPath {
        self.root.join(application)
    }

    /// Has a local file on the cluster, and says how YARN gets it from there. It is read to the end for its hash, and sent only if
    /// nobody has sent it before. `name`: under which containers see it; none: by its hash. Blocks.
    ///
    /// # Errors
    /// [`StagingError`] that names the file.
    pub fn provide(&self, local: &Path, name: Option<&str>) -> Result<(Resource, ContentHash), StagingError> {
        let hash = hash_of(local)?;
        let kept = self.keep(local, &hash.to_string())?;
        let resource = Resource::of(&kept, name.map_or_else(|| hash.to_string(), str::to_owned));
        Ok((resource, hash))
    }

    /// The same with an archive, which containers see unpacked in a folder called `name`. Blocks.
    ///
    /// # Errors
    /// [`StagingError`] that names the file; [`StagingError::NoArchive`] if YARN would not unpack it.
    pub(crate) fn provide_archive(&self, local: &Path, name: &str) -> Result<Resource, StagingError> {
        let no_archive = || StagingError::NoArchive { path: FsPath::local(local) };
        let suffix = archive_suffix(name).ok_or_else(no_archive)?;
        let kept = self.keep(local, &format!("{}{suffix}", hash_of(local)?))?;
        Ok(Resource { archive: true, ..Resource::of(&kept, name) })
    }

    /// Has a local file in the cache, under a name that its content says.
    fn keep(&self, local: &Path, name: &str) -> Result<FileStatus, StagingError> {
        let cache = self.cache();
        let path = cache.join(name);
        let fs = for_path(&path)?;
        let mut found = fs.status(&path);
        if found.is_ok() && mark(&path, self.reserved()) {
            // Before that it may have been removed as one that nobody uses.
            found = fs.status(&path);
        }
        match found {
            Err(error) if error.kind() == FsErrorKind::NotFound => {
                fs.create_dirs(&cache)?;
                self.upload(local, &path)?;
                mark(&path, self.reserved());
                Ok(fs.status(&path)?)
            }
            found => Ok(found?),
        }
    }

    /// Has uploads from here, and from clones, end without leaving a draft; there are no more of them.
    pub(crate) async fn stop_uploads(&self) {
        self.uploads.unwanted.store(true, Ordering::SeqCst);
        let running = Arc::clone(&self.uploads.running);
        let ended = tokio::task::spawn_blocking(move || drop(running.lock()));
        if tokio::time::timeout(STOP_DEADLINE, ended).await.is_err() {
            tracing::debug!("an upload does not end in time; its draft is removed later");
        }
    }

    fn upload(&self, local: &Path, path: &FsPath) -> Result<(), StagingError> {
        let _running = self.uploads.running.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = || match self.uploads.unwanted.load(Ordering::SeqCst) {
            true => Err(StagingError::Unwanted { path: local.to_owned() }),
            false => Ok(()),
        };
        wanted()?;
        let unreadable = |source| StagingError::Local { path: local.to_owned(), source };
        let fs = for_path(path)?;
        let mut file = File::open(local).map_err(unreadable)?;
        let unique = flott_core::ids::JobId::random();
        let draft = path.with_name(&format!(".{}.{unique}", path.name()));
        let mut copy = || {
            let mut out = fs.create(&draft)?;
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                wanted()?;
                match file.read(&mut piece).map_err(unreadable)? {
                    0 => break,
                    count => {
                        out.write_all(&piece[..count]).map_err(|error| FsError::io("write", &draft, error))?
                    }
                }
            }
            out.close()?;
            match fs.rename_new(&draft, path) {
                // Another command was faster with the same.
                Err(error) if error.kind() == FsErrorKind::AlreadyExists => Ok(fs.delete(&draft)?),
                renamed => Ok(renamed?),
            }
        };
        let copied = copy();
        if copied.is_err() {
            let _ = fs.delete(&draft);
        }
        copied
    }

    /// Leaves the secret of an application's cluster where its user's other commands find it. Blocks.
    ///
    /// # Errors
    /// [`StagingError`].
    pub fn leave_secret(&self, application: &str, secret: &Secret) -> Result<FsPath, StagingError> {
        let folder = self.folder_of(application);
        let fs = for_path(&folder)?;
        fs.create_dirs(&folder)?;
        fs.write_atomically(&folder.join("secret"), secret.as_bytes())?;
        Ok(folder)
    }

    /// The summary that an ApplicationMaster has left; none: it did not come so far. Blocks.
    ///
    /// # Errors
    /// [`StagingError`].
    pub fn report_of(&self, application: &str) -> Result<Option<JobSummaries>, StagingError> {
        let path = self.folder_of(application).join(REPORT);
        let fs = for_path(&path)?;
        if !fs.exists(&path)? {
            return Ok(None);
        }
        let malformed = |error: serde_json::Error| StagingError::Given(format!("{path}: {error}"));
        Ok(Some(serde_json::from_slice(&fs.read(&path)?).map_err(malformed)?))
    }

    /// The applications that have a folder which has not changed for `age`. Blocks.
    ///
    /// # Errors
    /// [`StagingError`].
    pub fn older_than(&self, age: Duration) -> Result<Vec<String>, StagingError> {
        let fs = for_path(&self.root)?;
        if !fs.exists(&self.root)? {
            return Ok(Vec::new());
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let before = i64::try_from(now.saturating_sub(age).as_millis()).unwrap_or(i64::MAX);
        let folders =
            fs.list(&self.root)?.into_iter().filter(|entry| entry.is_dir && entry.modified <= before);
        let names = folders.map(|entry| entry.path.name().to_owned());
        Ok(names.filter(|name| name.starts_with("application_")).collect())
    }

    /// The secret of an application's cluster. Blocks.
    ///
    /// # Errors
    /// [`StagingError`]; not found: there is no such application, or it is another user's.
    pub fn secret_of(&self, application: &str) -> Result<Secret, StagingError> {
        let path = self.folder_of(application).join("secret");
        let bytes = for_path(&path)?.read(&path)?;
        Secret::from_bytes(&bytes).ok_or(StagingError::NoSecret { path })
    }
}

fn hash_of(local: &Path) -> Result<ContentHash, StagingError> {
    ContentHash::of_file(local).map_err(|source| StagingError::Local { path: local.to_owned(), source })
}

/// Leaves a summary of an application's jobs for the command that waits for it.
pub(crate) async fn leave_report(folder: &str, jobs: &JobSummaries) -> Result<(), StagingError> {
    let folder = folder.to_owned();
    let bytes = serde_json::to_vec(jobs).map_err(|error| StagingError::Given(error.to_string()))?;
    let left = tokio::task::spawn_blocking(move || {
        let folder: FsPath = folder.parse()?;
        let fs = for_path(&folder)?;
        fs.create_dirs(&folder)?;
        fs.write_atomically(&folder.join(REPORT), &bytes)
    });
    Ok(left.await.map_err(|error| StagingError::Given(error.to_string()))??)
}

/// Removes an application's folder. That it cannot be is logged: the application has ended all the same.
pub(crate) async fn remove(folder: &str) {
    let folder = folder.to_owned();
    let removed = tokio::task::spawn_blocking(move || {
        let path: FsPath = folder.parse()?;
        for_path(&path)?.delete_dir(&path)
    });
    match removed.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the staging folder could not be removed"),
        Err(error) => tracing::warn!(%error, "the staging folder could not be removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Duration = Duration::from_secs(3600);

    #[test]
    fn a_file_is_uploaded_once() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::below(&FsPath::local(&folder.path().join("home")), RETENTION);
        let local = folder.path().join("program");
        std::fs::write(&local, b"a program").unwrap();
        let (first, hash) = staging.provide(&local, None).unwrap();
        let (again, _) = staging.provide(&local, Some("flott")).unwrap();
        assert_eq!((first.name.as_str(), again.name.as_str()), (hash.to_string().as_str(), "flott"));
        assert_eq!((&first.url, first.size, first.modified), (&again.url, 9, again.modified));
        std::fs::write(&local, b"another").unwrap();
        staging.provide(&local, None).unwrap();
        let cache = folder.path().join("home/.flott/cache");
        let entries = std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name());
        let programs = entries.filter(|name| name.len() == hash.to_string().len());
        assert_eq!(programs.count(), 2);
    }

    #[tokio::test]
    async fn an_upload_that_nobody_wants_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::below(&FsPath::local(folder.path()), RETENTION);
        let cache = folder.path().join(".flott/cache");
        std::fs::create_dir_all(&cache).unwrap();
        let drafts = || std::fs::read_dir(&cache).unwrap().count();
        // What is read comes from here, piece by piece.
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (sent, read) = (pipe.clone(), staging.clone());
        let uploading = tokio::task::spawn_blocking(move || read.upload(&sent, &read.cache().join("x")));
        let mut pipe = std::fs::OpenOptions::new().write(true).open(pipe).unwrap();
        pipe.write_all(&[7; 2 * PIECE_BYTES]).unwrap();
        assert_eq!(drafts(), 1);
        let ((), ended) = tokio::join!(staging.stop_uploads(), async move {
            // If it waits for more; it may have ended before.
            let _ = pipe.write_all(b"more");
            drop(pipe);
            uploading.await.unwrap()
        });
        assert!(matches!(ended, Err(StagingError::Unwanted { .. })));
        assert_eq!(drafts(), 0);
    }

    #[test]
    fn an_archive_keeps_the_end_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::below(&FsPath::local(folder.path()), RETENTION);
        for (name, suffix) in
            [("data.tar.gz", ".tar.gz"), ("a.tgz", ".tgz"), ("B.ZIP", ".zip"), ("c.jar", ".jar")]
        {
            let local = folder.path().join(name);
            std::fs::write(&local, b"an archive").unwrap();
            let resource = staging.provide_archive(&local, name).unwrap();
            assert_eq!((resource.name.as_str(), resource.archive), (name, true));
            let kept = resource.url.rsplit('/').next().unwrap();
            assert_eq!(kept, format!("{}{suffix}", ContentHash::of_file(&local).unwrap()));
            assert!(is_whole(kept) && !is_whole(&format!("{kept}.used")) && !is_whole(name));
        }
        let local = folder.path().join("data.7z");
        std::fs::write(&local, b"another").unwrap();
        let error = staging.provide_archive(&local, "data.7z").unwrap_err().to_string();
        assert!(error.contains("data.7z cannot be unpacked: yarn.ship-archives takes"), "{error}");
        assert!(error.contains("end with .tar.gz .tgz .tar .zip .jar; ship"), "{error}");
    }

    #[test]
    fn a_secret_is_left_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::below(&FsPath::local(folder.path()), RETENTION);
        let secret = Secret::random().unwrap();
        staging.leave_secret("application_1_0001", &secret).unwrap();
        assert!(staging.secret_of("application_1_0001").unwrap() == secret);
        assert!(staging.secret_of("application_1_0002").is_err());
        assert_eq!(staging.older_than(Duration::from_secs(60)).unwrap(), Vec::<String>::new());
        assert_eq!(staging.older_than(Duration::ZERO).unwrap(), ["application_1_0001"]);
    }

    #[tokio::test]
    async fn a_report_is_left_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::below(&FsPath::local(folder.path()), RETENTION);
        assert_eq!(staging.report_of("application_1_0001").unwrap(), None);
        let jobs = JobSummaries(vec![Default::default()]);
        let own = staging.folder_of("application_1_0001").to_string();
        leave_report(&own, &jobs).await.unwrap();
        assert_eq!(staging.report_of("application_1_0001").unwrap(), Some(jobs));
        remove(&own).await;
        assert_eq!(staging.report_of("application_1_0001").unwrap(), None);
    }
}
