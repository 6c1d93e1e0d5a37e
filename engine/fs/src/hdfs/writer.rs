//! Writes a file.
//!
//! Small writes are collected; each piece goes to the DataNodes within a deadline. DataNodes that are lost are waited for (`revival`). If they do not
//! come back nobody knows how much they have, and the writer is used up: whoever needs the file goes on with
//! [`resume`](crate::FileSystem::resume).

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hdfs_native::HdfsError;
use hdfs_native::file::FileWriter as HdfsFile;
use tokio::time::Instant;

use super::failure::Failure;
use super::recovery;
use super::revival::{Tail, revive};
use super::runtime;
use super::session::{Pauses, Session};
use crate::error::FsError;
use crate::file_system::FileWriter;
use crate::path::FsPath;

/// How much is collected before it is sent.
const PIECE: usize = 256 * 1024;

/// How often one thing is tried with DataNodes that are lost again and again.
const ATTEMPTS: u32 = 3;

pub(super) struct HdfsWriter {
    session: Arc<Session>,
    path: FsPath,
    /// None once something went wrong.
    file: Option<HdfsFile>,
    collected: BytesMut,
    /// How long the file is with all that was sent.
    length: u64,
    /// The last of it.
    tail: Tail,
}

impl HdfsWriter {
    /// `length` is how long the file is already.
    pub(super) fn new(session: Arc<Session>, path: &FsPath, file: HdfsFile, length: u64) -> Self {
        Self {
            session,
            path: path.clone(),
            file: Some(file),
            collected: BytesMut::new(),
            length,
            tail: Tail::default(),
        }
    }

    fn file(&mut self) -> Result<HdfsFile, Failure> {
        let used_up = || Failure::found(io::ErrorKind::BrokenPipe, "writing it has failed before");
        self.file.take().ok_or_else(used_up)
    }

    fn send(&mut self) -> Result<(), Failure> {
        let bytes = self.collected.split().freeze();
        if bytes.is_empty() {
            return Ok(());
        }
        let file = self.file()?;
        self.length += bytes.len() as u64;
        self.tail.push(bytes.clone());
        let (file, failure) = runtime::wait(self.session.limits.data, write(file, bytes))?;
        self.file = Some(match failure {
            None => file,
            Some(failure) => self.revive(file, failure)?,
        });
        Ok(())
    }

    /// Waits for DataNodes that were lost, or for a NameNode that takes no changes yet, and has the file go on.
    fn revive(&self, file: HdfsFile, failure: Failure) -> Result<HdfsFile, Failure> {
        if !failure.is_of_data_nodes() && !failure.is_ambiguous() && !failure.is_passing() {
            return Err(failure);
        }
        let limit = self.session.limits.data + self.session.limits.recovery;
        let (session, path) = (self.session.clone(), self.path.path().to_owned());
        let revived = runtime::wait(limit, revive(session, path, file, self.length, self.tail.clone()));
        // What went wrong first is what counts; but DataNodes that were lost may only have been full.
        revived.map_err(|last| if last.kind() == io::ErrorKind::StorageFull { last } else { failure })
    }

