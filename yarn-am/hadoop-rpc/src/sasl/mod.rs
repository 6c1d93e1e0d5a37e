//! Who is who: SASL as Hadoop speaks it, before the first call of a connection.
//!
//! ```text
//! client  NEGOTIATE            INITIATE(entry, answer)   RESPONSE*
//! server           NEGOTIATE(entries)        CHALLENGE* …          SUCCESS(proof)
//! ```
//!
//! The client takes the first of the server's entries that it has the means for: TOKEN (by DIGEST-MD5) or KERBEROS (by GSSAPI). A
//! [`Negotiation`] is pure: it is fed the server's messages and says what to send, and the connection does the rest. No step weakens
//! what is configured: a server that wants no authentication is refused, unless the configuration says otherwise.

mod challenge;
mod digest;
#[cfg(feature = "kerberos")]
mod gssapi;
mod layer;
#[cfg(feature = "kerberos")]
mod store;
#[cfg(not(feature = "kerberos"))]
mod without_gssapi;
#[cfg(not(feature = "kerberos"))]
use without_gssapi as gssapi;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::credentials::Token;
use crate::proto::common::RpcSasl;
use crate::proto::common::rpc_sasl::{SaslAuth, SaslState};
use crate::user::Login;

pub(crate) use layer::{Layer, Open, Seal};

/// How a connection is protected, from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protection {
    /// Both sides are known; the stream is open.
    Authentication,
    /// Nobody can change the stream.
    Integrity,
    /// Nobody can read it either.
    Privacy,
}

impl Protection {
    /// Reads `hadoop.rpc.protection`.
    ///
    /// # Errors
    /// The word that is no protection.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Protection>, String> {
        let parse = |word: &str| match word.to_ascii_lowercase().as_str() {
            "authentication" => Ok(Protection::Authentication),
            "integrity" => Ok(Protection::Integrity),
            "privacy" => Ok(Protection::Privacy),
            _ => Err(word.to_owned()),
        };
        text.split(',').map(|word| parse(word.trim())).collect()
    }

    fn qop(self) -> &'static str {
        match self {
            Protection::Authentication => "auth",
            Protection::Integrity => "auth-int",
            Protection::Privacy => "auth-conf",
        }
    }
}

/// Why client and server do not come together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SaslError {
    reason: String,
    /// Whether it is only that this build cannot do it.
    pub(crate) is_unavailable: bool,
}

impl SaslError {
    fn new(reason: impl Into<String>) -> SaslError {
        SaslError { reason: reason.into(), is_unavailable: false }
    }

    #[cfg(not(feature = "kerberos"))]
    fn unavailable(reason: impl Into<String>) -> SaslError {
        SaslError { reason: reason.into(), is_unavailable: true }
    }

    fn protection(offered: &str, allowed: &[Protection]) -> SaslError {
        let allowed: Vec<_> = allowed.iter().map(|protection| protection.qop()).collect();
        let allowed = allowed.join(", ");
        SaslError::new(format!(
            "the server offers the protections {offered:?}, hadoop.rpc.protection here means {allowed:?}: set it to the server's value"
        ))
    }
}

impl fmt::Display for SaslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What the client can prove itself with.
pub(crate) struct Means {
    /// A token of the protocol's kind for this server.
    pub token: Option<Token>,
    /// A Kerberos login.
    pub login: Option<Login>,
    pub protections: Vec<Protection>,
}

/// What the client takes from the server's offer.
#[derive(Debug)]
pub(crate) enum Choice {
    /// The token, by DIGEST-MD5.
    Token(SaslAuth),
    /// A ticket for the service that the entry names; whether it is the right one has to be checked.
    Kerberos(SaslAuth),
    /// No authentication, which is all that the server wants; or, with an entry, all that both sides have.
    Simple(Option<SaslAuth>),
}

/// The first message.
pub(crate) fn negotiate() -> RpcSasl {
    message(SaslState::Negotiate)
}

fn message(state: SaslState) -> RpcSasl {
    RpcSasl { version: Some(0), state: state.into(), token: None, auths: Vec::new() }
}

