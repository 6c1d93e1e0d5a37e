//! What containers are like: what is asked of YARN for each, and where their logs can be read.

use std::collections::BTreeMap;

use flott_core::config::{self, Configuration};
use hadoop_rpc::proto::yarn::{Priority, Resource, ResourceRequest};

/// What the containers of an application are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerProfile {
    /// MiB.
    pub memory: i64,
    /// Virtual cores.
    pub vcores: i32,
    /// The label of their nodes.
    pub label: Option<String>,
}

impl ContainerProfile {
    /// A TaskManager's.
    pub fn of_task_manager(configuration: &Configuration) -> Self {
        let one_a_slot = || i32::try_from(configuration.get(&config::TASK_SLOTS)).unwrap_or(i32::MAX);
        let set = configuration.get_optional(&config::YARN_VCORES).filter(|vcores| *vcores > 0);
        let label = configuration
            .get_optional(&config::YARN_TASK_MANAGER_NODE_LABEL)
            .or_else(|| configuration.get_optional(&config::YARN_NODE_LABEL));
        Self {
            memory: mebibytes(configuration.get(&config::TASK_MANAGER_MEMORY).bytes()),
            vcores: set.unwrap_or_else(one_a_slot),
            label,
        }
    }

    /// The ApplicationMaster's.
    pub fn of_application_master(configuration: &Configuration) -> Self {
        let vcores = configuration.get(&config::YARN_MASTER_VCORES);
        Self {
            memory: mebibytes(configuration.get(&config::JOB_MANAGER_MEMORY).bytes()),
            vcores: i32::try_from(vcores).unwrap_or(i32::MAX),
            label: configuration.get_optional(&config::YARN_NODE_LABEL),
        }
    }

    /// In YARN's terms.
    pub fn resource(&self) -> Resource {
        Resource { memory: Some(self.memory), virtual_cores: Some(self.vcores), ..Resource::default() }
    }

    /// A request for so many of them, anywhere.
    pub fn request(&self, containers: u32, priority: i32) -> ResourceRequest {
        self.request_at("*", containers, priority)
    }

    /// The requests for so many of them on each of these hosts and racks.
    pub fn requests_at(&self, places: &BTreeMap<String, u32>, priority: i32) -> Vec<ResourceRequest> {
        // YARN takes a label for the total alone, and nodes that have it are few.
        let places = places.iter().filter(|_| self.label.is_none());
        places.map(|(name, count)| self.request_at(name, *count, priority)).collect()
    }

    fn request_at(&self, name: &str, containers: u32, priority: i32) -> ResourceRequest {
        ResourceRequest {
            priority: Some(Priority { priority: Some(priority) }),
            resource_name: Some(name.to_owned()),
            capability: Some(self.resource()),
            num_containers: Some(i32::try_from(containers).unwrap_or(i32::MAX)),
            relax_locality: Some(true),
            node_label_expression: self.label.clone(),
            ..ResourceRequest::default()
        }
    }
}

/// Bytes in MiB, rounded up: what YARN counts.
fn mebibytes(bytes: u64) -> i64 {
    i64::try_from(bytes.div_ceil(1 << 20)).unwrap_or(i64::MAX)
}

/// Where the logs of containers are on the pages of their nodes.
#[derive(Debug, Clone)]
pub(crate) struct LogPages {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Whose containers they are.
    pub(crate) user: String,
}

impl LogPages {
    /// Those of a container on the node whose pages are at `web`, `HOST:PORT`; none: nobody knows.
    pub(crate) fn of(&self, container: &str, web: &str) -> Option<String> {
        let Self { scheme, user } = self;
        (!web.is_empty()).then(|| format!("{scheme}://{web}/node/containerlogs/{container}/{user}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_but_not_where_a_label_says_where() {
        let mut profile = ContainerProfile { memory: 512, vcores: 1, label: None };
        let places = BTreeMap::from([("/r".to_owned(), 2), ("a".to_owned(), 0)]);
        let requests = profile.requests_at(&places, 1);
        let named =
            |request: &ResourceRequest| (request.resource_name().to_owned(), request.num_containers());
        let named: Vec<_> = requests.iter().map(named).collect();
        assert_eq!(named, [("/r".to_owned(), 2), ("a".to_owned(), 0)]);
        assert!(requests.iter().all(ResourceRequest::relax_locality));
        profile.label = Some("ssd".to_owned());
        assert!(profile.requests_at(&places, 1).is_empty());
    }

    #[test]
    fn a_slot_has_a_core_unless_a_number_is_set() {
        for (set, vcores) in [(None, 3), (Some("-1"), 3), (Some("2"), 2)] {
            let mut configuration = Configuration::new();
            configuration.set(config::TASK_SLOTS.key, "3").unwrap();
            set.into_iter().for_each(|vcores| configuration.set(config::YARN_VCORES.key, vcores).unwrap());
            assert_eq!(ContainerProfile::of_task_manager(&configuration).vcores, vcores, "{set:?}");
        }
    }

    #[test]
    fn logs_are_on_the_node() {
        let logs = LogPages { scheme: "https", user: "alice".into() };
        let page = logs.of("container_1_0001_01_000002", "node7:8044");
        assert_eq!(
            page.as_deref(),
            Some("https://node7:8044/node/containerlogs/container_1_0001_01_000002/alice")
        );
        assert_eq!(logs.of("container_1_0001_01_000002", ""), None);
    }
}
