//! What a connection needs to know from Hadoop's configuration, read once.

use std::collections::HashMap;
use std::time::Duration;

use crate::configuration::Configuration;
use crate::error::RpcError;
use crate::sasl::Protection;
use crate::user::is_secure;

/// The configuration's part in every connection.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For reaching one address (`ipc.client.connect.timeout`, 20 s).
    pub connect_timeout: Duration,
    /// For authenticating once connected: 20 s.
    pub handshake_timeout: Duration,
    /// How long to be silent while calls wait before giving a sign of life (`ipc.ping.interval`, 60 s).
    pub ping_interval: Duration,
    /// How long a connection without calls stays open (`ipc.client.connection.maxidletime`, 10 s).
    pub idle_time: Duration,
    /// The largest request in bytes (`ipc.maximum.data.length`, 128 MiB).
    pub max_request: usize,
    /// The largest response in bytes (`ipc.maximum.response.length`, 128 MiB).
    pub max_response: usize,
    /// Whether `hadoop.security.authentication` is `kerberos`.
    pub secure: bool,
    /// Whether a server that wants no authentication is believed nevertheless (`ipc.client.fallback-to-simple-auth-allowed`).
    pub fallback_to_simple: bool,
    /// How streams may be protected, best first (`hadoop.rpc.protection`).
    pub(crate) protections: Vec<Protection>,
    /// The servers' principals and patterns, by key.
    pub(crate) principals: HashMap<String, String>,
}

/// The keys that name servers' principals.
const PRINCIPALS: [&str; 3] =
    ["yarn.resourcemanager.principal", "yarn.nodemanager.principal", "dfs.namenode.kerberos.principal"];

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// `hadoop.rpc.protection` has a value that Hadoop does not know, or one that would mean less protection than configured.
    pub fn new(configuration: &Configuration) -> Result<Settings, RpcError> {
        let milliseconds = |key, default| Duration::from_millis(configuration.get_u64(key, default).max(1));
        let bytes =
            |key| usize::try_from(configuration.get_u64(key, 128 << 20)).unwrap_or(usize::MAX).max(1024);
        let protections = configuration.get_or("hadoop.rpc.protection", "authentication");
        let protections = Protection::parse_list(&protections).map_err(|value| {
            let known = "authentication, integrity and privacy";
            RpcError::configuration(format!("hadoop.rpc.protection has {value:?}: known are {known}"))
        })?;
        let keys = PRINCIPALS.iter().flat_map(|key| [(*key).to_owned(), format!("{key}.pattern")]);
        let principals = keys
            .filter_map(|key| configuration.get(&key).map(|value| (key, value.trim().to_owned())))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Ok(Settings {
            connect_timeout: milliseconds("ipc.client.connect.timeout", 20_000),
            handshake_timeout: Duration::from_secs(20),
            ping_interval: milliseconds("ipc.ping.interval", 60_000),
            idle_time: milliseconds("ipc.client.connection.maxidletime", 10_000),
            max_request: bytes("ipc.maximum.data.length"),
            max_response: bytes("ipc.maximum.response.length"),
            secure: is_secure(configuration),
            fallback_to_simple: configuration.get_bool("ipc.client.fallback-to-simple-auth-allowed", false),
            protections,
            principals,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hadoops_defaults_hold_where_nothing_is_set() {
        let settings = Settings::new(&Configuration::new()).unwrap();
        assert_eq!(settings.max_response, 134_217_728);
        assert_eq!(settings.connect_timeout, Duration::from_secs(20));
        assert_eq!(settings.protections, [Protection::Authentication]);
        assert!(!settings.secure && !settings.fallback_to_simple);
    }

    #[test]
    fn protections_and_principals_are_read_and_unknown_ones_refused() {
        let mut configuration = Configuration::new();
        configuration.set("hadoop.rpc.protection", "privacy, integrity");
        configuration.set("hadoop.security.authentication", "KERBEROS");
        configuration.set("yarn.resourcemanager.principal", "rm/_HOST@R");
        let settings = Settings::new(&configuration).unwrap();
        assert_eq!(settings.protections, [Protection::Privacy, Protection::Integrity]);
        assert!(settings.secure);
        assert_eq!(settings.principals["yarn.resourcemanager.principal"], "rm/_HOST@R");
        configuration.set("hadoop.rpc.protection", "rot13");
        let error = Settings::new(&configuration).unwrap_err().to_string();
        assert_eq!(
            error,
            "hadoop.rpc.protection has \"rot13\": known are authentication, integrity and privacy"
        );
    }
}
