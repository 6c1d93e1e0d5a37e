//! Failures in the middle: what is committed is what an undisturbed run would have written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flott::prelude::*;
use flott::runtime::operator::OperatorInfo;
use flott::runtime::slot::TaskWaker;
use flott::runtime::source::GeneratorSource;

use crate::support::{counted, environment, lines_in, recovering};

/// Fails at the given records of a subtask's first attempts, each once in the whole test.
#[derive(Clone)]
struct Saboteur {
    left: Arc<AtomicU64>,
    seen: Arc<AtomicU64>,
    every: u64,
}

impl Saboteur {
    fn new(failures: u64, every: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(failures)), seen: Arc::default(), every }
    }

    fn pass(&self) {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst);
        if seen % self.every == self.every - 1 {
            let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            assert!(left.is_err(), "a failure for the test");
        }
    }
}

fn recovering_environment(
    checkpoints: &std::path::Path,
    more: &[(&str, &str)],
) -> StreamExecutionEnvironment {
    let env = environment(more);
    for (key, value) in recovering(checkpoints) {
        env.configure(&key, value).unwrap();
    }
    env
}

#[test]
fn every_update_is_committed_once_whatever_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, output) = (folder.path().join("checkpoints"), folder.path().join("out"));
    let env = recovering_environment(&checkpoints, &[]);
    let saboteur = Saboteur::new(8, 2_500);
    let sabotage = saboteur.clone();
    let source =
        GeneratorSource::new(30_000, |n| (format!("k{}", n % 101), 1_u64)).with_records_per_second(40_000.0);
    let sums = env
        .from_source(source, WatermarkStrategy::no_watermarks(), "records")
        .uid("records")
        .key_by_ref(|(key, _)| key)
        .sum(|(_, count)| count)
        .uid("sums")
        .map(move |record| {
            sabotage.pass();
            record
        });
    // Two sinks that write into one folder.
    for sink in ["one", "two"] {
        sums.write_files(
            output.to_str().unwrap(),
            move |(key, count), out| out.extend_from_slice(format!("{sink} {key} {count}\n").as_bytes()),
            FileSinkOptions { part_bytes: 20_000, ..FileSinkOptions::default() },
        )
        .unwrap()
        .uid(sink);
    }
    let result = env.execute("exactly once").unwrap();
    assert_eq!(saboteur.left.load(Ordering::SeqCst), 0, "all failures happened");
    // Both subtasks may fail before one of them has been stopped.
    assert!(result.job().restarts >= 4, "{}", result.job().restarts);
    assert!(result.job().completed_checkpoints > 0, "{:?}", result.job());
    let expected = (0..30_000_u64)
        .flat_map(|n| ["one", "two"].map(|sink| format!("{sink} k{} {}", n % 101, n / 101 + 1)));
    assert_eq!(counted(lines_in(&output)), counted(expected));
    assert!(!checkpoints.join(result.job_id().to_string()).exists(), "a finished job leaves no checkpoints");
}

#[test]
fn windows_and_collected_records_survive_failures() {
    let folder = tempfile::tempdir().unwrap();
    let run = |failures| {
        let env = recovering_environment(folder.path(), &[]);
        let saboteur = Saboteur::new(failures, 3_000);
        let strategy = WatermarkStrategy::for_monotonous_timestamps()
            .with_timestamp_assigner(|event: &(u64, u64, i64), _| event.2);
        let source = GeneratorSource::new(40_000, |n| (n % 53, n % 7, (n / 10) as i64))
            .with_records_per_second(60_000.0);
        let sums = env
            .from_source(source, strategy, "events")
            .map(move |event| {
                saboteur.pass();
                event
            })
            .key_by(|event| event.0)
            .window(TumblingEventTimeWindows::of(Duration::from_millis(250)))
            .sum(|event| &mut event.1)
            .map(|event| (event.0, event.1))
            .collect();
        let result = env.execute("windows").unwrap();
        let mut sums = result.get(&sums).unwrap();
        sums.sort_unstable();
        (sums, result.job().restarts)
    };
    let (undisturbed, none) = run(0);
    let (disturbed, restarts) = run(6);
    assert_eq!((none, undisturbed.len()), (0, 16 * 53));
    assert!(restarts >= 3, "both subtasks may fail at once: {restarts}");
    assert_eq!(disturbed, undisturbed);
}

#[test]
fn at_least_once_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let env = recovering_environment(folder.path(), &[("execution.checkpointing.mode", "AT_LEAST_ONCE")]);
    let saboteur = Saboteur::new(4, 3_000);
    let source = GeneratorSource::new(20_000, |n| (n % 17, 1_u64)).with_records_per_second(40_000.0);
    let sums = env
        .from_source(source, WatermarkStrategy::no_watermarks(), "records")
        .key_by(|record| record.0)
        .sum(|record| &mut record.1)
        .map(move |record| {
            saboteur.pass();
            record
        })
        .collect();
    let sums = env.execute("at least once").unwrap().get(&sums).unwrap();
    for key in 0..17 {
        let highest = sums.iter().filter(|(k, _)| *k == key).map(|(_, sum)| *sum).max();
        assert!(highest >= Some((0..20_000).filter(|n| n % 17 == key).count() as u64));
    }
}

