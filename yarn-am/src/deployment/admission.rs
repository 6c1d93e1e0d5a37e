//! Asks YARN whether it can run an application at all, before anything is staged for it.

use std::time::Duration;

use flott_core::config::{self, Configuration};
use hadoop_rpc::RpcError;
use hadoop_rpc::proto::yarn::{ApplicationId, NodeReport, NodeState, QueueInfo, Resource as ContainerSize};

use super::checks::{ANY_LABEL, CheckError, Places, check_queue, check_sizes};
use super::{DeployError, Yarn, is_young};
use crate::application_master::ContainerProfile;

/// How often NodeManagers are looked for that are on their way to a ResourceManager.
const NODES_LOOK: Duration = Duration::from_secs(1);

/// The queue of applications that name none, unless YARN places them by rules of its own.
const DEFAULT_QUEUE: &str = "default";

impl Yarn {
    /// A new application's id, if YARN can run one like this.
    pub(super) async fn admitted(&self, configuration: &Configuration) -> Result<ApplicationId, DeployError> {
        let master = ContainerProfile::of_application_master(configuration);
        let task_manager = ContainerProfile::of_task_manager(configuration);
        let queue = configuration.get_optional(&config::YARN_QUEUE);
        let check = async {
            match &queue {
                // YARN may still place it elsewhere: that the queue may not use a label says nothing.
                None => Ok::<_, RpcError>(
                    self.patient
                        .get_queue_info(DEFAULT_QUEUE, false)
                        .await
                        .unwrap_or(None)
                        .map(for_any_label),
                ),
                Some(queue) => self.patient.get_queue_info(queue, false).await,
            }
        };
        let labels = self.patient.get_cluster_node_labels();
        let asked =
            async { tokio::try_join!(self.patient.get_new_application(), self.nodes(), check, labels) };
        let (new, mut nodes, found, labels) = self.answered(asked).await?;
        if let Some(queue) = &queue {
            let known = match &found {
                Some(_) => Vec::new(),
                None => self.queues().await,
            };
            check_queue(queue, found.as_ref(), &known)?;
        }
        let maximum: ContainerSize = new.maximum_capability.clone().unwrap_or_default();
        let none = || DeployError::Unusable("YARN gave no application id".to_owned());
        let id = new.application_id.ok_or_else(none)?;
        let mut told = false;
        loop {
            let places = Places { nodes: &nodes, labels: &labels, queue: found.as_ref() };
            match check_sizes(&master, &task_manager, &maximum, &places) {
                Err(CheckError::NoNodes | CheckError::NoNode { .. } | CheckError::NoneOfLabel { .. })
                    if is_young(&id) =>
                {
                    if !std::mem::replace(&mut told, true) {
                        (self.notice)(
                            "YARN's ResourceManager has just started: its NodeManagers are waited for",
                        );
                    }
                    tokio::time::sleep(NODES_LOOK).await;
                    nodes = self.answered(self.nodes()).await?;
                }
                checked => {
                    checked?;
                    return Ok(id);
                }
            }
        }
    }

    /// The nodes that run.
    async fn nodes(&self) -> Result<Vec<NodeReport>, RpcError> {
        self.patient.get_cluster_nodes(&[NodeState::Running]).await
    }

    /// The queues that take applications, for an error message.
    async fn queues(&self) -> Vec<String> {
        fn leaves(queue: &QueueInfo, names: &mut Vec<String>) {
            if queue.child_queues.is_empty() {
                names.push(queue.queue_name().to_owned());
            }
            queue.child_queues.iter().for_each(|child| leaves(child, names));
        }
        let mut names = Vec::new();
        if let Ok(Some(root)) = self.client.get_queue_info("root", true).await {
            leaves(&root, &mut names);
        }
        names
    }
}

fn for_any_label(queue: QueueInfo) -> QueueInfo {
    QueueInfo { accessible_node_labels: vec![ANY_LABEL.to_owned()], ..queue }
}
