//! High availability by ZooKeeper. All nodes:
//!
//! ```text
//! CHROOT ROOT CLUSTER-ID /owner            which cluster it is: a fingerprint of its secret
//!                        /leader/latch/…   who contends: Apache Curator's latch; the data tells the application's attempt
//!                        /leader/info      the leader, once it is ready
//!                        /epoch            how many leaders there were
//!                        /jobs/JOB         what is kept for a job
//! ```
//!
//! Everything below CLUSTER-ID but `owner` and the latch is written together with a check that the writer's latch is still there.

mod connection;
mod election;
mod info;
mod pointers;
mod remove;
mod retrieval;

use flott_core::config::{self, Configuration};

pub use election::ZooKeeperElection;
pub(super) use remove::remove_cluster;
pub use retrieval::ZooKeeperRetrieval;

use super::HighAvailabilityError;

/// The one type that knows where nodes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paths {
    cluster: String,
}

/// The id of the cluster: one step of a path.
pub(super) fn cluster_id(configuration: &Configuration) -> Result<String, HighAvailabilityError> {
    let id = configuration.get(&config::HA_CLUSTER_ID);
    let is_step = !id.is_empty()
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && id != "."
        && id != "..";
    let reason = "letters, digits, '-', '_' and '.' are expected";
    is_step.then(|| id.clone()).ok_or(HighAvailabilityError::Option {
        key: config::HA_CLUSTER_ID.key,
        value: id,
        reason,
    })
}

impl Paths {
    /// Below the chroot that a list of servers ends with, which is a node like the others here, so that it can be made.
    pub(super) fn new(configuration: &Configuration, chroot: &str) -> Result<Self, HighAvailabilityError> {
        let root = configuration.get(&config::HA_ZOOKEEPER_ROOT);
        let steps = |text: &str| -> Vec<String> {
            text.split('/').filter(|step| !step.is_empty()).map(str::to_owned).collect()
        };
        if !root.starts_with('/') || steps(&root).iter().any(|step| step == "." || step == "..") {
            return Err(HighAvailabilityError::Option {
                key: config::HA_ZOOKEEPER_ROOT.key,
                value: root,
                reason: "a path from '/' on is expected",
            });
        }
        let mut all = steps(chroot);
        all.extend(steps(&root));
        all.push(cluster_id(configuration)?);
        Ok(Self { cluster: format!("/{}", all.join("/")) })
    }

    pub(super) fn owner(&self) -> String {
        format!("{}/owner", self.cluster)
    }

    pub(super) fn latch(&self) -> String {
        format!("{}/leader/latch", self.cluster)
    }

    pub(super) fn info(&self) -> String {
        format!("{}/leader/info", self.cluster)
    }

    pub(super) fn epoch(&self) -> String {
        format!("{}/epoch", self.cluster)
    }

    pub(super) fn jobs(&self) -> String {
        format!("{}/jobs", self.cluster)
    }

    /// The nodes that have others below them.
    pub(super) fn folders(&self) -> [String; 2] {
        [self.latch(), self.jobs()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_stand_below_chroot_root_and_cluster() {
        let mut configuration = Configuration::new();
        configuration.set(config::HA_CLUSTER_ID.key, "blue").unwrap();
        let paths = Paths::new(&configuration, "/chroot/x/").unwrap();
        assert_eq!(paths.latch(), "/chroot/x/flott/blue/leader/latch");
        assert_eq!(Paths::new(&configuration, "").unwrap().jobs(), "/flott/blue/jobs");
        for id in ["a/b", "..", "ü"] {
            configuration.set(config::HA_CLUSTER_ID.key, id).unwrap();
            assert!(Paths::new(&configuration, "").is_err(), "{id}");
        }
        configuration.set(config::HA_CLUSTER_ID.key, "blue").unwrap();
        configuration.set(config::HA_ZOOKEEPER_ROOT.key, "no/root").unwrap();
        assert!(Paths::new(&configuration, "").is_err());
    }
}
