//! What an ApplicationMaster is there for: to run a program's `main`, or to serve clients until nobody needs it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use flott_cluster::client::report::JobSummaries;
use flott_cluster::client::{Cluster, ClusterError, DriveError, Driven, Driver, DriverListener, Program};
use flott_cluster::high_availability::{HighAvailabilityError, is_highly_available};
use flott_cluster::job_manager::StopRequest;
use flott_cluster::rpc::control::{JobOutcome, JobOverview, ListJobsRequest};
use flott_core::config::{self, Configuration};
use flott_core::ids::JobId;
use flott_runtime::net::handshake::Secret;
use hadoop_rpc::proto::yarn::FinalApplicationStatus;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::conversation::FinalStatus;
use super::final_status;
use crate::application::{Application, ApplicationProgram, Lifespan};

/// How often the jobs are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The work of an ApplicationMaster.
pub(super) struct Work {
    /// The application's id.
    pub(super) name: String,
    pub(super) address: String,
    pub(super) secret: Secret,
    pub(super) application: Application,
    pub(super) configuration: Configuration,
    pub(super) progress: watch::Sender<f32>,
    /// When the command was last heard that the cluster was started for.
    pub(super) heard: watch::Receiver<Instant>,
}

impl Work {
    /// Works until there is nothing left to do, or a client wants it to end.
    ///
    /// # Errors
    /// [`ClusterError`] if the JobManager cannot be used at all: another attempt may.
    pub(super) async fn run(
        self,
        mut stopped: mpsc::Receiver<StopRequest>,
    ) -> Result<FinalStatus, ClusterError> {
        let cluster = self.connect().await?;
        let stop = async {
            match stopped.recv().await {
                Some(StopRequest { failure, canceled }) => final_status(failure, canceled),
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            status = stop => status,
            status = self.drive(&cluster) => status,
            status = self.watch(cluster.clone()) => status,
        })
    }

    /// Its own JobManager leads once ZooKeeper is there, an earlier attempt's leads no more, and it has read what that has left. However
    /// long that takes, the tasks go on, and nothing is lost by waiting; a JobManager that has waited for too long ends this process.
    async fn connect(&self) -> Result<Cluster, ClusterError> {
        if !is_highly_available(&self.configuration) {
            return Cluster::connect(&self.address, &self.secret).await;
        }
        loop {
            match Cluster::of_leader(&self.configuration, &self.secret).await {
                Err(error) if may_lead_later(&error) => {
                    tracing::warn!(%error, "this JobManager does not lead yet");
                }
                connected => return connected,
            }
        }
    }

    /// Runs the program's main, if there is one.
    async fn drive(&self, cluster: &Cluster) -> FinalStatus {
        let Some(program) = &self.application.program else { return std::future::pending().await };
        let ApplicationProgram { content_hash, arguments, restore } = program.clone();
        let hash = content_hash.parse().ok();
        let driver = Driver {
            cluster: cluster.clone(),
            program: Program {
                path: PathBuf::from(".").join(content_hash),
                arguments,
                configuration: self.configuration.clone(),
                hash,
            },
            detached: false,
            restore,
            application: Some(self.name.clone()),
            verdict: None,
        };
        let mut logged = Logged::default();
        let driven = driver.run(&mut logged, std::future::pending()).await;
        if let (true, Some(staging)) = (self.application.report, &self.application.staging)
            && let Err(error) = crate::staging::leave_report(staging, &logged.jobs).await
        {
            tracing::warn!(%error, "the report of the jobs cannot be left for the command");
        }
        match driven {
            Ok(Driven::Finished) => final_status(None, false),
            Ok(Driven::JobFailed(reason)) => final_status(Some(reason), false),
            Ok(Driven::ProgramFailed { status, last_words }) => {
                let name = program.arguments.first().map(String::as_str).unwrap_or_default();
                let said = match last_words.as_str() {
                    "" => String::new(),
                    words => format!("; it said last:\n{words}"),
                };
                final_status(Some(format!("{name} ended with {status}{said}")), false)
            }
            Ok(Driven::JobCanceled | Driven::Interrupted) => final_status(None, true),
            Err(DriveError::Unkept { job, patience, reason }) => {
                let patience = config::ConfigValue::write(&patience);
                final_status(
                    Some(format!(
                        "how job {job} ends could not be kept in {patience}: {reason}; it is given up with its cluster, and commits nothing later: put that right and run it \
                     again"
                    )),
                    false,
                )
            }
            Err(error) => final_status(Some(error.to_string()), false),
        }
    }

