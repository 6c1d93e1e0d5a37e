//! What YARN does not want to hear, and when that counts: an attempt that it does not know any more, and what it rejects of what it is told. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use hadoop_rpc::{RemoteException, RpcError};
use tokio::time::Instant;

use super::container_pool::{Ask, Request};
use super::registration::REFUSED_PATIENCE;

/// When YARN fails so long at what it is told, it is not told that again. A refusal that says what it is about counts at once.
const REJECTED_PATIENCE: Duration = Duration::from_secs(5);

/// Whether YARN has understood a request and does not want it.
pub(super) fn is_refusal(error: &RpcError) -> bool {
    error.exception() == Some(RemoteException::InvalidResourceRequest)
}

/// Since when YARN has failed at what it is told.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    since: Option<Instant>,
}

impl Rejected {
    /// Whether this failure, after those before it, means that YARN does not take what it was told.
    pub(super) fn note(&mut self, error: &RpcError, now: Instant) -> bool {
        if !matches!(error.root(), RpcError::Remote { .. }) {
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let rejected = is_refusal(error) || now.duration_since(since) >= REJECTED_PATIENCE;
        if rejected {
            self.since = None;
        }
        rejected
    }
}

/// What is said next of what YARN has rejected: the rest without its requests, and then nothing of it. Unless it has `understood` them, it may have
/// taken them before it failed; so they are taken back.
pub(super) fn rest_of(ask: Ask, understood: bool) -> Option<Ask> {
    if ask.requests.is_empty() {
        return None;
    }
    let made = ask.requests.into_iter().filter(|request| request.containers > 0 && !understood);
    let requests = made.map(|Request { id, .. }| Request { id, containers: 0 }).collect();
    Some(Ask { requests, places: BTreeMap::new(), ..ask })
}

/// Since when YARN has not known this attempt any more.
#[derive(Debug, Default)]
pub(super) struct Refused {
    since: Option<Instant>,
}

impl Refused {
    /// What came of a call. True: YARN has begun another attempt, or ended the application, as its refusals for so long say.
    pub(super) fn note(&mut self, error: Option<&RpcError>, now: Instant) -> bool {
        match error.map(RpcError::root) {
            Some(RpcError::Authentication { class: Some(_), .. }) => {
                now.duration_since(*self.since.get_or_insert(now)) >= REFUSED_PATIENCE
            }
            // It was not reached: it may still refuse.
            Some(error) if error.exception().is_none() => false,
            _ => {
                self.since = None;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_whose_token_is_refused_for_long_is_over() {
        let refusal = |class: Option<&str>| RpcError::Authentication {
            server: "rm:8030".to_owned(),
            reason: "not found in AMRMTokenSecretManager".to_owned(),
            class: class.map(str::to_owned),
        };
        let by_server = refusal(Some("org.apache.hadoop.security.token.SecretManager$InvalidToken"));
        let away = RpcError::Connect { address: "rm:8030".to_owned(), reason: "refused".to_owned() };
        let begin = Instant::now();
        let mut refused = Refused::default();
        assert!(!refused.note(Some(&by_server), begin));
        assert!(!refused.note(Some(&away), begin + REFUSED_PATIENCE), "nobody was there to refuse");
        assert!(refused.note(Some(&by_server), begin + REFUSED_PATIENCE));
        // A ResourceManager that had just been started knows it by now.
        assert!(!refused.note(None, begin + REFUSED_PATIENCE));
        assert!(!refused.note(Some(&by_server), begin + REFUSED_PATIENCE));
        // What this side does not like is no refusal.
        assert!(!refused.note(Some(&refusal(None)), begin + 3 * REFUSED_PATIENCE));
    }

    fn remote(class: &str) -> RpcError {
        RpcError::Remote {
            server: "rm:8030".to_owned(),
            call: "allocate".to_owned(),
            class: class.to_owned(),
            message: "no".to_owned(),
        }
    }

    #[test]
    fn nothing_is_said_for_ever_to_a_resource_manager_that_fails_at_it() {
        let begin = Instant::now();
        let mut rejected = Rejected::default();
        let label = remote("org.apache.hadoop.yarn.exceptions.InvalidLabelResourceRequestException");
        assert!(rejected.note(&label, begin));
        let broken = remote("java.lang.NullPointerException");
        assert!(!rejected.note(&broken, begin));
        assert!(!rejected.note(&broken, begin + REJECTED_PATIENCE / 2));
        let away = RpcError::Connect { address: "rm:8030".to_owned(), reason: "refused".to_owned() };
        assert!(!rejected.note(&away, begin + REJECTED_PATIENCE));
        assert!(rejected.note(&broken, begin + REJECTED_PATIENCE));
        // What is said then has as long.
        assert!(!rejected.note(&broken, begin + REJECTED_PATIENCE));
    }

    #[test]
    fn of_what_is_rejected_the_requests_go_first() {
        let request = |id, containers| Request { id, containers };
        let ask = |requests: &[Request]| Ask {
            requests: requests.to_vec(),
            places: BTreeMap::from([(7, [("a".to_owned(), 1)].into())]),
            release: vec!["c1".to_owned()],
            avoid: vec!["bad".to_owned()],
            ..Ask::default()
        };
        let without = |requests: &[Request]| Ask { places: BTreeMap::new(), ..ask(requests) };
        assert_eq!(rest_of(ask(&[request(7, 2)]), true), Some(without(&[])));
        // It may have taken those before it failed.
        assert_eq!(rest_of(ask(&[request(7, 2)]), false), Some(without(&[request(7, 0)])));
        assert_eq!(rest_of(without(&[request(7, 0)]), false), Some(without(&[])));
        assert_eq!(rest_of(without(&[]), false), None);
    }
}
