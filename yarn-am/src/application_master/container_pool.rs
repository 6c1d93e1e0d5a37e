//! Which containers there are, which are on their way, and how many have to be asked for. Pure: what comes of it is returned.
//!
//! The invariant: containers asked for, allocated and registered TaskManagers together are never more than what the JobManager declared
//! to need. YARN's requests are absolute, so a request is sent again only when the number that is missing is another than what YARN
//! still has on its list; what YARN allocates beyond it, because both changed their minds at once, is released unused.

use std::collections::{BTreeMap, BTreeSet};

use flott_cluster::resource_manager::Demand;

/// A container's id as YARN writes it; also its TaskManager's resource id.
pub type ContainerName = String;

/// A node, `HOST:PORT` of its NodeManager.
pub type NodeName = String;

/// After so many containers in a row that did not come up on a node, none is asked for there any more.
const FAILURES_OF_A_NODE: u32 = 3;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is being launched, or its TaskManager has not registered yet.
    Starting,
    /// Its TaskManager has registered.
    Registered,
    /// It was told to go; YARN has not said yet that it has.
    Going,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Container {
    node: NodeName,
    phase: Phase,
}

/// What has to be said to YARN next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The number of containers wanted, if YARN has to hear another one.
    pub containers: Option<u32>,
    /// Containers to give back.
    pub release: Vec<ContainerName>,
    /// Nodes to avoid from now on.
    pub avoid: Vec<NodeName>,
}

/// The containers of an application, but for the ApplicationMaster's own.
#[derive(Debug, Default)]
pub struct ContainerPool {
    demand: Demand,
    containers: BTreeMap<ContainerName, Container>,
    /// How many YARN still has on its list.
    asked: u32,
    release: BTreeSet<ContainerName>,
    failures: BTreeMap<NodeName, u32>,
    avoided: BTreeSet<NodeName>,
    newly_avoided: BTreeSet<NodeName>,
    last_failure: Option<String>,
}

impl ContainerPool {
    /// What the JobManager needs.
    pub fn declare(&mut self, demand: Demand) {
        for id in &demand.registered {
            if let Some(container) = self.containers.get_mut(id)
                && container.phase == Phase::Starting
            {
                container.phase = Phase::Registered;
                self.failures.remove(&container.node);
                self.last_failure = None;
            }
        }
        self.demand = demand;
    }

    /// A container that an earlier attempt of this application had. Its TaskManager may register or be registered already.
    pub fn recovered(&mut self, id: ContainerName, node: NodeName) {
        let phase = if self.demand.registered.contains(&id) { Phase::Registered } else { Phase::Starting };
        self.containers.entry(id).or_insert(Container { node, phase });
    }

    fn starting(&self) -> u32 {
        self.containers.values().filter(|container| container.phase == Phase::Starting).count() as u32
    }

    /// How many containers are missing besides those on their way.
    fn missing(&self) -> u32 {
        self.demand.missing.saturating_sub(self.starting())
    }

    /// YARN gives a container. True: it is to be launched; false: nobody needs it, and it goes back.
    pub fn allocated(&mut self, id: ContainerName, node: NodeName) -> bool {
        if self.containers.contains_key(&id) {
            return false;
        }
        self.asked = self.asked.saturating_sub(1);
        let wanted = self.missing() > 0 && !self.avoided.contains(&node);
        if wanted {
            self.containers.insert(id, Container { node, phase: Phase::Starting });
        } else {
            self.release.insert(id);
        }
        wanted
    }

    /// A container could not be launched.
    pub fn not_launched(&mut self, id: &str, reason: String) {
        if let Some(container) = self.containers.get_mut(id) {
            container.phase = Phase::Going;
            let node = container.node.clone();
            self.release.insert(id.to_owned());
            self.failed_on(node, reason);
        }
    }

    /// A container has ended. True: it was expected to go.
    pub fn completed(&mut self, id: &str, reason: &str) -> bool {
        self.release.remove(id);
        match self.containers.remove(id) {
            Some(Container { phase: Phase::Starting, node }) => {
                self.failed_on(node, format!("a container did not come up: {reason}"));
                false
            }
            Some(Container { phase: Phase::Registered, .. }) => false,
            Some(Container { phase: Phase::Going, .. }) | None => true,
        }
    }

