//! Kerberos in a build without the feature `kerberos`: an error that says how to get one with it.

use std::time::Duration;

use super::{Layer, Protection, SaslError, Target};
use crate::proto::common::RpcSasl;
use crate::user::Login;

const REMEDY: &str =
    "which this build does not have: build it with --features kerberos (it needs libkrb5-dev and libclang)";

pub(super) fn identify(_: &Login) -> Result<(String, Duration), SaslError> {
    Err(SaslError::new(format!("the cluster wants Kerberos, {REMEDY}")))
}

/// Without Kerberos nobody knows; no principal has this realm.
pub(super) fn default_realm() -> Result<String, SaslError> {
    Ok(String::new())
}

/// There is none.
pub(super) enum Session {}

impl Session {
    pub(super) fn new(_: &Login, target: &Target, _: &[Protection]) -> Result<Session, SaslError> {
        let (Target::Principal(name) | Target::HostBased(name)) = target;
        Err(SaslError::unavailable(format!("{name} wants Kerberos, {REMEDY}")))
    }

    pub(super) fn step(&mut self, _: Option<&[u8]>) -> Result<Vec<u8>, SaslError> {
        match *self {}
    }

    pub(super) fn finish(&mut self, _: &RpcSasl) -> Result<Layer, SaslError> {
        match *self {}
    }
}
