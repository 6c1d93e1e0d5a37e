//! What lets an application outlive the tokens that it began with: a keytab, with which this ApplicationMaster gets new ones, and files that it
//! fetches by itself because YARN could not any more.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flott_core::config;
use flott_fs::{FsError, FsPath, for_path};
use hadoop_rpc::User;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Container, ContainerError, EnvironmentError, hadoop_configuration, token_file};
use crate::application::Resource;
use crate::security::{self, Renewal, RenewedTokens};

/// The keytab in the container's folder.
pub(crate) const KEYTAB: &str = "krb5.keytab";

/// What is copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Tokens, as long as the application needs some.
pub(super) struct Lifetime {
    pub(super) tokens: RenewedTokens,
    /// What gets new ones; it ends with this.
    _renewing: JoinSet<()>,
}

impl Lifetime {
    /// Has new tokens got in time, where there is a keytab. Those at hand may be too old for anything; then this waits for new ones.
    pub(super) async fn begin(container: &Container) -> Result<Self, ContainerError> {
        let launched = security::of_file_systems(&container.credentials);
        let Some(principal) = &container.application.principal else {
            // Nobody sends anything: what was launched with stays.
            let (_, launch) = watch::channel(launched);
            let (_, files) = watch::channel(Vec::new());
            return Ok(Self { tokens: RenewedTokens { launch, files }, _renewing: JoinSet::new() });
        };
        let keytab = keytab_of(container)?;
        let (renewal, tokens) = Renewal::new(
            User::from_keytab(principal, keytab),
            hadoop_configuration(&container.application),
            &security::file_systems(&container.configuration)?,
            &token_file()?,
            launched,
        )?;
        Ok(Self { tokens, _renewing: renewal.begin().await })
    }
}

/// Where the keytab is: what was shipped becomes a file that only this user may read.
fn keytab_of(container: &Container) -> Result<PathBuf, ContainerError> {
    let Some(bytes) = &container.application.keytab else {
        return Ok(container.configuration.get_optional(&config::YARN_LOCALIZED_KEYTAB).unwrap_or_default());
    };
    let path = std::env::current_dir().map_err(ContainerError::Threads)?.join(KEYTAB);
    let write = || {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(bytes)
    };
    write().map_err(|source| EnvironmentError::Io { path: path.clone(), source })?;
    Ok(path)
}

/// Fetches the files of the application that YARN was not asked to bring here.
pub(super) async fn fetch_missing(container: &Container) -> Result<(), ContainerError> {
    let missing = |resource: &&Resource| !resource.public && !Path::new(&resource.name).exists();
    let missing: Vec<Resource> = container.application.resources.iter().filter(missing).cloned().collect();
    let fetched = tokio::task::spawn_blocking(move || missing.iter().try_for_each(fetch));
    Ok(fetched.await.map_err(|error| ContainerError::Threads(io::Error::other(error)))??)
}

/// Copies one, executable for its user as YARN would have it. Blocks.
fn fetch(resource: &Resource) -> Result<(), FsError> {
    let from: FsPath = resource.url.parse()?;
    let to = Path::new(&resource.name);
    let failed = |error| FsError::io("write", &FsPath::local(to), error);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let draft = to.with_extension("inprogress");
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o700)
        .open(&draft)
        .map_err(failed)?;
    let mut file = for_path(&from)?.open(&from)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece).map_err(|error| FsError::io("read", &from, error))? {
            0 => break,
            count => out.write_all(&piece[..count]).map_err(failed)?,
        }
    }
    drop(out);
    fs::rename(&draft, to).map_err(failed)?;
    tracing::info!(file = resource.name, bytes = resource.size, "a file of the application was fetched");
    Ok(())
}
