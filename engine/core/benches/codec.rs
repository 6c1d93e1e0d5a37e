//! What a record costs on its way to another process: encoding and decoding a batch, and hashing its key.

#![allow(missing_docs, reason = "the macros of the harness write undocumented functions")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flott_core::time::NO_TIMESTAMP;
use flott_core::{Batch, Data, Key, MAX_BATCH_RECORDS, MaxParallelism, Records};

/// Words of the lengths that a text has: mostly short, some long.
fn words() -> Vec<String> {
    const LENGTHS: [usize; 12] = [3, 2, 5, 4, 7, 3, 1, 6, 9, 4, 12, 17];
    (0..MAX_BATCH_RECORDS)
        .map(|n| {
            let letters = (0..LENGTHS[n % LENGTHS.len()]).map(|at| b'a' + ((n * 7 + at * 5) % 26) as u8);
            letters.map(char::from).collect()
        })
        .collect()
}

fn counts() -> Vec<(String, u64)> {
    words().into_iter().zip(0..).collect()
}

fn events() -> Vec<(u64, u64, u64)> {
    (0..MAX_BATCH_RECORDS as u64).map(|n| (n, n * 31 % 1000, n << 20)).collect()
}

/// Batches of `values`: filling, encoding, decoding, draining.
fn batches<T: Data>(criterion: &mut Criterion, name: &str, values: Vec<T>) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(values.len() as u64));
    for (kind, times) in [("", false), (" with timestamps", true)] {
        let mut batch = Records::from_values(values.clone());
        if times {
            batch.stamp(|_, _| 1_700_000_000_000);
        }
        let mut bytes = Vec::new();
        group.bench_function(format!("encode{kind}"), |bencher| {
            bencher.iter(|| {
                bytes.clear();
                black_box(&batch).encode(&mut bytes);
                bytes.len()
            });
        });
        bytes.clear();
        batch.encode(&mut bytes);
        group.bench_function(format!("decode{kind}"), |bencher| {
            bencher.iter(|| Records::<T>::decode(black_box(&bytes)));
        });
    }
    group.bench_function("push and drain", |bencher| {
        let mut batch = Records::new();
        batch.reserve_full();
        bencher.iter_batched_ref(
            || values.clone(),
            |values| {
                values.drain(..).for_each(|value| batch.push(value, NO_TIMESTAMP));
                batch.drain().for_each(|record| drop(black_box(record)));
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// The key groups of all `keys`.
fn hashes<K: Key>(criterion: &mut Criterion, name: &str, keys: &[K]) {
    let max = MaxParallelism::default_for(2);
    let mut group = criterion.benchmark_group("key_hash");
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let keys = black_box(keys).iter();
            keys.fold(0_u64, |sum, key| sum + u64::from(key.key_hash().group(max).index()))
        });
    });
    group.finish();
}

fn codec(criterion: &mut Criterion) {
    batches(criterion, "(String, u64)", counts());
    batches(criterion, "(u64, u64, u64)", events());
}

fn key_hash(criterion: &mut Criterion) {
    let of_length = |length: usize| vec!["x".repeat(length); MAX_BATCH_RECORDS];
    hashes(criterion, "words", &words());
    hashes(criterion, "strings of 5", &of_length(5));
    hashes(criterion, "strings of 12", &of_length(12));
    hashes(criterion, "strings of 40", &of_length(40));
    hashes(criterion, "u64", &(0..MAX_BATCH_RECORDS as u64).collect::<Vec<_>>());
    hashes(criterion, "(String, u64)", &counts());
}

criterion_group!(benches, codec, key_hash);
criterion_main!(benches);
