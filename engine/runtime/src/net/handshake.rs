//! Who opens a connection and who takes it prove to each other that they know the secret, without sending it.
//!
//! ```text
//! server ─▸ client   "flott1"  nonce:32
//! client ─▸ server   "flott1"  nonce:32  hmac:32 of "client", purpose and both nonces
//! server ─▸ client   1  hmac:32 of "server", purpose and both nonces;   or 0: refused
//! ```
//!
//! HMAC-SHA256 (RFC 2104). The role keeps a proof from being sent back to who made it, the purpose keeps one port's from being
//! used at another.

mod by_token;

pub use by_token::{TokenKeys, secret_by_token};

use std::fmt;
use std::io;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MAGIC: [u8; 6] = *b"flott1";
const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;
const REFUSED: u8 = 0;
const ACCEPTED: u8 = 1;

/// How long both may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What every process of an application, and who talks to it, must know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// How long one is.
    pub const BYTES: usize = 32;

    /// One that nobody knows.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; Self::BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(bytes))
    }

    /// The secret with these bytes; none if there are not [`BYTES`](Self::BYTES).
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes, for those who must know.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// A token for one purpose, from which the secret cannot be found.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        self.mac("derive", purpose, [&[], &[]]).finalize().into_bytes().into()
    }

    /// Whether `token` is the one for this purpose; it takes the same time for every wrong one.
    pub fn is_derived(&self, purpose: &str, token: &[u8; 32]) -> bool {
        self.mac("derive", purpose, [&[], &[]]).verify_slice(token).is_ok()
    }

    fn mac(&self, role: &str, purpose: &str, nonces: [&[u8]; 2]) -> Hmac<Sha256> {
        // RFC 2104: a key shorter than a block is filled up with zeros.
        let mut key = [0; 64];
        key[..Self::BYTES].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&key.into());
        for part in [role.as_bytes(), purpose.as_bytes()].into_iter().chain(nonces) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a connection is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The system.
    #[error("the connection broke during the handshake: {0}")]
    Io(#[from] io::Error),
    /// The other side took too long.
    #[error("the other side did not finish the handshake in 10 s; is it Flott?")]
    TimedOut,
    /// The other side speaks something else.
    #[error("the other side does not speak Flott's protocol, or another version of it")]
    NotFlott,
    /// The other side has another secret.
    #[error("the other side has another secret; both must use the file that security.secret.file names")]
    OtherSecret,
}

fn nonce() -> io::Result<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(nonce)
}

async fn read<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], HandshakeError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn read_greeting(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; NONCE_BYTES], HandshakeError> {
    if read(stream).await? != MAGIC {
        return Err(HandshakeError::NotFlott);
    }
    read(stream).await
}

/// The part of who opened the connection.
///
/// # Errors
/// [`HandshakeError`]; the connection is of no use then.
pub async fn prove_as_client<S>(stream: &mut S, secret: &Secret, purpose: &str) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let talk = async {
        let theirs = read_greeting(stream).await?;
        let own = nonce()?;
        let proof = secret.mac("client", purpose, [&theirs, &own]).finalize().into_bytes();
        stream.write_all(&[&MAGIC[..], &own, &proof].concat()).await?;
        match read::<1>(stream).await? {
            [REFUSED] => return Err(HandshakeError::OtherSecret),
            [ACCEPTED] => {}
            _ => return Err(HandshakeError::NotFlott),
        }
        let proof = read::<PROOF_BYTES>(stream).await?;
        let expected = secret.mac("server", purpose, [&theirs, &own]);
        expected.verify_slice(&proof).map_err(|_| HandshakeError::OtherSecret)
    };
    tokio::time::timeout(DEADLINE, talk).await.unwrap_or(Err(HandshakeError::TimedOut))
}

/// The part of who took the connection.
///
/// # Errors
/// [`HandshakeError`]; the connection is of no use then.
pub async fn prove_as_server<S>(stream: &mut S, secret: &Secret, purpose: &str) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    admit(stream, secret, None, purpose).await.map(|_| ())
}

/// How a connection was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// The other side knows the secret: the connection can be used.
    Peer,
    /// The other side was told the secret by its token, and the connection is over.
    Told,
}

