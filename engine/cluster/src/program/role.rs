//! The role of this process, told once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use flott_core::config::{self, ConfigError, Configuration};
use flott_core::{CodecError, Data};
use flott_fs::Keytab;

use crate::launch::{LaunchSocket, inherited_socket};
use crate::rpc::launch::{Start, ToProgram, Worker, start, to_program};

/// What this process is for.
pub(super) enum Role {
    /// Nobody told.
    None,
    /// Runs its jobs itself.
    Local { restore: Option<String> },
    /// Hands its plan over.
    Plan,
    /// Hands its plans over and waits.
    Driver,
    /// Serves one job.
    Worker(Box<Worker>),
}

/// This process as a program.
pub(super) struct Process {
    pub(super) role: Role,
    arguments: Vec<String>,
    configuration: Option<BTreeMap<String, String>>,
    pub(super) socket: Mutex<Option<LaunchSocket>>,
    executions: AtomicU32,
    /// What main has seen so far; for a worker, what the driver's main has seen.
    recorded: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// A value that has to be the same in every process of a job is not.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The worker's main asks for something that the driver's did not.
    #[error(
        "the program asks for '{name}', which it did not when it was planned: what main does may only depend on its arguments and on what it got through once()"
    )]
    NotRecorded {
        /// The name.
        name: String,
    },
    /// It is of another type.
    #[error("the recorded value '{name}' cannot be read: {source}")]
    Unreadable {
        /// The name.
        name: String,
        /// Why not.
        source: CodecError,
    },
    /// Two values under one name.
    #[error("the name '{name}' is used twice for a recorded value: give every value its own")]
    Twice {
        /// The name.
        name: String,
    },
}

/// This process, as whoever started it said.
pub(super) fn process() -> &'static Process {
    static PROCESS: OnceLock<Process> = OnceLock::new();
    PROCESS.get_or_init(|| match inherited_socket() {
        None => Process::alone(),
        Some(stream) => {
            let started = LaunchSocket::new(stream).ok().and_then(|mut socket| {
                let (message, _) = socket.receive::<ToProgram>().ok()?;
                match message.kind {
                    Some(to_program::Kind::Start(start)) => Some((start, socket)),
                    _ => None,
                }
            });
            match started {
                Some((start, socket)) => Process::started(start, socket),
                None => {
                    // Without a word from it this process would run a job that nobody asked for.
                    eprintln!(
                        "the process that started this program has ended, or is of another version of Flott"
                    );
                    std::process::exit(1)
                }
            }
        }
    })
}

/// The key by which main uses the file systems, if it is to log in: a worker that has tokens, as those on YARN, uses these.
fn key_of(configuration: &BTreeMap<String, String>, is_worker: bool, has_tokens: bool) -> Option<Keytab> {
    if is_worker && has_tokens {
        return None;
    }
    let of = |key: &str| configuration.get(key).filter(|value| !value.is_empty());
    let (principal, path) = (of(config::KERBEROS_PRINCIPAL.key)?, of(config::KERBEROS_KEYTAB.key)?);
    Some(Keytab { principal: principal.clone(), path: path.into() })
}

impl Process {
    fn new(role: Role, arguments: Vec<String>) -> Self {
        Self {
            role,
            arguments,
            configuration: None,
            socket: Mutex::new(None),
            executions: AtomicU32::new(0),
            recorded: Mutex::default(),
        }
    }

    fn alone() -> Self {
        Self::new(Role::None, std::env::args().collect())
    }

    fn started(start: Start, socket: LaunchSocket) -> Self {
        let role = match start.role {
            None => Role::None,
            Some(start::Role::Local(local)) => Role::Local { restore: local.restore },
            Some(start::Role::Plan(_)) => Role::Plan,
            Some(start::Role::Driver(_)) => Role::Driver,
            Some(start::Role::Worker(worker)) => Role::Worker(Box::new(worker)),
        };
        let mut process = Self::new(role, start.arguments);
        if let Role::Worker(worker) = &mut process.role
            && let Some(spec) = &mut worker.spec
        {
            process.recorded = Mutex::new(std::mem::take(&mut spec.recorded));
        }
        let is_worker = matches!(process.role, Role::Worker(_));
        let has_tokens = std::env::var_os("HADOOP_TOKEN_FILE_LOCATION").is_some();
        if let Some(key) = key_of(&start.configuration, is_worker, has_tokens) {
            flott_fs::log_in(Some(key));
        }
        process.configuration = Some(start.configuration);
        process.socket = Mutex::new(Some(socket));
        process
    }

