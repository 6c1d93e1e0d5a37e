//! The workers of a TaskManager: from the order to start one to the news that it has ended.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flott_core::config::Configuration;
use flott_core::ids::{JobId, WorkerId};
use flott_runtime::net::Hello;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::{Notify, mpsc};

use super::starter;
use crate::launch::{self, Launch, LaunchSocket};
use crate::output::OutputFiles;
use crate::rpc::WireId;
use crate::rpc::control::{HeldWorker, WorkerEnded};
use crate::rpc::launch::{DataSocket, Leader, ToProgram, to_program};

/// All workers of a TaskManager.
pub(super) struct Workers {
    configuration: Configuration,
    temp_dir: PathBuf,
    starts: Mutex<Option<SyncSender<Start>>>,
    news: mpsc::Sender<WorkerEnded>,
    state: Mutex<HashMap<WorkerId, Worker>>,
    /// What the workers were ordered for, for the next leader.
    held: Mutex<HashMap<WorkerId, HeldWorker>>,
    /// With whom this TaskManager has registered.
    leader: Mutex<Option<Leader>>,
    changed: Notify,
}

enum Worker {
    /// Not a process yet; told to stop meanwhile, or not.
    Starting {
        stopped: bool,
    },
    Running {
        job: JobId,
        process: OwnedFd,
        socket: Arc<Mutex<LaunchSocket>>,
        stopped: bool,
    },
}

/// What a worker is started with.
pub(super) struct NewWorker {
    pub(super) id: WorkerId,
    pub(super) job: JobId,
    pub(super) program: PathBuf,
    /// Where it runs, if that is there.
    pub(super) folder: PathBuf,
    pub(super) start: crate::rpc::launch::Start,
}

/// An order to the main thread, from which workers are started.
pub(super) struct Start {
    workers: Arc<Workers>,
    worker: NewWorker,
}

impl Start {
    /// Starts the worker and follows it on other threads.
    pub(super) fn run(self) {
        let (id, job) = (self.worker.id, self.worker.job);
        if let Err(reason) = Workers::launch(&self.workers, self.worker) {
            self.workers.ended(id, format!("a worker of job {job} cannot be started: {reason}"), true);
        }
    }
}

impl Workers {
    /// None yet. Orders to start go to the main thread, news of the end of a worker to the session.
    pub(super) fn new(
        configuration: Configuration,
        temp_dir: PathBuf,
        starts: SyncSender<Start>,
        news: mpsc::Sender<WorkerEnded>,
    ) -> Self {
        let starts = Mutex::new(Some(starts));
        Self {
            configuration,
            temp_dir,
            starts,
            news,
            state: Mutex::default(),
            held: Mutex::default(),
            leader: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, HashMap<WorkerId, Worker>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder for a worker's temporary files.
    pub(super) fn temp_dir_of(&self, id: WorkerId) -> PathBuf {
        self.temp_dir.join(format!("worker-{id}"))
    }

    /// A worker is wanted; from now on it can be stopped.
    pub(super) fn expect(&self, id: WorkerId, held: HeldWorker) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(id, held);
        self.state().insert(id, Worker::Starting { stopped: false });
    }

    /// The workers there are, but for those that are being stopped.
    pub(super) fn held(&self) -> Vec<HeldWorker> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let state = self.state();
        let stays = |id: &WorkerId| {
            matches!(
                state.get(id),
                Some(Worker::Starting { stopped: false } | Worker::Running { stopped: false, .. })
            )
        };
        held.into_iter().filter(|(id, _)| stays(id)).map(|(_, held)| held).collect()
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.state().is_empty()
    }

    /// Tells the workers, also those to come, who leads: a JobManager that knows of them. Blocks while a worker does not listen.
    pub(super) fn follow(&self, leader: &Leader) {
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = Some(leader.clone());
        let all: Vec<WorkerId> = self.state().keys().copied().collect();
        all.into_iter().for_each(|id| self.tell_leader(id, leader));
    }

    fn tell_leader(&self, id: WorkerId, leader: &Leader) {
        let socket = match self.state().get(&id) {
            Some(Worker::Running { socket, .. }) => Arc::clone(socket),
            _ => return,
        };
        let message = ToProgram { kind: Some(to_program::Kind::Leader(leader.clone())) };
        let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = socket.send(&message, None) {
            tracing::warn!(worker = %id, %error, "a worker does not hear who leads");
        }
    }

    /// Starts a worker that is expected.
    pub(super) fn start(self: &Arc<Self>, worker: NewWorker) {
        let id = worker.id;
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let start = Start { workers: Arc::clone(self), worker };
        if starts.is_none_or(|starts| starts.try_send(start).is_err()) {
            self.ended(
                id,
                "the TaskManager has too many workers to start, or is about to end".to_owned(),
                false,
            );
        }
    }

