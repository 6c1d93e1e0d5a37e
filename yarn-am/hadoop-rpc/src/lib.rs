//! Hadoop's RPC, its authentication, and the protocols of YARN and the NameNode that Flott speaks.

pub mod configuration;
pub mod credentials;