    /// Which execute this is, from 0.
    pub(super) fn next_execution(&self) -> u32 {
        self.executions.fetch_add(1, Ordering::SeqCst)
    }

    /// All that was recorded so far.
    pub(super) fn all_recorded(&self) -> BTreeMap<String, Vec<u8>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers bytes under a name.
    pub(super) fn record(&self, name: String, bytes: Vec<u8>) -> Result<(), RecordError> {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.contains_key(&name) {
            return Err(RecordError::Twice { name });
        }
        recorded.insert(name, bytes);
        Ok(())
    }

    /// What was recorded under a name.
    pub(super) fn replay(&self, name: &str) -> Result<Vec<u8>, RecordError> {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.get(name).cloned().ok_or_else(|| RecordError::NotRecorded { name: name.to_owned() })
    }
}

/// The arguments of the program, its name first: like [`std::env::args`], and the same in every process of a job. A program that
/// is started by `flott run` or by a TaskManager gets them over a socket, so that they stand in no list of processes.
pub fn arguments() -> Vec<String> {
    process().arguments.clone()
}

/// What a program's configuration begins with: what whoever started it set; else what stands in the folder `FLOTT_CONF_DIR`, if
/// that is set. Where nobody sets a parallelism, a program that runs by itself takes the number of the machine's cores.
///
/// # Errors
/// [`ConfigError`] that names the file and the key.
pub fn base_configuration() -> Result<Configuration, ConfigError> {
    let mut configuration = match (&process().configuration, std::env::var_os("FLOTT_CONF_DIR")) {
        (Some(entries), _) => Configuration::from_entries(entries)?,
        (None, Some(folder)) => Configuration::load(Path::new(&folder))?,
        (None, None) => Configuration::new(),
    };
    let runs_by_itself = matches!(process().role, Role::None | Role::Local { .. });
    if runs_by_itself && !configuration.is_set(&config::PARALLELISM) {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        configuration.set(config::PARALLELISM.key, &cores.to_string())?;
    }
    flott_fs::set_hadoop_properties(configuration.hadoop_properties());
    Ok(configuration)
}

/// A value that is the same in every process of a job: made by the process that plans, and handed to the workers.
///
/// # Errors
/// [`RecordError`] if the name is taken, or if main went another way than when it was planned.
pub fn recorded<T: Data>(name: &str, make: impl FnOnce() -> T) -> Result<T, RecordError> {
    let process = process();
    match process.role {
        Role::Worker(_) => {
            let bytes = process.replay(name)?;
            let unreadable = |source| RecordError::Unreadable { name: name.to_owned(), source };
            T::decode(&mut bytes.as_slice()).map_err(unreadable)
        }
        Role::Plan | Role::Driver => {
            let value = make();
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            process.record(name.to_owned(), bytes)?;
            Ok(value)
        }
        Role::None | Role::Local { .. } => Ok(make()),
    }
}

/// What the program takes from outside next, without a name of its own, like the records of a collection: the same in every process of
/// a job, even where `make` goes through a hash map. A worker whose `main` goes another way than the driver's ends.
pub fn same_everywhere<T: Data>(make: impl FnOnce() -> T) -> T {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("main/{}", NEXT.fetch_add(1, Ordering::SeqCst));
    match recorded(&name, make) {
        Ok(value) => value,
        Err(error) => {
            // Only in a worker whose main went another way than the driver's: nothing it could do would be right.
            eprintln!("{error}");
            std::process::exit(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_worker_with_tokens_does_without_the_keytab() {
        let [principal, keytab] = [config::KERBEROS_PRINCIPAL.key, config::KERBEROS_KEYTAB.key];
        let of = |pairs: &[(&str, &str)], is_worker, has_tokens| {
            let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            key_of(&pairs.collect(), is_worker, has_tokens)
        };
        let both = [(principal, "alice@R"), (keytab, "/alice.keytab")];
        let alice = Some(Keytab { principal: "alice@R".to_owned(), path: "/alice.keytab".into() });
        for (is_worker, has_tokens) in [(false, false), (false, true), (true, false)] {
            assert_eq!(of(&both, is_worker, has_tokens), alice);
        }
        assert_eq!(of(&both, true, true), None);
        assert_eq!(of(&both[..1], true, false), None);
        assert_eq!(of(&[(principal, "alice@R"), (keytab, "")], true, false), None);
    }
}
