//! Files and archives that users have every container get.

use std::collections::BTreeMap;
use std::path::Path;

use flott_core::config::{self, Configuration};
use flott_fs::{FileStatus, FsPath, for_path};

use crate::application::Resource;
use crate::application_master::OWN_NAMES;
use crate::staging::{Staging, StagingError, archive_suffix};

/// Files that are to be shipped, by the names under which containers see them: none takes the place of another, nor of what is Flott's or YARN's.
#[derive(Debug, Default)]
pub(super) struct Shipment(BTreeMap<String, Shipped>);

/// One of them.
#[derive(Debug)]
struct Shipped {
    status: FileStatus,
    archive: bool,
}

/// What is to be shipped, and whether it is unpacked.
pub(super) fn shipped(configuration: &Configuration) -> Vec<(String, bool)> {
    let list = |text: Option<String>, archive| {
        let paths = text.unwrap_or_default();
        let paths = paths.split(';').map(str::trim).filter(|path| !path.is_empty());
        paths.map(|path| (path.to_owned(), archive)).collect::<Vec<_>>()
    };
    let files = list(configuration.get_optional(&config::YARN_SHIP_FILES), false);
    let archives = list(configuration.get_optional(&config::YARN_SHIP_ARCHIVES), true);
    [files, archives].concat()
}

impl Shipment {
    /// Adds a file, or a folder with all that is in it under its own name. Blocks.
    ///
    /// # Errors
    /// [`StagingError`] that names it, and what has its name already.
    pub(super) fn add(&mut self, path: FsPath, archive: bool) -> Result<(), StagingError> {
        let name = path.name().to_owned();
        let mut waiting = vec![(path, name)];
        while let Some((path, name)) = waiting.pop() {
            let fs = for_path(&path)?;
            let status = fs.status(&path)?;
            if archive && (status.is_dir || archive_suffix(&name).is_none()) {
                return Err(StagingError::NoArchive { path });
            }
            if status.is_dir {
                for entry in fs.list(&path)? {
                    let name = format!("{name}/{}", entry.path.name());
                    waiting.push((entry.path, name));
                }
                continue;
            }
            self.take(name, Shipped { status, archive })?;
        }
        Ok(())
    }

    /// Gives a file its name, which nothing else may have; that somebody names the same file twice does no harm.
    fn take(&mut self, name: String, shipped: Shipped) -> Result<(), StagingError> {
        let path = shipped.status.path.clone();
        let first = name.split('/').next().unwrap_or_default();
        if OWN_NAMES.contains(&first) {
            return Err(StagingError::OwnName { path, name: first.to_owned() });
        }
        let folders = name.match_indices('/').filter_map(|(end, _)| self.0.get(&name[..end]));
        let below = format!("{name}/");
        let inside = self.0.range(below.clone()..).next().filter(|(other, _)| other.starts_with(&below));
        let of_this_name = self.0.get(&name);
        let other = folders.chain(inside.map(|(_, other)| other)).chain(of_this_name).next();
        match other {
            Some(other) if other.status.path == path && other.archive == shipped.archive => Ok(()),
            Some(other) => Err(StagingError::SameName { path, other: Box::new(other.status.path.clone()) }),
            None => {
                self.0.insert(name, shipped);
                Ok(())
            }
        }
    }

    /// Has all of it on the cluster: what is there already is taken from where it is. Blocks.
    ///
    /// # Errors
    /// [`StagingError`] that names the file.
    pub(super) fn bring(&self, staging: &Staging) -> Result<Vec<Resource>, StagingError> {
        let resource = |(name, Shipped { status, archive }): (&String, &Shipped)| {
            let (is_local, local) = (status.path.scheme() == "file", Path::new(status.path.path()));
            Ok(match (is_local, archive) {
                (true, true) => staging.provide_archive(local, name)?,
                (true, false) => staging.provide(local, Some(name))?.0,
                (false, _) => Resource { archive: *archive, ..Resource::of(status, name.clone()) },
            })
        };
        self.0.iter().map(resource).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn folders_are_shipped_file_by_file_and_archives_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::below(&FsPath::local(&folder.path().join("home")), Duration::from_secs(3600));
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join("sub")).unwrap();
        for name in ["a", "sub/b", "c.zip"] {
            std::fs::write(data.join(name), name).unwrap();
        }
        let ship = |path: &Path, archive| {
            let mut shipment = Shipment::default();
            shipment.add(FsPath::local(path), archive)?;
            shipment.bring(&staging)
        };
        let files = ship(&data, false).unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["data/a", "data/c.zip", "data/sub/b"]);
        assert!(files.iter().all(|file| !file.archive && !file.url.ends_with(".zip")));
        let archives = ship(&data.join("c.zip"), true).unwrap();
        assert!(archives[0].archive && archives[0].url.ends_with(".zip"), "{archives:?}");
        for path in [data.join("a"), data.clone()] {
            assert!(matches!(ship(&path, true), Err(StagingError::NoArchive { .. })));
        }
    }

    #[test]
    fn nothing_takes_the_place_of_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, name).unwrap();
            FsPath::local(&path)
        };
        let [one, other, below] = ["a/app.conf", "b/app.conf", "c/app.conf/part"].map(file);
        let inside = FsPath::local(&folder.path().join("c/app.conf"));
        for (first, second, named) in [(&one, &other, &other), (&one, &inside, &below), (&inside, &one, &one)]
        {
            let mut shipment = Shipment::default();
            shipment.add(first.clone(), false).unwrap();
            shipment.add(first.clone(), false).unwrap();
            let error = shipment.add(second.clone(), false).unwrap_err().to_string();
            assert!(error.contains(&one.to_string()) && error.contains(&named.to_string()), "{error}");
            assert!(
                error.contains("would be in its place in every container; rename one of them"),
                "{error}"
            );
        }
        file("d/hadoop-conf/core-site.xml");
        let mut shipment = Shipment::default();
        for own in [file("d/flott"), FsPath::local(&folder.path().join("d/hadoop-conf"))] {
            let error = shipment.add(own.clone(), false).unwrap_err().to_string();
            assert!(error.contains(&own.to_string()) && error.contains("rename it"), "{error}");
        }
        // Parts of one folder may come from two.
        let [_, parts] = ["e/conf/x", "f/conf/y"].map(file);
        for conf in ["e/conf", "f/conf"] {
            shipment.add(FsPath::local(&folder.path().join(conf)), false).unwrap();
        }
        assert_eq!(shipment.0["conf/y"].status.path, parts);
        let archive = file("g/data.zip");
        shipment.add(archive.clone(), true).unwrap();
        assert!(matches!(shipment.add(archive, false), Err(StagingError::SameName { .. })));
    }

    #[test]
    fn files_of_the_cluster_are_shipped_from_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let staging = Staging::below(&FsPath::local(&home), Duration::from_secs(3600));
        std::fs::write(folder.path().join("model.tgz"), b"12345").unwrap();
        flott_fs::register("ship-test", std::sync::Arc::new(flott_fs::LocalFileSystem));
        let path: FsPath = format!("ship-test://{}/model.tgz", folder.path().display()).parse().unwrap();
        let mut shipment = Shipment::default();
        shipment.add(path.clone(), true).unwrap();
        let shipped = &shipment.bring(&staging).unwrap()[0];
        assert_eq!((shipped.name.as_str(), shipped.size, shipped.archive), ("model.tgz", 5, true));
        assert_eq!(shipped.url, path.to_string());
        assert!(!home.exists(), "nothing is uploaded");
    }
}
