//! The jobs that an earlier leader has left: read, each on a thread of its own, for as long as it takes.
//!
//! Files that cannot be read now are tried again while this leader leads. Until then, and where what is there cannot be used, the job's
//! workers go on as they did without a JobManager, its files, pointer and program stay, and no other job waits for it.
//!
//! Of the jobs of an application's main that are over, of which there may be many, no file is read before another attempt's main asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flott_core::ids::{JobId, TaskManagerId, WorkerId};
use flott_plan::execution_graph::JobStatus;
use flott_plan::{ExecutionMode, JobGraph, ProgramHash, ProgramListing};
use tokio::sync::watch;

use super::job::{Job, Standing};
use super::job_workers::{Adopted, JobWorkers};
use super::jobs::{Jobs, thread_name};
use super::running_job::Left;
use super::take_over::delete_garbage;
use super::task_managers::{Brought, Owner};
use crate::high_availability::store::{JobRecord, Patience, RecoveredContent};
use crate::high_availability::{HighAvailabilityStore, StoreError, Term};
use crate::job_master::{JobEvent, JobReport};
use crate::rpc::control::job_outcome::Kind;
use crate::rpc::control::{HeldWorker, JobOutcome, JobSpec};
use crate::rpc::ha::{JobPointer, State};

/// A leader's time, and what it may write in it.
pub(super) struct Leading {
    pub(super) store: HighAvailabilityStore,
    pub(super) patience: Patience,
}

/// What is known of the job of a worker that a TaskManager has brought along.
enum Found {
    Known(Arc<Job>),
    /// There is none with that id.
    Unknown,
    /// This JobManager leads no longer, so it cannot know.
    NotLed,
}

/// What is to be read of one job.
struct Unread {
    number: u64,
    job: Arc<Job>,
    record: Arc<JobRecord>,
    leading: Arc<Leading>,
}

impl Jobs {
    /// This JobManager leads from now on: it will go on with the jobs that the leader before has left. Blocks, but reads no file.
    pub(super) fn lead(self: &Arc<Self>, term: &Term) -> Result<(), StoreError> {
        let (Some(pointers), Some(storage)) = (&term.pointers, &self.storage) else { return Ok(()) };
        let store = HighAvailabilityStore::new(Arc::clone(pointers), Arc::clone(&storage.blobs));
        self.lead_with(Leading { store, patience: Patience::default() })
    }

    pub(super) fn lead_with(self: &Arc<Self>, leading: Leading) -> Result<(), StoreError> {
        let leading = Arc::new(leading);
        let recovered = leading.store.recover()?;
        self.state().leading = Some(Arc::clone(&leading));
        tracing::info!(jobs = recovered.len(), "what earlier leaders have left is taken over");
        let mut ended = Vec::new();
        for (id, record) in recovered {
            match record {
                Ok(record) if record.is_of_main() && record.pointer().state() == State::Over => {
                    let _ = self.remember_ended(id, Arc::clone(&record), &leading);
                    ended.push((id, record));
                }
                Ok(record) => self.read(id, record, &leading)?,
                Err(error) => {
                    let standing = Standing::Unread(String::new());
                    let job = Arc::new(self.known_by_pointer(id, None, &JobPointer::default(), standing));
                    let _ = self.remember(&job, Some(&leading));
                    broken(&job, &error);
                }
            }
        }
        let jobs = Arc::clone(self);
        drop(self.io.spawn_blocking(move || {
            jobs.retain_programs();
            for (id, record) in ended {
                record.delete_files_of_the_past();
                delete_garbage(id, &record);
            }
            if let Err(error) = leading.store.clear() {
                tracing::warn!(%error, "files that nothing points to are not looked for");
            }
        }));
        Ok(())
    }

    /// Has a job read and gone on with.
    fn read(
        self: &Arc<Self>,
        id: JobId,
        record: Arc<JobRecord>,
        leading: &Arc<Leading>,
    ) -> Result<(), StoreError> {
        let standing = Standing::Unread("its files are being read".to_owned());
        let job = self.known_by_pointer(id, Some(Arc::clone(&record)), &record.pointer(), standing);
        let job = Arc::new(job);
        let Some(number) = self.remember(&job, Some(leading)) else { return Ok(()) };
        let (jobs, unread) = (Arc::clone(self), Unread { number, job, record, leading: Arc::clone(leading) });
        let spawned = std::thread::Builder::new().name(thread_name(id)).spawn(move || jobs.go_on(unread));
        let failed = |error| StoreError::Failed(format!("the system gives no thread for job {id}: {error}"));
        spawned.map(drop).map_err(failed)
    }

