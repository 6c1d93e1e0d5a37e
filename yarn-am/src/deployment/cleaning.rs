//! The staging folder from the client's side: that it is the user's alone, and that what applications leave there goes.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use flott_cluster::client::report::JobSummaries;
use flott_cluster::high_availability::clean_up;
use flott_fs::{Access, for_path};
use hadoop_rpc::RemoteException;
use hadoop_rpc::proto::yarn::{ApplicationId, ApplicationReport, YarnApplicationState};

use super::{DeployError, LOOKS, Yarn, is_over};
use crate::ids::{application_text, parse_application};
use crate::leftovers::{self, Known};
use crate::security::{Closed, check_closed};
use crate::staging::StagingError;

/// How long a command that has seen an application's end cleans up after it.
const TIDY_DEADLINE: Duration = Duration::from_secs(10);

/// After this time the folder of an application that is over is nobody's.
const SWEEP_AGE: Duration = Duration::from_secs(60 * 60);

/// How many such folders a command looks at.
const SWEEP_MOST: usize = 16;

/// What came of removing what an application has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swept {
    /// It is gone.
    Gone,
    /// A JobManager still contends for what high availability keeps: soon none will.
    Contended,
    /// It stays: the application is not over, or what is to be asked does not answer.
    Left,
}

impl Yarn {
    /// Has a staging folder that is this user's alone.
    pub(super) async fn claim_staging(&self) -> Result<(), DeployError> {
        let (common, staging) = (self.common.clone(), self.staging.clone());
        let made = tokio::task::spawn_blocking(move || {
            if let Some(common) = common {
                // It is for others, too; those who set it for everybody let everybody write there.
                for_path(&common)?.create_dirs_with(&common, Access::Ordinary)?;
            }
            for_path(staging.root())?.create_dirs(staging.root())
        });
        made.await.map_err(|error| StagingError::Given(error.to_string()))??;
        self.check_staging().await
    }

    /// Checks that nobody else can have put anything into the staging folder.
    pub(super) async fn check_staging(&self) -> Result<(), DeployError> {
        let user = (&self.login.user, self.login.identity.short_name.as_str());
        let root = self.staging.root();
        // Who may write to the folder above could put another one there. The home folder is for others to see to.
        if let Some(own) = root.parent().filter(|_| self.common.is_some()) {
            check_closed(&self.hadoop, user, &own, Closed::ToWriters).await?;
        }
        Ok(check_closed(&self.hadoop, user, root, Closed::ToAll).await?)
    }

    /// The summary of the jobs of an application that is over, which is gone then with all that it has left; none: it did not come so far.
    ///
    /// # Errors
    /// [`DeployError::Staging`].
    pub async fn take_report(&self, id: &ApplicationId) -> Result<Option<JobSummaries>, DeployError> {
        let (staging, name) = (self.staging.clone(), application_text(id));
        let of = name.clone();
        let read = tokio::task::spawn_blocking(move || staging.report_of(&of)).await;
        let jobs = read.map_err(|error| StagingError::Given(error.to_string()))?;
        match self.report(id).await {
            // Its ApplicationMaster leads for a moment more, and may fail to remove what high availability kept: the note stays until that is gone.
            Ok(report) if report.yarn_application_state() == YarnApplicationState::Finished => {
                self.tidy_up_after_leader(&name, Duration::ZERO).await;
            }
            Ok(report) => self.tidy(&report).await,
            Err(error) => tracing::debug!(name, %error, "what an application has left stays"),
        }
        Ok(jobs?)
    }

    /// Removes what an application has left that was ended by YARN: its ApplicationMaster had no time to, or none ever served. One that has
    /// said goodbye does it by itself. What cannot be removed now is left for the next submissions.
    pub(super) async fn tidy(&self, report: &ApplicationReport) {
        use YarnApplicationState::{Failed, Killed};
        if matches!(report.yarn_application_state(), Failed | Killed) {
            self.tidy_up(&application_text(&report.application_id.unwrap_or_default())).await;
        }
    }

    /// Removes what an application has left, as far as that comes in a short time.
    pub(super) async fn tidy_up(&self, name: &str) {
        let _ = tokio::time::timeout(TIDY_DEADLINE, self.sweep_application(name)).await;
    }

    /// The same if its ApplicationMaster may be taken for the leader for so much longer.
    pub(super) async fn tidy_up_after_leader(&self, name: &str, leads: Duration) {
        let swept = uncontended(|| self.sweep_application(name));
        let _ = tokio::time::timeout(TIDY_DEADLINE + leads, swept).await;
    }

    /// Removes what applications have left that are over and whose ApplicationMaster had no time to: folders, and what high availability kept
    /// for them alone. What goes wrong is left for the next time.
    pub(super) async fn sweep_applications(&self) {
        let staging = self.staging.clone();
        let old = tokio::task::spawn_blocking(move || staging.older_than(SWEEP_AGE)).await;
        let Ok(Ok(mut old)) = old else { return };
        // The newest first: what cannot be removed does not keep the rest for ever.
        old.sort_unstable_by(|one, other| other.cmp(one));
        old.truncate(SWEEP_MOST);
        // A ZooKeeper that is gone holds up nothing but what it was to forget.
        together(old.iter().map(|name| self.sweep_application(name))).await;
    }