    fn launch(workers: &Arc<Self>, worker: NewWorker) -> Result<(), String> {
        let NewWorker { id, job, program, folder, start } = worker;
        if matches!(workers.state().get(&id), Some(Worker::Starting { stopped: true }) | None) {
            workers.ended(id, "it was stopped before it was started".to_owned(), false);
            return Ok(());
        }
        let temp_dir = workers.temp_dir_of(id);
        let made = fs::DirBuilder::new().mode(0o700).create(&temp_dir);
        made.map_err(|error| format!("{}: {error}", temp_dir.display()))?;
        let files = OutputFiles::in_log_dir(&workers.configuration, &format!("job-{job}")).map_err(text)?;
        let launched = launch::launch(Launch {
            program: Path::new(starter::OWN_EXECUTABLE),
            name: OsStr::new("flott"),
            arguments: starter::arguments(&program),
            start,
            streams: [Stdio::null(), Stdio::piped(), Stdio::piped()],
            folder: Some(if folder.is_dir() { &folder } else { &temp_dir }),
        });
        let launch::Launched { mut child, socket } = launched.map_err(|error| error.to_string())?;
        let process = pid_of(&child).and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
        let process = process.map_err(|error| {
            let _ = child.kill();
            let _ = child.wait();
            error.to_string()
        })?;
        tracing::info!(worker = %id, %job, pid = child.id(), "a worker was started");
        let output = files.fill_from(&mut child).map_err(text)?;
        let socket = Arc::new(Mutex::new(socket));
        let stopped = {
            let mut state = workers.state();
            let stopped = matches!(state.get(&id), Some(Worker::Starting { stopped: true }) | None);
            state.insert(id, Worker::Running { job, process, socket, stopped: false });
            stopped
        };
        if stopped {
            workers.stop(id);
        }
        // It may be another one than when the worker was ordered.
        let leader = workers.leader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(leader) = leader {
            workers.tell_leader(id, &leader);
        }
        let workers = Arc::clone(workers);
        thread("flott-wait", move || {
            let status = child.wait();
            let (reason, exited) = ending(id, job, status, &output.last_words());
            workers.ended(id, reason, exited);
        })
    }

    /// Kills a worker. What there is to say about it follows when it has ended.
    pub(super) fn stop(&self, id: WorkerId) {
        match self.state().get_mut(&id) {
            Some(Worker::Starting { stopped }) => *stopped = true,
            Some(Worker::Running { process, stopped, .. }) => {
                *stopped = true;
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
            None => {}
        }
    }

    /// Kills all.
    pub(super) fn stop_all(&self) {
        let all: Vec<WorkerId> = self.state().keys().copied().collect();
        all.into_iter().for_each(|id| self.stop(id));
    }

    /// Waits until there are none.
    pub(super) async fn all_ended(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state().is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Starts none any more.
    pub(super) fn close(&self) {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// A worker is no more, or never was.
    pub(super) fn ended(&self, id: WorkerId, reason: String, exited: bool) {
        let temp_dir = self.temp_dir_of(id);
        if let Err(error) = fs::remove_dir_all(&temp_dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %temp_dir.display(), %error, "the temporary files of a worker could not be removed");
        }
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let was = self.state().remove(&id);
        let stopped =
            matches!(was, Some(Worker::Starting { stopped: true } | Worker::Running { stopped: true, .. }));
        if stopped {
            tracing::info!(worker = %id, "a worker was stopped");
        } else {
            tracing::warn!(worker = %id, reason, "a worker has ended");
        }
        self.changed.notify_waiters();
        let ended = WorkerEnded { worker: id.write(), reason, exited: exited && !stopped };
        if self.news.try_send(ended).is_err() {
            // There is no JobManager, or it does not listen: it takes the worker for lost by itself.
            tracing::debug!(worker = %id, "nobody hears that a worker has ended");
        }
    }

    /// Gives a data connection to the worker it asks for.
    pub(super) fn hand_over(&self, hello: Hello, stream: &TcpStream) -> Result<(), String> {
        let socket = match self.state().get(&hello.to) {
            Some(Worker::Running { job, socket, .. }) if *job == hello.job => Arc::clone(socket),
            _ => return Err(format!("worker {} of job {} is not here", hello.to, hello.job)),
        };
        let kind = to_program::Kind::DataSocket(DataSocket { peer: hello.from.write() });
        let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket.send(&ToProgram { kind: Some(kind) }, Some(stream.as_fd())).map_err(|error| error.to_string())
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn pid_of(child: &Child) -> io::Result<Pid> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::other("the system gave a process no number"))
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), String> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(256 << 10).spawn(run).map(drop).map_err(text)
}

/// How a worker ended, in words, and whether it did so by itself.
fn ending(id: WorkerId, job: JobId, status: io::Result<ExitStatus>, last_words: &str) -> (String, bool) {
    let said = if last_words.is_empty() { String::new() } else { format!("; it said last:\n{last_words}") };
    match status {
        Err(error) => (format!("worker {id} of job {job} cannot be waited for: {error}"), false),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => {
                (format!("worker {id} of job {job} ended with exit status {code}{said}"), true)
            }
            (None, signal) => {
                let signal = signal.unwrap_or_default();
                let hint = if signal == Signal::KILL.as_raw() {
                    ": somebody killed it, or the system had no memory left"
                } else {
                    ""
                };
                (format!("worker {id} of job {job} was ended by signal {signal}{hint}{said}"), false)
            }
        },
    }
}
