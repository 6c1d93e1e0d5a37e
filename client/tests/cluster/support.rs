//! A standalone cluster of real processes on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use crate::zookeeper::ZooKeeper;

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(120);

pub fn flott() -> &'static str {
    env!("CARGO_BIN_EXE_flott")
}

fn example(name: &str) -> PathBuf {
    Path::new(flott()).parent().unwrap().join("examples").join(name)
}

/// The program of these tests.
pub fn program() -> String {
    example("cluster_program").to_str().unwrap().to_owned()
}

/// The wordcount example.
pub fn wordcount() -> String {
    example("wordcount").to_str().unwrap().to_owned()
}

/// Waits until something is so.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "in {DEADLINE:?} it did not happen that {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A process that is killed when the test ends.
pub struct Process(pub Child);

impl Process {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end and what it wrote, if that was piped.
    pub fn output(mut self) -> Output {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let out = self.0.stdout.take();
        let err = self.0.stderr.take();
        let reader = std::thread::Builder::new()
            .spawn(move || {
                let _ = err.map(|mut err| err.read_to_end(&mut stderr));
                stderr
            })
            .unwrap();
        let killer = Pid::from_child(&self.0);
        let (done, waiting) = std::sync::mpsc::sync_channel::<()>(1);
        let guard = std::thread::Builder::new()
            .spawn(move || {
                if waiting.recv_timeout(DEADLINE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    let _ = kill_process(killer, Signal::KILL);
                }
            })
            .unwrap();
        let _ = out.map(|mut out| out.read_to_end(&mut stdout));
        let stderr = reader.join().unwrap();
        let status = self.0.wait().unwrap();
        drop(done);
        guard.join().unwrap();
        Output { status, stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub struct Cluster {
    pub folder: tempfile::TempDir,
    pub job_manager: Process,
    pub task_managers: Vec<Process>,
    /// Empty: it is looked for.
    pub address: String,
    slots: u32,
}

/// What the tests set so that nothing takes long.
const SETTINGS: &str = "\
jobmanager.rpc.port: 0
rest.bind-port: 0
heartbeat.interval: 500 ms
heartbeat.timeout: 60 s
restart-strategy.exponential-delay.initial-backoff: 100 ms
restart-strategy.exponential-delay.max-backoff: 200 ms
";

impl Cluster {
    /// A cluster whose JobManagers are elected by ZooKeeper; one of them for now.
    pub fn start_elected(zookeeper: &ZooKeeper, task_managers: u32, slots: u32, settings: &str) -> Self {
        Self::start_elected_by(&format!("localhost:{}", zookeeper.port), task_managers, slots, settings)
    }

    /// The same, by the servers of a list.
    pub fn start_elected_by(servers: &str, task_managers: u32, slots: u32, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = folder.path().join("storage");
        let session = "high-availability.zookeeper.client.session-timeout";
        // Unless the test is about it: who comes late is restarted.
        let adoption = "jobmanager.adoption-timeout";
        let defaults: String = [(session, ZooKeeper::SESSION_TIMEOUT), (adoption, Duration::from_secs(60))]
            .into_iter()
            .filter(|(key, _)| !settings.contains(key))
            .map(|(key, time)| format!("{key}: {} s\n", time.as_secs()))
            .collect();
        let settings = format!(
            "high-availability.type: zookeeper\nhigh-availability.zookeeper.quorum: {servers}/tests\nhigh-availability.storageDir: {}\n{defaults}{settings}",
            storage.display(),
        );
        Self::start_in(folder, task_managers, slots, &settings, true)
    }

    /// A cluster of so many TaskManagers with so many slots each.
    pub fn start(task_managers: u32, slots: u32) -> Self {
        Self::start_with(task_managers, slots, "")
    }

    pub fn start_with(task_managers: u32, slots: u32, settings: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), task_managers, slots, settings, false)
    }

    fn start_in(folder: TempDir, task_managers: u32, slots: u32, settings: &str, elected: bool) -> Self {
        let path = folder.path().display();
        let temp = folder.path().join("tmp");
        fs::create_dir(&temp).unwrap();
        let patience =
            if settings.contains("slot.request.timeout") { "" } else { "slot.request.timeout: 20 s\n" };
        let conf = format!(
            "{SETTINGS}{patience}security.secret.file: {path}/secret\nenv.log.dir: {path}/log\nio.tmp.dirs: {}\nyarn.properties-file.location: {path}\ntaskmanager.numberOfTaskSlots: {slots}\n{settings}",
            temp.display()
        );
        fs::write(folder.path().join("flott-conf.yaml"), conf).unwrap();
        let (job_manager, address) = start_job_manager(folder.path());
        let address = if elected { String::new() } else { address };
        let mut cluster = Self { folder, job_manager, task_managers: Vec::new(), address, slots };
        for _ in 0..task_managers {
            let agent = cluster.task_manager();
            cluster.task_managers.push(agent);
        }
        cluster.until_slots(task_managers * slots);
        cluster
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Starts one more JobManager; also where it listens.
    pub fn another_job_manager(&self) -> (Process, String) {
        start_job_manager(self.folder.path())
    }

    /// Starts one more TaskManager.
    pub fn task_manager(&self) -> Process {
        self.task_manager_with(None)
    }

    /// Starts one more TaskManager, with something in the environment of its workers.
    pub fn task_manager_with(&self, variable: Option<&str>) -> Process {
        let port = self.address.rsplit(':').next().filter(|port| !port.is_empty()).unwrap_or("0");
        let setting = format!("jobmanager.rpc.port={port}");
        let mut command = command(self.folder.path(), &["taskmanager", "-D", &setting]);
        Process(command.envs(variable.map(|name| (name, "yes"))).spawn().unwrap())
    }

    /// Waits until so many slots are free.
    pub fn until_slots(&self, free: u32) {
        until(&format!("{free} slots are free"), || {
            let listed = self.flott(&["list"]);
            text(&listed.stdout).contains(&format!(", {free} of ")).then_some(())
        });
    }

    /// All TaskManagers are there and no job runs.
    pub fn until_idle(&self) {
        self.until_slots(self.task_managers.len() as u32 * self.slots);
    }

    /// Starts a flott command that talks to this cluster.
    pub fn spawn(&self, arguments: &[&str]) -> Process {
        let (name, rest) = arguments.split_first().unwrap();
        let master = ["-m", self.address.as_str()].into_iter().filter(|_| !self.address.is_empty());
        let all: Vec<&str> = [*name].into_iter().chain(master).chain(rest.iter().copied()).collect();
        let mut command = command(self.folder.path(), &all);
        Process(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Runs a flott command with this cluster's configuration to its end.
    pub fn flott_alone(&self, arguments: &[&str]) -> Output {
        let mut command = command(self.folder.path(), arguments);
        Process(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).output()
    }

    /// Runs a flott command that talks to this cluster to its end.
    pub fn flott(&self, arguments: &[&str]) -> Output {
        self.spawn(arguments).output()
    }

    /// The processes of workers, by the TaskManager they belong to.
    pub fn workers(&self) -> Vec<(u32, u32)> {
        let agents = self.task_managers.iter().map(Process::pid);
        let mut workers: Vec<(u32, u32)> = agents
            .flat_map(|agent| {
                let children = children_of(agent).into_iter().filter(|(_, state)| state != "Z");
                children.map(move |(pid, _)| (agent, pid))
            })
            .collect();
        workers.sort_unstable();
        workers
    }

    /// Waits until nothing of any job is left: no process, no temporary file.
    pub fn until_clean(&self) {
        until("no worker is left", || self.workers().is_empty().then_some(()));
        until("no temporary folder of a worker is left", || {
            let folders = fs::read_dir(self.folder.path().join("tmp")).unwrap().flatten();
            let of_workers = folders
                .filter_map(|folder| fs::read_dir(folder.path()).ok())
                .flat_map(|files| files.flatten());
            let left =
                of_workers.filter(|file| file.file_name().to_string_lossy().starts_with("worker-")).count();
            (left == 0).then_some(())
        });
    }
}

fn start_job_manager(folder: &Path) -> (Process, String) {
    let mut job_manager = command(folder, &["jobmanager"]);
    let mut job_manager = Process(job_manager.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(job_manager.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().rsplit(':').next().unwrap();
    (job_manager, format!("localhost:{port}"))
}

/// The processes that a process has started, and the state of each; `Z`: it has ended, and nobody has asked how.
pub fn children_of(parent: u32) -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let child = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // After the name in parentheses: state, parent.
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let state = rest.next()?.to_owned();
        (rest.next()?.parse() == Ok(parent)).then_some((pid, state))
    };
    processes.filter_map(child).collect()
}

/// A flott command; a file that grows beyond its process's limit is an error to it and its workers, as on a full disk, and no signal.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", flott()]);
    command.args(arguments).env("FLOTT_CONF_DIR", folder).stdin(Stdio::null());
    command
}

/// Sends SIGKILL.
pub fn kill(pid: u32) {
    // It may have ended meanwhile.
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
}

/// Stops a process, or lets it go on.
pub fn pause(pid: u32, paused: bool) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), if paused { Signal::STOP } else { Signal::CONT })
        .unwrap();
}

