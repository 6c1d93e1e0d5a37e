//! What every file system promises, on a folder of this machine.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod contract;

use std::sync::Arc;

use contract::{Folder, contract_tests};
use flott_fs::{FsPath, LocalFileSystem};

fn folder() -> Option<Folder> {
    let folder = tempfile::tempdir().unwrap();
    let root = FsPath::local(folder.path());
    Some(Folder { fs: Arc::new(LocalFileSystem), root, reads_open_files: true, _clean_up: Box::new(folder) })
}

contract_tests!(folder);
