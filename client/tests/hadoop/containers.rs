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

#[test]
fn a_task_manager_that_is_killed_is_replaced_by_one() {
    let cluster = hadoop();
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let output = cluster.fresh("replaced");
    let id = application_in(&cluster.flott_well(&[
        "run-application",
        "-d",
        "-p",
        "2",
        "-ys",
        "2",
        "-ytm",
        "512",
        "-D",
        &format!("execution.checkpointing.dir={}", cluster.fresh("replaced-checkpoints")),
        "-D",
        "execution.checkpointing.interval=300 ms",
        &program(),
        "sums",
        "20000",
        "10",
        gate.to_str().unwrap(),
        &output,
    ]));
    let task_manager = until("a TaskManager runs", || {
        let found = Command::new("pgrep").args(["-f", "^./flott yarn-taskmanager$"]).output().unwrap();
        let pids: Vec<u32> = text(&found.stdout).lines().filter_map(|line| line.parse().ok()).collect();
        pids.into_iter().find(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            text(&environment).contains(&id.replace("application", "container"))
        })
    });
    Command::new("kill").args(["-9", &task_manager.to_string()]).status().unwrap();
    until("another TaskManager is there", || (containers_of(&id).len() == 3).then_some(()));
    std::fs::write(&gate, "").unwrap();
    assert_eq!(cluster.ended(&id)["finalStatus"], "SUCCEEDED");
    assert_eq!(containers_of(&id).len(), 3);
}
