//! What can be told before an application is submitted that would wait for ever, or be refused without a reason. Pure.

use hadoop_rpc::proto::yarn::{NodeReport, QueueInfo, QueueState, Resource};

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
        "a container for {what} of {wanted} fits on no node: the largest of {nodes} has {largest}; lower {remedy}"
    )]
    NoNode {
        /// For whom it is.
        what: &'static str,
        /// What was asked for.
        wanted: String,
        /// How many nodes there are.
        nodes: usize,
        /// The largest.
        largest: String,
        /// What to lower.
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

/// Checks that the containers can be had at all.
///
/// # Errors
/// [`CheckError`] with the numbers.
pub fn check_sizes(
    master: &ContainerProfile,
    task_manager: &ContainerProfile,
    maximum: &Resource,
    nodes: &[NodeReport],
) -> Result<(), CheckError> {
    if nodes.is_empty() {
        return Err(CheckError::NoNodes);
    }
    let containers = [
        ("the JobManager", master, "jobmanager.memory.process.size (-yjm) or yarn.appmaster.vcores"),
        (
            "a TaskManager",
            task_manager,
            "taskmanager.memory.process.size (-ytm), taskmanager.numberOfTaskSlots (-ys) or yarn.containers.vcores",
        ),
    ];
    for (what, profile, remedy) in containers {
        let wanted = profile.resource();
        if !fits(&wanted, maximum) {
            return Err(CheckError::TooLarge { what, wanted: size(&wanted), maximum: size(maximum), remedy });
        }
        let capability = |node: &NodeReport| node.capability.clone().unwrap_or_default();
        let labelled =
            |node: &&NodeReport| profile.label.as_ref().is_none_or(|label| node.node_labels.contains(label));
        let candidates: Vec<Resource> = nodes.iter().filter(labelled).map(capability).collect();
        if !candidates.iter().any(|room| fits(&wanted, room)) {
            let largest = candidates.iter().max_by_key(|room| (room.memory(), room.virtual_cores()));
            return Err(CheckError::NoNode {
                what,
                wanted: size(&wanted),
                nodes: candidates.len(),
                largest: largest.map_or_else(|| "nothing".to_owned(), size),
                remedy,
            });
        }
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
                &[node(4096, 2), node(2048, 8)],
            )
            .map_err(|error| error.to_string())
        };
        assert_eq!(check(4096, 2), Ok(()));
        let error = check(9000, 1).unwrap_err();
        assert!(error.starts_with("a container for a TaskManager of 9000 MiB and 1 vcores is more than YARN gives: at most 8192 MiB and 4 vcores"), "{error}");
        let error = check(4096, 3).unwrap_err();
        assert!(error.contains("fits on no node: the largest of 2 has 4096 MiB and 2 vcores"), "{error}");
        assert_eq!(
            check_sizes(&profile(1, 1), &profile(1, 1), &resource(9, 9), &[]),
            Err(CheckError::NoNodes)
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