    fn failed_on(&mut self, node: NodeName, reason: String) {
        self.last_failure = Some(format!("{node}: {reason}"));
        let failures = self.failures.entry(node.clone()).or_default();
        *failures += 1;
        if *failures >= FAILURES_OF_A_NODE && self.avoided.insert(node.clone()) {
            self.newly_avoided.insert(node);
        }
    }

    /// A TaskManager may go. True: it has a container here.
    pub fn let_go(&mut self, id: &str) -> bool {
        let Some(container) = self.containers.get_mut(id) else { return false };
        container.phase = Phase::Going;
        self.release.insert(id.to_owned())
    }

    /// YARN does not want what it was asked for. It is asked again when something else is needed.
    pub fn refused(&mut self, reason: String) {
        self.last_failure = Some(reason);
    }

    /// All containers on a node, which is about to go.
    pub fn on_node(&self, node: &str) -> Vec<ContainerName> {
        let here = self.containers.iter().filter(|(_, container)| container.node == node);
        here.map(|(id, _)| id.clone()).collect()
    }

    /// What to say to YARN now. What is returned counts as said.
    pub fn ask(&mut self) -> Ask {
        let missing = self.missing();
        let containers = (missing != self.asked).then_some(missing);
        self.asked = missing;
        Ask {
            containers,
            release: std::mem::take(&mut self.release).into_iter().collect(),
            avoid: std::mem::take(&mut self.newly_avoided).into_iter().collect(),
        }
    }

    /// YARN has forgotten what it was told (it was restarted): everything has to be said again. Containers that were to go
    /// are named again.
    pub fn resync(&mut self) -> Ask {
        let going = self.containers.iter().filter(|(_, container)| container.phase == Phase::Going);
        let release = going.map(|(id, _)| id.clone()).chain(std::mem::take(&mut self.release));
        let release = release.collect::<BTreeSet<_>>().into_iter().collect();
        self.newly_avoided.clear();
        self.asked = self.missing();
        Ask { containers: Some(self.asked), release, avoid: self.avoided.iter().cloned().collect() }
    }

