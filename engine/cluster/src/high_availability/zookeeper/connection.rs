//! Sessions with ZooKeeper.
//!
//! Nodes that only their creators may use (`creator`) belong to two identities: the Kerberos user, where sessions authenticate by SASL, and
//! the cluster, whose members prove by ZooKeeper's scheme `digest` that they know its secret. So TaskManagers in containers, which have no key of
//! Kerberos, follow the leader, and a cluster with a new secret is still the user's.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_core::config::{self, Configuration, ZooKeeperAcl};
use flott_runtime::net::handshake::Secret;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error};

use super::Paths;
use crate::high_availability::HighAvailabilityError;

/// How long one attempt to get a session may take, whatever the session timeout.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// For how long attempts that fail are repeated, and the pause between them. Who can wait for longer tries again.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);

/// How ZooKeeper is reached.
#[derive(Clone)]
pub(super) struct ZooKeeper {
    servers: String,
    session_timeout: Duration,
    acl: ZooKeeperAcl,
    #[cfg_attr(not(feature = "kerberos"), allow(dead_code, reason = "SASL is not built in"))]
    sasl_service: Option<String>,
    /// The cluster's identity, `user:password` for the scheme `digest`, if nodes belong to it.
    member: Option<Arc<str>>,
    pub(super) paths: Paths,
}

impl ZooKeeper {
    /// For a member of the cluster that has this secret.
    pub(super) fn new(configuration: &Configuration, secret: &Secret) -> Result<Self, HighAvailabilityError> {
        let quorum = configuration
            .get_optional(&config::HA_ZOOKEEPER_QUORUM)
            .filter(|quorum| !quorum.trim().is_empty())
            .ok_or(HighAvailabilityError::NoQuorum)?;
        let (servers, chroot) = quorum.trim().split_once('/').unwrap_or((quorum.trim(), ""));
        let sasl = !configuration.get(&config::ZOOKEEPER_SASL_DISABLE);
        if sasl && !cfg!(feature = "kerberos") {
            return Err(HighAvailabilityError::NoSasl);
        }
        let acl = configuration.get(&config::HA_ZOOKEEPER_ACL);
        Ok(Self {
            servers: servers.split(',').map(str::trim).collect::<Vec<_>>().join(","),
            session_timeout: configuration.get(&config::HA_ZOOKEEPER_SESSION_TIMEOUT),
            acl,
            member: (acl == ZooKeeperAcl::Creator).then(|| member(secret).into()),
            sasl_service: sasl.then(|| configuration.get(&config::ZOOKEEPER_SASL_SERVICE)),
            paths: Paths::new(configuration, chroot)?,
        })
    }

    /// A new session.
    pub(super) async fn connect(&self) -> Result<Client, HighAvailabilityError> {
        let unreachable =
            |reason: String| HighAvailabilityError::Unreachable { quorum: self.servers.clone(), reason };
        let mut connector =
            Client::connector().with_session_timeout(self.session_timeout).with_fail_eagerly();
        if let Some(member) = &self.member {
            connector = connector.with_auth("digest", member.as_bytes());
        }
        #[cfg(feature = "kerberos")]
        if let Some(service) = &self.sasl_service {
            let options = zookeeper_client::SaslOptions::gssapi().with_username(service.clone());
            connector = connector.with_sasl(options);
        }
        let begun = Instant::now();
        loop {
            let connecting = connector.clone().connect(&self.servers);
            let reason = match tokio::time::timeout(CONNECT_DEADLINE, connecting).await {
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(Error::NoHosts)) => "none of the servers answers".to_owned(),
                Ok(Err(error @ (Error::AuthFailed | Error::NoAuth))) => {
                    let (quorum, reason) = (self.servers.clone(), error.to_string());
                    return Err(HighAvailabilityError::NotAuthenticated { quorum, reason });
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer in {} s", CONNECT_DEADLINE.as_secs()),
            };
            // It may be about to start.
            if begun.elapsed() >= PATIENCE {
                return Err(unreachable(reason));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Who may use the nodes.
    pub(super) fn acls(&self) -> Acls<'static> {
        match self.acl {
            ZooKeeperAcl::Open => Acls::anyone_all(),
            ZooKeeperAcl::Creator => Acls::creator_all(),
        }
    }

    pub(super) fn persistent(&self) -> CreateOptions<'static> {
        CreateMode::Persistent.with_acls(self.acls())
    }

    /// What was tried on a node did not work.
    pub(super) fn failed(&self, action: &'static str, path: &str, error: &Error) -> HighAvailabilityError {
        match error {
            Error::NoAuth | Error::AuthFailed | Error::InvalidAcl => HighAvailabilityError::NotAllowed {
                quorum: self.servers.clone(),
                action,
                path: path.to_owned(),
                reason: error.to_string(),
            },
            error => HighAvailabilityError::Unreachable {
                quorum: self.servers.clone(),
                reason: format!("cannot {action} {path}: {error}"),
            },
        }
    }
}

/// What a member of the cluster proves itself by; the secret cannot be found from it.
fn member(secret: &Secret) -> String {
    let mut text = "flott:".to_owned();
    for byte in secret.derive("member of the cluster in ZooKeeper") {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_cluster_prove_the_same_and_others_something_else() {
        let [a, b] = [1, 2].map(|byte| member(&Secret::from_bytes(&[byte; Secret::BYTES]).unwrap()));
        assert_eq!(a, member(&Secret::from_bytes(&[1; Secret::BYTES]).unwrap()));
        assert!(a != b && a.starts_with("flott:") && a.len() == 70, "{a}");
    }
}
