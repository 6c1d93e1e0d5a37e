//! Containers: as many as needed, never one more; a lost one is replaced.

use std::process::Command;

use serde_json::Value;

use crate::support::{Hadoop, application_in, get_json, hadoop, program, text, until};

/// All containers that an application has ever had, by the folders of their logs.
fn containers_of(id: &str) -> Vec<String> {
    let cluster = hadoop();
    let home = std::path::Path::new(cluster.variable("HADOOP_CONF_DIR")).parent().unwrap().to_owned();
    let output = Command::new("find")
        .arg(home)
        .args(["-type", "d", "-path", &format!("*{id}/container_*"), "-name", "container_*"])
        .output();
    let mut names: Vec<String> = text(&output.unwrap().stdout)
        .lines()
        .filter_map(|path| path.rsplit('/').next().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn five_task_managers_are_six_containers_and_never_seven() {
    let cluster = hadoop();
    let id = application_in(&cluster.flott_well(&[
        "run-application",
        "-d",
        "-p",
        "5",
        "-ys",
        "1",
        "-ytm",
        "256",
        "-yjm",
        "256",
        &program(),
        "twice",
    ]));
    assert_eq!(cluster.ended(&id)["finalStatus"], "SUCCEEDED");
    assert_eq!(containers_of(&id).len(), 6, "{:?}", containers_of(&id));
    // NodeManagers have read what they wrote: YARN shows the logs of all.
    until("YARN has aggregated the logs", || {
        let logs = text(&cluster.script(&["yarn", "logs", "-applicationId", &id]).stdout);
        let of = |name: &str| logs.lines().filter(|line| line.trim() == format!("LogType:{name}")).count();
        let words = ["the ApplicationMaster is registered", "MiB for the TaskManager"];
        let all = of("jobmanager.log") == 1 && of("taskmanager.log") == 5;
        (all && words.iter().all(|words| logs.contains(words))).then_some(())
    });
}

/// What a user's function starts is no memory of Flott's, but of the container.
#[test]
fn a_container_that_yarn_kills_for_its_memory_says_how_much_it_was() {
    let cluster = hadoop();
    let line = ["run-application", "-ytm", "512", "-yjm", "256", "-D", "restart-strategy.type=none"];
    let ran = cluster.flott(&[&line[..], &[&program(), "starts-a-large-process"]].concat());
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    let (_, used) = said.split_once("killed by YARN: used ").unwrap_or_else(|| panic!("{said}"));
    let (used, of) = used.split_once(" of ").unwrap();
    assert!(of.starts_with("512 MiB"), "{used} of {of}");
    assert!(said.contains("raise taskmanager.memory.process.size"), "{said}");
    let diagnostics = cluster.ended(&application_in(&said))["diagnostics"].to_string();
    assert!(diagnostics.contains("killed by YARN: used "), "{diagnostics}");
}

/// The processes of an application that run a command of the runtime.
pub fn processes_of(id: &str, command: &str) -> Vec<u32> {
    let pattern = format!("^./flott {command}$");
    let found = Command::new("pgrep").args(["-f", &pattern]).output().unwrap();
    let pids = text(&found.stdout);
    let pids = pids.lines().filter_map(|line| line.parse().ok());
    // In a container's name an epoch may come before it: that of a ResourceManager which has been started again.
    let containers = format!("{}_", &id["application".len()..]);
    let of_application = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        text(&environment).contains(&containers)
    };
    pids.filter(of_application).collect()
}

/// The process of an application that runs a command of the runtime, as soon as there is one.
pub fn process_of(id: &str, command: &str, but: Option<u32>) -> u32 {
    until(&format!("{command} of {id} runs"), || {
        processes_of(id, command).into_iter().find(|pid| Some(*pid) != but)
    })
}

/// The workers that a TaskManager has, as soon as there are any.
pub fn workers_of(task_manager: u32) -> Vec<u32> {
    until("a worker runs", || {
        let found = Command::new("pgrep").args(["-P", &task_manager.to_string()]).output().unwrap();
        let pids: Vec<u32> = text(&found.stdout).lines().filter_map(|line| line.parse().ok()).collect();
        (!pids.is_empty()).then_some(pids)
    })
}

pub fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// A stream of sums with checkpoints on HDFS that ends when its gate is there.
pub struct Sums {
    cluster: &'static Hadoop,
    folder: tempfile::TempDir,
    output: String,
    pub checkpoints: String,
    events: u64,
    pub id: String,
}

/// Enough to be busy with while the gate is closed.
const EVENTS: u64 = 1_200_000;
const KEYS: u64 = 10;

/// Two slots in one TaskManager.
pub const ONE: [&str; 6] = ["-p", "2", "-ys", "2", "-ytm", "512"];

impl Sums {
    /// Starts it with `layout`, the options that say on which containers.
    pub fn start(
        cluster: &'static Hadoop,
        name: &str,
        events: u64,
        layout: &[&str],
        settings: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gate = folder.path().join("gate");
        let (output, checkpoints) = (cluster.fresh(name), cluster.fresh(&format!("{name}-checkpoints")));
        let directory = format!("execution.checkpointing.dir={checkpoints}");
        let line = ["run-application", "-d", "-D", &directory];
        let interval = ["-D", "execution.checkpointing.interval=300 ms"];
        let (count, keys) = (events.to_string(), KEYS.to_string());
        let own = [&program(), "sums", &count, &keys, gate.to_str().unwrap(), &output];
        let id =
            application_in(&cluster.flott_well(&[&line[..], &interval, layout, settings, &own].concat()));
        Self { cluster, folder, output, checkpoints, events, id }
    }

    /// How many files its sink has committed.
    fn committed(&self) -> usize {
        let tree = self.cluster.tree(&format!("{}/sums", self.output));
        tree.iter().filter(|path| path.rsplit('/').next().unwrap().starts_with("part-")).count()
    }

    /// Waits until a checkpoint is complete: the sink has committed files.
    pub fn until_committed(&self, files: usize) {
        until("files are committed", || (self.committed() >= files).then_some(()));
    }

    /// Waits until more is committed than is now.
    pub fn until_committed_again(&self) {
        self.until_committed(self.committed() + 1);
    }

    fn web(&self) -> Option<String> {
        Some(self.cluster.application(&self.id)["trackingUrl"].as_str()?.trim_end_matches('/').to_owned())
    }

    /// Its ApplicationMaster's log, for who wants to know why; its REST API has to be open.
    pub fn log(&self) -> String {
        let url = format!("{}/jobmanager/log", self.web().unwrap());
        text(&Command::new("curl").args(["-sfL", "--max-time", "10", &url]).output().unwrap().stdout)
    }

    /// What its JobManager's REST API, which has to be open, says; `JOB` is the job's id.
    pub fn rest(&self, path: &str) -> Value {
        until(&format!("the JobManager says {path}"), || {
            let web = self.web()?;
            let jobs = get_json(&["-L", &format!("{web}/jobs/overview")])?;
            let job = jobs["jobs"][0]["jid"].as_str()?.to_owned();
            get_json(&["-L", &format!("{web}/{}", path.replace("JOB", &job))])
        })
    }

    /// Lets its tasks end.
    pub fn open_gate(&self) {
        std::fs::write(self.folder.path().join("gate"), "").unwrap();
    }

    /// Lets it end, and compares what it wrote with what it had to write.
    pub fn end(self) {
        let (cluster, events) = (self.cluster, self.events);
        self.open_gate();
        let ended = cluster.ended(&self.id);
        assert_eq!(ended["finalStatus"], "SUCCEEDED", "{ended}");
        let mut found = cluster.lines_in(&format!("{}/sums", self.output));
        let mut expected: Vec<String> =
            (0..events).map(|n| format!("{} {}", n % KEYS, n / KEYS + 1)).collect();
        found.sort();
        expected.sort();
        assert!(found == expected, "{} lines instead of {}", found.len(), expected.len());
    }
}

impl Drop for Sums {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.cluster.kill_application(&self.id);
        }
    }
}

