//! Fail-overs under a stream, on a cluster where NameNode and ResourceManager have a standby each: nothing restarts.

use crate::restarts::{TWO, say};
use crate::stream::{Stream, now};
use crate::support::{Hadoop, text, until};

/// Which of two daemons is active, as the tool that manages them says.
fn active(cluster: &Hadoop, tool: &[&str], ids: [&str; 2]) -> usize {
    until(&format!("one of {ids:?} is active"), || {
        ids.iter().position(|id| {
            let said = cluster.script(&[tool, &["-getServiceState", id]].concat());
            text(&said.stdout).trim() == "active"
        })
    })
}

#[test]
fn a_fail_over_of_name_node_or_resource_manager_disturbs_nothing() {
    let cluster = Hadoop::start_for_ever(&["--namenode-ha", "--resourcemanager-ha"]);
    let stream = Stream::start(cluster, "failovers", 180, &TWO, &[]);
    let processes = stream.processes();

    let resource_managers = (["yarn", "rmadmin"], ["rm1", "rm2"]);
    let led = active(cluster, &resource_managers.0, resource_managers.1);
    let daemon = ["resourcemanager1", "resourcemanager2"][led];
    cluster.script_well(&["kill", daemon]);
    stream.until_checkpoint(now());
    until("the other ResourceManager has taken over", || {
        (active(cluster, &resource_managers.0, resource_managers.1) != led).then_some(())
    });
    cluster.script_well(&["start", daemon]);
    stream.until_checkpoint(now());
    say(&stream, "the ResourceManagers have changed places");

    // Both ways: by order, and because one dies.
    cluster.script_well(&["hdfs", "haadmin", "-failover", "nn1", "nn2"]);
    stream.until_checkpoint(now());
    say(&stream, "the NameNodes have changed places");
    cluster.script_well(&["kill", "namenode2"]);
    cluster.script_well(&["hdfs", "haadmin", "-failover", "--forcefence", "nn2", "nn1"]);
    stream.until_checkpoint(now());
    say(&stream, "the first NameNode has taken over from one that was killed");
    cluster.script_well(&["start", "namenode2"]);

    assert_eq!(stream.restarts(), 0, "{}", stream.failures());
    let now = stream.processes();
    assert_eq!((now.masters, now.workers), (processes.masters, processes.workers), "the same processes");
    let report = stream.end();
    assert_eq!(report["jobs"][0]["restarts"], 0, "{report}");
    cluster.assert_empty();
    cluster.down();
}
