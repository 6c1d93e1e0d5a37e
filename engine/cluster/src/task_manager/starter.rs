//! The step between a TaskManager and a worker: the TaskManager's own executable ties the process to the TaskManager's life, then
//! becomes the program. So a worker dies with its TaskManager even if its `main` has not come to Flott yet.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The hidden command of the `flott` executable that calls [`become_worker`] with the arguments behind it.
pub const START_WORKER: &str = "start-worker";

/// The name under which workers run.
const WORKER_NAME: &str = "flott-worker";

/// This executable, whatever was put into its place on disk.
pub(super) const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// The arguments with which [`OWN_EXECUTABLE`] becomes a worker that runs `program`.
pub(super) fn arguments(program: &Path) -> Vec<OsString> {
    vec![START_WORKER.into(), std::process::id().to_string().into(), program.into()]
}

/// Makes this process die with its parent, which must be `task_manager`, and become `program`. Only returns if it cannot.
pub fn become_worker(task_manager: u32, program: &Path) -> io::Error {
    // The signal comes when the thread that started this process ends: a TaskManager starts workers from one that lives as long as it.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    if getppid().map(Pid::as_raw_pid) != i32::try_from(task_manager).ok() {
        return io::Error::other("the TaskManager has ended");
    }
    Command::new(program).arg0(WORKER_NAME).exec()
}
