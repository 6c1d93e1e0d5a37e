//! Tokens and secret keys, in the files in which Hadoop hands them on.
//!
//! A token storage is `HDTS`, a version, and the rest in the version's encoding. Both versions are read; written is version 0, as
//! Hadoop itself does. What tokens and keys hold is never shown.
//!
//! ```
//! use hadoop_rpc::credentials::{Credentials, Token};
//!
//! let mut credentials = Credentials::default();
//! let token = Token {
//!     kind: "YARN_AM_RM_TOKEN".to_owned(),
//!     service: String::new(),
//!     identifier: b"who".to_vec(),
//!     password: b"proof".to_vec(),
//! };
//! credentials.insert("am", token);
//! let read = Credentials::read(&credentials.write())?;
//! assert_eq!(read.of_kind("YARN_AM_RM_TOKEN").count(), 1);
//! assert!(!format!("{read:?}").contains("proof"));
//! # Ok::<(), hadoop_rpc::credentials::CredentialsError>(())
//! ```

mod delegation;
mod error;
mod file;
mod protobuf;
mod writable;

use std::collections::BTreeMap;
use std::fmt;

use writable::Input;

pub use delegation::{DelegationToken, HDFS_DELEGATION_TOKEN};
pub use error::CredentialsError;

const MAGIC: &[u8] = b"HDTS";
const WRITABLE: u8 = 0;
const PROTOBUF: u8 = 1;

/// What proves to a service who calls.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Token {
    /// What it is for: `HDFS_DELEGATION_TOKEN`, `YARN_AM_RM_TOKEN`, `NMToken`.
    pub kind: String,
    /// The server it is for: `host:port`, `ha-hdfs:nameservice`; some kinds leave it empty.
    pub service: String,
    /// Says whose it is; its encoding is the kind's.
    pub identifier: Vec<u8>,
    /// The proof.
    pub password: Vec<u8>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("kind", &self.kind)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// Tokens and secret keys, each under an alias.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    tokens: BTreeMap<String, Token>,
    secrets: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets: Vec<_> = self.secrets.keys().collect();
        f.debug_struct("Credentials").field("tokens", &self.tokens).field("secrets", &secrets).finish()
    }
}

impl Credentials {
    /// Reads a token storage of either version. What follows it is left alone, as Hadoop does.
    ///
    /// # Errors
    /// [`CredentialsError::Malformed`].
    pub fn read(bytes: &[u8]) -> Result<Self, CredentialsError> {
        Self::parse(bytes).map_err(CredentialsError::Malformed)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut input = Input(bytes);
        if input.take(MAGIC.len()).ok() != Some(MAGIC) {
            return Err("they do not begin with HDTS".to_owned());
        }
        match input.take(1)? {
            [WRITABLE] => writable::read(input),
            [PROTOBUF] => protobuf::read(input.0),
            version => Err(format!("they have version {}, but only 0 and 1 are known", version[0])),
        }
    }

    /// Writes a token storage of version 0.
    pub fn write(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(WRITABLE);
        writable::write(self, &mut out);
        out
    }

    /// All tokens, each with its alias, by alias.
    pub fn tokens(&self) -> impl Iterator<Item = (&str, &Token)> {
        self.tokens.iter().map(|(alias, token)| (alias.as_str(), token))
    }

    /// The token under an alias.
    pub fn token(&self, alias: &str) -> Option<&Token> {
        self.tokens.get(alias)
    }

    /// The tokens of a kind, whatever their service.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Token> {
        self.tokens.values().filter(move |token| token.kind == kind)
    }

    /// The token of a kind for a service.
    pub fn select(&self, kind: &str, service: &str) -> Option<&Token> {
        self.tokens.values().find(|token| token.kind == kind && token.service == service)
    }

    /// Adds a token, in place of one with the same alias.
    pub fn insert(&mut self, alias: impl Into<String>, token: Token) {
        self.tokens.insert(alias.into(), token);
    }

    /// Takes out the token under an alias.
    pub fn remove(&mut self, alias: &str) -> Option<Token> {
        self.tokens.remove(alias)
    }

    /// Keeps the tokens for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Token) -> bool) {
        self.tokens.retain(|alias, token| keep(alias, token));
    }

    /// The secret key under an alias.
    pub fn secret(&self, alias: &str) -> Option<&[u8]> {
        self.secrets.get(alias).map(Vec::as_slice)
    }

    /// Adds a secret key, in place of one with the same alias.
    pub fn insert_secret(&mut self, alias: impl Into<String>, secret: Vec<u8>) {
        self.secrets.insert(alias.into(), secret);
    }

    /// Adds all of `others`, in place of what has the same alias.
    pub fn merge(&mut self, others: Self) {
        self.tokens.extend(others.tokens);
        self.secrets.extend(others.secrets);
    }
}

#[cfg(test)]
mod tests;
