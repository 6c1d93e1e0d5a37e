//! The cluster of these tests, and questions to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// The command: the one that was built for the tests, or that in the folder `FLOTT_TEST_BINARIES`, with its examples.
pub fn flott() -> &'static str {
    static COMMAND: OnceLock<String> = OnceLock::new();
    COMMAND.get_or_init(|| match std::env::var("FLOTT_TEST_BINARIES") {
        Ok(folder) => format!("{folder}/flott"),
        Err(_) => env!("CARGO_BIN_EXE_flott").to_owned(),
    })
}

fn example(name: &str) -> String {
    let path = Path::new(flott()).parent().unwrap().join("examples").join(name);
    path.to_str().unwrap().to_owned()
}

/// The program of the cluster tests.
pub fn program() -> String {
    example("cluster_program")
}

/// The wordcount example.
pub fn wordcount() -> String {
    example("wordcount")
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/hadoop-cluster")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until something is so.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "in {DEADLINE:?} it did not happen that {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// A Hadoop cluster.
pub struct Hadoop {
    folder: PathBuf,
    variables: BTreeMap<String, String>,
    /// Stops the cluster when its standard input closes, which the end of this process does, and not before.
    _guard: Child,
}

/// Who may use the plain cluster. Each test has a thread of its own, and gives back with it what it holds.
enum Lease {
    Shared(#[expect(dead_code, reason = "it is held")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "it is held")] RwLockWriteGuard<'static, ()>),
}

static LEASES: RwLock<()> = RwLock::new(());

thread_local! {
    static LEASE: RefCell<Option<Lease>> = const { RefCell::new(None) };
}

fn plain() -> &'static Hadoop {
    static CLUSTER: OnceLock<Hadoop> = OnceLock::new();
    // Room for all tests at once: jobs that each wait for the rest of what they need would wait for each other.
    let room = "yarn:yarn.nodemanager.resource.cpu-vcores=16";
    // An ApplicationMaster may die as often as its application allows.
    let attempts = "yarn:yarn.resourcemanager.am.max-attempts=1000";
    // One ApplicationMaster may always run.
    let one_master = "capacity:yarn.scheduler.capacity.root.streaming.maximum-am-resource-percent=0.01";
    let heartbeat = std::env::var("FLOTT_HADOOP_HEARTBEAT_MS").unwrap_or("200".to_owned());
    CLUSTER.get_or_init(|| {
        let properties = [room, attempts, one_master].map(|property| ["--property", property]);
        Hadoop::start(&[properties.as_flattened(), &["--heartbeat-ms", &heartbeat]].concat())
    })
}

/// The plain cluster, which all tests share but those that break it.
pub fn hadoop() -> &'static Hadoop {
    LEASE.with_borrow_mut(|lease| {
        if !matches!(lease, Some(Lease::Shared(_))) {
            *lease = None;
            *lease = Some(Lease::Shared(LEASES.read().unwrap_or_else(PoisonError::into_inner)));
        }
    });
    plain()
}

/// The same for a test that breaks it, which has it for itself to its end.
pub fn breakable() -> &'static Hadoop {
    LEASE.with_borrow_mut(|lease| {
        if !matches!(lease, Some(Lease::Alone(_))) {
            *lease = None;
            *lease = Some(Lease::Alone(LEASES.write().unwrap_or_else(PoisonError::into_inner)));
        }
    });
    plain()
}

