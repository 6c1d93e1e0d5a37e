//! One JobManager at a fixed address, which always leads.

use flott_core::config::{self, Configuration};
use flott_core::ids::LeaderSessionId;
use tokio::sync::watch;

use super::{
    Candidate, Epoch, LeaderElection, LeaderInfo, LeaderRetrieval, Leadership, StoreError, Term, Waiting,
};

/// Grants leadership to the one candidate there is.
#[derive(Debug, Default)]
pub struct StandaloneElection {
    contended: std::sync::Mutex<Option<watch::Sender<Leadership>>>,
}

impl LeaderElection for StandaloneElection {
    fn contend(&self, _: Candidate) -> watch::Receiver<Leadership> {
        let term = Term { session: LeaderSessionId::random(), epoch: Epoch(0), pointers: None };
        let (sender, receiver) = watch::channel(Leadership::Leader(term));
        *self.contended.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(sender);
        receiver
    }

    fn confirm<'a>(&'a self, _: &'a Term) -> Waiting<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn resign(&self) -> Waiting<'_, ()> {
        Box::pin(async {
            self.contended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        })
    }
}

/// The leader is where the configuration, or the command line, says.
#[derive(Debug)]
pub struct StandaloneRetrieval(watch::Sender<Option<LeaderInfo>>);

impl StandaloneRetrieval {
    /// A leader at `HOST:PORT`.
    pub fn new(address: String) -> Self {
        let info = LeaderInfo { address, rest_address: None, session: None, epoch: Epoch(0) };
        Self(watch::Sender::new(Some(info)))
    }

    /// Where the configuration says.
    pub fn of(configuration: &Configuration) -> Self {
        let host = configuration.get(&config::JOB_MANAGER_ADDRESS);
        Self::new(format!("{host}:{}", configuration.get(&config::JOB_MANAGER_PORT)))
    }
}

impl LeaderRetrieval for StandaloneRetrieval {
    fn leader(&self) -> watch::Receiver<Option<LeaderInfo>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_candidate_leads_at_once() {
        let election = StandaloneElection::default();
        let candidate = Candidate { address: "a:1".to_owned(), rest_address: None, attempt: None };
        let leadership = election.contend(candidate);
        let term = leadership.borrow().term().cloned().unwrap();
        election.confirm(&term).await.unwrap();
        assert!(term.pointers.is_none());
        let retrieval = StandaloneRetrieval::of(&Configuration::new());
        assert_eq!(retrieval.leader().borrow().as_ref().unwrap().address, "localhost:6123");
    }
}