    fn sync_all(&mut self) -> Result<(), Failure> {
        self.send()?;
        let limit = self.session.limits.data;
        for _ in 1..ATTEMPTS {
            match runtime::wait(limit, sync(self.file()?, limit.mul_f64(0.9)))? {
                (file, None) => {
                    self.file = Some(file);
                    return Ok(());
                }
                (file, Some(failure)) => self.file = Some(self.revive(file, failure)?),
            }
        }
        let (file, failure) = runtime::wait(limit, sync(self.file()?, limit.mul_f64(0.9)))?;
        self.file = Some(file);
        failure.map_or(Ok(()), Err)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.send()?;
        let mut closed = runtime::wait(self.session.limits.data, close(self.file()?));
        for _ in 1..ATTEMPTS {
            let (file, failure) = match closed {
                Ok((file, Some(failure))) if failure.is_of_data_nodes() => (file, failure),
                other => {
                    closed = other;
                    break;
                }
            };
            closed = runtime::wait(self.session.limits.data, close(self.revive(file, failure)?));
        }
        let (file, failure) = match closed {
            Ok((_, None)) => return Ok(()),
            Ok((file, Some(failure))) => (Some(file), failure),
            Err(failure) => (None, failure),
        };
        if !failure.is_ambiguous() && !failure.is_passing() {
            return Err(failure);
        }
        let (session, path, length) = (self.session.clone(), self.path.path().to_owned(), self.length);
        let settled = async move { settle(&session, &path, file, length).await };
        let settled = runtime::wait(self.session.limits.call + self.session.limits.recovery, settled);
        if matches!(settled, Ok(true)) { Ok(()) } else { Err(failure) }
    }

    fn error(&self, failure: Failure) -> FsError {
        FsError::io("write", &self.path, failure.into_io(&self.session.name_nodes()))
    }
}

async fn write(mut file: HdfsFile, bytes: Bytes) -> Result<(HdfsFile, Option<Failure>), Failure> {
    let failure = file.write_bytes(bytes).await.err().map(Failure::Hdfs);
    Ok((file, failure))
}

/// Gives the file back, since it is still held if closing it fails.
async fn close(mut file: HdfsFile) -> Result<(HdfsFile, Option<Failure>), Failure> {
    let failure = file.close().await.err().map(Failure::Hdfs);
    Ok((file, failure))
}

/// Whether a file is closed with all that was written to it, although closing it has failed: only the answer may have been lost, or a NameNode that
/// restarts refuses changes for a while. Who finds it open closes it if it is still its own, and not another writer's by now.
async fn settle(session: &Session, path: &str, file: Option<HdfsFile>, length: u64) -> Result<bool, Failure> {
    if !session.name_node()?.is_file_closed(path).await? {
        let Some(file) = file else { return Ok(false) };
        // Only the writer that the NameNode knows may sync it. Its bytes are with the DataNodes already.
        let (_file, failure) = sync(file, session.limits.call.mul_f64(0.9)).await?;
        failure.map_or(Ok(()), Err)?;
        recovery::close(session, path).await?;
    }
    Ok(recovery::look(session, path).await?.length as u64 == length)
}

/// What is synced twice is as durable, so a NameNode that restarts meanwhile is waited for.
pub(super) async fn sync(
    mut file: HdfsFile,
    limit: Duration,
) -> Result<(HdfsFile, Option<Failure>), Failure> {
    let mut pauses = Pauses::until(Instant::now() + limit);
    loop {
        let Err(failure) = file.hsync().await.map_err(Failure::Hdfs) else { return Ok((file, None)) };
        if !matches!(failure, Failure::Hdfs(HdfsError::IOError(_))) && !failure.is_passing() {
            return Ok((file, Some(failure)));
        }
        if let Err(failure) = pauses.after(failure).await {
            return Ok((file, Some(failure)));
        }
    }
}

impl Write for HdfsWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.collected.len();
        let taken = bytes.len().min(room);
        self.collected.extend_from_slice(&bytes[..taken]);
        if self.collected.len() == PIECE {
            self.send().map_err(|failure| failure.into_io(&self.session.name_nodes()))?;
        }
        Ok(taken)
    }

    /// Hands what was written to the DataNodes.
    fn flush(&mut self) -> io::Result<()> {
        self.send().map_err(|failure| failure.into_io(&self.session.name_nodes()))
    }
}

impl FileWriter for HdfsWriter {
    fn sync(&mut self) -> Result<(), FsError> {
        self.sync_all().map_err(|failure| self.error(failure))
    }

    fn close(mut self: Box<Self>) -> Result<(), FsError> {
        self.finish().map_err(|failure| self.error(failure))
    }
}
