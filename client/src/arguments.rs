//! The command line: the one table that the parser, the help, the manual and the completions are made of.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use flott_cluster::task_manager::START_WORKER;
use flott_core::config::{self, Configuration};

use crate::CommandError;

/// Batch and stream programs on clusters.
#[derive(Debug, Parser)]
#[command(
    name = "flott",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  flott run -m local -p 4 target/release/wordcount --input books
  flott run -m jm.example.org:6123 -d target/release/clicks
  flott list
  flott cancel 6f0d0f2ab2c64d2b8f4f0a3c8b4e7d11"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program: its jobs go to a cluster, or run in the program itself
    #[command(after_help = "\
Examples:
  flott run -m local -p 4 target/release/wordcount --input books
  flott run -d -s file:///checkpoints/6f0d…/chk-42 target/release/clicks
  flott run -D execution.checkpointing.interval=10s target/release/clicks

Exit status: 0 finished, 1 failed, 2 wrong usage, 130 interrupted (Ctrl-C cancels the job of an attached program).")]
    Run(RunOptions),
    /// Print the JobGraph of a program without running it
    #[command(after_help = "Example:\n  flott info --json -p 4 target/release/wordcount --input books")]
    Info(InfoOptions),
    /// List the jobs of a cluster
    #[command(after_help = "Example:\n  flott list -a -m jm.example.org:6123")]
    List(ListOptions),
    /// Cancel a job
    #[command(after_help = "Example:\n  flott cancel 6f0d0f2ab2c64d2b8f4f0a3c8b4e7d11")]
    Cancel(CancelOptions),
    /// Change what a cluster's processes, or the workers of one job, log
    #[command(after_help = "Example:\n  flott log-level info,flott_cluster=debug")]
    LogLevel(LogLevelOptions),
    /// Run a JobManager until it is terminated
    Jobmanager(ServiceOptions),
    /// Run a TaskManager until it is terminated
    Taskmanager(ServiceOptions),
    /// Become a worker of the TaskManager with this process id
    #[command(hide = true, name = START_WORKER)]
    StartWorker {
        /// The TaskManager
        task_manager: u32,
        /// The program
        program: PathBuf,
    },
    /// Print this manual as a man page
    #[command(hide = true)]
    Manual,
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  flott completions bash > ~/.local/share/bash-completion/completions/flott"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// Set a configuration key; may be given many times
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// The folder with flott-conf.yaml
    #[arg(long, value_name = "DIR", env = "FLOTT_CONF_DIR")]
    pub(crate) conf_dir: Option<PathBuf>,
}

