//! Kerberos by the system's GSSAPI (RFC 4752): a context with a service, then an agreement on how the stream is protected.
//!
//! Calls read files and may ask the KDC, so they run on threads where blocking is allowed. What Kerberos says in its own terms is
//! followed by what it means and what to do.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libgssapi::context::{ClientCtx, CtxFlags, SecurityContext};
use libgssapi::credential::{Cred, CredUsage};
use libgssapi::error::Error;
use libgssapi::name::Name;
use libgssapi::oid::{GSS_MECH_KRB5, GSS_NT_HOSTBASED_SERVICE, GSS_NT_KRB5_PRINCIPAL, OidSet};

use super::layer::{Layer, Open, Seal};
use super::{Protection, SaslError, Target, store, too_early};
use crate::proto::common::RpcSasl;
use crate::user::Login;

/// One authentication by Kerberos.
pub(super) struct Session {
    context: Context,
    state: State,
    target: Target,
    protections: Vec<Protection>,
}

/// Shared by the two directions of the stream. No call under the lock waits for anything once the context stands.
type Context = Arc<Mutex<ClientCtx>>;

#[derive(Clone, Copy)]
enum State {
    /// Exchanging the context's tokens.
    Context,
    /// The context stands; the server's offer of protections comes next.
    Offer,
    /// Agreed: the protection, and the largest wrapped message the server takes.
    Agreed(Protection, usize),
}

/// What wrapping adds at most, with room to spare.
const OVERHEAD: usize = 256;

impl Session {
    /// Gets credentials for a login.
    ///
    /// # Errors
    /// There are none, with the remedy.
    pub(super) fn new(
        login: &Login,
        target: &Target,
        protections: &[Protection],
    ) -> Result<Session, SaslError> {
        let credentials = credentials(login)?;
        let (text, kind) = match target {
            Target::Principal(name) => (name, GSS_NT_KRB5_PRINCIPAL),
            Target::HostBased(name) => (name, GSS_NT_HOSTBASED_SERVICE),
        };
        let name =
            Name::new(text.as_bytes(), Some(kind)).map_err(|error| explain(error, login, Some(target)))?;
        let mut flags = CtxFlags::GSS_C_MUTUAL_FLAG
            | CtxFlags::GSS_C_INTEG_FLAG
            | CtxFlags::GSS_C_SEQUENCE_FLAG
            | CtxFlags::GSS_C_REPLAY_FLAG;
        if protections.contains(&Protection::Privacy) {
            flags |= CtxFlags::GSS_C_CONF_FLAG;
        }
        let context = ClientCtx::new(Some(credentials), name, flags, Some(GSS_MECH_KRB5));
        Ok(Session {
            context: Arc::new(Mutex::new(context)),
            state: State::Context,
            target: target.clone(),
            protections: protections.to_vec(),
        })
    }

    /// Answers the server's message; the first has none.
    pub(super) fn step(&mut self, received: Option<&[u8]>) -> Result<Vec<u8>, SaslError> {
        let mut context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error| explain_service(error, &self.target);
        match self.state {
            State::Context => {
                let answer = context.step(received, None).map_err(failed)?;
                if context.is_complete() {
                    let flags = context.flags().map_err(failed)?;
                    if !flags.contains(CtxFlags::GSS_C_MUTUAL_FLAG) {
                        return Err(SaslError::new("the server does not prove who it is"));
                    }
                    self.state = State::Offer;
                }
                Ok(answer.map(|token| token.to_vec()).unwrap_or_default())
            }
            State::Offer => {
                let offer = context.unwrap(received.unwrap_or_default()).map_err(failed)?;
                let Offer { protections, max_size } = Offer::parse(&offer)?;
                let agreed =
                    self.protections.iter().find(|protection| protections.contains(protection)).copied();
                let agreed = agreed.ok_or_else(|| {
                    let offered: Vec<_> = protections.iter().map(|protection| protection.qop()).collect();
                    SaslError::protection(&offered.join(", "), &self.protections)
                })?;
                // Without a layer there is no wrapped message to bound.
                let ours: [u8; 3] = if agreed == Protection::Authentication { [0; 3] } else { [0xFF; 3] };
                let choice = [bit(agreed), ours[0], ours[1], ours[2]];
                let answer = context.wrap(false, &choice).map_err(failed)?;
                self.state = State::Agreed(agreed, max_size);
                Ok(answer.to_vec())
            }
            State::Agreed(..) => Err(SaslError::new("the server goes on after everything is agreed")),
        }
    }