    /// Reads a job, and runs it to its end if it has not come to that.
    fn go_on(self: Arc<Self>, unread: Unread) {
        let Unread { number, job: known, record, leading } = unread;
        let id = known.id;
        let content = leading.patience.until_done(
            || record.content(),
            |reason| {
                tracing::warn!(job = %id, reason, "a job cannot be read yet; its tasks go on, and it is tried again");
                known.standing.send_replace(Standing::Unread(reason.to_owned()));
            },
        );
        match content {
            Ok(RecoveredContent::Over(outcome)) => {
                let pointer = record.pointer();
                let job = self.known_by_pointer(id, Some(Arc::clone(&record)), &pointer, Standing::Here);
                job.is_over_with(outcome);
                if self.replace(number, &Arc::new(job), &leading) {
                    delete_garbage(id, &record);
                    self.forget_oldest();
                    self.retain_programs();
                }
            }
            Ok(RecoveredContent::Active(submission)) => {
                let left = Left { record: Arc::clone(&record) };
                let prepared =
                    self.prepare(id, *submission, Some(record), Some(left), Some(Arc::clone(&leading)));
                match prepared {
                    Ok(running) => {
                        let job = Arc::clone(&running.job);
                        if self.replace(number, &job, &leading) {
                            let jobs = Arc::clone(&self);
                            drop(self.io.spawn_blocking(move || jobs.retain_programs()));
                            if let Err(reason) = running.run() {
                                self.cannot_go_on(&job, &reason);
                            }
                        }
                    }
                    Err(error) => self.cannot_go_on(&known, &error),
                }
            }
            Err(StoreError::NotLeader(_)) => {}
            Err(error) => self.cannot_go_on(&known, &error),
        }
    }

    /// What is left of a job cannot be used: it is left alone, unless somebody was told that it is cancelled.
    fn cannot_go_on(&self, job: &Job, error: &dyn std::fmt::Display) {
        if !job.is_to_be_cancelled() {
            broken(job, error);
        }
        // Somebody may have been told so in between.
        if job.is_to_be_cancelled()
            && let Err(reason) = self.give_up(job)
        {
            broken(job, &format!("{error}, and it cannot be given up: {reason}"));
        }
    }

    /// The workers that a TaskManager brings along, each with who takes it over.
    pub(super) fn take_over(
        &self,
        task_manager: TaskManagerId,
        address: &str,
        workers: Vec<(WorkerId, JobId, HeldWorker)>,
    ) -> Vec<Brought> {
        let owner = |worker, job, held: HeldWorker| {
            let known = match self.find(job) {
                Found::Known(known) => known,
                Found::Unknown => return Owner::Nobody,
                Found::NotLed => return Owner::Undecided(job, held),
            };
            if *known.standing.borrow() != Standing::Here {
                return Owner::Undecided(job, held);
            }
            if known.is_over() {
                return Owner::Nobody;
            }
            match known.workers.adopt(worker, &held, task_manager, address) {
                Adopted::Taken => Owner::Job(Arc::clone(&known.workers)),
                Adopted::Refused => Owner::Nobody,
                Adopted::Abandoned => Owner::Undecided(job, held),
            }
        };
        let workers = workers.into_iter();
        workers.map(|(worker, job, held)| (worker, held.slots, owner(worker, job, held))).collect()
    }

    /// What this leader knows of a job: one look, since it may step down at any time.
    fn find(&self, id: JobId) -> Found {
        let state = self.state();
        match state.jobs.values().find(|job| job.id == id) {
            Some(job) => Found::Known(Arc::clone(job)),
            None if self.storage.is_some() && state.leading.is_none() => Found::NotLed,
            None => Found::Unknown,
        }
    }

    /// The job is read: it takes the place of what was known before, and gets its workers, unless that leader leads no longer.
    fn replace(&self, number: u64, job: &Arc<Job>, leading: &Arc<Leading>) -> bool {
        {
            let mut state = self.state();
            if !state.is_led(Some(leading)) || !state.jobs.contains_key(&number) {
                return false;
            }
            state.jobs.insert(number, Arc::clone(job));
        }
        self.task_managers.decide(job.id, &job.workers);
        true
    }

