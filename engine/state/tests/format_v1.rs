//! The bytes of format version 1, as first written: they stay readable, and are still what is written.
//!
//! `FLOTT_WRITE_FIXTURES=1 cargo test -p flott-state --test format_v1` writes fixtures that are missing. Those that are there are
//! never changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::path::Path;

use flott_core::ids::{CheckpointId, OperatorId};
use flott_core::{Data, Key, MaxParallelism};
use flott_state::format::{SnapshotReader, StateKind};
use flott_state::{OperatorState, SnapshotProgress, StateContext, StateError};

#[derive(Clone, Debug, PartialEq, Data)]
struct Visit {
    page: Option<String>,
    at: i64,
}

fn context() -> StateContext {
    let max_parallelism = MaxParallelism::new(16).unwrap();
    StateContext {
        operator: OperatorId::from_uid("fixture"),
        subtask: 1,
        parallelism: 2,
        max_parallelism,
        key_groups: max_parallelism.range(1, 2),
        redistribute: true,
    }
}

/// Keys of the subtask.
fn keys(count: usize) -> Vec<String> {
    let own = |key: &String| context().key_groups.contains(key.key_hash().group(context().max_parallelism));
    (0..).map(|n| format!("key-{n}")).filter(own).take(count).collect()
}

fn written(state: &mut OperatorState) -> Vec<u8> {
    state.begin_snapshot(CheckpointId(1)).unwrap();
    let mut bytes = Vec::new();
    while state.write_step(&mut bytes, 500).unwrap() == SnapshotProgress::More {}
    bytes
}

fn fixture(name: &str, state: impl FnOnce() -> OperatorState) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    if !path.exists() && std::env::var_os("FLOTT_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, written(&mut state())).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One row in each state, so that no order is left open.
fn small() -> OperatorState {
    let mut state = OperatorState::new(context());
    let key = &keys(1)[0];
    let visits = state.table::<String, Visit>("visits").unwrap();
    visits.borrow_mut().insert(key.key_hash(), key.clone(), Visit { page: Some("ß".into()), at: -2 });
    let windows = state.namespaced::<String, u64>("windows").unwrap();
    windows.borrow_mut().table(60_000).insert(key.key_hash(), key.clone(), 3);
    state.timers::<String>("timers").unwrap().borrow_mut().register(1_700_000_000_000, key);
    state.list::<(u32, bool)>("splits").unwrap().borrow_mut().push((5, true));
    state
}

/// Enough for several chunks, key groups and namespaces.
fn large() -> OperatorState {
    let mut state = OperatorState::new(context());
    let visits = state.table::<String, Visit>("visits").unwrap();
    let windows = state.namespaced::<String, u64>("windows").unwrap();
    let timers = state.timers::<String>("timers").unwrap();
    let splits = state.list::<(u32, bool)>("splits").unwrap();
    for (n, key) in keys(40).into_iter().enumerate() {
        let hash = key.key_hash();
        let page = (n % 3 > 0).then(|| format!("page {n}"));
        visits.borrow_mut().insert(hash, key.clone(), Visit { page, at: n as i64 - 5 });
        windows.borrow_mut().table(n as i64 % 3 * 1000 - 1000).insert(hash, key.clone(), n as u64);
        timers.borrow_mut().register(n as i64 % 7, &key);
        splits.borrow_mut().push((n as u32, n % 2 == 0));
    }
    state
}

#[test]
fn the_same_bytes_are_still_written() {
    assert_eq!(written(&mut small()), fixture("v1-small.bin", small));
}

#[test]
fn the_header_and_the_index_stay_readable() {
    let reader = SnapshotReader::open(fixture("v1-small.bin", small)).unwrap();
    let header = reader.header();
    assert_eq!(header.operator, OperatorId::from_uid("fixture"));
    assert_eq!((header.subtask, header.parallelism, header.max_parallelism), (1, 2, 16));
    let states: Vec<_> = header.states.iter().map(|state| (state.name.as_str(), state.kind)).collect();
    let expected = [
        ("visits", StateKind::Table),
        ("windows", StateKind::Namespaced),
        ("timers", StateKind::Timers),
        ("splits", StateKind::List),
    ];
    assert_eq!(states, expected);
    assert_eq!(header.states[0].type_name(), "table<string, {page: option<string>, at: i64}>");
    let chunks: Vec<_> = (0..reader.chunk_count()).filter_map(|index| reader.chunk_header(index)).collect();
    let found: Vec<_> = chunks.iter().map(|chunk| (chunk.state, chunk.namespace, chunk.rows)).collect();
    assert_eq!(found, [(0, 0, 1), (1, 60_000, 1), (2, 0, 1), (3, 0, 1)]);
}

/// Everything that stands in the states of `large`, whoever holds which part.
#[derive(Debug, Default, PartialEq)]
struct Contents {
    visits: BTreeMap<String, (Option<String>, i64)>,
    windows: BTreeMap<(i64, String), u64>,
    timers: Vec<(i64, String)>,
    splits: Vec<(u32, bool)>,
}

fn add(contents: &mut Contents, state: &mut OperatorState) -> Result<(), StateError> {
    let visits = state.table::<String, Visit>("visits")?;
    let visits = visits.borrow();
    contents.visits.extend(visits.iter().map(|(key, visit)| (key.clone(), (visit.page.clone(), visit.at))));
    let windows = state.namespaced::<String, u64>("windows")?;
    let windows = windows.borrow();
    for namespace in windows.namespaces() {
        let table = windows.get(namespace).unwrap();
        contents.windows.extend(table.iter().map(|(key, count)| ((namespace, key.clone()), *count)));
    }
    let timers = state.timers::<String>("timers")?;
    while let Some(timer) = timers.borrow_mut().pop_due(i64::MAX).unwrap() {
        contents.timers.push(timer);
    }
    contents.splits.extend(state.list::<(u32, bool)>("splits")?.borrow_mut().take());
    state.finish_declarations(false)
}

#[test]
fn the_rows_stay_readable_at_any_parallelism() {
    let mut expected = Contents::default();
    for (n, key) in keys(40).into_iter().enumerate() {
        let page = (n % 3 > 0).then(|| format!("page {n}"));
        expected.visits.insert(key.clone(), (page, n as i64 - 5));
        expected.windows.insert((n as i64 % 3 * 1000 - 1000, key.clone()), n as u64);
        expected.timers.push((n as i64 % 7, key));
        expected.splits.push((n as u32, n % 2 == 0));
    }
    expected.timers.sort();
    for parallelism in [1, 2, 3, 16] {
        let mut read = Contents::default();
        for subtask in 0..parallelism {
            let key_groups = context().max_parallelism.range(subtask, parallelism);
            let context = StateContext { subtask, parallelism, key_groups, ..context() };
            let mut state = OperatorState::restore(context, [fixture("v1-large.bin", large)]).unwrap();
            add(&mut read, &mut state).unwrap();
        }
        read.timers.sort();
        read.splits.sort();
        assert_eq!(read, expected, "at parallelism {parallelism}");
    }
}
