//! A ZooKeeper server of its own for a test.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::ports::Port;
use crate::support::{Process, kill, until};

pub struct ZooKeeper {
    pub process: Process,
    pub port: u16,
    folder: tempfile::TempDir,
    _claimed: Port,
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
        let claimed = Port::claim();
        let port = claimed.number;
        let conf = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=500\nmaxSessionTimeout=60000\nadmin.enableServer=false\n{settings}",
            folder.path().display()
        );
        fs::write(folder.path().join("zoo.cfg"), conf).unwrap();
        fs::write(folder.path().join("myid"), number.to_string()).unwrap();
        Some(Self { process: run(&folder)?, port, folder, _claimed: claimed })
    }

    /// What it is in its ensemble; none while it serves nobody.
    fn mode(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
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
    /// On which they talk with each other.
    _claimed: Vec<Port>,
}

impl Ensemble {
    /// Starts the servers; none, which is said: their jars are not there.
    pub fn start() -> Option<Self> {
        let claimed: Vec<Port> = (0..6).map(|_| Port::claim()).collect();
        let peers = (1..)
            .zip(claimed.chunks(2))
            .map(|(n, ports)| format!("server.{n}=127.0.0.1:{}:{}\n", ports[0].number, ports[1].number));
        let settings = format!("initLimit=20\nsyncLimit=6\n{}", peers.collect::<String>());
        let servers = (1..=3).map(|n| ZooKeeper::prepare(&settings, n)).collect::<Option<_>>()?;
        let ensemble = Self { servers, _claimed: claimed };
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
