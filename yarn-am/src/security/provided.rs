//! Is a file of HDFS everybody's? YARN's nodes fetch such a file by themselves, with no token of the application, and share it.

use flott_fs::{FsErrorKind, FsPath, for_path};
use hadoop_rpc::configuration::Configuration as HadoopConfiguration;
use hadoop_rpc::proto::hdfs::HdfsFileStatus;
use hadoop_rpc::{NameNode, RpcError, User};

use crate::application::Resource;
use crate::application_master::RUNTIME;
use crate::staging::StagingError;

/// Others may read a file.
const READ: u32 = 0o4;

/// Others may go through a folder.
const ENTER: u32 = 0o1;

/// Whether others have a right to a file or folder. One with an access control list has its rights elsewhere.
fn grants(status: &HdfsFileStatus, right: u32) -> bool {
    status.permission.perm & right == right
}

/// A path and the folders it is in, the innermost first.
fn with_parents(path: &str) -> Vec<&str> {
    let mut all = vec![path];
    let mut rest = path;
    while let Some((parent, _)) = rest.rsplit_once('/') {
        all.push(if parent.is_empty() { "/" } else { parent });
        rest = parent;
    }
    all
}

/// Whether everybody may read a file of HDFS: it and all folders above it say so.
///
/// # Errors
/// [`RpcError`].
pub(crate) async fn is_public(
    hadoop: &HadoopConfiguration,
    user: &User,
    path: &FsPath,
) -> Result<bool, RpcError> {
    if path.scheme() != "hdfs" {
        return Ok(false);
    }
    let authority = Some(path.authority()).filter(|authority| !authority.is_empty());
    let name_node = NameNode::new(hadoop, authority, user.clone())?;
    for (depth, part) in with_parents(path.path()).into_iter().enumerate() {
        let right = if depth == 0 { READ } else { ENTER };
        match name_node.get_file_info(part).await? {
            Some(status) if grants(&status, right) => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The runtime in the first of these folders that has one. Blocks.
///
/// # Errors
/// [`StagingError`] of a folder that cannot be read.
pub(crate) fn runtime_of(folders: &[FsPath]) -> Result<Option<Resource>, StagingError> {
    for folder in folders {
        let path = folder.join(RUNTIME);
        match for_path(&path)?.status(&path) {
            Ok(status) if !status.is_dir => {
                return Ok(Some(Resource::of(&status, RUNTIME)));
            }
            Ok(_) => {}
            Err(error) if error.kind() == FsErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_go_up_to_the_root() {
        assert_eq!(with_parents("/a/b/c"), ["/a/b/c", "/a/b", "/a", "/"]);
        assert_eq!(with_parents("/a"), ["/a", "/"]);
    }

    #[test]
    fn the_first_folder_with_a_runtime_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["empty", "first", "second"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::create_dir(folder.path().join("empty/flott")).unwrap();
        std::fs::write(folder.path().join("first/flott"), b"1").unwrap();
        std::fs::write(folder.path().join("second/flott"), b"22").unwrap();
        let folders =
            ["missing", "empty", "first", "second"].map(|name| FsPath::local(&folder.path().join(name)));
        let found = runtime_of(&folders).unwrap().unwrap();
        assert_eq!((found.size, found.public), (1, false));
        assert!(found.url.ends_with("/first/flott"), "{}", found.url);
        assert_eq!(runtime_of(&folders[..2]).unwrap(), None);
    }
}
