//! What can be told before an application is submitted that would wait for ever, or be refused without a reason. Pure.

use hadoop_rpc::proto::yarn::{NodeLabel, NodeReport, QueueInfo, QueueState, Resource};

use crate::application_master::ContainerProfile;

/// Why an application would not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// No such queue.
    #[error("there is no queue '{queue}'; this cluster has {known}: set yarn.application.queue (-yqu)")]
    UnknownQueue {
        /// What was asked for.
        queue: String,
        /// The queues there are.
        known: String,
    },
    /// The queue takes nothing.
    #[error(
        "queue '{queue}' is {state}: take another one by yarn.application.queue (-yqu), or ask the operators to start it"
    )]
    QueueStopped {
        /// Its name.
        queue: String,
        /// Its state.
        state: &'static str,
    },
    /// YARN gives no container of that size.
    #[error(
        "a container for {what} of {wanted} is more than YARN gives: at most {maximum} (yarn.scheduler.maximum-allocation-mb and -vcores); \
         lower {remedy}"
    )]
    TooLarge {
        /// For whom it is.
        what: &'static str,
        /// What was asked for.
        wanted: String,
        /// What can be had.
        maximum: String,
        /// What to lower.
        remedy: &'static str,
    },
    /// No node is that large.
    #[error(
        "a container for {what} of {wanted} fits on no node: the largest of {nodes} {among} has {largest}; lower {remedy}"
    )]
    NoNode {
        /// For whom it is.
        what: &'static str,
        /// What was asked for.
        wanted: String,
        /// How many nodes there are for it.
        nodes: usize,
        /// Which these are.
        among: String,
        /// The largest.
        largest: String,
        /// What to lower.
        remedy: &'static str,
    },
    /// No such label.
    #[error("there is no node label '{label}'; this cluster has {known}: set {remedy}")]
    UnknownLabel {
        /// What was asked for.
        label: String,
        /// The labels there are.
        known: String,
        /// What to set.
        remedy: &'static str,
    },
    /// The queue has no part of the nodes with that label.
    #[error(
        "queue '{queue}' may not use nodes with the label '{label}', but {accessible}: set {remedy}, or take another queue by \
         yarn.application.queue (-yqu)"
    )]
    ForbiddenLabel {
        /// The queue.
        queue: String,
        /// What was asked for.
        label: String,
        /// The labels it may use.
        accessible: String,
        /// What to set.
        remedy: &'static str,
    },
    /// No node that the container may go to runs.
    #[error("there is no place for {what}, since no {among} run: set {remedy}")]
    NoneOfLabel {
        /// For whom it is.
        what: &'static str,
        /// Which nodes are meant.
        among: String,
        /// What to set.
        remedy: &'static str,
    },
    /// A second ApplicationMaster would not get its files.
    #[error(
        "with Kerberos and yarn.application-attempts above 1, a second ApplicationMaster gets {what} only as long as the tokens of this \
         submission live: {remedy}; or have yarn.resourcemanager.proxy-user-privileges.enabled set for YARN and in the client's \
         yarn-site.xml; or set yarn.application-attempts to 1"
    )]
    NoRestart {
        /// What it needs.
        what: &'static str,
        /// What else to do.
        remedy: &'static str,
    },
    /// No node runs.
    #[error("no NodeManager runs, so nothing can")]
    NoNodes,
}

fn size(resource: &Resource) -> String {
    format!("{} MiB and {} vcores", resource.memory(), resource.virtual_cores())
}

fn fits(wanted: &Resource, room: &Resource) -> bool {
    wanted.memory() <= room.memory() && wanted.virtual_cores() <= room.virtual_cores()
}

/// Checks the queue. `found`: what YARN says of it; `known`: all there are.
///
/// # Errors
/// [`CheckError`].
pub fn check_queue(queue: &str, found: Option<&QueueInfo>, known: &[String]) -> Result<(), CheckError> {
    let Some(found) = found else {
        let known = if known.is_empty() { "none that you may see".to_owned() } else { known.join(", ") };
        return Err(CheckError::UnknownQueue { queue: queue.to_owned(), known });
    };
    let state = match found.state() {
        QueueState::Running => return Ok(()),
        QueueState::Stopped => "stopped",
        QueueState::Draining => "draining",
    };
    Err(CheckError::QueueStopped { queue: queue.to_owned(), state })
}

/// What decides on which nodes containers may be.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The nodes that run.
    pub nodes: &'a [NodeReport],
    /// The labels that nodes may have.
    pub labels: &'a [NodeLabel],
    /// The application's queue, where it is known.
    pub queue: Option<&'a QueueInfo>,
}

/// What a cluster's labels are called where there are none.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What a queue's list of labels has in it if it may use all of them.
pub(super) const ANY_LABEL: &str = "*";

/// How YARN calls nodes without a label, where it does not leave out their name.
const NO_LABEL: &str = "<DEFAULT_PARTITION>";

