//! State of the current key, for functions that are called with one key at a time.

use std::cell::RefCell;
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

impl<K: Key> Default for CurrentKey<K> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(None)))
    }
}

impl<K: Key> CurrentKey<K> {
    /// Makes `key` the current one.
    pub fn set(&self, hash: KeyHash, key: K) {
        *self.0.borrow_mut() = Some((hash, key));
    }

    /// The current key; none outside of a call.
    pub fn get(&self) -> Option<K> {
        self.0.borrow().as_ref().map(|(_, key)| key.clone())
    }
}

/// One value for each key. Every method is about the current key.
pub struct ValueState<K, V> {
    table: Rc<RefCell<Table<K, V>>>,
    key: CurrentKey<K>,
}

impl<K, V> Clone for ValueState<K, V> {
    fn clone(&self) -> Self {
        Self { table: Rc::clone(&self.table), key: self.key.clone() }
    }
}

impl<K: Key, V: Data> ValueState<K, V> {
    /// The state in `table`, for the keys that `key` is set to.
    pub fn new(table: Rc<RefCell<Table<K, V>>>, key: CurrentKey<K>) -> Self {
        Self { table, key }
    }

    /// The key's value.
    pub fn get(&self) -> Option<V> {
        let current = self.key.0.borrow();
        let (hash, key) = current.as_ref()?;
        self.table.borrow().get(*hash, key).cloned()
    }

    /// Sets the key's value.
    pub fn set(&self, value: V) {
        if let Some((hash, key)) = &*self.key.0.borrow() {
            self.table.borrow_mut().insert(*hash, key.clone(), value);
        }
    }

    /// Changes the key's value in place, beginning with `first` if it has none, and returns what `change` returns.
    pub fn update<R>(&self, first: impl FnOnce() -> V, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        let current = self.key.0.borrow();
        let (hash, key) = current.as_ref()?;
        let mut table = self.table.borrow_mut();
        if let Some(value) = table.get_mut(*hash, key) {
            return Some(change(value));
        }
        let mut value = first();
        let result = change(&mut value);
        table.insert(*hash, key.clone(), value);
        Some(result)
    }

    /// Takes the key's value away.
    pub fn clear(&self) {
        if let Some((hash, key)) = &*self.key.0.borrow() {
            self.table.borrow_mut().remove(*hash, key);
        }
    }
}
