use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn context(subtask: u32, parallelism: u32) -> StateContext {
    let max_parallelism = MaxParallelism::new(16).unwrap();
    let key_groups = max_parallelism.range(subtask, parallelism);
    StateContext {
        operator: OperatorId::from_uid("op"),
        subtask,
        parallelism,
        max_parallelism,
        key_groups,
        redistribute: true,
    }
}

struct States {
    state: OperatorState,
    table: Rc<RefCell<Table<u32, String>>>,
    windows: Rc<RefCell<NamespacedTable<u32, u64>>>,
    timers: Rc<RefCell<Timers<u32>>>,
    list: Rc<RefCell<OperatorList<String>>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Model {
    table: BTreeMap<u32, String>,
    windows: BTreeMap<(i64, u32), u64>,
    timers: BTreeSet<(i64, u32)>,
    list: Vec<String>,
}

impl States {
    fn declare(mut state: OperatorState) -> Self {
        let table = state.table("table").unwrap();
        let windows = state.namespaced("windows").unwrap();
        let timers = state.timers("timers").unwrap();
        let list = state.list("list").unwrap();
        state.finish_declarations(false).unwrap();
        Self { state, table, windows, timers, list }
    }

    fn model(&self) -> Model {
        let windows = self.windows.borrow();
        let mut timers = BTreeSet::new();
        let mut copy = Vec::new();
        while let Some((time, key)) = self.timers.borrow_mut().pop_due(i64::MAX).unwrap() {
            timers.insert((time, key));
            copy.push((time, key));
        }
        copy.iter().for_each(|(time, key)| self.timers.borrow_mut().register(*time, key));
        Model {
            table: self.table.borrow().iter().map(|(k, v)| (*k, v.clone())).collect(),
            windows: windows
                .namespaces()
                .flat_map(|n| windows.get(n).unwrap().iter().map(move |(k, v)| ((n, *k), *v)))
                .collect(),
            timers,
            list: self.list.borrow().get().to_vec(),
        }
    }

