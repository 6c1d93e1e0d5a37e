//! Goes on writing a file whose DataNodes were all lost, as when the only one is restarted.
//!
//! The last bytes that were sent are remembered. The lost writer's lease is taken back, which makes the DataNodes agree on how much of the file they
//! hold; what is missing of it is sent again. Nothing is cut. Only the writer that the NameNode still knows may do this: one that was replaced by
//! another while it was away finds that out first.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hdfs_native::file::FileWriter as HdfsFile;
use tokio::time::Instant;

use super::failure::Failure;
use super::recovery;
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
    mut file: HdfsFile,
    length: u64,
    tail: Tail,
) -> Result<HdfsFile, Failure> {
    let limit = session.limits.call;
    // This fails, since its block cannot be finished any more; what is left is what the NameNode knows.
    if file.close().await.is_err()
        && let (_, Some(failure)) = sync(file, limit.mul_f64(0.5)).await?
    {
        return Err(failure);
    }
    let mut pauses = Pauses::until(Instant::now() + limit);
    loop {
        match go_on(&session, &path, length, &tail).await {
            Err(failure) if failure.is_of_data_nodes() || failure.is_ambiguous() || failure.is_passing() => {
                pauses.after(failure).await?;
            }
            result => return result,
        }
    }
}

async fn go_on(session: &Session, path: &str, length: u64, tail: &Tail) -> Result<HdfsFile, Failure> {
    let found = recovery::close(session, path).await?.length as u64;
    let Some(missing) = length.checked_sub(found).and_then(|bytes| tail.last(bytes)) else {
        let why = format!("it has {found} bytes, but {length} were written to it");
        return Err(Failure::found(io::ErrorKind::UnexpectedEof, why));
    };
    let mut file = recovery::append(session, path).await?;
    for piece in missing {
        file.write_bytes(piece).await?;
    }
    Ok(file)
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
}
