//! Leads while it is granted, and steps down when it is not any more.

use std::sync::Arc;

use tokio::sync::watch;

use super::JobManagerError;
use super::jobs::Jobs;
use super::task_managers::TaskManagers;
use crate::high_availability::{LeaderElection, Leadership, StoreError, Term};

/// What follows from leadership.
pub(super) struct Leader<'a> {
    pub(super) jobs: &'a Arc<Jobs>,
    pub(super) task_managers: &'a TaskManagers,
    /// Without a term nobody is served.
    pub(super) leading: &'a watch::Sender<Option<Term>>,
}

impl Leader<'_> {
    /// Follows an election for ever, until what the leader before has left cannot be read, or until a later attempt
    /// has taken its place.
    pub(super) async fn follow(
        &self,
        election: &dyn LeaderElection,
        mut leadership: watch::Receiver<Leadership>,
    ) -> Result<(), JobManagerError> {
        let mut current: Option<Term> = None;
        loop {
            let now = leadership.borrow_and_update().clone();
            match &now {
                Leadership::Suspended(_) => {
                    tracing::warn!("what elects leaders is away; what is to be kept waits")
                }
                Leadership::Standby => tracing::info!("this JobManager stands by"),
                Leadership::Superseded => {
                    self.step_down();
                    return Err(JobManagerError::Superseded);
                }
                Leadership::Leader(_) => {}
            }
            let term = now.term().cloned();
            if term != current {
                if current.take().is_some() {
                    tracing::warn!("this JobManager leads no longer");
                    self.step_down();
                }
                if let Some(term) = term {
                    match self.lead(election, &term).await {
                        Ok(()) => current = Some(term),
                        Err(StoreError::NotLeader(reason)) => {
                            tracing::warn!(reason, "this JobManager was about to lead");
                            self.step_down();
                        }
                        Err(error) => return Err(JobManagerError::Recover(error)),
                    }
                }
            }
            if leadership.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Takes the jobs over, then serves, then says so.
    async fn lead(&self, election: &dyn LeaderElection, term: &Term) -> Result<(), StoreError> {
        let (jobs, of) = (Arc::clone(self.jobs), term.clone());
        let taken_over = tokio::task::spawn_blocking(move || jobs.lead(&of)).await;
        taken_over.map_err(|error| StoreError::Failed(error.to_string()))??;
        self.leading.send_replace(Some(term.clone()));
        self.task_managers.lead();
        election.confirm(term).await?;
        tracing::info!(?term, "this JobManager serves as the leader");
        Ok(())
    }

    /// Serves nobody any more. What runs is left to the next leader.
    pub(super) fn step_down(&self) {
        self.leading.send_replace(None);
        self.jobs.suspend();
        self.task_managers.abandon();
    }
}
