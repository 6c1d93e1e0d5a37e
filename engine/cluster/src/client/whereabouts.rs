//! Where the JobManager of a cluster is, for those who have lost their connection to it.
//!
//! That a connection breaks says nothing of the JobManager: a network is away for a while, or something between drops what was idle. So it is
//! looked for, where it was or where somebody else says, until it answers, its cluster is known to be over, or patience ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_runtime::net::handshake::Secret;
use tonic::transport::Channel;

use super::ClusterError;
use crate::high_availability::{LeaderRetrieval, Waiting};
use crate::rpc::connect::connect;
use crate::rpc::control::job_manager_client::JobManagerClient;

/// The pause between two attempts to reach the leader.
pub(super) const PAUSE: Duration = Duration::from_millis(300);

/// Tells where a cluster's JobManager is.
pub trait Whereabouts: Send + Sync {
    /// Where it is now (`HOST:PORT`), as far as is known; none: nowhere yet. `last`: where it was. Answers within seconds.
    ///
    /// # Errors
    /// [`ClusterError::Over`] if it is in vain to look for it.
    fn look<'a>(&'a self, last: &'a str) -> Waiting<'a, Result<Option<String>, ClusterError>>;
}

/// It stays where it was.
pub(super) struct SamePlace;

impl Whereabouts for SamePlace {
    fn look<'a>(&'a self, last: &'a str) -> Waiting<'a, Result<Option<String>, ClusterError>> {
        Box::pin(async { Ok(Some(last.to_owned())) })
    }
}

/// It is where the leader is.
pub(super) struct Elected(pub(super) Arc<dyn LeaderRetrieval>);

impl Whereabouts for Elected {
    fn look<'a>(&'a self, _: &'a str) -> Waiting<'a, Result<Option<String>, ClusterError>> {
        Box::pin(async {
            let mut leader = self.0.leader();
            // The first word of it is on its way.
            let known = tokio::time::timeout(PAUSE, leader.wait_for(Option::is_some)).await;
            Ok(known.ok().and_then(Result::ok).and_then(|leader| Some(leader.as_ref()?.address.clone())))
        })
    }
}

/// Connects to the JobManager as soon as it can be reached.
///
/// # Errors
/// What happened last, when `patience` has ended; [`ClusterError::Over`].
pub(super) async fn look_for(
    whereabouts: &dyn Whereabouts,
    last: &str,
    secret: &Secret,
    patience: Duration,
) -> Result<(String, JobManagerClient<Channel>), ClusterError> {
    let deadline = Instant::now() + patience;
    loop {
        let error = match whereabouts.look(last).await? {
            None => ClusterError::NoLeader,
            Some(address) => match connect(&address, secret).await {
                Ok(client) => return Ok((address, client)),
                Err(error) => error.into(),
            },
        };
        if Instant::now() >= deadline {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Nobody is at the address; from the third look on, the cluster is over.
    struct Ends(AtomicU32);

    impl Whereabouts for Ends {
        fn look<'a>(&'a self, last: &'a str) -> Waiting<'a, Result<Option<String>, ClusterError>> {
            Box::pin(async {
                match self.0.fetch_add(1, Ordering::Relaxed) {
                    0 => Ok(None),
                    1 => Ok(Some(last.to_owned())),
                    _ => Err(ClusterError::Over("application x is FAILED: no".to_owned())),
                }
            })
        }
    }

    /// It stays where it was, and how often that was asked is counted.
    struct Stays(AtomicU32);

    impl Whereabouts for Stays {
        fn look<'a>(&'a self, last: &'a str) -> Waiting<'a, Result<Option<String>, ClusterError>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            SamePlace.look(last)
        }
    }

    #[tokio::test]
    async fn a_job_manager_is_looked_for_until_it_is_in_vain() {
        let secret = Secret::from_bytes(&[1; 32]).unwrap();
        let nobody = "127.0.0.1:1";
        let long = Duration::from_secs(600);
        let over = look_for(&Ends(AtomicU32::new(0)), nobody, &secret, long).await.unwrap_err();
        assert!(matches!(&over, ClusterError::Over(why) if why.contains("FAILED")), "{over}");
        assert!(!over.is_lost());
        let stays = Stays(AtomicU32::new(0));
        let none = look_for(&stays, nobody, &secret, Duration::ZERO).await.unwrap_err();
        assert!(none.is_lost() && none.to_string().contains(nobody), "{none}");
        assert_eq!(stays.0.into_inner(), 1, "there is no patience");
    }
}
