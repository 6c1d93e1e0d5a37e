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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use crate::key_selector::Borrowed;

    #[test]
    fn the_first_of_each_key_is_kept() {
        let select = Arc::new(Borrowed::new(|r: &(u32, u32)| &r.0));
        let mut partial = Harness::new(combine_distinct(Arc::clone(&select)));
        partial.push_all((0..9000).map(|n| (n % 10, n)));
        partial.end();
        let mut harness = Harness::new(distinct(select));
        harness.push_all(partial.take_records());
        harness.push_all((0..9000).map(|n| (n % 12, n + 9000)));
        harness.end();
        let mut kept = harness.take_records();
        kept.sort_unstable();
        let expected: Vec<(u32, u32)> = (0..12).map(|n| (n, if n < 10 { n } else { n + 9000 })).collect();
        assert_eq!(kept, expected);
    }
}
