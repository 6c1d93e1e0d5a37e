//! Hadoop that is away, or full: the command has patience with a limit, then an error that says what is wrong; nothing is left.

use std::fs;
use std::path::Path;

use crate::containers::{ONE, Sums};
use crate::support::{Hadoop, breakable, hadoop, program, text, until, wordcount};

/// Hadoop's configuration with one more property.
fn configuration_with(cluster: &Hadoop, property: &str, value: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(cluster.variable("HADOOP_CONF_DIR")).unwrap().flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    let file = copy.path().join("yarn-site.xml");
    let added = format!("<property><name>{property}</name><value>{value}</value></property></configuration>");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("</configuration>", &added)).unwrap();
    copy
}

fn script(cluster: &Hadoop, arguments: &[&str]) {
    let output = cluster.script(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
}

#[test]
fn what_is_away_or_full_is_waited_for_or_told() {
    let cluster = breakable();
    // A ResourceManager that comes back, and NodeManagers after it.
    script(cluster, &["kill", "resourcemanager"]);
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    let twice = program();
    let line = ["run-application", "-ytm", "256", "-yjm", "256", &twice, "twice"];
    let mut waiting = cluster.command(&line);
    let waiting = waiting.stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
    until("the command says what it waits for", || {
        fs::read_to_string(&said).unwrap().contains("does not answer; it is waited for, up to").then_some(())
    });
    script(cluster, &["start", "resourcemanager"]);
    let status = waiting.wait_with_output().unwrap().status;
    assert_eq!(status.code(), Some(0), "{}", fs::read_to_string(&said).unwrap());
    cluster.until_nothing_is_staged("");

    // One that stays away.
    script(cluster, &["kill", "resourcemanager"]);
    let impatient = configuration_with(cluster, "yarn.resourcemanager.connect.max-wait.ms", "6000");
    for line in [&line[..], &["yarn-session", "-d"], &["run", "-m", "yarn-cluster", &twice, "twice"]] {
        let ran = cluster.command(line).env("HADOOP_CONF_DIR", impatient.path()).output().unwrap();
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{line:?}: {said}");
        assert!(said.contains("flott: YARN's ResourceManager does not answer: "), "{said}");
        cluster.until_nothing_is_staged("");
    }
    script(cluster, &["start", "resourcemanager"]);

    // No room for what the program writes, then for anything, and somebody else's folder.
    full(cluster, folder.path());
    without_space(cluster, &line);
    denied(cluster);
}

fn full(cluster: &Hadoop, folder: &Path) {
    let words = folder.join("words");
    fs::write(&words, "a b c\n".repeat(1000)).unwrap();
    let (input, output) = (cluster.fresh("words"), cluster.fresh("full"));
    cluster.put(&words, &input);
    script(cluster, &["hdfs", "dfs", "-mkdir", "-p", &output]);
    script(cluster, &["hdfs", "dfsadmin", "-setSpaceQuota", "1m", &output]);
    let counts = format!("{output}/counts");
    let own = [&wordcount(), "--input", &input, "--output", &counts];
    for target in ["yarn-application", "yarn-per-job"] {
        let line = [&["run", "-t", target, "-ytm", "256", "-yjm", "256"][..], &own].concat();
        let ran = cluster.flott(&line);
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{said}");
        assert!(said.contains("quota") && said.contains(&counts), "{said}");
        cluster.until_nothing_is_staged("");
    }
}

/// DataNodes that have no room left. What is submitted is on HDFS already.
fn without_space(cluster: &Hadoop, line: &[&str]) {
    let file = Path::new(cluster.variable("HADOOP_CONF_DIR")).join("hdfs-site.xml");
    let whole = fs::read_to_string(&file).unwrap();
    let reserved =
        "<property><name>dfs.datanode.du.reserved</name><value>1000000000000000</value></property>";
    let restart = |configuration: &str| {
        fs::write(&file, configuration).unwrap();
        script(cluster, &["kill", "datanode"]);
        script(cluster, &["start", "datanode"]);
    };
    restart(&whole.replace("</configuration>", &format!("{reserved}</configuration>")));
    let impatient = configuration_with(cluster, "ipc.client.rpc-timeout.ms", "12000");
    let ran = cluster.command(line).env("HADOOP_CONF_DIR", impatient.path()).output().unwrap();
    restart(&whole);
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    for expected in [
        "/.flott/application_",
        "could only be written to 0 of",
        "NameNode at localhost:",
        "; free space there",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    cluster.until_nothing_is_staged("");
}

/// A folder of somebody else's.
fn denied(cluster: &Hadoop) {
    let (input, output) =
        (cluster.fresh("words"), format!("{}/user/bob/counts", cluster.variable("NAMENODE")));
    let (flags, program) = (["run", "-t", "yarn-application", "-ytm", "256", "-yjm", "256"], wordcount());
    let line = [&flags[..], &[&program, "--input", &input, "--output", &output]].concat();
    let ran = cluster.command_as("alice", &line).output().unwrap();
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    for expected in [
        output.as_str(),
        "Permission denied: user=alice",
        "NameNode at localhost:",
        "the user Flott runs as needs the right to it",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let left = || cluster.tree("/user/alice/.flott").iter().any(|path| path.contains("application_"));
    until("nothing of hers is staged", || (!left()).then_some(()));
}

#[test]
fn a_job_whose_end_cannot_be_kept_is_given_up_with_its_application() {
    let cluster = hadoop();
    let storage = cluster.fresh("unkept-ha");
    let settings = [
        "high-availability.type=zookeeper".to_owned(),
        format!("high-availability.zookeeper.quorum={}", cluster.variable("ZOOKEEPER")),
        format!("high-availability.storageDir={storage}"),
        "jobmanager.absence-timeout=5 s".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["-D", setting.as_str()]).collect();
    let sums = Sums::start(cluster, "unkept", 100_000, &ONE, &settings);
    sums.until_committed(1);
    let kept = || cluster.tree(&sums.checkpoints).into_iter().filter(|path| path.contains("chk-")).count();
    assert!(kept() > 0);
    script(cluster, &["hdfs", "dfsadmin", "-setSpaceQuota", "1", &storage]);
    sums.open_gate();
    let ended = cluster.ended(&sums.id);
    let diagnostics = ended["diagnostics"].to_string();
    assert_eq!(ended["finalStatus"], "FAILED", "{diagnostics}");
    for expected in ["ends could not be kept in 5 s", "quota", "run it again"] {
        assert!(diagnostics.contains(expected), "{expected}: {diagnostics}");
    }
    cluster.until_nothing_is_staged(&sums.id);
    until("its checkpoints are gone", || (kept() == 0).then_some(()));
    script(cluster, &["hdfs", "dfsadmin", "-clrSpaceQuota", &storage]);
}
