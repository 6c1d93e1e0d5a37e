//! Contends for the latch, one session after the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flott_core::config::Configuration;
use flott_core::ids::LeaderSessionId;
use flott_runtime::net::handshake::Secret;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zookeeper_client::{Client, Error, EventType, LockOptions, LockPrefix, OwnedLockClient, SessionState};

use super::connection::ZooKeeper;
use super::info::{read_attempt, write_candidate, write_leader};
use super::pointers::{self, Latch, ZooKeeperPointers};
use crate::high_availability::{
    Candidate, Epoch, HighAvailabilityError, LeaderElection, Leadership, StoreError, Term, Waiting,
};

/// The pause before a new session is tried for.
const PAUSE: Duration = Duration::from_millis(500);

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Election by a latch: of those who contend the first that came leads, until its node is gone.
pub struct ZooKeeperElection {
    zookeeper: ZooKeeper,
    /// The first session, until somebody contends.
    first: Mutex<Option<Client>>,
    fingerprint: String,
    shared: Arc<Shared>,
    contending: Mutex<JoinSet<()>>,
}

/// What contending and confirming share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    candidate: Option<Candidate>,
    /// The latch that is held, and since which session.
    held: Option<(LeaderSessionId, Arc<Latch>)>,
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ZooKeeperElection {
    /// Connects, makes the nodes, and looks whether another cluster uses them.
    ///
    /// # Errors
    /// [`HighAvailabilityError`].
    pub async fn new(configuration: &Configuration, secret: &Secret) -> Result<Self, HighAvailabilityError> {
        let zookeeper = ZooKeeper::new(configuration, secret)?;
        let client = zookeeper.connect().await?;
        for folder in zookeeper.paths.folders() {
            let made = client.mkdir(&folder, &zookeeper.persistent()).await;
            made.map_err(|error| zookeeper.failed("create", &folder, &error))?;
        }
        let election = Self {
            fingerprint: fingerprint(secret),
            zookeeper,
            first: Mutex::new(None),
            shared: Arc::default(),
            contending: Mutex::new(JoinSet::new()),
        };
        election.claim(&client).await?;
        *election.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
        Ok(election)
    }

    /// The nodes belong to the cluster that knows this secret.
    async fn claim(&self, client: &Client) -> Result<(), HighAvailabilityError> {
        let (path, own) = (self.zookeeper.paths.owner(), self.fingerprint.as_bytes());
        let failed = |action, error: &Error| self.zookeeper.failed(action, &path, error);
        match client.create(&path, own, &self.zookeeper.persistent()).await {
            Ok(_) => return Ok(()),
            Err(Error::NodeExists) => {}
            Err(error) => return Err(failed("create", &error)),
        }
        let (found, stat) = client.get_data(&path).await.map_err(|error| failed("read", &error))?;
        if found == own {
            return Ok(());
        }
        // Another secret: another cluster, if anybody of it lives; else this one with a new secret.
        let latch = self.zookeeper.paths.latch();
        let contenders = client.list_children(&latch).await;
        if !contenders.map_err(|error| self.zookeeper.failed("list", &latch, &error))?.is_empty() {
            return Err(HighAvailabilityError::OtherCluster { path });
        }
        tracing::warn!(path, "the cluster has another secret than before");
        let set = client.set_data(&path, own, Some(stat.version)).await;
        set.map(drop).map_err(|error| failed("write", &error))
    }
}

