//! Flott on a real Hadoop cluster: YARN, HDFS, ZooKeeper, each daemon a process of its own.
//!
//! The cluster is started by `scripts/hadoop-cluster` for the first test that asks for it, and stopped when this process ends, however
//! it does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod chaos;
mod commands;
mod containers;
#[path = "../contract/mod.rs"]
mod contract;
mod damaged_metadata;
mod decommission;
mod failovers;
#[cfg(feature = "kerberos")]
mod kerberos;
mod locality;
mod modes;
mod outages;
mod proxy;
mod recovery;
mod refusals;
mod restart_storm;
mod restarts;
mod stream;
mod support;
