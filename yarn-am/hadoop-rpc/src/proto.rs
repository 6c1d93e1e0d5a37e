//! The messages of Hadoop's protocols, compiled from the files in `proto/`.
//!
//! An enum field is an `i32`; the method of its name gives the Rust value, or the enum's first where the server sent one that is not known
//! here. Where that matters, use `Enum::try_from`. Messages that hold secrets show only their length in `Debug`.

use std::fmt;

/// Headers, SASL and tokens: what every protocol uses.
#[allow(missing_docs, reason = "generated from the .proto file, which has the comments")]
pub mod common {
    include!(concat!(env!("OUT_DIR"), "/hadoop.common.rs"));
}

/// YARN: applications, containers, nodes, queues, and the three protocols' requests and answers.
#[allow(
    missing_docs,
    clippy::large_enum_variant,
    reason = "generated from the .proto file, which has the comments"
)]
pub mod yarn {
    include!(concat!(env!("OUT_DIR"), "/hadoop.yarn.rs"));
}

/// HDFS: what is asked of a NameNode.
#[allow(missing_docs, reason = "generated from the .proto file, which has the comments")]
pub mod hdfs {
    include!(concat!(env!("OUT_DIR"), "/hadoop.hdfs.rs"));
}

/// A secret in `Debug` output: only its length.
pub(crate) struct Redacted(pub usize);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0)
    }
}

impl fmt::Debug for common::Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("kind", &self.kind)
            .field("service", &self.service)
            .field("identifier", &Redacted(self.identifier.len()))
            .field("password", &Redacted(self.password.len()))
            .finish()
    }
}

impl fmt::Debug for common::RpcSasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcSasl")
            .field("state", &self.state())
            .field("token", &self.token.as_ref().map(|token| Redacted(token.len())))
            .field("auths", &self.auths)
            .finish()
    }
}

impl fmt::Debug for common::rpc_sasl::SaslAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} at {}/{}", self.method, self.mechanism, self.protocol(), self.server_id())
    }
}

impl fmt::Debug for yarn::ContainerLaunchContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.environment.iter().map(|variable| variable.key()).collect();
        f.debug_struct("ContainerLaunchContext")
            .field("local_resources", &self.local_resources)
            .field("tokens", &self.tokens.as_ref().map(|tokens| Redacted(tokens.len())))
            .field("environment", &variables)
            .field("command", &self.command)
            .field("application_acls", &self.application_acls)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for yarn::RegisterApplicationMasterResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.client_to_am_token_master_key.as_ref();
        f.debug_struct("RegisterApplicationMasterResponse")
            .field("maximum_capability", &self.maximum_capability)
            .field("client_to_am_token_master_key", &key.map(|key| Redacted(key.len())))
            .field("application_acls", &self.application_acls)
            .field("containers_from_previous_attempts", &self.containers_from_previous_attempts)
            .field("queue", &self.queue)
            .field("nm_tokens_from_previous_attempts", &self.nm_tokens_from_previous_attempts)
            .field("scheduler_resource_types", &self.scheduler_resource_types)
            .field("resource_types", &self.resource_types)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let token = common::Token {
            identifier: b"who".to_vec(),
            password: b"hunter2".to_vec(),
            kind: "K".into(),
            service: "s".into(),
        };
        let key = yarn::RegisterApplicationMasterResponse {
            client_to_am_token_master_key: Some(b"hunter2".to_vec()),
            nm_tokens_from_previous_attempts: vec![yarn::NmToken {
                token: Some(token.clone()),
                node_id: None,
            }],
            ..Default::default()
        };
        let launch = yarn::ContainerLaunchContext { tokens: Some(b"hunter2".to_vec()), ..Default::default() };
        let sasl = common::RpcSasl { token: Some(b"hunter2".to_vec()), ..Default::default() };
        let shown = format!("{token:?} {key:?} {launch:?} {sasl:?}");
        let bytes = format!("{:?}", b"hunter2");
        assert!(!shown.contains("hunter2") && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
        assert!(shown.contains("[7 bytes]"));
    }
}
