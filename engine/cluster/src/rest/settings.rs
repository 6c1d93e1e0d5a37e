//! Configuration as it may be shown: without secrets.

use flott_core::config::{Configuration, is_sensitive};
use serde_json::{Value, json};

/// A value, or stars.
pub(super) fn shown<'a>(key: &str, value: &'a str) -> &'a str {
    if is_sensitive(key) { "******" } else { value }
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
