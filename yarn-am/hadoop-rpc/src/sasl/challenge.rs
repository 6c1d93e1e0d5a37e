//! The text of DIGEST-MD5's challenges and answers: `name=value` or `name="value"`, separated by commas.

/// What a server's first DIGEST-MD5 message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    pub realm: String,
    pub nonce: String,
    /// Protections the server offers; `auth` if it does not say.
    pub qop: Vec<String>,
    /// Ciphers it offers for `auth-conf`.
    pub ciphers: Vec<String>,
    /// The largest wrapped message it takes, in bytes.
    pub max_buffer: usize,
}

/// A challenge longer than this is none (RFC 2831).
const MAX_LENGTH: usize = 2048;

impl Challenge {
    /// Reads a challenge.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Challenge, String> {
        let pairs = pairs(bytes)?;
        let all = |name: &'static str| {
            pairs.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let one = |name: &'static str| match (all(name).next(), all(name).nth(1)) {
            (Some(value), None) => Ok(Some(value.as_str())),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(format!("its {name} is there twice")),
        };
        let list = |name: &'static str| Ok::<_, String>(one(name)?.map(words).unwrap_or_default());
        match one("algorithm")? {
            Some(algorithm) if algorithm.eq_ignore_ascii_case("md5-sess") => {}
            other => return Err(format!("its algorithm is {}, not md5-sess", other.unwrap_or("missing"))),
        }
        let mut qop = list("qop")?;
        if qop.is_empty() {
            qop.push("auth".into());
        }
        let nonce = one("nonce")?.filter(|nonce| !nonce.is_empty()).ok_or("it has no nonce")?.to_owned();
        let max_buffer = match one("maxbuf")? {
            None => 65_536,
            Some(text) => match text.parse::<usize>() {
                Ok(size @ 64..=0xFF_FFFF) => size,
                _ => return Err(format!("its maxbuf is {text:?}, not a number from 64 to 16777215")),
            },
        };
        let realm = all("realm").next().cloned().unwrap_or_default();
        Ok(Challenge { realm, nonce, qop, ciphers: list("cipher")?, max_buffer })
    }
}

/// Reads the proof that the server, too, knows the password.
///
/// # Errors
/// What came instead.
pub(super) fn response_auth(bytes: &[u8]) -> Result<String, String> {
    let proof = pairs(bytes)?.into_iter().find(|(name, _)| name == "rspauth");
    proof.map(|(_, value)| value).ok_or_else(|| "its last message holds no rspauth".into())
}

/// A value in quotes, as the grammar wants them.
pub(super) fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn words(value: &str) -> Vec<String> {
    value.split(',').map(|word| word.trim().to_ascii_lowercase()).filter(|word| !word.is_empty()).collect()
}

fn pairs(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    if bytes.len() > MAX_LENGTH {
        return Err(format!("it has {} bytes, more than {MAX_LENGTH}", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut rest = text.trim_start_matches(is_separator);
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| format!("{rest:?} has no '='"))?;
        let (value, after) = value(after)?;
        pairs.push((name.trim().to_ascii_lowercase(), value));
        if !after.is_empty() && !after.starts_with(is_separator) {
            return Err(format!("no comma before {after:?}"));
        }
        rest = after.trim_start_matches(is_separator);
    }
    Ok(pairs)
}

fn is_separator(c: char) -> bool {
    c == ',' || c.is_ascii_whitespace()
}

/// Reads one value and returns what follows it.
fn value(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(is_separator).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    Err("a quote is not closed".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_fuzz::Decoder;
    use proptest::prelude::*;

    #[test]
    fn a_challenge_of_hadoop_is_read() {
        let text = br#"realm="default",nonce="a\"b",qop="auth-conf, auth",charset=utf-8,cipher="3des,rc4",algorithm=md5-sess"#;
        let challenge = Challenge::parse(text).unwrap();
        assert_eq!((challenge.realm.as_str(), challenge.nonce.as_str()), ("default", "a\"b"));
        assert_eq!(challenge.qop, ["auth-conf", "auth"]);
        assert_eq!(challenge.ciphers, ["3des", "rc4"]);
        assert_eq!(challenge.max_buffer, 65_536);
    }

    #[test]
    fn what_is_no_challenge_says_why() {
        let error = |text: &str| Challenge::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error(r#"nonce="x",algorithm=md5"#), "its algorithm is md5, not md5-sess");
        assert_eq!(error(r#"nonce="x""#), "its algorithm is missing, not md5-sess");
        assert_eq!(error("algorithm=md5-sess"), "it has no nonce");
        assert_eq!(error(r#"nonce="x",nonce="y",algorithm=md5-sess"#), "its nonce is there twice");
        assert_eq!(error(r#"nonce="x"#), "a quote is not closed");
        assert_eq!(error("nonce"), "\"nonce\" has no '='");
        assert_eq!(error(r#"nonce="x"y=1"#), "no comma before \"y=1\"");
        assert!(error("algorithm=md5-sess,nonce=x,maxbuf=99999999999").contains("maxbuf"));
        assert!(error(&"a".repeat(3000)).contains("3000 bytes"));
    }

    #[test]
    fn fuzz_sasl_challenges() {
        let text = r#"realm="default",nonce="a\"b",qop="auth-conf, auth",charset=utf-8,cipher="3des,rc4",algorithm=md5-sess,maxbuf=65536"#;
        Decoder::new("challenges and proofs of DIGEST-MD5")
            .sample(text)
            .sample("rspauth=687adca9361698eaf1cd58a90498bc93")
            .words(&["\"", "\\", "=", ",", "nonce", "realm=", "maxbuf=", "99999999999999999999", " "])
            .bytes(|bytes| drop((Challenge::parse(bytes), response_auth(bytes))));
    }

    proptest! {
        #[test]
        fn a_quoted_value_comes_back(value in "\\PC{0,40}") {
            let text = format!("rspauth={}", quoted(&value));
            prop_assert_eq!(response_auth(text.as_bytes()).unwrap(), value);
        }
    }
}
