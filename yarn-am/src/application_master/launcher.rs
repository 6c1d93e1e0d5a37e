//! Starts TaskManagers in containers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use flott_core::config::{self, Configuration};
use hadoop_rpc::proto::common::Token as WireToken;
use hadoop_rpc::proto::yarn::{
    ContainerLaunchContext, LocalResource, LocalResourceType, LocalResourceVisibility,
    StringLocalResourceMap, StringStringMap, Url,
};

use super::container_profile::ContainerProfile;
use super::environment::HADOOP_CONF;
use super::lifetime::KEYTAB;
use crate::application::Resource;

/// The name of the runtime in a container's folder.
pub const RUNTIME: &str = "flott";

/// What is in a container's folder of Flott's own and of YARN's, beside what the application brings.
pub(crate) const OWN_NAMES: [&str; 7] = [
    RUNTIME,
    HADOOP_CONF,
    KEYTAB,
    "container_tokens",
    "launch_container.sh",
    "default_container_executor.sh",
    "default_container_executor_session.sh",
];

/// What every container is launched with but for its command.
pub(crate) fn launch_context(
    profile: &ContainerProfile,
    resources: &[Resource],
    tokens: Vec<u8>,
    command: &str,
    log_name: &str,
) -> ContainerLaunchContext {
    ContainerLaunchContext {
        local_resources: resources.iter().map(local_resource).collect(),
        tokens: Some(tokens),
        // The user is whom YARN runs the container for, whatever account its node uses; who is believed by name says it again.
        environment: vec![
            variable("HADOOP_CONF_DIR", &format!("$PWD/{HADOOP_CONF}")),
            variable("HADOOP_USER_NAME", "$USER"),
        ],
        // The process's own streams, which hold little but why it has ended. YARN's diagnostics show the end of a file called `…stderr…`.
        // Arenas are in the command: what nodes say of them replaces what is in the environment.
        command: vec![format!(
            "MALLOC_ARENA_MAX={} exec ./{RUNTIME} {command} 1><LOG_DIR>/{log_name}.stdout 2><LOG_DIR>/{log_name}.stderr",
            arenas(profile)
        )],
        ..ContainerLaunchContext::default()
    }
}

/// How many arenas glibc may make in each process of a container. Each takes 64 MiB of address space, whatever is in it, and nodes that check virtual memory
/// end a container whose processes have more than 2.1 times its size together. So a process takes a quarter of it.
fn arenas(profile: &ContainerProfile) -> i64 {
    (profile.memory / 256).max(2)
}

fn variable(key: &str, value: &str) -> StringStringMap {
    StringStringMap { key: Some(key.into()), value: Some(value.into()) }
}

/// Has Kerberos log in by the ApplicationMaster's keytab where nobody says how, as ZooKeeper's SASL does.
pub(crate) fn login_by_keytab(configuration: &Configuration) -> [StringStringMap; 2] {
    let keytab = match configuration.get_optional(&config::YARN_LOCALIZED_KEYTAB) {
        Some(path) if !configuration.get(&config::YARN_SHIP_KEYTAB) => path.display().to_string(),
        _ => format!("$PWD/{KEYTAB}"),
    };
    [variable("KRB5_CLIENT_KTNAME", &format!("FILE:{keytab}")), variable("KRB5CCNAME", "MEMORY:flott")]
}

fn local_resource(resource: &Resource) -> StringLocalResourceMap {
    let visibility = if resource.public {
        LocalResourceVisibility::Public
    } else {
        // Kept on a node for the user's next application.
        LocalResourceVisibility::Private
    };
    let kind = if resource.archive { LocalResourceType::Archive } else { LocalResourceType::File };
    let value = LocalResource {
        resource: Some(url(&resource.url)),
        size: Some(i64::try_from(resource.size).unwrap_or(i64::MAX)),
        timestamp: Some(resource.modified),
        r#type: Some(kind.into()),
        visibility: Some(visibility.into()),
        ..LocalResource::default()
    };
    StringLocalResourceMap { key: Some(resource.name.clone()), value: Some(value) }
}

/// A URL in the parts that YARN wants.
fn url(text: &str) -> Url {
    let (scheme, rest) = text.split_once("://").unwrap_or(("file", text));
    let slash = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    let (host, port) = match authority.rsplit_once(':').map(|(host, port)| (host, port.parse::<i32>())) {
        Some((host, Ok(port))) => (host, port),
        // Left out it would mean 0.
        _ => (authority, -1),
    };
    Url {
        scheme: Some(scheme.to_owned()),
        host: (!host.is_empty()).then(|| host.to_owned()),
        port: Some(port),
        file: Some(path.to_owned()),
        user_info: None,
    }
}

/// The NodeManagers' tokens, one a node.
#[derive(Debug, Default)]
pub(crate) struct NodeTokens(Mutex<HashMap<String, WireToken>>);

impl NodeTokens {
    pub(crate) fn put(&self, node: String, token: WireToken) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(node, token);
    }

    pub(crate) fn get(&self, node: &str) -> Option<WireToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_process_are_where_yarn_looks_for_them_and_it_reserves_as_its_container_allows() {
        let command = |memory| {
            let profile = ContainerProfile { memory, vcores: 1, label: None };
            launch_context(&profile, &[], Vec::new(), "application-master", "jobmanager").command
        };
        let streams = "1><LOG_DIR>/jobmanager.stdout 2><LOG_DIR>/jobmanager.stderr";
        for (memory, arenas) in [(128, 2), (256, 2), (1728, 6)] {
            assert_eq!(
                command(memory),
                [format!("MALLOC_ARENA_MAX={arenas} exec ./flott application-master {streams}")]
            );
        }
    }

    #[test]
    fn urls_in_parts() {
        let parts = |text: &str| {
            let url = url(text);
            (url.scheme().to_owned(), url.host().to_owned(), url.port(), url.file().to_owned())
        };
        assert_eq!(parts("hdfs://nn:8020/a/b"), ("hdfs".into(), "nn".into(), 8020, "/a/b".into()));
        assert_eq!(parts("hdfs://cluster/a"), ("hdfs".into(), "cluster".into(), -1, "/a".into()));
        assert_eq!(parts("file:///a"), ("file".into(), String::new(), -1, "/a".into()));
    }
}
