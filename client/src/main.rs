//! `flott`: submits programs, shows and cancels jobs, starts JobManagers and TaskManagers.
//!
//! The exit status of `flott run` is 0 when the program and all its jobs have finished, 1 when something failed, 2 when the
//! command line was wrong, 130 when it was interrupted.

mod arguments;
mod cluster;
mod fetched;
mod jobs;
mod kerberos;
mod output;
mod pages;
mod progress;
mod report;
mod run;
mod savepoints;
mod services;
mod session_file;
mod single_dash;
mod target;
mod web;
mod yarn;
mod yarn_options;
mod yarn_query;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use flott_cluster::task_manager::become_worker;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// As it should.
    Well,
    /// Not so; whoever knew why has said it.
    Badly,
    /// Its job, or its application, was cancelled.
    Canceled,
    /// Somebody pressed Ctrl-C.
    Interrupted,
    /// YARN stopped its container.
    Terminated,
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Well => Self::SUCCESS,
            Ended::Badly | Ended::Canceled => Self::FAILURE,
            Ended::Interrupted => Self::from(130),
            Ended::Terminated => Self::from(143),
        }
    }
}

/// What every command may say before it gives up.
type CommandError = Box<dyn std::error::Error + Send + Sync>;

fn execute(arguments: Arguments) -> Result<Ended, CommandError> {
    match arguments.command {
        Command::Run(options) => run::run(&options),
        Command::RunApplication(options) => run::run_application(&options),
        Command::YarnSession(options) => yarn::session(&options),
        Command::Info(options) => run::info(&options),
        Command::List(options) => jobs::list(&options),
        Command::Cancel(options) => jobs::cancel(&options),
        Command::Stop { words } => savepoints::stop(&words),
        Command::Savepoint { words } => savepoints::savepoint(&words),
        Command::Checkpoint { .. } => savepoints::checkpoint(),
        Command::Web(options) => web::web(&options),
        Command::LogLevel(options) => jobs::log_level(&options),
        Command::Jobmanager(options) => services::job_manager(&options),
        Command::Taskmanager(options) => services::task_manager(&options),
        Command::ApplicationMaster => services::application_master(),
        Command::YarnTaskmanager => services::yarn_task_manager(),
        Command::StartWorker { task_manager, program } => Err(become_worker(task_manager, &program).into()),
        Command::Manual => pages::manual(),
        Command::Completions { shell } => pages::completions(shell),
    }
}

fn main() -> ExitCode {
    match execute(Arguments::of_process()) {
        Ok(ended) => ended.into(),
        Err(error) => {
            eprintln!("flott: {error}");
            ExitCode::FAILURE
        }
    }
}
