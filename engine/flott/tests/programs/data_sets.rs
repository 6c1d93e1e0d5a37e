//! DataSet programs, against oracles, whatever strategies the optimizer chooses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flott::core::config::Configuration;
use flott::prelude::*;

use crate::support::{counted, lines_in};

fn environment(parallelism: u32, settings: &[(&str, &str)]) -> ExecutionEnvironment {
    let env = ExecutionEnvironment::with_configuration(Configuration::new());
    env.set_parallelism(parallelism).unwrap();
    for (key, value) in settings {
        env.configure(key, value).unwrap();
    }
    env
}

/// Numbers that are spread like noise and the same in every run.
fn noise(n: u64) -> u64 {
    (n ^ (n >> 7)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}

fn sorted<T: Ord>(mut records: Vec<T>) -> Vec<T> {
    records.sort();
    records
}

/// Little memory, so that everything spills.
const TIGHT: [(&str, &str); 1] = [("taskmanager.memory.managed.size", "8 mb")];

#[test]
fn groups_are_what_a_map_holds_in_any_parallelism_and_memory() {
    let records: Vec<(u64, u64)> = (0..60_000).map(|n| (noise(n) % 20_011, n)).collect();
    let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
    let mut greatest: BTreeMap<u64, u64> = BTreeMap::new();
    for (key, value) in &records {
        *sums.entry(*key).or_default() += value;
        let kept = greatest.entry(*key).or_default();
        *kept = (*kept).max(*value);
    }
    for (parallelism, settings) in [(1, &[][..]), (2, &TIGHT[..]), (4, &[][..])] {
        let env = environment(parallelism, settings);
        let data = env.from_collection(records.clone());
        let summed = data.group_by(|record| record.0).sum(|record| &mut record.1).collect().unwrap();
        assert_eq!(sorted(summed), sums.clone().into_iter().collect::<Vec<_>>());
        let reduced = data.group_by_ref(|record| &record.0).reduce(|a, b| if a.1 > b.1 { a } else { b });
        assert_eq!(sorted(reduced.collect().unwrap()), greatest.clone().into_iter().collect::<Vec<_>>());
    }
}

#[derive(Clone)]
struct Average;

impl AggregateFunction<(u64, u64)> for Average {
    type Accumulator = (u64, u64);
    type Out = u64;

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, accumulator: &mut (u64, u64), record: &(u64, u64)) {
        accumulator.0 += record.1;
        accumulator.1 += 1;
    }

    fn merge(&self, accumulator: &mut (u64, u64), other: (u64, u64)) {
        accumulator.0 += other.0;
        accumulator.1 += other.1;
    }

    fn result(&self, accumulator: &(u64, u64)) -> u64 {
        accumulator.0 / accumulator.1
    }
}

#[test]
fn aggregates_accumulate_before_they_are_sent() {
    let records: Vec<(u64, u64)> = (0..30_000).map(|n| (n % 97, noise(n))).collect();
    let mut all: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    records.iter().for_each(|(key, value)| all.entry(*key).or_default().push(*value));
    let expected: Vec<(u64, u64)> = all
        .into_iter()
        .map(|(key, values)| (key, values.iter().sum::<u64>() / values.len() as u64))
        .collect();
    let env = environment(3, &[]);
    let averages = env.from_collection(records).group_by(|record| record.0).aggregate(Average);
    assert_eq!(sorted(averages.collect().unwrap()), expected);
}

#[test]
fn joins_are_the_same_broadcast_and_partitioned() {
    let left: Vec<(u64, u64)> = (0..5_000).map(|n| (noise(n) % 700, n)).collect();
    let right: Vec<(u64, String)> = (0..900).map(|n| (n % 800, format!("r{n}"))).collect();
    let mut expected = Vec::new();
    for (key, value) in &left {
        expected.extend(right.iter().filter(|r| r.0 == *key).map(|r| (*value, r.1.clone())));
    }
    expected.sort();
    // A side of known size is broadcast if it is small; behind a flat_map nothing is known.
    for known in [true, false] {
        let env = environment(2, &TIGHT);
        let (l, r) = (env.from_collection(left.clone()), env.from_collection(right.clone()));
        let r = if known { r } else { r.flat_map(Some) };
        let joined = l.join(&r).on(|l| l.0, |r| r.0).with(|l, r| (l.1, r.1.clone()));
        let folder = tempfile::tempdir().unwrap();
        joined.map(|pair| pair.0).write_as_text(folder.path().join("out").to_str().unwrap()).unwrap();
        let graph = env.plan("join").unwrap().0.describe();
        assert_eq!(graph.contains("BROADCAST"), known, "{graph}");
        assert_eq!(sorted(joined.collect().unwrap()), expected);
    }
}