    fn apply(&self, op: &Op, model: &mut Model) {
        match op {
            Op::Set(key, value) => {
                self.table.borrow_mut().insert(key.key_hash(), *key, value.clone());
                model.table.insert(*key, value.clone());
            }
            Op::Touch(key) => {
                if let Some(value) = self.table.borrow_mut().get_mut(key.key_hash(), key) {
                    value.push('!');
                }
                model.table.entry(*key).and_modify(|value| value.push('!'));
            }
            Op::Remove(key) => {
                assert_eq!(self.table.borrow_mut().remove(key.key_hash(), key), model.table.remove(key));
            }
            Op::Window(end, key) => {
                let mut windows = self.windows.borrow_mut();
                let table = windows.table(*end);
                match table.get_mut(key.key_hash(), key) {
                    Some(value) => *value += 1,
                    None => drop(table.insert(key.key_hash(), *key, 1)),
                }
                *model.windows.entry((*end, *key)).or_default() += 1;
            }
            Op::Fire => {
                let mut windows = self.windows.borrow_mut();
                if let Some(first) = windows.first() {
                    let mut fired = BTreeMap::new();
                    windows.get_mut(first).unwrap().drain(|key, value| {
                        fired.insert((first, key), value);
                        true
                    });
                    windows.remove_drained(first);
                    let expected = model.windows.extract_if(.., |(end, _), _| *end == first).collect();
                    assert_eq!(fired, expected);
                }
            }
            Op::Timer(time, key) => {
                self.timers.borrow_mut().register(*time, key);
                model.timers.insert((*time, *key));
            }
            Op::Delete(time, key) => {
                self.timers.borrow_mut().delete(*time, key);
                model.timers.remove(&(*time, *key));
            }
            Op::Pop(now) => {
                let popped = self.timers.borrow_mut().pop_due(*now).unwrap();
                let expected = model.timers.first().copied().filter(|(time, _)| time <= now);
                assert_eq!(popped, expected);
                if let Some(first) = expected {
                    model.timers.remove(&first);
                }
            }
            Op::Push(element) => {
                self.list.borrow_mut().push(element.clone());
                model.list.push(element.clone());
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Set(u32, String),
    Touch(u32),
    Remove(u32),
    Window(i64, u32),
    Fire,
    Timer(i64, u32),
    Delete(i64, u32),
    Pop(i64),
    Push(String),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..40_u32;
    prop_oneof![
        4 => (key.clone(), "[a-z]{0,4}").prop_map(|(key, value)| Op::Set(key, value)),
        4 => key.clone().prop_map(Op::Touch),
        2 => key.clone().prop_map(Op::Remove),
        4 => (0..5_i64, key.clone()).prop_map(|(end, key)| Op::Window(end, key)),
        1 => Just(Op::Fire),
        4 => (0..9_i64, key.clone()).prop_map(|(time, key)| Op::Timer(time, key)),
        2 => (0..9_i64, key).prop_map(|(time, key)| Op::Delete(time, key)),
        1 => (0..9_i64).prop_map(Op::Pop),
        1 => "[a-z]{0,3}".prop_map(Op::Push),
    ]
}

proptest! {
    /// However steps and changes take turns, the snapshot is the state at its beginning.
    #[test]
    fn a_snapshot_is_the_state_at_its_beginning(
        before in proptest::collection::vec(op(), 0..200),
        during in proptest::collection::vec((op(), any::<bool>()), 0..200),
        budget in 1_usize..200,
    ) {
        let mut states = States::declare(OperatorState::new(context(0, 1)));
        let mut model = Model::default();
        before.iter().for_each(|op| states.apply(op, &mut model));
        let expected = model.clone();
        states.state.begin_snapshot(CheckpointId(1)).unwrap();
        let (mut bytes, mut done) = (Vec::new(), false);
        for (op, step) in &during {
            states.apply(op, &mut model);
            if *step && !done {
                done = states.state.write_step(&mut bytes, budget).unwrap() == SnapshotProgress::Done;
            }
        }
        while !done {
            done = states.state.write_step(&mut bytes, budget).unwrap() == SnapshotProgress::Done;
        }
        prop_assert_eq!(states.model(), model);
        let restored = States::declare(OperatorState::restore(context(0, 1), vec![bytes.clone()]).unwrap());
        prop_assert_eq!(restored.model(), expected);
        // Damage is found.
        let cut = bytes.len() / 2;
        prop_assert!(OperatorState::restore(context(0, 1), vec![bytes[..cut].to_vec()]).is_err());
    }

    /// Snapshots of any parallelism go on with any other.
    #[test]
    fn state_is_dealt_out_anew(
        ops in proptest::collection::vec(op(), 0..300), from in 1_u32..5, to in 1_u32..5,
    ) {
        let mut whole = Model::default();
        let mut snapshots = Vec::new();
        for subtask in 0..from {
            let mut states = States::declare(OperatorState::new(context(subtask, from)));
            let mut model = Model::default();
            let groups = states.state.context().key_groups;
            for op in &ops {
                let own = match op {
                    Op::Set(key, _) | Op::Window(_, key) | Op::Timer(_, key) => {
                        groups.contains(key.key_hash().group(MaxParallelism::new(16).unwrap()))
                    }
                    Op::Push(_) => true,
                    _ => false,
                };
                if own {
                    states.apply(op, &mut model);
                }
            }
            whole.table.extend(model.table);
            whole.windows.extend(model.windows);
            whole.timers.extend(model.timers);
            whole.list.extend(model.list);
            let mut bytes = Vec::new();
            states.state.begin_snapshot(CheckpointId(7)).unwrap();
            while states.state.write_step(&mut bytes, 50).unwrap() == SnapshotProgress::More {}
            snapshots.push(bytes);
        }
        let mut read = Model::default();
        for subtask in 0..to {
            let model =
                States::declare(OperatorState::restore(context(subtask, to), snapshots.clone()).unwrap()).model();
            read.table.extend(model.table);
            read.windows.extend(model.windows);
            read.timers.extend(model.timers);
            read.list.extend(model.list);
        }
        whole.list.sort();
        read.list.sort();
        prop_assert_eq!(read, whole);
    }

    #[test]
    fn garbage_is_refused_without_a_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200), like in any::<bool>(),
    ) {
        if like {
            let mut begin = b"FLOTTST\x01".to_vec();
            begin.extend_from_slice(OperatorId::from_uid("op").as_bytes());
            begin.append(&mut bytes);
            bytes = begin;
        }
        let _ = format::parse(&bytes);
    }
}

#[test]
fn large_tables_are_split_by_key_group_and_still_whole() {
    let mut states = States::declare(OperatorState::new(context(0, 2)));
    let own =
        |key: &u32| context(0, 2).key_groups.contains(key.key_hash().group(MaxParallelism::new(16).unwrap()));
    let insert = |states: &States, keys: std::ops::Range<u32>| {
        for key in keys.filter(own) {
            states.table.borrow_mut().insert(key.key_hash(), key, key.to_string());
        }
    };
    insert(&states, 0..60_000);
    let expected = states.model();
    states.state.begin_snapshot(CheckpointId(1)).unwrap();
    let mut bytes = Vec::new();
    let mut next = 60_000;
    // The tables grow while they are written.
    while states.state.write_step(&mut bytes, 1000).unwrap() == SnapshotProgress::More {
        insert(&states, next..next + 300);
        next += 300;
    }
    let restored = States::declare(OperatorState::restore(context(0, 2), vec![bytes]).unwrap());
    assert_eq!(restored.model(), expected);
}

#[test]
fn errors_name_operator_and_state() {
    let mut state = OperatorState::new(context(0, 1));
    state.table::<u32, u64>("count").unwrap();
    assert!(matches!(state.list::<u8>("count"), Err(StateError::DeclaredTwice { .. })));
    state.begin_snapshot(CheckpointId(1)).unwrap();
    assert!(matches!(state.begin_snapshot(CheckpointId(2)), Err(StateError::SnapshotInProgress { .. })));
    let mut bytes = Vec::new();
    while state.write_step(&mut bytes, 50).unwrap() == SnapshotProgress::More {}
    let restore = |bytes: &Vec<u8>| OperatorState::restore(context(0, 1), vec![bytes.clone()]).unwrap();
    let changed = restore(&bytes).table::<u32, String>("count").err().unwrap();
    assert!(
        changed.to_string().contains("was written as Table<u32, u64> and is declared as Table<u32, string>")
    );
    assert!(matches!(restore(&bytes).finish_declarations(false), Err(StateError::Unclaimed { .. })));
    assert_eq!(restore(&bytes).finish_declarations(true), Ok(()));
    let other = StateContext { operator: OperatorId::from_uid("other"), ..context(0, 1) };
    assert!(matches!(OperatorState::restore(other, vec![bytes]), Err(StateError::Damaged { .. })));
}

/// The bytes of format version 1, as first written: they stay readable.
#[test]
fn format_version_1_stays_readable() {
    let fixture = include_bytes!("fixture-v1.bin");
    if fixture.is_empty() || std::env::var_os("FLOTT_WRITE_FIXTURES").is_some() {
        let mut states = States::declare(OperatorState::new(context(0, 1)));
        golden(&states);
        states.state.begin_snapshot(CheckpointId(1)).unwrap();
        let mut bytes = Vec::new();
        while states.state.write_step(&mut bytes, 1 << 20).unwrap() == SnapshotProgress::More {}
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/operator_state/fixture-v1.bin");
        std::fs::write(path, bytes).unwrap();
        panic!("the fixture was written; run the test again");
    }
    let expected = States::declare(OperatorState::new(context(0, 1)));
    golden(&expected);
    let restored = OperatorState::restore(context(0, 1), vec![fixture.to_vec()]).unwrap();
    assert_eq!(States::declare(restored).model(), expected.model());
}

fn golden(states: &States) {
    let mut model = Model::default();
    let ops = [
        Op::Set(1, "one".into()),
        Op::Set(77, "ß".into()),
        Op::Window(1000, 5),
        Op::Window(1000, 5),
        Op::Window(-1, 6),
        Op::Timer(99, 3),
        Op::Push("split".into()),
    ];
    ops.iter().for_each(|op| states.apply(op, &mut model));
}
