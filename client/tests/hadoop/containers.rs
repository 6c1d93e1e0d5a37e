//! Containers: as many as needed, never one more; a lost one is replaced.

use std::process::Command;

use crate::support::{application_in, hadoop, program, text, until};

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
}

/// The process of an application that runs a command of the runtime, as soon as there is one.
pub fn process_of(id: &str, command: &str, but: Option<u32>) -> u32 {
    let pattern = format!("^./flott {command}$");
    until(&format!("{command} of {id} runs"), || {
        let found = Command::new("pgrep").args(["-f", &pattern]).output().unwrap();
        let pids: Vec<u32> = text(&found.stdout).lines().filter_map(|line| line.parse().ok()).collect();
        pids.into_iter().filter(|pid| Some(*pid) != but).find(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            text(&environment).contains(&id.replace("application", "container"))
        })
    })
}

/// The workers that a TaskManager has, as soon as there are any.
fn workers_of(task_manager: u32) -> Vec<u32> {
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
struct Sums {
    folder: tempfile::TempDir,
    output: String,
    id: String,
}

/// Enough for more than a minute while the gate is closed.
const EVENTS: u64 = 400_000;
const KEYS: u64 = 10;

impl Sums {
    fn start(name: &str, settings: &[&str]) -> Self {
        let cluster = hadoop();
        let folder = tempfile::tempdir().unwrap();
        let gate = folder.path().join("gate");
        let (output, checkpoints) = (cluster.fresh(name), cluster.fresh(&format!("{name}-checkpoints")));
        let directory = format!("execution.checkpointing.dir={checkpoints}");
        let line = ["run-application", "-d", "-p", "2", "-ys", "2", "-ytm", "512", "-D", &directory];
        let interval = ["-D", "execution.checkpointing.interval=300 ms"];
        let (events, keys) = (EVENTS.to_string(), KEYS.to_string());
        let own = [&program(), "sums", &events, &keys, gate.to_str().unwrap(), &output];
        let id = application_in(&cluster.flott_well(&[&line[..], &interval, settings, &own].concat()));
        Self { folder, output, id }
    }

    /// Waits until a checkpoint is complete: the sink has committed files.
    fn until_committed(&self, files: usize) {
        until("files are committed", || {
            let tree = hadoop().tree(&format!("{}/sums", self.output));
            let committed = tree.iter().filter(|path| path.rsplit('/').next().unwrap().starts_with("part-"));
            (committed.count() >= files).then_some(())
        });
    }

    /// Lets it end, and compares what it wrote with what it had to write.
    fn end(self) {
        std::fs::write(self.folder.path().join("gate"), "").unwrap();
        let ended = hadoop().ended(&self.id);
        assert_eq!(ended["finalStatus"], "SUCCEEDED", "{ended}");
        let mut found = hadoop().lines_in(&format!("{}/sums", self.output));
        let mut expected: Vec<String> =
            (0..EVENTS).map(|n| format!("{} {}", n % KEYS, n / KEYS + 1)).collect();
        found.sort();
        expected.sort();
        assert!(found == expected, "{} lines instead of {}", found.len(), expected.len());
    }
}

#[test]
fn a_task_manager_that_is_killed_is_replaced_by_one() {
    let sums = Sums::start("replaced", &[]);
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
    let sums =
        Sums::start("adopted", &["-D", "high-availability.type=zookeeper", "-D", &quorum, "-D", &storage]);
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
