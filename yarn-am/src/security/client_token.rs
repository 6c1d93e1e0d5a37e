//! The tokens that YARN gives, with an application's report, to those who may see the application on a cluster with Kerberos: by one of them a command
//! asks the ApplicationMaster for the session's secret, where it cannot read the file that holds it.
//!
//! YARN says who may have a token, and its identifier says whose it is; that alone does not make somebody a master of the session. The owner is
//! one, and so are the users (not the groups, which nobody here knows) of `yarn.modify.acls`.

use std::sync::{Mutex, PoisonError};

use flott_runtime::net::handshake::{Secret, TokenKeys};
use hadoop_rpc::auth_to_local::Rules;
use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use sha1::Sha1;

/// How many bytes a block of SHA-1 has: a key is filled up to it.
const BLOCK: usize = 64;

/// What a token says of itself.
#[derive(Clone, PartialEq, Message)]
struct Identifier {
    /// Whose it is.
    #[prost(string, optional, tag = "2")]
    client: Option<String>,
}

/// Computes the keys of clients' tokens.
pub(crate) struct ClientTokens {
    rules: Rules,
    /// The principal that submitted the application.
    owner: String,
    /// Who else may change it: names with commas between, a space, groups.
    modify: String,
    /// YARN tells it at registration.
    master_key: Mutex<Vec<u8>>,
}

fn hmac(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let mut padded = [0; BLOCK];
    padded.get_mut(..key.len())?.copy_from_slice(key);
    let mut mac = Hmac::<Sha1>::new(&padded.into());
    mac.update(message);
    Some(mac.finalize().into_bytes().to_vec())
}

/// The key that both sides make of a token's password.
pub(crate) fn key_of_password(password: &[u8]) -> Secret {
    let mut bytes = [0; Secret::BYTES];
    for (at, byte) in password.iter().take(Secret::BYTES).enumerate() {
        bytes[at] = *byte;
    }
    Secret::from_bytes(&bytes).map_or_else(
        // It has the length of one.
        || key_of_password(&[]),
        |secret| Secret::from_bytes(&secret.derive("client to ApplicationMaster")).unwrap_or(secret),
    )
}

impl ClientTokens {
    pub(crate) fn new(rules: Rules, owner: String, modify: String) -> Self {
        Self { rules, owner, modify, master_key: Mutex::default() }
    }

    /// Takes the key with which YARN makes the tokens.
    pub(crate) fn set_master_key(&self, key: &[u8]) {
        *self.master_key.lock().unwrap_or_else(PoisonError::into_inner) = key.to_owned();
    }

    /// Whether somebody may do with the session what its owner may.
    fn is_master(&self, client: &str) -> bool {
        let realm = self.owner.rsplit_once('@').map_or("", |(_, realm)| realm);
        let short = |principal: &str| self.rules.short_name(principal, realm).ok();
        let Some(client) = short(client) else { return false };
        let users = self.modify.split(' ').next().unwrap_or_default();
        short(&self.owner).as_ref() == Some(&client)
            || self.modify.trim() == "*"
            || users.split(',').any(|user| user.trim() == client)
    }
}

impl TokenKeys for ClientTokens {
    fn key_of(&self, identifier: &[u8]) -> Option<Secret> {
        let client = Identifier::decode(identifier).ok()?.client?;
        let master_key = self.master_key.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if master_key.is_empty() || !self.is_master(&client) {
            return None;
        }
        Some(key_of_password(&hmac(&master_key, identifier)?))
    }
}

#[cfg(test)]
mod tests {
    use flott_fuzz::Decoder;

    use super::*;

    fn tokens(modify: &str) -> ClientTokens {
        let tokens = ClientTokens::new(Rules::parse("DEFAULT").unwrap(), "alice@R".into(), modify.into());
        tokens.set_master_key(b"key");
        tokens
    }

    fn identifier(client: &str) -> Vec<u8> {
        Identifier { client: Some(client.to_owned()) }.encode_to_vec()
    }

    #[test]
    fn the_password_is_hadoops() {
        // RFC 2202, test case 2.
        let expected = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
        let found = hmac(b"Jefe", b"what do ya want for nothing?").unwrap();
        assert_eq!(found.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
        assert_eq!(hmac(&[1; 65], b""), None);
    }

    #[test]
    fn the_owner_and_who_may_change_it_are_masters_and_others_are_not() {
        for (modify, client, may) in [
            ("", "alice@R", true),
            ("", "alice/host@R", true),
            ("", "alice@ELSEWHERE", false),
            ("", "bob@R", false),
            ("bob,carol admins", "bob@R", true),
            ("bob,carol admins", "admins@R", false),
            (" bob", "bob@R", false),
            ("*", "dora@R", true),
        ] {
            assert_eq!(tokens(modify).key_of(&identifier(client)).is_some(), may, "{modify} {client}");
        }
        let key = tokens("").key_of(&identifier("alice@R")).unwrap();
        assert!(key == key_of_password(&hmac(b"key", &identifier("alice@R")).unwrap()));
        tokens("").set_master_key(&[]);
    }

    #[test]
    fn without_a_master_key_there_are_no_tokens() {
        let tokens = tokens("*");
        tokens.set_master_key(&[]);
        assert!(tokens.key_of(&identifier("alice@R")).is_none());
    }

    #[test]
    fn fuzz_credentials_of_clients() {
        let tokens = tokens("bob");
        Decoder::new("identifiers of clients' tokens")
            .sample(identifier("alice@R"))
            .sample(identifier("bob/host@R"))
            .bytes(|bytes| {
                let _ = tokens.key_of(bytes);
            });
    }
}
