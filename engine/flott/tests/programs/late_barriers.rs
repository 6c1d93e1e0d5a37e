//! A barrier that comes to an operator when its checkpoint was given up long ago, and the next one is on its way.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use flott::prelude::*;
use flott::runtime::collector::Collector;
use flott::runtime::operator::OperatorInfo;
use flott::runtime::slot::wall_clock_millis;

use crate::support::{One, environment, recovering};

const RECORDS: i64 = 100;

/// The record that the sink holds while the first barrier comes and is given up; the next one comes behind that barrier.
const HELD: i64 = 51;

/// What source and sink know of each other.
#[derive(Clone, Default)]
struct Script {
    /// Barriers that the source has seen behind the held record.
    barriers: Arc<AtomicU64>,
    /// The barriers that the sink waits for.
    wanted: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    committed: Arc<Mutex<BTreeSet<Vec<i64>>>>,
}

impl Script {
    fn seen(&self) -> u64 {
        if self.failed.load(Ordering::SeqCst) { u64::MAX } else { self.barriers.load(Ordering::SeqCst) }
    }
}

struct Reader {
    script: Script,
    next: i64,
    timer: Option<Timestamp>,
}

impl Source for Script {
    type Out = i64;
    type Split = i64;
    type Enumerator = One;
    type Reader = Reader;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, _: u32, _: &OperatorInfo) -> Result<One, OperatorError> {
        Ok(One::new())
    }

    fn reader(&self, _: &OperatorInfo) -> Result<Reader, OperatorError> {
        Ok(Reader { script: self.clone(), next: 1, timer: None })
    }
}

impl SourceReader for Reader {
    type Out = i64;
    type Split = i64;

    fn start(&mut self, next: i64) -> Result<(), OperatorError> {
        self.next = next;
        Ok(())
    }

    /// One record at a time: the one behind the held record after the first barrier, the others after the fourth.
    fn read(&mut self, out: &mut Collector<i64>) -> Result<ReadProgress, OperatorError> {
        let wanted = match self.next {
            ..=HELD => 0,
            n if n == HELD + 1 => 1,
            _ => 4,
        };
        if self.next > RECORDS {
            return Ok(ReadProgress::SplitFinished);
        }
        self.timer = Some(wall_clock_millis() + 1);
        if self.script.seen() >= wanted {
            out.emit_untimed(self.next);
            self.next += 1;
        }
        Ok(ReadProgress::Waiting)
    }

    fn position(&self) -> Option<i64> {
        if self.next > HELD {
            self.script.barriers.fetch_add(1, Ordering::SeqCst);
        }
        Some(self.next)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.timer
    }
}

struct Writer {
    script: Script,
    taken: Vec<i64>,
}

impl Sink<i64> for Script {
    type Writer = Writer;

    fn writer(&self, _: &OperatorInfo) -> Result<Writer, OperatorError> {
        Ok(Writer { script: self.clone(), taken: Vec::new() })
    }
}

impl SinkWriter<i64> for Writer {
    fn is_ready(&self) -> bool {
        self.script.seen() >= self.script.wanted.load(Ordering::SeqCst)
    }

    fn write(&mut self, n: i64, _: Timestamp) -> Result<(), OperatorError> {
        let wanted = match n {
            n if n == HELD - 1 => 2,
            HELD => 4,
            _ => 0,
        };
        self.script.wanted.store(wanted, Ordering::SeqCst);
        let fails = n == HELD + 1 && !self.script.failed.swap(true, Ordering::SeqCst);
        assert!(!fails, "a failure for the test");
        self.taken.push(n);
        Ok(())
    }

    fn prepare_commit(&mut self) -> Result<Vec<Vec<u8>>, OperatorError> {
        let bytes: Vec<u8> = self.taken.drain(..).flat_map(i64::to_le_bytes).collect();
        Ok(if bytes.is_empty() { Vec::new() } else { vec![bytes] })
    }

    fn commit(&mut self, handle: &[u8]) -> Result<(), OperatorError> {
        let numbers = handle.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        self.script.committed.lock().unwrap().insert(numbers);
        Ok(())
    }
}

#[test]
fn a_barrier_of_a_checkpoint_that_was_given_up_does_not_count_for_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let env = environment(&[
        ("execution.checkpointing.timeout", "100 ms"),
        ("execution.checkpointing.tolerable-failed-checkpoints", "1000000"),
    ]);
    for (key, value) in recovering(folder.path()) {
        env.configure(&key, value).unwrap();
    }
    env.set_parallelism(1).unwrap();
    let script = Script::default();
    env.from_source(script.clone(), WatermarkStrategy::no_watermarks(), "records")
        .map(|n| n)
        .sink_to(script.clone());
    let result = env.execute("late barriers").unwrap();
    assert_eq!(result.job().restarts, 1);
    let committed = script.committed.lock().unwrap();
    let mut numbers: Vec<i64> = committed.iter().flatten().copied().collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=RECORDS), "{numbers:?}");
}
