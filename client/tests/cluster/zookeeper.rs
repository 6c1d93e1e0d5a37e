//! A ZooKeeper server of its own for a test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Process, until};

pub struct ZooKeeper {
    pub process: Process,
    pub port: u16,
    _folder: tempfile::TempDir,
}

/// Where the jars of a Hadoop cluster are, if scripts/hadoop-cluster has fetched them.
fn jars() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = || folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    let home = folder("FLOTT_HADOOP_HOME").or_else(|| Some(cache()?.join("flott/hadoop")))?;
    let libraries = fs::read_dir(home).ok()?.flatten().map(|entry| entry.path());
    libraries.into_iter().find(|library| {
        let jars = fs::read_dir(library).into_iter().flatten().flatten();
        jars.into_iter().any(|jar| jar.file_name().to_string_lossy().starts_with("zookeeper-3"))
    })
}

impl ZooKeeper {
    /// After this time without a sign of life a session is over.
    pub const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

    /// Starts a server; none, which is said: its jars are not there.
    pub fn start() -> Option<Self> {
        let Some(jars) = jars() else {
            eprintln!("skipped: there is no ZooKeeper; scripts/hadoop-cluster fetch brings one");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let conf = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=500\nadmin.enableServer=false\n",
            folder.path().display()
        );
        let path = folder.path().join("zoo.cfg");
        fs::write(&path, conf).unwrap();
        let mut command = Command::new("java");
        command.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
        command.arg(format!("{}/*", jars.display()));
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process(command.spawn().unwrap());
        until("ZooKeeper listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Some(Self { process, port, _folder: folder })
    }
}
