//! Daemons of Hadoop that are killed and started again, one after another, under one stream: it goes on as if nothing had happened.

use std::time::Duration;

use crate::stream::{Stream, now, pass};
use crate::support::breakable;

/// Two TaskManagers with one slot each.
pub const TWO: [&str; 2] = ["-ys", "1"];

/// What happened is said, with the moment, so that it can be found in logs.
pub fn say(stream: &Stream, what: &str) {
    eprintln!("{} {what}; {} restarts", now(), stream.restarts());
}

#[test]
fn daemons_that_are_restarted_one_after_another_disturb_nothing() {
    let cluster = breakable();
    let stream = Stream::start(cluster, "restarts", 240, &TWO, &[]);
    let processes = stream.processes();
    assert_eq!((processes.masters.len(), processes.workers.len()), (1, 2), "{processes:?}");
    for daemon in ["resourcemanager", "nodemanager1", "nodemanager2"] {
        cluster.script_well(&["kill", daemon]);
        stream.until_checkpoint(now());
        say(&stream, &format!("{daemon} is down"));
        cluster.script_well(&["start", daemon]);
        stream.until_checkpoint(now());
        say(&stream, &format!("{daemon} is up"));
    }
    for daemon in ["zookeeper", "namenode", "datanode"] {
        cluster.script_well(&["kill", daemon]);
        cluster.script_well(&["start", daemon]);
        stream.until_checkpoint(now());
        say(&stream, &format!("{daemon} is up again"));
    }
    cluster.script_well(&["kill", "zookeeper", "STOP"]);
    pass(Duration::from_secs(5));
    cluster.script_well(&["kill", "zookeeper", "CONT"]);
    stream.until_checkpoint(now());
    say(&stream, "zookeeper goes on");
    assert_eq!(stream.restarts(), 0, "{}", stream.failures());
    let now = stream.processes();
    assert_eq!((now.masters, now.workers), (processes.masters, processes.workers), "the same processes");
    let report = stream.end();
    assert_eq!(report["jobs"][0]["restarts"], 0, "{report}");
}
