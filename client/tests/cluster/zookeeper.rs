//! A ZooKeeper server of its own for a test.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Process, kill, until};

pub struct ZooKeeper {
    pub process: Process,
    pub port: u16,
    folder: tempfile::TempDir,
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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl ZooKeeper {
    /// After this time without a sign of life a session is over.
    pub const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

    /// Starts a server; none, which is said: its jars are not there.
    pub fn start() -> Option<Self> {
        let server = Self::prepare("", 1)?;
        until("ZooKeeper listens", || TcpStream::connect(("127.0.0.1", server.port)).ok());
        Some(server)
    }

    /// Kills the server; what it keeps stays.
    pub fn stop(&mut self) {
        kill(self.process.pid());
        let _ = self.process.0.wait();
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        self.process = run(&self.folder).unwrap();
    }

    /// Starts a server with more settings, of which several have numbers, and waits for nothing.
    fn prepare(settings: &str, number: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let conf = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=500\nadmin.enableServer=false\n{settings}",
            folder.path().display()
        );
        fs::write(folder.path().join("zoo.cfg"), conf).unwrap();
        fs::write(folder.path().join("myid"), number.to_string()).unwrap();
        Some(Self { process: run(&folder)?, port, folder })
    }

    /// What it is in its ensemble; none while it serves nobody.
    fn mode(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(b"srvr").ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).ok()?;
        said.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
    }
}

/// Starts the server of a folder.
fn run(folder: &tempfile::TempDir) -> Option<Process> {
    let Some(jars) = jars() else {
        eprintln!("skipped: there is no ZooKeeper; scripts/hadoop-cluster fetch brings one");
        return None;
    };
    let mut command = Command::new("java");
    command.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(format!("{}/*", jars.display()));
    command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(folder.path().join("zoo.cfg"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Some(Process(command.spawn().unwrap()))
}

/// Three servers, of which two are enough.
pub struct Ensemble {
    servers: Vec<ZooKeeper>,
}

impl Ensemble {
    /// Starts the servers; none, which is said: their jars are not there.
    pub fn start() -> Option<Self> {
        let peers = [1, 2, 3].map(|n| format!("server.{n}=127.0.0.1:{}:{}\n", free_port(), free_port()));
        let settings = format!("initLimit=20\nsyncLimit=6\n{}", peers.concat());
        let servers = (1..=3).map(|n| ZooKeeper::prepare(&settings, n)).collect::<Option<_>>()?;
        let ensemble = Self { servers };
        for at in 0..3 {
            ensemble.until_it_serves(at);
        }
        Some(ensemble)
    }

    fn until_it_serves(&self, at: usize) {
        until("a server of the ensemble serves", || self.servers[at].mode());
    }

    /// `HOST:PORT` of all.
    pub fn quorum(&self) -> String {
        let servers: Vec<_> =
            self.servers.iter().map(|server| format!("localhost:{}", server.port)).collect();
        servers.join(",")
    }

    /// Kills a server that leads the others, or one that follows, and says which.
    pub fn kill(&self, mode: &str) -> usize {
        let find = || self.servers.iter().position(|server| server.mode().as_deref() == Some(mode));
        let at = until("the ensemble is whole", find);
        kill(self.servers[at].process.pid());
        at
    }

    /// Starts it again, until it serves.
    pub fn start_again(&mut self, at: usize) {
        self.servers[at].start_again();
        self.until_it_serves(at);
    }
}
