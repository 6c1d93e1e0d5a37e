//! The first and the last that YARN hears of an ApplicationMaster: that it is there, and how its application has ended.
//!
//! A ResourceManager may be away meanwhile, and one that has just come back may refuse for a moment what it does not know yet. Neither must cost an
//! attempt, nor have an application run again that has done its work; so both calls are made until they are answered, as long as
//! [`patience`] says.

use std::time::Duration;

use hadoop_rpc::proto::yarn::{
    FinishApplicationMasterRequest, RegisterApplicationMasterRequest, RegisterApplicationMasterResponse,
};
use hadoop_rpc::{ApplicationMasterClient, RemoteException, RpcError};
use tokio::time::Instant;

use super::conversation::{ConversationError, FinalStatus};
pub(super) use crate::deployment::patience;

/// For how long an attempt may be refused: a ResourceManager that was just started may not know all attempts yet.
pub(super) const REFUSED_PATIENCE: Duration = Duration::from_secs(30);

/// The pause after a call that has failed. A call to nobody takes long enough by itself.
const PAUSE: Duration = Duration::from_millis(500);

/// The pause while YARN writes down that an application is over.
const WRITING_PAUSE: Duration = Duration::from_millis(50);

/// What it means for an attempt that a call has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setback {
    /// YARN has begun another attempt, or has ended the application.
    Gone,
    /// YARN has been restarted, and wants it to register.
    Unregistered,
    /// YARN has heard more of it than it knows: an answer was lost.
    OutOfStep,
    /// YARN does not want it.
    Refused,
    /// Nobody answers who could.
    Away,
}

impl Setback {
    pub(super) fn of(error: &RpcError) -> Self {
        use RemoteException::{
            ApplicationAttemptNotFound, ApplicationMasterNotRegistered, ApplicationNotFound,
            InvalidApplicationMasterRequest, Retriable, Standby,
        };
        match error.exception() {
            Some(ApplicationAttemptNotFound | ApplicationNotFound) => Self::Gone,
            Some(ApplicationMasterNotRegistered) => Self::Unregistered,
            Some(InvalidApplicationMasterRequest) => Self::OutOfStep,
            Some(Standby | Retriable) => Self::Away,
            Some(_) => Self::Refused,
            None => match error.root() {
                RpcError::Connect { .. }
                | RpcError::Lost { .. }
                | RpcError::Timeout { .. }
                | RpcError::Protocol { .. } => Self::Away,
                _ => Self::Refused,
            },
        }
    }
}

/// What an attempt does that YARN has registered without being heard: the answer is given once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LostAnswer {
    /// There was little in it, or no other attempt would follow: this one goes on.
    Bear,
    /// The containers of the earlier attempt and the tokens of their nodes were in it. The attempt ends after so long, and YARN tells the next one.
    End {
        /// Failures of earlier attempts do not count any more then.
        after: Duration,
    },
}

impl LostAnswer {
    /// The longest that an attempt waits only to end.
    const LONGEST: Duration = Duration::from_secs(60);

    /// For an attempt of so many, whose failures count for `interval` (none: always), and which keep their containers or do not.
    pub(super) fn of(attempt: u32, attempts: u32, interval: Option<Duration>, keep: bool) -> Self {
        match keep && attempt > 1 {
            true if attempt < attempts => Self::End { after: Duration::ZERO },
            // Only its own failure counts if it ends that late.
            true if attempts > 1 => interval
                .filter(|interval| *interval <= Self::LONGEST)
                .map_or(Self::Bear, |after| Self::End { after }),
            _ => Self::Bear,
        }
    }
}

/// How long a call is made again.
#[derive(Debug)]
struct Patience {
    until: Instant,
    /// Since when it has been refused by whoever answers.
    refused: Option<Instant>,
}

impl Patience {
    fn new(limit: Duration, now: Instant) -> Self {
        Self { until: now + limit, refused: None }
    }

    /// Whether the call is made again after this.
    fn bears(&mut self, setback: Setback, now: Instant) -> bool {
        match setback {
            Setback::Gone => false,
            Setback::Away => {
                // Who comes back then may have to learn of it again.
                self.refused = None;
                now < self.until
            }
            Setback::Unregistered | Setback::OutOfStep | Setback::Refused => {
                now.duration_since(*self.refused.get_or_insert(now)) < REFUSED_PATIENCE
            }
        }
    }
}

