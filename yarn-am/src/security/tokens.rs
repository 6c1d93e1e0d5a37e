//! Delegation tokens of the file systems an application uses.
//!
//! In credentials that go to YARN a token has the service that Hadoop's own clients look for, and as its alias the address or nameservice by
//! which the configuration knows the file system. In a container's token file it is there under each name that somebody may look for.

use std::collections::BTreeMap;
use std::time::Duration;

use flott_core::config::{self, Configuration};
use hadoop_rpc::configuration::Configuration as HadoopConfiguration;
use hadoop_rpc::credentials::{Credentials, DelegationToken, HDFS_DELEGATION_TOKEN, Token};
use hadoop_rpc::{NameNode, RpcError, User, name_nodes};

use super::SecurityError;

/// The authorities of the file systems whose tokens an application gets; none: that of `fs.defaultFS`.
///
/// # Errors
/// [`SecurityError::FileSystem`] for what is not on HDFS.
pub(crate) fn file_systems(configuration: &Configuration) -> Result<Vec<Option<String>>, SecurityError> {
    let listed = configuration.get_optional(&config::KERBEROS_FILE_SYSTEMS).unwrap_or_default();
    let mut found = vec![None];
    for url in listed.split([';', ',']).map(str::trim).filter(|url| !url.is_empty()) {
        let authority = url.strip_prefix("hdfs://").and_then(|rest| rest.split('/').next());
        let authority = authority.filter(|authority| !authority.is_empty());
        found.push(Some(authority.ok_or_else(|| SecurityError::FileSystem(url.to_owned()))?.to_owned()));
    }
    if let Some(folder) = configuration.get_optional(&config::YARN_STAGING_DIR)
        && let Some(authority) = folder.strip_prefix("hdfs://").and_then(|rest| rest.split('/').next())
        && !authority.is_empty()
    {
        found.push(Some(authority.to_owned()));
    }
    Ok(found)
}

/// Gets a token of each file system, which `renewer` may renew.
///
/// # Errors
/// [`SecurityError::Token`] that names the file system.
pub(crate) async fn obtain(
    hadoop: &HadoopConfiguration,
    file_systems: &[Option<String>],
    user: &User,
    renewer: &str,
) -> Result<Credentials, SecurityError> {
    let mut credentials = Credentials::default();
    for giver in givers(hadoop, file_systems, user)? {
        if let Some(token) = giver.give(hadoop, renewer).await? {
            credentials.insert(giver.alias, token);
        }
    }
    Ok(credentials)
}

/// Who gives the tokens of a file system.
pub(super) struct TokenGiver {
    /// For people.
    pub(super) file_system: String,
    /// By which the configuration knows it.
    pub(super) alias: String,
    pub(super) name_node: NameNode,
}

/// Those of some file systems, each once.
///
/// # Errors
/// [`SecurityError::Token`]: the configuration does not say where one is.
pub(super) fn givers(
    hadoop: &HadoopConfiguration,
    file_systems: &[Option<String>],
    user: &User,
) -> Result<Vec<TokenGiver>, SecurityError> {
    let mut givers: Vec<TokenGiver> = Vec::new();
    for authority in file_systems {
        let file_system = match authority {
            Some(authority) => format!("hdfs://{authority}"),
            None => "fs.defaultFS".to_owned(),
        };
        let name_node = match NameNode::new(hadoop, authority.as_deref(), user.clone()) {
            Ok(name_node) => name_node,
            Err(source) => return Err(SecurityError::Token { file_system, source: Box::new(source) }),
        };
        let servers = name_node.rpc().servers();
        let alias = servers.aliases.first().or(servers.addresses.first()).cloned().unwrap_or_default();
        if givers.iter().all(|giver| giver.alias != alias) {
            givers.push(TokenGiver { file_system, alias, name_node });
        }
    }
    Ok(givers)
}

impl TokenGiver {
    /// A token; none: there are none at the moment.
    pub(super) async fn give(
        &self,
        hadoop: &HadoopConfiguration,
        renewer: &str,
    ) -> Result<Option<Token>, SecurityError> {
        let token = self.name_node.get_delegation_token(renewer).await;
        let Some(token) = token.map_err(|error| self.failed(error))? else { return Ok(None) };
        let service = match self.name_node.rpc().servers().aliases.is_empty() {
            true => service_of(hadoop, &self.alias).await,
            false => self.alias.clone(),
        };
        Ok(Some(Token { service, ..token }))
    }

    pub(super) fn failed(&self, source: RpcError) -> SecurityError {
        SecurityError::Token { file_system: self.file_system.clone(), source: Box::new(source) }
    }
}

/// The service that Hadoop's own clients look for at an address: by `hadoop.security.token.service.use_ip` the number of its host.
async fn service_of(hadoop: &HadoopConfiguration, address: &str) -> String {
    if !hadoop.get_bool("hadoop.security.token.service.use_ip", true) {
        return address.to_lowercase();
    }
    let found = tokio::net::lookup_host(address).await.ok();
    let first = found.and_then(|found| {
        let found: Vec<_> = found.collect();
        // Java's order.
        found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
    });
    first.map_or_else(|| address.to_lowercase(), |address| address.to_string())
}

