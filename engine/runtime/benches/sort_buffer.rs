//! Sorting lines and pairs by the external sorter, in memory and with spilling.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flott_core::Data;
use flott_core::memory::ManagedMemory;
use flott_runtime::batch::{ExternalSorter, Order, Workspace};
use flott_runtime::key_selector::{Borrowed, KeySelector};

const RECORDS: u64 = 200_000;

fn mixed(i: u64) -> u64 {
    (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

/// Lines whose first words repeat often, as those of texts do.
fn lines() -> Vec<String> {
    let word = |i: u64, n: u64| mixed(mixed(i * 16 + n) % (1 << (mixed(i + n) % 16)));
    (0..RECORDS).map(|i| (0..6).map(|n| format!("{:x} ", word(i, n) & 0xFFF_FFFF)).collect()).collect()
}

fn pairs() -> Vec<(u64, u64)> {
    (0..RECORDS).map(|i| (mixed(i), i)).collect()
}

fn sort<T: Data, S: KeySelector<T>>(records: &[T], selector: &Arc<S>, memory: usize) -> usize {
    let workspace = Workspace {
        operator: "bench".into(),
        memory: ManagedMemory::of_bytes(memory),
        temp_dir: std::env::temp_dir(),
    };
    let sorted = || {
        let mut sorter = ExternalSorter::new(Arc::clone(selector), Order::Ascending, workspace)?;
        for record in records {
            sorter.insert(record)?;
            while sorter.is_busy() {
                sorter.work()?;
            }
        }
        sorter.finish()?;
        while !sorter.work()? {}
        let mut count = 0;
        while let Some(record) = sorter.next()? {
            black_box(record);
            count += 1;
        }
        Ok::<usize, flott_runtime::batch::BatchError>(count)
    };
    sorted().unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1)
    })
}

fn benches(criterion: &mut Criterion) {
    let (lines, pairs) = (lines(), pairs());
    let line = Arc::new(Borrowed::new(|line: &String| line));
    let first = Arc::new(Borrowed::new(|pair: &(u64, u64)| &pair.0));
    let mut group = criterion.benchmark_group("sort");
    group.throughput(Throughput::Elements(RECORDS)).sample_size(20);
    for (name, memory) in [("in memory", 64 << 20), ("spilled", 2 << 20)] {
        group.bench_function(format!("lines {name}"), |bencher| {
            bencher.iter(|| sort(&lines, &line, memory));
        });
        group.bench_function(format!("pairs {name}"), |bencher| {
            bencher.iter(|| sort(&pairs, &first, memory));
        });
    }
    group.finish();
}

criterion_group!(sort_buffer, benches);
criterion_main!(sort_buffer);
