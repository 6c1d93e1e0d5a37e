//! The workloads by which Flott is measured against other engines.
//!
//! `flott-bench wordcount FILE | wordcount-batch FILE | keyed-sum EVENTS KEYS | window EVENTS KEYS`
//! with `[--parallelism N] [--checkpoints DIR] [--interval MS] [-D key=value]…` behind it. Prints one line: the seconds from the start
//! of the job to its end, and figures by which results are compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flott::prelude::*;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "usage: flott-bench wordcount FILE | wordcount-batch FILE | keyed-sum EVENTS KEYS | window EVENTS KEYS \
                     [--parallelism N] [--checkpoints DIR] [--interval MS] [-D key=value]…";

/// (key, value, event time in ms)
type Event = (u64, u64, i64);

/// Two figures of a run.
#[derive(Clone, Default)]
struct Tally(Arc<[AtomicU64; 2]>);

/// A subtask's part of a tally; added at its end.
struct Count<F> {
    tally: Tally,
    figures: [u64; 2],
    of: F,
}

impl<T, F: Fn(&T) -> u64 + 'static> ProcessFunction<T, ()> for Count<F> {
    fn process(&mut self, record: T, _context: &mut ProcessContext<'_, ()>) -> Result<(), OperatorError> {
        self.figures[0] += 1;
        self.figures[1] += (self.of)(&record);
        Ok(())
    }

    fn end(&mut self, _context: &mut ProcessContext<'_, ()>) -> Result<(), OperatorError> {
        for (sum, figure) in self.tally.0.iter().zip(self.figures) {
            sum.fetch_add(figure, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Counts the records of a stream, and sums `of` over them, in place of a sink.
fn count<T: Data>(stream: &DataStream<T>, of: impl Fn(&T) -> u64 + Copy + Send + Sync + 'static) -> Tally {
    let tally = Tally::default();
    let counted = tally.clone();
    stream.process(move || Count { tally: counted.clone(), figures: [0; 2], of }).discard();
    tally
}

fn mix(index: u64) -> u64 {
    let mut z = index.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn events(env: &StreamExecutionEnvironment, count: u64, keys: u64) -> DataStream<Event> {
    let strategy =
        WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|event: &Event, _| event.2);
    env.generate(count, move |i| (mix(i) % keys, i & 1023, (i / 1000) as i64), strategy)
}

fn word_counts(
    env: &StreamExecutionEnvironment,
    file: &str,
) -> Result<DataStream<(String, u64)>, ProgramError> {
    let words = env.read_text_file(file)?.flat_map_into(|line: String, out| {
        for word in line.split_ascii_whitespace() {
            out.emit((word.to_owned(), 1_u64));
        }
    });
    Ok(words.key_by_ref(|(word, _)| word).sum(|(_, count)| count))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number\n{USAGE}"))
}

fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    let (mut positional, mut parallelism) =
        (Vec::new(), env.configuration().get(&flott::core::config::PARALLELISM));
    let mut given = arguments.iter();
    while let Some(argument) = given.next() {
        if !argument.starts_with('-') {
            positional.push(argument.as_str());
            continue;
        }
        let value = given.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"))?;
        match argument.as_str() {
            "--parallelism" => {
                parallelism = u32::try_from(number(value)?)?;
                env.set_parallelism(parallelism)?;
            }
            "--checkpoints" => {
                env.configure("execution.checkpointing.dir", value)?;
                if !env.configuration().is_set(&flott::core::config::CHECKPOINT_INTERVAL) {
                    env.enable_checkpointing(1000)?;
                }
            }
            "--interval" => drop(env.enable_checkpointing(number(value)?)?),
            "-D" => {
                let (key, value) = value.split_once('=').ok_or(USAGE)?;
                env.configure(key, value)?;
            }
            _ => return Err(USAGE.into()),
        }
    }
    let (workload, tally) = match positional.as_slice() {
        ["wordcount", file] => ("wordcount", count(&word_counts(&env, file)?, |(_, n)| u64::from(*n == 1))),
        ["wordcount-batch", file] => {
            env.configure("execution.runtime-mode", "BATCH")?;
            ("wordcount-batch", count(&word_counts(&env, file)?, |(_, n)| *n))
        }
        ["keyed-sum", events_, keys] => {
            let sums = events(&env, number(events_)?, number(keys)?)
                .key_by_ref(|event| &event.0)
                .sum(|event| &mut event.1);
            ("keyed-sum", count(&sums, |event| event.1 & 1))
        }
        ["window", events_, keys] => {
            let windows = events(&env, number(events_)?, number(keys)?)
                .key_by_ref(|event| &event.0)
                .window(TumblingEventTimeWindows::of(Duration::from_secs(1)));
            ("window", count(&windows.sum(|event| &mut event.1), |event| event.1))
        }
        _ => return Err(USAGE.into()),
    };
    let start = Instant::now();
    let result = env.execute(workload)?;
    let seconds = start.elapsed().as_secs_f64();
    let [records, figure] = [0, 1].map(|index| tally.0[index].load(Ordering::Relaxed));
    // The peers print the distinct words first, then all of them.
    let figures = if workload == "wordcount" { (figure, records) } else { (records, figure) };
    let checkpoints = result.job().completed_checkpoints;
    println!(
        "flott {workload} parallelism={parallelism} job_s={seconds:.2} result={figures:?} checkpoints={checkpoints}"
    );
    Ok(())
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("flott-bench: {error}");
            1.into()
        }
    }
}
