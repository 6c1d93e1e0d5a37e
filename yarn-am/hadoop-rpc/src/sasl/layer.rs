//! What protects the stream once both sides know each other: nothing, integrity or privacy.
//!
//! DIGEST-MD5's layer numbers every message in each direction and signs it; a message that was changed, lost, repeated or reordered
//! ends the connection. Under privacy the message is encrypted as well, in one run of the cipher over the whole connection.
//! Integrity: `message ‖ HMAC-MD5(key, number ‖ message)[..10] ‖ 0x0001 ‖ number`; privacy: message, padding and HMAC encrypted.

use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use cbc::{Decryptor, Encryptor};
use des::TdesEde2;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use rc4::{Rc4, StreamCipher};

use super::digest::md5;

/// Wraps what is sent.
pub(crate) trait Seal: Send + Sync {
    /// Wraps one piece.
    ///
    /// # Errors
    /// Why it cannot be.
    fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, String>;
}

/// Unwraps what is received.
pub(crate) trait Open: Send + Sync {
    /// Unwraps one piece.
    ///
    /// # Errors
    /// It was not wrapped by the other side, in this order.
    fn open(&mut self, wrapped: &[u8]) -> Result<Vec<u8>, String>;
}

/// How the stream is protected.
pub(crate) enum Layer {
    /// Frames go as they are.
    None,
    /// Pieces of at most `piece` bytes are wrapped.
    Wrapped { seal: Box<dyn Seal>, open: Box<dyn Open>, piece: usize },
}

/// What a cipher's padding and the signature add at most.
const OVERHEAD: usize = 8 + SIGNATURE + TRAILER;
const SIGNATURE: usize = 10;
/// Message type (always 1) and number.
const TRAILER: usize = 6;

/// A cipher of DIGEST-MD5's privacy, of those with keys longer than 100 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cipher {
    Rc4,
    TripleDes,
}

impl Cipher {
    /// Its name in challenges.
    pub(super) fn name(self) -> &'static str {
        match self {
            Cipher::Rc4 => "rc4",
            Cipher::TripleDes => "3des",
        }
    }
}

/// What both sides derive the layer's keys from.
pub(super) struct DigestKeys {
    pub session_key: [u8; 16],
    /// For privacy.
    pub cipher: Option<Cipher>,
}

#[derive(Clone, Copy)]
enum Sender {
    Client,
    Server,
}

impl DigestKeys {
    fn derive(&self, sender: Sender, what: &str, purpose: &str) -> [u8; 16] {
        let direction = match sender {
            Sender::Client => "client-to-server",
            Sender::Server => "server-to-client",
        };
        let constant = format!("Digest {what} to {direction} {purpose} key magic constant");
        md5(&[&self.session_key, constant.as_bytes()])
    }

    fn signer(&self, sender: Sender) -> Signer {
        Signer { key: self.derive(sender, "session key", "signing"), number: 0 }
    }

    fn encryption(&self, sender: Sender) -> Option<[u8; 16]> {
        self.cipher.map(|_| self.derive(sender, "H(A1)", "sealing"))
    }
}

impl Layer {
    pub(super) fn digest(keys: &DigestKeys, max_buffer: usize) -> Layer {
        Layer::Wrapped {
            seal: Box::new(DigestSeal::new(keys, Sender::Client)),
            open: Box::new(DigestOpen::new(keys, Sender::Server)),
            piece: max_buffer.saturating_sub(OVERHEAD).max(1),
        }
    }
}

struct Signer {
    key: [u8; 16],
    number: u32,
}

impl Signer {
    /// The HMAC of the next message, not yet finished, and the message's number.
    fn next(&mut self, message: &[u8]) -> Result<(Hmac<Md5>, [u8; 4]), String> {
        let number = self.number.to_be_bytes();
        self.number = self.number.wrapping_add(1);
        let mut mac = Hmac::<Md5>::new_from_slice(&self.key).map_err(|error| error.to_string())?;
        mac.update(&number);
        mac.update(message);
        Ok((mac, number))
    }
}

enum Encrypt {
    Rc4(Rc4),
    TripleDes(Encryptor<TdesEde2>),
}

