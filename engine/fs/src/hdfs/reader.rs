//! Reads a file: one piece is in hand, the next is on its way.
//!
//! Pieces grow while reading goes straight on, and begin small again after a seek; so a footer costs little and a scan few
//! requests. Where the blocks are, and with which tokens they are read, is found out when the file is opened; when reading fails
//! (a token has expired, a block has moved) the file is opened anew, and reading goes on at the same byte.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use hdfs_native::client::FileStatus;
use hdfs_native::file::FileReader as HdfsFile;
use tokio::time::Instant;

use super::failure::Failure;
use super::recovery;
use super::runtime::{self, Working};
use super::session::{Pauses, Session};

const FIRST_PIECE: usize = 256 * 1024;
pub(super) const LARGEST_PIECE: usize = 4 * 1024 * 1024;
/// How often a piece is tried.
const ATTEMPTS: u32 = 4;

/// A file as it was when it was opened.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) session: Arc<Session>,
    pub(super) path: String,
    pub(super) length: u64,
    pub(super) modified: u64,
    file: Arc<HdfsFile>,
}

/// Opens a file.
pub(super) async fn open(session: Arc<Session>, path: String) -> Result<Opened, Failure> {
    let deadline = session.deadline();
    let mut status = recovery::look(&session, &path).await?;
    let mut attempt = 1;
    let file = loop {
        if status.isdir {
            return Err(Failure::found(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        let file = locate(&session, deadline, &path).await?;
        if file.file_length() == status.length || attempt == ATTEMPTS {
            break file;
        }
        // Another file may have got the name between the two looks.
        let again = recovery::look(&session, &path).await?;
        if is_same(&status, &again) {
            break file;
        }
        (status, attempt) = (again, attempt + 1);
    };
    let (length, readable) = (status.length as u64, file.file_length() as u64);
    if readable < length {
        let why = format!(
            "it is being written: {readable} of its {length} bytes can be read before its writer has closed it, or \
             hdfs debug recoverLease has"
        );
        return Err(Failure::found(io::ErrorKind::ResourceBusy, why));
    }
    Ok(Opened { session, path, length: readable, modified: status.modification_time, file: Arc::new(file) })
}

fn is_same(before: &FileStatus, after: &FileStatus) -> bool {
    (before.length, before.modification_time) == (after.length, after.modification_time)
}

async fn locate(session: &Session, deadline: Instant, path: &str) -> Result<HdfsFile, Failure> {
    session
        .retry(deadline, |client| {
            let path = path.to_owned();
            async move { client.read(&path).await }
        })
        .await
}

impl Opened {
    /// Reads what must be there, opening the file anew when that fails. Another file of the name is an error, unless nobody has
    /// seen anything of this one (`is_unseen`).
    pub(super) async fn piece(
        mut self,
        at: u64,
        mut length: usize,
        is_unseen: bool,
    ) -> Result<(Self, Bytes), Failure> {
        let mut pauses = Pauses::until(Instant::now() + self.session.limits.data);
        let mut attempt = 1;
        loop {
            // The client asserts, instead of checking, that there is as much: what `Opened` says is never more.
            let failure = match self.file.read_range(at as usize, length).await {
                Ok(bytes) if bytes.len() == length => return Ok((self, bytes)),
                Ok(bytes) => {
                    let why = format!("{} of {length} bytes came", bytes.len());
                    Failure::found(io::ErrorKind::UnexpectedEof, why)
                }
                Err(error) => Failure::Hdfs(error),
            };
            if attempt == ATTEMPTS {
                return Err(failure);
            }
            attempt += 1;
            pauses.after(failure).await?;
            let again = open(self.session.clone(), self.path.clone()).await?;
            let is_other = again.length == self.length && again.modified != self.modified;
            if is_unseen {
                length =
                    usize::try_from(again.length.saturating_sub(at)).map_or(length, |left| left.min(length));
                self = again;
            } else if again.length < self.length || is_other {
                let why = format!("it was changed while it was read: it has {} bytes now", again.length);
                return Err(Failure::found(io::ErrorKind::InvalidData, why));
            } else {
                self.file = again.file;
            }
        }
    }
}

/// The reader that callers get.
pub(super) struct HdfsReader {
    opened: Opened,
    /// Where the next byte comes from.
    at: u64,
    /// What begins at `at`.
    bytes: Bytes,
    /// What begins behind `bytes`.
    ahead: Option<Working<(Opened, Bytes)>>,
    piece: usize,
    /// Whether the caller knows nothing yet of what is in the file.
    is_unseen: bool,
}

impl HdfsReader {
    pub(super) fn new(opened: Opened) -> Self {
        Self { opened, at: 0, bytes: Bytes::new(), ahead: None, piece: FIRST_PIECE, is_unseen: true }
    }

    /// Has the next piece fetched, if there is one.
    fn fetch(&mut self) -> Result<(), Failure> {
        let from = self.at + self.bytes.len() as u64;
        let left = usize::try_from(self.opened.length.saturating_sub(from)).unwrap_or(usize::MAX);
        let length = self.piece.min(left);
        if self.ahead.is_some() || length == 0 {
            return Ok(());
        }
        let limit = self.opened.session.limits.data + self.opened.session.limits.call;
        self.ahead = Some(runtime::start(
            limit,
            self.opened.clone().piece(from, length, self.is_unseen && from == 0),
        )?);
        self.piece = (self.piece * 2).min(LARGEST_PIECE);
        Ok(())
    }

    fn fill(&mut self) -> Result<(), Failure> {
        self.fetch()?;
        if let Some(ahead) = self.ahead.take() {
            (self.opened, self.bytes) = ahead.wait()?;
            self.is_unseen = false;
            self.fetch()?;
        }
        Ok(())
    }
}

impl Read for HdfsReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && !into.is_empty() {
            self.fill().map_err(|failure| failure.into_io(&self.opened.session.name_nodes()))?;
        }
        let length = into.len().min(self.bytes.len());
        self.bytes.copy_to_slice(&mut into[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for HdfsReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.is_unseen &= !matches!(to, SeekFrom::End(_));
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.opened.length.checked_add_signed(by),
        };
        let to = to.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the beginning of the file")
        })?;
        let forward = to.checked_sub(self.at).and_then(|by| usize::try_from(by).ok());
        match forward.filter(|by| *by <= self.bytes.len()) {
            Some(by) => self.bytes.advance(by),
            None => {
                (self.bytes, self.ahead, self.piece) = (Bytes::new(), None, FIRST_PIECE);
            }
        }
        self.at = to;
        Ok(to)
    }
}