#[test]
fn a_task_manager_that_is_killed_is_replaced_by_one() {
    let sums = Sums::start(hadoop(), "replaced", EVENTS, &ONE, &[]);
    let id = sums.id.clone();
    let task_manager = process_of(&id, "yarn-taskmanager", None);
    sums.until_committed(1);
    kill(task_manager);
    process_of(&id, "yarn-taskmanager", Some(task_manager));
    sums.end();
    assert_eq!(containers_of(&id).len(), 3);
}

#[test]
fn tasks_go_on_while_the_application_master_is_replaced() {
    let cluster = hadoop();
    let quorum = format!("high-availability.zookeeper.quorum={}", cluster.variable("ZOOKEEPER"));
    let storage = format!("high-availability.storageDir={}", cluster.fresh("ha"));
    let sums = Sums::start(
        cluster,
        "adopted",
        EVENTS,
        &ONE,
        &["-D", "high-availability.type=zookeeper", "-D", &quorum, "-D", &storage],
    );
    let id = sums.id.clone();
    let master = process_of(&id, "application-master", None);
    let task_manager = process_of(&id, "yarn-taskmanager", None);
    let workers = workers_of(task_manager);
    sums.until_committed(1);
    kill(master);
    process_of(&id, "application-master", Some(master));
    // Files are committed by checkpoints that the new one has completed.
    let before = cluster.tree(&format!("{}/sums", sums.output)).len();
    sums.until_committed(before + 2);
    assert_eq!(workers_of(task_manager), workers, "the tasks go on");
    sums.end();
    // Two ApplicationMasters, one TaskManager.
    assert_eq!(containers_of(&id).len(), 3);
}