impl Hadoop {
    /// Starts a cluster of its own.
    pub fn start(options: &[&str]) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("flott-hadoop-{}-{number}", std::process::id()));
        let guard = Command::new("sh")
            .args(["-c", "trap '' INT TERM HUP; cat >/dev/null; \"$0\" --dir \"$1\" down --remove >/dev/null 2>&1; rm -rf \"$1\""])
            .arg(script())
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let run = |arguments: &[&str]| {
            let output = Command::new(script())
                .arg("--dir")
                .arg(&folder)
                .args(arguments)
                .stdin(Stdio::null())
                .output();
            let output = output.unwrap();
            assert!(
                output.status.success(),
                "{arguments:?}: {}{}",
                text(&output.stdout),
                text(&output.stderr)
            );
            text(&output.stdout)
        };
        run(&[&["up"], options].concat());
        let exports = run(&["env"]);
        let variables = exports
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
            .collect();
        Self { folder, variables, _guard: guard }
    }

    /// Starts a cluster of its own that lasts as long as this process, unless it is taken [`down`](Self::down).
    pub fn start_for_ever(options: &[&str]) -> &'static Self {
        Box::leak(Box::new(Self::start(options)))
    }

    /// Stops it.
    pub fn down(&self) {
        self.script_well(&["down"]);
    }

    /// Kills an application, however far it is.
    pub fn kill_application(&self, id: &str) {
        let _ = self.script(&["yarn", "application", "-kill", id]);
    }

    /// What `env` says.
    pub fn variable(&self, name: &str) -> &str {
        &self.variables[name]
    }

    /// The cluster's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The script with these arguments, which has to end well.
    pub fn script_well(&self, arguments: &[&str]) {
        let output = self.script(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    }

    /// The script with these arguments.
    pub fn script_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(script());
        command.arg("--dir").arg(&self.folder).args(arguments).stdin(Stdio::null());
        command
    }

    /// What the script says to these arguments.
    pub fn script(&self, arguments: &[&str]) -> Output {
        self.script_command(arguments).output().unwrap()
    }

    /// A flott command in the cluster's environment, with files of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(flott());
        command.args(arguments).envs(&self.variables).env("TMPDIR", &self.folder).stdin(Stdio::null());
        command.env_remove("FLOTT_CONF_DIR").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a flott command to its end.
    pub fn flott(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The same as another user, who shares nothing with the other tests.
    pub fn command_as(&self, user: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env("HADOOP_USER_NAME", user);
        command
    }

    /// Runs a flott command that has to end well, and says what it printed.
    pub fn flott_well(&self, arguments: &[&str]) -> String {
        let output = self.flott(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stderr) + &text(&output.stdout)
    }

    /// A path on HDFS that nobody has used.
    pub fn fresh(&self, name: &str) -> String {
        format!("{}/flott/{name}-{}", self.variable("NAMENODE"), std::process::id())
    }

    /// Puts a local file.
    pub fn put(&self, local: &Path, path: &str) {
        let output = self.script(&["hdfs", "dfs", "-put", "-f", local.to_str().unwrap(), path]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// The lines of the committed files of a folder on HDFS.
    pub fn lines_in(&self, folder: &str) -> Vec<String> {
        let local = tempfile::tempdir().unwrap();
        let copy = local.path().join("copy");
        let output = self.script(&["hdfs", "dfs", "-get", folder, copy.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let mut lines = Vec::new();
        for entry in fs::read_dir(copy).unwrap().flatten() {
            if !entry.file_name().to_string_lossy().starts_with(['.', '_']) {
                lines.extend(fs::read_to_string(entry.path()).unwrap().lines().map(str::to_owned));
            }
        }
        lines
    }

    /// What is in a folder on HDFS, with all below it.
    pub fn tree(&self, folder: &str) -> Vec<String> {
        let output = self.script(&["hdfs", "dfs", "-ls", "-R", "-C", folder]);
        let said = text(&output.stderr);
        // What comes and goes meanwhile is no failure.
        assert!(output.status.success() || said.contains("No such file or directory"), "{folder}: {said}");
        text(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Waits until the folder of an application is gone, or of all applications if that is empty: YARN shows their end a moment before.
    pub fn until_nothing_is_staged(&self, application: &str) {
        let name = format!("application_{}", application.trim_start_matches("application_"));
        until(&format!("nothing of {name} is staged"), || {
            (!self.tree("/user/*/.flott").iter().any(|path| path.contains(&name))).then_some(())
        });
    }

    /// An answer of the ResourceManager's REST API: of the active one, as soon as there is one.
    pub fn resource_manager(&self, path: &str) -> Value {
        until(&format!("a ResourceManager says {path}"), || {
            ["RM_WEB", "RM_WEB1", "RM_WEB2"].into_iter().find_map(|name| {
                let url = format!("{}/ws/v1/cluster/{path}", self.variables.get(name)?);
                get_json(&["-H", "Accept: application/json", &url])
            })
        })
    }

    /// Nothing runs or is kept for an application any more.
    pub fn assert_empty(&self) {
        until("YARN has no container", || {
            let metrics = &self.resource_manager("metrics")["clusterMetrics"];
            ["containersAllocated", "containersPending", "appsRunning", "appsPending"]
                .iter()
                .all(|name| metrics[name] == 0)
                .then_some(())
        });
    }

    /// What YARN says of an application.
    pub fn application(&self, id: &str) -> Value {
        self.resource_manager(&format!("apps/{id}"))["app"].clone()
    }

    /// Ends a session as users do.
    pub fn stop_session(&self, id: &str) {
        let mut stop = self.command(&["yarn-session", "-id", id]).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut stop.stdin.take().unwrap(), b"stop\n").unwrap();
        let stopped = stop.wait_with_output().unwrap();
        assert!(stopped.status.success(), "{}", text(&stopped.stderr));
        assert_eq!(self.ended(id)["finalStatus"], "SUCCEEDED");
    }

    /// An application in its last state.
    pub fn ended(&self, id: &str) -> Value {
        until(&format!("{id} is over"), || {
            let application = self.application(id);
            ["FINISHED", "FAILED", "KILLED"]
                .contains(&application["state"].as_str().unwrap())
                .then_some(application)
        })
    }
}

/// What `curl` gets with these arguments; none if it is no JSON, or an error.
pub fn get_json(arguments: &[&str]) -> Option<Value> {
    let output = Command::new("curl").args(["-sf", "--max-time", "10"]).args(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout).ok()
}

/// The id of the application that a command named.
pub fn application_in(said: &str) -> String {
    let start = said.find("application_").unwrap_or_else(|| panic!("no application in: {said}"));
    said[start..].chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
}

/// Counts of words as an independent program sees them: `tr | sort | uniq -c`.
pub fn counts_of(file: &Path) -> BTreeMap<String, u64> {
    let pipeline = "tr -s '[:space:]' '\\n' <\"$0\" | grep -v '^$' | LC_ALL=C sort | uniq -c";
    let output = Command::new("sh").args(["-c", pipeline]).arg(file).output().unwrap();
    let lines = text(&output.stdout);
    let counted = lines.lines().map(|line| {
        let (count, word) = line.trim().split_once(' ').unwrap();
        (word.to_owned(), count.parse().unwrap())
    });
    counted.collect()
}

/// The counts that wordcount has written, the largest of each word.
pub fn counts_in(lines: &[String]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let (word, count) = line.split_once(' ').unwrap();
        let count: u64 = count.parse().unwrap();
        let most: &mut u64 = counts.entry(word.to_owned()).or_default();
        *most = (*most).max(count);
    }
    counts
}