    /// Whether something is being waited for, so that YARN should be asked often.
    pub fn is_waiting(&self) -> bool {
        self.asked > 0 || self.missing() > 0 || !self.release.is_empty()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn demand(missing: u32, registered: &[&str]) -> Demand {
        Demand { missing, registered: registered.iter().map(|id| (*id).to_owned()).collect() }
    }

    fn name(number: u32) -> ContainerName {
        format!("container_{number:02}")
    }

    #[test]
    fn what_is_missing_is_asked_for_once() {
        let mut pool = ContainerPool::default();
        pool.declare(demand(2, &[]));
        assert_eq!(pool.ask().containers, Some(2));
        assert_eq!(pool.ask().containers, None);
        assert!(pool.allocated(name(1), "a:1".into()));
        // YARN has one left on its list, as many as are missing.
        assert_eq!(pool.ask().containers, None);
        assert!(pool.allocated(name(2), "a:1".into()));
        assert!(!pool.allocated(name(3), "b:1".into()));
        assert_eq!(pool.ask(), Ask { containers: None, release: vec![name(3)], avoid: vec![] });
        pool.declare(demand(1, &["container_01"]));
        pool.declare(demand(0, &["container_01", "container_02"]));
        assert_eq!(pool.ask(), Ask::default());
        assert!(!pool.is_waiting());
    }

    #[test]
    fn a_job_that_is_over_takes_its_request_back() {
        let mut pool = ContainerPool::default();
        pool.declare(demand(5, &[]));
        pool.ask();
        pool.declare(demand(0, &[]));
        assert_eq!(pool.ask().containers, Some(0));
        assert!(!pool.allocated(name(1), "a:1".into()));
        assert_eq!(pool.ask().release, [name(1)]);
    }

    #[test]
    fn a_node_where_nothing_comes_up_is_avoided() {
        let mut pool = ContainerPool::default();
        pool.declare(demand(1, &[]));
        for number in 0..3 {
            pool.ask();
            assert!(pool.allocated(name(number), "bad:1".into()));
            assert!(!pool.completed(&name(number), "exit status 127"));
        }
        assert_eq!(pool.ask(), Ask { containers: Some(1), release: vec![], avoid: vec!["bad:1".into()] });
        assert_eq!(pool.obstacle().as_deref(), Some("bad:1: a container did not come up: exit status 127"));
        assert!(!pool.allocated(name(9), "bad:1".into()));
        assert_eq!(pool.resync().avoid, ["bad:1"]);
    }

    #[test]
    fn after_a_restart_of_yarn_everything_is_said_again() {
        let mut pool = ContainerPool::default();
        pool.recovered(name(1), "a:1".into());
        pool.declare(demand(2, &["container_01"]));
        assert_eq!(pool.ask().containers, Some(2));
        assert!(pool.let_go(&name(1)));
        assert_eq!(pool.ask().release, [name(1)]);
        assert_eq!(pool.resync(), Ask { containers: Some(2), release: vec![name(1)], avoid: vec![] });
        assert!(pool.completed(&name(1), "released"));
    }

    /// What may happen between two heartbeats.
    #[derive(Debug, Clone)]
    enum Step {
        Heartbeat,
        Allocate,
        Register,
        Lose(u8),
        Need(u32),
        NotLaunched,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Heartbeat),
            3 => Just(Step::Allocate),
            3 => Just(Step::Register),
            1 => any::<u8>().prop_map(Step::Lose),
            1 => (0_u32..6).prop_map(Step::Need),
            1 => Just(Step::NotLaunched),
        ]
    }

    proptest! {
        /// A model of YARN and of a JobManager that needs a number of TaskManagers: there are never more than it needs, and in
        /// the end as many.
        #[test]
        fn there_are_never_more_containers_than_needed(steps in proptest::collection::vec(step(), 0..80)) {
            let mut pool = ContainerPool::default();
            let (mut needed, mut registered, mut starting) = (3_u32, BTreeSet::new(), BTreeSet::new());
            let (mut yarn_list, mut next) = (0_u32, 0_u32);
            let declare = |pool: &mut ContainerPool, needed: u32, registered: &BTreeSet<String>| {
                let missing = needed.saturating_sub(registered.len() as u32);
                pool.declare(Demand { missing, registered: registered.clone() });
            };
            declare(&mut pool, needed, &registered);
            let settle = [Step::Heartbeat, Step::Allocate, Step::Allocate, Step::Allocate, Step::Register, Step::Register, Step::Register];
            let settle = std::iter::repeat_n(settle, 3).flatten();
            for step in steps.into_iter().chain(settle) {
                match step {
                    Step::Heartbeat => {
                        let ask = pool.ask();
                        yarn_list = ask.containers.unwrap_or(yarn_list);
                        for id in ask.release {
                            pool.completed(&id, "released");
                        }
                        prop_assert!(yarn_list as usize + registered.len() + starting.len() <= needed as usize);
                    }
                    Step::Allocate if yarn_list > 0 => {
                        yarn_list -= 1;
                        next += 1;
                        // Nodes are many here: avoiding them is another test's.
                        if pool.allocated(name(next), format!("node{next}:1")) {
                            starting.insert(name(next));
                        }
                    }
                    Step::Register => if let Some(id) = starting.pop_first() {
                        registered.insert(id);
                        declare(&mut pool, needed, &registered);
                    },
                    Step::Lose(which) if !registered.is_empty() => {
                        let id = registered.iter().nth(usize::from(which) % registered.len()).cloned();
                        let id = id.unwrap_or_default();
                        registered.remove(&id);
                        pool.completed(&id, "killed");
                        declare(&mut pool, needed, &registered);
                    }
                    Step::Need(other) => {
                        needed = other.max(registered.len() as u32 + starting.len() as u32);
                        declare(&mut pool, needed, &registered);
                    }
                    Step::NotLaunched => if let Some(id) = starting.pop_first() {
                        pool.not_launched(&id, "no".into());
                    },
                    _ => {}
                }
                prop_assert!(registered.len() + starting.len() <= needed as usize);
            }
            prop_assert_eq!(registered.len(), needed as usize);
        }
    }
}
