//! `flott yarn-session -q`: the nodes and the queues that YARN has.

use flott_yarn::deployment::Yarn;
use flott_yarn::ids::node_text;
use hadoop_rpc::proto::yarn::{NodeReport, NodeState, QueueInfo, QueueState};

use crate::output::say;
use crate::{CommandError, Ended};

/// Shows what YARN has.
pub(crate) async fn query(yarn: &Yarn) -> Result<Ended, CommandError> {
    let client = yarn.client();
    let running = [NodeState::Running];
    let (nodes, root) =
        tokio::try_join!(client.get_cluster_nodes(&running), client.get_queue_info("root", true))?;
    let mut text = nodes_text(&nodes);
    if let Some(root) = &root {
        text.push_str("Queues\n");
        queue_text(root, "", &mut text);
    }
    say(&text)?;
    Ok(Ended::Well)
}

fn nodes_text(nodes: &[NodeReport]) -> String {
    let mut text = format!("{} NodeManagers run\n", nodes.len());
    for node in nodes {
        let containers = node.num_containers();
        let (all, used) =
            (node.capability.clone().unwrap_or_default(), node.used.clone().unwrap_or_default());
        let id = node.node_id.as_ref().map(node_text).unwrap_or_default();
        let labels = match &node.node_labels[..] {
            [] => String::new(),
            labels => format!(", label {}", labels.join(", ")),
        };
        text.push_str(&format!(
            "{id}: {} of {} MiB and {} of {} vcores in use, {containers} containers{labels}\n",
            used.memory(),
            all.memory(),
            used.virtual_cores(),
            all.virtual_cores(),
        ));
    }
    text
}

/// A queue and those below it, each under its path.
fn queue_text(queue: &QueueInfo, above: &str, text: &mut String) {
    let path = format!("{above}{}", queue.queue_name());
    let path = queue.queue_path.as_deref().unwrap_or(&path);
    let state = match queue.state() {
        QueueState::Running => "running",
        QueueState::Stopped => "stopped",
        QueueState::Draining => "draining",
    };
    let [share, most, used] =
        [queue.capacity(), queue.maximum_capacity(), queue.current_capacity()].map(|part| 100.0 * part);
    text.push_str(&format!(
        "{path}: {state}, {share:.0} % of its parent, at most {most:.0} %, {used:.0} % of that share in use\n"
    ));
    for child in &queue.child_queues {
        queue_text(child, &format!("{path}."), text);
    }
}

#[cfg(test)]
mod tests {
    use hadoop_rpc::proto::yarn::{NodeId, Resource};

    use super::*;

    #[test]
    fn what_yarn_has_is_shown_with_labels_and_queues() {
        let size = |memory, vcores| {
            Some(Resource { memory: Some(memory), virtual_cores: Some(vcores), ..Resource::default() })
        };
        let node = |host: &str, labels: &[&str]| NodeReport {
            node_id: Some(NodeId { host: Some(host.to_owned()), port: Some(8041) }),
            used: size(512, 1),
            capability: size(4096, 8),
            num_containers: Some(1),
            node_labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ..NodeReport::default()
        };
        assert_eq!(
            nodes_text(&[node("a", &[]), node("b", &["gpu"])]),
            "2 NodeManagers run\na:8041: 512 of 4096 MiB and 1 of 8 vcores in use, 1 containers\n\
             b:8041: 512 of 4096 MiB and 1 of 8 vcores in use, 1 containers, label gpu\n"
        );
        let queue = |name: &str, capacity, state: QueueState, child_queues| QueueInfo {
            queue_name: Some(name.to_owned()),
            capacity: Some(capacity),
            maximum_capacity: Some(1.0),
            current_capacity: Some(0.25),
            state: Some(state.into()),
            child_queues,
            ..QueueInfo::default()
        };
        let closed = queue("closed", 0.4, QueueState::Stopped, Vec::new());
        let mut text = String::new();
        queue_text(&queue("root", 1.0, QueueState::Running, vec![closed]), "", &mut text);
        assert_eq!(
            text,
            "root: running, 100 % of its parent, at most 100 %, 25 % of that share in use\n\
             root.closed: stopped, 40 % of its parent, at most 100 %, 25 % of that share in use\n"
        );
    }
}
