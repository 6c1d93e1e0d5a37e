//! Old names of properties that are still found in clusters' files.

/// Old and new names, of those properties that something here reads.
const RENAMED: &[(&str, &str)] = &[
    ("dfs.block.size", "dfs.blocksize"),
    ("dfs.federation.nameservice.id", "dfs.nameservice.id"),
    ("dfs.federation.nameservices", "dfs.nameservices"),
    ("dfs.http.address", "dfs.namenode.http-address"),
    ("dfs.https.address", "dfs.namenode.https-address"),
    ("dfs.socket.timeout", "dfs.client.socket-timeout"),
    ("dfs.umask", "fs.permissions.umask-mode"),
    ("dfs.umaskmode", "fs.permissions.umask-mode"),
    ("fs.default.name", "fs.defaultFS"),
    ("io.bytes.per.checksum", "dfs.bytes-per-checksum"),
    ("yarn.resourcemanager.zk-address", "hadoop.zk.address"),
];

/// The name that counts.
pub(super) fn canonical(name: &str) -> &str {
    RENAMED.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_is_nobodys_old_one() {
        for (old, new) in RENAMED {
            assert_eq!(canonical(new), *new, "{old}");
            assert_eq!(canonical(old), *new);
        }
    }
}
