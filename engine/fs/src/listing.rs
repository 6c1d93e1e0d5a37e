//! The files below a folder.
//!
//! Nothing is left out in silence but what the filter leaves out: a link that leads nowhere, a pipe or a folder that cannot be
//! read is an error that names it. The walk is bounded in depth and in files, and a loop of links ends it.

use std::io;

use crate::error::FsError;
use crate::file_system::{FileStatus, FileSystem};
use crate::path::FsPath;

/// How deep folders may be nested.
const MAX_DEPTH: usize = 100;

/// How many files may be found: what a process holds in memory without trouble.
const MAX_FILES: usize = 1_000_000;

/// Whether a file or folder is one to read: its name does not begin with `.` or `_`, as those of unfinished and of
/// accompanying files do.
pub fn is_visible(status: &FileStatus) -> bool {
    !status.path.name().starts_with(['.', '_'])
}

impl dyn FileSystem {
    /// The files at or below `path`, by path; names that begin with `.` or `_` are left out, with all below them, except
    /// `path` itself.
    ///
    /// # Errors
    /// As `list_files_where`.
    pub fn list_files(&self, path: &FsPath) -> Result<Vec<FileStatus>, FsError> {
        self.list_files_where(path, is_visible)
    }

    /// The files at or below `path`, by path; files that `keep` refuses are left out, and folders with all below them. `keep`
    /// is not asked for `path` itself. A file that several links lead to is found by each.
    ///
    /// # Errors
    /// [`FsError`] that names what could not be read, what is neither file nor folder, or a link to a folder that it is in; also
    /// for folders nested more than 100 deep and for more than a million files.
    pub fn list_files_where(
        &self,
        path: &FsPath,
        keep: impl Fn(&FileStatus) -> bool,
    ) -> Result<Vec<FileStatus>, FsError> {
        let status = self.status(path)?;
        if !status.is_dir {
            return Ok(vec![status]);
        }
        let mut walk = Walk { fs: self, keep: &keep, above: Vec::new(), files: Vec::new(), limit: MAX_FILES };
        walk.enter(path)?;
        let mut files = walk.files;
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }
}

struct Walk<'a> {
    fs: &'a dyn FileSystem,
    keep: &'a dyn Fn(&FileStatus) -> bool,
    /// The folders that the walk is in, without links.
    above: Vec<FsPath>,
    files: Vec<FileStatus>,
    limit: usize,
}

impl Walk<'_> {
    fn enter(&mut self, folder: &FsPath) -> Result<(), FsError> {
        let refuse =
            |why: String| FsError::io("list", folder, io::Error::new(io::ErrorKind::InvalidInput, why));
        let real = self.fs.real_path(folder)?;
        if self.above.contains(&real) {
            return Err(refuse(format!("it is a link to {real}, which it is in; remove the link")));
        }
        if self.above.len() > MAX_DEPTH {
            return Err(refuse(format!("folders are nested more than {MAX_DEPTH} deep")));
        }
        self.above.push(real);
        for status in self.fs.list(folder)? {
            if !(self.keep)(&status) {
                continue;
            }
            if status.is_dir {
                self.enter(&status.path)?;
                continue;
            }
            if self.files.len() == self.limit {
                return Err(refuse(format!("there are more than {} files; name fewer folders", self.limit)));
            }
            // An empty one may be something else, which must not pass for a file without content.
            let status = if status.length == 0 { self.fs.status(&status.path)? } else { status };
            self.files.push(status);
        }
        self.above.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{FsErrorKind, LocalFileSystem};

    fn names(root: &FsPath, keep: impl Fn(&FileStatus) -> bool) -> Result<Vec<String>, FsError> {
        let local: &dyn FileSystem = &LocalFileSystem;
        let files = local.list_files_where(root, keep)?;
        let below =
            |file: &FileStatus| file.path.path()[root.path().len()..].trim_start_matches('/').to_owned();
        Ok(files.iter().map(below).collect())
    }

    fn folder() -> (tempfile::TempDir, FsPath) {
        let folder = tempfile::tempdir().unwrap();
        let root = FsPath::local(folder.path());
        for dir in ["a/b", "_temporary/a", ".git"] {
            fs::create_dir_all(folder.path().join(dir)).unwrap();
        }
        for file in
            ["a/b/x", "a/y", "a.txt", "empty", "_SUCCESS", "_temporary/a/z", ".git/config", "a/.hidden"]
        {
            fs::write(folder.path().join(file), if file == "empty" { "" } else { "text" }).unwrap();
        }
        (folder, root)
    }

    #[test]
    fn files_are_found_below_folders_by_path() {
        let (_folder, root) = folder();
        assert_eq!(names(&root, is_visible).unwrap(), ["a.txt", "a/b/x", "a/y", "empty"]);
        assert_eq!(names(&root, |file| file.path.name() != "a").unwrap().len(), 4);
        // What is named is meant.
        assert_eq!(names(&root.join("_SUCCESS"), is_visible).unwrap(), [""]);
        assert_eq!(names(&root.join("_temporary"), is_visible).unwrap(), ["a/z"]);
        assert_eq!(names(&root.join("none"), is_visible).unwrap_err().kind(), FsErrorKind::NotFound);
    }

    #[test]
    fn a_link_is_followed_unless_it_leads_back() {
        let (folder, root) = folder();
        symlink(folder.path().join("a/b"), folder.path().join("c")).unwrap();
        assert_eq!(names(&root, is_visible).unwrap(), ["a.txt", "a/b/x", "a/y", "c/x", "empty"]);
        symlink("../..", folder.path().join("a/b/loop")).unwrap();
        let error = names(&root, is_visible).unwrap_err();
        let real = folder.path().canonicalize().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot list {root}/a/b/loop: it is a link to {}, which it is in; remove the link",
                real.display()
            )
        );
        assert!(!error.is_retryable());
    }

    #[test]
    fn what_can_not_be_read_is_an_error_and_not_an_empty_file() {
        let (folder, root) = folder();
        symlink("nowhere", folder.path().join(".#lock")).unwrap();
        assert!(names(&root, is_visible).is_ok());
        symlink("nowhere", folder.path().join("broken")).unwrap();
        let error = names(&root, is_visible).unwrap_err();
        assert_eq!((error.kind(), error.path()), (FsErrorKind::NotFound, &*root.join("broken").to_string()));
        fs::remove_file(folder.path().join("broken")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let error = names(&root, is_visible).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot look at {root}/socket: it is neither a file nor a folder")
        );
    }

    #[test]
    fn the_walk_is_bounded() {
        let (folder, root) = folder();
        let mut walk =
            Walk { fs: &LocalFileSystem, keep: &is_visible, above: Vec::new(), files: Vec::new(), limit: 3 };
        let error = walk.enter(&root).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot list {root}: there are more than 3 files; name fewer folders")
        );
        let deep = "d/".repeat(MAX_DEPTH);
        fs::create_dir_all(folder.path().join(&deep)).unwrap();
        assert!(names(&root, is_visible).is_ok());
        fs::create_dir_all(folder.path().join(&deep).join("d")).unwrap();
        let error = names(&root, is_visible).unwrap_err().to_string();
        assert!(error.ends_with("/d/d: folders are nested more than 100 deep"), "{error}");
    }
}
