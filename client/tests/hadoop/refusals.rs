//! What cannot run is refused before anything is started, in words and numbers.

use crate::support::{hadoop, text, wordcount};

#[test]
fn what_cannot_run_is_refused_with_the_reason() {
    let cluster = hadoop();
    let cases: [(&[&str], &str); 6] = [
        (&["-yqu", "nowhere"], "there is no queue 'nowhere'; this cluster has "),
        (&["-yqu", "closed"], "queue 'closed' is stopped"),
        (
            &["-ytm", "9g"],
            "a container for a TaskManager of 9216 MiB and 1 vcores is more than YARN gives: at most 4096 MiB",
        ),
        (&["-ys", "64", "-ytm", "4g"], "64 vcores is more than YARN gives"),
        (&["-ys", "64"], "16 mb is the least: raise taskmanager.memory.process.size"),
        (&["-D", "yarn.application.queu=x"], "did you mean 'yarn.application.queue'"),
    ];
    for (flags, expected) in cases {
        let program = wordcount();
        let line =
            [&["run", "-t", "yarn-application"], flags, &[program.as_str(), "--input", "hdfs:///x"]].concat();
        let ran = cluster.command_as("bob", &line).output().unwrap();
        let said = text(&ran.stderr);
        assert_eq!((ran.status.code(), said.contains(expected)), (Some(1), true), "{flags:?}: {said}");
    }
    let mut blind =
        cluster.command_as("bob", &["run", "-t", "yarn-application", &wordcount(), "--input", "x"]);
    let ran = blind.env_remove("HADOOP_CONF_DIR").env_remove("HADOOP_HOME").output().unwrap();
    assert!(text(&ran.stderr).contains("set HADOOP_CONF_DIR"), "{}", text(&ran.stderr));
    let ran = cluster.command_as("bob", &["run", "-t", "yarn-application", "/bin/true"]).output().unwrap();
    assert!(text(&ran.stderr).contains("is no Flott program"), "{}", text(&ran.stderr));
    assert!(cluster.resource_manager("apps?user=bob")["apps"].get("app").is_none());
}
