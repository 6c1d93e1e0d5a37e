//! A node that leaves the cluster: its TaskManagers leave it in order, after a checkpoint that is made for it.

use serde_json::Value;

use crate::containers::Sums;
use crate::restart_storm::lonely;
use crate::support::{Hadoop, until};

/// The nodes, each with how many containers run there.
fn containers(cluster: &Hadoop) -> Vec<(String, u64)> {
    let nodes = cluster.resource_manager("nodes");
    let node = |node: &Value| {
        let host = node["id"].as_str()?.split(':').next()?.to_owned();
        Some((host, node["numContainers"].as_u64()?))
    };
    nodes["nodes"]["node"].as_array().unwrap().iter().filter_map(node).collect()
}

/// Takes the node back, however the test ends.
struct Back<'a>(&'a Hadoop, &'a str);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        self.0.script(&["recommission", self.1]);
    }
}

#[test]
fn task_managers_leave_a_node_that_is_decommissioned_in_order() {
    let (cluster, _one) = lonely();
    // Nothing but what is made for leaving: one that fails ends the job.
    let settings =
        ["restart-strategy.type=none", "rest.read-access=open", "execution.checkpointing.interval=1 h"];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["-D", setting]).collect();
    // Five containers, of which a node takes four.
    let layout = ["-p", "4", "-ys", "1", "-ytm", "256", "-yjm", "256"];
    let sums = Sums::start(cluster, "decommissioned", 2_000_000, &layout, &settings);
    until("all tasks run", || {
        let job = sums.rest("jobs/JOB");
        let vertices = job["vertices"].as_array()?.clone();
        vertices.iter().all(|vertex| vertex["status"] == "RUNNING").then_some(())
    });
    assert_eq!(sums.rest("jobs/JOB/checkpoints")["counts"]["completed"], 0);
    let master = cluster.application(&sums.id)["amHostHttpAddress"].as_str().unwrap().to_owned();
    let used = containers(cluster);
    let (host, before) = used
        .iter()
        .find(|(host, count)| *count > 0 && !master.starts_with(&format!("{host}:")))
        .unwrap_or_else(|| panic!("{used:?}, the master on {master}"));
    let node = match host.rsplit('.').next() {
        Some(number) if number != host => format!("nodemanager{number}"),
        _ => "nodemanager1".to_owned(),
    };
    eprintln!("{before} containers run on {node}, the master on {master}: {used:?}");
    let back = Back(cluster, &node);
    cluster.script_well(&["decommission", &node, "120"]);
    until("the node is left", || {
        containers(cluster).into_iter().all(|(other, count)| other != *host || count == 0).then_some(())
    });
    let checkpoints = until("the job goes on", || {
        let checkpoints = sums.rest("jobs/JOB/checkpoints");
        (checkpoints["counts"]["restored"] == 1).then_some(checkpoints)
    });
    // The one that was made for leaving, and no failure.
    assert_eq!(checkpoints["counts"]["completed"], 1, "{checkpoints}");
    assert_eq!(checkpoints["latest"]["restored"]["id"], checkpoints["latest"]["completed"]["id"]);
    let failures = sums.rest("jobs/JOB/exceptions");
    assert!(failures["root-exception"].is_null(), "{failures}");
    // No more containers than before, but elsewhere.
    assert_eq!(containers(cluster).iter().map(|(_, count)| count).sum::<u64>(), 5);
    drop(back);
    sums.end();
}
