//! The login of a service that has a keytab: towards HDFS, and towards ZooKeeper.
//!
//! SASL with ZooKeeper takes whatever login Kerberos finds by itself: the ticket cache, or the keytab that the environment names, with which
//! Kerberos also gets a new ticket when the last one ends. Kerberos reads that from the environment with which a process begins.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use flott_core::config::{self, Configuration, HighAvailabilityKind};
use flott_fs::Keytab;

use crate::CommandError;

/// Where Kerberos finds the keytab.
const VARIABLE: &str = "KRB5_CLIENT_KTNAME";

/// The keytab that Kerberos has to be told of, if ZooKeeper asks for it and nobody has yet.
fn keytab(configuration: &Configuration, told: bool) -> Option<String> {
    let by_sasl = configuration.get(&config::HA_TYPE) == HighAvailabilityKind::ZooKeeper
        && !configuration.get(&config::ZOOKEEPER_SASL_DISABLE);
    let keytab = configuration.get_optional(&config::KERBEROS_KEYTAB).filter(|_| by_sasl && !told)?;
    Some(format!("FILE:{}", keytab.display()))
}

/// Has this process use HDFS by the keytab of its configuration, if that has one; else it uses the ticket that somebody keeps for it.
pub(crate) fn log_in(configuration: &Configuration) {
    let principal = configuration.get_optional(&config::KERBEROS_PRINCIPAL);
    if let (Some(principal), Some(path)) = (principal, configuration.get_optional(&config::KERBEROS_KEYTAB)) {
        flott_fs::log_in(Some(Keytab { principal, path }));
    }
}

/// Begins this process again, where Kerberos does not know yet of the configuration's keytab. Nothing has been done before that.
///
/// # Errors
/// It cannot begin again.
pub(crate) fn use_keytab(configuration: &Configuration) -> Result<(), CommandError> {
    let Some(keytab) = keytab(configuration, env::var_os(VARIABLE).is_some()) else { return Ok(()) };
    let mut again = Command::new(env::current_exe()?);
    again.args(env::args_os().skip(1)).env(VARIABLE, keytab);
    // Tickets stay in this process; those of the user are left alone.
    Err(again.env("KRB5CCNAME", "MEMORY:flott").exec().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zookeeper_with_sasl_and_a_keytab_needs_it() {
        let mut configuration = Configuration::new();
        let mut set = |key: &str, value: &str| {
            configuration.set(key, value).unwrap();
            keytab(&configuration, false)
        };
        assert_eq!(set(config::KERBEROS_KEYTAB.key, "/k"), None);
        assert_eq!(set(config::HA_TYPE.key, "zookeeper"), None);
        assert_eq!(set(config::ZOOKEEPER_SASL_DISABLE.key, "false").as_deref(), Some("FILE:/k"));
        assert_eq!(keytab(&configuration, true), None);
    }
}