    /// Follows the jobs; ends when the cluster is there for nobody any more.
    async fn watch(&self, mut cluster: Cluster) -> FinalStatus {
        let lease = Lease {
            lifespan: self.application.lifespan(),
            timeout: self.configuration.get(&config::CLIENT_HEARTBEAT_TIMEOUT),
            ends_with_command: self.configuration.get(&config::SHUTDOWN_ON_ATTACHED_EXIT),
        };
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut audience = Audience::default();
        loop {
            look.tick().await;
            let mut client = cluster.rpc();
            let list = match cluster.answer(client.list_jobs(ListJobsRequest {})).await {
                Ok(list) => list,
                Err(error) => {
                    audience.interrupted();
                    if error.is_lost() {
                        // Without a next leader the JobManager's own end ends this process.
                        let _ = cluster.follow(error).await;
                    }
                    continue;
                }
            };
            self.progress.send_replace(progress(&list.jobs));
            let silent = audience.silent(*self.heard.borrow(), Instant::now());
            if let Some(status) = lease.over(&list.jobs, silent) {
                return status;
            }
        }
    }
}

/// Whether its own JobManager may lead all the same.
fn may_lead_later(error: &ClusterError) -> bool {
    let away = matches!(error, ClusterError::HighAvailability(HighAvailabilityError::Unreachable { .. }));
    away || error.is_lost()
}

/// Since when the JobManager answers: while it does not lead, whatever its command says is heard by nobody.
#[derive(Default)]
struct Audience {
    since: Option<Instant>,
}

impl Audience {
    /// The JobManager does not answer.
    fn interrupted(&mut self) {
        self.since = None;
    }

    /// It answers: for how long the command could have been heard, and was not.
    fn silent(&mut self, heard: Instant, now: Instant) -> Duration {
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(heard.max(since))
    }
}

/// For whom a cluster is there, and until when.
struct Lease {
    lifespan: Lifespan,
    /// For how long the command may be silent.
    timeout: Duration,
    /// Whether a job that runs ends when the command is gone.
    ends_with_command: bool,
}

impl Lease {
    /// How the cluster ends now, if it does. `silent`: for how long nothing was heard of the command.
    fn over(&self, jobs: &[JobOverview], silent: Duration) -> Option<FinalStatus> {
        let (runs, left) = (jobs.iter().any(|job| !is_over(job)), silent > self.timeout);
        let ends = match self.lifespan {
            Lifespan::OwnMain => false,
            Lifespan::Command => left && (self.ends_with_command || !runs),
            Lifespan::OneJob => !runs && (left || !jobs.is_empty()),
        };
        if !ends {
            return None;
        }
        if jobs.is_empty() {
            let reason = "no job was submitted: the command that started this cluster was not heard for";
            return Some(final_status(Some(format!("{reason} {} s", silent.as_secs())), false));
        }
        if runs {
            let diagnostics = "the command that started it is gone, and it was to end with that".to_owned();
            return Some(FinalStatus { status: FinalApplicationStatus::Killed, diagnostics });
        }
        let failed = jobs.iter().rev().find(|job| job.status == "FAILED");
        let canceled = jobs.iter().any(|job| job.status == "CANCELED");
        Some(final_status(failed.map(|job| job.failure.clone()), canceled))
    }
}

fn is_over(job: &JobOverview) -> bool {
    matches!(job.status.as_str(), "FINISHED" | "FAILED" | "CANCELED")
}

