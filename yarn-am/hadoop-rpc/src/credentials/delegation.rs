//! What the identifier of a delegation token of HDFS says: whose it is, who may renew it, when it ends.

use super::Token;
use super::writable::Input;

/// The kind of HDFS's delegation tokens.
pub const HDFS_DELEGATION_TOKEN: &str = "HDFS_DELEGATION_TOKEN";

/// A delegation token, as its identifier describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationToken {
    /// The principal or name of whoever it stands for.
    pub owner: String,
    /// Who may renew it: a short name; empty: nobody.
    pub renewer: String,
    /// Who got it for the owner; empty: the owner.
    pub real_user: String,
    /// When it was issued, in milliseconds since the epoch.
    pub issued: u64,
    /// When it ends at the latest, however often it is renewed, in milliseconds since the epoch.
    pub ends: u64,
}

impl DelegationToken {
    /// What a token's identifier says; none if it is not one of HDFS, or of a form that is not known.
    ///
    /// ```
    /// use hadoop_rpc::credentials::{DelegationToken, Token};
    ///
    /// let mut token = Token { kind: "HDFS_DELEGATION_TOKEN".into(), service: "h:1".into(), identifier: vec![0], password: vec![] };
    /// assert_eq!(DelegationToken::of(&token), None);
    /// token.identifier.extend(b"\x05alice\x04yarn\x00\x01\x02\x03\x04");
    /// assert_eq!(DelegationToken::of(&token).map(|token| (token.owner, token.ends)), Some(("alice".to_owned(), 2)));
    /// ```
    pub fn of(token: &Token) -> Option<Self> {
        if token.kind != HDFS_DELEGATION_TOKEN {
            return None;
        }
        let mut input = Input(&token.identifier);
        if input.take(1).ok()? != [0] {
            return None;
        }
        let (owner, renewer, real_user) = (input.text().ok()?, input.text().ok()?, input.text().ok()?);
        let mut time = || u64::try_from(input.number().ok()?).ok();
        Some(Self { owner, renewer, real_user, issued: time()?, ends: time()? })
    }
}
