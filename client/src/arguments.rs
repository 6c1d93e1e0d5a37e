//! The command line: the one table that the parser, the help, the manual and the completions are made of.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use flott_cluster::task_manager::START_WORKER;
use flott_core::config::{self, Configuration};

use crate::CommandError;
use crate::single_dash::with_two_dashes;
use crate::target::{Target, Wanted};
use crate::yarn_options::{YarnOptions, YarnSessionOptions, warn_of};

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

Exit status: 0 finished, 1 failed or cancelled, 2 wrong usage, 130 interrupted (Ctrl-C cancels the job of an attached program).")]
    Run(RunOptions),
    /// Run a program on a cluster of its own, main included
    #[command(after_help = "\
Examples:
  flott run-application -t yarn-application -p 4 target/release/wordcount --input hdfs:///books
  flott run-application -t yarn-application -d -D yarn.application.queue=nightly target/release/clicks

Exit status: that of the application, 0 succeeded, 1 failed or killed; detached: 0 when YARN has accepted it.")]
    RunApplication(RunOptions),
    /// Start a cluster on YARN that runs programs until it is stopped
    #[command(after_help = "\
Examples:
  flott yarn-session -d -tm 2g -s 4
  flott run -t yarn-session target/release/wordcount --input hdfs:///books
  echo stop | flott yarn-session -id application_1732183200000_0007")]
    YarnSession(YarnSessionOptions),
    /// Print the JobGraph of a program without running it
    #[command(after_help = "Example:\n  flott info --json -p 4 target/release/wordcount --input books")]
    Info(InfoOptions),
    /// List the jobs of a cluster
    #[command(after_help = "Example:\n  flott list -a -m jm.example.org:6123")]
    List(ListOptions),
    /// Cancel a job
    #[command(after_help = "Example:\n  flott cancel 6f0d0f2ab2c64d2b8f4f0a3c8b4e7d11")]
    Cancel(CancelOptions),
    /// Means nothing yet: there are no savepoints; says what to do instead
    #[command(hide = true)]
    Stop {
        /// What Flink's takes
        #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
        words: Vec<String>,
    },
    /// Means nothing yet: there are no savepoints; says what to do instead
    #[command(hide = true)]
    Savepoint {
        /// What Flink's takes
        #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
        words: Vec<String>,
    },
    /// Means nothing yet: checkpoints are not taken on demand; says what to do instead
    #[command(hide = true)]
    Checkpoint {
        /// What Flink's takes
        #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
        words: Vec<String>,
    },
    /// Print the address of a cluster's web page, with the tokens that open it
    #[command(after_help = "\
Whoever has the address can read, and change what the page can change: it is as secret as a password.

Example:
  flott web --read-only -m jm.example.org:6123")]
    Web(WebOptions),
    /// Change what a cluster's processes, or the workers of one job, log
    #[command(after_help = "Example:\n  flott log-level info,flott_cluster=debug")]
    LogLevel(LogLevelOptions),
    /// Be the ApplicationMaster of the container this runs in
    #[command(hide = true)]
    ApplicationMaster,
    /// Be a TaskManager in the container this runs in
    #[command(hide = true)]
    YarnTaskmanager,
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

/// What assignments say of a key.
fn said<'a>(assignments: &'a [String], key: &str) -> Option<&'a str> {
    let mut values = assignments.iter().rev().filter_map(|assignment| assignment.split_once('='));
    values.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Master {
    /// The JobManager, HOST:PORT; what jobmanager.rpc.address and jobmanager.rpc.port say, if not given
    #[arg(short = 'm', long = "jobmanager", value_name = "HOST:PORT")]
    pub(crate) master: Option<String>,
    /// What it runs on: remote, yarn-session, or with an application's id yarn-application or yarn-per-job
    #[arg(short = 't', long, visible_short_alias = 'e', alias = "executor", value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// The cluster's application on YARN [also -yid]
    #[arg(long = "yarnapplicationId", value_name = "ID")]
    pub(crate) application_id: Option<String>,
    /// The id under which high availability keeps the cluster [also -yz]
    #[arg(short = 'z', long = "zookeeperNamespace", alias = "yarnzookeeperNamespace", value_name = "ID")]
    pub(crate) cluster_id: Option<String>,
}

