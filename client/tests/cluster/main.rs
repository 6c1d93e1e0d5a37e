//! A standalone cluster of real processes: jobs, failures, bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod bad_input;
mod connections;
#[path = "../contract/mod.rs"]
mod contract;
mod failures;
mod high_availability;
mod jobs;
mod ports;
mod scripts;
mod support;
mod web;
mod zookeeper;
