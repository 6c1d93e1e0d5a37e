//! Kerberos: who submits, with which tokens an application begins, and how it gets new ones.
//!
//! ```text
//! client: keytab or ticket ─▸ login ─▸ tokens of HDFS ─▸ launch credentials, which YARN renews
//! ApplicationMaster: keytab ─▸ renewal ─▸ new tokens ─┬▸ its own token file
//!                                                     ├▸ containers that are launched
//!                                                     └▸ TaskManagers, by way of the JobManager ─▸ their token files
//! ```
//!
//! A container holds tokens and never a key, but for the ApplicationMaster's, which has the keytab if there is one. Who reads and writes HDFS
//! looks into the token file of its container at every new connection.

mod client_token;
mod login;
mod private;
mod provided;
mod renewal;
pub mod schedule;
mod tokens;

pub(crate) use client_token::{ClientTokens, key_of_password};
pub(crate) use login::{ClientLogin, log_in};
pub(crate) use private::{Closed, check_closed};
pub(crate) use provided::{is_public, runtime_of};
pub(crate) use renewal::{Renewal, RenewedTokens};
pub(crate) use tokens::{file_systems, for_containers, longest_life, obtain, of_file_systems, renewer};

use std::path::PathBuf;

use hadoop_rpc::RpcError;
use hadoop_rpc::credentials::CredentialsError;

/// Why there is no login, or no token.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// Half a login.
    #[error("{set} is set and {missing} is not: a login by keytab needs both")]
    Half {
        /// The key that is set.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// The keytab.
    #[error("the keytab {path} cannot be read: {source}", path = .path.display())]
    Keytab {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Nothing to log in with.
    #[error(
        "the cluster wants Kerberos, and there is nothing to log in with: set security.kerberos.login.keytab and \
         security.kerberos.login.principal, or security.kerberos.login.use-ticket-cache to true and run kinit"
    )]
    NoLogin,
    /// The login does not work.
    #[error("{0}")]
    Login(RpcError),
    /// Nobody could renew the tokens.
    #[error(
        "yarn.resourcemanager.principal is not set, so nobody could renew the application's tokens: set it in yarn-site.xml to the \
         ResourceManager's principal"
    )]
    NoRenewer,
    /// A file system that has no tokens.
    #[error(
        "security.kerberos.access.hadoopFileSystems names '{0}'; write hdfs://HOST:PORT or hdfs://NAMESERVICE"
    )]
    FileSystem(String),
    /// No token.
    #[error("no delegation token can be had of {file_system}: {source}")]
    Token {
        /// Whose.
        file_system: String,
        /// Why not.
        source: Box<RpcError>,
    },
    /// No token now.
    #[error(
        "{0} has no delegation token to give: its NameNode keeps none while it starts, and never without Kerberos (its log says why)"
    )]
    NoToken(String),
    /// Whose a folder is.
    #[error("it cannot be told whose the folder {path} is: {source}")]
    Owner {
        /// Which.
        path: String,
        /// Why not.
        source: Box<RpcError>,
    },
    /// Somebody else's folder.
    #[error(
        "the staging folder {path} belongs to {owner}, not to {user}, and what is in it would be run: have it removed, or set \
         yarn.staging-directory to another folder"
    )]
    NotOwn {
        /// Which.
        path: String,
        /// Whose it is.
        owner: String,
        /// Whose it should be.
        user: String,
    },
    /// An open folder.
    #[error(
        "the staging folder {path} is open to others (mode {mode:o}), and what is in it would be run: look what they have done there, \
         then hdfs dfs -chmod 700 {path}"
    )]
    Open {
        /// Which.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// The credentials at hand.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}
