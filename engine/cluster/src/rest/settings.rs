//! Configuration as it may be shown: without secrets.

use flott_core::config::Configuration;
use serde_json::{Value, json};

/// Parts of keys whose values nobody else is to see: Flink's, and others that sound like it.
const SENSITIVE: [&str; 13] = [
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "apikey",
    "api-key",
    "service-key",
    "auth-params",
    "basic-auth",
    "jaas.config",
    "http-headers",
    "fs.azure.account.key",
];

/// A value, or stars.
pub(super) fn shown<'a>(key: &str, value: &'a str) -> &'a str {
    let lower = key.to_ascii_lowercase();
    // The file with the secret is no secret, and who looks for it may read where it is.
    let is_sensitive = SENSITIVE.iter().any(|word| lower.contains(word)) && !lower.ends_with(".file");
    if is_sensitive { "******" } else { value }
}

/// What was set, as Flink lists it.
pub(super) fn entries(configuration: &Configuration) -> Value {
    let entries = configuration.entries().iter();
    Value::Array(entries.map(|(key, value)| json!({ "key": key, "value": shown(key, value) })).collect())
}

/// `/jobmanager/environment`: what there is to say without a JVM.
pub(super) fn environment() -> Value {
    json!({
        "jvm": {
            "version": super::overview::revision(),
            "arch": std::env::consts::ARCH,
            "options": [],
        },
        "classpath": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut configuration = Configuration::new();
        configuration.set("user.db.password", "hunter2").unwrap();
        configuration.set("user.API-Key", "k").unwrap();
        for flinks in [
            "auth-params",
            "basic-auth",
            "service-key",
            "token",
            "jaas.config",
            "http-headers",
            "apikey",
            "fs.azure.account.key.account123.dfs.core.windows.net",
        ] {
            configuration.set(&format!("user.{flinks}"), "hunter2").unwrap();
        }
        configuration.set("security.secret.file", "/s").unwrap();
        configuration.set("parallelism.default", "3").unwrap();
        let text = entries(&configuration).to_string();
        assert!(!text.contains("hunter2") && !text.contains("\"k\""), "{text}");
        assert!(text.contains("\"/s\"") && text.contains("\"3\""), "{text}");
    }
}