    /// Removes files that nobody has used for long.
    pub(super) async fn sweep_cache(&self) {
        let staging = self.staging.clone();
        let swept = tokio::task::spawn_blocking(move || staging.sweep_cache()).await;
        if let Ok(Err(error)) = swept {
            tracing::debug!(%error, "what nobody uses stays in the cache");
        }
    }

    /// Removes what an application has left, if it is over.
    async fn sweep_application(&self, name: &str) -> Swept {
        let Ok(id) = parse_application(name) else { return Swept::Left };
        let (staging, of) = (self.staging.clone(), name.to_owned());
        let Ok(Ok(note)) = tokio::task::spawn_blocking(move || staging.note_of(&of)).await else {
            return Swept::Left;
        };
        if !leftovers::is_over(note.as_ref(), &self.cluster_name(), self.known(&id).await) {
            return Swept::Left;
        }
        let kept = note.unwrap_or_default().high_availability;
        if !kept.is_empty() {
            match self.clean_up(name, &kept).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::debug!(name, "a JobManager of an application that is over still contends");
                    return Swept::Contended;
                }
                Err(error) => {
                    tracing::debug!(name, %error, "what high availability kept for an application stays");
                    return Swept::Left;
                }
            }
        }
        crate::staging::remove(&self.staging.folder_of(name).to_string()).await;
        Swept::Gone
    }

    /// What the ResourceManager knows of an application; without an answer it lives.
    pub(super) async fn known(&self, id: &ApplicationId) -> Known {
        known_by(&self.report(id).await)
    }

    /// Removes what high availability has kept for an application, as its note says. False: a JobManager still contends.
    async fn clean_up(&self, name: &str, kept: &BTreeMap<String, String>) -> Result<bool, DeployError> {
        let (staging, of) = (self.staging.clone(), name.to_owned());
        let read = tokio::task::spawn_blocking(move || staging.secret_of(&of)).await;
        let secret = read.map_err(|error| StagingError::Given(error.to_string()))??;
        let mut configuration = self.configuration.clone();
        for (key, value) in kept {
            // An option that this version does not know says nothing to it.
            let _ = configuration.set(key, value);
        }
        clean_up(&configuration, &secret).await.map_err(DeployError::from)
    }
}

fn known_by(answer: &Result<ApplicationReport, DeployError>) -> Known {
    match answer {
        Ok(report) if is_over(report) => Known::Over,
        Err(DeployError::Yarn(error)) if error.exception() == Some(RemoteException::ApplicationNotFound) => {
            Known::Unknown
        }
        Ok(_) | Err(_) => Known::Lives,
    }
}

/// Does all of it, at the same time.
async fn together<F: Future>(works: impl Iterator<Item = F>) {
    let mut works: Vec<_> = works.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        works.retain_mut(|work| work.as_mut().poll(context).is_pending());
        if works.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Sweeps again while a JobManager contends.
async fn uncontended<F: Future<Output = Swept>>(mut sweep: impl FnMut() -> F) -> Swept {
    loop {
        match sweep().await {
            Swept::Contended => tokio::time::sleep(LOOKS.1).await,
            swept => return swept,
        }
    }
}

#[cfg(test)]
mod tests {
    use hadoop_rpc::RpcError;

    use super::*;

    #[test]
    fn only_yarn_says_that_an_application_is_over() {
        use YarnApplicationState::{Accepted, Failed, Finished, Killed, NewSaving, Running};
        let report = |state: YarnApplicationState| {
            let yarn_application_state = Some(state.into());
            Ok(ApplicationReport { yarn_application_state, ..ApplicationReport::default() })
        };
        for (states, expected) in
            [(&[Failed, Finished, Killed], Known::Over), (&[NewSaving, Accepted, Running], Known::Lives)]
        {
            states.iter().for_each(|state| assert_eq!(known_by(&report(*state)), expected, "{state:?}"));
        }
        let refused = |class: &str| {
            Err(DeployError::Yarn(RpcError::Remote {
                server: "rm:8032".to_owned(),
                call: "getApplicationReport".to_owned(),
                class: class.to_owned(),
                message: String::new(),
            }))
        };
        let unknown = "org.apache.hadoop.yarn.exceptions.ApplicationNotFoundException";
        assert_eq!(known_by(&refused(unknown)), Known::Unknown);
        assert_eq!(known_by(&refused("java.lang.NullPointerException")), Known::Lives);
    }

    #[tokio::test]
    async fn what_does_not_answer_holds_up_nothing_else() {
        let (swept, mut seen) = tokio::sync::mpsc::channel(3);
        let (swept, last) = (&swept, 3);
        let sweep = |number| async move {
            if number == 1 {
                std::future::pending().await
            }
            tokio::task::yield_now().await;
            swept.send(number).await.unwrap();
        };
        let others = async { while seen.recv().await != Some(last) {} };
        tokio::select! {
            () = together((1..=last).map(sweep)) => panic!("one has not ended"),
            () = others => {}
        }
        together((2..=last).map(sweep)).await;
    }

    #[tokio::test]
    async fn what_an_application_has_kept_goes_once_nobody_contends() {
        for end in [Swept::Gone, Swept::Left] {
            let mut answers = [Swept::Contended, end].into_iter();
            assert_eq!(uncontended(|| std::future::ready(answers.next().unwrap())).await, end);
            assert_eq!(answers.next(), None);
        }
    }
}
