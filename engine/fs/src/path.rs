//! Paths with a scheme.

use std::fmt;
use std::str::FromStr;

use crate::error::FsError;

/// Where a file or folder is: a scheme, an authority (the host or the nameservice, empty for local files) and a path.
///
/// ```
/// use flott_fs::FsPath;
///
/// let path: FsPath = "hdfs://cluster/data/day=1".parse()?;
/// assert_eq!((path.scheme(), path.authority(), path.path()), ("hdfs", "cluster", "/data/day=1"));
/// assert_eq!(path.join("part-0").to_string(), "hdfs://cluster/data/day=1/part-0");
/// # Ok::<(), flott_fs::FsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FsPath {
    scheme: String,
    authority: String,
    path: String,
}

impl FsPath {
    /// A file of this machine.
    pub fn local(path: &std::path::Path) -> Self {
        Self { scheme: "file".into(), authority: String::new(), path: path.to_string_lossy().into_owned() }
    }

    /// The scheme, `file` for local paths.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host or the nameservice.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// What is called `name` in this folder.
    pub fn join(&self, name: &str) -> Self {
        let path = format!("{}/{}", self.path.trim_end_matches('/'), name.trim_start_matches('/'));
        Self { path, ..self.clone() }
    }

    /// The folder it is in; none for the root and for a bare name.
    pub fn parent(&self) -> Option<Self> {
        let path = self.path.trim_end_matches('/');
        let cut = path.rfind('/')?;
        let parent = if cut == 0 { "/" } else { &path[..cut] };
        (parent != path).then(|| Self { path: parent.to_owned(), ..self.clone() })
    }

    /// What is called `name` beside it.
    pub fn with_name(&self, name: &str) -> Self {
        match self.parent() {
            Some(parent) => parent.join(name),
            None => Self { path: name.to_owned(), ..self.clone() },
        }
    }
}

impl FromStr for FsPath {
    type Err = FsError;

    fn from_str(text: &str) -> Result<Self, FsError> {
        if text.is_empty() || text.contains('\0') {
            return Err(FsError::invalid_path(text, "it is empty, or has a NUL in it"));
        }
        let is_scheme =
            |scheme: &str| !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric());
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
            _ => return Ok(Self { scheme: "file".into(), authority: String::new(), path: text.to_owned() }),
        };
        let Some(slash) = rest.find('/') else {
            return Err(FsError::invalid_path(text, "a path with a scheme needs a '/' behind the host"));
        };
        let (authority, path) = rest.split_at(slash);
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for FsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme == "file" {
            f.write_str(&self.path)
        } else {
            write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_taken_apart() {
        let path: FsPath = "file:///a/b".parse().unwrap();
        assert_eq!(path, "/a/b".parse().unwrap());
        assert_eq!(path.name(), "b");
        assert_eq!(path.parent().unwrap().to_string(), "/a");
        assert_eq!(path.with_name("c").to_string(), "/a/c");
        assert_eq!("a".parse::<FsPath>().unwrap().with_name("c").to_string(), "c");
        assert_eq!("/".parse::<FsPath>().unwrap().parent(), None);
        assert!("".parse::<FsPath>().is_err());
        assert_eq!(
            "hdfs://host".parse::<FsPath>().unwrap_err().to_string(),
            "cannot use the path 'hdfs://host': a path with a scheme needs a '/' behind the host"
        );
    }
}
