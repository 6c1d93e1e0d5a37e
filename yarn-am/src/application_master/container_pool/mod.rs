//! Which containers there are, which are on their way, and how many have to be asked for. Pure: what comes of it is returned.
//!
//! The invariant: containers asked for, allocated and registered TaskManagers together are never more than what the JobManager declared
//! to need, whatever YARN has given that is not known here yet (`requests`). What comes though nobody needs it any more is released unused.
//!
//! A container counts as coming until a deadline only. Then it is released by the same heartbeat that asks for another one:
//!
//! ```text
//! allocated ─▸ Starting ── registers ──▸ Registered ── gone ──▸ Lost ── registers again ──▸ Registered
//!                 │ too late                                     │ YARN has not said why in time
//!                 ▾                                              ▾
//!               Going ◂────────────── given back ────────────────┘
//! ```

mod avoided_nodes;
mod places;
mod requests;
mod start_pace;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use flott_cluster::resource_manager::Demand;
use flott_core::config::{self, ConfigValue, Configuration};

use avoided_nodes::{AvoidedNodes, host_of};
pub use places::Places;
use places::places;
use requests::Requests;
pub use requests::{Request, RequestId};
use start_pace::StartPace;

/// A container's id as YARN writes it; also its TaskManager's resource id.
pub type ContainerName = String;

/// A node, `HOST:PORT` of its NodeManager.
pub type NodeName = String;

/// So long YARN is given to say how a container ended whose TaskManager is gone, before it is released.
const LOST_PATIENCE: Duration = Duration::from_secs(3);

/// When nothing is allocated for so long while nodes are avoided, one of them gets another chance.
const AVOIDING_PATIENCE: Duration = Duration::from_secs(30);

/// When nothing is allocated for so long where it is wanted best, it is wanted anywhere. Every node has its turn within a second, by YARN's
/// default.
const PLACES_PATIENCE: Duration = Duration::from_secs(1);

/// How patient a pool is.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSettings {
    /// With a TaskManager that has been started.
    pub registration: Duration,
    /// With one of an earlier attempt, from when its JobManager leads.
    pub recovery: Duration,
    /// With a node where containers do not come up: for so long it is avoided.
    pub avoided: Duration,
    /// So many failed starts a minute are borne.
    pub max_failure_rate: f64,
    /// The pause where there were more.
    pub retry_interval: Duration,
}

impl PoolSettings {
    /// As configured.
    pub fn of(configuration: &Configuration) -> Self {
        Self {
            registration: configuration.get(&config::REGISTRATION_TIMEOUT),
            recovery: configuration.get(&config::RECOVERY_TIMEOUT),
            avoided: configuration.get(&config::YARN_BLOCK_DURATION),
            max_failure_rate: configuration.get(&config::START_FAILURE_RATE),
            retry_interval: configuration.get(&config::START_RETRY_INTERVAL),
        }
    }
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is being launched, or its TaskManager has not registered yet.
    Starting {
        /// When that is too late.
        until: Instant,
    },
    /// Its TaskManager was registered with an earlier leader.
    Recovered {
        /// When it is too late to come back; none: nobody leads to whom it could.
        until: Option<Instant>,
    },
    /// Its TaskManager has registered.
    Registered,
    /// Its TaskManager is gone, or cannot be reached.
    Lost {
        /// When it is released.
        until: Instant,
    },
    /// It was told to go; YARN has not said yet that it has.
    Going,
}

impl Phase {
    /// Whether it may yet be a registered TaskManager.
    fn is_coming(self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Recovered { .. } | Self::Lost { .. })
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Starting { until } | Self::Lost { until } => Some(until),
            Self::Recovered { until } => until,
            Self::Registered | Self::Going => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Container {
    node: NodeName,
    phase: Phase,
}

/// What becomes of a container that YARN is about to take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Nothing runs there yet: it goes back, and another one is asked for.
    GivenBack,
    /// Its TaskManager has to leave it.
    InUse,
    /// It is none of the pool's, or is about to go.
    Gone,
}

