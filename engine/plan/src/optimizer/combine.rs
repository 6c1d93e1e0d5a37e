//! Whether to aggregate before the exchange.
//!
//! A combiner pays where records of equal keys meet before they are sent. Without an exchange there is nothing to save, and
//! where the keys hardly repeat it only costs.

/// Whether a combiner is put before an aggregation.
pub(super) fn is_combined(
    combinable: bool,
    is_exchanged: bool,
    records: Option<u64>,
    groups: Option<u64>,
) -> bool {
    // With every key in every producing subtask at most once, nothing meets.
    let hardly_repeats =
        records.zip(groups).is_some_and(|(records, groups)| groups >= records - records / 10);
    combinable && is_exchanged && !hardly_repeats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_combiner_needs_an_exchange_and_keys_that_repeat() {
        assert!(is_combined(true, true, None, None));
        assert!(!is_combined(false, true, None, None));
        assert!(!is_combined(true, false, None, None));
        assert!(is_combined(true, true, Some(100), Some(50)));
        assert!(!is_combined(true, true, Some(100), Some(95)));
        assert!(is_combined(true, true, Some(100), None));
    }
}