/// Takes the first entry of the server's offer that there are means for.
///
/// # Errors
/// There is none, or the message is no offer.
pub(crate) fn choose(offer: &RpcSasl, means: &Means) -> Result<Choice, SaslError> {
    match SaslState::try_from(offer.state) {
        Ok(SaslState::Success) => return Ok(Choice::Simple(None)),
        Ok(SaslState::Negotiate) => {}
        _ => {
            return Err(SaslError::new(format!(
                "the server answers the first message with {}",
                state_name(offer)
            )));
        }
    }
    for auth in &offer.auths {
        match auth.method.as_str() {
            "TOKEN" if means.token.is_some() => {
                if auth.mechanism != "DIGEST-MD5" {
                    let mechanism = &auth.mechanism;
                    return Err(SaslError::new(format!(
                        "the server checks tokens by {mechanism:?} (hadoop.security.sasl.mechanism), this client knows DIGEST-MD5 only"
                    )));
                }
                return Ok(Choice::Token(auth.clone()));
            }
            "KERBEROS" if means.login.is_some() => {
                if auth.mechanism != "GSSAPI" {
                    let mechanism = &auth.mechanism;
                    return Err(SaslError::new(format!(
                        "the server speaks Kerberos by {mechanism:?} instead of GSSAPI"
                    )));
                }
                return Ok(Choice::Kerberos(auth.clone()));
            }
            _ => {}
        }
    }
    match offer.auths.iter().find(|auth| auth.method == "SIMPLE") {
        Some(simple) => Ok(Choice::Simple(Some(simple.clone()))),
        None => Err(no_means(offer, means)),
    }
}

/// Takes the server's entry for no authentication; the server does not answer.
pub(crate) fn take_simple(auth: SaslAuth) -> RpcSasl {
    RpcSasl { auths: vec![auth], ..message(SaslState::Initiate) }
}

fn no_means(offer: &RpcSasl, means: &Means) -> SaslError {
    let methods: Vec<_> = offer.auths.iter().map(|auth| auth.method.as_str()).collect();
    let offered = if methods.is_empty() { "nothing".into() } else { methods.join(" or ") };
    let have = match (&means.token, &means.login) {
        (Some(_), Some(_)) => "a token and a Kerberos login",
        (Some(_), None) => "a token and no Kerberos login",
        (None, Some(_)) => "a Kerberos login and no token for this server",
        (None, None) => "neither a token for this server nor a Kerberos login",
    };
    let remedy = match methods.contains(&"KERBEROS") && means.login.is_none() {
        true => {
            "; set hadoop.security.authentication to kerberos in core-site.xml, and run kinit or use a keytab"
        }
        false => "",
    };
    SaslError::new(format!("the server takes {offered}, and there is {have}{remedy}"))
}

fn state_name(message: &RpcSasl) -> String {
    match SaslState::try_from(message.state) {
        Ok(state) => format!("{state:?}"),
        Err(_) => format!("state {}", message.state),
    }
}

/// What to do next.
pub(crate) enum Step {
    /// Send this and wait for the answer.
    Send(RpcSasl),
    /// Both sides are known; the stream goes on like this.
    Finished(Layer),
}

/// An authentication under way, from INITIATE on.
pub(crate) struct Negotiation {
    auth: SaslAuth,
    mechanism: Mechanism,
}

enum Mechanism {
    Digest { token: Token, protections: Vec<Protection>, expected: Option<digest::Expected> },
    Gssapi(gssapi::Session),
}

impl Negotiation {
    /// Begins with a token.
    pub(crate) fn token(auth: SaslAuth, token: Token, protections: &[Protection]) -> Negotiation {
        let mechanism = Mechanism::Digest { token, protections: protections.to_vec(), expected: None };
        Negotiation { auth, mechanism }
    }