#[test]
fn a_failure_replays_nothing_of_another_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    let env = recovering_environment(folder.path(), &[]);
    let (saboteur, undisturbed, disturbed) =
        (Saboteur::new(3, 2_000), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let pipeline = |counter: &Arc<AtomicU64>, saboteur: Option<Saboteur>| {
        let counter = Arc::clone(counter);
        let source = GeneratorSource::new(10_000, |n| n).with_records_per_second(20_000.0);
        env.from_source(source, WatermarkStrategy::no_watermarks(), "numbers")
            .map(move |n| {
                counter.fetch_add(1, Ordering::SeqCst);
                saboteur.iter().for_each(Saboteur::pass);
                n
            })
            .collect()
    };
    let (first, second) = (pipeline(&disturbed, Some(saboteur)), pipeline(&undisturbed, None));
    let result = env.execute("two pipelines").unwrap();
    assert!((2..=3).contains(&result.job().restarts), "{}", result.job().restarts);
    assert_eq!(undisturbed.load(Ordering::SeqCst), 10_000, "not a record was replayed");
    assert!(disturbed.load(Ordering::SeqCst) > 10_000);
    for collected in [first, second] {
        let mut numbers = result.get(&collected).unwrap();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..10_000));
    }
}

/// A sink that leaves its work to others: what it prepares, and its closing, takes many looks.
#[derive(Clone, Default)]
struct Patient {
    written: Arc<Mutex<Vec<i64>>>,
    /// Writers that have not been closed to the end.
    alive: Arc<AtomicU64>,
}

struct PatientWriter {
    sink: Patient,
    waker: TaskWaker,
    taken: Vec<i64>,
    looks: u32,
}

impl Sink<i64> for Patient {
    type Writer = PatientWriter;

    fn writer(&self, info: &OperatorInfo) -> Result<PatientWriter, OperatorError> {
        assert_eq!(self.alive.fetch_add(1, Ordering::SeqCst), 0, "the attempt before still writes");
        Ok(PatientWriter { sink: self.clone(), waker: info.waker.clone(), taken: Vec::new(), looks: 0 })
    }
}

impl PatientWriter {
    fn look(&mut self) -> bool {
        self.looks += 1;
        if !self.looks.is_multiple_of(100) {
            self.waker.wake();
            return false;
        }
        true
    }
}

impl SinkWriter<i64> for PatientWriter {
    fn write(&mut self, record: i64, _time: Timestamp) -> Result<(), OperatorError> {
        self.taken.push(record);
        Ok(())
    }

    fn prepare_commit(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        self.looks = 0;
        Ok(Vec::new())
    }

    fn is_prepared(&mut self) -> Result<bool, OperatorError> {
        let done = self.look();
        if done {
            self.sink.written.lock().unwrap().append(&mut self.taken);
        }
        Ok(done)
    }

    fn close(&mut self) {
        self.looks = 0;
    }

    fn is_closed(&mut self) -> bool {
        let done = self.look();
        if done {
            self.sink.alive.fetch_sub(1, Ordering::SeqCst);
        }
        done
    }
}

#[test]
fn what_a_sink_has_left_to_others_is_waited_for_at_the_end_and_before_the_next_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let env = recovering_environment(folder.path(), &[]);
    env.set_parallelism(1).unwrap();
    let (sink, saboteur) = (Patient::default(), Saboteur::new(5, 400));
    env.generate_sequence(1, 3_000)
        .map(move |n| {
            saboteur.pass();
            n
        })
        .sink_to(sink.clone());
    env.execute("patient").unwrap();
    // Without commits, what was written before a failure is written again: but nothing is missing.
    let written: std::collections::BTreeSet<i64> = sink.written.lock().unwrap().iter().copied().collect();
    assert!(written.into_iter().eq(1..=3_000));
    assert_eq!(sink.alive.load(Ordering::SeqCst), 0);
}

#[test]
fn checkpoints_that_are_given_up_halfway_through_a_chain_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, output) = (folder.path().join("checkpoints"), folder.path().join("out"));
    // Nearly every checkpoint is given up while its barrier waits behind a batch that takes longer.
    let impatient = [
        ("execution.checkpointing.timeout", "15 ms"),
        ("execution.checkpointing.tolerable-failed-checkpoints", "1000000"),
    ];
    let env = recovering_environment(&checkpoints, &impatient);
    env.set_parallelism(1).unwrap();
    let saboteur = Saboteur::new(6, 4_000);
    env.generate_sequence(1, 20_000)
        .map(|n| n)
        .map(|n| {
            let until = std::time::Instant::now() + Duration::from_micros(60);
            while std::time::Instant::now() < until {
                std::hint::spin_loop();
            }
            n
        })
        .map(move |n| {
            saboteur.pass();
            n
        })
        .write_files(
            output.to_str().unwrap(),
            |n, out| out.extend_from_slice(format!("{n}\n").as_bytes()),
            FileSinkOptions { part_bytes: 4_000, ..FileSinkOptions::default() },
        )
        .unwrap();
    let result = env.execute("impatient").unwrap();
    assert!(result.job().restarts > 0);
    let mut numbers: Vec<i64> = lines_in(&output).iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=20_000));
}
