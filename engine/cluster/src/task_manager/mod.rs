//! The TaskManager: an agent that offers slots to the JobManager and keeps a process, a *worker*, for each job that gets some.
//!
//! It runs no user code and moves no records: it fetches programs, starts and kills workers, and hands them the data connections
//! that arrive at its one port.
//!
//! ```text
//! JobManager ─▸ session ─ start, stop ─▸ Workers ─▸ main thread ─▸ process
//!                  ▴                        │ ▴
//!                  └──── how it ended ──────┘ │ connection
//! another worker ─▸ data port ────────────────┘
//! ```

mod data_port;
mod figures;
mod logs;
mod memory_budget;
mod programs;
mod session;
mod starter;
mod tokens;
mod workers;

pub use memory_budget::{MemoryBudget, MemoryBudgetError};
pub use starter::{START_WORKER, become_worker};

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use flott_core::config::{self, Configuration};
use flott_core::ids::TaskManagerId;
use flott_runtime::net::handshake::Secret;
use tokio::sync::{mpsc, watch};

use crate::high_availability::{self, HighAvailabilityError};
use crate::program_store::{ProgramStore, StoreError};
use crate::temp_dir::TempDir;
use programs::Programs;
use session::Session;
use workers::Workers;

/// Workers that may wait to be started.
const QUEUED_STARTS: usize = 64;

/// News of workers that may wait for the JobManager: more than a TaskManager has slots.
const QUEUED_NEWS: usize = 4096;

/// How long workers may take to end when the TaskManager does.
const GOODBYE: Duration = Duration::from_secs(5);

/// Why a TaskManager cannot run.
#[derive(Debug, thiserror::Error)]
pub enum TaskManagerError {
    /// Its threads.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    /// Its port.
    #[error(transparent)]
    Port(io::Error),
    /// Its memory.
    #[error(transparent)]
    Memory(#[from] MemoryBudgetError),
    /// Its folder for programs.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its folder for temporary files.
    #[error(transparent)]
    Folder(#[from] flott_fs::FsError),
    /// Where it looks for the JobManager.
    #[error(transparent)]
    HighAvailability(#[from] HighAvailabilityError),
}

/// Runs a TaskManager on this thread until `shutdown`; then its workers are killed. `programs` are on this machine already, each called
/// by its hash; it fetches others. While there is no JobManager it looks for one.
/// The thread must live as long as the process: workers die with it.
///
/// # Errors
/// [`TaskManagerError`] if a port or folder cannot be had.
pub fn run_task_manager(
    configuration: Configuration,
    secret: Secret,
    programs: &[PathBuf],
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), TaskManagerError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("flott-agent")
        .enable_all()
        .build()
        .map_err(TaskManagerError::Threads)?;
    let budget = MemoryBudget::of(&configuration)?;
    tracing::info!(%budget, "memory");
    let temp_dir = TempDir::create(&configuration)?;
    let (listener, port) =
        runtime.block_on(data_port::bind(&configuration)).map_err(TaskManagerError::Port)?;
    let data_address = format!("{}:{port}", configuration.get(&config::TASK_MANAGER_HOST));
    let (starts, to_start) = sync_channel(QUEUED_STARTS);
    let (news, heard) = mpsc::channel(QUEUED_NEWS);
    let mut shutdown = Box::pin(shutdown);
    let leaders = runtime.block_on(async {
        let look = || high_availability::for_follower(&configuration, &secret);
        tokio::select! {
            leaders = high_availability::patiently(&configuration, look) => leaders.map(Some),
            () = &mut shutdown => Ok(None),
        }
    })?;
    let Some(leaders) = leaders else { return Ok(()) };
    let outlives = high_availability::is_highly_available(&configuration);
    let store = ProgramStore::create(temp_dir.path().join("programs"))?;
    for program in programs {
        store.adopt(program)?;
    }
    let programs = Programs::new(store);
    let workers = Arc::new(Workers::new(configuration.clone(), temp_dir.path().to_owned(), starts, news));
    let (tokens, newest) = watch::channel(Vec::new());
    let session = Session {
        id: TaskManagerId::random(),
        leaders,
        absence_timeout: outlives.then(|| configuration.get(&config::ABSENCE_TIMEOUT)),
        data_address,
        configuration: configuration.clone(),
        resource_id: configuration.get_optional(&config::RESOURCE_ID).unwrap_or_default(),
        slots: budget.slots,
        managed_bytes: budget.managed,
        memory_limit: budget.process,
        memory_bytes_per_slot: budget.slot,
        heartbeat_interval: configuration.get(&config::HEARTBEAT_INTERVAL),
        secret: secret.clone(),
        programs: Arc::new(programs),
        workers: Arc::clone(&workers),
        tokens,
    };
    runtime.spawn(tokens::keep(newest));
    runtime.spawn(data_port::serve(listener, secret, Arc::clone(&workers)));
    runtime.spawn(async move {
        tokio::select! {
            () = session.run(heard) => {}
            () = shutdown => {}
        }
        workers.stop_all();
        let _ = tokio::time::timeout(GOODBYE, workers.all_ended()).await;
        // This ends the loop below.
        workers.close();
    });
    while let Ok(start) = to_start.recv() {
        workers::Start::run(start);
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}