    /// What protects the stream after the server's success.
    pub(super) fn finish(&mut self, received: &RpcSasl) -> Result<Layer, SaslError> {
        let State::Agreed(protection, max_size) = self.state else {
            return Err(too_early());
        };
        if received.token.as_ref().is_some_and(|token| !token.is_empty()) {
            return Err(SaslError::new("the server goes on after everything is agreed"));
        }
        let encrypt = match protection {
            Protection::Authentication => return Ok(Layer::None),
            Protection::Integrity => false,
            Protection::Privacy => true,
        };
        Ok(Layer::Wrapped {
            seal: Box::new(GssSeal { context: Arc::clone(&self.context), encrypt }),
            open: Box::new(GssOpen { context: Arc::clone(&self.context) }),
            piece: max_size.saturating_sub(OVERHEAD).max(1),
        })
    }
}

/// The server's offer: a bit for each protection, and the largest wrapped message it takes.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    protections: Vec<Protection>,
    max_size: usize,
}

impl Offer {
    fn parse(bytes: &[u8]) -> Result<Offer, SaslError> {
        let [bits, size @ ..] = bytes else {
            return Err(SaslError::new("the server offers no protection"));
        };
        let [high, middle, low] = size else {
            return Err(SaslError::new(format!(
                "the server's offer of protections has {} bytes, not 4",
                bytes.len()
            )));
        };
        let all = [Protection::Authentication, Protection::Integrity, Protection::Privacy];
        let protections = all.into_iter().filter(|protection| bits & bit(*protection) != 0).collect();
        Ok(Offer { protections, max_size: u32::from_be_bytes([0, *high, *middle, *low]) as usize })
    }
}

fn bit(protection: Protection) -> u8 {
    match protection {
        Protection::Authentication => 1,
        Protection::Integrity => 2,
        Protection::Privacy => 4,
    }
}

struct GssSeal {
    context: Context,
    encrypt: bool,
}

impl Seal for GssSeal {
    fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, String> {
        let mut context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        context.wrap(self.encrypt, plain).map(|wrapped| wrapped.to_vec()).map_err(text)
    }
}

struct GssOpen {
    context: Context,
}

impl Open for GssOpen {
    fn open(&mut self, wrapped: &[u8]) -> Result<Vec<u8>, String> {
        let mut context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        context.unwrap(wrapped).map(|plain| plain.to_vec()).map_err(text)
    }
}

fn credentials(login: &Login) -> Result<Cred, SaslError> {
    let failed = |error| explain(error, login, None);
    match login {
        Login::Simple { .. } => Err(SaslError::new("the user has no Kerberos login")),
        Login::Keytab { principal, keytab } => {
            // Kerberos says little about a file it cannot open.
            File::open(keytab).map_err(|error| {
                SaslError::new(format!("the keytab {} cannot be read: {error}", keytab.display()))
            })?;
            store::from_keytab(principal, keytab).map_err(failed)
        }
        Login::TicketCache { principal } => {
            if let Some(cache) = std::env::var("KRB5CCNAME").ok().filter(|cache| is_file(cache)) {
                return store::from_cache(principal.as_deref(), cache).map_err(failed);
            }
            let name = match principal {
                Some(principal) => {
                    Some(Name::new(principal.as_bytes(), Some(GSS_NT_KRB5_PRINCIPAL)).map_err(failed)?)
                }
                None => None,
            };
            let mut mechanisms = OidSet::new();
            mechanisms.add(GSS_MECH_KRB5).map_err(failed)?;
            Cred::acquire(name.as_ref(), None, CredUsage::Initiate, Some(&mechanisms)).map_err(failed)
        }
    }
}

