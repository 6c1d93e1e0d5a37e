//! Snapshots of tables that grow, are split, cleared up and drained while they are written. Tests split a table at 16
//! entries into 8 shards, so that small ones see everything that large ones do.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use flott_core::ids::{CheckpointId, OperatorId};
use proptest::prelude::*;

use super::*;
use crate::{OperatorState, StateContext};

type Model = BTreeMap<u32, u32>;

/// A table of an operator with `max` key groups, beside a model of it.
struct Checked {
    state: OperatorState,
    table: Rc<RefCell<Table<u32, u32>>>,
    model: Model,
    /// The snapshot in the writing: its bytes, and what must be in it.
    snapshot: Option<(Vec<u8>, Model)>,
    snapshots: u64,
}

fn context(max: u32) -> StateContext {
    let max_parallelism = MaxParallelism::new(max).unwrap();
    let operator = OperatorId::from_uid("op");
    StateContext {
        max_parallelism,
        key_groups: max_parallelism.range(0, 1),
        ..StateContext::single(operator)
    }
}

fn contents(table: &Table<u32, u32>) -> Model {
    let contents: Model = table.iter().map(|(key, value)| (*key, *value)).collect();
    assert_eq!(table.len(), contents.len());
    contents
}

impl Checked {
    fn new(max: u32) -> Self {
        let mut state = OperatorState::new(context(max));
        let table = state.table("table").unwrap();
        Self { state, table, model: Model::new(), snapshot: None, snapshots: 0 }
    }

    fn table(&self) -> RefMut<'_, Table<u32, u32>> {
        self.table.borrow_mut()
    }

    fn insert(&mut self, key: u32, value: u32) {
        let old = self.table().insert(key.key_hash(), key, value);
        assert_eq!(old, self.model.insert(key, value));
    }

    fn update(&mut self, key: u32) {
        self.table().update(key.key_hash(), &key, || 0, |value| *value += 1);
        *self.model.entry(key).or_default() += 1;
    }

    fn change(&mut self, key: u32) {
        let value = self.table().get_mut(key.key_hash(), &key).map(|value| {
            *value += 1;
            *value
        });
        let expected = self.model.get_mut(&key).map(|value| {
            *value += 1;
            *value
        });
        assert_eq!(value, expected);
        assert_eq!(self.table().get(key.key_hash(), &key).copied(), expected);
    }

    fn remove(&mut self, key: u32) {
        let old = self.table().remove(key.key_hash(), &key);
        assert_eq!(old, self.model.remove(&key));
    }

    fn drain(&mut self, count: usize) {
        let mut left = count;
        let mut drained = Vec::new();
        self.table().drain(|key, value| {
            drained.push((key, value));
            left -= 1;
            left > 0
        });
        assert_eq!(drained.len(), count.min(self.model.len()));
        drained.into_iter().for_each(|(key, value)| assert_eq!(self.model.remove(&key), Some(value)));
    }

    fn begin(&mut self) {
        if self.snapshot.is_none() {
            self.snapshots += 1;
            self.state.begin_snapshot(CheckpointId(self.snapshots)).unwrap();
            self.snapshot = Some((Vec::new(), self.model.clone()));
        }
    }

    fn step(&mut self, budget: usize) {
        let Some((mut bytes, expected)) = self.snapshot.take() else { return };
        if self.state.write_step(&mut bytes, budget).unwrap() == SnapshotProgress::More {
            self.snapshot = Some((bytes, expected));
            return;
        }
        // That no key comes twice is checked when it is read.
        let restored_context = self.state.context().clone();
        let mut restored = OperatorState::restore(restored_context, [bytes]).unwrap();
        assert_eq!(contents(&restored.table("table").unwrap().borrow()), expected);
        assert_eq!(self.state.pending_bytes(), 0);
    }

    fn finish(mut self, budget: usize) {
        while self.snapshot.is_some() {
            self.step(budget);
        }
        assert_eq!(contents(&self.table()), self.model);
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u32, u32),
    Update(u32),
    Change(u32),
    Remove(u32),
    Drain(usize),
    Begin,
    Step(usize),
    Cancel,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..120_u32;
    prop_oneof![
        30 => (key(), any::<u32>()).prop_map(|(key, value)| Op::Insert(key, value >> 1)),
        10 => key().prop_map(Op::Update),
        10 => key().prop_map(Op::Change),
        20 => key().prop_map(Op::Remove),
        1 => (1..150_usize).prop_map(Op::Drain),
        4 => Just(Op::Begin),
        10 => (0..200_usize).prop_map(Op::Step),
        1 => Just(Op::Cancel),
    ]
}

