//! Goes on writing a file whose DataNodes were all lost, as when the only one is restarted.
//!
//! The last bytes that were sent are remembered. The lost writer's lease is taken back, which makes the DataNodes agree on how much of the file they
//! hold; what is missing of it is sent again. Nothing is cut. Only the writer that the NameNode still knows may do this, or, once it has let go of
//! the file, one that finds it as it was left: whoever was replaced by another gives up.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hdfs_native::client::FileStatus;
use hdfs_native::file::FileWriter as HdfsFile;
use tokio::time::Instant;

use super::failure::Failure;
use super::recovery::{self, look};
use super::session::{Pauses, Session};
use super::writer::sync;

/// How many of the last bytes are remembered: more than is on its way to DataNodes that acknowledge what they get.
const REMEMBERED: u64 = 1 << 20;

/// The last bytes that were sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    pieces: VecDeque<Bytes>,
    bytes: u64,
}

impl Tail {
    pub(super) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len() as u64;
        self.pieces.push_back(piece);
        while let Some(first) = self.pieces.front()
            && self.bytes - first.len() as u64 >= REMEMBERED
        {
            self.bytes -= first.len() as u64;
            self.pieces.pop_front();
        }
    }

    /// The last so many bytes; none if they are not remembered.
    fn last(&self, bytes: u64) -> Option<Vec<Bytes>> {
        let mut skipped = usize::try_from(self.bytes.checked_sub(bytes)?).ok()?;
        let mut last = Vec::new();
        for piece in &self.pieces {
            let from = skipped.min(piece.len());
            skipped -= from;
            last.push(piece.slice(from..));
        }
        last.retain(|piece| !piece.is_empty());
        Some(last)
    }
}

/// Opens the file at `path` again behind `length` bytes, the last of which are in `tail`; its DataNodes are waited for as long as a call may take.
pub(super) async fn revive(
    session: Arc<Session>,
    path: String,
    file: HdfsFile,
    length: u64,
    tail: Tail,
) -> Result<HdfsFile, Failure> {
    let mut left = let_go(&session, &path, file).await?;
    let mut pauses = Pauses::until(Instant::now() + session.limits.call);
    loop {
        let (failure, held) = match go_on(&session, &path, &left, length, &tail).await {
            Ok(file) => return Ok(file),
            Err(failed) => failed,
        };
        let may_pass = failure.is_of_data_nodes() || failure.is_ambiguous() || failure.is_passing();
        let waited = if may_pass { pauses.after(failure).await } else { Err(failure) };
        match (waited, held) {
            (Ok(()), Some(file)) => left = let_go(&session, &path, file).await?,
            (Ok(()), None) => {}
            (Err(failure), held) => {
                // Whoever is next finds it closed, if that is possible.
                if let Some(mut file) = held {
                    let _ = file.close().await;
                }
                return Err(failure);
            }
        }
    }
}

/// Closes a file and says how it is left. It has to be the one that the NameNode knows as being written: so nobody has taken it over by now.
///
/// The file is gone when this returns: as long as it is there, and once more when it goes, it concerns itself with the lease of whoever goes on.
async fn let_go(session: &Session, path: &str, mut file: HdfsFile) -> Result<FileStatus, Failure> {
    if file.close().await.is_ok() {
        drop(file);
        return look(session, path).await;
    }
    // Its block cannot be finished any more; what is left is what the NameNode knows.
    match sync(file, session.limits.recovery.mul_f64(0.9)).await? {
        (_, Some(failure)) => Err(failure),
        (file, None) => {
            drop(file);
            recovery::close(session, path).await
        }
    }
}

/// Opens the file that was `left`, if it is still the same, and writes what is missing of `length` bytes. What fails comes with the file if that is
/// held already.
async fn go_on(
    session: &Session,
    path: &str,
    left: &FileStatus,
    length: u64,
    tail: &Tail,
) -> Result<HdfsFile, (Failure, Option<HdfsFile>)> {
    let found = left.length as u64;
    let Some(missing) = length.checked_sub(found).and_then(|bytes| tail.last(bytes)) else {
        let why = format!("it has {found} bytes, but {length} were written to it");
        return Err((Failure::found(io::ErrorKind::UnexpectedEof, why), None));
    };
    let owned = path.to_owned();
    let appended =
        session.attempt(session.deadline(), |client| async move { client.append(&owned).await }).await;
    let mut file = appended.map_err(|failure| (failure, None))?;
    // While nobody held it somebody may have gone on with it, and have finished. Nobody can from now on.
    match look(session, path).await {
        Ok(now) if is_as_left(left, &now) => {}
        Ok(_) => {
            let failure = Failure::found(io::ErrorKind::ResourceBusy, "another writer has gone on with it");
            return Err((failure, Some(file)));
        }
        Err(failure) => return Err((failure, Some(file))),
    }
    for piece in missing {
        if let Err(error) = file.write_bytes(piece).await {
            return Err((error.into(), Some(file)));
        }
    }
    Ok(file)
}

/// Whoever changes a file, and is done, changes one of these; opening it changes none.
fn is_as_left(left: &FileStatus, now: &FileStatus) -> bool {
    (left.length, left.modification_time) == (now.length, now.modification_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_remembered() {
        let mut tail = Tail::default();
        assert_eq!(tail.last(0), Some(Vec::new()));
        assert_eq!(tail.last(1), None);
        tail.push(Bytes::from_static(b"abc"));
        tail.push(Bytes::from_static(b"def"));
        assert_eq!(tail.last(6).unwrap().concat(), b"abcdef");
        assert_eq!(tail.last(4).unwrap().concat(), b"cdef");
        assert_eq!(tail.last(3).unwrap().concat(), b"def");
        assert_eq!(tail.last(0).unwrap().concat(), b"");
        assert_eq!(tail.last(7), None);
        for _ in 0..8 {
            tail.push(vec![1; 300 << 10].into());
        }
        assert!(tail.bytes >= REMEMBERED && tail.bytes < REMEMBERED + (300 << 10));
        assert_eq!(tail.last(REMEMBERED).unwrap().concat().len() as u64, REMEMBERED);
    }
    #[test]
    fn a_file_that_somebody_has_finished_is_not_as_it_was_left() {
        let left = FileStatus {
            path: "/x".to_owned(),
            length: 10,
            isdir: false,
            permission: 0o644,
            owner: String::new(),
            group: String::new(),
            modification_time: 1000,
            access_time: 1000,
            replication: None,
            blocksize: None,
        };
        assert!(is_as_left(&left, &FileStatus { access_time: 2000, ..left.clone() }));
        assert!(!is_as_left(&left, &FileStatus { modification_time: 1001, ..left.clone() }));
        assert!(!is_as_left(&left, &FileStatus { length: 11, ..left.clone() }));
    }
}