enum Decrypt {
    Rc4(Rc4),
    TripleDes(Decryptor<TdesEde2>),
}

struct DigestSeal {
    signer: Signer,
    encrypt: Option<Encrypt>,
}

impl DigestSeal {
    fn new(keys: &DigestKeys, sender: Sender) -> DigestSeal {
        let encrypt = keys.cipher.zip(keys.encryption(sender)).map(|(cipher, key)| match cipher {
            Cipher::Rc4 => Encrypt::Rc4(rc4(&key)),
            Cipher::TripleDes => {
                Encrypt::TripleDes(Encryptor::new(&triple_des_key(&key).into(), &vector(&key).into()))
            }
        });
        DigestSeal { signer: keys.signer(sender), encrypt }
    }
}

impl Seal for DigestSeal {
    fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, String> {
        let (mac, number) = self.signer.next(plain)?;
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
        out.extend_from_slice(plain);
        if let Some(Encrypt::TripleDes(_)) = self.encrypt {
            let padding = 8 - (plain.len() + SIGNATURE) % 8;
            out.resize(plain.len() + padding, padding as u8);
        }
        out.extend_from_slice(&mac.finalize().into_bytes()[..SIGNATURE]);
        match &mut self.encrypt {
            None => {}
            Some(Encrypt::Rc4(cipher)) => cipher.apply_keystream(&mut out),
            Some(Encrypt::TripleDes(cipher)) => {
                for block in out.as_chunks_mut::<8>().0 {
                    cipher.encrypt_block(block.into());
                }
            }
        }
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&number);
        Ok(out)
    }
}

struct DigestOpen {
    signer: Signer,
    decrypt: Option<Decrypt>,
}

impl DigestOpen {
    fn new(keys: &DigestKeys, sender: Sender) -> DigestOpen {
        let decrypt = keys.cipher.zip(keys.encryption(sender)).map(|(cipher, key)| match cipher {
            Cipher::Rc4 => Decrypt::Rc4(rc4(&key)),
            Cipher::TripleDes => {
                Decrypt::TripleDes(Decryptor::new(&triple_des_key(&key).into(), &vector(&key).into()))
            }
        });
        DigestOpen { signer: keys.signer(sender), decrypt }
    }
}

impl Open for DigestOpen {
    fn open(&mut self, wrapped: &[u8]) -> Result<Vec<u8>, String> {
        let short = || format!("a wrapped message of {} bytes is too short", wrapped.len());
        let split = wrapped.len().checked_sub(TRAILER).ok_or_else(short)?;
        let (body, trailer) = wrapped.split_at(split);
        let mut plain = body.to_vec();
        let mut padding = 0;
        match &mut self.decrypt {
            None => {}
            Some(Decrypt::Rc4(cipher)) => cipher.apply_keystream(&mut plain),
            Some(Decrypt::TripleDes(cipher)) => {
                let (blocks, rest) = plain.as_chunks_mut::<8>();
                if !rest.is_empty() {
                    return Err(format!("a wrapped message of {split} bytes is no whole number of blocks"));
                }
                for block in blocks {
                    cipher.decrypt_block(block.into());
                }
                let last = plain.len().checked_sub(SIGNATURE + 1).ok_or_else(short)?;
                padding = usize::from(plain[last]);
                if !(1..=8).contains(&padding) {
                    return Err("a wrapped message has a wrong padding".into());
                }
            }
        }
        let end = plain.len().checked_sub(SIGNATURE).ok_or_else(short)?;
        let length = end.checked_sub(padding).ok_or_else(short)?;
        let (mac, number) = self.signer.next(&plain[..length])?;
        if trailer[..2] != [0, 1] || trailer[2..] != number {
            let expected = u32::from_be_bytes(number);
            return Err(format!("a wrapped message is out of order, number {expected} was expected"));
        }
        mac.verify_truncated_left(&plain[end..])
            .map_err(|_| "a wrapped message has a wrong signature".to_owned())?;
        plain.truncate(length);
        Ok(plain)
    }
}

#[expect(clippy::expect_used, reason = "RC4 takes keys of 1 to 256 bytes")]
fn rc4(key: &[u8; 16]) -> Rc4 {
    Rc4::new_from_slice(key).expect("16 bytes are a key")
}