impl Places<'_> {
    /// The label of a container's nodes, its own or else its queue's; none: those that have none.
    fn label<'a>(&'a self, profile: &'a ContainerProfile) -> Option<&'a str> {
        let of_queue =
            || self.queue.map(QueueInfo::default_node_label_expression).filter(|own| self.knows(own));
        let label = profile.label.as_deref().or_else(of_queue);
        label.map(str::trim).filter(|label| !label.is_empty() && *label != NO_LABEL)
    }

    fn knows(&self, label: &str) -> bool {
        self.labels.iter().any(|known| known.name() == label)
    }

    /// Whether there is such a label, for that queue.
    fn check_label(&self, label: &str, remedy: &'static str) -> Result<(), CheckError> {
        if !self.knows(label) {
            let known = listed(self.labels.iter().map(NodeLabel::name));
            return Err(CheckError::UnknownLabel { label: label.to_owned(), known, remedy });
        }
        let Some(queue) = self.queue else { return Ok(()) };
        let accessible = &queue.accessible_node_labels;
        if accessible.iter().any(|accessible| accessible == ANY_LABEL || accessible == label) {
            return Ok(());
        }
        Err(CheckError::ForbiddenLabel {
            queue: queue.queue_name().to_owned(),
            label: label.to_owned(),
            accessible: listed(accessible.iter().map(String::as_str)),
            remedy,
        })
    }

    /// Whether a container without a label may be on a node: YARN lends it those of a label that is not exclusive while nobody asks for it.
    fn takes_any(&self, node: &NodeReport) -> bool {
        let excludes = |label: &String| {
            let known = self.labels.iter().find(|known| known.name() == label);
            !label.is_empty() && known.is_none_or(NodeLabel::is_exclusive)
        };
        !node.node_labels.iter().any(excludes)
    }
}

/// Checks that the containers can be had at all.
///
/// # Errors
/// [`CheckError`] with the numbers.
pub fn check_sizes(
    master: &ContainerProfile,
    task_manager: &ContainerProfile,
    maximum: &Resource,
    places: &Places<'_>,
) -> Result<(), CheckError> {
    if places.nodes.is_empty() {
        return Err(CheckError::NoNodes);
    }
    let containers = [
        (
            "the JobManager",
            master,
            "jobmanager.memory.process.size (-yjm) or yarn.appmaster.vcores",
            "yarn.application.node-label (-ynl)",
        ),
        (
            "a TaskManager",
            task_manager,
            "taskmanager.memory.process.size (-ytm), taskmanager.numberOfTaskSlots (-ys) or yarn.containers.vcores",
            "yarn.taskmanager.node-label or yarn.application.node-label (-ynl)",
        ),
    ];
    for (what, profile, remedy, label_remedy) in containers {
        let wanted = profile.resource();
        if !fits(&wanted, maximum) {
            return Err(CheckError::TooLarge { what, wanted: size(&wanted), maximum: size(maximum), remedy });
        }
        let capability = |node: &NodeReport| node.capability.clone().unwrap_or_default();
        let label = places.label(profile);
        if let Some(label) = label {
            places.check_label(label, label_remedy)?;
        }
        let suits = |node: &&NodeReport| match label {
            Some(label) => node.node_labels.iter().any(|of_node| of_node == label),
            None => places.takes_any(node),
        };
        let candidates: Vec<Resource> = places.nodes.iter().filter(suits).map(capability).collect();
        if candidates.iter().any(|room| fits(&wanted, room)) {
            continue;
        }
        let among = match label {
            Some(label) => format!("nodes with the label '{label}'"),
            None if places.labels.is_empty() => "nodes".to_owned(),
            None => "nodes without an exclusive label".to_owned(),
        };
        return Err(match candidates.iter().max_by_key(|room| (room.memory(), room.virtual_cores())) {
            None => CheckError::NoneOfLabel { what, among, remedy: label_remedy },
            Some(largest) => CheckError::NoNode {
                what,
                wanted: size(&wanted),
                nodes: candidates.len(),
                among,
                largest: size(largest),
                remedy,
            },
        });
    }
    Ok(())
}

