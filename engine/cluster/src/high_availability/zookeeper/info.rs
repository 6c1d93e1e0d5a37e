//! What stands in the nodes that people look at: lines of `name value`.

use flott_core::ids::LeaderSessionId;

use crate::high_availability::{ApplicationAttempt, Candidate, Epoch, LeaderInfo, Term};

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

/// The content of `leader/info`.
pub(super) fn write_leader(candidate: &Candidate, term: &Term) -> String {
    let rest = candidate.rest_address.as_ref().map(|rest| format!("rest {rest}\n")).unwrap_or_default();
    let attempt = write_attempt(candidate);
    format!(
        "address {}\n{rest}session {}\nepoch {}\n{attempt}",
        candidate.address, term.session, term.epoch.0
    )
}

fn write_attempt(candidate: &Candidate) -> String {
    let text = |of: &ApplicationAttempt| format!("application {}\nattempt {}\n", of.application, of.number);
    candidate.attempt.as_ref().map(text).unwrap_or_default()
}

/// The leader that `leader/info` tells of; none: it is no such text.
pub(super) fn read_leader(bytes: &[u8]) -> Option<LeaderInfo> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(LeaderInfo {
        address: value(text, "address")?.to_owned(),
        rest_address: value(text, "rest").map(str::to_owned),
        session: Some(value(text, "session")?.parse::<LeaderSessionId>().ok()?),
        epoch: Epoch(value(text, "epoch")?.parse().ok()?),
    })
}

/// The data of a latch.
pub(super) fn write_candidate(candidate: &Candidate) -> String {
    format!("address {}\n{}", candidate.address, write_attempt(candidate))
}

/// The attempt that a latch, or the leader's node, tells of.
pub(super) fn read_attempt(bytes: &[u8]) -> Option<ApplicationAttempt> {
    let text = std::str::from_utf8(bytes).ok()?;
    let application = value(text, "application")?.to_owned();
    Some(ApplicationAttempt { application, number: value(text, "attempt")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use flott_fuzz::Decoder;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(rest: bool, number: Option<u32>) {
            let attempt = number.map(|number| ApplicationAttempt { application: "application_1_0007".to_owned(), number });
            let rest_address = rest.then(|| "host:8081".to_owned());
            let candidate = Candidate { address: "host:6123".to_owned(), rest_address, attempt };
            let term = Term { session: LeaderSessionId::random(), epoch: Epoch(7), pointers: None };
            let read = read_leader(write_leader(&candidate, &term).as_bytes()).unwrap();
            prop_assert_eq!((read.address, read.rest_address), (candidate.address.clone(), candidate.rest_address.clone()));
            prop_assert_eq!((read.session, read.epoch), (Some(term.session), term.epoch));
            prop_assert_eq!(&read_attempt(write_candidate(&candidate).as_bytes()), &candidate.attempt);
            prop_assert_eq!(&read_attempt(write_leader(&candidate, &term).as_bytes()), &candidate.attempt);
        }
    }

    #[test]
    fn fuzz_ha_nodes() {
        let candidate = Candidate {
            address: "host:6123".to_owned(),
            rest_address: Some("host:8081".to_owned()),
            attempt: Some(ApplicationAttempt { application: "application_1_0007".to_owned(), number: 3 }),
        };
        let term = Term { session: LeaderSessionId::random(), epoch: Epoch(7), pointers: None };
        Decoder::new("nodes of ZooKeeper")
            .sample(write_leader(&candidate, &term))
            .sample(write_candidate(&candidate))
            .words(&["\n", " ", "epoch", "99999999999999999999"])
            .bytes(|bytes| drop((read_leader(bytes), read_attempt(bytes))));
    }
}
