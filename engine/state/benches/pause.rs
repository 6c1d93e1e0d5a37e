//! How long a snapshot of large state holds up its task: the longest of all its steps, while records go on changing it.
//!
//! `cargo bench -p flott-state --bench pause -- [MIB]` fills a table of about that size, 512 MiB unless told.

#![allow(clippy::unwrap_used, reason = "a bench fails by a panic")]

use std::time::{Duration, Instant};

use flott_core::Key;
use flott_core::ids::{CheckpointId, OperatorId};
use flott_state::{OperatorState, SnapshotProgress, StateContext};

/// What the runtime writes at a time.
const STEP_BYTES: usize = 64 * 1024;

/// The records between two steps.
const BATCH: u64 = 1024;

/// 48 bytes beside the key: with version and control byte, 65 bytes an entry.
type Value = [u64; 6];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this too, and wants to know only that it runs.
    let benched = arguments.iter().any(|argument| argument == "--bench");
    let mib = arguments.iter().find_map(|argument| argument.parse::<u64>().ok());
    let wanted = mib.unwrap_or(if benched { 512 } else { 1 }) << 20;

    let mut state = OperatorState::new(StateContext::single(OperatorId::from_uid("pause")));
    let table = state.table::<u64, Value>("table").unwrap();
    let mut longest_insert = Duration::ZERO;
    let mut keys = 0;
    while (state.bytes_estimate() as u64) < wanted {
        for key in keys..keys + 100_000 {
            let start = Instant::now();
            table.borrow_mut().insert(key.key_hash(), key, [key; 6]);
            longest_insert = longest_insert.max(start.elapsed());
        }
        keys += 100_000;
    }

    let begin = Instant::now();
    state.begin_snapshot(CheckpointId(1)).unwrap();
    let begin = begin.elapsed();
    let (mut longest, mut writing, mut largest, mut backlog) = (Duration::ZERO, Duration::ZERO, 0, 0);
    let (mut steps, mut bytes, mut changes, mut random) = (0_u64, 0, 0, 1_u64);
    let mut out = Vec::new();
    let whole = Instant::now();
    loop {
        let start = Instant::now();
        let progress = state.write_step(&mut out, STEP_BYTES).unwrap();
        let took = start.elapsed();
        longest = longest.max(took);
        writing += took;
        steps += 1;
        largest = largest.max(out.len());
        bytes += out.len();
        out.clear();
        if progress == SnapshotProgress::Done {
            break;
        }
        for _ in 0..BATCH {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (random >> 20) % keys;
            table.borrow_mut().update(key.key_hash(), &key, || [0; 6], |value| value[0] += 1);
            changes += 1;
        }
        backlog = backlog.max(state.pending_bytes());
    }
    println!("entries                 {keys}");
    println!("state                   {} MiB", state.bytes_estimate() >> 20);
    println!("longest insert          {longest_insert:?}");
    println!("begin_snapshot          {begin:?}");
    println!("steps                   {steps} of at most {} KiB, {} MiB in all", largest >> 10, bytes >> 20);
    println!("longest step            {longest:?}");
    println!("mean step               {:?}", writing / steps as u32);
    println!("writing                 {writing:?} of {:?}, with {changes} changes between", whole.elapsed());
    println!("old values waiting      at most {} KiB", backlog >> 10);
}
