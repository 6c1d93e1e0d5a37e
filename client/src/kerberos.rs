//! The login of a service that has a keytab: towards HDFS, and towards ZooKeeper.
//!
//! SASL with ZooKeeper takes whatever login Kerberos finds by itself: the ticket cache, or the keytab that the environment names, with which
//! Kerberos also gets a new ticket when the last one ends. Kerberos reads that from the environment with which a process begins. Of a keytab it takes
//! the first principal, so that has to be the one of the configuration.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, fs};

use flott_core::config::{self, Configuration, HighAvailabilityKind};
use flott_fs::Keytab;

use crate::CommandError;

/// Where Kerberos finds the keytab.
const VARIABLE: &str = "KRB5_CLIENT_KTNAME";

/// Whether ZooKeeper asks who this is.
fn asks_for_login(configuration: &Configuration) -> bool {
    configuration.get(&config::HA_TYPE) == HighAvailabilityKind::ZooKeeper
        && !configuration.get(&config::ZOOKEEPER_SASL_DISABLE)
}

/// The keytab that Kerberos has to be told of, if ZooKeeper asks for it and nobody has yet.
fn keytab(configuration: &Configuration, told: bool) -> Option<String> {
    let needed = asks_for_login(configuration) && !told;
    let keytab = configuration.get_optional(&config::KERBEROS_KEYTAB).filter(|_| needed)?;
    Some(format!("FILE:{}", keytab.display()))
}

/// Has this process use HDFS by the keytab of its configuration, if that has one; else it uses the ticket that somebody keeps for it.
pub(crate) fn log_in(configuration: &Configuration) {
    let principal = configuration.get_optional(&config::KERBEROS_PRINCIPAL);
    if let (Some(principal), Some(path)) = (principal, configuration.get_optional(&config::KERBEROS_KEYTAB)) {
        flott_fs::log_in(Some(Keytab { principal, path }));
    }
}

/// The first principal of a keytab; none: it has none, or this is no keytab.
fn first_principal(keytab: &[u8]) -> Option<String> {
    let mut rest = keytab.strip_prefix(&[5, 2])?;
    let entry = loop {
        let (size, behind) = rest.split_first_chunk()?;
        let size = i32::from_be_bytes(*size);
        let (entry, next) = behind.split_at_checked(usize::try_from(size.unsigned_abs()).ok()?)?;
        match size {
            0 => return None,
            1.. => break entry,
            // Where a key was.
            _ => rest = next,
        }
    };
    let (components, mut rest) = entry.split_first_chunk()?;
    let mut part = || {
        let (length, behind) = rest.split_first_chunk()?;
        let (text, next) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = next;
        String::from_utf8(text.to_owned()).ok()
    };
    let realm = part()?;
    let names: Option<Vec<String>> = (0..u16::from_be_bytes(*components)).map(|_| part()).collect();
    Some(format!("{}@{realm}", names?.join("/")))
}

/// Checks that ZooKeeper would see the configuration's principal.
fn check_principal(configuration: &Configuration) -> Result<(), CommandError> {
    let Some(principal) = configuration.get_optional(&config::KERBEROS_PRINCIPAL) else { return Ok(()) };
    let Some(path) = configuration.get_optional(&config::KERBEROS_KEYTAB) else { return Ok(()) };
    // What else is wrong with it, the login says.
    let Some(first) = fs::read(&path).ok().and_then(|bytes| first_principal(&bytes)) else { return Ok(()) };
    let without_realm = first.rsplit_once('@').map_or("", |(name, _)| name);
    if [first.as_str(), without_realm].contains(&principal.as_str()) {
        return Ok(());
    }
    Err(format!(
        "ZooKeeper would see {first}, whose key is the first of {}, and not {principal} ({}): have a keytab in which that is the first, or set \
         {} to true",
        path.display(),
        config::KERBEROS_PRINCIPAL.key,
        config::ZOOKEEPER_SASL_DISABLE.key,
    )
    .into())
}

/// Begins this process again, where Kerberos does not know yet of the configuration's keytab. Nothing has been done before that.
///
/// # Errors
/// It cannot begin again, or ZooKeeper would see somebody else than the configuration says.
pub(crate) fn use_keytab(configuration: &Configuration) -> Result<(), CommandError> {
    if asks_for_login(configuration) {
        check_principal(configuration)?;
    }
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

    /// A keytab with a hole, where a key was, and keys of these principals.
    fn keytab_of(principals: &[(&str, &[&str])]) -> Vec<u8> {
        let text =
            |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
        let mut bytes = vec![5, 2, 0xff, 0xff, 0xff, 0xfe, 0, 0];
        for (realm, names) in principals {
            let count = u16::try_from(names.len()).unwrap().to_be_bytes().to_vec();
            let names = names.iter().flat_map(|name| text(name));
            let entry: Vec<u8> = count.into_iter().chain(text(realm)).chain(names).chain([0; 12]).collect();
            bytes.extend(u32::try_from(entry.len()).unwrap().to_be_bytes());
            bytes.extend(entry);
        }
        bytes
    }

    #[test]
    fn a_principal_that_zookeeper_would_not_see_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("two.keytab");
        fs::write(&path, keytab_of(&[("R", &["flott", "host"]), ("R", &["alice"])])).unwrap();
        let mut configuration = Configuration::new();
        configuration.set(config::KERBEROS_KEYTAB.key, path.to_str().unwrap()).unwrap();
        let mut check = |principal: &str| {
            configuration.set(config::KERBEROS_PRINCIPAL.key, principal).unwrap();
            check_principal(&configuration).map_err(|error| error.to_string())
        };
        assert_eq!((check("flott/host@R"), check("flott/host")), (Ok(()), Ok(())));
        for other in ["alice", "alice@R", "flott", "flott/host@S"] {
            let said = check(other).unwrap_err();
            assert!(
                said.starts_with("ZooKeeper would see flott/host@R, whose key is the first of"),
                "{said}"
            );
        }
        fs::write(&path, "no keytab").unwrap();
        assert_eq!(check("alice"), Ok(()));
    }

    #[test]
    fn fuzz_credentials_keytab() {
        let one = keytab_of(&[("R", &["flott", "host"])]);
        flott_fuzz::Decoder::new("keytabs")
            .sample(one)
            .sample(keytab_of(&[("R", &["a"]), ("R", &["b"])]))
            .bytes(|bytes| {
                let _ = first_principal(bytes);
            });
    }
}