impl Settings {
    /// What the folder and the command line say.
    pub(crate) fn configuration(&self) -> Result<Configuration, CommandError> {
        let mut configuration = match &self.conf_dir {
            Some(folder) => Configuration::load(folder)?,
            None => Configuration::new(),
        };
        for assignment in &self.set {
            configuration.set_override(assignment)?;
        }
        Ok(configuration)
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Master {
    /// The JobManager, HOST:PORT; what jobmanager.rpc.address and jobmanager.rpc.port say, if not given
    #[arg(short = 'm', long = "jobmanager", value_name = "HOST:PORT")]
    pub(crate) master: Option<String>,
}

impl Master {
    /// Where the JobManager is.
    pub(crate) fn address(&self, configuration: &Configuration) -> String {
        self.master.clone().unwrap_or_else(|| {
            let host = configuration.get(&config::JOB_MANAGER_ADDRESS);
            format!("{host}:{}", configuration.get(&config::JOB_MANAGER_PORT))
        })
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Program {
    /// Subtasks of each operator that does not say how many it wants
    #[arg(short = 'p', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub(crate) parallelism: Option<u32>,
    /// The program, an executable that depends on the flott crate, and what it gets
    #[arg(value_names = ["PROGRAM", "ARGS"], required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true)]
    line: Vec<String>,
}

impl Program {
    /// The configuration with what the flags say.
    pub(crate) fn configure(&self, settings: &Settings) -> Result<Configuration, CommandError> {
        let mut configuration = settings.configuration()?;
        if let Some(parallelism) = self.parallelism {
            configuration.set(config::PARALLELISM.key, &parallelism.to_string())?;
        }
        Ok(configuration)
    }

    /// The arguments as the program sees them, its name first.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.line
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        Path::new(self.line.first().map_or("", String::as_str))
    }
}

impl Arguments {
    /// The command line of this process; where it is wrong, the process ends.
    pub(crate) fn of_process() -> Self {
        let parsed = Self::parse();
        if let Some(flag) = parsed.unknown_flag() {
            let message = format!("unexpected argument '{flag}' found before the program");
            Self::command().error(ErrorKind::UnknownArgument, message).exit()
        }
        parsed
    }

    /// All that follows the first word which is no flag belongs to the program, so an unknown flag looks like a program.
    fn unknown_flag(&self) -> Option<&str> {
        let program = match &self.command {
            Command::Run(options) => &options.program,
            Command::Info(options) => &options.program,
            _ => return None,
        };
        program.line.first().map(String::as_str).filter(|word| word.starts_with('-'))
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Where its jobs run: local, or a JobManager's HOST:PORT; what the configuration says, if not given
    #[arg(short = 'm', long = "jobmanager", value_name = "local|HOST:PORT")]
    pub(crate) master: Option<String>,
    /// Do not wait for the job: print its id
    #[arg(short = 'd', long)]
    pub(crate) detached: bool,
    /// Go on from this checkpoint
    #[arg(short = 's', long = "from-checkpoint", value_name = "CHECKPOINT")]
    pub(crate) checkpoint: Option<String>,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) program: Program,
}

#[derive(Debug, Args)]
pub(crate) struct InfoOptions {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) program: Program,
}

#[derive(Debug, Args)]
pub(crate) struct ListOptions {
    /// Only jobs that run
    #[arg(short = 'r', long)]
    pub(crate) running: bool,
    /// Only jobs that have not begun
    #[arg(short = 's', long)]
    pub(crate) scheduled: bool,
    /// Also jobs that are over
    #[arg(short = 'a', long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) master: Master,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct CancelOptions {
    /// The job's id
    #[arg(value_name = "JOB")]
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) master: Master,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct LogLevelOptions {
    /// error, warn, info, debug, trace or off, also by part as in info,flott_cluster=debug
    #[arg(value_name = "LEVELS")]
    pub(crate) levels: String,
    /// Only the workers of this job
    #[arg(long, value_name = "JOB")]
    pub(crate) job: Option<String>,
    #[command(flatten)]
    pub(crate) master: Master,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceOptions {
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_follows_the_program_is_the_programs() {
        let line = ["flott", "run", "-p", "3", "-D", "a.b=c", "prog", "-p", "9", "--help", "-D", "x=y"];
        let Command::Run(options) = Arguments::parse_from(line).command else { panic!("it is run") };
        assert_eq!(options.program.parallelism, Some(3));
        assert_eq!(options.settings.set, ["a.b=c"]);
        assert_eq!(options.program.arguments(), ["prog", "-p", "9", "--help", "-D", "x=y"]);
    }

    #[test]
    fn a_flag_that_nobody_knows_is_no_program() {
        let unknown = Arguments::parse_from(["flott", "run", "--fast", "prog"]);
        assert_eq!(unknown.unknown_flag(), Some("--fast"));
        let known = Arguments::parse_from(["flott", "info", "--json", "prog", "--fast"]);
        assert_eq!(known.unknown_flag(), None);
    }

    #[test]
    fn help_is_what_it_was() {
        insta::assert_snapshot!("help", Arguments::command().render_long_help());
        let mut command = Arguments::command();
        let run = command.find_subcommand_mut("run").unwrap();
        insta::assert_snapshot!("help_run", run.render_long_help());
    }
}
