//! Is a folder of HDFS its user's alone? What is taken from there is run, so that nobody else may have put it there.

use flott_fs::FsPath;
use hadoop_rpc::configuration::Configuration as HadoopConfiguration;
use hadoop_rpc::proto::hdfs::HdfsFileStatus;
use hadoop_rpc::{NameNode, User};

use super::SecurityError;

/// Others than the user may do anything with it. With an access control list, these bits say the most that it gives to anybody.
const ANY: u32 = 0o077;

/// Others than the user may change what is in it.
const WRITE: u32 = 0o022;

/// Whom a folder has to keep out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Everybody but the user.
    ToAll,
    /// Everybody else who would write.
    ToWriters,
}

/// Whether a folder is `user`'s and closed.
fn judge(path: &FsPath, owner: &str, mode: u32, user: &str, closed: Closed) -> Result<(), SecurityError> {
    if owner != user {
        return Err(SecurityError::NotOwn {
            path: path.to_string(),
            owner: owner.to_owned(),
            user: user.to_owned(),
        });
    }
    let open = match closed {
        Closed::ToAll => ANY,
        Closed::ToWriters => WRITE,
    };
    if mode & open != 0 {
        return Err(SecurityError::Open { path: path.to_string(), mode: mode & 0o777 });
    }
    Ok(())
}

/// Checks that a folder of HDFS, if it is there, is `name`'s and closed. On other file systems, machines of a cluster see each its own.
///
/// # Errors
/// [`SecurityError`] with what to do.
pub(crate) async fn check_closed(
    hadoop: &HadoopConfiguration,
    (user, name): (&User, &str),
    path: &FsPath,
    closed: Closed,
) -> Result<(), SecurityError> {
    if path.scheme() != "hdfs" {
        return Ok(());
    }
    let failed = |source| SecurityError::Owner { path: path.to_string(), source: Box::new(source) };
    let authority = Some(path.authority()).filter(|authority| !authority.is_empty());
    let name_node = NameNode::new(hadoop, authority, user.clone()).map_err(failed)?;
    let found: Option<HdfsFileStatus> = name_node.get_file_info(path.path()).await.map_err(failed)?;
    found.map_or(Ok(()), |found| judge(path, &found.owner, found.permission.perm, name, closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_change_is_refused_with_the_remedy() {
        let path: FsPath = "hdfs://nn/flott/bob/.flott".parse().unwrap();
        let said =
            |owner, mode, closed| judge(&path, owner, mode, "bob", closed).map_err(|error| error.to_string());
        assert_eq!(said("bob", 0o700, Closed::ToAll), Ok(()));
        assert_eq!(said("bob", 0o1755, Closed::ToWriters), Ok(()));
        let foreign = said("eve", 0o700, Closed::ToAll).unwrap_err();
        assert!(
            foreign.starts_with("the staging folder hdfs://nn/flott/bob/.flott belongs to eve, not to bob"),
            "{foreign}"
        );
        for mode in [0o777, 0o770, 0o701, 0o740] {
            let open = said("bob", mode, Closed::ToAll).unwrap_err();
            assert!(
                open.contains(&format!("(mode {mode:o})")) && open.contains("hdfs dfs -chmod 700"),
                "{open}"
            );
        }
        assert!(said("bob", 0o775, Closed::ToWriters).is_err());
    }
}
