//! Paths of an application on the cluster, as Hadoop takes them: without a scheme they are on the cluster's own file system.

use flott_fs::{FsError, FsPath};
use hadoop_rpc::configuration::Configuration as HadoopConfiguration;

/// The home folder of a user.
///
/// # Errors
/// [`FsError`] if Hadoop's configuration names none.
pub(super) fn home_of(hadoop: &HadoopConfiguration, user: &str) -> Result<FsPath, FsError> {
    format!("hdfs://{}/{user}", hadoop.get_or("dfs.user.home.dir.prefix", "/user")).parse()
}

/// What a path that nodes use means: without a scheme it is on `fs.defaultFS`, or below the home folder. `file:` is the nodes' own disks.
///
/// # Errors
/// [`FsError`] if it is none.
pub(super) fn on_cluster(hadoop: &HadoopConfiguration, home: &FsPath, text: &str) -> Result<FsPath, FsError> {
    let path: FsPath = text.parse()?;
    let is_named =
        path.scheme() != "file" || text.get(..5).is_some_and(|mark| mark.eq_ignore_ascii_case("file:"));
    if is_named || !hadoop.get_or("fs.defaultFS", "").starts_with("hdfs://") {
        return Ok(path);
    }
    if path.path().starts_with('/') {
        format!("hdfs://{}", path.path()).parse()
    } else {
        Ok(home.join(path.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_scheme_is_on_the_clusters_file_system() {
        let mut hadoop = HadoopConfiguration::new();
        hadoop.set("fs.defaultFS", "hdfs://nn:8020");
        let home = home_of(&hadoop, "bob").unwrap();
        assert_eq!(home.to_string(), "hdfs:///user/bob");
        for (text, expected) in [
            ("/flott", "hdfs:///flott"),
            ("flott/x", "hdfs:///user/bob/flott/x"),
            ("hdfs://other/flott", "hdfs://other/flott"),
            ("file:///flott", "/flott"),
            ("FILE:/flott", "/flott"),
        ] {
            assert_eq!(on_cluster(&hadoop, &home, text).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(on_cluster(&HadoopConfiguration::new(), &home, "/flott").unwrap().to_string(), "/flott");
    }
}
