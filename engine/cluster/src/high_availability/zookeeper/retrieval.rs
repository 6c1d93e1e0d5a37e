//! Follows `leader/info`.

use std::time::Duration;

use flott_core::config::Configuration;
use flott_runtime::net::handshake::Secret;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zookeeper_client::{Client, Error};

use super::connection::ZooKeeper;
use super::info::read_leader;
use crate::high_availability::{HighAvailabilityError, LeaderInfo, LeaderRetrieval};

/// The pause before a new session is tried for.
const PAUSE: Duration = Duration::from_millis(500);

/// Watches the leader's node, one session after the other. While there is none, the last that was known stays.
pub struct ZooKeeperRetrieval {
    leader: watch::Receiver<Option<LeaderInfo>>,
    _watching: JoinSet<()>,
}

impl ZooKeeperRetrieval {
    /// Connects, and watches from then on.
    ///
    /// # Errors
    /// [`HighAvailabilityError`] if the configuration is wrong or no server answers.
    pub async fn new(configuration: &Configuration, secret: &Secret) -> Result<Self, HighAvailabilityError> {
        let zookeeper = ZooKeeper::new(configuration, secret)?;
        let mut client = zookeeper.connect().await?;
        let (sender, leader) = watch::channel(None);
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            loop {
                let error = watch_leader(&client, &zookeeper, &sender).await;
                tracing::debug!(%error, "the session in which the leader was watched is over");
                client = loop {
                    tokio::time::sleep(PAUSE).await;
                    match zookeeper.connect().await {
                        Ok(client) => break client,
                        Err(error) => tracing::warn!(%error, "the leader cannot be looked for"),
                    }
                };
            }
        });
        Ok(Self { leader, _watching: watching })
    }
}

/// Until the session is over.
async fn watch_leader(
    client: &Client,
    zookeeper: &ZooKeeper,
    sender: &watch::Sender<Option<LeaderInfo>>,
) -> Error {
    let path = zookeeper.paths.info();
    loop {
        let watcher = match client.get_and_watch_data(&path).await {
            Ok((data, _, watcher)) => {
                match read_leader(&data) {
                    Some(leader) => {
                        sender.send_if_modified(|known| {
                            let new = known.as_ref() != Some(&leader);
                            *known = Some(leader);
                            new
                        });
                    }
                    None => tracing::warn!(path, "the leader's node holds something that is not understood"),
                }
                watcher
            }
            Err(Error::NoNode) => match client.check_and_watch_stat(&path).await {
                Ok((Some(_), _)) => continue,
                Ok((None, watcher)) => watcher,
                Err(error) => match pause(&error).await {
                    true => continue,
                    false => return error,
                },
            },
            Err(error) => match pause(&error).await {
                true => continue,
                false => return error,
            },
        };
        let event = watcher.changed().await;
        if event.session_state.is_terminated() {
            return Error::SessionExpired;
        }
    }
}

/// Whether to go on in the same session, after a pause.
async fn pause(error: &Error) -> bool {
    let is_over =
        matches!(error, Error::SessionExpired | Error::ClientClosed | Error::AuthFailed | Error::NoHosts);
    if !is_over {
        tokio::time::sleep(PAUSE).await;
    }
    !is_over
}

impl LeaderRetrieval for ZooKeeperRetrieval {
    fn leader(&self) -> watch::Receiver<Option<LeaderInfo>> {
        self.leader.clone()
    }
}