    /// Has a job cancelled. From when this returns it will be, whoever leads. Blocks.
    pub(super) fn cancel(&self, job: &Arc<Job>) -> Result<(), StoreError> {
        let is_broken = matches!(&*job.standing.borrow(), Standing::Broken(_));
        if is_broken {
            return self.give_up(job);
        }
        job.cancel()?;
        // It may have been read meanwhile, or found broken.
        let Some(now) = self.get(job.id) else { return Ok(()) };
        if !Arc::ptr_eq(&now, job) {
            now.workers.events().put(JobEvent::Cancel);
        }
        let is_broken = matches!(&*now.standing.borrow(), Standing::Broken(_));
        if is_broken { self.give_up(&now) } else { Ok(()) }
    }

    /// Somebody has decided that nobody goes on with a job that is broken here.
    fn give_up(&self, job: &Job) -> Result<(), StoreError> {
        let leading = self.state().leading.clone();
        let leading = leading.ok_or_else(|| StoreError::NotLeader("another one may lead".to_owned()))?;
        leading.store.forget(job.id)?;
        tracing::warn!(job = %job.id, "a job that could not go on here is given up");
        job.is_over_with(JobOutcome { kind: Some(Kind::Canceled(true)) });
        job.standing.send_replace(Standing::Here);
        job.workers.finish();
        self.task_managers.stop_job(job.id);
        Ok(())
    }

    /// A job of which no more is known than its pointer tells.
    pub(super) fn known_by_pointer(
        &self,
        id: JobId,
        record: Option<Arc<JobRecord>>,
        pointer: &JobPointer,
        standing: Standing,
    ) -> Job {
        let over = pointer.state() == State::Over;
        let report = JobReport {
            status: pointer.status.parse().ok().or((!over).then_some(JobStatus::Created)),
            started_millis: pointer.submitted,
            ended_millis: pointer.ended,
            completed_checkpoints: pointer.completed_checkpoints,
            restarts: pointer.restarts,
            failure: Some(pointer.failure.clone()).filter(|failure| !failure.is_empty()),
            ..JobReport::default()
        };
        let graph = Arc::new(JobGraph {
            name: pointer.name.clone(),
            mode: ExecutionMode::Batch,
            vertices: Vec::new(),
            edges: Vec::new(),
            configuration: BTreeMap::new(),
            program_hash: ProgramHash::from_bytes([0; 16]),
            program: ProgramListing::default(),
        });
        let managers = Arc::clone(&self.task_managers);
        let (spec, events) = (JobSpec::default(), Arc::default());
        let workers = JobWorkers::new(id, spec, Arc::clone(&graph), events, managers, Duration::ZERO);
        workers.abandon();
        let (keeper, outcome) = watch::channel(None);
        Job {
            id,
            name: pointer.name.clone(),
            streaming: pointer.streaming,
            graph,
            configuration: Arc::new(self.configuration.clone()),
            submitted_millis: pointer.submitted,
            hash: None,
            workers: Arc::new(workers),
            report: watch::channel(report).1,
            outcome,
            keeper,
            record,
            standing: watch::Sender::new(standing),
        }
    }

    /// Another JobManager leads: it goes on with all jobs.
    pub(super) fn suspend(&self) {
        let (leading, jobs) = {
            let mut state = self.state();
            (state.leading.take(), std::mem::take(&mut state.jobs))
        };
        if let Some(leading) = leading {
            leading.patience.end();
        }
        for job in jobs.into_values().filter(|job| !job.is_over()) {
            job.workers.events().put(JobEvent::Suspend);
            job.workers.abandon();
        }
    }
}

/// A job cannot be gone on with here, and says why. What is kept of it stays, and its workers are left alone.
fn broken(job: &Job, error: &dyn std::fmt::Display) {
    tracing::error!(job = %job.id, %error, "a job that an earlier leader has left cannot go on; its tasks and its files are left alone");
    let reason = format!(
        "what an earlier JobManager has left of it cannot be used: {error}. Its tasks go on, and nothing is deleted; put that right and have a \
         JobManager of the version that wrote it lead next, or cancel the job"
    );
    // Before they are abandoned: none that a TaskManager brings in between is to be stopped.
    job.standing.send_replace(Standing::Broken(reason));
    job.workers.abandon();
}
