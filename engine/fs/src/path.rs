//! Paths with a scheme.
//!
//! A path is kept in one form, so that equal paths are equal values: no `.`, no empty part, no slash at the end. `..` stays,
//! for a link may be before it. What is shown parses to the same path.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::FsError;

/// Where a file or folder is: a scheme, an authority (the host or the nameservice, empty for local files) and a path.
///
/// `file:///x`, `file:/x` and `/x` are the same local file; `x` is beside the process's working directory. Nothing is
/// escaped: a `%20` is a percent sign, a two and a zero.
///
/// ```
/// use flott_fs::FsPath;
///
/// let path: FsPath = "hdfs://cluster/data/day=1".parse()?;
/// assert_eq!((path.scheme(), path.authority(), path.path()), ("hdfs", "cluster", "/data/day=1"));
/// assert_eq!(path.join("part-0").to_string(), "hdfs://cluster/data/day=1/part-0");
/// assert_eq!("file:///data/".parse::<FsPath>()?.to_string(), "/data");
/// # Ok::<(), flott_fs::FsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FsPath {
    scheme: String,
    authority: String,
    path: String,
}

/// The one form of a path without scheme and authority.
fn normalize(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if !path.is_empty() || text.starts_with('/') {
            path.push('/');
        }
        path.push_str(part);
    }
    if path.is_empty() {
        path.push(if text.starts_with('/') { '/' } else { '.' });
    }
    path
}

/// Cuts a scheme off: letters, digits, `+`, `-` and `.` behind a letter, then a colon and a slash.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    (is_scheme && rest.starts_with('/')).then_some((scheme, rest))
}

impl FsPath {
    /// A file of this machine; for an empty path, the working directory. A path that is not UTF-8 is not one that Flott can
    /// say: what stands for its other bytes names another file, most likely none.
    pub fn local(path: &Path) -> Self {
        Self::local_text(&path.to_string_lossy())
    }

    fn local_text(text: &str) -> Self {
        Self { scheme: "file".into(), authority: String::new(), path: normalize(text) }
    }

    /// The scheme in lower case, `file` for local paths.
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

    /// The last part of the path; empty for the root.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// What is called `name` in this folder; `name` may have several parts.
    pub fn join(&self, name: &str) -> Self {
        Self { path: normalize(&format!("{}/{name}", self.path)), ..self.clone() }
    }

    /// The folder it is in; none for the root and for a bare name.
    pub fn parent(&self) -> Option<Self> {
        let cut = self.path.rfind('/').filter(|_| self.path != "/")?;
        let parent = if cut == 0 { "/" } else { &self.path[..cut] };
        Some(Self { path: parent.to_owned(), ..self.clone() })
    }

    /// What is called `name` beside it; in it, for the root.
    pub fn with_name(&self, name: &str) -> Self {
        match self.parent() {
            Some(parent) => parent.join(name),
            None if self.path == "/" => self.join(name),
            None => Self { path: normalize(name.trim_start_matches('/')), ..self.clone() },
        }
    }
}

impl FromStr for FsPath {
    type Err = FsError;

    fn from_str(text: &str) -> Result<Self, FsError> {
        if text.is_empty() {
            return Err(FsError::invalid_path(text, "it is empty"));
        }
        if text.contains('\0') {
            return Err(FsError::invalid_path(text, "it has a NUL in it"));
        }
        let Some((scheme, rest)) = split_scheme(text) else { return Ok(Self::local_text(text)) };
        let (authority, path) = match rest.strip_prefix("//") {
            None => ("", rest),
            Some(behind) => match behind.find('/') {
                Some(slash) => behind.split_at(slash),
                None => {
                    let why = "a path with a scheme needs a '/' behind the host";
                    return Err(FsError::invalid_path(text, why));
                }
            },
        };
        if !scheme.eq_ignore_ascii_case("file") {
            let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_owned());
            return Ok(Self { scheme, authority, path: normalize(path) });
        }
        // Two slashes are one too few far more often than they mean another machine.
        match authority {
            "" | "localhost" => Ok(Self::local_text(path)),
            _ => {
                Err(FsError::invalid_path(text, "a local path has three slashes behind 'file:', and no host"))
            }
        }
    }
}

impl fmt::Display for FsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme != "file" {
            return write!(f, "{}://{}{}", self.scheme, self.authority, self.path);
        }
        // A folder may be called `hdfs:`.
        let mark = if split_scheme(&self.path).is_some() { "./" } else { "" };
        write!(f, "{mark}{}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::FsErrorKind;

    fn path(text: &str) -> FsPath {
        text.parse().unwrap()
    }

    #[test]
    fn paths_are_taken_apart() {
        assert_eq!((path("/a/b").name(), path("/").name(), path("a").name()), ("b", "", "a"));
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(path("/")));
        assert_eq!((path("/").parent(), path("a").parent(), path(".").parent()), (None, None, None));
        assert_eq!(path("hdfs://h/a").parent(), Some(path("hdfs://h/")));
        assert_eq!(path("/a/b").with_name("c"), path("/a/c"));
        assert_eq!(path("a").with_name("c"), path("c"));
        assert_eq!(path("/").with_name("c"), path("/c"));
        assert_eq!(path("/").join("c"), path("/c"));
        assert_eq!(path(".").join("c"), path("c"));
        assert_eq!(path("a/..").join("../c").to_string(), "a/../../c");
    }

    #[test]
    fn one_file_has_one_form() {
        for same in ["/a/b", "//a//b/", "/./a/b/.", "file:/a/b", "file:///a/b", "FILE://localhost/a/b"] {
            assert_eq!(path(same).to_string(), "/a/b", "{same}");
        }
        for same in ["a/b", "./a/b", "a//b/"] {
            assert_eq!(path(same).to_string(), "a/b", "{same}");
        }
        assert_eq!((path("./").to_string().as_str(), path("//").to_string().as_str()), (".", "/"));
        assert_eq!(path("HDFS:/a"), path("hdfs:///a/"));
        assert_eq!(path("a:b/c").scheme(), "file");
        assert_eq!(FsPath::local(Path::new("hdfs://x/y")).to_string(), "./hdfs:/x/y");
    }

    #[test]
    fn what_is_no_path_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "it is empty"),
            ("a\0b", "it has a NUL in it"),
            ("hdfs://host", "a path with a scheme needs a '/' behind the host"),
            ("file://a/b", "a local path has three slashes behind 'file:', and no host"),
        ] {
            let error = text.parse::<FsPath>().unwrap_err();
            assert_eq!(error.kind(), FsErrorKind::InvalidPath);
            assert_eq!(error.to_string(), format!("cannot use the path '{text}': {why}"));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same(text in "(file|hdfs|x)?:?/{0,3}[a:./ü]{0,8}", name in "[a:.]{1,4}") {
            if let Ok(path) = text.parse::<FsPath>() {
                prop_assert_eq!(&path.to_string().parse::<FsPath>().unwrap(), &path);
                let child = path.join(&name);
                prop_assert_eq!(&child.to_string().parse::<FsPath>().unwrap(), &child);
                if name != "." && path.path() != "." {
                    prop_assert_eq!((child.parent().unwrap(), child.name()), (path, name.as_str()));
                }
            }
            let local = FsPath::local(Path::new(&text));
            prop_assert_eq!(&local.to_string().parse::<FsPath>().unwrap(), &local);
        }
    }
}
