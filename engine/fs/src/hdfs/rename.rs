//! Renames, and whether one happened.
//!
//! When the answer to a rename is lost, a second one would report a failure that is none. So the file is looked at before it is
//! renamed, and when something goes wrong: it has the new name if nothing has the old one any more, and what has the new one is of the same
//! length and time.

use hdfs_native::client::FileStatus;

use super::failure::Failure;
use super::recovery::look;
use super::session::{Pauses, Session};

pub(super) async fn rename(session: &Session, from: &str, to: &str, replaces: bool) -> Result<(), Failure> {
    let deadline = session.deadline();
    let mut pauses = Pauses::until(deadline);
    let before = look(session, from).await?;
    let mut may_have_happened = false;
    loop {
        let (old, new) = (from.to_owned(), to.to_owned());
        let renamed = session
            .attempt(deadline, |client| async move { client.rename(&old, &new, replaces).await })
            .await;
        let Err(failure) = renamed else {
            return Ok(());
        };
        may_have_happened |= failure.is_ambiguous();
        let may_pass = failure.is_ambiguous() || failure.is_passing();
        if may_have_happened && has_happened(session, &before, from, to).await? {
            return Ok(());
        }
        if !may_pass {
            return Err(failure);
        }
        pauses.after(failure).await?;
    }
}

async fn has_happened(session: &Session, before: &FileStatus, from: &str, to: &str) -> Result<bool, Failure> {
    match look(session, from).await {
        Ok(_) => return Ok(false),
        Err(failure) if failure.is_not_found() => {}
        Err(failure) => return Err(failure),
    }
    match look(session, to).await {
        Ok(after) => Ok(is_same(before, &after)),
        Err(failure) if failure.is_not_found() => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn is_same(before: &FileStatus, after: &FileStatus) -> bool {
    let known = |status: &FileStatus| {
        (status.isdir, status.length, status.modification_time, status.owner.clone(), status.permission)
    };
    known(before) == known(after)
}
