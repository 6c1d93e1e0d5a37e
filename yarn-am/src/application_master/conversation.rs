//! The conversation with YARN's ResourceManager: register, a heartbeat in its own rhythm, unregister.
//!
//! It owns the [`ContainerPool`] and is the only one to change it. Nothing here waits for a container to be launched, nor for the
//! JobManager: YARN must hear from an ApplicationMaster whatever else happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flott_cluster::resource_manager::ResourceEvent;
use hadoop_rpc::proto::yarn::{
    AllocateRequest, AllocateResponse, AmCommand, Container, ContainerId, FinalApplicationStatus,
    RegisterApplicationMasterRequest, RegisterApplicationMasterResponse, ResourceBlacklistRequest,
    ResourceRequest,
};
use hadoop_rpc::{ApplicationMasterClient, RpcError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::container_pool::{Ask, ContainerPool, Leave, PoolSettings, Request};
use super::container_profile::{ContainerProfile, LogPages};
use super::driver::{Wishes, YarnDriver};
use super::exit_status;
use super::launcher::NodeTokens;
use super::nodes::Nodes;
use super::notices::{Notice, What, notices, of_nodes};
use super::registration::{LostAnswer, Setback, expected_response, register, unregister};
use super::rejections::{Refused, Rejected, is_refusal, rest_of};
use crate::ids::{container_text, node_text};
use crate::security::ClientTokens;

/// The priority of TaskManagers' containers. YARN needs one for every request; there is one kind.
const PRIORITY: i32 = 1;

/// So long, at least, YARN is told how the application has ended.
const UNREGISTER_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// So long YARN is asked as often as may be for what is waited for; then less and less often, since a queue may be full for hours.
const EAGER: Duration = Duration::from_secs(10);

/// Launches that may wait to be started.
const QUEUED_LAUNCHES: usize = 4096;

/// Why the conversation is over.
#[derive(Debug, thiserror::Error)]
pub enum ConversationError {
    /// YARN has begun another attempt, or has ended the application.
    #[error("YARN wants this ApplicationMaster to go: {0}")]
    ShutDown(String),
    /// What it was to adopt is not known.
    #[error(
        "YARN has registered this attempt, but its answer was lost, which names the containers of the earlier attempt: this one ends, so that the next \
         one is told"
    )]
    AnswerLost,
    /// Unregistering takes too long.
    #[error("YARN has not written down in {} s that the application is over", .0.as_secs())]
    NotWritten(Duration),
    /// A call that cannot be repeated any more.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

/// How an application ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalStatus {
    /// In YARN's terms.
    pub status: FinalApplicationStatus,
    /// What people read first.
    pub diagnostics: String,
}

/// A container that is to be launched.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) name: String,
    pub(crate) container: Container,
}

/// A container that was not launched, and why.
pub(crate) type NotLaunched = (String, String);

/// What an ApplicationMaster needs for the conversation.
pub(crate) struct Setup {
    pub(crate) client: ApplicationMasterClient,
    /// For how long YARN may be away when this registers and unregisters.
    pub(crate) patience: Duration,
    pub(crate) lost_answer: LostAnswer,
    pub(crate) nodes: Nodes,
    pub(crate) registration: RegisterApplicationMasterRequest,
    pub(crate) profile: ContainerProfile,
    pub(crate) driver: Arc<YarnDriver>,
    pub(crate) tokens: Arc<NodeTokens>,
    /// Hears of the key with which YARN makes the tokens of clients.
    pub(crate) client_tokens: Option<Arc<ClientTokens>>,
    /// How far the application is, from 0 to 1.
    pub(crate) progress: watch::Receiver<f32>,
    pub(crate) pool: PoolSettings,
    /// Hears what becomes of TaskManagers.
    pub(crate) events: mpsc::Sender<ResourceEvent>,
    pub(crate) logs: LogPages,
    /// The pause between heartbeats, and while something is waited for.
    pub(crate) intervals: (Duration, Duration),
}

/// What is kept of a container besides the pool's own.
#[derive(Debug)]
struct Known {
    id: ContainerId,
    /// Where its node's web pages are: `HOST:PORT`; empty: nobody knows.
    web: String,
}

/// The time as the pool has it.
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The pause after a heartbeat, by the shortest and the longest that there are, where nothing has come for so long of what is waited for.
fn pause_while_waiting(shortest: Duration, longest: Duration, quiet: Duration) -> Duration {
    (quiet.saturating_sub(EAGER) / 4).clamp(shortest, longest.max(shortest))
}

