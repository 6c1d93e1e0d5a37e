//! DIGEST-MD5 (RFC 2831), with which a token's owner and the server prove to each other that they know the token's password.
//!
//! [`answer`] turns a challenge into the client's answer and into [`Expected`], which checks the server's proof and then gives the keys for
//! what protects the stream. The algorithm is weak by today's measure, and Hadoop's tokens know no other.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest, Md5};

use super::challenge::{Challenge, quoted, response_auth};
use super::layer::{Cipher, DigestKeys, Layer};
use super::{Protection, SaslError};
use crate::credentials::Token;

/// Hadoop's host-based name of a token's service: the entry's protocol (empty) and server id.
pub(super) struct Service<'a> {
    pub protocol: &'a str,
    pub server_id: &'a str,
}

/// The client's answer to a challenge, and what it expects in return.
pub(super) struct Answer {
    pub message: Vec<u8>,
    pub expected: Expected,
}

/// Checks the server's proof.
pub(super) struct Expected {
    proof: String,
    session_key: [u8; 16],
    protection: Protection,
    cipher: Option<Cipher>,
    max_buffer: usize,
}

const ZEROS: &str = ":00000000000000000000000000000000";

/// Answers a challenge. `protections` are the ones the configuration allows, the first one offered wins.
///
/// # Errors
/// The challenge is none, or offers no protection or cipher that this client may use.
pub(super) fn answer(
    challenge: &[u8],
    token: &Token,
    service: &Service<'_>,
    protections: &[Protection],
    client_nonce: &str,
) -> Result<Answer, SaslError> {
    let challenge = Challenge::parse(challenge).map_err(|reason| {
        SaslError::new(format!("the server's DIGEST-MD5 challenge cannot be used: {reason}"))
    })?;
    let protection = choose_protection(&challenge, protections)?;
    let cipher = match protection {
        Protection::Privacy => Some(choose_cipher(&challenge)?),
        Protection::Authentication | Protection::Integrity => None,
    };
    let Challenge { realm, nonce, .. } = &challenge;
    let user = BASE64_STANDARD.encode(&token.identifier);
    let password = BASE64_STANDARD.encode(&token.password);
    let uri = format!("{}/{}", service.protocol, service.server_id);
    let qop = protection.qop();

    let secret = md5(&[user.as_bytes(), b":", realm.as_bytes(), b":", password.as_bytes()]);
    let session_key = md5(&[&secret, b":", nonce.as_bytes(), b":", client_nonce.as_bytes()]);
    let tail = if protection == Protection::Authentication { "" } else { ZEROS };
    let digest = |method: &str| {
        let request = hex(&md5(&[method.as_bytes(), b":", uri.as_bytes(), tail.as_bytes()]));
        let text = format!("{}:{nonce}:00000001:{client_nonce}:{qop}:{request}", hex(&session_key));
        hex(&md5(&[text.as_bytes()]))
    };
    let mut message = format!(
        "charset=utf-8,username={},realm={},nonce={},nc=00000001,cnonce={},digest-uri={},maxbuf=65536,response={},qop={qop}",
        quoted(&user),
        quoted(realm),
        quoted(nonce),
        quoted(client_nonce),
        quoted(&uri),
        digest("AUTHENTICATE"),
    );
    if let Some(cipher) = cipher {
        message.push_str(&format!(",cipher={}", quoted(cipher.name())));
    }
    let proof = digest("");
    let max_buffer = challenge.max_buffer;
    let expected = Expected { proof, session_key, protection, cipher, max_buffer };
    Ok(Answer { message: message.into_bytes(), expected })
}

impl Expected {
    /// Checks the server's last message and gives what protects the stream from now on.
    ///
    /// # Errors
    /// The server does not know the token's password.
    pub(super) fn verify(self, message: &[u8]) -> Result<Layer, SaslError> {
        let proof = response_auth(message).map_err(SaslError::new)?;
        if proof != self.proof {
            return Err(SaslError::new(
                "the server does not know the token's password: it is not the one the token is for",
            ));
        }
        Ok(match self.protection {
            Protection::Authentication => Layer::None,
            Protection::Integrity | Protection::Privacy => Layer::digest(
                &DigestKeys { session_key: self.session_key, cipher: self.cipher },
                self.max_buffer,
            ),
        })
    }
}

