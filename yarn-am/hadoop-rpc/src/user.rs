//! Who calls: a name, a Kerberos login, someone on whose behalf, and the tokens in hand.
//!
//! Clones of a user share one set of tokens, so that a token that was renewed reaches every client at its next connection.
//!
//! ```
//! use hadoop_rpc::User;
//!
//! let user = User::simple("alice");
//! assert_eq!(user.name(), "alice");
//! assert_eq!(user.proxying("bob").to_string(), "bob (proxied by alice)");
//! ```

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::auth_to_local::Rules;
use crate::configuration::Configuration;
use crate::credentials::{Credentials, DelegationToken, HDFS_DELEGATION_TOKEN, Token};
use crate::error::RpcError;
use crate::sasl;

/// How a user proves who it is where no token does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Login {
    /// By saying so.
    Simple {
        /// The name.
        name: String,
    },
    /// By the ticket that `kinit` left in the ticket cache (`KRB5CCNAME`, else the system's default).
    TicketCache {
        /// The principal, if not the cache's default one.
        principal: Option<String>,
    },
    /// By a key, with which tickets are got as needed.
    Keytab {
        /// Whose key.
        principal: String,
        /// The file it is in.
        keytab: PathBuf,
    },
}

/// Who a user is, as Hadoop's servers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name by which files are owned and home folders are called.
    pub short_name: String,
    /// The principal that proves it; none where names are believed.
    pub principal: Option<String>,
    /// For how long the ticket is good; none where it is not a ticket that proves it.
    pub ticket_life: Option<Duration>,
}

/// A caller.
#[derive(Clone)]
pub struct User {
    login: Arc<Login>,
    proxied: Option<Arc<str>>,
    tokens: Arc<RwLock<Tokens>>,
}

/// Tokens by kind and service.
type Tokens = HashMap<(String, String), Token>;

impl User {
    /// A user who is believed by name.
    pub fn simple(name: impl Into<String>) -> User {
        User::with_login(Login::Simple { name: name.into() })
    }

    /// A user with a ticket from `kinit`.
    pub fn from_ticket_cache() -> User {
        User::with_login(Login::TicketCache { principal: None })
    }

    /// A user with a keytab.
    pub fn from_keytab(principal: impl Into<String>, keytab: impl Into<PathBuf>) -> User {
        User::with_login(Login::Keytab { principal: principal.into(), keytab: keytab.into() })
    }

    /// A user with any login and no tokens.
    pub fn with_login(login: Login) -> User {
        User { login: Arc::new(login), proxied: None, tokens: Arc::default() }
    }

    /// The user of this process: where `hadoop.security.authentication` is `kerberos`, whoever has a ticket; else `HADOOP_USER_NAME` or
    /// the system's login name; acting for `HADOOP_PROXY_USER` if that is set. Tokens in the file that `HADOOP_TOKEN_FILE_LOCATION` names are taken along.
    ///
    /// # Errors
    /// The system knows no name, or the token file cannot be read.
    pub fn from_system(configuration: &Configuration) -> Result<User, RpcError> {
        User::from_system_with(configuration, None)
    }

    /// The same, with a login instead of a ticket that is there or the system's name.
    ///
    /// # Errors
    /// As [`User::from_system`].
    pub fn from_system_with(configuration: &Configuration, login: Option<Login>) -> Result<User, RpcError> {
        let user = if let Some(login) = login {
            User::with_login(login)
        } else if is_secure(configuration) {
            User::from_ticket_cache()
        } else {
            match std::env::var("HADOOP_USER_NAME") {
                Ok(name) if !name.is_empty() => User::simple(name),
                _ => User::simple(whoami::username().map_err(|error| {
                    let remedy = "set HADOOP_USER_NAME";
                    RpcError::configuration(format!(
                        "the system has no name for this user ({error}): {remedy}"
                    ))
                })?),
            }
        };
        let user = match std::env::var("HADOOP_PROXY_USER") {
            Ok(name) if !name.is_empty() => user.proxying(&name),
            _ => user,
        };
        let credentials =
            Credentials::from_env().map_err(|error| RpcError::configuration(error.to_string()))?;
        if let Some(credentials) = credentials {
            user.add_credentials(&credentials);
        }
        Ok(user)
    }

    /// Finds out who this is and whether the login works: its ticket is looked at, or got by the keytab. Where there is none, the owner of a token of
    /// HDFS is it. Blocks while Kerberos is asked.
    ///
    /// # Errors
    /// [`RpcError::Configuration`] with what to do: no ticket, an expired one, a keytab that cannot be read or does not fit, a build without
    /// Kerberos, a principal that is nobody by `hadoop.security.auth_to_local`.
    pub fn identify(&self, configuration: &Configuration) -> Result<Identity, RpcError> {
        if !is_secure(configuration) {
            return Ok(Identity { short_name: self.name().to_owned(), principal: None, ticket_life: None });
        }
        let failed = |error: &dyn fmt::Display| RpcError::configuration(format!("cannot log in: {error}"));
        let (principal, ticket_life) = match sasl::identify(&self.login) {
            Ok((principal, life)) => (principal, Some(life)),
            Err(error) => {
                let token = self.token_of_kind(HDFS_DELEGATION_TOKEN);
                let owner = token.and_then(|token| DelegationToken::of(&token));
                (owner.ok_or_else(|| failed(&error))?.owner, None)
            }
        };
        let short_name = match &self.proxied {
            Some(name) => name.to_string(),
            None => {
                let realm = sasl::default_realm().map_err(|error| failed(&error))?;
                let rules = Rules::of(configuration).map_err(|error| failed(&error))?;
                rules.short_name(&principal, &realm).map_err(|error| failed(&error))?
            }
        };
        Ok(Identity { short_name, principal: Some(principal), ticket_life })
    }

