//! Hadoop's RPC, its authentication, and the protocols of YARN and the NameNode that Flott speaks.
//!
//! From below: [`configuration`] and [`credentials`] read Hadoop's files. A [`User`] says who calls and holds tokens. An [`RpcClient`] calls
//! one [`Protocol`] at its [`Servers`], over one connection at a time, authenticated by SIMPLE, TOKEN or KERBEROS. The typed
//! clients ([`ApplicationClient`], [`ApplicationMasterClient`], [`ContainerManager`], [`NameNode`]) put names on its methods, with the messages
//! of [`proto`]. Every failure is an [`RpcError`].
//!
//! ```no_run
//! use hadoop_rpc::configuration::Configuration;
//! use hadoop_rpc::{ApplicationClient, User};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let configuration = Configuration::from_env()?;
//! let yarn = ApplicationClient::new(&configuration, User::from_system(&configuration)?)?;
//! println!("{} nodes", yarn.get_cluster_metrics().await?.num_active_nms());
//! # Ok(())
//! # }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by a panic"))]

pub mod auth_to_local;
mod client;
pub mod configuration;
mod connection;
pub mod credentials;
mod error;
mod frame;
mod principal;
pub mod proto;
mod protocol;
mod protocols;
mod retry;
mod sasl;
#[cfg(test)]
mod scripted;
mod servers;
mod settings;
mod user;

pub use client::{Method, RpcClient, Servers};
pub use error::{RemoteException, RpcError};
pub use protocol::Protocol;
pub use protocols::{ApplicationClient, ApplicationMasterClient, ContainerError, ContainerManager, NameNode};
pub use retry::{CallKind, RetryPolicy};
pub use servers::{ResourceManagerService, name_nodes, resource_managers};
pub use settings::Settings;
pub use user::{Identity, Login, User, is_secure};