/// The initial vector: the key's second half.
fn vector(key: &[u8; 16]) -> [u8; 8] {
    let mut vector = [0; 8];
    vector.copy_from_slice(&key[8..]);
    vector
}

/// Two DES keys of 8 bytes from the first 14 bytes: 7 bits of the key in each byte, above a parity bit that no one reads.
fn triple_des_key(key: &[u8; 16]) -> [u8; 16] {
    let mut expanded = [0; 16];
    for (half, out) in key.chunks(7).zip(expanded.chunks_mut(8)) {
        let bits = half.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for (at, byte) in out.iter_mut().enumerate() {
            *byte = ((bits >> (49 - 7 * at)) as u8) << 1;
        }
    }
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_fuzz::Decoder;

    fn keys(cipher: Option<Cipher>) -> DigestKeys {
        DigestKeys { session_key: *b"0123456789abcdef", cipher }
    }

    fn pair(cipher: Option<Cipher>) -> (DigestSeal, DigestOpen) {
        (DigestSeal::new(&keys(cipher), Sender::Server), DigestOpen::new(&keys(cipher), Sender::Server))
    }

    const ALL: [Option<Cipher>; 3] = [None, Some(Cipher::Rc4), Some(Cipher::TripleDes)];

    #[test]
    fn messages_come_back_in_order() {
        for cipher in ALL {
            let (mut seal, mut open) = pair(cipher);
            for length in 0..40 {
                let plain = vec![length; usize::from(length)];
                let wrapped = seal.seal(&plain).unwrap();
                assert!(wrapped.len() <= plain.len() + OVERHEAD);
                assert_eq!(open.open(&wrapped).unwrap(), plain, "{cipher:?}");
            }
        }
    }

    #[test]
    fn a_changed_repeated_or_cut_message_is_refused() {
        for cipher in ALL {
            let wrapped = pair(cipher).0.seal(b"pay bob 10").unwrap();
            for at in 0..wrapped.len() {
                let mut changed = wrapped.clone();
                changed[at] ^= 1;
                assert!(pair(cipher).1.open(&changed).is_err(), "byte {at} under {cipher:?}");
                assert!(pair(cipher).1.open(&wrapped[..at]).is_err(), "{at} bytes under {cipher:?}");
            }
            let mut open = pair(cipher).1;
            open.open(&wrapped).unwrap();
            assert!(open.open(&wrapped).is_err());
        }
    }

    #[test]
    fn each_direction_has_its_own_keys() {
        let mut seal = DigestSeal::new(&keys(None), Sender::Client);
        let wrapped = seal.seal(b"x").unwrap();
        assert!(pair(None).1.open(&wrapped).unwrap_err().contains("signature"));
    }

    #[test]
    fn a_des_key_holds_seven_bits_a_byte() {
        let key = *b"\xFF\x00\xFF\x00\xFF\x00\xFF\x80\0\0\0\0\0\x01zz";
        let expanded = triple_des_key(&key);
        assert_eq!(expanded, [0xFE, 0x80, 0x3E, 0xE0, 0x0E, 0xF8, 0x02, 0xFE, 0x80, 0, 0, 0, 0, 0, 0, 2]);
    }

    /// What was changed is refused, whatever it was changed to.
    fn fuzz(name: &'static str, cipher: Option<Cipher>) {
        let wrapped = pair(cipher).0.seal(b"pay bob 10").unwrap();
        Decoder::new(name)
            .sample(wrapped.clone())
            .bytes(|bytes| assert_eq!(pair(cipher).1.open(bytes).is_ok(), bytes == wrapped));
    }

    #[test]
    fn fuzz_sasl_signed_messages() {
        fuzz("messages signed by DIGEST-MD5", None);
    }

    #[test]
    fn fuzz_sasl_messages_under_rc4() {
        fuzz("messages encrypted by RC4", Some(Cipher::Rc4));
    }

    #[test]
    fn fuzz_sasl_messages_under_3des() {
        fuzz("messages encrypted by 3DES", Some(Cipher::TripleDes));
    }
}
