//! Flott's benchmarks: one workload a run, one line out.
//!
//! ```text
//! flott-bench wordcount FILE | wordcount-batch FILE | keyed-sum EVENTS KEYS | window EVENTS KEYS
//!             [--parallelism N] [--checkpoints DIR] [--interval MS] [-D key=value]…
//!
//! flott wordcount parallelism=2 job_s=3.11 result=(172208, 66000000)
//! ```
//!
//! `job_s` is the time from before the embedded cluster starts to after the job's last record was counted. Results go to a
//! sink that counts, so that no disk is measured but the one that is read.

mod sink;
mod workloads;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
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
    /// Subtasks of each operator.
    #[arg(long, global = true, default_value_t = 2)]
    parallelism: u32,
    /// Takes checkpoints to this folder.
    #[arg(long, global = true, value_name = "DIR")]
    checkpoints: Option<String>,
    /// How often checkpoints are taken, in milliseconds.
    #[arg(long, global = true, value_name = "MS", default_value_t = 1000)]
    interval: u64,
    /// Sets a configuration key.
    #[arg(short = 'D', global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
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
    /// Emits a key's new sum for every event: prints how many results there are, and how many are odd.
    KeyedSum {
        /// How many events.
        events: u64,
        /// How many keys.
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        keys: u64,
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
    fn environment(&self) -> Result<StreamExecutionEnvironment, ProgramError> {
        let env = StreamExecutionEnvironment::new()?;
        env.set_parallelism(self.parallelism)?;
        if let Some(folder) = &self.checkpoints {
            env.configure("execution.checkpointing.dir", folder)?;
            env.enable_checkpointing(self.interval)?;
        }
        for setting in &self.set {
            let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
            env.configure(key, value)?;
        }
        Ok(env)
    }

    fn run(&self) -> Result<(), ProgramError> {
        let env = self.environment()?;
        let Workload { name, counts } = match &self.workload {
            Command::Wordcount { file } => workloads::word_count(&env, file)?,
            Command::WordcountBatch { file } => workloads::word_count_batch(&env, file)?,
            Command::KeyedSum { events, keys } => workloads::keyed_sum(&env, *events, *keys),
            Command::Window { events, keys } => workloads::window(&env, *events, *keys),
        };
        let start = Instant::now();
        let result = env.execute(name)?;
        let seconds = start.elapsed().as_secs_f64();
        let parallelism = self.parallelism;
        print!("flott {name} parallelism={parallelism} job_s={seconds:.2} result={:?}", counts.get());
        if self.checkpoints.is_some() {
            print!(" checkpoints={}", result.job().completed_checkpoints);
        }
        println!();
        Ok(())
    }
}

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flott-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