/// What tells one secret from another, and nothing about it.
fn fingerprint(secret: &Secret) -> String {
    let digest =
        Sha256::new().chain_update(b"flott cluster owner").chain_update(secret.as_bytes()).finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A candidate at work.
struct Contender {
    zookeeper: ZooKeeper,
    candidate: Candidate,
    shared: Arc<Shared>,
    leadership: watch::Sender<Leadership>,
}

/// Why a session of a candidate is over.
enum Ended {
    /// It may contend again.
    Contend(String),
    /// A later attempt has taken its place.
    Superseded,
}

impl From<String> for Ended {
    fn from(reason: String) -> Self {
        Self::Contend(reason)
    }
}

impl Contender {
    async fn run(self, mut client: Option<Client>) {
        loop {
            let session = match client.take() {
                Some(client) => Ok(client),
                None => self.zookeeper.connect().await,
            };
            match session {
                Ok(session) => {
                    let ended = self.contend(session).await;
                    let held = self.shared.with(|state| state.held.take());
                    let was_leader = held.is_some();
                    let next = match &ended {
                        Ended::Contend(_) => Leadership::Standby,
                        Ended::Superseded => Leadership::Superseded,
                    };
                    self.leadership.send_replace(next);
                    if let Some(lock) = held.as_ref().and_then(|(_, latch)| latch.client().ok()) {
                        // In a session that goes on, this candidate would wait for itself.
                        let gone = lock.client().delete(lock.lock_path(), None);
                        let _ = tokio::time::timeout(GOODBYE, gone).await;
                    }
                    let Ended::Contend(reason) = ended else {
                        tracing::warn!(
                            was_leader,
                            "a later attempt of the application has taken the place of this JobManager"
                        );
                        // Whoever follows must see that it is for ever.
                        return self.leadership.closed().await;
                    };
                    tracing::warn!(was_leader, reason, "this JobManager contends for leadership again");
                }
                Err(error) => tracing::warn!(%error, "this JobManager cannot contend for leadership"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits to lead, and leads, in one session. Returns why that is over.
    async fn contend(&self, client: Client) -> Ended {
        match self.look_at_other_attempts(&client).await {
            Ok(true) => return Ended::Superseded,
            Ok(false) => {}
            // Without a look it might lead behind a later one.
            Err(error) => return format!("the latches of other attempts cannot be read: {error}").into(),
        }
        let directory = self.zookeeper.paths.latch();
        let prefix = match LockPrefix::new_curator(&directory, "latch-") {
            Ok(prefix) => prefix,
            Err(error) => return error.to_string().into(),
        };
        let options = match LockOptions::new(self.zookeeper.acls())
            .with_ancestor_options(self.zookeeper.persistent())
        {
            Ok(options) => options,
            Err(error) => return error.to_string().into(),
        };
        let data = write_candidate(&self.candidate);
        let latch = match client.lock(prefix, data.as_bytes(), options).await {
            Ok(lock) => Arc::new(Latch::new(lock.into_owned())),
            // Its node was removed while it waited, and its session goes on.
            Err(Error::RuntimeInconsistent) if self.candidate.attempt.is_some() => return Ended::Superseded,
            Err(error) => return error.to_string().into(),
        };
        let lock = match latch.client() {
            Ok(lock) => lock,
            Err(error) => return error.to_string().into(),
        };
        let epoch = match self.next_epoch(lock).await {
            Ok(epoch) => epoch,
            Err(error) => return self.removed(lock).await.unwrap_or(Ended::Contend(error.to_string())),
        };
        let session = LeaderSessionId::random();
        self.shared.with(|state| state.held = Some((session, Arc::clone(&latch))));
        let pointers = ZooKeeperPointers {
            epoch,
            zookeeper: self.zookeeper.clone(),
            latch: Arc::clone(&latch),
            io: Handle::current(),
        };
        let term = Term { session, epoch, pointers: Some(Arc::new(pointers)) };
        tracing::info!(?term, "this JobManager leads");
        self.leadership.send_replace(Leadership::Leader(term.clone()));
        self.lead(lock, &term).await
    }

    /// A later attempt of an application takes the place of the earlier ones, whose sessions may last for a while. True: there is a later
    /// one than this.
    async fn look_at_other_attempts(&self, client: &Client) -> Result<bool, Error> {
        let directory = self.zookeeper.paths.latch();
        let Some(own) = &self.candidate.attempt else { return Ok(false) };
        let read = |path: String| async move {
            match client.get_data(&path).await {
                Ok((data, _)) => Ok(read_attempt(&data)),
                Err(Error::NoNode) => Ok(None),
                Err(error) => Err(error),
            }
        };
        // One that has led, and may have ended.
        if read(self.zookeeper.paths.info()).await?.is_some_and(|leader| leader.is_later_than(own)) {
            return Ok(true);
        }
        for name in client.list_children(&directory).await? {
            let path = format!("{directory}/{name}");
            let Some(other) = read(path.clone()).await? else { continue };
            if other.is_later_than(own) {
                return Ok(true);
            }
            if own.is_later_than(&other) {
                tracing::info!(attempt = other.number, "the latch of an earlier attempt is removed");
                match client.delete(&path, None).await {
                    Ok(()) | Err(Error::NoNode) => {}
                    // It stays until its session ends.
                    Err(error) => {
                        tracing::warn!(%error, path, "the latch of an earlier attempt is not removed")
                    }
                }
            }
        }
        Ok(false)
    }

    /// Whether its latch is gone though its session goes on: then a later attempt has removed it.
    async fn removed(&self, lock: &OwnedLockClient) -> Option<Ended> {
        self.candidate.attempt.as_ref()?;
        let found = tokio::time::timeout(GOODBYE, lock.client().check_stat(lock.lock_path())).await;
        matches!(found, Ok(Ok(None))).then_some(Ended::Superseded)
    }

    async fn next_epoch(&self, lock: &OwnedLockClient) -> Result<Epoch, StoreError> {
        let path = self.zookeeper.paths.epoch();
        let last = match lock.client().get_data(&path).await {
            Ok((data, _)) => {
                std::str::from_utf8(&data).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
            }
            Err(Error::NoNode) => 0_u64,
            Err(error) => return Err(StoreError::Failed(format!("cannot read {path}: {error}"))),
        };
        let epoch = Epoch(last + 1);
        pointers::write(lock, &self.zookeeper, &path, epoch.0.to_string().as_bytes()).await?;
        Ok(epoch)
    }

    fn suspend(&self, term: &Term) {
        self.leadership.send_if_modified(|now| {
            let is_new = !matches!(now, Leadership::Suspended(_));
            *now = Leadership::Suspended(term.clone());
            is_new
        });
    }

    /// Until the session is over or the latch is gone.
    async fn lead(&self, lock: &OwnedLockClient, term: &Term) -> Ended {
        let client = lock.client();
        let mut states = client.state_watcher();
        loop {
            let watcher = match client.check_and_watch_stat(lock.lock_path()).await {
                Ok((Some(_), watcher)) => watcher,
                Ok((None, _)) if self.candidate.attempt.is_some() => return Ended::Superseded,
                Ok((None, _)) => return "its latch was removed".to_owned().into(),
                Err(error) => match pointers::judge(&error, lock.lock_path()) {
                    pointers::Then::Fail(error) => return error.to_string().into(),
                    pointers::Then::Again => {
                        self.suspend(term);
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            self.leadership.send_if_modified(|now| {
                let was_suspended = matches!(now, Leadership::Suspended(_));
                *now = Leadership::Leader(term.clone());
                was_suspended
            });
            let changed = watcher.changed();
            tokio::pin!(changed);
            loop {
                tokio::select! {
                    event = &mut changed => {
                        if event.session_state.is_terminated() && event.event_type == EventType::Session {
                            return format!("its session with ZooKeeper is over ({})", event.session_state).into();
                        }
                        break;
                    }
                    state = states.changed() => match state {
                        SessionState::Disconnected => {
                            tracing::warn!("ZooKeeper is away; this JobManager leads on until its session is over");
                            self.suspend(term);
                        }
                        state if state.is_terminated() => {
                            return format!("its session with ZooKeeper is over ({state})").into();
                        }
                        _ => break,
                    }
                }
            }
        }
    }
}

impl LeaderElection for ZooKeeperElection {
    fn contend(&self, candidate: Candidate) -> watch::Receiver<Leadership> {
        let (leadership, receiver) = watch::channel(Leadership::Standby);
        self.shared.with(|state| state.candidate = Some(candidate.clone()));
        let contender = Contender {
            zookeeper: self.zookeeper.clone(),
            candidate,
            shared: Arc::clone(&self.shared),
            leadership,
        };
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut contending = self.contending.lock().unwrap_or_else(PoisonError::into_inner);
        contending.abort_all();
        contending.spawn(contender.run(first));
        receiver
    }

    fn confirm<'a>(&'a self, term: &'a Term) -> Waiting<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let (candidate, held) = self.shared.with(|state| (state.candidate.clone(), state.held.clone()));
            let held = held.filter(|(session, _)| *session == term.session);
            let (Some(candidate), Some((_, latch))) = (candidate, held) else {
                return Err(StoreError::NotLeader("its latch is gone".to_owned()));
            };
            let info = write_leader(&candidate, term);
            pointers::write(latch.client()?, &self.zookeeper, &self.zookeeper.paths.info(), info.as_bytes())
                .await
        })
    }

    fn resign(&self) -> Waiting<'_, ()> {
        Box::pin(async {
            self.contending.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
            let held = self.shared.with(|state| state.held.take());
            if let Some(lock) = held.as_ref().and_then(|(_, latch)| latch.client().ok()) {
                // Whoever waits behind it leads at once, not when the session has timed out.
                let path = lock.lock_path().to_owned();
                let gone = lock.client().delete(&path, None);
                if !matches!(tokio::time::timeout(GOODBYE, gone).await, Ok(Ok(()))) {
                    tracing::warn!(path, "the latch stays until the session with ZooKeeper is over");
                }
            }
        })
    }
}