/// The conversation.
pub(crate) struct Conversation {
    setup: Setup,
    pool: ContainerPool,
    /// Containers by name, as YARN gave them.
    known: BTreeMap<String, Known>,
    response_id: i32,
    launches: mpsc::Sender<Launch>,
    not_launched: mpsc::Receiver<NotLaunched>,
    /// What the next heartbeat says first.
    unsaid: Option<Ask>,
    refused: Refused,
    rejected: Rejected,
}

/// The other ends: what to launch, and where to say that it did not work.
pub(crate) type LaunchQueue = (mpsc::Receiver<Launch>, mpsc::Sender<NotLaunched>);

impl Conversation {
    /// Registers with YARN.
    pub(crate) async fn begin(setup: Setup) -> Result<(Self, LaunchQueue), ConversationError> {
        let answer = register(&setup.client, &setup.registration, setup.patience, setup.lost_answer).await?;
        let (launches, to_launch) = mpsc::channel(QUEUED_LAUNCHES);
        let (failed, not_launched) = mpsc::channel(QUEUED_LAUNCHES);
        let pool = ContainerPool::new(setup.pool.clone(), now());
        let mut conversation = Self {
            setup,
            pool,
            known: BTreeMap::new(),
            response_id: 0,
            launches,
            not_launched,
            unsaid: None,
            refused: Refused::default(),
            rejected: Rejected::default(),
        };
        conversation.registered(answer);
        if !conversation.pool.is_empty() {
            let leaving = conversation.setup.nodes.leaving().await;
            of_nodes(&leaving).into_iter().for_each(|notice| conversation.leave(notice));
        }
        Ok((conversation, (to_launch, failed)))
    }

    fn registered(&mut self, answer: RegisterApplicationMasterResponse) {
        if let (Some(tokens), Some(key)) = (&self.setup.client_tokens, &answer.client_to_am_token_master_key)
        {
            tokens.set_master_key(key);
        }
        for token in answer.nm_tokens_from_previous_attempts {
            self.keep_token(token.node_id, token.token);
        }
        for container in answer.containers_from_previous_attempts {
            self.recover(container);
        }
    }

    fn recover(&mut self, container: Container) {
        let (Some(id), Some(node)) = (container.id, container.node_id) else { return };
        let name = container_text(&id);
        tracing::info!(
            container = name,
            node = node_text(&node),
            "a container of an earlier attempt is there"
        );
        let known = Known { id, web: container.node_http_address.unwrap_or_default() };
        self.known.insert(name.clone(), known);
        self.pool.recovered(name, node_text(&node), now());
    }

    fn keep_token(
        &self,
        node: Option<hadoop_rpc::proto::yarn::NodeId>,
        token: Option<hadoop_rpc::proto::common::Token>,
    ) {
        if let (Some(node), Some(token)) = (node, token) {
            self.setup.tokens.put(node_text(&node), token);
        }
    }