proptest! {
    /// However steps and changes take turns, a snapshot is the table at its beginning.
    #[test]
    fn a_snapshot_is_the_table_at_its_beginning(
        ops in proptest::collection::vec(op(), 0..600), max in prop_oneof![Just(1_u32), Just(3), Just(4), Just(40)],
    ) {
        let mut checked = Checked::new(max);
        for op in ops {
            match op {
                Op::Insert(key, value) => checked.insert(key, value),
                Op::Update(key) => checked.update(key),
                Op::Change(key) => checked.change(key),
                Op::Remove(key) => checked.remove(key),
                Op::Drain(count) => checked.drain(count),
                Op::Begin => checked.begin(),
                Op::Step(budget) => checked.step(budget),
                Op::Cancel => {
                    checked.state.cancel_snapshot(CheckpointId(checked.snapshots));
                    checked.snapshot = None;
                }
            }
        }
        checked.finish(40);
    }
}

/// A hash table with many removed entries clears up in place: entries move, and it is as large as before.
#[test]
fn entries_that_move_in_place_are_not_missed() {
    for first in (0..100_000).step_by(1000) {
        let mut checked = Checked::new(1);
        // Full tables, of which a third is left.
        (first..first + 220).for_each(|key| checked.insert(key, key));
        (first..first + 150).for_each(|key| checked.remove(key));
        checked.begin();
        for key in first + 220..first + 400 {
            checked.step(20);
            checked.insert(key, key);
            checked.remove(key);
        }
        checked.finish(20);
    }
}

#[test]
fn a_snapshot_ends_although_the_table_changes_all_the_time() {
    let mut checked = Checked::new(4);
    (0..15).for_each(|key| checked.insert(key, key));
    checked.begin();
    let mut steps = 0;
    while checked.snapshot.is_some() {
        checked.step(1);
        let key = 15 + steps;
        checked.insert(key, key);
        checked.remove(key / 2);
        checked.change(key);
        steps += 1;
        assert!(steps < 2000);
    }
    checked.finish(1);
}

#[test]
fn what_is_inserted_while_draining_is_drained() {
    let mut checked = Checked::new(16);
    (0..300).for_each(|key| checked.insert(key, key));
    for key in 300..400 {
        checked.drain(3);
        checked.insert(key, key);
    }
    checked.drain(1000);
    assert!(checked.table().is_empty());
    (0..300).for_each(|key| checked.insert(key, key));
    checked.finish(1);
}

#[test]
fn a_table_with_one_key_group_is_split_too() {
    let mut checked = Checked::new(1);
    (0..17).for_each(|key| checked.insert(key, key));
    assert_eq!(checked.table().shards.len(), 8);
    let filled = checked.table().shards.iter().filter(|shard| !shard.is_empty()).count();
    assert!(filled > 1);
    checked.finish(1);
}

/// What a chunk says of its key groups must hold, whatever way the shard was found.
#[test]
fn every_shard_holds_keys_of_its_key_group_alone() {
    for max in [1, 2, 3, 7, 16, 40, 128] {
        let max_parallelism = MaxParallelism::new(max).unwrap();
        for parallelism in [1, 2, max].map(|parallelism| parallelism.min(max)) {
            for subtask in 0..parallelism {
                let owned = max_parallelism.range(subtask, parallelism);
                let mut table = Table::new(owned, max_parallelism);
                let own = |key: &u32| owned.contains(key.key_hash().group(max_parallelism));
                for key in (0..200 * parallelism).filter(own) {
                    assert_eq!(table.insert(key.key_hash(), key, key), None);
                }
                assert_eq!(table.shards.len(), owned.len() << table.layout.sub_bits);
                for (shard, entries) in table.shards.iter().enumerate() {
                    let groups = table.groups_of(shard);
                    let mut keys = entries.iter().map(|entry| entry.key);
                    assert!(keys.all(|key| groups.contains(key.key_hash().group(max_parallelism))));
                }
                // A key of another subtask is not there, and is no mistake to ask for.
                for key in (0..1000_u32).filter(|key| !own(key)) {
                    assert_eq!(table.get(key.key_hash(), &key), None);
                    assert_eq!(table.remove(key.key_hash(), &key), None);
                }
            }
        }
    }
}

#[test]
fn memory_is_estimated() {
    let max = MaxParallelism::default_for(1);
    let mut table = Table::<u32, String>::new(max.range(0, 1), max);
    (0..1000_u32).for_each(|key| drop(table.insert(key.key_hash(), key, "x".repeat(100))));
    let own = 1000 * 100;
    assert!((own..own * 3).contains(&table.bytes_estimate()), "{}", table.bytes_estimate());
}

#[test]
#[should_panic(expected = "a key selector must always select the same key")]
fn a_key_of_another_subtask_is_refused() {
    let max = MaxParallelism::new(2).unwrap();
    let mut table = Table::new(max.range(1, 2), max);
    (0..20_u32).for_each(|key| assert_eq!(table.insert(key.key_hash(), key, key), None));
}
