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
        let mut file = self.file()?;
        let closing = async move { file.close().await.map_err(Failure::Hdfs) };
        let closed = runtime::wait(self.session.limits.data, closing);
        let Err(failure) = closed else {
            return Ok(());
        };
        // It may be closed all the same, and only the answer have been lost. Who finds it open does not take it: it may be another
        // writer's by now.
        if !failure.is_ambiguous() && !failure.is_passing() {
            return Err(failure);
        }
        let (session, path, length) = (self.session.clone(), self.path.path().to_owned(), self.length);
        let settled = self.session.wait(async move {
            let is_closed = session.name_node()?.is_file_closed(&path).await?;
            Ok(is_closed && recovery::look(&session, &path).await?.length as u64 == length)
        });
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
