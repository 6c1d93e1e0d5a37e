//! How long records take from their source to their sink.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use flott::prelude::*;
use flott::runtime::operator::{OperatorInfo, Progress};
use flott::runtime::source::GeneratorSource;

use crate::sink::Counts;
use crate::workloads::{Workload, stream};

/// The longest time that is told apart, in microseconds.
const LONGEST: usize = 10_000_000;

/// Microseconds since the epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Sends `rate` records a second for `seconds`, through three exchanges. When it ends, each process prints what its sinks have seen.
pub fn latency(env: StreamExecutionEnvironment, seconds: u64, rate: u64) -> Workload {
    let records = GeneratorSource::new(seconds * rate, |n| (n, now())).with_records_per_second(rate as f64);
    env.from_source(records, WatermarkStrategy::no_watermarks(), "Records")
        .rebalance()
        .map(|record| record)
        .name("First")
        .shuffle()
        .map(|(n, at): (u64, u64)| (n % 1009, at))
        .name("Second")
        .key_by(|record| record.0)
        .reduce(|_, latest| latest)
        .name("Third")
        .sink_to(LatencySink::default());
    stream("latency", Counts::default(), env)
}

/// How often each time was seen, by microsecond; all sinks of a process share it.
#[derive(Clone, Default)]
struct LatencySink {
    seen: Arc<Mutex<(Vec<u32>, u32)>>,
}

impl Sink<(u64, u64)> for LatencySink {
    type Writer = LatencyWriter;

    fn writer(&self, _info: &OperatorInfo) -> Result<LatencyWriter, OperatorError> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1 += 1;
        Ok(LatencyWriter { sink: self.clone(), own: vec![0; LONGEST + 1] })
    }
}

struct LatencyWriter {
    sink: LatencySink,
    own: Vec<u32>,
}

impl SinkWriter<(u64, u64)> for LatencyWriter {
    fn write(&mut self, (_, at): (u64, u64), _time: Timestamp) -> Result<(), OperatorError> {
        let took = usize::try_from(now().saturating_sub(at)).unwrap_or(LONGEST);
        self.own[took.min(LONGEST)] += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<Progress, OperatorError> {
        let (seen, writers) = &mut *self.sink.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.resize(LONGEST + 1, 0);
        seen.iter_mut().zip(&self.own).for_each(|(all, own)| *all += own);
        *writers -= 1;
        if *writers == 0 {
            let total: u64 = seen.iter().map(|count| u64::from(*count)).sum();
            let at = |part: f64| {
                let (mut left, wanted) = (0, (total as f64 * part).ceil() as u64);
                let within = |count: &u32| {
                    left += u64::from(*count);
                    left >= wanted
                };
                seen.iter().position(within).unwrap_or(LONGEST) as f64 / 1000.0
            };
            println!(
                "latency records={total} p50_ms={:.2} p99_ms={:.2} p999_ms={:.2} max_ms={:.2}",
                at(0.5),
                at(0.99),
                at(0.999),
                at(1.0)
            );
        }
        Ok(Progress::Done)
    }
}
