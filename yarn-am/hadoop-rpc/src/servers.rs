//! Where the ResourceManager and the NameNode are, by Hadoop's configuration, with and without high availability.

use crate::client::Servers;
use crate::configuration::Configuration;
use crate::error::RpcError;

/// A service of the ResourceManager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceManagerService {
    /// For clients.
    Client,
    /// For ApplicationMasters.
    Scheduler,
}

impl ResourceManagerService {
    fn key(self) -> &'static str {
        match self {
            ResourceManagerService::Client => "yarn.resourcemanager.address",
            ResourceManagerService::Scheduler => "yarn.resourcemanager.scheduler.address",
        }
    }

    fn port(self) -> u16 {
        match self {
            ResourceManagerService::Client => 8032,
            ResourceManagerService::Scheduler => 8030,
        }
    }
}

/// The port of a NameNode whose address has none.
const NAME_NODE_PORT: u16 = 8020;

/// Where the ResourceManager is; all of them under `yarn.resourcemanager.ha.enabled`.
///
/// # Errors
/// The ids or a host are missing, or an address is none.
pub fn resource_managers(
    configuration: &Configuration,
    service: ResourceManagerService,
) -> Result<Servers, RpcError> {
    if !configuration.get_bool("yarn.resourcemanager.ha.enabled", false) {
        let host = configuration.get("yarn.resourcemanager.hostname");
        let address = configuration.get(service.key()).or(host).unwrap_or_else(|| "0.0.0.0".into());
        return Ok(Servers::one(complete(&address, service.port(), service.key())?));
    }
    let ids = configuration.get_list("yarn.resourcemanager.ha.rm-ids");
    if ids.is_empty() {
        let reason =
            "yarn.resourcemanager.ha.enabled is set and yarn.resourcemanager.ha.rm-ids is not: name the ids";
        return Err(RpcError::configuration(reason));
    }
    let address = |id: &String| {
        let key = format!("{}.{id}", service.key());
        let host = format!("yarn.resourcemanager.hostname.{id}");
        let address = configuration.get(&key).or_else(|| configuration.get(&host));
        let address = address.ok_or_else(|| {
            RpcError::configuration(format!(
                "yarn.resourcemanager.ha.rm-ids names {id}, but {host} and {key} are not set"
            ))
        })?;
        complete(&address, service.port(), &key)
    };
    Ok(Servers { addresses: ids.iter().map(address).collect::<Result<_, _>>()?, aliases: Vec::new() })
}

/// Where the NameNode of `authority` is: a nameservice, a host, or a host and port, as in `hdfs://authority/path`. Without one,
/// `fs.defaultFS` says it.
///
/// # Errors
/// There is neither, or the nameservice's addresses are missing.
pub fn name_nodes(configuration: &Configuration, authority: Option<&str>) -> Result<Servers, RpcError> {
    let authority = match authority {
        Some(authority) => authority.to_owned(),
        None => default_authority(configuration)?,
    };
    let name_nodes = configuration.get_list(&format!("dfs.ha.namenodes.{authority}"));
    if !name_nodes.is_empty() {
        let address = |id: &String| {
            let key = format!("dfs.namenode.rpc-address.{authority}.{id}");
            let address = configuration.get(&key).ok_or_else(|| {
                RpcError::configuration(format!(
                    "dfs.ha.namenodes.{authority} names {id}, but {key} is not set"
                ))
            })?;
            complete(&address, NAME_NODE_PORT, &key)
        };
        let addresses = name_nodes.iter().map(address).collect::<Result<_, _>>()?;
        return Ok(Servers { addresses, aliases: vec![format!("ha-hdfs:{authority}")] });
    }
    if configuration.get_list("dfs.nameservices").contains(&authority) {
        let key = format!("dfs.namenode.rpc-address.{authority}");
        let address = configuration.get(&key).ok_or_else(|| {
            RpcError::configuration(format!("dfs.nameservices names {authority}, but {key} is not set"))
        })?;
        return Ok(Servers::one(complete(&address, NAME_NODE_PORT, &key)?));
    }
    Ok(Servers::one(complete(&authority, NAME_NODE_PORT, "the NameNode's address")?))
}

