//! What YARN says of containers that it is about to take away: because another queue has a right to their resources, or because their
//! node leaves the cluster. Pure.

use std::time::Duration;

use hadoop_rpc::proto::yarn::{AllocateResponse, NodeReport, NodeState, PreemptionContainer};

use crate::ids::{container_text, node_text};

/// How long jobs may wait for slots elsewhere when a container is preempted. YARN's schedulers kill it 15 s after the first notice, and
/// while the queue is full nothing will come.
const PREEMPTED: Duration = Duration::from_secs(5);

/// The same for a node that leaves, where YARN does not say how long it waits, and at most.
const NODE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

/// What is about to be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A container, by name.
    Container(String),
    /// All containers of a node, `HOST:PORT`.
    Node(String),
}

/// That something is about to be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) what: What,
    pub(crate) reason: String,
    /// For how long slots elsewhere may be waited for.
    pub(crate) within: Duration,
}

/// The notices in an answer of the ResourceManager's.
pub(crate) fn notices(answer: &AllocateResponse) -> Vec<Notice> {
    let mut notices = Vec::new();
    if let Some(message) = &answer.preempt {
        let strict = message.strict_contract.iter().flat_map(|contract| &contract.container);
        let wanted = message.contract.iter().flat_map(|contract| &contract.container);
        let preempted = |container: &PreemptionContainer| Notice {
            what: What::Container(container_text(&container.id.unwrap_or_default())),
            reason: "YARN needs its container for another queue or application".to_owned(),
            within: PREEMPTED,
        };
        notices.extend(strict.chain(wanted).map(preempted));
    }
    notices.extend(of_nodes(&answer.updated_nodes));
    notices
}

/// The notices of nodes that are about to go, or are no good.
pub(crate) fn of_nodes(reports: &[NodeReport]) -> Vec<Notice> {
    let mut notices = Vec::new();
    for report in reports {
        let Some(node) = report.node_id.as_ref().map(node_text) else { continue };
        let (reason, within) = match report.node_state() {
            NodeState::Decommissioning => {
                let given =
                    report.decommissioning_timeout.map(|seconds| Duration::from_secs(seconds.into()) / 2);
                (format!("its node {node} is being decommissioned"), given.unwrap_or(NODE.0).min(NODE.1))
            }
            NodeState::Unhealthy => {
                (format!("its node {node} is unhealthy: {}", report.health_report().trim()), NODE.0)
            }
            // It is back, or what was there is lost already, as the containers' own statuses say.
            _ => continue,
        };
        notices.push(Notice { what: What::Node(node), reason, within });
    }
    notices
}

#[cfg(test)]
mod tests {
    use hadoop_rpc::proto::yarn::{
        ContainerId, NodeId, PreemptionContract, PreemptionMessage, StrictPreemptionContract,
    };

    use super::*;

    #[test]
    fn both_contracts_name_containers() {
        let container =
            |id| PreemptionContainer { id: Some(ContainerId { id: Some(id), ..ContainerId::default() }) };
        let answer = AllocateResponse {
            preempt: Some(PreemptionMessage {
                strict_contract: Some(StrictPreemptionContract { container: vec![container(2)] }),
                contract: Some(PreemptionContract { resource: vec![], container: vec![container(3)] }),
            }),
            ..AllocateResponse::default()
        };
        let named: Vec<What> = notices(&answer).into_iter().map(|notice| notice.what).collect();
        let name = |number| What::Container(format!("container_0_0000_00_{number:06}"));
        assert_eq!(named, [name(2), name(3)]);
        assert_eq!(notices(&AllocateResponse::default()), []);
    }

    #[test]
    fn nodes_that_leave_are_left_in_half_their_time() {
        let report = |state: NodeState, timeout| NodeReport {
            node_id: Some(NodeId { host: Some("n".into()), port: Some(1) }),
            node_state: Some(state.into()),
            decommissioning_timeout: timeout,
            health_report: Some("1/1 local-dirs are bad ".into()),
            ..NodeReport::default()
        };
        for (state, timeout, expected) in [
            (NodeState::Decommissioning, Some(60), Some(30)),
            (NodeState::Decommissioning, Some(3600), Some(300)),
            (NodeState::Decommissioning, None, Some(30)),
            (NodeState::Unhealthy, None, Some(30)),
            (NodeState::Running, None, None),
            (NodeState::Lost, None, None),
        ] {
            let answer = AllocateResponse {
                updated_nodes: vec![report(state, timeout)],
                ..AllocateResponse::default()
            };
            let seconds: Vec<u64> = notices(&answer).iter().map(|notice| notice.within.as_secs()).collect();
            assert_eq!(seconds, Vec::from_iter(expected), "{state:?}");
        }
    }
}
