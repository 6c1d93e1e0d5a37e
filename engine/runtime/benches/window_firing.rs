//! One watermark that fires a window of every key.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flott_runtime::harness::Harness;
use flott_runtime::key_selector::Borrowed;
use flott_runtime::operators::{TumblingEventTimeWindows, WindowReduce};

type Record = (u64, u64);

const KEYS: u64 = 100_000;

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("window firing");
    group.throughput(Throughput::Elements(KEYS)).sample_size(20);
    let filled = || {
        let mut harness = Harness::new(WindowReduce::new(
            Arc::new(Borrowed::new(|record: &Record| &record.0)),
            TumblingEventTimeWindows::of(Duration::from_secs(1)),
            |one: &mut Record, other: Record| one.1 += other.1,
        ));
        (0..KEYS).for_each(|key| harness.push_at((key, 1), 0));
        harness
    };
    group.bench_function("a window of each key", |bencher| {
        bencher.iter_batched(
            filled,
            |mut harness| {
                harness.watermark(1_000);
                let fired = black_box(harness.take_records()).len();
                assert_eq!(fired as u64, KEYS);
                harness
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(windows, benches);
criterion_main!(windows);
