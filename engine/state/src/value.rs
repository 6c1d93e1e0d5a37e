//! State of the current key, for functions that are called with one key at a time.

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use flott_core::{Data, Key, KeyHash};

use crate::table::Table;

/// The key whose record is being processed; shared by an operator and its states.
pub struct CurrentKey<K>(Rc<RefCell<Option<(KeyHash, K)>>>);

impl<K> Clone for CurrentKey<K> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<K> Default for CurrentKey<K> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(None)))
    }
}

impl<K: Key> CurrentKey<K> {
    /// Makes `key` the current one.
    pub fn set(&self, hash: KeyHash, key: K) {
        *self.0.borrow_mut() = Some((hash, key));
    }

    /// Makes a copy of `key` the current one, unless it is already; keys often come in runs.
    #[inline]
    pub fn set_to(&self, hash: KeyHash, key: &K) {
        let current = &mut *self.0.borrow_mut();
        match current {
            Some((old_hash, old)) if *old_hash == hash && old == key => {}
            Some((old_hash, old)) => {
                *old_hash = hash;
                old.clone_from(key);
            }
            None => *current = Some((hash, key.clone())),
        }
    }

    /// The current key; none outside of a call.
    pub fn get(&self) -> Option<K> {
        self.0.borrow().as_ref().map(|(_, key)| key.clone())
    }

    /// The current key.
    ///
    /// # Panics
    /// If there is none: a function used its state where it has no key. A panic, because it is the user's mistake, and the
    /// task must fail here instead of losing what was set.
    #[inline]
    #[expect(clippy::panic, reason = "a user's mistake that no caller could repair")]
    fn borrow(&self) -> Ref<'_, (KeyHash, K)> {
        Ref::filter_map(self.0.borrow(), Option::as_ref).unwrap_or_else(|_| {
            panic!(
                "state was used where no key is current: use it only while a record or a timer is processed"
            )
        })
    }
}

/// Where the values are. Another backend joins as another variant: nothing that [`ValueState`] offers gives out more than a
/// borrow for the time of a closure, so values need not lie in memory.
enum Values<K, V> {
    Heap(Rc<RefCell<Table<K, V>>>),
}

impl<K, V> Clone for Values<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Heap(table) => Self::Heap(Rc::clone(table)),
        }
    }
}

/// One value for each key. Every method is about the current key.
///
/// ```
/// use flott_core::Key;
/// use flott_core::ids::OperatorId;
/// use flott_state::{CurrentKey, OperatorState, StateContext, StateError};
///
/// # fn main() -> Result<(), StateError> {
/// let mut state = OperatorState::new(StateContext::single(OperatorId::from_uid("sums")));
/// let key = CurrentKey::default();
/// let sum = state.value_state::<u64, i64>("sum", &key)?;
/// key.set(1_u64.key_hash(), 1);
/// sum.update(|| 0, |sum| *sum += 5);
/// key.set(2_u64.key_hash(), 2);
/// assert_eq!(sum.get(), None);
/// key.set(1_u64.key_hash(), 1);
/// assert_eq!(sum.get(), Some(5));
/// # Ok(())
/// # }
/// ```
///
/// # Panics
/// Every method panics where no key is current, and in a closure that another method of the same state was given.
pub struct ValueState<K, V> {
    values: Values<K, V>,
    key: CurrentKey<K>,
}

impl<K, V> Clone for ValueState<K, V> {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), key: self.key.clone() }
    }
}

impl<K: Key, V: Data> ValueState<K, V> {
    /// The state in `table`, for the keys that `key` is set to.
    pub fn new(table: Rc<RefCell<Table<K, V>>>, key: CurrentKey<K>) -> Self {
        Self { values: Values::Heap(table), key }
    }

    /// A copy of the key's value.
    #[inline]
    pub fn get(&self) -> Option<V> {
        self.with(|value| value.cloned())
    }

    /// Looks at the key's value without copying it; returns what `look` returns.
    #[inline]
    pub fn with<R>(&self, look: impl FnOnce(Option<&V>) -> R) -> R {
        let (hash, key) = &*self.key.borrow();
        match &self.values {
            Values::Heap(table) => look(table.borrow().get(*hash, key)),
        }
    }

    /// Sets the key's value.
    #[inline]
    pub fn set(&self, value: V) {
        let (hash, key) = &*self.key.borrow();
        match &self.values {
            Values::Heap(table) => {
                let mut table = table.borrow_mut();
                match table.get_mut(*hash, key) {
                    Some(old) => *old = value,
                    None => drop(table.insert(*hash, key.clone(), value)),
                }
            }
        }
    }

    /// Changes the key's value in place, beginning with `first` if it has none, and returns what `change` returns.
    #[inline]
    pub fn update<R>(&self, first: impl FnOnce() -> V, change: impl FnOnce(&mut V) -> R) -> R {
        let (hash, key) = &*self.key.borrow();
        match &self.values {
            Values::Heap(table) => table.borrow_mut().update(*hash, key, first, change),
        }
    }

    /// Takes the key's value away.
    #[inline]
    pub fn clear(&self) {
        let (hash, key) = &*self.key.borrow();
        match &self.values {
            Values::Heap(table) => drop(table.borrow_mut().remove(*hash, key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use flott_core::MaxParallelism;

    use super::*;

    fn state() -> (CurrentKey<String>, ValueState<String, Vec<u32>>) {
        let max = MaxParallelism::default_for(1);
        let key = CurrentKey::default();
        let table = Rc::new(RefCell::new(Table::new(max.range(0, 1), max)));
        (key.clone(), ValueState::new(table, key))
    }

    #[test]
    fn every_key_has_its_value() {
        let (key, state) = state();
        let set_key = |name: &str| key.set_to(name.to_owned().key_hash(), &name.to_owned());
        set_key("a");
        state.set(vec![1]);
        set_key("b");
        assert_eq!(state.update(Vec::new, |list| list.len()), 0);
        set_key("a");
        set_key("a");
        assert_eq!(key.get(), Some("a".to_owned()));
        state.set(vec![1, 2]);
        assert_eq!(state.with(|list| list.map(Vec::len)), Some(2));
        state.clear();
        assert_eq!(state.get(), None);
        set_key("b");
        assert_eq!(state.get(), Some(vec![]));
    }

    #[test]
    #[should_panic(expected = "no key is current")]
    fn without_a_key_nothing_is_lost_in_silence() {
        state().1.set(vec![1]);
    }
}