    /// The same login acting for someone else, without any tokens. The servers must allow it (`hadoop.proxyuser.NAME.hosts`, `.groups`).
    pub fn proxying(&self, name: &str) -> User {
        User { login: Arc::clone(&self.login), proxied: Some(name.into()), tokens: Arc::default() }
    }

    /// The same login with tokens of its own, none at first.
    pub fn without_tokens(&self) -> User {
        User { tokens: Arc::default(), ..self.clone() }
    }

    /// Adds all tokens of some credentials.
    pub fn add_credentials(&self, credentials: &Credentials) {
        for (_, token) in credentials.tokens() {
            self.add_token(token.clone());
        }
    }

    /// Adds a token, in place of one of the same kind for the same service, for this user and its clones.
    pub fn add_token(&self, token: Token) {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.insert((token.kind.clone(), token.service.clone()), token);
    }

    /// The token of a kind for the first of these services that there is one for. A token for several servers names them with
    /// commas between.
    pub fn token(&self, kind: &str, services: &[String]) -> Option<Token> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let of_kind = || tokens.values().filter(|token| token.kind == kind);
        services
            .iter()
            .find_map(|service| of_kind().find(|token| token.service.split(',').any(|part| part == service)))
            .cloned()
    }

    /// The token of a kind, whatever its service.
    pub fn token_of_kind(&self, kind: &str) -> Option<Token> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.values().find(|token| token.kind == kind).cloned()
    }

    /// How the user proves who it is.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// For whom it acts, if for someone else.
    pub fn proxied(&self) -> Option<&str> {
        self.proxied.as_deref()
    }

    /// The effective user's name: the proxied one, else the login's name or principal; "the ticket cache's owner" where only Kerberos knows.
    pub fn name(&self) -> &str {
        self.proxied.as_deref().unwrap_or_else(|| self.real_name())
    }

    /// The name of who proves its identity.
    pub fn real_name(&self) -> &str {
        match &*self.login {
            Login::Simple { name } => name,
            Login::Keytab { principal, .. } => principal,
            Login::TicketCache { principal } => principal.as_deref().unwrap_or("the ticket cache's owner"),
        }
    }

    /// The keytab, for those who make tickets last.
    pub fn keytab(&self) -> Option<&Path> {
        match &*self.login {
            Login::Keytab { keytab, .. } => Some(keytab),
            Login::Simple { .. } | Login::TicketCache { .. } => None,
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxied {
            Some(name) => write!(f, "{name} (proxied by {})", self.real_name()),
            None => f.write_str(self.real_name()),
        }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let kinds: Vec<_> = tokens.keys().collect();
        f.debug_struct("User")
            .field("login", &self.login)
            .field("proxied", &self.proxied)
            .field("tokens", &kinds)
            .finish()
    }
}

/// Whether the cluster demands Kerberos or tokens.
pub fn is_secure(configuration: &Configuration) -> bool {
    configuration.get_or("hadoop.security.authentication", "simple").eq_ignore_ascii_case("kerberos")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(kind: &str, service: &str, password: &str) -> Token {
        Token {
            kind: kind.into(),
            service: service.into(),
            identifier: b"id".to_vec(),
            password: password.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_token_is_selected_by_kind_and_any_of_its_services() {
        let user = User::simple("alice");
        user.add_token(token("RM", "10.0.0.1:8032,10.0.0.2:8032", "a"));
        user.add_token(token("HDFS", "ha-hdfs:ns", "b"));
        let find = |kind: &str, services: &[&str]| {
            let services: Vec<String> = services.iter().map(|service| (*service).into()).collect();
            user.token(kind, &services).map(|token| token.password)
        };
        assert_eq!(find("RM", &["rm2:8032", "10.0.0.2:8032"]), Some(b"a".to_vec()));
        assert_eq!(find("HDFS", &["ha-hdfs:ns"]), Some(b"b".to_vec()));
        assert_eq!(find("HDFS", &["10.0.0.1:8032"]), None);
        assert_eq!(user.token_of_kind("RM").unwrap().password, b"a");
    }

    #[test]
    fn clones_share_tokens_and_a_proxied_user_has_none() {
        let user = User::simple("alice");
        let clone = user.clone();
        clone.add_token(token("K", "s", "old"));
        clone.add_token(token("K", "s", "new"));
        assert_eq!(user.token_of_kind("K").unwrap().password, b"new");
        assert!(user.proxying("bob").token_of_kind("K").is_none());
        assert!(user.without_tokens().token_of_kind("K").is_none());
        assert!(!format!("{user:?}").contains("new"));
    }
}