/// The part of who took the connection, where some may have tokens instead of the secret.
///
/// # Errors
/// [`HandshakeError`]; the connection is of no use then.
pub async fn admit<S>(
    stream: &mut S,
    secret: &Secret,
    keys: Option<&dyn TokenKeys>,
    purpose: &str,
) -> Result<Admitted, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let talk = async {
        let own = nonce()?;
        stream.write_all(&[&MAGIC[..], &own].concat()).await?;
        let theirs = match (read(stream).await?, keys) {
            (MAGIC, _) => read::<NONCE_BYTES>(stream).await?,
            (magic, Some(keys)) if by_token::is_token(magic) => {
                by_token::tell(stream, secret, keys, purpose, own).await?;
                return Ok(Admitted::Told);
            }
            _ => return Err(HandshakeError::NotFlott),
        };
        let proof = read::<PROOF_BYTES>(stream).await?;
        if secret.mac("client", purpose, [&own, &theirs]).verify_slice(&proof).is_err() {
            stream.write_all(&[REFUSED]).await?;
            stream.flush().await?;
            return Err(HandshakeError::OtherSecret);
        }
        let proof = secret.mac("server", purpose, [&own, &theirs]).finalize().into_bytes();
        stream.write_all(&[&[ACCEPTED][..], &proof].concat()).await?;
        stream.flush().await?;
        Ok(Admitted::Peer)
    };
    tokio::time::timeout(DEADLINE, talk).await.unwrap_or(Err(HandshakeError::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Secret::from_bytes(&[byte; 32]).unwrap()
    }

    async fn meet(
        client: (u8, &str),
        server: (u8, &str),
    ) -> (Result<(), HandshakeError>, Result<(), HandshakeError>) {
        let (mut near, mut far) = tokio::io::duplex(1024);
        let (client_secret, server_secret) = (secret(client.0), secret(server.0));
        tokio::join!(async move { prove_as_client(&mut near, &client_secret, client.1).await }, async move {
            prove_as_server(&mut far, &server_secret, server.1).await
        },)
    }

    #[tokio::test]
    async fn who_knows_the_secret_is_let_in() {
        let (client, server) = meet((1, "data"), (1, "data")).await;
        client.unwrap();
        server.unwrap();
    }

    #[tokio::test]
    async fn another_secret_or_purpose_is_refused_and_both_know_why() {
        for client in [(2, "data"), (1, "control")] {
            let (client, server) = meet(client, (1, "data")).await;
            assert!(matches!(client, Err(HandshakeError::OtherSecret)), "{client:?}");
            assert!(matches!(server, Err(HandshakeError::OtherSecret)), "{server:?}");
        }
    }

    #[tokio::test]
    async fn garbage_and_silence_are_refused() {
        let (mut near, mut far) = tokio::io::duplex(1024);
        near.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let refused = prove_as_server(&mut far, &secret(1), "data").await;
        assert!(matches!(refused, Err(HandshakeError::NotFlott)), "{refused:?}");

        let (near, mut far) = tokio::io::duplex(1024);
        drop(near);
        let refused = prove_as_server(&mut far, &secret(1), "data").await;
        assert!(matches!(refused, Err(HandshakeError::Io(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_server_that_only_echoes_is_not_believed() {
        let (mut near, mut far) = tokio::io::duplex(1024);
        let echo = async move {
            far.write_all(&[&MAGIC[..], &[9; NONCE_BYTES]].concat()).await.unwrap();
            let mut answer = [0; MAGIC.len() + NONCE_BYTES + PROOF_BYTES];
            far.read_exact(&mut answer).await.unwrap();
            far.write_all(&[ACCEPTED]).await.unwrap();
            far.write_all(&answer[MAGIC.len() + NONCE_BYTES..]).await.unwrap();
        };
        let secret = secret(1);
        let (client, ()) = tokio::join!(prove_as_client(&mut near, &secret, "data"), echo);
        assert!(matches!(client, Err(HandshakeError::OtherSecret)), "{client:?}");
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", secret(7)), "Secret(…)");
        assert!(Secret::from_bytes(&[1; 31]).is_none());
    }
}
