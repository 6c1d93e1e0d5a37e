//! Flott's benchmarks: one workload a run, one line out.
//!
//! ```text
//! flott-bench wordcount FILE | wordcount-batch FILE | sort FILE | keyed-sum EVENTS KEYS | window EVENTS KEYS | latency SECONDS [RATE]
//!             slow-sink KEYS | pause MIB
//!             [--parallelism N] [--checkpoints DIR] [--interval MS] [-D key=value]…
//!
//! flott wordcount parallelism=2 job_s=3.11 result=(172208, 66000000) checkpoints=0
//! ```
//!
//! `job_s` is the time from before the embedded cluster starts to after the job's last record was counted. Results go to a
//! sink that counts, so that no disk is measured but the one that is read.

mod bounds;
mod latency;
mod sink;
mod workloads;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use flott::cluster::program::base_configuration;
use flott::core::config::{self, Configuration};
use flott::prelude::*;

use crate::workloads::Workload;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Runs one workload on an embedded cluster and prints how long it took and what came out.
#[derive(Debug, Parser)]
#[command(name = "flott-bench")]
struct Arguments {
    #[command(subcommand)]
    workload: Command,
    /// Subtasks of each operator; the machine's cores, or what the configuration says, if not given.
    #[arg(long, global = true)]
    parallelism: Option<u32>,
    /// Takes checkpoints to this folder.
    #[arg(long, global = true, value_name = "DIR")]
    checkpoints: Option<String>,
    /// How often checkpoints are taken, in milliseconds; 1000, or what the configuration says, if not given.
    #[arg(long, global = true, value_name = "MS")]
    interval: Option<u64>,
    /// Sets a configuration key.
    #[arg(short = 'D', global = true, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Counts words and emits every update: prints how many words are distinct, and how many there are.
    Wordcount {
        /// The text.
        file: String,
    },
    /// Counts words and emits final counts: prints the same.
    WordcountBatch {
        /// The text.
        file: String,
    },
    /// Sorts the lines that each subtask reads: prints how many there are, and their bytes.
    Sort {
        /// The text.
        file: String,
    },
    /// Emits a key's new sum for every event: prints how many results there are, and how many are odd.
    KeyedSum {
        /// How many events.
        events: u64,
        /// How many keys.
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        keys: u64,
    },
    /// Sends records through three exchanges: prints how long they take.
    Latency {
        /// How long.
        seconds: u64,
        /// Records a second.
        #[arg(default_value_t = 100_000)]
        rate: u64,
    },
    /// Fires one window into a slow sink: prints the memory before and meanwhile.
    SlowSink {
        /// How many keys the window has.
        keys: u64,
    },
    /// Changes large state while checkpoints are taken: prints the longest pauses.
    Pause {
        /// How large the state is, in MiB.
        mib: u64,
    },
    /// Sums by key and second of event time: prints how many results there are, and their sum.
    Window {
        /// How many events.
        events: u64,
        /// How many keys.
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        keys: u64,
    },
}

impl Arguments {
    fn configuration(&self) -> Result<Configuration, ProgramError> {
        let mut configuration = base_configuration()?;
        for (key, value) in &self.set {
            configuration.set(key, value)?;
        }
        if let Some(parallelism) = self.parallelism {
            configuration.set(config::PARALLELISM.key, &parallelism.to_string())?;
        }
        if let Some(folder) = &self.checkpoints {
            configuration.set(config::CHECKPOINT_DIR.key, folder)?;
        }
        let unset = self.checkpoints.is_some() && !configuration.is_set(&config::CHECKPOINT_INTERVAL);
        if let Some(millis) = self.interval.or(unset.then_some(1000)) {
            configuration.set(config::CHECKPOINT_INTERVAL.key, &format!("{millis} ms"))?;
        }
        Ok(configuration)
    }

    fn run(&self) -> Result<(), ProgramError> {
        let configuration = self.configuration()?;
        let parallelism = configuration.get(&config::PARALLELISM);
        let stream = || StreamExecutionEnvironment::with_configuration(configuration.clone());
        let batch = || ExecutionEnvironment::with_configuration(configuration.clone());
        let Workload { name, counts, execute } = match &self.workload {
            Command::Wordcount { file } => workloads::word_count(stream(), file)?,
            Command::WordcountBatch { file } => workloads::word_count_batch(batch(), file)?,
            Command::Sort { file } => workloads::sort(batch(), file)?,
            Command::KeyedSum { events, keys } => workloads::keyed_sum(stream(), *events, *keys),
            Command::Window { events, keys } => workloads::window(stream(), *events, *keys),
            Command::SlowSink { keys } => bounds::slow_sink(stream(), *keys),
            Command::Pause { mib } => bounds::pause(stream(), *mib),
            Command::Latency { seconds, rate } => latency::latency(stream(), *seconds, *rate),
        };
        let start = Instant::now();
        let result = execute(name)?;
        let seconds = start.elapsed().as_secs_f64();
        let (result, checkpoints) = (counts.get(), result.completed_checkpoints);
        println!(
            "flott {name} parallelism={parallelism} job_s={seconds:.2} result={result:?} checkpoints={checkpoints}"
        );
        Ok(())
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text} sets nothing: say KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    match Arguments::parse_from(flott::args()).run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flott-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