/// What has to be said to YARN next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Requests that are made or taken back.
    pub requests: Vec<Request>,
    /// Where the containers of requests that are made are wanted best.
    pub places: BTreeMap<RequestId, Places>,
    /// Containers to give back.
    pub release: Vec<ContainerName>,
    /// Hosts to avoid from now on.
    pub avoid: Vec<String>,
    /// Hosts that may be used again.
    pub forgive: Vec<String>,
}

/// The containers of an application, but for the ApplicationMaster's own.
#[derive(Debug)]
pub struct ContainerPool {
    settings: PoolSettings,
    began: Instant,
    /// Whether the JobManager leads, so that TaskManagers can register.
    led: bool,
    demand: Demand,
    containers: BTreeMap<ContainerName, Container>,
    requests: Requests,
    /// Those that said where containers are wanted best.
    placed: BTreeSet<RequestId>,
    /// Whether that was of no use, so that what is missing now may be anywhere.
    anywhere: bool,
    /// Since when nothing has come, or nothing else was asked for.
    asked_since: Instant,
    /// Since when nothing has come, and nothing else was needed.
    quiet_since: Instant,
    release: BTreeSet<ContainerName>,
    avoided: AvoidedNodes,
    /// How many nodes the cluster has, once YARN has said it.
    nodes: Option<usize>,
    pace: StartPace,
    last_failure: Option<String>,
}

impl ContainerPool {
    /// Without containers.
    pub fn new(settings: PoolSettings, now: Instant) -> Self {
        Self {
            began: now,
            led: false,
            demand: Demand::default(),
            containers: BTreeMap::new(),
            requests: Requests::default(),
            placed: BTreeSet::new(),
            anywhere: false,
            asked_since: now,
            quiet_since: now,
            release: BTreeSet::new(),
            avoided: AvoidedNodes::new(settings.avoided),
            nodes: None,
            pace: StartPace::new(settings.max_failure_rate, settings.retry_interval),
            last_failure: None,
            settings,
        }
    }

    /// What the JobManager needs, which leads.
    pub fn declare(&mut self, demand: Demand, now: Instant) {
        let begins = !std::mem::replace(&mut self.led, true);
        let back_by = now + self.settings.recovery;
        for (id, container) in &mut self.containers {
            match (container.phase, demand.registered.contains(id)) {
                (Phase::Starting { .. }, true) => {
                    container.phase = Phase::Registered;
                    self.avoided.came_up(&container.node);
                    self.pace.came_up();
                    self.last_failure = None;
                }
                (Phase::Recovered { .. } | Phase::Lost { .. }, true) => container.phase = Phase::Registered,
                (Phase::Registered, false) => container.phase = Phase::Lost { until: now + LOST_PATIENCE },
                (Phase::Recovered { .. }, false) if begins => {
                    container.phase = Phase::Recovered { until: Some(back_by) };
                }
                _ => {}
            }
        }
        if demand.missing != self.demand.missing {
            self.quiet_since = now;
        }
        self.demand = demand;
    }

    /// The JobManager does not lead any more: nobody can register, and nothing is needed. TaskManagers are expected back once it does.
    pub fn abandon(&mut self) {
        self.led = false;
        self.demand = Demand::default();
        for container in self.containers.values_mut().filter(|container| container.phase != Phase::Going) {
            container.phase = Phase::Recovered { until: None };
        }
    }

    /// A container that an earlier attempt of this application had. Its TaskManager may register or be registered already.
    pub fn recovered(&mut self, id: ContainerName, node: NodeName, now: Instant) {
        let phase = if self.demand.registered.contains(&id) {
            Phase::Registered
        } else {
            Phase::Recovered { until: self.led.then_some(now + self.settings.recovery) }
        };
        self.containers.entry(id).or_insert(Container { node, phase });
    }

    fn coming(&self) -> u32 {
        self.containers.values().filter(|container| container.phase.is_coming()).count() as u32
    }

    /// How many containers are missing besides those on their way.
    fn missing(&self) -> u32 {
        self.demand.missing.saturating_sub(self.coming())
    }

