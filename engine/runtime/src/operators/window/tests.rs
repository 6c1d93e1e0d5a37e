//! Windows against an oracle: every record in its windows, whatever comes late.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::harness::{Emission, Harness};
use crate::key_selector::Computed;
use crate::operators::{
    AggregateFunction, SlidingEventTimeWindows, TumblingEventTimeWindows, WindowAggregate,
};

/// Key, number.
type Record = (u8, i64);
/// Key, start of the window, sum of the numbers, how many there were.
type Output = (u8, i64, i64, u32);

struct SumAndCount;

impl AggregateFunction<Record> for SumAndCount {
    type Accumulator = (i64, u32);
    type Out = (i64, u32);

    fn create(&self) -> (i64, u32) {
        (0, 0)
    }

    fn add(&self, accumulator: &mut (i64, u32), record: &Record) {
        self.merge(accumulator, (record.1, 1));
    }

    fn merge(&self, accumulator: &mut (i64, u32), other: (i64, u32)) {
        accumulator.0 += other.0;
        accumulator.1 += other.1;
    }

    fn result(&self, accumulator: &(i64, u32)) -> (i64, u32) {
        *accumulator
    }
}

fn late_tag() -> OutputTag<Record> {
    OutputTag::new("late")
}

fn operator(windows: impl WindowAssigner, lateness: u64) -> impl Operator<In = Record, Out = Output> {
    let selector = Arc::new(Computed::new(|record: &Record| record.0));
    let finish = |key: u8, window: TimeWindow, (sum, count): (i64, u32)| (key, window.start, sum, count);
    WindowAggregate::new(selector, windows, SumAndCount, finish)
        .with_allowed_lateness(Duration::from_millis(lateness))
        .with_late_output(late_tag())
}

fn tumbling(size: u64) -> TumblingEventTimeWindows {
    TumblingEventTimeWindows::of(Duration::from_millis(size))
}

fn sliding(size: u64, slide: u64) -> SlidingEventTimeWindows {
    SlidingEventTimeWindows::of(Duration::from_millis(size), Duration::from_millis(slide))
}

/// What comes to the operator.
#[derive(Debug, Clone)]
enum Input {
    Batch(Vec<(Record, Timestamp)>),
    Watermark(Timestamp),
}

/// What comes out between two inputs, in no order: results, late records.
type Step = (BTreeSet<(Output, Timestamp)>, Vec<(Record, Timestamp)>);

/// The definition of windows, as plainly as it can be said.
struct Oracle {
    windows: Box<dyn Fn(Timestamp) -> Vec<TimeWindow>>,
    lateness: i64,
    watermark: Timestamp,
    kept: BTreeMap<(i64, u8), (TimeWindow, i64, u32)>,
}

impl Oracle {
    fn new(windows: impl WindowAssigner, lateness: u64) -> Self {
        Self {
            windows: Box::new(move |time| windows.all(time)),
            lateness: lateness as i64,
            watermark: NO_TIMESTAMP,
            kept: BTreeMap::new(),
        }
    }

    fn result((_, key): (i64, u8), (window, sum, count): (TimeWindow, i64, u32)) -> (Output, Timestamp) {
        ((key, window.start, sum, count), window.end - 1)
    }

    fn take(&mut self, input: &Input) -> Step {
        let (mut results, mut late) = (BTreeSet::new(), Vec::new());
        match input {
            Input::Watermark(watermark) => {
                for (key, kept) in &self.kept {
                    let fires = self.watermark..*watermark;
                    if fires.contains(&(kept.0.end - 2)) {
                        results.insert(Self::result(*key, *kept));
                    }
                }
                self.watermark = *watermark;
                let lateness = self.lateness;
                self.kept.retain(|_, (window, ..)| window.end - 1 + lateness > *watermark);
            }
            Input::Batch(records) => {
                for ((key, n), time) in records {
                    let windows = (self.windows)(*time);
                    let open =
                        windows.iter().filter(|window| window.end - 1 + self.lateness > self.watermark);
                    let open: Vec<_> = open.copied().collect();
                    if open.is_empty() && (!windows.is_empty() || time + self.lateness <= self.watermark) {
                        late.push(((*key, *n), *time));
                    }
                    for window in open {
                        let kept = self.kept.entry((window.end, *key)).or_insert((window, 0, 0));
                        kept.1 += n;
                        kept.2 += 1;
                        if window.end - 1 <= self.watermark {
                            results.insert(Self::result((window.end, *key), *kept));
                        }
                    }
                }
            }
        }
        (results, late)
    }
}

fn run<O: Operator<In = Record, Out = Output>>(harness: &mut Harness<O>, input: &Input) -> Step {
    match input {
        Input::Batch(records) => {
            harness.begin(records.clone());
            while !harness.step() {}
        }
        Input::Watermark(watermark) => harness.watermark(*watermark),
    }
    (harness.take_output().into_iter().collect(), harness.take_side_output(&late_tag()))
}

fn check<A: WindowAssigner>(windows: A, lateness: u64, inputs: &[Input], restore_at: usize) {
    let mut harness = Harness::new(operator(windows.clone(), lateness));
    let mut oracle = Oracle::new(windows.clone(), lateness);
    for (index, input) in inputs.iter().enumerate() {
        if index == restore_at {
            harness = Harness::restore(operator(windows.clone(), lateness), harness.snapshot());
        }
        assert_eq!(run(&mut harness, input), oracle.take(input), "after input {index}: {input:?}");
    }
}