impl Master {
    /// The configuration that is meant, and which cluster.
    pub(crate) fn meant(&self, settings: &Settings) -> Result<(Configuration, Target), CommandError> {
        let mut configuration = settings.configuration()?;
        if let Some(id) = &self.application_id {
            configuration.set(config::YARN_APPLICATION_ID.key, id)?;
        }
        if let Some(id) = &self.cluster_id {
            configuration.set(config::HA_CLUSTER_ID.key, id)?;
        }
        let wanted = Wanted {
            master: self.master.as_deref(),
            target: self.target.as_deref().or(said(&settings.set, config::EXECUTION_TARGET.key)),
            names_application: self.application_id.is_some()
                || said(&settings.set, config::YARN_APPLICATION_ID.key).is_some(),
            only_asks: true,
        };
        let target = Target::of(&wanted, &configuration)?;
        Ok((configuration, target))
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
    /// Sets what the flags say.
    pub(crate) fn configure(&self, configuration: &mut Configuration) -> Result<(), CommandError> {
        if let Some(parallelism) = self.parallelism {
            configuration.set(config::PARALLELISM.key, &parallelism.to_string())?;
        }
        Ok(())
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
        let line = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let parsed = Self::parse_from(Self::words(line));
        if let Some(flag) = parsed.unknown_flag() {
            let message = format!("unexpected argument '{flag}' found before the program");
            Self::command().error(ErrorKind::UnknownArgument, message).exit()
        }
        parsed
    }

    /// A command line as the table has it.
    pub(crate) fn words(line: Vec<String>) -> Vec<String> {
        let mut table = Self::command();
        // Arguments of subcommands are there once it is built.
        table.build();
        with_two_dashes(line, &table)
    }

    /// All that follows the first word which is no flag belongs to the program, so an unknown flag looks like a program.
    fn unknown_flag(&self) -> Option<&str> {
        let program = match &self.command {
            Command::Run(options) | Command::RunApplication(options) => &options.program,
            Command::Info(options) => &options.program,
            _ => return None,
        };
        program.line.first().map(String::as_str).filter(|word| word.starts_with('-'))
    }
}

/// What Flink's programs need to be found in a jar.
#[derive(Debug, Clone, Args)]
pub(crate) struct JarOptions {
    /// Means nothing here: a program has one main
    #[arg(short = 'c', long = "class", value_name = "NAME", hide = true)]
    class: Option<String>,
    /// Means nothing here: a program is one binary
    #[arg(short = 'C', long = "classpath", value_name = "URL", hide = true)]
    classpath: Vec<String>,
}

impl JarOptions {
    /// Says that they mean nothing.
    pub(crate) fn warn(&self) {
        if self.class.is_some() {
            warn_of("-c", "a program has one main");
        }
        if !self.classpath.is_empty() {
            warn_of("-C", "a program is one binary, with all it needs");
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Where its jobs run: local, yarn-cluster, or a JobManager's HOST:PORT; what the configuration says, if not given
    #[arg(short = 'm', long = "jobmanager", value_name = "local|yarn-cluster|HOST:PORT")]
    pub(crate) master: Option<String>,
    /// Where its jobs run: local, remote, yarn-session, yarn-per-job or yarn-application
    #[arg(short = 't', long, visible_short_alias = 'e', alias = "executor", value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// Do not wait for the job: print its id
    #[arg(short = 'd', long)]
    pub(crate) detached: bool,
    /// Go on from this checkpoint
    #[arg(short = 's', long = "from-checkpoint", alias = "fromSavepoint", value_name = "CHECKPOINT")]
    pub(crate) checkpoint: Option<String>,
    /// Drop state of operators that the program no longer has
    #[arg(short = 'n', long = "allow-non-restored-state", alias = "allowNonRestoredState")]
    pub(crate) allow_non_restored_state: bool,
    /// End the cluster that was started for this command when the command is interrupted [also -sae]
    #[arg(long = "shutdownOnAttachedExit", alias = "shutdown-on-attached-exit")]
    pub(crate) shutdown_on_attached_exit: bool,
    /// Write how the program ended, and the figures of its jobs, into this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// The id under which high availability keeps the cluster
    #[arg(short = 'z', long = "zookeeperNamespace", value_name = "ID")]
    pub(crate) cluster_id: Option<String>,
    #[command(flatten)]
    pub(crate) jar: JarOptions,
    /// What becomes of the checkpoint that the program goes on from: it stays, as with no_claim; claim is warned of
    #[arg(long = "claimMode", alias = "restoreMode", value_name = "MODE", hide = true)]
    pub(crate) claim_mode: Option<String>,
    #[command(flatten)]
    pub(crate) yarn: YarnOptions,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) program: Program,
}

impl RunOptions {
    /// Whether the command waits for nothing.
    pub(crate) fn is_detached(&self) -> bool {
        self.detached || self.yarn.detached
    }

