//! HDFS, by `hdfs-native`, with what that leaves open: deadlines, retries, ambiguous answers, lost writers.
//!
//! Paths are `hdfs://host:port/x`, `hdfs://nameservice/x`, or `hdfs:///x` on `fs.defaultFS`. The configuration is that of the
//! Hadoop client: `HADOOP_CONF_DIR`, and what was set by `set_hadoop_properties`. What is durable on other file systems is so here: the NameNode logs every change of names, and a
//! sync reaches the DataNodes' disks. One thing differs: the last block of a file that is being written can be read only
//! once the file is closed.
//!
//! ```no_run
//! use flott_fs::{FsPath, for_path};
//!
//! let path: FsPath = "hdfs://localhost:9820/tmp/greeting".parse()?;
//! let fs = for_path(&path)?;
//! fs.write_atomically(&path, b"hello")?;
//! assert_eq!(fs.read(&path)?, b"hello");
//! # Ok::<(), flott_fs::FsError>(())
//! ```

mod cut;
mod failure;
mod proof;
mod reader;
mod recovery;
mod rename;
mod revival;
mod runtime;
mod session;
mod writer;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use hadoop_rpc::configuration::{Configuration, ConfigurationError};
use hadoop_rpc::proto::hdfs::{DatanodeInfo, LocatedBlocks};
use hdfs_native::client::FileStatus as HdfsStatus;

use self::failure::Failure;
use self::reader::HdfsReader;
use self::session::Session;
use self::writer::HdfsWriter;
use crate::error::FsError;
use crate::file_system::{Access, FileReader, FileStatus, FileSystem, FileWriter};
use crate::hadoop::with_properties;
use crate::locations::{BlockHost, BlockLocation};
use crate::path::FsPath;

/// Files on HDFS. It connects when a path is first used.
#[derive(Default)]
pub struct HdfsFileSystem {
    /// None: what the environment says when a path is first used.
    configuration: Option<Configuration>,
    /// By host and port, or nameservice.
    sessions: Mutex<HashMap<String, Arc<Session>>>,
}

impl HdfsFileSystem {
    /// As the Hadoop configuration says that the environment names.
    pub fn new() -> Self {
        Self::default()
    }

    /// As a given Hadoop configuration says.
    pub fn with_configuration(configuration: Configuration) -> Self {
        Self { configuration: Some(configuration), sessions: Mutex::default() }
    }

    /// The session of a path's NameNode.
    fn session(&self, path: &FsPath) -> io::Result<Arc<Session>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = sessions.get(path.authority()) {
            return Ok(session.clone());
        }
        let configuration = match &self.configuration {
            Some(configuration) => configuration.clone(),
            None => with_properties(match Configuration::from_env() {
                // A host and a port are enough for a cluster without security.
                Err(ConfigurationError::NotSet) if path.authority().contains(':') => Configuration::new(),
                loaded => loaded.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
            }),
        };
        let authority = match path.authority() {
            "" => default_authority(&configuration)?,
            authority => authority.to_owned(),
        };
        let session = Session::new(&authority, &configuration)
            .map_err(|failure| failure.into_io(&format!("NameNode of {authority}")))?;
        let session = Arc::new(session);
        sessions.insert(path.authority().to_owned(), session.clone());
        Ok(session)
    }

    /// Does something within the deadline of one call.
    fn call<T, F>(&self, path: &FsPath, work: impl FnOnce(Arc<Session>, String) -> F) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let session = self.session(path)?;
        let result = session.wait(work(session.clone(), path.path().to_owned()));
        result.map_err(|failure| failure.into_io(&session.name_nodes()))
    }

    /// Does something for which others may have to let go of the file first.
    fn recover<T, F>(&self, path: &FsPath, work: impl FnOnce(Arc<Session>, String) -> F) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let session = self.session(path)?;
        let limit = 2 * (session.limits.recovery + session.limits.call);
        let result = runtime::wait(limit, work(session.clone(), path.path().to_owned()));
        result.map_err(|failure| failure.into_io(&session.name_nodes()))
    }

    fn rename_as(&self, from: &FsPath, to: &FsPath, replaces: bool) -> Result<(), FsError> {
        let renamed = if from.authority() == to.authority() {
            let to = to.path().to_owned();
            self.call(
                from,
                |session, from| async move { rename::rename(&session, &from, &to, replaces).await },
            )
        } else {
            Err(io::Error::new(io::ErrorKind::CrossesDevices, "they are on different file systems"))
        };
        renamed.map_err(|error| FsError::rename(from, to, error))
    }
}