fn default_authority(configuration: &Configuration) -> Result<String, RpcError> {
    let default = configuration.get("fs.defaultFS").unwrap_or_default();
    let authority = default.strip_prefix("hdfs://").map(|rest| rest.split('/').next().unwrap_or_default());
    match authority {
        Some(authority) if !authority.is_empty() => Ok(authority.to_owned()),
        _ => Err(RpcError::configuration(format!(
            "fs.defaultFS is {default:?}, not hdfs://HOST:PORT or hdfs://NAMESERVICE: is HADOOP_CONF_DIR right?"
        ))),
    }
}

/// Host and port; a host that stands for every address of this machine is reached on the loopback address.
fn complete(address: &str, port: u16, key: &str) -> Result<String, RpcError> {
    let wrong = || RpcError::configuration(format!("{key} is {address:?}, not HOST or HOST:PORT"));
    let trimmed = address.trim();
    // An IPv6 address has its colons in brackets.
    let (host, port) = match trimmed.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (trimmed, port),
    };
    if host.is_empty() || host.contains(['/', ' ', ',']) || (host.contains(':') && !host.starts_with('[')) {
        return Err(wrong());
    }
    let host = if matches!(host, "0.0.0.0" | "[::]") { "localhost" } else { host };
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(properties: &[(&str, &str)]) -> Configuration {
        let mut configuration = Configuration::new();
        for (key, value) in properties {
            configuration.set(key, value);
        }
        configuration
    }

    #[test]
    fn one_resource_manager_by_address_host_or_default() {
        let find = |properties: &[(&str, &str)]| {
            resource_managers(&configuration(properties), ResourceManagerService::Scheduler)
                .map(|servers| servers.addresses)
        };
        assert_eq!(find(&[]).unwrap(), ["localhost:8030"]);
        assert_eq!(find(&[("yarn.resourcemanager.hostname", "rm")]).unwrap(), ["rm:8030"]);
        let both =
            [("yarn.resourcemanager.hostname", "rm"), ("yarn.resourcemanager.scheduler.address", "other:1")];
        assert_eq!(find(&both).unwrap(), ["other:1"]);
        let error = find(&[("yarn.resourcemanager.scheduler.address", "rm:x")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "yarn.resourcemanager.scheduler.address is \"rm:x\", not HOST or HOST:PORT"
        );
    }

    #[test]
    fn resource_managers_in_a_group() {
        let properties = [
            ("yarn.resourcemanager.ha.enabled", "true"),
            ("yarn.resourcemanager.ha.rm-ids", "rm1, rm2"),
            ("yarn.resourcemanager.hostname.rm1", "a"),
            ("yarn.resourcemanager.address.rm2", "b:9032"),
        ];
        let servers = resource_managers(&configuration(&properties), ResourceManagerService::Client).unwrap();
        assert_eq!(servers.addresses, ["a:8032", "b:9032"]);
        let error =
            resource_managers(&configuration(&properties[..3]), ResourceManagerService::Client).unwrap_err();
        assert!(
            error.to_string().contains("rm2")
                && error.to_string().contains("yarn.resourcemanager.hostname.rm2")
        );
        let error =
            resource_managers(&configuration(&properties[..1]), ResourceManagerService::Client).unwrap_err();
        assert!(error.to_string().contains("rm-ids"));
    }

    #[test]
    fn name_nodes_by_address_and_by_nameservice() {
        let properties = [
            ("fs.defaultFS", "hdfs://ns/"),
            ("dfs.nameservices", "ns,single"),
            ("dfs.ha.namenodes.ns", "n1,n2"),
            ("dfs.namenode.rpc-address.ns.n1", "a:8020"),
            ("dfs.namenode.rpc-address.ns.n2", "b"),
            ("dfs.namenode.rpc-address.single", "c:1"),
        ];
        let find = |authority| name_nodes(&configuration(&properties), authority).unwrap();
        let group = find(None);
        assert_eq!(
            (group.addresses, group.aliases),
            (vec!["a:8020".into(), "b:8020".into()], vec!["ha-hdfs:ns".into()])
        );
        assert_eq!(find(Some("single")).addresses, ["c:1"]);
        assert_eq!(find(Some("[::1]")).addresses, ["[::1]:8020"]);
        assert_eq!(find(Some("0.0.0.0:9")).addresses, ["localhost:9"]);
        let error = name_nodes(&configuration(&[("fs.defaultFS", "file:///")]), None).unwrap_err();
        assert!(error.to_string().contains("HADOOP_CONF_DIR"));
        assert!(name_nodes(&configuration(&properties), Some("a:b:1")).is_err());
    }
}