    /// What is said of where its jobs run. `target`: what `-t` says, or the command itself.
    pub(crate) fn wanted<'a>(&'a self, target: Option<&'a str>) -> Wanted<'a> {
        let said = |key| said(&self.yarn.properties, key).or_else(|| said(&self.settings.set, key));
        Wanted {
            master: self.master.as_deref(),
            target: target.or_else(|| said(config::EXECUTION_TARGET.key)),
            names_application: self.yarn.application_id.is_some()
                || said(config::YARN_APPLICATION_ID.key).is_some(),
            only_asks: false,
        }
    }

    /// The configuration with what the options say. Options of Flink's that mean nothing here are warned of.
    pub(crate) fn configuration(&self) -> Result<Configuration, CommandError> {
        let mut configuration = self.settings.configuration()?;
        self.yarn.configure(&mut configuration)?;
        self.program.configure(&mut configuration)?;
        if self.allow_non_restored_state {
            configuration.set(config::ALLOW_NON_RESTORED_STATE.key, "true")?;
        }
        if self.shutdown_on_attached_exit {
            configuration.set(config::SHUTDOWN_ON_ATTACHED_EXIT.key, "true")?;
        }
        if let Some(id) = &self.cluster_id {
            configuration.set(config::HA_CLUSTER_ID.key, id)?;
        }
        self.jar.warn();
        match self.claim_mode.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("no_claim" | "no-claim") => Ok(configuration),
            Some("claim") => {
                eprintln!(
                    "flott: warning: -cm claim is taken as no_claim: the job leaves the checkpoint that it goes on from, and you remove it"
                );
                Ok(configuration)
            }
            Some(other) => Err(format!("-cm {other}: one of claim no_claim is expected").into()),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct InfoOptions {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) jar: JarOptions,
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
    #[arg(value_name = "JOB", required_unless_present = "savepoint")]
    pub(crate) job: Option<String>,
    /// Is refused: there are no savepoints yet
    #[arg(
        id = "savepoint",
        short = 's',
        long = "withSavepoint",
        value_name = "DIR",
        num_args = 0..=1,
        hide = true
    )]
    pub(crate) savepoint: Option<Option<String>>,
    #[command(flatten)]
    pub(crate) master: Master,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct WebOptions {
    /// Only the token for reading
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Not through YARN's proxy
    #[arg(long)]
    pub(crate) direct: bool,
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
        let known =
            Arguments::parse_from(["flott", "info", "--json", "-c", "Main", "-C", "x", "prog", "--fast"]);
        assert_eq!(known.unknown_flag(), None);
    }

    #[test]
    fn what_the_command_line_names_is_told_from_what_the_configuration_says() {
        let wanted = |line: &str| {
            let line = format!("flott run {line} prog -yid x -D yarn.application.id=x");
            let line = Arguments::words(line.split_whitespace().map(str::to_owned).collect());
            let Command::Run(options) = Arguments::parse_from(line).command else { panic!("it is run") };
            let wanted = options.wanted(options.target.as_deref());
            (wanted.names_application, wanted.target.map(str::to_owned))
        };
        assert_eq!(wanted(""), (false, None));
        for line in
            ["-yid a", "-D yarn.application.id=a", "-Dyarn.application.id=a", "-yDyarn.application.id=a"]
        {
            assert_eq!(wanted(line), (true, None), "{line}");
        }
        assert_eq!(wanted("-D execution.target=a -yDexecution.target=b"), (false, Some("b".into())));
        assert_eq!(wanted("-t a -D execution.target=b"), (false, Some("a".into())));
    }

    #[test]
    fn help_is_what_it_was() {
        insta::assert_snapshot!("help", Arguments::command().render_long_help());
        let mut command = Arguments::command();
        let run = command.find_subcommand_mut("run").unwrap();
        insta::assert_snapshot!("help_run", run.render_long_help());
    }
}
