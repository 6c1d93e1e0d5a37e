//! Is the service that a server claims to be the one the configuration expects there?
//!
//! A secure server names its principal in its offer. It is checked against `SERVICE.principal` (in which `_HOST` stands for the server's
//! host) or, where that is set, against the pattern `SERVICE.principal.pattern`; otherwise anyone with any key of the realm could pose as
//! the NameNode.

use crate::proto::common::rpc_sasl::SaslAuth;
use crate::sasl::Target;
use crate::settings::Settings;

/// The service to get a ticket for, or a question that the network must answer first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalDecision {
    /// It is the expected one.
    Expected(Target),
    /// It is, if this host's address is the one connected to.
    ExpectedAt { target: Target, host: String },
}

/// Decides on the principal that a server at `host` offers, by the rules under the configuration key `key`.
///
/// # Errors
/// It is not the expected one, or none is configured.
pub(crate) fn decide(
    auth: &SaslAuth,
    key: &str,
    settings: &Settings,
    host: &str,
) -> Result<PrincipalDecision, String> {
    let (service, offered) = (auth.protocol(), auth.server_id());
    if service.is_empty() || offered.is_empty() {
        return Err("the server offers Kerberos without saying as whom".into());
    }
    let name = format!("{service}/{offered}");
    let pattern_key = format!("{key}.pattern");
    if let Some(pattern) = settings.principals.get(&pattern_key) {
        let (pattern_name, realm) = pattern.split_once('@').unwrap_or((pattern, "*"));
        let target = match realm.contains(['*', '?']) {
            // The offer does not say the realm; Kerberos knows that of the host.
            true => Target::HostBased(format!("{service}@{offered}")),
            false => Target::Principal(format!("{name}@{realm}")),
        };
        return match glob(pattern_name, &name) {
            true => Ok(PrincipalDecision::Expected(target)),
            false => Err(format!("the server is {name}, which does not match {pattern:?} ({pattern_key})")),
        };
    }
    let configured = settings.principals.get(key).ok_or_else(|| {
        format!("the server is {name}, and {key} does not say whether it should be: set it")
    })?;
    let (configured_name, realm) = match configured.split_once('@') {
        Some((name, realm)) => (name, Some(realm)),
        None => (configured.as_str(), None),
    };
    let (expected_service, expected_host) = configured_name.split_once('/').unwrap_or((configured_name, ""));
    let unexpected = || format!("the server is {name}, {key} expects {configured}");
    if service != expected_service {
        return Err(unexpected());
    }
    let target = match realm {
        Some(realm) => Target::Principal(format!("{name}@{realm}")),
        None => Target::HostBased(format!("{service}@{offered}")),
    };
    if expected_host != "_HOST" {
        return match expected_host.eq_ignore_ascii_case(offered) {
            true => Ok(PrincipalDecision::Expected(target)),
            false => Err(unexpected()),
        };
    }
    match host.eq_ignore_ascii_case(offered) {
        true => Ok(PrincipalDecision::Expected(target)),
        false => Ok(PrincipalDecision::ExpectedAt { target, host: offered.to_ascii_lowercase() }),
    }
}

/// Whether text matches a pattern of `*`, `?` and plain characters.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star = None; // the last `*` and how far it reaches
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    p = at + 1;
                    t = reach + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;

    const KEY: &str = "dfs.namenode.kerberos.principal";

    fn decide_for(
        properties: &[(&str, &str)],
        offered: (&str, &str),
        host: &str,
    ) -> Result<PrincipalDecision, String> {
        let mut configuration = Configuration::new();
        for (key, value) in properties {
            configuration.set(key, value);
        }
        let auth = SaslAuth {
            method: "KERBEROS".into(),
            mechanism: "GSSAPI".into(),
            protocol: Some(offered.0.into()),
            server_id: Some(offered.1.into()),
            challenge: None,
        };
        decide(&auth, KEY, &Settings::new(&configuration).unwrap(), host)
    }

    #[test]
    fn the_configured_principal_is_the_target() {
        let target = Target::Principal("nn/h.example@R".into());
        let same = decide_for(&[(KEY, "nn/h.example@R")], ("nn", "h.example"), "other");
        assert_eq!(same, Ok(PrincipalDecision::Expected(target.clone())));
        let host = decide_for(&[(KEY, "nn/_HOST@R")], ("nn", "h.example"), "H.example");
        assert_eq!(host, Ok(PrincipalDecision::Expected(target.clone())));
        let look_up = decide_for(&[(KEY, "nn/_HOST@R")], ("nn", "h.example"), "10.0.0.1");
        assert_eq!(look_up, Ok(PrincipalDecision::ExpectedAt { target, host: "h.example".into() }));
        let no_realm = decide_for(&[(KEY, "nn/_HOST")], ("nn", "h"), "h");
        assert_eq!(no_realm, Ok(PrincipalDecision::Expected(Target::HostBased("nn@h".into()))));
    }

    #[test]
    fn another_principal_is_refused() {
        let error = decide_for(&[(KEY, "nn/h@R")], ("mallory", "h"), "h").unwrap_err();
        assert_eq!(error, "the server is mallory/h, dfs.namenode.kerberos.principal expects nn/h@R");
        assert!(decide_for(&[(KEY, "nn/h@R")], ("nn", "evil"), "evil").is_err());
        let error = decide_for(&[], ("nn", "h"), "h").unwrap_err();
        assert!(error.ends_with("does not say whether it should be: set it"), "{error}");
        assert!(decide_for(&[(KEY, "nn/h@R")], ("", ""), "h").is_err());
    }

    #[test]
    fn a_pattern_replaces_the_principal() {
        let properties = [(KEY, "nn/a@R"), ("dfs.namenode.kerberos.principal.pattern", "nn/*.example@*")];
        let target = Target::HostBased("nn@b.example".into());
        assert_eq!(
            decide_for(&properties, ("nn", "b.example"), "x"),
            Ok(PrincipalDecision::Expected(target))
        );
        assert!(decide_for(&properties, ("nn", "b.test"), "x").is_err());
    }

    #[test]
    fn globs_match_as_globs_do() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }
}