    /// Begins with a ticket for `target`. Blocks while tickets are got.
    ///
    /// # Errors
    /// There is no usable login.
    pub(crate) fn kerberos(
        auth: SaslAuth,
        login: &Login,
        target: &Target,
        protections: &[Protection],
    ) -> Result<Negotiation, SaslError> {
        let session = gssapi::Session::new(login, target, protections)?;
        Ok(Negotiation { auth, mechanism: Mechanism::Gssapi(session) })
    }

    /// The INITIATE message. May block under Kerberos, see [`Negotiation::blocks`].
    ///
    /// # Errors
    /// The server's challenge is unusable, or Kerberos has no ticket.
    pub(crate) fn initiate(&mut self) -> Result<RpcSasl, SaslError> {
        let challenge = self.auth.challenge.take();
        let token = match &mut self.mechanism {
            Mechanism::Digest { .. } => match challenge {
                Some(challenge) => Some(self.answer_challenge(&challenge)?),
                None => None,
            },
            Mechanism::Gssapi(session) => Some(session.step(None)?),
        };
        Ok(RpcSasl { token, auths: vec![self.auth.clone()], ..message(SaslState::Initiate) })
    }

    /// Takes the server's answer to the last message. May block under Kerberos.
    ///
    /// # Errors
    /// The server is not who it should be, or breaks the order.
    pub(crate) fn step(&mut self, received: RpcSasl) -> Result<Step, SaslError> {
        let token = received.token.as_deref().unwrap_or_default();
        match SaslState::try_from(received.state) {
            Ok(SaslState::Challenge) => {
                let answer = match &mut self.mechanism {
                    Mechanism::Digest { expected: None, .. } => self.answer_challenge(token)?,
                    Mechanism::Digest { .. } => {
                        return Err(SaslError::new("the server sends a second challenge"));
                    }
                    Mechanism::Gssapi(session) => session.step(Some(token))?,
                };
                Ok(Step::Send(RpcSasl { token: Some(answer), ..message(SaslState::Response) }))
            }
            Ok(SaslState::Success) => match &mut self.mechanism {
                Mechanism::Digest { expected, .. } => {
                    let expected = expected.take().ok_or_else(too_early)?;
                    Ok(Step::Finished(expected.verify(token)?))
                }
                Mechanism::Gssapi(session) => session.finish(&received).map(Step::Finished),
            },
            _ => Err(SaslError::new(format!("the server sends {} in the middle", state_name(&received)))),
        }
    }

    /// Whether steps call into Kerberos and so may wait for its servers.
    pub(crate) fn blocks(&self) -> bool {
        matches!(self.mechanism, Mechanism::Gssapi(_))
    }

    fn answer_challenge(&mut self, challenge: &[u8]) -> Result<Vec<u8>, SaslError> {
        let Mechanism::Digest { token, protections, expected } = &mut self.mechanism else {
            return Err(SaslError::new("the server sends a challenge with its offer of Kerberos"));
        };
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce)
            .map_err(|error| SaslError::new(format!("the system has no randomness: {error}")))?;
        let service = digest::Service { protocol: self.auth.protocol(), server_id: self.auth.server_id() };
        let nonce = BASE64_STANDARD.encode(nonce);
        let answer = digest::answer(challenge, token, &service, protections, &nonce)?;
        *expected = Some(answer.expected);
        Ok(answer.message)
    }
}

fn too_early() -> SaslError {
    SaslError::new("the server claims success before it has proved who it is")
}

/// Who a login is by Kerberos, and for how long its ticket is good. Blocks while tickets are got.
///
/// # Errors
/// The login does not work, with the remedy.
pub(crate) fn identify(login: &Login) -> Result<(String, Duration), SaslError> {
    gssapi::identify(login)
}

/// The realm of principals that name none.
///
/// # Errors
/// There is none, with the remedy.
pub(crate) fn default_realm() -> Result<String, SaslError> {
    gssapi::default_realm()
}

/// Which service a ticket is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A whole principal, `nn/host@REALM`.
    Principal(String),
    /// A service on a host, `nn@host`, whose realm Kerberos knows.
    HostBased(String),
}

#[cfg(test)]
mod tests;
