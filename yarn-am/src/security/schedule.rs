//! When new tokens are got. Pure: times come in, durations come out.

use std::time::Duration;

/// In its last minute a token is not used any more by the client of HDFS, which wants to be done before it ends.
pub const LAST_MINUTE: Duration = Duration::from_secs(60);

/// However short tokens live, this is between two of them.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// The longest pause after a failure.
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);

/// The longest pause once the last token has ended: what waits for the next one fails meanwhile.
const LONGEST_WITHOUT: Duration = Duration::from_secs(30);

/// For how long a token is good from when it was issued: until it would have to be renewed, which nobody does for it, or into its last minute.
/// `issued`, `expires` (without being renewed) and `ends` (renewed or not) are in milliseconds since the epoch, by the server's clock.
pub fn usable(issued: u64, expires: u64, ends: u64) -> Duration {
    let until_end = Duration::from_millis(ends.saturating_sub(issued)).saturating_sub(LAST_MINUTE);
    until_end.min(Duration::from_millis(expires.saturating_sub(issued)))
}

/// How long after a token was issued the next one is got: three quarters of the time for which it is good.
///
/// ```
/// use std::time::Duration;
/// use flott_yarn::security::schedule::{next, usable};
///
/// const DAY: u64 = 24 * 60 * 60 * 1000;
/// assert_eq!(next(usable(0, DAY, 7 * DAY)), Duration::from_secs(18 * 60 * 60));
/// assert_eq!(next(usable(0, 90_000, 90_000)), Duration::from_millis(22_500));
/// ```
pub fn next(usable: Duration) -> Duration {
    (usable / 4 * 3).max(SHORTEST)
}

/// How long to wait from `now` for new tokens, where the ones at hand were issued at `issued` and are good for `usable`.
pub fn first(now: u64, issued: u64, usable: Duration) -> Duration {
    next(usable).saturating_sub(Duration::from_millis(now.saturating_sub(issued)))
}

/// How long to wait after the `failures`th failure in a row, with `left` until the tokens are of no use: often enough that some tries are left,
/// and no two ApplicationMasters at the same time. `random` is from 0 to 1.
pub fn retry(failures: u32, left: Duration, random: f64) -> Duration {
    let growing = SHORTEST * 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let longest = match left.is_zero() {
        true => LONGEST_WITHOUT,
        false => LONGEST_RETRY.min((left / 4).max(SHORTEST)),
    };
    let pause = growing.min(longest);
    pause.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0).max(SHORTEST / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_that_is_good_for_ever_is_replaced_as_late_as_can_be() {
        assert_eq!(next(Duration::MAX), Duration::MAX / 4 * 3);
        assert_eq!(first(0, 0, Duration::MAX), next(Duration::MAX));
    }

    #[test]
    fn tokens_at_hand_count_from_when_they_were_issued() {
        let usable = usable(1_000, u64::MAX, 401_000);
        assert_eq!(usable, Duration::from_secs(340));
        assert_eq!(first(1_000, 1_000, usable), Duration::from_secs(255));
        assert_eq!(first(201_000, 1_000, usable), Duration::from_secs(55));
        assert_eq!(first(900_000, 1_000, usable), Duration::ZERO);
        // A clock that is behind the server's.
        assert_eq!(first(0, 1_000, usable), Duration::from_secs(255));
    }

    proptest! {
        /// A clock runs over the life of many tokens, some of which are got only after failures: the one in hand is always good.
        #[test]
        fn there_is_always_a_good_token(
            renew in 5_000_u64..100_000_000,
            life in 65_000_u64..1_000_000_000,
            failures in prop::collection::vec(0_u32..4, 1..50),
            random in 0.0..1.0,
        ) {
            let (mut now, mut good_until) = (0_u64, 0_u64);
            for failed in failures {
                prop_assert!(now <= good_until);
                let usable = usable(now, now + renew, now + life);
                good_until = now + u64::try_from(usable.as_millis()).unwrap();
                now += u64::try_from(next(usable).as_millis()).unwrap();
                for failure in 1..=failed {
                    let left = Duration::from_millis(good_until.saturating_sub(now));
                    if left < 4 * SHORTEST { break; }
                    now += u64::try_from(retry(failure, left, random).as_millis()).unwrap();
                }
                prop_assert!(now <= good_until || good_until < 8_000, "{now} {good_until}");
                now = now.min(good_until);
            }
        }

        #[test]
        fn pauses_are_never_none_and_never_too_long(failures in any::<u32>(), left in 0_u64..1 << 40, random in any::<f64>()) {
            let random = if random.is_finite() { random } else { 0.5 };
            let pause = retry(failures, Duration::from_millis(left), random);
            prop_assert!(pause >= SHORTEST / 2 && pause <= LONGEST_RETRY);
        }

        #[test]
        fn nothing_overflows(now in any::<u64>(), issued in any::<u64>(), expires in any::<u64>(), ends in any::<u64>()) {
            let usable = usable(issued, expires, ends);
            prop_assert!(first(now, issued, usable) <= next(usable));
        }
    }
}
