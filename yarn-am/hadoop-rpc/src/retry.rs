//! Try again? Where, and after how long? Decided from the failure, the kind of call and the number of attempts, without any I/O.

use std::time::Duration;

use crate::error::{RemoteException, RpcError};

/// Whether a call may be carried out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Twice is like once: tried again after any failure of the connection.
    Idempotent,
    /// Tried again only when the server surely did not carry it out.
    AtMostOnce,
}

/// How long and how often a call is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often at most at each of the servers.
    pub attempts: u32,
    /// The pause after the first failure; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How long all attempts and pauses of one call may take together.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    /// 10 attempts at each server within a minute, with pauses from 100 ms to 5 s: a failure is told after about 20 s.
    fn default() -> RetryPolicy {
        RetryPolicy {
            attempts: 10,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            deadline: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// One attempt at each server.
    pub fn once(deadline: Duration) -> RetryPolicy {
        RetryPolicy { attempts: 1, deadline, ..RetryPolicy::default() }
    }

    /// The default's attempts and pauses under another deadline, with as many attempts as fit.
    pub fn within(deadline: Duration) -> RetryPolicy {
        let attempts = 10 + u32::try_from(deadline.as_secs() / 4).unwrap_or(u32::MAX - 10);
        RetryPolicy { attempts, deadline, ..RetryPolicy::default() }
    }

    /// The pause before the attempt after the `failed`th, between half and all of its nominal length. `random` is any number.
    fn pause(&self, failed: u32, random: u64) -> Duration {
        let doubled = 1u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
        let nominal = self.first_pause.saturating_mul(doubled).min(self.longest_pause);
        let share = (random % 1024) as f64 / 1023.0;
        nominal.mul_f64(0.5 + share / 2.0)
    }
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryDecision {
    /// The caller gets the failure.
    Fail,
    /// The caller gets the failure with the attempts made.
    GiveUp,
    /// Again after a pause, at the next server if `failover`.
    Again { failover: bool, pause: Duration },
}

/// How many servers there are, and how often the call failed by now.
pub(crate) struct Attempts {
    pub failed: u32,
    pub servers: usize,
}

/// Whether a server is of no use as it is, whatever it is asked: it takes nobody for who he is, or is no Hadoop server. Another one of its group may be
/// of use.
pub(crate) fn is_unusable(error: &RpcError) -> bool {
    matches!(error, RpcError::Protocol { .. } | RpcError::Authentication { .. })
}

/// Decides what follows a failure.
pub(crate) fn decide(
    error: &RpcError,
    kind: CallKind,
    policy: &RetryPolicy,
    made: &Attempts,
    random: u64,
) -> RetryDecision {
    let servers = u32::try_from(made.servers.max(1)).unwrap_or(u32::MAX);
    let (again, failover) = match error {
        RpcError::Connect { .. } | RpcError::Lost { sent: false, .. } => (true, true),
        RpcError::Lost { sent: true, .. } | RpcError::Timeout { .. } => (kind == CallKind::Idempotent, true),
        RpcError::Remote { class, .. } => match RemoteException::of_class(class) {
            Some(RemoteException::Standby) => (true, true),
            Some(RemoteException::Retriable) => (true, false),
            _ => (false, false),
        },
        // Each of the others is tried once.
        RpcError::Protocol { .. } | RpcError::Authentication { .. } => {
            let harmless = kind == CallKind::Idempotent || !error.may_have_happened();
            (harmless && made.failed < servers, true)
        }
        RpcError::Unavailable { .. } | RpcError::Configuration { .. } | RpcError::GivenUp { .. } => {
            (false, false)
        }
    };
    if !again {
        return RetryDecision::Fail;
    }
    let rounds = made.failed / servers;
    if rounds >= policy.attempts {
        return if made.failed > 1 { RetryDecision::GiveUp } else { RetryDecision::Fail };
    }
    // A pause comes once every server has been tried: the first round of a failover is quick.
    let pause = match failover && !made.failed.is_multiple_of(servers) {
        true => Duration::ZERO,
        false => policy.pause(rounds.max(1), random),
    };
    RetryDecision::Again { failover, pause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused() -> RpcError {
        RpcError::Connect { address: "h:1".into(), reason: "refused".into() }
    }

    fn remote(class: &str) -> RpcError {
        RpcError::Remote { server: "h:1".into(), call: "c".into(), class: class.into(), message: "m".into() }
    }

    fn lost(sent: bool) -> RpcError {
        RpcError::Lost { server: "h:1".into(), reason: "gone".into(), sent }
    }

    fn ask(error: &RpcError, kind: CallKind, failed: u32, servers: usize) -> RetryDecision {
        decide(error, kind, &RetryPolicy::default(), &Attempts { failed, servers }, 1023)
    }

    #[test]
    fn what_never_reached_a_server_is_tried_at_the_next() {
        let pause = Duration::from_millis(100);
        for kind in [CallKind::Idempotent, CallKind::AtMostOnce] {
            assert_eq!(ask(&refused(), kind, 1, 1), RetryDecision::Again { failover: true, pause });
            assert_eq!(ask(&lost(false), kind, 1, 1), RetryDecision::Again { failover: true, pause });
            let standby = remote("org.apache.hadoop.ipc.StandbyException");
            assert_eq!(
                ask(&standby, kind, 1, 2),
                RetryDecision::Again { failover: true, pause: Duration::ZERO }
            );
            assert_eq!(ask(&standby, kind, 2, 2), RetryDecision::Again { failover: true, pause });
            let retriable = remote("org.apache.hadoop.ipc.RetriableException");
            assert_eq!(ask(&retriable, kind, 1, 2), RetryDecision::Again { failover: false, pause });
        }
    }

    #[test]
    fn what_may_have_happened_is_repeated_only_if_that_is_harmless() {
        assert!(matches!(ask(&lost(true), CallKind::Idempotent, 1, 1), RetryDecision::Again { .. }));
        assert_eq!(ask(&lost(true), CallKind::AtMostOnce, 1, 1), RetryDecision::Fail);
    }

    #[test]
    fn each_other_server_is_tried_once_where_one_is_of_no_use() {
        let (garbage, stranger) =
            (RpcError::protocol("h:1", "garbage"), RpcError::authentication("h:1", "no"));
        let next = RetryDecision::Again { failover: true, pause: Duration::ZERO };
        for error in [&garbage, &stranger] {
            assert_eq!(ask(error, CallKind::Idempotent, 1, 1), RetryDecision::Fail);
            assert_eq!(ask(error, CallKind::Idempotent, 2, 3), next);
            assert_eq!(ask(error, CallKind::Idempotent, 3, 3), RetryDecision::Fail);
        }
        assert_eq!(ask(&stranger, CallKind::AtMostOnce, 1, 2), next, "it was not even asked");
        assert_eq!(ask(&garbage, CallKind::AtMostOnce, 1, 2), RetryDecision::Fail);
    }

    #[test]
    fn an_answer_is_an_answer_and_attempts_end() {
        let denied = remote("org.apache.hadoop.security.AccessControlException");
        assert_eq!(ask(&denied, CallKind::Idempotent, 1, 1), RetryDecision::Fail);
        assert_eq!(ask(&refused(), CallKind::Idempotent, 10, 1), RetryDecision::GiveUp);
        assert!(matches!(ask(&refused(), CallKind::Idempotent, 19, 2), RetryDecision::Again { .. }));
        assert_eq!(ask(&refused(), CallKind::Idempotent, 20, 2), RetryDecision::GiveUp);
        let once = RetryPolicy::once(Duration::from_secs(1));
        let made = Attempts { failed: 1, servers: 1 };
        assert_eq!(decide(&refused(), CallKind::Idempotent, &once, &made, 0), RetryDecision::Fail);
    }

    proptest! {
        #[test]
        fn pauses_grow_and_stay_within_their_bounds(failed in 0u32..200, random in any::<u64>()) {
            let policy = RetryPolicy::default();
            let pause = policy.pause(failed, random);
            prop_assert!(pause >= policy.first_pause / 2 && pause <= policy.longest_pause);
        }
    }
}
