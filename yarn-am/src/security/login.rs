//! The login of a command: a keytab, a ticket, or tokens that somebody has left for it.

use std::fs::File;
use std::path::PathBuf;

use flott_core::config::{self, Configuration};
use hadoop_rpc::configuration::Configuration as HadoopConfiguration;
use hadoop_rpc::{Identity, Login, User, is_secure};

use super::SecurityError;

/// Who submits.
#[derive(Debug)]
pub(crate) struct ClientLogin {
    pub(crate) user: User,
    pub(crate) identity: Identity,
    /// Whether the cluster asks for Kerberos.
    pub(crate) secure: bool,
    /// The keytab that the application may have, too: not that of somebody who acts for others.
    pub(crate) keytab: Option<PathBuf>,
}

/// What the configuration says to log in with.
fn keytab_of(configuration: &Configuration) -> Result<Option<(String, PathBuf)>, SecurityError> {
    let (keytab, principal) = (config::KERBEROS_KEYTAB.key, config::KERBEROS_PRINCIPAL.key);
    let path = configuration.get_optional(&config::KERBEROS_KEYTAB);
    match (path, configuration.get_optional(&config::KERBEROS_PRINCIPAL)) {
        (Some(path), Some(principal)) => Ok(Some((principal, path))),
        (Some(_), None) => Err(SecurityError::Half { set: keytab, missing: principal }),
        (None, Some(_)) => Err(SecurityError::Half { set: principal, missing: keytab }),
        (None, None) => Ok(None),
    }
}

/// Logs a command in, and its file systems with it. Blocks while Kerberos is asked.
///
/// # Errors
/// [`SecurityError`] with what to do, before anything else was done.
pub(crate) fn log_in(
    configuration: &Configuration,
    hadoop: &HadoopConfiguration,
) -> Result<ClientLogin, SecurityError> {
    let secure = is_secure(hadoop);
    let keytab = keytab_of(configuration)?.filter(|_| secure);
    let login = match &keytab {
        Some((principal, path)) => {
            File::open(path).map_err(|source| SecurityError::Keytab { path: path.clone(), source })?;
            Some(Login::Keytab { principal: principal.clone(), keytab: path.clone() })
        }
        None => None,
    };
    let user = User::from_system_with(hadoop, login).map_err(SecurityError::Login)?;
    let may_use_ticket = configuration.get(&config::KERBEROS_TICKET_CACHE);
    let has_tokens = user.token_of_kind(hadoop_rpc::credentials::HDFS_DELEGATION_TOKEN).is_some();
    if secure && keytab.is_none() && !may_use_ticket && !has_tokens {
        return Err(SecurityError::NoLogin);
    }
    let identity = user.identify(hadoop).map_err(SecurityError::Login)?;
    flott_fs::log_in(keytab.clone().map(|(principal, path)| flott_fs::Keytab { principal, path }));
    let keytab = keytab.map(|(_, path)| path).filter(|_| user.proxied().is_none());
    Ok(ClientLogin { user, identity, secure, keytab })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(settings: &[(&str, &str)]) -> String {
        let mut configuration = Configuration::default();
        for (key, value) in settings {
            configuration.set(key, value).unwrap();
        }
        let mut hadoop = HadoopConfiguration::new();
        hadoop.set("hadoop.security.authentication", "kerberos");
        log_in(&configuration, &hadoop).unwrap_err().to_string()
    }

    #[test]
    fn what_is_missing_is_said_before_anything_is_done() {
        let (keytab, principal) = (config::KERBEROS_KEYTAB.key, config::KERBEROS_PRINCIPAL.key);
        assert_eq!(
            said(&[(keytab, "/x")]),
            "security.kerberos.login.keytab is set and security.kerberos.login.principal is not: a login by keytab needs both"
        );
        assert!(said(&[(principal, "alice")]).starts_with("security.kerberos.login.principal is set and"));
        let unreadable = said(&[(keytab, "/none/alice.keytab"), (principal, "alice")]);
        assert!(
            unreadable.starts_with("the keytab /none/alice.keytab cannot be read: No such file"),
            "{unreadable}"
        );
        let nothing = said(&[(config::KERBEROS_TICKET_CACHE.key, "false")]);
        assert!(nothing.contains("there is nothing to log in with"), "{nothing}");
    }

    #[test]
    fn a_cluster_without_security_asks_for_nothing() {
        let login = log_in(&Configuration::default(), &HadoopConfiguration::new()).unwrap();
        assert!(!login.secure && login.keytab.is_none() && login.identity.principal.is_none());
    }
}
