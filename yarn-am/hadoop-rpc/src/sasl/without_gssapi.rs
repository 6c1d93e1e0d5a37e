//! Kerberos in a build without the feature `kerberos`: an error that says how to get one with it.

use super::{Layer, Protection, SaslError, Target};
use crate::proto::common::RpcSasl;
use crate::user::Login;

/// There is none.
pub(super) enum Session {}

impl Session {
    pub(super) fn new(_: &Login, target: &Target, _: &[Protection]) -> Result<Session, SaslError> {
        let (Target::Principal(name) | Target::HostBased(name)) = target;
        Err(SaslError::new(format!(
            "{name} wants Kerberos, which this build does not have: build it with --features kerberos (it needs libkrb5-dev and libclang)"
        )))
    }

    pub(super) fn step(&mut self, _: Option<&[u8]>) -> Result<Vec<u8>, SaslError> {
        match *self {}
    }

    pub(super) fn finish(&mut self, _: &RpcSasl) -> Result<Layer, SaslError> {
        match *self {}
    }
}
