//! How somebody who does not know the secret, but was given a token whose key the server can find, gets the secret.
//!
//! ```text
//! server ─▸ client   "flott1"  nonce:32
//! client ─▸ server   "flottT"  nonce:32  length:2  identifier  hmac:32 by the key
//! server ─▸ client   1  secret:32 under a pad made of the key and both nonces  hmac:32;   or 0: refused
//! ```
//!
//! The key itself is never sent, and the pad is used once: both nonces are in it. The connection ends there; who knows the secret makes
//! another.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    ACCEPTED, DEADLINE, HandshakeError, MAGIC, NONCE_BYTES, PROOF_BYTES, REFUSED, Secret, nonce, read,
    read_greeting,
};
use hmac::Mac;

/// What a client with a token says first.
pub(super) const TOKEN_MAGIC: [u8; 6] = *b"flottT";

/// The longest identifier that is read.
const LONGEST: u16 = 4096;

/// Knows tokens.
pub trait TokenKeys: Send + Sync {
    /// The key of the token with this identifier; none: it is no token, or whoever has it may not have the secret.
    fn key_of(&self, identifier: &[u8]) -> Option<Secret>;
}

/// A secret with a pad over it, or without it again.
fn under_pad(secret: &Secret, key: &Secret, purpose: &str, nonces: [&[u8]; 2]) -> Secret {
    let pad = key.mac("token pad", purpose, nonces).finalize().into_bytes();
    let mut bytes = *secret.as_bytes();
    bytes.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
    Secret(bytes)
}

/// Gets the secret of a server by a token.
///
/// # Errors
/// [`HandshakeError`]; [`OtherSecret`](HandshakeError::OtherSecret): the server does not take the token, or is not the one whose it is.
pub async fn secret_by_token<S>(
    stream: &mut S,
    identifier: &[u8],
    key: &Secret,
    purpose: &str,
) -> Result<Secret, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let talk = async {
        let theirs = read_greeting(stream).await?;
        let own = nonce()?;
        let length = u16::try_from(identifier.len()).ok().filter(|length| *length <= LONGEST);
        let length = length.ok_or(HandshakeError::NotFlott)?.to_be_bytes();
        let proof = key.mac("token client", purpose, [&theirs, &own]).finalize().into_bytes();
        stream.write_all(&[&TOKEN_MAGIC[..], &own, &length, identifier, &proof].concat()).await?;
        match read::<1>(stream).await? {
            [REFUSED] => return Err(HandshakeError::OtherSecret),
            [ACCEPTED] => {}
            _ => return Err(HandshakeError::NotFlott),
        }
        let hidden = Secret(read(stream).await?);
        let proof = read::<PROOF_BYTES>(stream).await?;
        let nonces = [theirs, own].concat();
        let expected = key.mac("token server", purpose, [&nonces, hidden.as_bytes()]);
        expected.verify_slice(&proof).map_err(|_| HandshakeError::OtherSecret)?;
        Ok(under_pad(&hidden, key, purpose, [&theirs, &own]))
    };
    tokio::time::timeout(DEADLINE, talk).await.unwrap_or(Err(HandshakeError::TimedOut))
}

/// The rest of the server's part, behind the client's magic.
pub(super) async fn tell<S>(
    stream: &mut S,
    secret: &Secret,
    keys: &dyn TokenKeys,
    purpose: &str,
    own: [u8; NONCE_BYTES],
) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let theirs = read::<NONCE_BYTES>(stream).await?;
    let length = u16::from_be_bytes(read(stream).await?);
    if length > LONGEST {
        return Err(HandshakeError::NotFlott);
    }
    let mut identifier = vec![0; length.into()];
    stream.read_exact(&mut identifier).await?;
    let proof = read::<PROOF_BYTES>(stream).await?;
    let key = keys
        .key_of(&identifier)
        .filter(|key| key.mac("token client", purpose, [&own, &theirs]).verify_slice(&proof).is_ok());
    let Some(key) = key else {
        stream.write_all(&[REFUSED]).await?;
        stream.flush().await?;
        return Err(HandshakeError::OtherSecret);
    };
    let hidden = under_pad(secret, &key, purpose, [&own, &theirs]);
    let nonces = [own, theirs].concat();
    let proof = key.mac("token server", purpose, [&nonces, hidden.as_bytes()]).finalize().into_bytes();
    stream.write_all(&[&[ACCEPTED][..], hidden.as_bytes(), &proof].concat()).await?;
    stream.flush().await?;
    Ok(())
}