/// Lets no file of a process grow beyond so many bytes; none: as large as there is room for.
pub fn limit_files(pid: u32, bytes: Option<u64>) {
    let limit = Rlimit { current: bytes, maximum: None };
    // It may have ended meanwhile.
    let _ = prlimit(Pid::from_raw(pid as i32), Resource::Fsize, limit);
}

/// The ports on which a process listens.
pub fn ports_of(pid: u32) -> Vec<u16> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let files: Vec<String> = links
        .filter_map(|link| fs::read_link(link.path()).ok())
        .map(|file| file.to_string_lossy().into_owned())
        .collect();
    let sockets =
        ["tcp", "tcp6"].map(|kind| fs::read_to_string(format!("/proc/net/{kind}")).unwrap_or_default());
    let mut ports = Vec::new();
    for line in sockets.iter().flat_map(|table| table.lines()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Local address, state and inode.
        if fields.get(3) == Some(&"0A") && files.contains(&format!("socket:[{}]", fields[9])) {
            let port = fields[1].rsplit(':').next().unwrap();
            ports.push(u16::from_str_radix(port, 16).unwrap());
        }
    }
    ports
}

/// Sends SIGINT.
pub fn interrupt(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::INT).unwrap();
}

/// The lines of all committed files of a folder; parts that are not committed have other names.
pub fn lines_in(folder: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            lines.extend(fs::read_to_string(entry.path()).unwrap().lines().map(str::to_owned));
        }
    }
    lines
}

pub fn counted<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeMap<T, u64> {
    let mut counts = BTreeMap::new();
    items.into_iter().for_each(|item| *counts.entry(item).or_default() += 1);
    counts
}

/// Fails with the first difference instead of both.
pub fn assert_same<T: Ord + std::fmt::Debug>(found: BTreeMap<T, u64>, expected: BTreeMap<T, u64>) {
    let missing: Vec<_> =
        expected.iter().filter(|(key, count)| found.get(key) != Some(count)).take(5).collect();
    let surplus: Vec<_> =
        found.iter().filter(|(key, count)| expected.get(key) != Some(count)).take(5).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:?}, surplus {surplus:?}");
}

/// What `cluster_program sums` has to write: every count of every key, and the sums of its windows.
pub fn expected_sums(events: u64, keys: u64) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
    let mut windows: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for n in 0..events {
        let key = n % keys;
        let sum = sums.entry(key).or_default();
        *sum += 1;
        *lines.entry(format!("{key} {sum}")).or_default() += 1;
        *windows.entry((key, n / 10 / 1000 * 1000)).or_default() += n;
    }
    (lines, counted(windows.into_iter().map(|((key, start), sum)| format!("{key} {start} {sum}"))))
}
