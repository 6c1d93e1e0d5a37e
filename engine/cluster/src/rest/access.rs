//! Who may read, and who may change something.
//!
//! Two tokens are derived from the cluster's secret: one for reading, one for changes. Neither leads back to the secret, nor from the first
//! to the second. They travel where no proxy or server log keeps them:
//!
//! - `Authorization: Bearer TOKEN`, from tools that talk to the JobManager itself;
//! - `Accept: application/json;flott-token=READ`, for reading through YARN's proxy, which drops `Authorization` and cookies, passes `Accept`
//!   on, and logs addresses with their queries but no headers;
//! - `{"token": "CHANGE"}` in the body of a PUT, for changes through YARN's proxy, which passes on nothing but GET and PUT.
//!
//! A browser sends none of these by itself, so another site's page cannot make it change anything.

use axum::http::{HeaderMap, header};
use flott_core::config::{self, Configuration, ReadAccess};
use flott_runtime::net::handshake::Secret;

use super::error::RestError;

/// What the tokens are derived for.
const READ_PURPOSE: &str = "flott web read";
const CHANGE_PURPOSE: &str = "flott web change";

/// The parameter of `Accept`.
const ACCEPT_PARAMETER: &str = "flott-token=";

/// The tokens of a cluster, for those who know its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct WebTokens {
    /// Lets read.
    pub read: String,
    /// Lets read and change.
    pub change: String,
}

impl WebTokens {
    /// The tokens that follow from a secret.
    pub fn of(secret: &Secret) -> Self {
        Self { read: hex(&secret.derive(READ_PURPOSE)), change: hex(&secret.derive(CHANGE_PURPOSE)) }
    }

    /// The page's address with the tokens in its fragment, which no browser sends to a server. `change`: also the token for changes.
    pub fn url(&self, page: &str, change: bool) -> String {
        let separator = if page.ends_with('/') { "" } else { "/" };
        match change {
            true => format!("{page}{separator}#read={}&token={}", self.read, self.change),
            false => format!("{page}{separator}#read={}", self.read),
        }
    }
}

impl std::fmt::Debug for WebTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebTokens(…)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a token; none if it is none.
fn bytes_of(token: &str) -> Option<[u8; 32]> {
    let digits = token.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let text = std::str::from_utf8(pair).ok().filter(|text| !text.starts_with('+'))?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(bytes)
}

/// Decides who may.
pub(super) struct Access {
    secret: Secret,
    reading: ReadAccess,
}

impl Access {
    pub(super) fn new(configuration: &Configuration, secret: Secret) -> Self {
        Self { secret, reading: configuration.get(&config::REST_READ_ACCESS) }
    }

    /// Whether `token` lets read, or change. In constant time.
    fn lets(&self, token: &str, purposes: &[&str]) -> bool {
        let Some(bytes) = bytes_of(token) else { return false };
        purposes.iter().fold(false, |found, purpose| self.secret.is_derived(purpose, &bytes) | found)
    }

    /// Whether who sends these headers may read.
    pub(super) fn read(&self, headers: &HeaderMap) -> Result<(), RestError> {
        if self.reading == ReadAccess::Open {
            return Ok(());
        }
        let mut tokens = bearer(headers).into_iter().chain(accepted(headers));
        match tokens.any(|token| self.lets(token, &[READ_PURPOSE, CHANGE_PURPOSE])) {
            true => Ok(()),
            false => Err(RestError::unauthorized(
                "this needs the read token: open the address that 'flott web' prints, send 'Authorization: Bearer TOKEN', or set rest.read-access: open",
            )),
        }
    }

    /// Whether who sends these headers, and this token in the body, may change something.
    pub(super) fn change(&self, headers: &HeaderMap, in_body: Option<&str>) -> Result<(), RestError> {
        let mut tokens = bearer(headers).into_iter().chain(in_body);
        match tokens.any(|token| self.lets(token, &[CHANGE_PURPOSE])) {
            true => Ok(()),
            false => Err(RestError::unauthorized(
                "changes need the token for changes: open the address that 'flott web' prints, send 'Authorization: Bearer TOKEN', or a PUT with the body {\"token\": …}",
            )),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn accepted(headers: &HeaderMap) -> Option<&str> {
    let parts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    parts
        .flat_map(|value| value.split([',', ';']))
        .find_map(|part| part.trim().strip_prefix(ACCEPT_PARAMETER))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn each_token_lets_do_what_it_is_for() {
        let secret = Secret::from_bytes(&[7; 32]).unwrap();
        let WebTokens { read, change } = WebTokens::of(&secret);
        assert_ne!(read, change);
        let access = Access::new(&Configuration::new(), secret);
        let none = HeaderMap::new();
        assert_eq!(access.read(&none).unwrap_err().status, 401);
        for token in [&read, &change] {
            access.read(&headers(header::AUTHORIZATION, &format!("Bearer {token}"))).unwrap();
            let accept = format!("text/plain, application/json;q=1;flott-token={token}");
            access.read(&headers(header::ACCEPT, &accept)).unwrap();
        }
        access.change(&none, Some(&change)).unwrap();
        access.change(&headers(header::AUTHORIZATION, &format!("bearer {change}")), None).unwrap();
        assert!(access.change(&none, Some(&read)).is_err());
        // Not where other sites, or a log, could put it.
        assert!(access.change(&headers(header::ACCEPT, &format!("*/*;flott-token={change}")), None).is_err());
        for garbage in ["", "x", &"z".repeat(64), &"+1".repeat(32), &"ü".repeat(32), &"0".repeat(64)] {
            assert!(access.change(&none, Some(garbage)).is_err(), "{garbage}");
        }
    }

    #[test]
    fn reading_can_be_open_and_changes_cannot() {
        let mut configuration = Configuration::new();
        configuration.set("rest.read-access", "open").unwrap();
        let access = Access::new(&configuration, Secret::from_bytes(&[7; 32]).unwrap());
        access.read(&HeaderMap::new()).unwrap();
        assert!(access.change(&HeaderMap::new(), None).is_err());
    }

    #[test]
    fn the_address_has_the_tokens_in_its_fragment() {
        let tokens = WebTokens { read: "r".to_owned(), change: "c".to_owned() };
        assert_eq!(tokens.url("http://h:1", true), "http://h:1/#read=r&token=c");
        assert_eq!(tokens.url("http://h:1/proxy/a/", false), "http://h:1/proxy/a/#read=r");
        assert_eq!(format!("{tokens:?}"), "WebTokens(…)");
    }
}