    /// Talks with YARN until `finish` says how the application ends, and unregisters.
    pub(crate) async fn run(
        mut self,
        mut finish: oneshot::Receiver<FinalStatus>,
    ) -> Result<(), ConversationError> {
        let driver = Arc::clone(&self.setup.driver);
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                ended = &mut finish => return self.over(ended.ok()).await,
                Some((name, reason)) = self.not_launched.recv() => {
                    tracing::warn!(container = name, reason, "a container was not launched");
                    self.pool.not_launched(&name, &reason, now());
                    continue;
                }
                () = driver.changed() => {
                    self.hear().await;
                    // Somebody waits: YARN hears of it now.
                    if !self.pool.is_waiting() {
                        continue;
                    }
                }
                () = tokio::time::sleep_until(next) => {}
            }
            self.hear().await;
            tokio::select! {
                biased;
                // A ResourceManager may be long in answering; what is waited for here is of no use then.
                ended = &mut finish => return self.over(ended.ok()).await,
                beat = self.heartbeat() => beat?,
            }
            next = Instant::now() + self.pause();
            self.setup.driver.explain(self.pool.obstacle());
        }
    }

    fn pause(&self) -> Duration {
        let (idle, waiting) = self.setup.intervals;
        match self.pool.is_waiting() {
            true => pause_while_waiting(waiting, idle, self.pool.quiet(now())),
            false => idle,
        }
    }

    /// The application ends, if anybody has said how.
    async fn over(self, status: Option<FinalStatus>) -> Result<(), ConversationError> {
        match status {
            Some(status) => {
                let Setup { client, registration, patience, .. } = &self.setup;
                // What is done shall not be done again, however impatient the command was that has submitted it.
                unregister(client, registration, status, (*patience).max(UNREGISTER_PATIENCE)).await
            }
            // Who would have said is gone: so is this process, and YARN begins another attempt.
            None => Ok(()),
        }
    }

    /// Takes what the JobManager wants.
    async fn hear(&mut self) {
        let Wishes { abandoned, demand, release } = self.setup.driver.take();
        if abandoned {
            self.pool.abandon();
        }
        if let Some(mut demand) = demand {
            let Setup { nodes, profile, .. } = &mut self.setup;
            demand.preferred = nodes.among(demand.preferred, profile).await;
            self.pool.declare(demand, now());
        }
        for name in release {
            if self.pool.let_go(&name) {
                tracing::info!(container = name, "a container is given back");
            }
        }
    }

    async fn heartbeat(&mut self) -> Result<(), ConversationError> {
        let ask = match self.unsaid.take() {
            Some(ask) => ask,
            None => self.pool.ask(now()),
        };
        let request = self.request(&ask);
        let answer = self.setup.client.allocate(&request).await;
        if self.refused.note(answer.as_ref().err(), Instant::now())
            && let Err(error) = &answer
        {
            return Err(ConversationError::ShutDown(error.to_string()));
        }
        match answer {
            Ok(answer) => {
                self.rejected = Rejected::default();
                self.answered(answer).await
            }
            Err(error) => match Setback::of(&error) {
                Setback::Unregistered => self.resync().await,
                Setback::OutOfStep => self.in_step(&error).await,
                Setback::Gone => Err(ConversationError::ShutDown(error.to_string())),
                Setback::Refused if self.rejected.note(&error, Instant::now()) => {
                    tracing::warn!(%error, "YARN refuses what it is asked for");
                    self.pool.refused(&ask.requests, error.to_string(), now());
                    self.unsaid = rest_of(ask, is_refusal(&error));
                    Ok(())
                }
                _ => {
                    tracing::warn!(%error, "YARN does not answer; the jobs go on");
                    // The same again: an answer that was lost on its way comes again.
                    self.unsaid = Some(ask);
                    Ok(())
                }
            },
        }
    }

    fn request(&self, ask: &Ask) -> AllocateRequest {
        for Request { id, containers } in &ask.requests {
            match containers {
                0 => tracing::info!(request = id, "a request for containers is taken back"),
                containers => tracing::info!(containers, request = id, "containers are asked for"),
            }
        }
        for (id, places) in &ask.places {
            tracing::info!(request = id, ?places, "containers are best there");
        }
        let release = ask.release.iter().filter_map(|name| self.known.get(name).map(|known| known.id));
        let has_changed = !ask.avoid.is_empty() || !ask.forgive.is_empty();
        if has_changed {
            tracing::warn!(avoid = ?ask.avoid, again = ?ask.forgive, "other hosts are avoided");
        }
        AllocateRequest {
            ask: self.resource_requests(ask),
            release: release.collect(),
            blacklist_request: has_changed.then(|| ResourceBlacklistRequest {
                blacklist_additions: ask.avoid.clone(),
                blacklist_removals: ask.forgive.clone(),
            }),
            response_id: Some(self.response_id),
            progress: Some(*self.setup.progress.borrow()),
            ..AllocateRequest::default()
        }
    }

    fn resource_requests(&self, ask: &Ask) -> Vec<ResourceRequest> {
        let profile = &self.setup.profile;
        let anywhere =
            ask.requests.iter().map(|request| (request.id, profile.request(request.containers, PRIORITY)));
        let placed = ask.places.iter().flat_map(|(id, places)| {
            profile.requests_at(places, PRIORITY).into_iter().map(|request| (*id, request))
        });
        let with_id = |(id, request)| ResourceRequest { allocation_request_id: Some(id), ..request };
        placed.chain(anywhere).map(with_id).collect()
    }

    /// YARN was restarted and has forgotten everything that was not running.
    async fn resync(&mut self) -> Result<(), ConversationError> {
        tracing::warn!("YARN was restarted: registering again");
        let answer = self.setup.client.register(&self.setup.registration).await;
        match answer {
            Ok(answer) => {
                self.registered(answer);
                self.say_again(0);
                Ok(())
            }
            Err(error) => match Setback::of(&error) {
                // It knows this ApplicationMaster already: an answer was lost.
                Setback::OutOfStep => {
                    self.say_again(0);
                    Ok(())
                }
                Setback::Gone => Err(ConversationError::ShutDown(error.to_string())),
                _ => {
                    tracing::warn!(%error, "YARN does not take the registration yet");
                    Ok(())
                }
            },
        }
    }

    /// Answers were lost. YARN goes on from the last that it gave, and hears everything again.
    async fn in_step(&mut self, refusal: &RpcError) -> Result<(), ConversationError> {
        let Some(response) = expected_response(&refusal.to_string()) else { return self.resync().await };
        tracing::warn!(response, "YARN has given answers that were not heard: everything is said again");
        self.say_again(response);
        Ok(())
    }

    /// The next request follows this response, and says all that is wanted.
    fn say_again(&mut self, response: i32) {
        self.response_id = response;
        self.unsaid = Some(self.pool.resync(now()));
    }

    async fn answered(&mut self, answer: AllocateResponse) -> Result<(), ConversationError> {
        match answer.am_command.map(AmCommand::try_from) {
            Some(Ok(AmCommand::Resync)) => return self.resync().await,
            Some(Ok(AmCommand::Shutdown)) => {
                return Err(ConversationError::ShutDown("its answer says so".to_owned()));
            }
            _ => {}
        }
        self.response_id = answer.response_id();
        let notices = notices(&answer);
        if let Some(nodes) = answer.num_cluster_nodes.and_then(|nodes| usize::try_from(nodes).ok()) {
            self.pool.cluster_has(nodes);
        }
        for token in answer.nm_tokens {
            self.keep_token(token.node_id, token.token);
        }
        for container in answer.containers_from_previous_attempts {
            self.recover(container);
        }
        // What has ended makes room for what is allocated with it.
        for status in answer.completed_container_statuses {
            let Some(id) = status.container_id else { continue };
            let name = container_text(&id);
            let known = self.known.remove(&name);
            let reason = exit_status::of_task_manager(status.exit_status(), status.diagnostics());
            if self.pool.completed(&name, &reason, now()) {
                tracing::info!(container = name, reason, "a container has gone");
            } else {
                tracing::warn!(container = name, reason, "a container has ended");
                let logs = known.and_then(|known| self.setup.logs.of(&name, &known.web));
                let logs = logs.map(|logs| format!(" (its logs: {logs})")).unwrap_or_default();
                self.tell(ResourceEvent::Ended { resource_id: name, reason: reason + &logs });
            }
        }
        for container in answer.allocated_containers {
            self.allocated(container);
        }
        notices.into_iter().for_each(|notice| self.leave(notice));
        Ok(())
    }

    fn allocated(&mut self, container: Container) {
        let (Some(id), Some(node)) = (container.id, &container.node_id) else { return };
        let (name, node) = (container_text(&id), node_text(node));
        let known = Known { id, web: container.node_http_address.clone().unwrap_or_default() };
        self.known.insert(name.clone(), known);
        let request = container.allocation_request_id();
        if !self.pool.allocated(name.clone(), request, node.clone(), now()) {
            tracing::info!(container = name, node, "a container that nobody needs any more goes back");
            return;
        }
        tracing::info!(container = name, node, "a container is launched");
        if let Err(error) = self.launches.try_send(Launch { name, container }) {
            let (TrySendError::Full(launch) | TrySendError::Closed(launch)) = error;
            self.pool.not_launched(&launch.name, "too many containers are being launched", now());
        }
    }

    /// Containers are about to be taken away: TaskManagers leave them, and what is not one yet is given back.
    fn leave(&mut self, Notice { what, reason, within }: Notice) {
        let names = match what {
            What::Container(name) => vec![name],
            What::Node(node) => self.pool.on_node(&node),
        };
        for name in names {
            match self.pool.leave(&name) {
                Leave::GivenBack => {
                    tracing::info!(container = name, reason, "a container is given back before it is used")
                }
                Leave::InUse => {
                    let reason = reason.clone();
                    self.tell(ResourceEvent::Leaving { resource_id: name, reason, within });
                }
                Leave::Gone => {}
            }
        }
    }

    /// Tells the JobManager, which takes what is said at once: that nobody listens means that it ends.
    fn tell(&self, event: ResourceEvent) {
        if let Err(error) = self.setup.events.try_send(event) {
            tracing::debug!(%error, "the JobManager does not hear what became of a TaskManager");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_nothing_comes_the_less_often_yarn_is_asked() {
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let pause = |seconds| pause_while_waiting(shortest, longest, Duration::from_secs(seconds));
        assert_eq!([0, 5, 10].map(pause), [shortest; 3]);
        assert_eq!([12, 14, 3600].map(pause), [longest / 2, longest, longest]);
        // As configured, however strangely.
        assert_eq!(pause_while_waiting(longest, shortest, Duration::from_secs(60)), longest);
        let mut beats = 0;
        let mut quiet = Duration::ZERO;
        while quiet < Duration::from_secs(60) {
            quiet += pause_while_waiting(shortest, Duration::from_secs(5), quiet);
            beats += 1;
        }
        assert!(beats < 135, "{beats} in a minute");
    }
}
