//! Programs that lie elsewhere, as on HDFS: fetched once, into a folder of the command's own, and from then on like any other.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flott_cluster::program_file;
use flott_cluster::program_store::MAX_PROGRAM_BYTES;
use flott_cluster::temp_dir::TempDir;
use flott_core::config::{self, Configuration};
use flott_fs::{FsError, FsPath, Keytab, for_path};

use crate::CommandError;
use crate::run::Interruption;

/// What is copied at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Where a program is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this machine.
    Here(PathBuf),
    /// On another file system.
    Elsewhere(FsPath),
}

/// Where a command line says that a program is. A name without a folder is a file here, not a command.
pub(crate) fn place_of(named: &Path) -> Result<Place, CommandError> {
    let path = match named.to_str().map(str::parse::<FsPath>).transpose()? {
        Some(path) if path.scheme() != "file" => return Ok(Place::Elsewhere(path)),
        Some(path) => PathBuf::from(path.path()),
        None => named.to_owned(),
    };
    let absolute = std::path::absolute(path).map_err(|error| format!("{}: {error}", named.display()))?;
    Ok(Place::Here(absolute))
}

/// Brings a program to this machine, under its own name, as long as the folder is kept. None: it was interrupted.
pub(crate) async fn fetch(
    remote: &FsPath,
    configuration: &Configuration,
) -> Result<Option<(PathBuf, TempDir)>, CommandError> {
    let mut interruption = Interruption::new()?;
    let key = configuration.get_optional(&config::KERBEROS_PRINCIPAL);
    let key = key.zip(configuration.get_optional(&config::KERBEROS_KEYTAB));
    flott_fs::set_hadoop_properties(configuration.hadoop_properties());
    flott_fs::log_in(key.map(|(principal, path)| Keytab { principal, path }));
    let folder = TempDir::create(configuration)?;
    let path = folder.path().join(remote.name());
    let (from, to) = (remote.clone(), path.clone());
    let copied = tokio::task::spawn_blocking(move || copy(&from, &to));
    tokio::select! {
        copied = copied => copied??,
        () = interruption.wait() => return Ok(None),
    }
    program_file::check(&path).map_err(|error| format!("{remote} was fetched, but {error}"))?;
    Ok(Some((path, folder)))
}

/// Copies a file, executable for its user alone. Blocks.
fn copy(from: &FsPath, to: &Path) -> Result<(), FsError> {
    let failed = |error| FsError::io("write", &FsPath::local(to), error);
    let mut file = for_path(from)?.open(from)?.take(MAX_PROGRAM_BYTES + 1);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o700).open(to).map_err(failed)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece).map_err(|error| FsError::io("read", from, error))? {
            0 => break,
            count => out.write_all(&piece[..count]).map_err(failed)?,
        }
    }
    if file.limit() == 0 {
        let why = format!("a program has {MAX_PROGRAM_BYTES} bytes at most");
        return Err(FsError::io("fetch", from, io::Error::new(io::ErrorKind::FileTooLarge, why)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_says_that_a_program_is_elsewhere() {
        let here = |named: &str| match place_of(Path::new(named)).unwrap() {
            Place::Here(path) => path,
            elsewhere => panic!("{elsewhere:?}"),
        };
        let folder = std::env::current_dir().unwrap();
        assert_eq!(here("target/wordcount"), folder.join("target/wordcount"));
        assert_eq!(here("./wordcount"), folder.join("wordcount"));
        assert_eq!(here("/a/b"), Path::new("/a/b"));
        assert_eq!(here("file:///a/b"), Path::new("/a/b"));
        let remote: FsPath = "hdfs://nn:8020/programs/wordcount".parse().unwrap();
        assert_eq!(
            place_of(Path::new("hdfs://nn:8020/programs/wordcount")).unwrap(),
            Place::Elsewhere(remote)
        );
        assert!(place_of(Path::new("hdfs://nn")).unwrap_err().to_string().contains("needs a '/'"));
    }

    #[tokio::test]
    async fn what_is_fetched_is_checked_and_goes_with_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        flott_fs::register("fetch-test", std::sync::Arc::new(flott_fs::LocalFileSystem));
        let mut configuration = Configuration::new();
        let temp = folder.path().join("temp");
        configuration.set(config::TEMP_DIRS.key, temp.to_str().unwrap()).unwrap();
        let own = std::env::current_exe().unwrap();
        let remote = |path: &Path| format!("fetch-test://{}", path.display()).parse::<FsPath>().unwrap();
        let (path, kept) = fetch(&remote(&own), &configuration).await.unwrap().unwrap();
        assert_eq!(
            (path.file_name(), std::fs::read(&path).unwrap()),
            (own.file_name(), std::fs::read(&own).unwrap())
        );
        drop(kept);
        assert!(!path.exists());
        let script = folder.path().join("script");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        for (path, expected) in [
            (script, "script was fetched, but "),
            (folder.path().join("none"), "cannot open fetch-test://"),
            (folder.path().to_owned(), "cannot "),
        ] {
            let error = fetch(&remote(&path), &configuration).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(std::fs::read_dir(&temp).unwrap().count(), 0);
    }
}
