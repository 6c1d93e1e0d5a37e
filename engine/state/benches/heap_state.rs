//! What state costs a record: lookups and changes of a table, beside a plain hash table, with and without a snapshot in
//! the writing; and how fast a snapshot is written and read.

#![allow(missing_docs, reason = "the macros of the harness write undocumented functions")]
#![allow(clippy::unwrap_used, reason = "a bench fails by a panic")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flott_core::ids::{CheckpointId, OperatorId};
use flott_core::{Key, KeyHash, MaxParallelism};
use flott_state::{NamespacedTable, OperatorState, SnapshotProgress, StateContext, Table, Timers};
use hashbrown::HashTable;

const KEYS: u64 = 1_000_000;

/// The lookups of one measured round.
const ROUND: u64 = 100_000;

fn max_parallelism() -> MaxParallelism {
    MaxParallelism::default_for(1)
}

fn filled(keys: u64) -> Table<u64, u64> {
    let mut table = Table::new(max_parallelism().range(0, 1), max_parallelism());
    (0..keys).for_each(|key| drop_value(table.insert(key.key_hash(), key, key)));
    table
}

fn drop_value(value: Option<u64>) {
    black_box(value);
}

/// Keys without an order that a cache could use.
fn keys() -> impl Iterator<Item = u64> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % KEYS
    })
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("change a value of 1M keys");
    group.throughput(Throughput::Elements(ROUND));

    let mut plain = HashTable::<(u64, u64)>::new();
    let hash = |key: u64| key.key_hash().bits();
    for key in 0..KEYS {
        plain.insert_unique(hash(key), (key, key), |entry| hash(entry.0));
    }
    let mut random = keys();
    group.bench_function("plain hash table", |bencher| {
        bencher.iter(|| {
            for key in random.by_ref().take(ROUND as usize) {
                if let Some(entry) = plain.find_mut(hash(key), |entry| entry.0 == key) {
                    entry.1 += 1;
                }
            }
        });
    });

    let mut table = filled(KEYS);
    group.bench_function("table", |bencher| {
        bencher.iter(|| {
            for key in random.by_ref().take(ROUND as usize) {
                if let Some(value) = table.get_mut(key.key_hash(), &key) {
                    *value += 1;
                }
            }
        });
    });

    // The snapshot is begun and never goes on: nearly every entry is changed already.
    let mut state = OperatorState::new(StateContext::single(OperatorId::from_uid("bench")));
    let shared = state.table::<u64, u64>("table").unwrap();
    (0..KEYS).for_each(|key| drop_value(shared.borrow_mut().insert(key.key_hash(), key, key)));
    state.begin_snapshot(CheckpointId(1)).unwrap();
    group.bench_function("table, a snapshot in the writing", |bencher| {
        let mut table = shared.borrow_mut();
        bencher.iter(|| {
            for key in random.by_ref().take(ROUND as usize) {
                if let Some(value) = table.get_mut(key.key_hash(), &key) {
                    *value += 1;
                }
            }
        });
    });
    group.finish();
}

fn inserts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert");
    group.sample_size(10);
    group.throughput(Throughput::Elements(KEYS));
    group.bench_function("1M keys, plain hash table", |bencher| {
        let hash = |key: u64| key.key_hash().bits();
        bencher.iter_with_large_drop(|| {
            let mut plain = HashTable::<(u64, u64)>::new();
            for key in 0..KEYS {
                match plain.find_mut(hash(key), |entry| entry.0 == key) {
                    Some(entry) => entry.1 += 1,
                    None => drop(plain.insert_unique(hash(key), (key, key), |entry| hash(entry.0))),
                }
            }
            plain
        });
    });
    group.bench_function("1M keys, table", |bencher| bencher.iter_with_large_drop(|| filled(KEYS)));
    group.bench_function("1M keys, drained in steps", |bencher| {
        bencher.iter_batched_ref(
            || filled(KEYS),
            |table| {
                while !table.is_empty() {
                    let mut left = 1024;
                    table.drain(|key, value| {
                        black_box((key, value));
                        left -= 1;
                        left > 0
                    });
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn windows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("windows and timers");
    group.throughput(Throughput::Elements(ROUND));
    group.bench_function("count in 10 windows of 10k keys", |bencher| {
        let mut windows = NamespacedTable::<u64, u64>::new(max_parallelism().range(0, 1), max_parallelism());
        let mut random = keys();
        bencher.iter(|| {
            for key in random.by_ref().take(ROUND as usize) {
                let (end, key) = ((key % 10) as i64 * 1000, key / 100);
                windows.table(end).update(key.key_hash(), &key, || 0, |count| *count += 1);
            }
        });
    });
    group.bench_function("register and pop timers", |bencher| {
        let mut timers = Timers::<u64>::new(max_parallelism().range(0, 1), max_parallelism());
        let mut random = keys();
        bencher.iter(|| {
            for key in random.by_ref().take(ROUND as usize) {
                timers.register((key % 60_000) as i64, &key);
            }
            while let Ok(Some(timer)) = timers.pop_due(i64::MAX) {
                black_box(timer);
            }
        });
    });
    group.finish();
}

fn snapshots(criterion: &mut Criterion) {
    let context = StateContext::single(OperatorId::from_uid("bench"));
    let mut state = OperatorState::new(context.clone());
    let table = state.table::<u64, u64>("table").unwrap();
    (0..KEYS).for_each(|key| drop_value(table.borrow_mut().insert(key.key_hash(), key, key)));
    let mut checkpoint = CheckpointId(0);
    let mut bytes = Vec::new();
    let mut write = |bytes: &mut Vec<u8>| {
        bytes.clear();
        checkpoint.0 += 1;
        state.begin_snapshot(checkpoint).unwrap();
        while state.write_step(bytes, 64 * 1024).unwrap() == SnapshotProgress::More {}
    };
    write(&mut bytes);
    let mut group = criterion.benchmark_group("snapshot of 1M entries");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("write in steps", |bencher| bencher.iter(|| write(&mut bytes)));
    group.bench_function("read", |bencher| {
        bencher.iter_batched(
            || bytes.clone(),
            |bytes| {
                let mut state = OperatorState::restore(context.clone(), [bytes]).unwrap();
                state.table::<u64, u64>("table").unwrap()
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// A hash as the exchange hands it on.
fn hashes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash");
    group.throughput(Throughput::Elements(1));
    group.bench_function("key group", |bencher| {
        let hash: KeyHash = 7_u64.key_hash();
        bencher.iter(|| black_box(hash).group(black_box(max_parallelism())));
    });
    group.finish();
}

criterion_group!(benches, lookups, inserts, windows, snapshots, hashes);
criterion_main!(benches);
