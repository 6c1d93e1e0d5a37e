//! Election inside one process: candidates lead in the order in which they contend. For tests, and for several JobManagers in one
//! process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flott_core::ids::LeaderSessionId;
use tokio::sync::watch;

use super::store::MemoryPointers;
use super::{
    Candidate, Epoch, LeaderElection, LeaderInfo, LeaderRetrieval, Leadership, StoreError, Term, Waiting,
};

/// What the candidates of a process share.
#[derive(Clone, Default)]
pub struct EmbeddedElection {
    shared: Arc<Mutex<Shared>>,
    leader: Arc<watch::Sender<Option<LeaderInfo>>>,
    /// This candidate.
    own: Arc<Mutex<Option<u64>>>,
}

#[derive(Default)]
struct Shared {
    pointers: MemoryPointers,
    next: u64,
    epoch: u64,
    /// The first of them leads.
    candidates: Vec<(u64, Candidate, watch::Sender<Leadership>)>,
}

impl Shared {
    /// The first candidate leads, if it does not yet.
    fn grant(&mut self) {
        let Some((_, _, leadership)) = self.candidates.first() else { return };
        if leadership.borrow().term().is_none() {
            self.epoch += 1;
            let pointers = self.pointers.next_writer();
            let term = Term {
                session: LeaderSessionId::random(),
                epoch: Epoch(self.epoch),
                pointers: Some(Arc::new(pointers)),
            };
            leadership.send_replace(Leadership::Leader(term));
        }
    }
}

impl EmbeddedElection {
    /// Another candidate in the same election.
    pub fn another(&self) -> Self {
        Self { own: Arc::default(), ..self.clone() }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who leads cannot reach the others any more, or can again.
    pub fn suspend(&self, suspended: bool) {
        if let Some((_, _, leadership)) = self.shared().candidates.first() {
            let term = leadership.borrow().term().cloned();
            if let Some(term) = term {
                let now = if suspended { Leadership::Suspended(term) } else { Leadership::Leader(term) };
                leadership.send_replace(now);
            }
        }
    }

    /// Who leads does so no longer, and contends again behind the others.
    pub fn revoke(&self) {
        let mut shared = self.shared();
        if !shared.candidates.is_empty() {
            let revoked = shared.candidates.remove(0);
            revoked.2.send_replace(Leadership::Standby);
            shared.candidates.push(revoked);
            shared.grant();
        }
    }
}

impl LeaderElection for EmbeddedElection {
    fn contend(&self, candidate: Candidate) -> watch::Receiver<Leadership> {
        let (sender, receiver) = watch::channel(Leadership::Standby);
        let mut shared = self.shared();
        shared.next += 1;
        let number = shared.next;
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(number);
        // A later attempt takes the place of an earlier one.
        let later = |one: &Candidate, other: &Candidate| matches!((&one.attempt, &other.attempt), (Some(one), Some(other)) if one.is_later_than(other));
        shared.candidates.retain(|(_, other, leadership)| {
            let replaced = later(&candidate, other);
            if replaced {
                leadership.send_replace(Leadership::Superseded);
            }
            !replaced
        });
        if shared.candidates.iter().any(|(_, other, _)| later(other, &candidate)) {
            sender.send_replace(Leadership::Superseded);
            return receiver;
        }
        shared.candidates.push((number, candidate, sender));
        shared.grant();
        receiver
    }

    fn confirm<'a>(&'a self, term: &'a Term) -> Waiting<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let shared = self.shared();
            let leading = shared.candidates.first();
            let leads = leading.filter(|(_, _, leadership)| leadership.borrow().term() == Some(term));
            let (_, candidate, _) =
                leads.ok_or_else(|| StoreError::NotLeader("another candidate leads".to_owned()))?;
            self.leader.send_replace(Some(LeaderInfo {
                address: candidate.address.clone(),
                rest_address: candidate.rest_address.clone(),
                session: Some(term.session),
                epoch: term.epoch,
            }));
            Ok(())
        })
    }

    fn resign(&self) -> Waiting<'_, ()> {
        Box::pin(async {
            let own = *self.own.lock().unwrap_or_else(PoisonError::into_inner);
            let mut shared = self.shared();
            shared.candidates.retain(|(number, _, _)| Some(*number) != own);
            shared.grant();
        })
    }
}

impl LeaderRetrieval for EmbeddedElection {
    fn leader(&self) -> watch::Receiver<Option<LeaderInfo>> {
        self.leader.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::high_availability::ApplicationAttempt;

    fn candidate(name: &str, number: u32) -> Candidate {
        let attempt = ApplicationAttempt { application: "application_1".to_owned(), number };
        Candidate {
            address: name.to_owned(),
            rest_address: None,
            attempt: Some(attempt).filter(|_| number > 0),
        }
    }

    #[tokio::test]
    async fn one_leads_after_the_other_and_writes_of_the_former_are_refused() {
        let first = EmbeddedElection::default();
        let second = first.another();
        let (one, other) = (first.contend(candidate("one", 0)), second.contend(candidate("other", 0)));
        let term = one.borrow().term().cloned().unwrap();
        assert!(other.borrow().term().is_none());
        first.confirm(&term).await.unwrap();
        assert_eq!(second.leader().borrow().as_ref().unwrap().address, "one");
        first.suspend(true);
        assert!(matches!(&*one.borrow(), Leadership::Suspended(same) if *same == term));
        let pointers = term.pointers.clone().unwrap();
        pointers.write("job", b"1").unwrap();
        first.revoke();
        let next = other.borrow().term().cloned().unwrap();
        assert!(next.epoch > term.epoch && next.session != term.session);
        assert!(matches!(pointers.write("job", b"2"), Err(StoreError::NotLeader(_))));
        assert!(matches!(first.confirm(&term).await, Err(StoreError::NotLeader(_))));
        assert_eq!(next.pointers.clone().unwrap().read("job").unwrap(), Some(b"1".to_vec()));
        second.resign().await;
        assert!(one.borrow().term().is_some_and(|again| *again != term));
    }

    #[tokio::test]
    async fn a_later_attempt_leads_at_once() {
        let first = EmbeddedElection::default();
        let second = first.another();
        let one = first.contend(candidate("one", 1));
        assert!(one.borrow().term().is_some());
        let two = second.contend(candidate("two", 2));
        assert_eq!(*one.borrow(), Leadership::Superseded);
        assert!(two.borrow().term().is_some());
        // It contends again, being woken up, and nobody else does for the moment.
        let again = first.another().contend(candidate("one", 1));
        assert_eq!(*again.borrow(), Leadership::Superseded);
    }
}
