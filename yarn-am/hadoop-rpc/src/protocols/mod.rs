//! The protocols' methods, one thin client a protocol.
//!
//! Requests and answers are the messages of [`crate::proto`]. Each method knows whether it may be repeated and how long an answer may
//! take; what a caller must act on in a failure is in [`RpcError::exception`](crate::RpcError::exception).

mod application_client;
mod application_master;
mod container_manager;
mod name_node;

pub use application_client::ApplicationClient;
pub use application_master::ApplicationMasterClient;
pub use container_manager::{ContainerError, ContainerManager};
pub use name_node::NameNode;

use crate::credentials::Token;
use crate::error::RpcError;
use crate::proto::common;

impl From<common::Token> for Token {
    fn from(token: common::Token) -> Token {
        let common::Token { identifier, password, kind, service } = token;
        Token { kind, service, identifier, password }
    }
}

impl From<Token> for common::Token {
    fn from(token: Token) -> common::Token {
        let Token { kind, service, identifier, password } = token;
        common::Token { identifier, password, kind, service }
    }
}

/// A part of an answer without which it says nothing.
fn present<T>(part: Option<T>, server: &[String], call: &str) -> Result<T, RpcError> {
    part.ok_or_else(|| RpcError::protocol(&server.join(" or "), format!("its answer to {call} is empty")))
}
