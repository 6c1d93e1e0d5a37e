//! Which settings are secrets.

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

/// Whether the value of a key is not to be shown, by the name of the key. The file with a secret is no secret, and who looks for it may read
/// where it is.
///
/// ```
/// use flott_core::config::is_sensitive;
///
/// assert!(is_sensitive("user.db.Password") && is_sensitive("fs.azure.account.key.account123"));
/// assert!(!is_sensitive("security.secret.file") && !is_sensitive("parallelism.default"));
/// ```
pub fn is_sensitive(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    SENSITIVE.iter().any(|word| lower.contains(word)) && !lower.ends_with(".file")
}
