//! Starts a program with a socket it inherits.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::io::{FdFlags, fcntl_setfd};

use super::inherited::VARIABLE;
use super::socket::{LaunchError, LaunchSocket};
use crate::rpc::launch::{Start, ToProgram, to_program};

/// Programs are started one at a time, so that none inherits another's socket.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A program that runs.
#[derive(Debug)]
pub struct Launched {
    /// The process.
    pub child: Child,
    /// The socket to it.
    pub socket: LaunchSocket,
}

/// What a program is started with.
pub struct Launch<'a> {
    /// The binary.
    pub program: &'a Path,
    /// Under which name it runs, for those who list processes.
    pub name: &'a OsStr,
    /// Its arguments, for those who list processes too: a program's own come over the socket.
    pub arguments: Vec<OsString>,
    /// What it is told first.
    pub start: Start,
    /// Where its standard streams go: in, out, error.
    pub streams: [Stdio; 3],
    /// The folder it runs in; none: that of this process.
    pub folder: Option<&'a Path>,
}

/// Starts a program.
///
/// # Errors
/// [`LaunchError`] if the system starts no process, or the program ended before it could be told anything.
pub fn launch(launch: Launch<'_>) -> Result<Launched, LaunchError> {
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;

    let (own, theirs) = UnixStream::pair()?;
    let [input, output, error] = launch.streams;
    let mut command = Command::new(launch.program);
    command.arg0(launch.name).args(launch.arguments).stdin(input).stdout(output).stderr(error);
    command.env(VARIABLE, theirs.as_raw_fd().to_string());
    if let Some(folder) = launch.folder {
        command.current_dir(folder);
    }
    let child = {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        fcntl_setfd(&theirs, FdFlags::empty()).map_err(io::Error::from)?;
        let child = command.spawn();
        drop(theirs);
        child?
    };
    let mut launched = Launched { child, socket: LaunchSocket::new(own)? };
    let told = launched.socket.send(&ToProgram { kind: Some(to_program::Kind::Start(launch.start)) }, None);
    match told {
        // How it ended says more than that it did.
        Ok(()) | Err(LaunchError::Closed) => Ok(launched),
        Err(error) => {
            let _ = launched.child.kill();
            let _ = launched.child.wait();
            Err(error)
        }
    }
}