/// Who a login is, and for how long its ticket is good. Gets a ticket if it has to.
///
/// # Errors
/// The login does not work, with the remedy.
pub(super) fn identify(login: &Login) -> Result<(String, Duration), SaslError> {
    let failed = |error| explain(error, login, None);
    let credentials = credentials(login)?;
    let info = credentials.info().map_err(failed)?;
    let name = info.name.display_name().map_err(failed)?;
    if info.lifetime.is_zero() {
        return Err(SaslError::new("the ticket has expired: run kinit again, or use a keytab"));
    }
    Ok((String::from_utf8_lossy(&name).into_owned(), info.lifetime))
}

/// The realm of principals that name none.
///
/// # Errors
/// There is none.
pub(super) fn default_realm() -> Result<String, SaslError> {
    let failed = |error: Error| {
        let remedy = common_remedy(&error).unwrap_or_else(|| "there is no default realm".into());
        SaslError::new(format!("{remedy} ({})", text(error)))
    };
    let name = Name::new(b"realm", Some(GSS_NT_KRB5_PRINCIPAL)).map_err(failed)?;
    let whole =
        name.canonicalize(Some(GSS_MECH_KRB5)).and_then(|name| name.display_name()).map_err(failed)?;
    let whole = String::from_utf8_lossy(&whole);
    Ok(whole.rsplit_once('@').map_or_else(String::new, |(_, realm)| realm.to_owned()))
}

/// Whether a ticket cache's name is that of a file, and not of a collection (`DIR:`, `KEYRING:`, `KCM:`) in which Kerberos chooses.
fn is_file(cache: &str) -> bool {
    cache.starts_with("FILE:") || cache.starts_with('/')
}

