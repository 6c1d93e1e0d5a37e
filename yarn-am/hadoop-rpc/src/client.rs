//! A client of one protocol at one service, which may be a group of servers of which one is active.
//!
//! Clones share the connection. A call goes to the server that answered last; failures lead to the next server, to a pause and another
//! attempt, or to the caller, by the rules in [`crate::RetryPolicy`]. Names are resolved at every attempt, so a server may move.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::connection::{CallId, Connection, Endpoint};
use crate::error::RpcError;
use crate::protocol::Protocol;
use crate::retry::{Attempts, CallKind, RetryDecision, RetryPolicy, decide, is_unusable};
use crate::settings::Settings;
use crate::user::User;

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    /// Hosts and ports, at least one; the active one is found by trying.
    pub addresses: Vec<String>,
    /// Other names under which tokens know the service, such as `ha-hdfs:NAMESERVICE`.
    pub aliases: Vec<String>,
}

impl Servers {
    /// A service of one server.
    pub fn one(address: impl Into<String>) -> Servers {
        Servers { addresses: vec![address.into()], aliases: Vec::new() }
    }
}

/// A method and how it may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Whether it may be carried out twice.
    pub kind: CallKind,
    /// How long one attempt waits for the answer.
    pub timeout: Duration,
}

impl Method {
    /// A method that may be carried out twice, with 30 s for an answer.
    pub const fn idempotent(name: &'static str) -> Method {
        Method { name, kind: CallKind::Idempotent, timeout: Duration::from_secs(30) }
    }

    /// A method that must not be carried out twice, with 30 s for an answer.
    pub const fn at_most_once(name: &'static str) -> Method {
        Method { name, kind: CallKind::AtMostOnce, timeout: Duration::from_secs(30) }
    }
}

/// A client of one protocol.
#[derive(Clone)]
pub struct RpcClient {
    shared: Arc<Shared>,
    policy: RetryPolicy,
}

struct Shared {
    protocol: Protocol,
    servers: Servers,
    user: User,
    settings: Settings,
    client_id: [u8; 16],
    calls: AtomicI32,
    /// Which server is thought to be the active one.
    active: AtomicUsize,
    connection: Mutex<Slot>,
}

/// The connection in use, made by the first call that needs it while others wait for it.
#[derive(Clone)]
struct Slot {
    server: usize,
    connection: Arc<OnceCell<Arc<Connection>>>,
}

impl Slot {
    fn new(server: usize) -> Slot {
        Slot { server, connection: Arc::default() }
    }

    fn is_usable(&self, server: usize) -> bool {
        self.server == server && self.connection.get().is_none_or(|connection| connection.is_open())
    }
}

impl RpcClient {
    /// A client; it connects at the first call.
    ///
    /// # Errors
    /// There is no server, or the system has no randomness.
    pub fn new(
        protocol: Protocol,
        servers: Servers,
        user: User,
        settings: Settings,
    ) -> Result<RpcClient, RpcError> {
        if servers.addresses.is_empty() {
            return Err(RpcError::configuration(format!("no server is known for {}", protocol.name)));
        }
        let mut client_id = [0; 16];
        getrandom::fill(&mut client_id)
            .map_err(|error| RpcError::configuration(format!("the system has no randomness: {error}")))?;
        let shared = Shared {
            protocol,
            servers,
            user,
            settings,
            client_id,
            calls: AtomicI32::new(0),
            active: AtomicUsize::new(0),
            connection: Mutex::new(Slot::new(0)),
        };
        Ok(RpcClient { shared: Arc::new(shared), policy: RetryPolicy::default() })
    }

    /// The same client, connection and all, under another policy.
    pub fn with_policy(&self, policy: RetryPolicy) -> RpcClient {
        RpcClient { shared: Arc::clone(&self.shared), policy }
    }

    /// As whom it calls.
    pub fn user(&self) -> &User {
        &self.shared.user
    }

    /// Where it calls.
    pub fn servers(&self) -> &Servers {
        &self.shared.servers
    }

    /// Ends the connection in use; calls under way on it finish first. The next call makes a new one, with the tokens of then.
    pub fn reconnect(&self) {
        let server = self.shared.active.load(Ordering::Relaxed);
        *self.shared.slot() = Slot::new(server);
    }

