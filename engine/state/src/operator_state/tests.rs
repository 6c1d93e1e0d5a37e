//! State that is declared, written, and read again at another parallelism.

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
            Op::Fire(count) => {
                let mut windows = self.windows.borrow_mut();
                if let Some(first) = windows.first() {
                    let mut left = *count;
                    let table = windows.get_mut(first).unwrap();
                    table.drain(|key, value| {
                        assert_eq!(model.windows.remove(&(first, key)), Some(value));
                        left -= 1;
                        left > 0
                    });
                    let left = model.windows.range((first, 0)..).take_while(|((end, _), _)| *end == first);
                    assert_eq!(table.len(), left.count());
                    windows.remove_drained(first);
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
                expected.map(|first| model.timers.remove(&first));
            }
            Op::Push(element) => {
                self.list.borrow_mut().push(element.clone());
                model.list.push(element.clone());
            }
            Op::SetList(elements) => {
                self.list.borrow_mut().set(elements.clone());
                model.list.clone_from(elements);
            }
            Op::TakeList => assert_eq!(self.list.borrow_mut().take(), std::mem::take(&mut model.list)),
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Set(u32, String),
    Touch(u32),
    Remove(u32),
    Window(i64, u32),
    Fire(usize),
    Timer(i64, u32),
    Delete(i64, u32),
    Pop(i64),
    Push(String),
    SetList(Vec<String>),
    TakeList,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..40_u32;
    prop_oneof![
        4 => (key.clone(), "[a-z]{0,4}").prop_map(|(key, value)| Op::Set(key, value)),
        4 => key.clone().prop_map(Op::Touch),
        2 => key.clone().prop_map(Op::Remove),
        4 => (0..5_i64, key.clone()).prop_map(|(end, key)| Op::Window(end, key)),
        2 => (1..40_usize).prop_map(Op::Fire),
        4 => (0..9_i64, key.clone()).prop_map(|(time, key)| Op::Timer(time, key)),
        2 => (0..9_i64, key).prop_map(|(time, key)| Op::Delete(time, key)),
        1 => (0..9_i64).prop_map(Op::Pop),
        1 => "[a-z]{0,3}".prop_map(Op::Push),
        1 => proptest::collection::vec("[a-z]{0,3}", 0..5).prop_map(Op::SetList),
        1 => Just(Op::TakeList),
    ]
}