/// How far the jobs are, from 0 to 1: the part of their subtasks that has finished.
fn progress(jobs: &[JobOverview]) -> f32 {
    let (mut finished, mut all) = (0, 0);
    for vertex in jobs.iter().flat_map(|job| &job.vertices) {
        all += vertex.parallelism;
        let ended = ["FINISHED", "DRAINED"].iter().filter_map(|state| vertex.subtasks.get(*state));
        finished += ended.sum::<u32>();
    }
    if all == 0 { 0.0 } else { finished as f32 / all as f32 }
}

/// Says in the log what a command would show.
#[derive(Default)]
struct Logged {
    jobs: JobSummaries,
}

impl DriverListener for Logged {
    fn submitted(&mut self, job: JobId, _detached: bool) {
        tracing::info!(%job, "the program's job was submitted");
    }

    fn update(&mut self, job: &JobOverview, outcome: Option<&JobOutcome>) {
        self.jobs.note(job, outcome);
    }

    fn interrupted(&mut self, job: JobId) {
        tracing::info!(%job, "the program's job is cancelled");
    }
}

#[cfg(test)]
mod tests {
    use flott_cluster::rpc::control::VertexOverview;

    use super::*;

    #[test]
    fn a_cluster_stays_for_its_command_and_its_jobs() {
        let job = |status: &str| JobOverview { status: status.to_owned(), ..JobOverview::default() };
        let (running, finished) = (&[job("RUNNING")][..], &[job("FINISHED")][..]);
        let failed = &[job("FINISHED"), job("FAILED")][..];
        let (heard, silent) = (Duration::from_secs(59), Duration::from_secs(61));
        let end = |lifespan, ends_with_command, jobs: &[JobOverview], silent| {
            let lease = Lease { lifespan, timeout: Duration::from_secs(60), ends_with_command };
            lease.over(jobs, silent).map(|status| status.status)
        };
        use FinalApplicationStatus::{Failed, Killed, Succeeded};
        for jobs in [&[][..], finished, running] {
            assert_eq!(end(Lifespan::OwnMain, true, jobs, silent), None);
            assert_eq!(end(Lifespan::Command, true, jobs, heard), None);
        }
        assert_eq!(end(Lifespan::Command, false, &[], silent), Some(Failed));
        assert_eq!(end(Lifespan::Command, false, failed, silent), Some(Failed));
        assert_eq!(end(Lifespan::Command, false, finished, silent), Some(Succeeded));
        assert_eq!(end(Lifespan::Command, false, running, silent), None);
        assert_eq!(end(Lifespan::Command, true, running, silent), Some(Killed));
        assert_eq!(end(Lifespan::OneJob, false, &[], heard), None);
        assert_eq!(end(Lifespan::OneJob, false, &[], silent), Some(Failed));
        assert_eq!(end(Lifespan::OneJob, true, running, silent), None);
        assert_eq!(end(Lifespan::OneJob, false, finished, heard), Some(Succeeded));
    }

    #[test]
    fn a_command_is_not_silent_while_nobody_could_hear_it() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let silent = |audience: &mut Audience, heard, now| audience.silent(at(heard), at(now)).as_secs();
        let mut audience = Audience::default();
        // It took long to lead.
        assert_eq!(silent(&mut audience, 0, 500), 0);
        assert_eq!(silent(&mut audience, 0, 510), 10);
        assert_eq!(silent(&mut audience, 505, 520), 15);
        // ZooKeeper was away, and the same JobManager leads again.
        audience.interrupted();
        assert_eq!(silent(&mut audience, 505, 800), 0);
        assert_eq!(silent(&mut audience, 505, 830), 30);
        assert_eq!(silent(&mut audience, 829, 830), 1);
    }

    #[test]
    fn progress_is_what_has_finished() {
        let vertex = |parallelism, finished| VertexOverview {
            parallelism,
            subtasks: [("FINISHED".to_owned(), finished)].into(),
            ..VertexOverview::default()
        };
        let job = JobOverview { vertices: vec![vertex(2, 2), vertex(2, 1)], ..JobOverview::default() };
        assert_eq!(progress(&[job]), 0.75);
        assert_eq!(progress(&[]), 0.0);
    }
}
