//! The cluster's nodes, as YARN calls them: containers are wanted on hosts that file systems name, which may call them otherwise, and know hosts
//! where YARN has none, or none with room.
//!
//! YARN is asked when containers are wanted somewhere, now and then, and with a short deadline. A Kerberos cluster does not tell an
//! ApplicationMaster, whose token is for other questions: what the file system says is taken as it is then.

use std::time::Duration;

use flott_cluster::resource_manager::PreferredHost;
use flott_fs::{BlockHost, KnownHost};
use hadoop_rpc::ApplicationClient;
use hadoop_rpc::proto::yarn::{NodeReport, NodeState};
use tokio::time::Instant;

use super::container_profile::ContainerProfile;

/// So long the conversation waits for the answer.
const DEADLINE: Duration = Duration::from_millis(300);

/// After so long YARN is asked again, should it be of use.
const FRESH: Duration = Duration::from_secs(5);

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    /// As YARN takes it in requests.
    host: String,
    rack: String,
    /// What is not used: MiB, and virtual cores.
    free: (i64, i32),
}

impl Node {
    fn of(report: NodeReport) -> Option<Self> {
        let [all, used] = [report.capability, report.used].map(Option::unwrap_or_default);
        Some(Self {
            host: report.node_id?.host().to_owned(),
            rack: report.rack_name.unwrap_or_default(),
            free: (
                all.memory().saturating_sub(used.memory()),
                all.virtual_cores().saturating_sub(used.virtual_cores()),
            ),
        })
    }

    fn has_room_for(&self, container: &ContainerProfile) -> bool {
        self.free.0 >= container.memory && self.free.1 >= container.vcores
    }
}

/// What is known of the cluster's nodes.
pub(super) struct Nodes {
    client: Option<ApplicationClient>,
    /// None: YARN has not said.
    known: Option<Vec<Node>>,
    asked: Option<Instant>,
}

impl Nodes {
    /// Nothing is known yet; whom to ask, if anybody.
    pub(super) fn new(client: Option<ApplicationClient>) -> Self {
        Self { client, known: None, asked: None }
    }

    /// Those of the preferred hosts that are nodes of the cluster with room for a container, under YARN's names.
    pub(super) async fn among(
        &mut self,
        preferred: Vec<PreferredHost>,
        container: &ContainerProfile,
    ) -> Vec<PreferredHost> {
        if preferred.is_empty() {
            return preferred;
        }
        self.refresh().await;
        match &self.known {
            Some(nodes) => named_by_yarn(&preferred, nodes, container),
            None => preferred,
        }
    }

    /// The nodes that are about to go or are no good, as far as YARN says it. It tells an application of each once, whichever attempt was there to hear it.
    pub(super) async fn leaving(&self) -> Vec<NodeReport> {
        let Some(client) = &self.client else { return Vec::new() };
        let states = [NodeState::Decommissioning, NodeState::Unhealthy];
        match tokio::time::timeout(DEADLINE, client.get_cluster_nodes(&states)).await {
            Ok(Ok(reports)) => return reports,
            Ok(Err(error)) => tracing::info!(%error, "YARN does not say which nodes are about to go"),
            Err(_) => tracing::info!("YARN has not said in {DEADLINE:?} which nodes are about to go"),
        }
        Vec::new()
    }

    async fn refresh(&mut self) {
        let Some(client) = &self.client else { return };
        if self.asked.is_some_and(|asked| asked.elapsed() < FRESH) {
            return;
        }
        self.asked = Some(Instant::now());
        match tokio::time::timeout(DEADLINE, client.get_cluster_nodes(&[NodeState::Running])).await {
            Ok(Ok(reports)) => {
                self.known = Some(reports.into_iter().filter_map(Node::of).collect());
            }
            Ok(Err(error)) => tracing::info!(%error, "YARN does not say which nodes it has"),
            Err(_) => tracing::info!("YARN has not said in {DEADLINE:?} which nodes it has"),
        }
    }
}

fn named_by_yarn(
    preferred: &[PreferredHost],
    nodes: &[Node],
    container: &ContainerProfile,
) -> Vec<PreferredHost> {
    let known: Vec<KnownHost> = nodes.iter().map(|node| KnownHost::named(&node.host)).collect();
    let named = preferred.iter().filter_map(|wanted| {
        let exactly = nodes.iter().position(|node| node.host == wanted.host);
        let holder = BlockHost { name: wanted.host.clone(), address: None, rack: String::new() };
        let node = &nodes[exactly.or_else(|| known.iter().position(|known| known.is(&holder)))?];
        let named = PreferredHost { host: node.host.clone(), rack: node.rack.clone(), bytes: wanted.bytes };
        // Waiting for a full node would be in vain.
        node.has_room_for(container).then_some(named)
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_as_yarn_does_and_those_without_a_node_are_not() {
        let node = |host: &str, rack: &str, free| Node { host: host.to_owned(), rack: rack.to_owned(), free };
        let nodes = [
            node("node1.example.org", "/a", (512, 2)),
            node("node2", "/b", (9999, 9)),
            node("10.0.0.3", "/b", (512, 9)),
            node("full", "/b", (511, 9)),
            node("busy", "/b", (9999, 1)),
        ];
        let container = ContainerProfile { memory: 512, vcores: 2, label: None };
        let wanted = |host: &str| PreferredHost { host: host.to_owned(), rack: "/x".to_owned(), bytes: 7 };
        let all = ["node2.example.org", "node9", "Node1", "full", "10.0.0.3", "busy"].map(wanted);
        let named: Vec<_> = named_by_yarn(&all, &nodes, &container)
            .into_iter()
            .map(|host| (host.host, host.rack, host.bytes))
            .collect();
        let expected = [("node2", "/b"), ("node1.example.org", "/a"), ("10.0.0.3", "/b")];
        assert_eq!(named, expected.map(|(host, rack)| (host.to_owned(), rack.to_owned(), 7)));
        assert!(named_by_yarn(&all, &[], &container).is_empty());
    }

    #[tokio::test]
    async fn where_nobody_can_be_asked_the_names_stay_as_they_are() {
        let wanted = vec![PreferredHost { host: "a".to_owned(), rack: "/r".to_owned(), bytes: 1 }];
        let container = ContainerProfile { memory: 512, vcores: 1, label: None };
        assert_eq!(Nodes::new(None).among(wanted.clone(), &container).await, wanted);
    }
}