    /// YARN gives a container that a request asked for. True: it is to be launched; false: nobody needs it, and it goes back.
    pub fn allocated(&mut self, id: ContainerName, request: RequestId, node: NodeName, now: Instant) -> bool {
        if self.containers.contains_key(&id) {
            return false;
        }
        self.requests.given(request);
        (self.asked_since, self.quiet_since) = (now, now);
        let wanted = self.missing() > 0 && !self.avoided.contains(&node);
        if wanted {
            let phase = Phase::Starting { until: now + self.settings.registration };
            self.containers.insert(id, Container { node, phase });
        } else {
            self.release.insert(id);
        }
        wanted
    }

    /// A container could not be launched.
    pub fn not_launched(&mut self, id: &str, reason: &str, now: Instant) {
        if let Some(container) = self.containers.get_mut(id) {
            container.phase = Phase::Going;
            let node = container.node.clone();
            self.release.insert(id.to_owned());
            self.failed_on(&node, reason, now);
        }
    }

    /// A container has ended. True: it was expected to go.
    pub fn completed(&mut self, id: &str, reason: &str, now: Instant) -> bool {
        self.release.remove(id);
        match self.containers.remove(id) {
            Some(Container { phase: Phase::Starting { .. }, node }) => {
                self.failed_on(&node, &format!("a container did not come up: {reason}"), now);
                false
            }
            Some(Container { phase: Phase::Going, .. }) | None => true,
            Some(_) => false,
        }
    }

    fn failed_on(&mut self, node: &str, reason: &str, now: Instant) {
        self.last_failure = Some(format!("{node}: {reason}"));
        self.avoided.failed(node, now);
        self.pause(now);
    }

    /// Nothing is asked for for a while.
    fn pause(&mut self, now: Instant) {
        let chance = f64::from(now.saturating_duration_since(self.began).subsec_micros() % 1000) / 1000.0;
        self.pace.failed(now, chance);
    }

    /// A TaskManager may go. True: it has a container here.
    pub fn let_go(&mut self, id: &str) -> bool {
        let Some(container) = self.containers.get_mut(id) else { return false };
        container.phase = Phase::Going;
        self.release.insert(id.to_owned())
    }

    /// YARN is about to take a container away.
    pub fn leave(&mut self, id: &str) -> Leave {
        match self.containers.get(id).map(|container| container.phase) {
            Some(Phase::Starting { .. }) => {
                self.let_go(id);
                Leave::GivenBack
            }
            Some(Phase::Registered | Phase::Recovered { .. }) => Leave::InUse,
            Some(Phase::Lost { .. } | Phase::Going) | None => Leave::Gone,
        }
    }

    /// YARN does not want these requests, none of which it has on its list. What they were for is asked for again after a pause, as long as it is
    /// missing: queues, labels and limits change.
    pub fn refused(&mut self, requests: &[Request], reason: String, now: Instant) {
        let refused: BTreeSet<RequestId> = requests.iter().map(|request| request.id).collect();
        self.requests.take_back(&refused);
        self.placed.retain(|id| !refused.contains(id));
        self.last_failure = Some(reason);
        self.pause(now);
    }

    /// All containers on a node, which is about to go.
    pub fn on_node(&self, node: &str) -> Vec<ContainerName> {
        let here = self.containers.iter().filter(|(_, container)| container.node == node);
        here.map(|(id, _)| id.clone()).collect()
    }

    /// How many nodes the cluster has.
    pub fn cluster_has(&mut self, nodes: usize) {
        self.nodes = Some(nodes);
    }