    /// Connects to one of the servers, by its place among [`Servers::addresses`], only to have it prove who it is.
    ///
    /// # Errors
    /// [`RpcError::Authentication`] or [`RpcError::Protocol`]: it is not who it should be, or does not take the user for who it says;
    /// [`RpcError::Unavailable`]: its offer was right, but this build cannot take it. Else it is away, or not ready.
    pub async fn authenticate(&self, server: usize) -> Result<(), RpcError> {
        self.shared.connect(server).await.map(drop)
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The server's exception, or why there is no answer ([`RpcError`]).
    pub async fn call<Answer: Message + Default>(
        &self,
        method: &Method,
        request: &impl Message,
    ) -> Result<Answer, RpcError> {
        let start = Instant::now();
        let end = start + self.policy.deadline;
        let id = self.shared.calls.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let mut failed: u32 = 0;
        let mut unusable = None;
        loop {
            let server = self.shared.active.load(Ordering::Relaxed);
            let retry = i32::try_from(failed).unwrap_or(i32::MAX);
            let error = match self.attempt(server, CallId { id, retry }, method, request, end).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failed += 1;
            if is_unusable(&error) {
                unusable.get_or_insert_with(|| error.clone());
            }
            let made = Attempts { failed, servers: self.shared.servers.addresses.len() };
            let decision = decide(&error, method.kind, &self.policy, &made, random());
            let given_up = |last: RpcError| RpcError::GivenUp {
                call: method.name.into(),
                attempts: failed,
                after: start.elapsed(),
                last: Box::new(last),
            };
            match decision {
                // What others are said to be does not explain more.
                RetryDecision::Fail if is_unusable(&error) => return Err(unusable.unwrap_or(error)),
                RetryDecision::Fail => return Err(error),
                RetryDecision::GiveUp => return Err(given_up(error)),
                RetryDecision::Again { pause, .. } if Instant::now() + pause >= end => {
                    return Err(given_up(error));
                }
                RetryDecision::Again { failover, pause } => {
                    tracing::debug!(call = method.name, %error, ?pause, failover, "trying again");
                    if failover {
                        self.shared.fail_over(server);
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn attempt<Answer: Message + Default>(
        &self,
        server: usize,
        id: CallId,
        method: &Method,
        request: &impl Message,
        end: Instant,
    ) -> Result<Answer, RpcError> {
        let remaining = || end.saturating_duration_since(Instant::now());
        let slot = self.shared.usable_slot(server);
        let after = remaining();
        let address = &self.shared.servers.addresses[server];
        let connecting = slot.connection.get_or_try_init(|| self.shared.connect(server));
        let late = |_| RpcError::Connect {
            address: address.clone(),
            reason: format!("not connected after {after:?}"),
        };
        let connection = Arc::clone(tokio::time::timeout(after, connecting).await.map_err(late)??);
        let answer = connection.call(id, method.name, request, method.timeout.min(remaining())).await;
        if let Err(RpcError::Timeout { .. }) = answer {
            // Whoever is silent for so long may be gone: the next call finds out on a new connection.
            self.shared.abandon(&slot);
        }
        answer
    }
}

impl std::fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcClient")
            .field("protocol", &self.shared.protocol.name)
            .field("servers", &self.shared.servers)
            .field("user", &self.shared.user)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn slot(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable_slot(&self, server: usize) -> Slot {
        let mut slot = self.slot();
        if !slot.is_usable(server) {
            *slot = Slot::new(server);
        }
        slot.clone()
    }

    fn abandon(&self, used: &Slot) {
        let mut slot = self.slot();
        if Arc::ptr_eq(&slot.connection, &used.connection) {
            *slot = Slot::new(used.server);
        }
    }

    /// Moves on from a server, unless another call already has.
    fn fail_over(&self, from: usize) {
        let next = (from + 1) % self.servers.addresses.len();
        let _ = self.active.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn connect(&self, server: usize) -> Result<Arc<Connection>, RpcError> {
        let endpoint = Endpoint {
            address: &self.servers.addresses[server],
            aliases: &self.servers.aliases,
            protocol: &self.protocol,
            user: &self.user,
            settings: &self.settings,
            client_id: &self.client_id,
        };
        Ok(Arc::new(Connection::open(&endpoint).await?))
    }
}

/// A number for jitter; without randomness in the system there is none.
fn random() -> u64 {
    getrandom::u64().unwrap_or(0)
}

#[cfg(test)]
mod tests;
