//! Two promises that have figures: memory while a window fires into a slow sink, pauses while large state is checkpointed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flott::prelude::*;
use flott::runtime::operator::{OperatorInfo, Progress};
use flott::runtime::source::GeneratorSource;

use crate::sink::Counts;
use crate::workloads::{Workload, stream};

/// The process's resident memory, in MiB; 0 where it cannot be read.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// Results that the slow sink takes without a rest.
const RESULTS_BETWEEN_RESTS: u64 = 1000;

/// How long it rests.
const REST: Duration = Duration::from_millis(1);

/// The events at whose creation the memory is read: no more subtasks are to be used.
const LAST_EVENTS: u64 = 64;

/// One window of so many keys that fires into a sink that takes at most a million results a second. When it ends, each sink prints
/// the memory before the firing and the most while it fired.
pub fn slow_sink(env: StreamExecutionEnvironment, keys: u64) -> Workload {
    let before = Arc::new(AtomicU64::new(0));
    let at_the_end = Arc::clone(&before);
    let events = GeneratorSource::new(keys, move |key| {
        // Among the last few is the last of each source subtask.
        if key + LAST_EVENTS >= keys {
            at_the_end.fetch_max(resident_mib(), Ordering::AcqRel);
        }
        (key, 1_u64)
    });
    let of_one_time =
        WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|_: &(u64, u64), _| 0);
    env.from_source(events, of_one_time, "Events")
        .key_by_ref(|event| &event.0)
        .window(TumblingEventTimeWindows::of(Duration::from_secs(1)))
        .sum(|event| &mut event.1)
        .name("Window")
        .sink_to(SlowSink { before });
    stream("slow-sink", Counts::default(), env)
}

struct SlowSink {
    before: Arc<AtomicU64>,
}

impl Sink<(u64, u64)> for SlowSink {
    type Writer = SlowWriter;

    fn writer(&self, _info: &OperatorInfo) -> Result<SlowWriter, OperatorError> {
        Ok(SlowWriter { before: Arc::clone(&self.before), results: 0, most: 0 })
    }
}

struct SlowWriter {
    before: Arc<AtomicU64>,
    results: u64,
    most: u64,
}

impl SinkWriter<(u64, u64)> for SlowWriter {
    #[expect(clippy::disallowed_methods, reason = "a sink that holds up its slot is what is measured")]
    fn write(&mut self, _record: (u64, u64), _time: Timestamp) -> Result<(), OperatorError> {
        self.results += 1;
        if self.results.is_multiple_of(RESULTS_BETWEEN_RESTS) {
            self.most = self.most.max(resident_mib());
            std::thread::sleep(REST);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<Progress, OperatorError> {
        let (results, before, most) = (self.results, self.before.load(Ordering::Acquire), self.most);
        println!("slow-sink results={results} rss_before_mib={before} rss_most_mib={most}");
        Ok(Progress::Done)
    }
}

/// The bytes of a value of the state.
const VALUE_BYTES: usize = 1000;

/// Records a second; each changes an entry, and with it what a snapshot must keep of it.
const RECORDS_A_SECOND: f64 = 200_000.0;

/// How often every key comes: once to fill the state, then to change it.
const ROUNDS: u64 = 4;

/// State of about `mib` MiB that changes all the time. Each sink prints, for every checkpoint, the longest time that no record came
/// since the one before.
pub fn pause(env: StreamExecutionEnvironment, mib: u64) -> Workload {
    let keys = ((mib << 20) / VALUE_BYTES as u64).max(1);
    let value = move |n| if n < keys { "x".repeat(VALUE_BYTES) } else { String::new() };
    let records = GeneratorSource::new(ROUNDS * keys, move |n| (n % keys, value(n)));
    env.from_source(
        records.with_records_per_second(RECORDS_A_SECOND),
        WatermarkStrategy::no_watermarks(),
        "Records",
    )
    .key_by_ref(|record| &record.0)
    .reduce(|first, _| first)
    .name("State")
    .sink_to(PauseSink);
    stream("pause", Counts::default(), env)
}

struct PauseSink;

impl Sink<(u64, String)> for PauseSink {
    type Writer = PauseWriter;

    fn writer(&self, _info: &OperatorInfo) -> Result<PauseWriter, OperatorError> {
        Ok(PauseWriter { records: 0, last: Instant::now(), longest: Duration::ZERO })
    }
}

struct PauseWriter {
    records: u64,
    last: Instant,
    longest: Duration,
}

impl SinkWriter<(u64, String)> for PauseWriter {
    fn write(&mut self, _record: (u64, String), _time: Timestamp) -> Result<(), OperatorError> {
        let now = Instant::now();
        self.longest = self.longest.max(now.duration_since(self.last));
        self.last = now;
        self.records += 1;
        Ok(())
    }

    fn prepare_commit(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        let longest = std::mem::take(&mut self.longest).as_secs_f64() * 1000.0;
        println!("pause records={} rss_mib={} longest_ms={longest:.1}", self.records, resident_mib());
        Ok(Vec::new())
    }
}