/// Checks that another ApplicationMaster can be started when the tokens of the submission have ended: the runtime is everybody's, so that nodes fetch
/// it by themselves, and the rest the ApplicationMaster can fetch.
///
/// # Errors
/// [`CheckError::NoRestart`] with the remedies.
pub fn check_restart(public_runtime: bool, archives: bool) -> Result<(), CheckError> {
    if !public_runtime {
        return Err(CheckError::NoRestart {
            what: "the runtime",
            remedy: "put the flott command into a folder of HDFS that everybody may read, and its parents enter, and name it by \
                     yarn.provided.lib.dirs",
        });
    }
    if archives {
        return Err(CheckError::NoRestart {
            what: "the archives of yarn.ship-archives",
            remedy: "ship files by yarn.ship-files instead",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(memory: i64, vcores: i32) -> Resource {
        Resource { memory: Some(memory), virtual_cores: Some(vcores), ..Resource::default() }
    }

    fn profile(memory: i64, vcores: i32) -> ContainerProfile {
        ContainerProfile { memory, vcores, label: None }
    }

    fn node(memory: i64, vcores: i32) -> NodeReport {
        NodeReport { capability: Some(resource(memory, vcores)), ..NodeReport::default() }
    }

    #[test]
    fn errors_give_the_numbers() {
        let check = |memory, vcores| {
            check_sizes(
                &profile(512, 1),
                &profile(memory, vcores),
                &resource(8192, 4),
                &Places { nodes: &[node(4096, 2), node(2048, 8)], labels: &[], queue: None },
            )
            .map_err(|error| error.to_string())
        };
        assert_eq!(check(4096, 2), Ok(()));
        let error = check(9000, 1).unwrap_err();
        assert!(error.starts_with("a container for a TaskManager of 9000 MiB and 1 vcores is more than YARN gives: at most 8192 MiB and 4 vcores"), "{error}");
        let error = check(4096, 3).unwrap_err();
        assert!(
            error.contains("fits on no node: the largest of 2 nodes has 4096 MiB and 2 vcores"),
            "{error}"
        );
        let nothing = Places { nodes: &[], labels: &[], queue: None };
        assert_eq!(
            check_sizes(&profile(1, 1), &profile(1, 1), &resource(9, 9), &nothing),
            Err(CheckError::NoNodes)
        );
    }

    #[test]
    fn labels_say_which_nodes_count() {
        let labelled =
            |memory, label: &str| NodeReport { node_labels: vec![label.into()], ..node(memory, 8) };
        let label =
            |name: &str, exclusive| NodeLabel { name: Some(name.into()), is_exclusive: Some(exclusive) };
        let nodes = [node(1024, 8), labelled(8192, "gpu"), labelled(2048, "lent"), labelled(512, "")];
        let labels = [label("gpu", true), label("lent", false), label("idle", true)];
        let queue = |accessible: &[&str], default: &str| QueueInfo {
            queue_name: Some("nightly".into()),
            accessible_node_labels: accessible.iter().map(|label| (*label).to_owned()).collect(),
            default_node_label_expression: Some(default.into()),
            ..QueueInfo::default()
        };
        let check = |memory, wanted: Option<&str>, queue: Option<&QueueInfo>| {
            let task_manager = ContainerProfile { label: wanted.map(str::to_owned), ..profile(memory, 1) };
            let places = Places { nodes: &nodes, labels: &labels, queue };
            check_sizes(&profile(256, 1), &task_manager, &resource(9000, 9), &places)
                .map_err(|error| error.to_string())
        };
        let fails = |checked: Result<(), String>, expected: &str| {
            let error = checked.unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        assert_eq!(check(2048, None, None), Ok(()), "what is not exclusive is lent");
        fails(check(4096, None, None), "the largest of 3 nodes without an exclusive label has 2048 MiB");
        assert_eq!(check(4096, Some("gpu"), None), Ok(()));
        fails(
            check(1, Some("gpus"), None),
            "there is no node label 'gpus'; this cluster has gpu, lent, idle: set",
        );
        fails(
            check(1, Some("idle"), None),
            "there is no place for a TaskManager, since no nodes with the label 'idle' run",
        );
        assert_eq!(check(4096, Some("gpu"), Some(&queue(&["*"], ""))), Ok(()));
        assert_eq!(check(4096, Some("gpu"), Some(&queue(&["idle", "gpu"], ""))), Ok(()));
        fails(
            check(4096, Some("gpu"), Some(&queue(&["idle"], ""))),
            "queue 'nightly' may not use nodes with the label 'gpu', but idle: set yarn.taskmanager.node-label",
        );
        // The queue's own label, for the JobManager too.
        assert_eq!(check(4096, None, Some(&queue(&["gpu"], "gpu"))), Ok(()));
        fails(check(4096, None, Some(&queue(&["gpu"], NO_LABEL))), "without an exclusive label");
        let places = Places { nodes: &nodes[1..2], labels: &labels, queue: None };
        let none = check_sizes(&profile(1, 1), &profile(1, 1), &resource(9, 9), &places);
        fails(
            none.map_err(|error| error.to_string()),
            "no place for the JobManager, since no nodes without an exclusive label run",
        );
    }

    #[test]
    fn a_restart_needs_what_outlives_the_tokens() {
        assert_eq!(check_restart(true, false), Ok(()));
        let runtime = check_restart(false, true).unwrap_err().to_string();
        assert!(
            runtime.contains("gets the runtime only as long") && runtime.contains("yarn.provided.lib.dirs")
        );
        assert!(check_restart(true, true).unwrap_err().to_string().contains("yarn.ship-archives"));
    }

    #[test]
    fn queues() {
        let queue = |state| QueueInfo { state: Some(QueueState::into(state)), ..QueueInfo::default() };
        assert_eq!(check_queue("a", Some(&queue(QueueState::Running)), &[]), Ok(()));
        let stopped = check_queue("a", Some(&queue(QueueState::Stopped)), &[]).unwrap_err().to_string();
        assert!(stopped.contains("queue 'a' is stopped"), "{stopped}");
        let unknown = check_queue("x", None, &["default".into(), "nightly".into()]).unwrap_err().to_string();
        assert!(unknown.contains("this cluster has default, nightly"), "{unknown}");
    }
}