/// Batches of records out of order, with watermarks between that rise.
fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let record = (0..4_u8, -5..5_i64, -60..25_i64);
    let step = (proptest::collection::vec(record, 0..12), 0..30_i64, any::<bool>());
    proptest::collection::vec(step, 1..30).prop_map(|steps| {
        let (mut now, mut inputs) = (0, Vec::new());
        for (records, passed, watermark) in steps {
            now += passed;
            inputs.push(Input::Batch(records.into_iter().map(|(k, n, at)| ((k, n), now + at)).collect()));
            if watermark {
                inputs.push(Input::Watermark(now));
            }
        }
        inputs.push(Input::Watermark(1_000_000));
        inputs
    })
}

proptest! {
    #[test]
    fn tumbling_windows_are_those_of_the_definition(
        inputs in inputs(), size in 1..40_u64, offset in -50..50_i64, lateness in 0..40_u64, restore_at in 0..30_usize,
    ) {
        check(tumbling(size).with_offset(offset), lateness, &inputs, restore_at);
        check(tumbling(size).with_offset(offset), 0, &inputs, restore_at);
    }

    #[test]
    fn sliding_windows_are_those_of_the_definition(
        inputs in inputs(), size in 1..40_u64, slide in 1..40_u64, lateness in 0..40_u64, restore_at in 0..30_usize,
    ) {
        check(sliding(size, slide), lateness, &inputs, restore_at);
    }

    /// A firing in steps, with barriers between and restored from one of them, gives every result once.
    #[test]
    fn a_firing_can_be_interrupted(
        keys in 1..3000_i64, lateness in prop_oneof![Just(0_u64), Just(1000)], interrupt in 0..6_usize,
    ) {
        let make = || {
            let selector = Arc::new(Computed::new(|n: &i64| *n));
            let reduce = |value: &mut i64, _: i64| *value += 1_000_000;
            super::super::WindowReduce::new(selector, tumbling(10), reduce)
                .with_allowed_lateness(Duration::from_millis(lateness))
        };
        let mut harness = Harness::new(make());
        harness.begin((0..keys).flat_map(|n| [(n, 5), (n, 15)]).collect());
        while !harness.step() {}
        harness.begin_watermark(30);
        let mut results = Vec::new();
        let mut through = false;
        for _ in 0..interrupt {
            if !through {
                through = harness.step();
            }
        }
        results.extend(harness.take_output());
        let mut restored = Harness::restore(make(), harness.snapshot());
        if lateness > 0 {
            // The window has fired for some keys and not for others; a late record updates both.
            restored.push_at(0, 5);
            prop_assert_eq!(restored.take_output(), [(1_000_000, 9)]);
        }
        restored.watermark(30);
        results.extend(restored.take_output());
        results.sort();
        let mut expected: Vec<_> = (0..keys).flat_map(|n| [(n, 9), (n, 19)]).collect();
        expected.sort();
        if lateness > 0 {
            results.retain(|(n, time)| (n % 1_000_000, *time) != (0, 9));
            expected.retain(|result| *result != (0, 9));
        }
        prop_assert_eq!(results, expected);
    }
}

#[test]
fn the_watermark_goes_on_in_steps_behind_the_windows_it_fires() {
    let mut harness = Harness::new(operator(tumbling(10), 0));
    harness.begin(vec![((1, 1), 5), ((1, 2), 15), ((1, 4), 35)]);
    while !harness.step() {}
    harness.watermark(37);
    let record = |start, sum, at| Emission::Record((1, start, sum, 1), at);
    let expected = [record(0, 1, 9), Emission::Watermark(9), record(10, 2, 19), Emission::Watermark(37)];
    assert_eq!(harness.take_emissions(), expected);
}

#[test]
fn a_large_window_fires_in_steps_of_a_batch() {
    let selector = Arc::new(Computed::new(|n: &i64| *n));
    let windows = tumbling(10);
    let mut harness =
        Harness::new(super::super::WindowReduce::new(selector, windows, |_: &mut i64, _: i64| {}));
    harness.begin((0..50_000).map(|n| (n, 3)).collect());
    while !harness.step() {}
    harness.begin_watermark(9);
    let mut results = Vec::new();
    loop {
        let through = harness.step();
        let step = harness.take_records();
        assert!(step.len() <= 1024, "{} records in one step", step.len());
        results.extend(step);
        if through {
            break;
        }
    }
    results.sort();
    assert!(results.into_iter().eq(0..50_000));
}

#[test]
fn late_records_are_counted_and_windows_that_are_gone_leave_nothing_behind() {
    let mut harness = Harness::new(operator(tumbling(10), 5));
    harness.push_at((1, 1), 3);
    harness.watermark(9);
    harness.push_at((1, 2), 4);
    assert_eq!(harness.take_output(), [((1, 0, 1, 1), 9), ((1, 0, 3, 2), 9)]);
    harness.watermark(14);
    harness.push_at((1, 4), 5);
    assert!(harness.take_output().is_empty());
    assert_eq!(harness.take_side_output(&late_tag()), [((1, 4), 5)]);
    assert_eq!(harness.info().metrics.late_records.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(harness.state_entries(), 0);
}

#[test]
fn records_without_timestamp_and_windows_without_size_are_errors_of_the_user() {
    let mut harness = Harness::new(operator(tumbling(10), 0));
    let error = harness.try_push_at((1, 1), NO_TIMESTAMP).unwrap_err();
    assert_eq!(error.fault(), Fault::User);
    assert!(error.to_string().contains("watermark strategy"), "{error}");
    let error = Harness::try_open(operator(tumbling(0), 0), Default::default(), Vec::new()).err().unwrap();
    assert!(error.to_string().contains("at least 1 ms"), "{error}");
}
