//! A program for the tests of clusters: its first argument says what it does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a program for tests")]

mod gated;
mod stamps;

use std::time::Duration;

use flott::prelude::*;
use flott::runtime::source::GeneratorSource;

use gated::{Event, Gated};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::var_os("STUCK_IN_MAIN").is_some() {
        wait_for("/no/such/file");
    }
    let arguments: Vec<String> = flott::args().into_iter().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["sums", events, keys, gate, out] => sums(gated(events, keys, gate)?, out, Extra::None)?,
        ["sums-and-words", events, keys, gate, out] => {
            sums(gated(events, keys, gate)?, out, Extra::Beside)?;
        }
        ["stamped-sums", events, keys, gate, out, stamps] => {
            sums(gated(events, keys, gate)?, out, Extra::Stamps(stamps.to_owned()))?;
        }
        ["batch", events, keys, gate, second_gate, out] => {
            batch(gated(events, keys, gate)?, second_gate, out)?;
        }
        ["stuck-in-worker"] => stuck_in_worker()?,
        ["panics-in-main"] => panic!("main has no wish to go on"),
        ["never-executes"] => {}
        ["exits", code] => std::process::exit(code.parse()?),
        ["differs"] => differs()?,
        ["fails", message] => fails(message.to_owned())?,
        ["aborts"] => misbehaves(|_| std::process::abort())?,
        ["burns"] => misbehaves(burn)?,
        ["leaks"] => misbehaves(leak)?,
        ["starts-a-large-process"] => misbehaves(start_a_large_process)?,
        ["hoards"] => hoards()?,
        ["twice"] => twice()?,
        ["pauses", gate] => pauses(gate)?,
        ["once", out] => once(out)?,
        ["endless"] => endless()?,
        ["held-back"] => held_back()?,
        _ => return Err(format!("unknown arguments {arguments:?}").into()),
    }
    Ok(())
}

/// Small parts, so that there is something to see after a few checkpoints; but a file system is no place for thousands of them, HDFS least of all.
fn parts(events: u64, out: &str) -> FileSinkOptions {
    let part_bytes = match events {
        0..=100_000 => 1_000,
        _ if out.starts_with("hdfs:") => 25_000,
        _ => 10_000,
    };
    FileSinkOptions { part_bytes, ..FileSinkOptions::default() }
}

fn gated(events: &str, keys: &str, gate: &str) -> Result<Gated, std::num::ParseIntError> {
    Ok(Gated { events: events.parse()?, keys: keys.parse()?, gate: gate.into() })
}

/// What sums come with.
enum Extra {
    None,
    /// A pipeline that shares nothing with them.
    Beside,
    /// A folder for the times at which they reach their sink.
    Stamps(String),
}

/// Keyed sums and event-time windows over the same events, each into files.
fn sums(gated: Gated, out: &str, extra: Extra) -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|e: &Event, _| e.2);
    let events = gated.events;
    let source = env.from_source(gated.clone(), strategy, "events").uid("events");
    let line = |record: &(u64, u64), out: &mut Vec<u8>| {
        out.extend_from_slice(format!("{} {}\n", record.0, record.1).as_bytes());
    };
    let sums =
        source.map(|event| (event.0, 1)).key_by(|record| record.0).sum(|record| &mut record.1).uid("sums");
    let sums = match &extra {
        Extra::Stamps(folder) => sums.map(stamps::stamping(folder.clone())),
        _ => sums,
    };
    sums.write_files(&format!("{out}/sums"), line, parts(events, out))?.uid("sum files");
    source
        .key_by(|event| event.0)
        .window(TumblingEventTimeWindows::of(Duration::from_secs(1)))
        .process(|| {
            |key: &u64,
             window: TimeWindow,
             events: &[Event],
             out: &mut ProcessContext<'_, (u64, i64, u64)>| {
                out.emit((*key, window.start, events.iter().map(|event| event.1).sum::<u64>()));
                Ok(())
            }
        })
        .uid("windows")
        .write_files(
            &format!("{out}/windows"),
            |(key, start, sum), out| out.extend_from_slice(format!("{key} {start} {sum}\n").as_bytes()),
            parts(events, out),
        )?
        .uid("window files");
    if matches!(extra, Extra::Beside) {
        env.from_source(gated, WatermarkStrategy::no_watermarks(), "others")
            .uid("others")
            .slot_sharing_group("beside")
            .map(|event| event.1)
            .name("beside")
            .write_files(
                &format!("{out}/beside"),
                |n, out| out.extend_from_slice(format!("{n} {}\n", std::process::id()).as_bytes()),
                parts(events, out),
            )?
            .uid("beside files");
    }
    env.execute("sums")?;
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "it is what the program is for")]
fn wait_for(path: &str) {
    while !std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Counts by key, stage by stage; the second stage waits for another file.
fn batch(source: Gated, gate: &str, out: &str) -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    env.configure("execution.runtime-mode", "BATCH")?;
    let gate = gate.to_owned();
    env.from_source(source, WatermarkStrategy::no_watermarks(), "events")
        .map(|event| (event.0, 1))
        .key_by(|record| record.0)
        .sum(|record: &mut (u64, u64)| &mut record.1)
        .map(move |record| {
            wait_for(&gate);
            record
        })
        .write_files(
            out,
            |record, out| out.extend_from_slice(format!("{} {}\n", record.0, record.1).as_bytes()),
            FileSinkOptions::default(),
        )?;
    env.execute("batch")?;
    Ok(())
}