#[test]
fn distinct_union_filter_and_count() {
    let env = environment(3, &[]);
    let small = env.generate_sequence(1, 1_000);
    let again = env.from_collection((500..1_500).collect::<Vec<i64>>());
    let all = small.union(&again);
    assert_eq!(all.count().unwrap(), 2_000);
    assert_eq!(sorted(all.distinct().collect().unwrap()), (1..1_500).collect::<Vec<_>>());
    let by_rest = all.distinct_by(|n| n % 7).map(|n| n % 7).collect().unwrap();
    assert_eq!(sorted(by_rest), (0..7).collect::<Vec<_>>());
    let even: BTreeSet<i64> = all.filter(|n| n % 2 == 0).collect().unwrap().into_iter().collect();
    assert!(even.iter().eq((2..1_500).step_by(2).collect::<Vec<_>>().iter()));
    let none = env.from_collection(Vec::<u64>::new());
    assert_eq!(none.count().unwrap(), 0);
    assert!(none.group_by(|n| *n).reduce(|a, _| a).collect().unwrap().is_empty());
    assert!(none.join(&none).on(|a| *a, |b| *b).with(|a, _| *a).distinct().collect().unwrap().is_empty());
}

#[test]
fn a_sort_that_spills_keeps_everything_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("sorted");
    let lines: Vec<String> = (0..80_000).map(|n| format!("{:020} {}", noise(n), "x".repeat(100))).collect();
    let env = environment(1, &TIGHT);
    env.from_collection(lines.clone())
        .sort_partition_ref(|line| line, Order::Descending)
        .write_as_text(output.to_str().unwrap())
        .unwrap()
        .name("lines");
    env.execute("sort").unwrap();
    let mut expected = lines;
    expected.sort();
    expected.reverse();
    assert!(lines_in(&output) == expected, "the lines are in descending order");
}

#[test]
fn sinks_that_wait_run_with_the_next_job_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let env = environment(2, &[]);
    let numbers = env.generate_sequence(1, 100);
    numbers.map(|n| n * 2).write_as_text(output.to_str().unwrap()).unwrap();
    assert_eq!(numbers.count().unwrap(), 100);
    let doubled = counted((1..=100).map(|n| (n * 2).to_string()));
    assert_eq!(counted(lines_in(&output)), doubled);
    assert_eq!(numbers.count().unwrap(), 100);
    assert_eq!(counted(lines_in(&output)), doubled);
    let nothing = env.execute("nothing").unwrap_err().to_string();
    assert!(nothing.contains("defines no sink"), "{nothing}");
}

#[test]
fn a_function_that_fails_once_is_tried_again_and_the_result_is_the_same() {
    let env = environment(
        2,
        &[
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.attempts", "3"),
            ("restart-strategy.fixed-delay.delay", "10 ms"),
        ],
    );
    // Behind the exchange, so that what was sent is read again.
    let failed = Arc::new(AtomicBool::new(false));
    let sabotage = Arc::clone(&failed);
    let counts = env
        .generate_sequence(0, 19_999)
        .map(|n| (n % 1_000, 1_u64))
        .group_by(|record| record.0)
        .sum(|record| &mut record.1)
        .map(move |record| {
            assert!(sabotage.swap(true, Ordering::SeqCst), "a failure for the test");
            record
        })
        .collect()
        .unwrap();
    assert!(failed.load(Ordering::SeqCst));
    assert_eq!(sorted(counts), (0..1_000).map(|n| (n, 20)).collect::<Vec<_>>());
}

#[test]
fn errors_name_the_operator() {
    let env = environment(2, &[]);
    let failing = env.generate_sequence(0, 99).map(|n| {
        assert!(n != 50, "fifty is too much");
        n
    });
    let error = failing.name("Check").collect().unwrap_err().to_string();
    assert!(error.contains("Check") && error.contains("fifty is too much"), "{error}");
    let error = env.generate_sequence(0, 9).set_parallelism(0).collect().unwrap_err().to_string();
    assert!(error.contains("sequence") && error.contains("data_sets.rs"), "{error}");
}
