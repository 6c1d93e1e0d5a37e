//! Files and archives that users have every container get.

use std::path::Path;

use flott_core::config::{self, Configuration};
use flott_fs::{FsPath, for_path};

use crate::application::Resource;
use crate::staging::{Staging, StagingError, archive_suffix};

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

/// Ships a file, or a folder with all that is in it under its own name. What is on the cluster already is taken from there.
pub(super) fn ship_to(
    staging: &Staging,
    path: FsPath,
    archive: bool,
    resources: &mut Vec<Resource>,
) -> Result<(), StagingError> {
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
        let is_local = path.scheme() == "file";
        resources.push(match (is_local, archive) {
            (true, true) => staging.provide_archive(Path::new(path.path()), &name)?,
            (true, false) => staging.provide(Path::new(path.path()), Some(&name))?.0,
            (false, _) => Resource { archive, ..Resource::of(&status, name) },
        });
    }
    Ok(())
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
            let mut resources = Vec::new();
            ship_to(&staging, FsPath::local(path), archive, &mut resources).map(|()| {
                resources.sort_by(|one, other| one.name.cmp(&other.name));
                resources
            })
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
    fn files_of_the_cluster_are_shipped_from_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let staging = Staging::below(&FsPath::local(&home), Duration::from_secs(3600));
        std::fs::write(folder.path().join("model.tgz"), b"12345").unwrap();
        flott_fs::register("ship-test", std::sync::Arc::new(flott_fs::LocalFileSystem));
        let path: FsPath = format!("ship-test://{}/model.tgz", folder.path().display()).parse().unwrap();
        let mut resources = Vec::new();
        ship_to(&staging, path.clone(), true, &mut resources).unwrap();
        let shipped = &resources[0];
        assert_eq!((shipped.name.as_str(), shipped.size, shipped.archive), ("model.tgz", 5, true));
        assert_eq!(shipped.url, path.to_string());
        assert!(!home.exists(), "nothing is uploaded");
    }
}