/// Waits for ever where it was not planned.
fn stuck_in_worker() -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    let planner = env.once("planner", || u64::from(std::process::id()))?;
    if planner != u64::from(std::process::id()) {
        wait_for("/no/such/file");
    }
    env.generate_sequence(1, 10).discard();
    env.execute("stuck")?;
    Ok(())
}

/// Builds another plan in a worker than where it was planned.
fn differs() -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    let numbers = env.generate_sequence(1, 10);
    // The driver has a terminal's environment, a worker what its TaskManager has.
    if std::env::var_os("DRIVER").is_some() {
        numbers.map(|n| n + 1).discard()
    } else {
        numbers.discard()
    };
    env.execute("differs")?;
    Ok(())
}

fn fails(message: String) -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    let check = move |n: i64| {
        assert!(n < 500, "{message}");
        n
    };
    env.generate_sequence(1, 1000).map(check).name("Check").discard();
    env.execute("fails")?;
    Ok(())
}

/// Does something bad after a while.
fn misbehaves(how: fn(i64)) -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    env.set_parallelism(1)?;
    let numbers = GeneratorSource::new(1 << 40, |n| n as i64).with_records_per_second(1000.0);
    let misbehave = move |n| {
        if n == 200 {
            how(n);
        }
        n
    };
    env.from_source(numbers, WatermarkStrategy::no_watermarks(), "numbers").map(misbehave).discard();
    env.execute("misbehaves")?;
    Ok(())
}

fn burn(mut n: i64) {
    while n != 0 {
        n = std::hint::black_box(n);
    }
}

fn leak(_: i64) {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for _ in 0..512 {
        kept.push(vec![1; 1 << 20]);
    }
    std::mem::forget(kept);
}

/// A process that holds 700 MiB, of which Flott knows nothing, for a minute.
fn start_a_large_process(_: i64) {
    let hold = "head -c 700m /dev/zero | tail -c 700m | sleep 60";
    let child = std::process::Command::new("sh").args(["-c", hold]).spawn();
    drop(child.and_then(|mut child| child.wait()));
}

/// Keeps more state than a small TaskManager has memory.
fn hoards() -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    let records =
        GeneratorSource::new(u64::MAX, |n| (n, "x".repeat(1000))).with_records_per_second(100_000.0);
    env.from_source(records, WatermarkStrategy::no_watermarks(), "records")
        .key_by(|record| record.0)
        .reduce(|first, _| first)
        .name("Hoard")
        .discard();
    env.execute("hoards")?;
    Ok(())
}

/// The second job begins with what the first has collected.
fn twice() -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    let squares = env.generate_sequence(1, 100).map(|n| n * n).collect();
    let mut squares = env.execute("first")?.get(&squares)?;
    squares.sort_unstable();
    let biggest = env.from_collection(squares.into_iter().rev().take(3)).map(|n| n + 1).collect();
    let mut biggest = env.execute("second")?.get(&biggest)?;
    biggest.sort_unstable();
    println!("{biggest:?}");
    Ok(())
}

/// Thinks before its jobs, and between them.
#[allow(clippy::disallowed_methods, reason = "it is what the program is for")]
fn pauses(gates: &str) -> Result<(), Box<dyn std::error::Error>> {
    for gate in ["before", "between"] {
        while !std::path::Path::new(gates).join(gate).exists() {
            // Whoever would open it is gone.
            if !std::path::Path::new(gates).exists() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let env = StreamExecutionEnvironment::new()?;
        env.generate_sequence(1, 10).discard();
        env.execute(gate)?;
        std::fs::write(format!("{gates}/{gate}-done"), "")?;
    }
    Ok(())
}

/// What main takes from outside is the same in every process.
fn once(out: &str) -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    let driver = env.once("pid", || u64::from(std::process::id()))?;
    env.generate_sequence(1, 20).map(move |_| format!("{driver} {}\n", std::process::id())).write_files(
        out,
        |line, out| out.extend_from_slice(line.as_bytes()),
        parts(0, out),
    )?;
    env.execute("once")?;
    println!("{driver}");
    Ok(())
}

/// More records than a keyed operator can take, most of them with one key; and another branch, which could take more.
fn held_back() -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    let strategy = WatermarkStrategy::for_monotonous_timestamps()
        .with_timestamp_assigner(|n: &u64, _| 1_700_000_000_000 + *n as i64 / 10);
    let clicks = env.from_source(GeneratorSource::new(1 << 50, |n| n), strategy, "clicks");
    clicks
        .key_by(|n| if n % 10 < 7 { 0 } else { n % 97 })
        .reduce(|first, second| {
            let mut sum = first.wrapping_add(second);
            for step in 0..3_000_u64 {
                sum = std::hint::black_box(sum.rotate_left(3) ^ step);
            }
            sum
        })
        .name("Slow sum")
        .discard()
        .name("Totals");
    clicks
        .map(|n| (n % 1000, 1_u64))
        .name("By page")
        .key_by(|record| record.0)
        .sum(|record: &mut (u64, u64)| &mut record.1)
        .name("Views")
        .discard()
        .name("Pages");
    env.execute("clicks by user and page")?;
    Ok(())
}

fn endless() -> Result<(), Box<dyn std::error::Error>> {
    let env = StreamExecutionEnvironment::new()?;
    let numbers = GeneratorSource::new(1 << 40, |n| n).with_records_per_second(1000.0);
    env.from_source(numbers, WatermarkStrategy::no_watermarks(), "numbers")
        .key_by(|n| n % 7)
        .sum(|n| n)
        .discard();
    env.execute("endless")?;
    Ok(())
}
