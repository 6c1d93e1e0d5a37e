//! What a writer that died has left: files that are still held, and that are longer than a checkpoint remembers.
//!
//! The NameNode lets a file have one writer, whose lease it keeps for an hour or more after the writer was last heard of. Who takes over says so, and
//! then waits for DataNodes to agree on the last block. Cutting a file within a block needs the same agreement.

use std::io;

use hdfs_native::client::FileStatus;
use hdfs_native::file::FileWriter as HdfsFile;
use tokio::time::Instant;

use super::failure::Failure;
use super::session::{Pauses, Session};

/// How often opening a file to append is tried when others hold it again.
const ATTEMPTS: u32 = 3;

pub(super) async fn look(session: &Session, path: &str) -> Result<FileStatus, Failure> {
    session
        .retry(session.deadline(), |client| {
            let path = path.to_owned();
            async move { client.get_file_info(&path).await }
        })
        .await
}

/// Takes a file from whoever is writing it, and waits until it is closed.
pub(super) async fn close(session: &Session, path: &str) -> Result<FileStatus, Failure> {
    let limit = session.limits.recovery;
    let mut pauses = Pauses::until(Instant::now() + limit);
    loop {
        let recovered = session
            .retry(session.deadline(), |client| {
                let path = path.to_owned();
                async move { client.recover_lease(&path).await }
            })
            .await;
        let failure = match recovered {
            Ok(true) => return look(session, path).await,
            Ok(false) => {
                let why = format!(
                    "its last block was not recovered within {limit:?}; are the DataNodes that hold it running?"
                );
                Failure::found(io::ErrorKind::TimedOut, why)
            }
            Err(failure) if failure.is_held() => failure,
            Err(failure) => return Err(failure),
        };
        pauses.after(failure).await?;
    }
}

/// Closes a file and checks that it has at least `length` bytes; says how many it has.
pub(super) async fn settle(session: &Session, path: &str, length: u64) -> Result<u64, Failure> {
    let status = close(session, path).await?;
    if status.isdir {
        return Err(Failure::found(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    let found = status.length as u64;
    if found < length {
        let why = format!("it has {found} bytes, but {length} were written to it");
        return Err(Failure::found(io::ErrorKind::UnexpectedEof, why));
    }
    Ok(found)
}

/// Opens a closed file to write behind its end.
pub(super) async fn append(session: &Session, path: &str) -> Result<HdfsFile, Failure> {
    let deadline = session.deadline();
    let mut pauses = Pauses::until(deadline);
    let mut attempt = 1;
    loop {
        let owned = path.to_owned();
        let failure =
            match session.attempt(deadline, |client| async move { client.append(&owned).await }).await {
                Ok(file) => return Ok(file),
                Err(failure) => failure,
            };
        // An answer that was lost leaves the file held by this very client.
        let is_held = failure.is_ambiguous() || failure.is_held();
        if attempt == ATTEMPTS || !(is_held || failure.is_passing()) {
            return Err(failure);
        }
        attempt += 1;
        pauses.after(failure).await?;
        if is_held {
            close(session, path).await?;
        }
    }
}