/// Who may renew an application's tokens: the ResourceManager.
///
/// # Errors
/// [`SecurityError::NoRenewer`].
pub(crate) fn renewer(hadoop: &HadoopConfiguration) -> Result<String, SecurityError> {
    let principal = hadoop.get("yarn.resourcemanager.principal").filter(|principal| !principal.is_empty());
    let principal = principal.ok_or(SecurityError::NoRenewer)?;
    let servers = hadoop_rpc::resource_managers(hadoop, hadoop_rpc::ResourceManagerService::Client);
    let first = servers.map_err(SecurityError::Login)?.addresses.into_iter().next().unwrap_or_default();
    let host = first.rsplit_once(':').map_or(first.as_str(), |(host, _)| host).to_lowercase();
    Ok(principal.replace("_HOST", &host))
}

/// The tokens of file systems among some credentials, under every service that may be looked for: for a container's token file.
pub(crate) fn for_containers(hadoop: &HadoopConfiguration, credentials: &Credentials) -> Credentials {
    let mut found = Credentials::default();
    for (alias, token) in credentials.tokens().filter(|(_, token)| token.kind == HDFS_DELEGATION_TOKEN) {
        let mut services = vec![token.service.clone(), alias.to_owned()];
        if let Some(nameservice) = token.service.strip_prefix("ha-hdfs:") {
            services.extend(
                name_nodes(hadoop, Some(nameservice)).into_iter().flat_map(|servers| servers.addresses),
            );
        }
        for service in services {
            found.insert(service.clone(), Token { service, ..token.clone() });
        }
    }
    found
}

/// How long the tokens among some credentials live at most: the shortest of them; none: there are none.
pub(crate) fn longest_life(credentials: &Credentials) -> Option<Duration> {
    let lives = credentials.of_kind(HDFS_DELEGATION_TOKEN).filter_map(DelegationToken::of);
    lives.map(|token| Duration::from_millis(token.ends.saturating_sub(token.issued))).min()
}

/// The tokens of file systems, without the rest.
pub(crate) fn of_file_systems(credentials: &Credentials) -> Credentials {
    let tokens: BTreeMap<_, _> =
        credentials.tokens().filter(|(_, token)| token.kind == HDFS_DELEGATION_TOKEN).collect();
    let mut kept = Credentials::default();
    for (alias, token) in tokens {
        kept.insert(alias, token.clone());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hadoop(pairs: &[(&str, &str)]) -> HadoopConfiguration {
        let mut hadoop = HadoopConfiguration::new();
        for (key, value) in pairs {
            hadoop.set(key, value);
        }
        hadoop
    }

    fn token(kind: &str, service: &str) -> Token {
        Token { kind: kind.into(), service: service.into(), identifier: vec![1], password: vec![2] }
    }

    #[test]
    fn the_renewer_is_the_resource_manager() {
        let error = renewer(&hadoop(&[])).unwrap_err().to_string();
        assert!(error.starts_with("yarn.resourcemanager.principal is not set"), "{error}");
        let pairs =
            [("yarn.resourcemanager.principal", "rm/_HOST@R"), ("yarn.resourcemanager.hostname", "Boss")];
        assert_eq!(renewer(&hadoop(&pairs)).unwrap(), "rm/boss@R");
    }

    #[test]
    fn a_container_has_tokens_of_file_systems_under_all_their_names() {
        let hadoop = hadoop(&[
            ("dfs.ha.namenodes.pair", "a,b"),
            ("dfs.namenode.rpc-address.pair.a", "h1:1"),
            ("dfs.namenode.rpc-address.pair.b", "h2:2"),
        ]);
        let mut launch = Credentials::default();
        launch.insert("am", token("YARN_AM_RM_TOKEN", ""));
        launch.insert("localhost:9", token(HDFS_DELEGATION_TOKEN, "127.0.0.1:9"));
        launch.insert("ha-hdfs:pair", token(HDFS_DELEGATION_TOKEN, "ha-hdfs:pair"));
        launch.insert_secret("flott.application", vec![3]);
        let found = for_containers(&hadoop, &launch);
        let services: Vec<&str> = found.tokens().map(|(_, token)| token.service.as_str()).collect();
        assert_eq!(services, ["127.0.0.1:9", "h1:1", "h2:2", "ha-hdfs:pair", "localhost:9"]);
        assert_eq!(found.secret("flott.application"), None);
        assert_eq!(of_file_systems(&launch).tokens().count(), 2);
    }

    #[tokio::test]
    async fn services_are_what_java_looks_for() {
        assert_eq!(service_of(&hadoop(&[]), "localhost:9820").await, "127.0.0.1:9820");
        let by_name = hadoop(&[("hadoop.security.token.service.use_ip", "false")]);
        assert_eq!(service_of(&by_name, "LocalHost:9820").await, "localhost:9820");
    }

    #[test]
    fn a_file_system_with_two_names_has_one_giver() {
        let hadoop = hadoop(&[("fs.defaultFS", "hdfs://h:1")]);
        let named = [None, Some("h:1".to_owned()), Some("backup:2".to_owned())];
        let givers = givers(&hadoop, &named, &User::simple("alice")).unwrap();
        let found: Vec<_> =
            givers.iter().map(|giver| (giver.file_system.as_str(), giver.alias.as_str())).collect();
        assert_eq!(found, [("fs.defaultFS", "h:1"), ("hdfs://backup:2", "backup:2")]);
    }

    #[test]
    fn other_file_systems_are_named_by_their_urls() {
        let mut configuration = Configuration::default();
        let key = config::KERBEROS_FILE_SYSTEMS.key;
        configuration.set(key, "hdfs://pair/x; hdfs://h:1").unwrap();
        assert_eq!(file_systems(&configuration).unwrap(), [None, Some("pair".into()), Some("h:1".into())]);
        configuration.set(key, "s3://bucket").unwrap();
        assert!(file_systems(&configuration).unwrap_err().to_string().contains("names 's3://bucket'"));
    }
}