proptest! {
    /// However steps and changes take turns, the snapshot is the state at its beginning.
    #[test]
    fn a_snapshot_is_the_state_at_its_beginning(
        before in proptest::collection::vec(op(), 0..200),
        during in proptest::collection::vec((op(), 0..3_u8), 0..200),
        budget in 1_usize..200,
    ) {
        let mut states = States::declare(OperatorState::new(context(0, 1)));
        let mut model = Model::default();
        before.iter().for_each(|op| states.apply(op, &mut model));
        // One that is given up on the way leaves nothing behind.
        states.state.begin_snapshot(CheckpointId(1)).unwrap();
        let (mut bytes, mut done) = (Vec::new(), false);
        for (op, step) in &during {
            states.apply(op, &mut model);
            if *step == 0 && !done {
                done = states.state.write_step(&mut bytes, budget).unwrap() == SnapshotProgress::Done;
            }
        }
        states.state.cancel_snapshot(CheckpointId(1));
        let expected = model.clone();
        states.state.begin_snapshot(CheckpointId(2)).unwrap();
        (bytes, done) = (Vec::new(), false);
        for (op, step) in &during {
            states.apply(op, &mut model);
            if *step > 0 && !done {
                done = states.state.write_step(&mut bytes, budget).unwrap() == SnapshotProgress::Done;
            }
        }
        while !done {
            done = states.state.write_step(&mut bytes, budget).unwrap() == SnapshotProgress::Done;
        }
        prop_assert_eq!(states.model(), model);
        let restored = States::declare(OperatorState::restore(context(0, 1), [bytes.clone()]).unwrap());
        prop_assert_eq!(restored.model(), expected);
        // Damage is found.
        let cut = bytes.len() / 2;
        prop_assert!(OperatorState::restore(context(0, 1), [bytes[..cut].to_vec()]).is_err());
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
    let restored = States::declare(OperatorState::restore(context(0, 2), [bytes]).unwrap());
    assert_eq!(restored.model(), expected);
}

/// A snapshot of a count of 1 for key 7, and nothing else.
fn counted(context: StateContext) -> Vec<u8> {
    let mut state = OperatorState::new(context);
    let count = state.table::<u32, u32>("count").unwrap();
    count.borrow_mut().insert(7_u32.key_hash(), 7, 1);
    state.begin_snapshot(CheckpointId(1)).unwrap();
    let mut bytes = Vec::new();
    while state.write_step(&mut bytes, 50).unwrap() == SnapshotProgress::More {}
    bytes
}

#[test]
fn a_name_is_declared_once_and_in_time() {
    let mut state = OperatorState::new(context(0, 1));
    state.table::<u32, u32>("count").unwrap();
    let error = state.list::<u8>("count").err().unwrap().to_string();
    assert!(error.contains("declares two states called 'count'"), "{error}");
    state.begin_snapshot(CheckpointId(1)).unwrap();
    assert!(matches!(state.timers::<u32>("late"), Err(StateError::DeclaredLate { .. })));
    state.cancel_snapshot(CheckpointId(1));
    state.timers::<u32>("timers").unwrap();
    state.finish_declarations(false).unwrap();
    assert!(matches!(state.timers::<u32>("late"), Err(StateError::DeclaredLate { .. })));
}

#[test]
fn one_snapshot_is_written_at_a_time() {
    let mut state = OperatorState::new(context(0, 1));
    state.table::<u32, u32>("count").unwrap();
    state.begin_snapshot(CheckpointId(1)).unwrap();
    let error = state.begin_snapshot(CheckpointId(2)).unwrap_err().to_string();
    assert!(error.contains("checkpoint 2 began while"), "{error}");
    // Only the one that is written can be given up.
    state.cancel_snapshot(CheckpointId(2));
    assert!(state.begin_snapshot(CheckpointId(3)).is_err());
    state.cancel_snapshot(CheckpointId(1));
    state.begin_snapshot(CheckpointId(3)).unwrap();
}

#[test]
fn an_operator_without_state_writes_nothing() {
    let mut state = OperatorState::new(context(0, 1));
    state.begin_snapshot(CheckpointId(1)).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(state.write_step(&mut bytes, 50).unwrap(), SnapshotProgress::Done);
    assert!(bytes.is_empty());
}

#[test]
fn errors_of_restoring_name_operator_and_state() {
    let bytes = counted(context(0, 1));
    let restore = |context: StateContext| OperatorState::restore(context, [bytes.clone()]);

    let error = restore(context(0, 1)).unwrap().table::<u32, String>("count").err().unwrap().to_string();
    let operator = OperatorId::from_uid("op");
    let expected = format!(
        "state 'count' of operator {operator} was written as table<u32, u32> and is declared as table<u32, string>"
    );
    assert!(error.starts_with(&expected), "{error}");

    let error = restore(context(0, 1)).unwrap().finish_declarations(false).unwrap_err().to_string();
    assert!(error.contains("holds state 'count' of operator"), "{error}");
    assert!(restore(context(0, 1)).unwrap().finish_declarations(true).is_ok());

    let other = StateContext { operator: OperatorId::from_uid("other"), ..context(0, 1) };
    let error = restore(other).err().unwrap().to_string();
    assert!(error.contains(&format!("was written by operator {operator}")), "{error}");

    let max_parallelism = MaxParallelism::new(32).unwrap();
    let other = StateContext { max_parallelism, ..context(0, 1) };
    let error = restore(other).unwrap().table::<u32, u32>("count").err().unwrap().to_string();
    assert!(error.contains("set its max parallelism to 16"), "{error}");

    let cut = bytes[..bytes.len() - 1].to_vec();
    let error = OperatorState::restore(context(0, 1), [bytes.clone(), cut]).err().unwrap().to_string();
    assert!(error.contains("from its snapshot 1: it is cut off"), "{error}");

    // Two subtasks cannot both have had the key.
    let mut twice = OperatorState::restore(context(0, 1), [bytes.clone(), bytes.clone()]).unwrap();
    let error = twice.table::<u32, u32>("count").err().unwrap().to_string();
    assert!(error.contains("a key is in the state twice"), "{error}");
}

#[test]
fn lists_are_dealt_out_whatever_max_parallelism_was() {
    let mut state = OperatorState::new(context(0, 1));
    state.list::<u32>("list").unwrap().borrow_mut().set(vec![1, 2, 3]);
    state.begin_snapshot(CheckpointId(1)).unwrap();
    let mut bytes = Vec::new();
    while state.write_step(&mut bytes, 50).unwrap() == SnapshotProgress::More {}
    let max_parallelism = MaxParallelism::new(32).unwrap();
    let key_groups = max_parallelism.range(1, 2);
    let other = StateContext { subtask: 1, parallelism: 2, max_parallelism, key_groups, ..context(0, 1) };
    let mut restored = OperatorState::restore(other.clone(), [bytes.clone()]).unwrap();
    assert_eq!(restored.list::<u32>("list").unwrap().borrow().get(), [2]);
    // Restarted as it was, a subtask keeps what it had.
    let same = StateContext { redistribute: false, ..other };
    let mut restored = OperatorState::restore(same, [bytes]).unwrap();
    assert_eq!(restored.list::<u32>("list").unwrap().borrow().get(), [1, 2, 3]);
}

#[derive(Clone, Debug, PartialEq, Data)]
struct Visit {
    user: String,
    at: i64,
}

mod renamed {
    #[derive(Clone, Debug, PartialEq, flott_core::Data)]
    pub struct Click {
        pub user: String,
        pub at: i64,
    }
}

#[test]
fn a_type_may_be_renamed() {
    let mut state = OperatorState::new(context(0, 1));
    let last = state.table::<u32, Visit>("last").unwrap();
    last.borrow_mut().insert(7_u32.key_hash(), 7, Visit { user: "ada".into(), at: 1 });
    state.begin_snapshot(CheckpointId(1)).unwrap();
    let mut bytes = Vec::new();
    while state.write_step(&mut bytes, 50).unwrap() == SnapshotProgress::More {}
    let mut restored = OperatorState::restore(context(0, 1), [bytes]).unwrap();
    let last = restored.table::<u32, renamed::Click>("last").unwrap();
    let expected = renamed::Click { user: "ada".into(), at: 1 };
    assert_eq!(last.borrow().get(7_u32.key_hash(), &7), Some(&expected));
}

#[test]
fn old_values_that_wait_are_counted_and_taken_along_by_the_next_step() {
    let mut states = States::declare(OperatorState::new(context(0, 1)));
    let keys = 0..10_000_u32;
    let set = |states: &States, text: &str| {
        for key in keys.clone() {
            states.table.borrow_mut().insert(key.key_hash(), key, text.to_owned());
        }
    };
    set(&states, "before");
    assert_eq!(states.state.entries(), 10_000);
    assert!(states.state.bytes_estimate() > 10_000 * 30);
    states.state.begin_snapshot(CheckpointId(1)).unwrap();
    assert_eq!(states.state.pending_bytes(), 0);
    set(&states, "after");
    // Each a key of 4 bytes, a length, and a word.
    assert_eq!(states.state.pending_bytes(), 10_000 * 11);
    let mut bytes = Vec::new();
    assert_eq!(states.state.write_step(&mut bytes, 1).unwrap(), SnapshotProgress::More);
    // A piece of 64 KiB.
    assert!(states.state.pending_bytes() < 10_000 * 11 - 65_000);
    states.state.cancel_snapshot(CheckpointId(1));
    assert_eq!(states.state.pending_bytes(), 0);
}

#[test]
fn the_least_budget_comes_to_an_end() {
    let mut states = States::declare(OperatorState::new(context(0, 1)));
    let mut model = Model::default();
    for key in 0..3 {
        for namespace in 0..3 {
            states.apply(&Op::Window(namespace, key), &mut model);
        }
    }
    states.state.begin_snapshot(CheckpointId(1)).unwrap();
    let mut bytes = Vec::new();
    let steps =
        (0..10_000).find(|_| states.state.write_step(&mut bytes, 1).unwrap() == SnapshotProgress::Done);
    assert!(steps.is_some(), "a snapshot of nine entries takes more than 10,000 steps");
}
