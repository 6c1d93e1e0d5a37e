//! Distinct records by key: the first of each is kept.

use std::sync::Arc;

use flott_core::Data;

use super::{Combine, HashAggregate};
use crate::key_selector::KeySelector;

/// Keeps one record a key. Partial, before the exchange: records may still repeat.
pub fn combine_distinct<T: Data, S: KeySelector<T>>(
    selector: Arc<S>,
) -> Combine<T, S, impl Fn(T, T) -> T + 'static> {
    Combine::new(selector, |first, _| first)
}

/// Keeps one record a key, of all records with that key in the subtask.
pub fn distinct<T: Data, S: KeySelector<T>>(
    selector: Arc<S>,
) -> HashAggregate<T, S, impl Fn(T, T) -> T + 'static> {
    HashAggregate::new(selector, |first, _| first)
}