/// Whether what was read is what a client with a token says.
pub(super) fn is_token(magic: [u8; MAGIC.len()]) -> bool {
    magic == TOKEN_MAGIC
}

#[cfg(test)]
mod tests {
    use super::super::{Admitted, admit};
    use super::*;
    use flott_fuzz::Decoder;

    fn secret(byte: u8) -> Secret {
        Secret([byte; 32])
    }

    /// Knows the token "alice", whose key is all ones.
    struct Alices;

    impl TokenKeys for Alices {
        fn key_of(&self, identifier: &[u8]) -> Option<Secret> {
            (identifier == b"alice").then(|| secret(1))
        }
    }

    async fn meet(identifier: &[u8], key: u8, keys: Option<&dyn TokenKeys>) -> (Option<Secret>, bool) {
        let (mut near, mut far) = tokio::io::duplex(8192);
        let (key, own) = (secret(key), secret(9));
        let (got, admitted) = tokio::join!(
            async move { secret_by_token(&mut near, identifier, &key, "control").await },
            async move { admit(&mut far, &own, keys, "control").await }
        );
        (got.ok(), matches!(admitted, Ok(Admitted::Told)))
    }

    #[tokio::test]
    async fn who_has_a_token_is_told_the_secret_and_nobody_else() {
        assert_eq!(meet(b"alice", 1, Some(&Alices)).await, (Some(secret(9)), true));
        assert_eq!(meet(b"alice", 2, Some(&Alices)).await, (None, false));
        assert_eq!(meet(b"bob", 1, Some(&Alices)).await, (None, false));
        assert_eq!(meet(b"alice", 1, None).await, (None, false));
        assert_eq!(meet(&[7; 5000], 1, Some(&Alices)).await, (None, false));
    }

    #[tokio::test]
    async fn the_secret_is_not_seen_on_the_way() {
        let (mut near, mut far) = tokio::io::duplex(8192);
        let (own, key) = (secret(9), secret(1));
        let client = async {
            let theirs = read_greeting(&mut near).await.unwrap();
            let proof = key.mac("token client", "control", [&theirs, &[3; 32]]).finalize().into_bytes();
            let said = [&TOKEN_MAGIC[..], &[3; 32], &[0, 5], b"alice", &proof].concat();
            near.write_all(&said).await.unwrap();
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let server = async {
            admit(&mut far, &own, Some(&Alices), "control").await.unwrap();
            drop(far);
        };
        let (answer, ()) = tokio::join!(client, server);
        assert_eq!((answer[0], answer.len()), (ACCEPTED, 65));
        assert!(!answer.windows(4).any(|bytes| bytes == [9; 4]));
    }

    #[test]
    fn fuzz_frames_of_handshakes() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let by_token = [&TOKEN_MAGIC[..], &[3; 32], &[0, 5], b"alice", &[0; 32]].concat();
        let by_secret = [&super::super::MAGIC[..], &[3; 32], &[0; 32]].concat();
        let answer = [&super::super::MAGIC[..], &[3; 32], &[ACCEPTED], &[0; 64]].concat();
        let decoder = Decoder::new("handshakes").sample(by_token).sample(by_secret).sample(answer);
        decoder.may_hold(1 << 20).bytes(|bytes| {
            runtime.block_on(async {
                let talk = async |keys: Option<&dyn TokenKeys>, as_client: bool| {
                    let (mut near, mut far) = tokio::io::duplex(8192);
                    far.write_all(bytes).await.unwrap();
                    far.shutdown().await.unwrap();
                    if as_client {
                        secret_by_token(&mut near, b"alice", &secret(1), "control").await.is_ok()
                    } else {
                        admit(&mut near, &secret(9), keys, "control").await.is_ok()
                    }
                };
                assert!(
                    !talk(Some(&Alices), false).await && !talk(None, false).await && !talk(None, true).await
                );
            });
        });
    }
}
