//! How a record's key is found: computed, or borrowed from the record (no copy a record).

use std::marker::PhantomData;

use flott_core::Key;

/// Finds the key of a record.
pub trait KeySelector<T>: Send + Sync + 'static {
    /// The type of the key.
    type Key: Key;

    /// Calls `f` with the record's key.
    fn with_key<R>(&self, record: &T, f: impl FnOnce(&Self::Key) -> R) -> R;
}

/// A key that is computed from the record.
pub struct Computed<K, F> {
    select: F,
    key: PhantomData<fn() -> K>,
}

impl<K, F> Computed<K, F> {
    /// Finds keys by `select`.
    pub fn new<T>(select: F) -> Self
    where
        F: Fn(&T) -> K,
    {
        Self { select, key: PhantomData }
    }
}

impl<T, K: Key, F: Fn(&T) -> K + Send + Sync + 'static> KeySelector<T> for Computed<K, F> {
    type Key = K;

    #[inline]
    fn with_key<R>(&self, record: &T, f: impl FnOnce(&K) -> R) -> R {
        f(&(self.select)(record))
    }
}

/// A key that is a part of the record.
pub struct Borrowed<K, F> {
    select: F,
    key: PhantomData<fn() -> K>,
}

impl<K, F> Borrowed<K, F> {
    /// Finds keys by `select`.
    pub fn new<T>(select: F) -> Self
    where
        F: Fn(&T) -> &K,
    {
        Self { select, key: PhantomData }
    }
}

impl<T, K: Key, F: Fn(&T) -> &K + Send + Sync + 'static> KeySelector<T> for Borrowed<K, F> {
    type Key = K;

    #[inline]
    fn with_key<R>(&self, record: &T, f: impl FnOnce(&K) -> R) -> R {
        f((self.select)(record))
    }
}