/// Registers an attempt.
///
/// # Errors
/// [`ConversationError::ShutDown`] if YARN does not know it, [`ConversationError::Rpc`] if it has not taken it within `limit`,
/// [`ConversationError::AnswerLost`] if it shall end by that.
pub(super) async fn register(
    client: &ApplicationMasterClient,
    registration: &RegisterApplicationMasterRequest,
    limit: Duration,
    lost: LostAnswer,
) -> Result<RegisterApplicationMasterResponse, ConversationError> {
    let mut patience = Patience::new(limit, Instant::now());
    loop {
        let error = match client.register(registration).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        match Setback::of(&error) {
            Setback::OutOfStep => {
                tracing::warn!(%error, ?lost, "the answer to the registration was lost");
                let LostAnswer::End { after } = lost else {
                    return Ok(RegisterApplicationMasterResponse::default());
                };
                tokio::time::sleep(after).await;
                return Err(ConversationError::AnswerLost);
            }
            setback if patience.bears(setback, Instant::now()) => {
                tracing::warn!(%error, "YARN does not take the registration yet");
            }
            setback => return Err(over(setback, error)),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Says how the application has ended, until YARN has written it down.
///
/// # Errors
/// As [`register`]; YARN may begin another attempt then.
pub(super) async fn unregister(
    client: &ApplicationMasterClient,
    registration: &RegisterApplicationMasterRequest,
    status: FinalStatus,
    limit: Duration,
) -> Result<(), ConversationError> {
    let request = FinishApplicationMasterRequest {
        diagnostics: Some(status.diagnostics),
        // The page ends with this process: YARN shows its own then.
        tracking_url: Some(String::new()),
        final_application_status: Some(status.status.into()),
    };
    let mut patience = Patience::new(limit, Instant::now());
    loop {
        let finished = match client.finish(&request).await {
            Err(error) if Setback::of(&error) == Setback::Unregistered => {
                client.register(registration).await.map(|_| false)
            }
            finished => finished,
        };
        match finished {
            Ok(true) => return Ok(()),
            Ok(false) if patience.bears(Setback::Away, Instant::now()) => {
                tokio::time::sleep(WRITING_PAUSE).await;
            }
            Ok(false) => return Err(ConversationError::NotWritten(limit)),
            Err(error) => {
                let setback = Setback::of(&error);
                if !patience.bears(setback, Instant::now()) {
                    return Err(over(setback, error));
                }
                tracing::warn!(%error, "YARN does not hear that the application is over; it is told again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn over(setback: Setback, error: RpcError) -> ConversationError {
    match setback {
        Setback::Gone => ConversationError::ShutDown(error.to_string()),
        _ => error.into(),
    }
}

/// Which response YARN expects that does not take a request: `…, expect responseId to be 7, but get 3`.
pub(super) fn expected_response(refusal: &str) -> Option<i32> {
    let (_, rest) = refusal.split_once("expect responseId to be ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(class: &str) -> RpcError {
        RpcError::Remote {
            server: "rm:8030".to_owned(),
            call: "finishApplicationMaster".to_owned(),
            class: class.to_owned(),
            message: "no".to_owned(),
        }
    }

    #[test]
    fn what_a_failed_call_means() {
        let yarn = |name: &str| Setback::of(&remote(&format!("org.apache.hadoop.yarn.exceptions.{name}")));
        assert_eq!(yarn("ApplicationAttemptNotFoundException"), Setback::Gone);
        assert_eq!(yarn("ApplicationMasterNotRegisteredException"), Setback::Unregistered);
        assert_eq!(yarn("InvalidApplicationMasterRequestException"), Setback::OutOfStep);
        assert_eq!(Setback::of(&remote("org.apache.hadoop.ipc.StandbyException")), Setback::Away);
        assert_eq!(Setback::of(&remote("java.lang.NullPointerException")), Setback::Refused);
        let by_server = RpcError::Authentication {
            server: "rm:8030".to_owned(),
            reason: "not found in AMRMTokenSecretManager".to_owned(),
            class: Some("org.apache.hadoop.security.token.SecretManager$InvalidToken".to_owned()),
        };
        assert_eq!(Setback::of(&by_server), Setback::Refused);
        let away = RpcError::GivenUp {
            call: "registerApplicationMaster".to_owned(),
            attempts: 10,
            after: Duration::from_secs(20),
            last: Box::new(RpcError::Connect { address: "rm:8030".to_owned(), reason: "refused".to_owned() }),
        };
        assert_eq!(Setback::of(&away), Setback::Away);
    }

    #[test]
    fn a_resource_manager_is_waited_for_and_its_refusals_are_borne_for_a_while() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut patience = Patience::new(Duration::from_secs(900), begin);
        assert!(patience.bears(Setback::Away, after(899)));
        assert!(!patience.bears(Setback::Away, after(900)));
        for refusal in [Setback::Refused, Setback::Unregistered, Setback::OutOfStep] {
            let mut patience = Patience::new(Duration::from_secs(900), begin);
            assert!(patience.bears(refusal, after(100)));
            assert!(patience.bears(refusal, after(129)));
            assert!(!patience.bears(refusal, after(130)), "{refusal:?}");
            // It is restarted once more.
            assert!(patience.bears(Setback::Away, after(131)));
            assert!(patience.bears(refusal, after(899)));
            assert!(patience.bears(refusal, after(928)), "it has come back just in time");
        }
        assert!(!Patience::new(Duration::from_secs(900), begin).bears(Setback::Gone, begin));
    }

    #[test]
    fn an_attempt_that_does_not_know_what_it_adopts_ends_if_another_one_follows() {
        let (ten, hour) = (Some(Duration::from_secs(10)), Some(Duration::from_secs(3600)));
        let end = |after: Option<Duration>| LostAnswer::End { after: after.unwrap_or_default() };
        for (attempt, attempts, interval, keep, expected) in [
            (1, 2, ten, true, LostAnswer::Bear),
            (2, 2, ten, false, LostAnswer::Bear),
            (2, 3, hour, true, end(None)),
            (2, 3, None, true, end(None)),
            (2, 2, ten, true, end(ten)),
            (9, 2, ten, true, end(ten)),
            // The earlier failure would still count, or its own would be enough.
            (2, 2, hour, true, LostAnswer::Bear),
            (2, 2, None, true, LostAnswer::Bear),
            (2, 1, ten, true, LostAnswer::Bear),
        ] {
            assert_eq!(
                LostAnswer::of(attempt, attempts, interval, keep),
                expected,
                "{attempt} of {attempts}"
            );
        }
    }

    #[test]
    fn yarn_says_which_response_it_expects() {
        let said = "Invalid responseId in AllocateRequest from application attempt: appattempt_1_0001_000001, \
                    expect responseId to be 17, but get 3";
        assert_eq!(expected_response(said), Some(17));
        assert_eq!(expected_response("Application Master is already registered : application_1_0001"), None);
        assert_eq!(expected_response("expect responseId to be 99999999999, but get 3"), None);
    }
}
