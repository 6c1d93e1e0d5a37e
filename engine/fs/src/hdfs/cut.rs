//! Cuts files to what a checkpoint remembers of them.
//!
//! The NameNode truncates, except files that are erasure-coded: of those a copy of the first bytes takes the place.

use std::io;
use std::sync::Arc;

use super::failure::Failure;
use super::reader::{self, LARGEST_PIECE};
use super::recovery::{look, settle};
use super::rename::rename;
use super::session::{Session, unique};

/// How often cutting is tried while others hold the file.
const ATTEMPTS: u32 = 4;

/// Cuts a file to its first `length` bytes, whoever was writing it.
pub(super) async fn cut(session: &Arc<Session>, path: &str, length: u64) -> Result<(), Failure> {
    for _ in 1..ATTEMPTS {
        if settle(session, path, length).await? == length {
            return Ok(());
        }
        match truncate(session, path, length).await {
            // Cut at once, or soon: then DataNodes have to agree on the last block.
            Ok(is_done) if is_done => return Ok(()),
            Ok(_) => {}
            // An answer that was lost: it may be cut, or others may hold it once more. Safe mode is waited for when it is settled.
            Err(failure) if failure.is_ambiguous() || failure.is_held() || failure.is_passing() => {}
            Err(failure) if failure.is_unsupported() => return copy(session, path, length).await,
            Err(failure) => return Err(failure),
        }
    }
    if settle(session, path, length).await? == length {
        return Ok(());
    }
    let why = format!("others go on writing it; it still has more than {length} bytes");
    Err(Failure::found(io::ErrorKind::ResourceBusy, why))
}

async fn truncate(session: &Session, path: &str, length: u64) -> Result<bool, Failure> {
    Ok(session.name_node()?.truncate(path, length, &format!("flott-{:016x}", unique())).await?)
}

/// Puts a copy of the first bytes in the file's place. Who can read or write it stays; that it is another file may be seen.
async fn copy(session: &Arc<Session>, path: &str, length: u64) -> Result<(), Failure> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let temporary = format!("{folder}/.{name}.{:016x}.inprogress", unique());
    let copied = async {
        let permission = u32::from(look(session, path).await?.permission);
        let mut file = session.create(&temporary, permission).await?;
        let mut opened = reader::open(session.clone(), path.to_owned()).await?;
        let mut at = 0;
        while at < length {
            let piece = usize::try_from(length - at).map_or(LARGEST_PIECE, |left| left.min(LARGEST_PIECE));
            let bytes;
            (opened, bytes) = opened.piece(at, piece, false).await?;
            file.write_bytes(bytes).await?;
            at += piece as u64;
        }
        file.close().await?;
        rename(session, &temporary, path, true).await
    };
    let copied = copied.await;
    if copied.is_err() {
        // What went wrong first is what counts.
        let _ = session
            .attempt(session.deadline(), |client| async move { client.delete(&temporary, false).await })
            .await;
    }
    copied
}