    /// Releases what is too late.
    fn on_time(&mut self, now: Instant) {
        let late =
            self.containers.iter().filter(|(_, c)| c.phase.deadline().is_some_and(|until| until <= now));
        let late: Vec<(ContainerName, Container)> =
            late.map(|(id, container)| (id.clone(), container.clone())).collect();
        for (id, Container { node, phase }) in late {
            let why = match phase {
                Phase::Starting { .. } => {
                    let timeout = self.settings.registration.write();
                    let why = format!(
                        "the TaskManager of {id} did not register within {timeout} (resourcemanager.taskmanager-registration.timeout): \
                         its taskmanager.log says why"
                    );
                    self.failed_on(&node, &why, now);
                    why
                }
                Phase::Recovered { .. } => {
                    let timeout = self.settings.recovery.write();
                    format!(
                        "it did not come back within {timeout} (resourcemanager.previous-worker.recovery.timeout)"
                    )
                }
                _ => "its TaskManager is gone, and YARN does not say how it ended".to_owned(),
            };
            tracing::warn!(container = id, node, why, "a container is given up");
            self.let_go(&id);
        }
        self.avoided.on_time(now, self.nodes);
        let waited = now.saturating_duration_since(self.asked_since);
        if self.requests.open() > 0 && waited >= AVOIDING_PATIENCE && !self.avoided.is_empty() {
            self.avoided.forget_oldest();
            self.asked_since = now;
        }
    }

    /// What to say to YARN now. What is returned counts as said.
    pub fn ask(&mut self, now: Instant) -> Ask {
        self.on_time(now);
        let wanted = self.wanted(now);
        self.say(wanted, now)
    }

    /// YARN has forgotten what it was told (it was restarted): everything has to be said again. Containers that were to go
    /// are named again.
    pub fn resync(&mut self, now: Instant) -> Ask {
        let going = self.containers.iter().filter(|(_, container)| container.phase == Phase::Going);
        self.release.extend(going.map(|(id, _)| id.clone()));
        self.avoided.resync();
        self.on_time(now);
        let wanted = self.wanted(now);
        self.requests.forgotten();
        self.placed.clear();
        self.say(wanted, now)
    }

    /// How many should be on YARN's list.
    fn wanted(&self, now: Instant) -> u32 {
        match self.pace.is_paused(now) {
            true => self.missing().min(self.requests.open()),
            false => self.missing(),
        }
    }

    fn say(&mut self, wanted: u32, now: Instant) -> Ask {
        if wanted == 0 {
            self.anywhere = false;
        }
        let mut requests = self.requests.set(wanted);
        if requests.is_empty() && now.saturating_duration_since(self.asked_since) >= PLACES_PATIENCE {
            requests = self.requests.take_back(&std::mem::take(&mut self.placed));
            self.anywhere |= !requests.is_empty();
        }
        if !requests.is_empty() {
            self.asked_since = now;
        }
        let mut places = BTreeMap::new();
        for Request { id, containers } in requests.iter().filter(|request| request.containers > 0) {
            let wanted = if self.anywhere { Places::new() } else { self.places(*containers) };
            if !wanted.is_empty() {
                self.placed.insert(*id);
                places.insert(*id, wanted);
            }
        }
        let avoided_nodes::Changes { avoid, forgive } = self.avoided.changes();
        let release = std::mem::take(&mut self.release).into_iter().collect();
        Ask { requests, places, release, avoid, forgive }
    }

    /// Where so many containers are wanted best.
    fn places(&self, wanted: u32) -> Places {
        let mut preferred = self.demand.preferred.clone();
        preferred.retain(|host| !self.avoided.has_host(&host.host));
        let there = self.containers.values().filter(|container| container.phase != Phase::Going);
        let there: Vec<&str> = there.map(|container| host_of(&container.node)).collect();
        let held = |host: &str| there.iter().filter(|other| **other == host).count() as u32;
        places(wanted, &preferred, held)
    }

    /// For how long nothing has come and nothing else was needed: so long YARN is asked in vain for what is waited for.
    pub fn quiet(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.quiet_since)
    }

    /// Whether something is being waited for, so that YARN should be asked often.
    pub fn is_waiting(&self) -> bool {
        let lost = self.containers.values().any(|container| matches!(container.phase, Phase::Lost { .. }));
        self.requests.open() > 0 || self.missing() > 0 || lost || !self.release.is_empty()
    }

    /// How many containers there are, those on their way out included.
    pub fn len(&self) -> usize {
        self.containers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// Why containers are missing.
    pub fn obstacle(&self) -> Option<String> {
        match (&self.last_failure, self.missing()) {
            (Some(failure), _) => Some(failure.clone()),
            (None, 0) => None,
            (None, missing) => Some(format!("YARN has not given {missing} containers that it was asked for")),
        }
    }
}
