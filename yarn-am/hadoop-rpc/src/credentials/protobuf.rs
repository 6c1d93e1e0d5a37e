//! Format 1: a message of protocol buffers, with its length before it.

use prost::Message;

use super::{Credentials, Token};

#[derive(Clone, PartialEq, Message)]
struct TokenProto {
    #[prost(bytes = "vec", required, tag = "1")]
    identifier: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "2")]
    password: Vec<u8>,
    #[prost(string, required, tag = "3")]
    kind: String,
    #[prost(string, required, tag = "4")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct EntryProto {
    #[prost(string, required, tag = "1")]
    alias: String,
    #[prost(message, optional, tag = "2")]
    token: Option<TokenProto>,
    #[prost(bytes = "vec", optional, tag = "3")]
    secret: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct CredentialsProto {
    #[prost(message, repeated, tag = "1")]
    tokens: Vec<EntryProto>,
    #[prost(message, repeated, tag = "2")]
    secrets: Vec<EntryProto>,
}

/// Reads what follows magic and version.
pub(super) fn read(bytes: &[u8]) -> Result<Credentials, String> {
    let read = CredentialsProto::decode_length_delimited(bytes).map_err(|error| error.to_string())?;
    let mut credentials = Credentials::default();
    for entry in read.tokens {
        if let Some(TokenProto { identifier, password, kind, service }) = entry.token {
            credentials.insert(entry.alias, Token { kind, service, identifier, password });
        }
    }
    for entry in read.secrets {
        if let Some(secret) = entry.secret {
            credentials.insert_secret(entry.alias, secret);
        }
    }
    Ok(credentials)
}