fn choose_protection(challenge: &Challenge, allowed: &[Protection]) -> Result<Protection, SaslError> {
    let offered = |protection: &&Protection| challenge.qop.iter().any(|qop| qop == protection.qop());
    allowed
        .iter()
        .find(offered)
        .copied()
        .ok_or_else(|| SaslError::protection(&challenge.qop.join(", "), allowed))
}

fn choose_cipher(challenge: &Challenge) -> Result<Cipher, SaslError> {
    let ours = [Cipher::TripleDes, Cipher::Rc4];
    ours.into_iter().find(|cipher| challenge.ciphers.iter().any(|name| name == cipher.name())).ok_or_else(
        || {
            let offered = challenge.ciphers.join(", ");
            SaslError::new(format!(
                "the server offers only the ciphers {offered:?} for privacy; this client knows 3des and rc4"
            ))
        },
    )
}

pub(super) fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_fuzz::Decoder;

    fn token() -> Token {
        Token {
            kind: "K".into(),
            service: String::new(),
            identifier: b"id".to_vec(),
            password: b"pw".to_vec(),
        }
    }

    const SERVICE: Service<'_> = Service { protocol: "", server_id: "default" };

    #[test]
    fn the_answer_and_the_proof_are_those_of_an_independent_calculation() {
        let challenge = br#"realm="default",nonce="n",qop="auth",charset=utf-8,algorithm=md5-sess"#;
        let answer = answer(challenge, &token(), &SERVICE, &[Protection::Authentication], "c").unwrap();
        let message = String::from_utf8(answer.message).unwrap();
        assert!(
            message.contains("username=\"aWQ=\",realm=\"default\",nonce=\"n\",nc=00000001,cnonce=\"c\""),
            "{message}"
        );
        assert!(message.contains("digest-uri=\"/default\""), "{message}");
        assert!(message.contains("response=f1f8d60ece2448d6e92e4b874bc2d91d"), "{message}");
        assert!(matches!(
            answer.expected.verify(b"rspauth=687adca9361698eaf1cd58a90498bc93"),
            Ok(Layer::None)
        ));
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_refused() {
        let challenge = br#"realm="default",nonce="n",algorithm=md5-sess"#;
        let ask = || answer(challenge, &token(), &SERVICE, &[Protection::Authentication], "c").unwrap();
        let error = ask().expected.verify(b"rspauth=00").err().unwrap();
        assert!(error.to_string().starts_with("the server does not know the token's password"));
        assert!(ask().expected.verify(b"").err().unwrap().to_string().contains("no rspauth"));
    }

    #[test]
    fn the_first_allowed_protection_that_is_offered_is_taken() {
        let challenge = |qop: &str| format!("nonce=n,algorithm=md5-sess,qop=\"{qop}\",cipher=\"des,rc4-40\"");
        let ask = |qop: &str, allowed: &[Protection]| {
            answer(challenge(qop).as_bytes(), &token(), &SERVICE, allowed, "c")
        };
        let wanted = [Protection::Privacy, Protection::Integrity];
        let message = String::from_utf8(ask("auth,auth-int", &wanted).unwrap().message).unwrap();
        assert!(message.ends_with(",qop=auth-int"), "{message}");
        let error = |answer: Result<Answer, SaslError>| answer.err().unwrap().to_string();
        let refused = error(ask("auth", &wanted));
        assert!(refused.contains("hadoop.rpc.protection") && refused.contains("auth"), "{refused}");
        let refused = error(ask("auth-conf", &wanted));
        assert!(refused.contains("\"des, rc4-40\""), "{refused}");
    }

    #[test]
    fn fuzz_sasl_answers() {
        let allowed = [Protection::Privacy, Protection::Integrity, Protection::Authentication];
        Decoder::new("the dialogue of DIGEST-MD5")
            .sample("nonce=n,algorithm=md5-sess\0rspauth=687adca9361698eaf1cd58a90498bc93")
            .sample("nonce=n,algorithm=md5-sess,qop=\"auth-conf\",cipher=\"rc4,3des\",maxbuf=64\0rspauth=00")
            .words(&["\"", "qop=", "auth-int", "cipher=", "3des", "maxbuf=16777215", ","])
            .bytes(|bytes| {
                let split = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                let (challenge, proof) = bytes.split_at(split);
                if let Ok(answer) = answer(challenge, &token(), &SERVICE, &allowed, "c") {
                    let _ = answer.expected.verify(proof.get(1..).unwrap_or_default());
                }
            });
    }
}
