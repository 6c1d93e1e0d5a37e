//! Writes a file.
//!
//! Small writes are collected; each piece goes to the DataNodes within a deadline. Once a piece could not be written nobody knows how
//! much of it was, so the writer is used up: whoever needs the file goes on with [`resume`](crate::FileSystem::resume).

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hdfs_native::HdfsError;
use hdfs_native::file::FileWriter as HdfsFile;
use tokio::time::Instant;

use super::failure::Failure;
use super::recovery;
use super::runtime;
use super::session::{Pauses, Session};
use crate::error::FsError;
use crate::file_system::FileWriter;
use crate::path::FsPath;

/// How much is collected before it is sent.
const PIECE: usize = 256 * 1024;

pub(super) struct HdfsWriter {
    session: Arc<Session>,
    path: FsPath,
    /// None once something went wrong.
    file: Option<HdfsFile>,
    collected: BytesMut,
    /// How long the file is with all that was sent.
    length: u64,
}

impl HdfsWriter {
    /// `length` is how long the file is already.
    pub(super) fn new(session: Arc<Session>, path: &FsPath, file: HdfsFile, length: u64) -> Self {
        Self { session, path: path.clone(), file: Some(file), collected: BytesMut::new(), length }
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
        let length = bytes.len() as u64;
        let file = self.file()?;
        self.file = Some(runtime::wait(self.session.limits.data, write(file, bytes))?);
        self.length += length;
        Ok(())
    }

    fn sync_all(&mut self) -> Result<(), Failure> {
        self.send()?;
        let (file, limit) = (self.file()?, self.session.limits.data);
        self.file = Some(runtime::wait(limit, sync(file, limit.mul_f64(0.9)))?);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.send()?;
        let file = self.file()?;
        let closed = runtime::wait(self.session.limits.data, close(file));
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

async fn write(mut file: HdfsFile, bytes: Bytes) -> Result<HdfsFile, Failure> {
    file.write_bytes(bytes).await?;
    Ok(file)
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
        let _own = sync(file, session.limits.call.mul_f64(0.9)).await?;
        recovery::close(session, path).await?;
    }
    Ok(recovery::look(session, path).await?.length as u64 == length)
}

/// What is synced twice is as durable, so a NameNode that restarts meanwhile is waited for.
async fn sync(mut file: HdfsFile, limit: Duration) -> Result<HdfsFile, Failure> {
    let mut pauses = Pauses::until(Instant::now() + limit);
    loop {
        match file.hsync().await.map_err(Failure::Hdfs) {
            Ok(()) => return Ok(file),
            Err(failure)
                if matches!(failure, Failure::Hdfs(HdfsError::IOError(_))) || failure.is_passing() =>
            {
                pauses.after(failure).await?;
            }
            Err(failure) => return Err(failure),
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