/// Kerberos' own words.
fn text(error: Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What went wrong with a login, and what to do.
fn explain(error: Error, login: &Login, target: Option<&Target>) -> SaslError {
    let remedy = match (login, code(&error)) {
        (_, NO_REALM | KDC_UNREACHABLE | CLOCK_SKEW) => common_remedy(&error),
        (Login::Keytab { principal, keytab }, code) => Some(match code {
            // Where no key fits, the library goes on to look for a ticket, and says that there is none.
            KEYTAB_EMPTY | KEYTAB_NO_MATCH | KEYTAB_NO_KEY | NO_CACHE | EMPTY_CACHE | CACHE_NO_MATCH => {
                format!(
                    "the keytab {} has no key of {principal}: klist -k shows whose it has",
                    keytab.display()
                )
            }
            CLIENT_UNKNOWN => {
                format!("Kerberos does not know {principal}: is it spelled right, with its realm?")
            }
            WRONG_KEY => {
                format!("the key in {} is no longer that of {principal}: get a new keytab", keytab.display())
            }
            _ => format!("{principal} cannot log in with {}", keytab.display()),
        }),
        (Login::TicketCache { .. }, NO_CACHE | EMPTY_CACHE | CACHE_NO_MATCH | NO_CREDENTIALS) => {
            Some("there is no ticket: run kinit, or use a keytab".into())
        }
        (_, EXPIRED | GSS_EXPIRED) => Some("the ticket has expired: run kinit again, or use a keytab".into()),
        _ => None,
    };
    match (remedy, target) {
        (Some(remedy), _) => SaslError::new(format!("{remedy} ({})", text(error))),
        (None, Some(target)) => explain_service(error, target),
        (None, None) => SaslError::new(format!("Kerberos: {}", text(error))),
    }
}

/// What went wrong with a service, and what to do.
fn explain_service(error: Error, target: &Target) -> SaslError {
    let (Target::Principal(name) | Target::HostBased(name)) = target;
    let remedy = match code(&error) {
        EXPIRED | GSS_EXPIRED => Some("the ticket has expired: run kinit again, or use a keytab".into()),
        SERVER_UNKNOWN => {
            Some(format!("Kerberos does not know the service {name}: is its principal configured right?"))
        }
        MODIFIED => {
            Some(format!("the server does not have the key of {name}: another server, or an old key"))
        }
        NO_CACHE | EMPTY_CACHE | NO_CREDENTIALS => {
            Some("there is no ticket: run kinit, or use a keytab".into())
        }
        _ => common_remedy(&error),
    };
    match remedy {
        Some(remedy) => SaslError::new(format!("{remedy} ({})", text(error))),
        None => SaslError::new(format!("Kerberos, for the service {name}: {}", text(error))),
    }
}

fn common_remedy(error: &Error) -> Option<String> {
    match code(error) {
        NO_REALM => Some("the realm is not in krb5.conf: is KRB5_CONFIG right?".into()),
        KDC_UNREACHABLE => {
            Some("no KDC of the realm can be reached: is krb5.conf right, and the KDC up?".into())
        }
        CLOCK_SKEW => Some("this machine's clock and the KDC's are too far apart: set it".into()),
        _ => None,
    }
}

/// Kerberos' error code, or where it has none GSSAPI's.
fn code(error: &Error) -> i64 {
    let major = i64::from(error.major.bits());
    match error.minor as i32 {
        // Whatever the mechanism has to add.
        _ if major == GSS_EXPIRED => GSS_EXPIRED,
        0 => major,
        minor => i64::from(minor),
    }
}

// Codes of the Kerberos library (krb5.h), of its GSSAPI mechanism, and of GSSAPI itself (RFC 2744).
const CLIENT_UNKNOWN: i64 = -1_765_328_378;
const SERVER_UNKNOWN: i64 = -1_765_328_377;
const WRONG_KEY: i64 = -1_765_328_360;
const MODIFIED: i64 = -1_765_328_343;
const EXPIRED: i64 = -1_765_328_352;
const CLOCK_SKEW: i64 = -1_765_328_347;
const NO_REALM: i64 = -1_765_328_230;
const KDC_UNREACHABLE: i64 = -1_765_328_228;
const CACHE_NO_MATCH: i64 = -1_765_328_243;
const NO_CACHE: i64 = -1_765_328_189;
const KEYTAB_NO_KEY: i64 = -1_765_328_203;
const KEYTAB_NO_MATCH: i64 = 39_756_039;
const EMPTY_CACHE: i64 = 39_756_044;
const KEYTAB_EMPTY: i64 = -1_765_328_202;
const NO_CREDENTIALS: i64 = 7 << 16;
const GSS_EXPIRED: i64 = 11 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use flott_fuzz::Decoder;

    #[test]
    fn an_offer_is_bits_and_a_size() {
        let offer = Offer::parse(&[5, 1, 0, 2]).unwrap();
        assert_eq!(offer.protections, [Protection::Authentication, Protection::Privacy]);
        assert_eq!(offer.max_size, 65_538);
        assert!(Offer::parse(&[]).is_err() && Offer::parse(&[1, 2, 3]).is_err());
    }

    #[test]
    fn a_keytab_that_is_not_there_is_named() {
        let login = Login::Keytab { principal: "alice@R".into(), keytab: "/none/alice.keytab".into() };
        let error = Session::new(&login, &Target::HostBased("nn@h".into()), &[]).err().unwrap().to_string();
        assert_eq!(
            error,
            "the keytab /none/alice.keytab cannot be read: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn fuzz_sasl_offers() {
        Decoder::new("offers of GSSAPI")
            .sample([5, 1, 0, 2])
            .bytes(|bytes| assert_eq!(Offer::parse(bytes).is_ok(), bytes.len() == 4));
    }
}