/// The host and port, or nameservice, of `fs.defaultFS`.
fn default_authority(configuration: &Configuration) -> io::Result<String> {
    let default = configuration.get_or("fs.defaultFS", "");
    let authority = default.strip_prefix("hdfs://").map(|rest| rest.split('/').next().unwrap_or_default());
    authority.filter(|authority| !authority.is_empty()).map(str::to_owned).ok_or_else(|| {
        let why = format!(
            "it names no NameNode, and fs.defaultFS is '{default}', not an hdfs:// address; write hdfs://host:port/… or \
             have HADOOP_CONF_DIR name the folder of the cluster's core-site.xml"
        );
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}

/// The blocks of a file that can be read, and who has them.
fn locations_of(located: &LocatedBlocks) -> Vec<BlockLocation> {
    let host = |node: &DatanodeInfo| BlockHost {
        name: node.id.host_name.clone(),
        address: node.id.ip_addr.parse().ok(),
        rack: node.location.clone().unwrap_or_default(),
    };
    let sound = located.blocks.iter().filter(|block| !block.corrupt);
    let location = sound.map(|block| BlockLocation {
        offset: block.offset,
        length: block.b.num_bytes(),
        hosts: block.locs.iter().map(host).collect(),
    });
    location.collect()
}

fn status_of(path: FsPath, status: &HdfsStatus) -> FileStatus {
    FileStatus {
        path,
        length: if status.isdir { 0 } else { status.length as u64 },
        modified: i64::try_from(status.modification_time).unwrap_or(i64::MAX),
        is_dir: status.isdir,
    }
}

async fn create_dirs(session: Arc<Session>, path: String, access: Access) -> Result<(), Failure> {
    let permission = match access {
        Access::Ordinary => 0o777 & !session.umask,
        Access::Private => 0o700,
    };
    let made = session.retry(session.deadline(), |client| {
        let path = path.clone();
        async move { client.mkdirs(&path, permission, true).await }
    });
    match made.await {
        Err(failure) if failure.kind() == io::ErrorKind::AlreadyExists => {
            Err(Failure::found(io::ErrorKind::NotADirectory, "it, or a part of it, is a file"))
        }
        made => made,
    }
}

async fn delete(session: Arc<Session>, path: String, is_dir: bool) -> Result<(), Failure> {
    let found = match recovery::look(&session, &path).await {
        Err(failure) if failure.is_not_found() => return Ok(()),
        found => found?.isdir,
    };
    if found != is_dir {
        let (kind, what) = if found {
            (io::ErrorKind::IsADirectory, "it is a folder")
        } else {
            (io::ErrorKind::NotADirectory, "it is a file")
        };
        return Err(Failure::found(kind, what));
    }
    let deleted = session.retry(session.deadline(), |client| {
        let path = path.clone();
        async move { client.delete(&path, is_dir).await }
    });
    match deleted.await {
        // Somebody else deleted it, or the answer to the first attempt was lost.
        Ok(_) => Ok(()),
        Err(failure) if failure.is_not_found() => Ok(()),
        Err(failure) => Err(failure),
    }
}

async fn list(session: Arc<Session>, path: String) -> Result<Vec<HdfsStatus>, Failure> {
    let listed = session
        .retry(session.deadline(), |client| {
            let path = path.clone();
            async move { client.list_status(&path, false).await }
        })
        .await?;
    // Asked for a file, the NameNode lists that.
    if matches!(&listed[..], [only] if !only.isdir && only.path.trim_end_matches('/') == path.trim_end_matches('/'))
    {
        return Err(Failure::found(io::ErrorKind::NotADirectory, "it is a file"));
    }
    Ok(listed)
}

impl FileSystem for HdfsFileSystem {
    fn open(&self, path: &FsPath) -> Result<Box<dyn FileReader>, FsError> {
        match self.call(path, reader::open) {
            Ok(opened) => Ok(Box::new(HdfsReader::new(opened))),
            Err(error) => Err(FsError::io("open", path, error)),
        }
    }

    fn create_with(&self, path: &FsPath, access: Access) -> Result<Box<dyn FileWriter>, FsError> {
        let created = self.call(path, |session, path| async move {
            let permission = match access {
                Access::Ordinary => 0o666 & !session.umask,
                Access::Private => 0o600,
            };
            session.create(&path, permission).await
        });
        match created.and_then(|file| Ok(HdfsWriter::new(self.session(path)?, path, file, 0))) {
            Ok(writer) => Ok(Box::new(writer)),
            Err(error) => Err(FsError::io("create", path, error)),
        }
    }

    fn resume(&self, path: &FsPath, length: u64) -> Result<Box<dyn FileWriter>, FsError> {
        let resumed = self.recover(path, move |session, path| async move {
            cut::cut(&session, &path, length).await?;
            let file = recovery::append(&session, &path).await?;
            // Another writer may have gone on with it in between.
            let found = recovery::look(&session, &path).await?.length as u64;
            if found != length {
                let why = format!("others go on writing it; it has {found} bytes instead of {length}");
                return Err(Failure::found(io::ErrorKind::ResourceBusy, why));
            }
            Ok(file)
        });
        match resumed.and_then(|file| Ok(HdfsWriter::new(self.session(path)?, path, file, length))) {
            Ok(writer) => Ok(Box::new(writer)),
            Err(error) => Err(FsError::io("go on writing", path, error)),
        }
    }

    fn truncate(&self, path: &FsPath, length: u64) -> Result<(), FsError> {
        self.recover(path, move |session, path| async move { cut::cut(&session, &path, length).await })
            .map_err(|error| FsError::io("truncate", path, error))
    }

    fn rename(&self, from: &FsPath, to: &FsPath) -> Result<(), FsError> {
        self.rename_as(from, to, true)
    }

    fn rename_new(&self, from: &FsPath, to: &FsPath) -> Result<(), FsError> {
        self.rename_as(from, to, false)
    }

    fn delete(&self, path: &FsPath) -> Result<(), FsError> {
        self.call(path, |session, path| delete(session, path, false))
            .map_err(|error| FsError::io("delete", path, error))
    }

    fn delete_dir(&self, path: &FsPath) -> Result<(), FsError> {
        let deleted = if matches!(path.name(), "" | "." | "..") {
            let message = "it may be more than was meant; name the folder itself";
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        } else {
            self.call(path, |session, path| delete(session, path, true))
        };
        deleted.map_err(|error| FsError::io("delete the folder", path, error))
    }

    fn create_dirs_with(&self, path: &FsPath, access: Access) -> Result<(), FsError> {
        self.call(path, |session, path| create_dirs(session, path, access))
            .map_err(|error| FsError::io("create the folder", path, error))
    }

    fn status(&self, path: &FsPath) -> Result<FileStatus, FsError> {
        let status = self.call(path, |session, path| async move { recovery::look(&session, &path).await });
        match status {
            Ok(status) => Ok(status_of(path.clone(), &status)),
            Err(error) => Err(FsError::io("look at", path, error)),
        }
    }

    fn has_locations(&self) -> bool {
        true
    }

    fn block_locations(
        &self,
        path: &FsPath,
        offset: u64,
        length: u64,
    ) -> Result<Vec<BlockLocation>, FsError> {
        let located = self.call(path, move |session, path| async move {
            let name_node = session.name_node()?;
            Ok(name_node.get_block_locations(&path, offset, length).await?)
        });
        match located {
            Ok(located) => Ok(locations_of(&located.unwrap_or_default())),
            Err(error) => Err(FsError::io("locate the blocks of", path, error)),
        }
    }

    fn list(&self, path: &FsPath) -> Result<Vec<FileStatus>, FsError> {
        let listed = self.call(path, list).map_err(|error| FsError::io("list", path, error))?;
        let named = |status: &HdfsStatus| {
            let name = status.path.rsplit('/').next().unwrap_or_default();
            status_of(path.join(name), status)
        };
        let mut found: Vec<_> = listed.iter().map(named).collect();
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
