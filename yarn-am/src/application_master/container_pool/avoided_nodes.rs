//! Nodes on which containers do not come up, and which are avoided for a while.
//!
//! They are known by their host, as YARN's blacklist takes them. The invariant: never so many are avoided that a cluster could not go on
//! without them; the oldest are forgotten first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// After so many containers in a row that did not come up on a host, none is asked for there for a while.
const FAILURES: u32 = 3;

/// The host of a node, which is `HOST:PORT`.
pub fn host_of(node: &str) -> &str {
    node.rsplit_once(':').map_or(node, |(host, _)| host)
}

/// How many hosts may be avoided among so many nodes: a third, at least one, never all.
fn most(nodes: usize) -> usize {
    (nodes / 3).max(1).min(nodes.saturating_sub(1))
}

/// What YARN has to hear of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Hosts to avoid from now on.
    pub avoid: Vec<String>,
    /// Hosts that may be used again.
    pub forgive: Vec<String>,
}

/// The hosts that are avoided.
#[derive(Debug)]
pub struct AvoidedNodes {
    time: Duration,
    failures: BTreeMap<String, u32>,
    /// Since when.
    avoided: BTreeMap<String, Instant>,
    /// What YARN was told.
    told: BTreeSet<String>,
}

impl AvoidedNodes {
    /// None yet; each for so long.
    pub fn new(time: Duration) -> Self {
        Self { time, failures: BTreeMap::new(), avoided: BTreeMap::new(), told: BTreeSet::new() }
    }

    /// A container did not come up there.
    pub fn failed(&mut self, node: &str, now: Instant) {
        let host = host_of(node);
        let failures = self.failures.entry(host.to_owned()).or_default();
        *failures += 1;
        if *failures >= FAILURES {
            self.avoided.entry(host.to_owned()).or_insert(now);
        }
    }

    /// A container came up there.
    pub fn came_up(&mut self, node: &str) {
        self.failures.remove(host_of(node));
    }

    /// Whether nothing is wanted there.
    pub fn contains(&self, node: &str) -> bool {
        self.avoided.contains_key(host_of(node))
    }

    /// Whether nothing is wanted on this host.
    pub fn has_host(&self, host: &str) -> bool {
        self.avoided.contains_key(host)
    }

    /// Whether none is avoided.
    pub fn is_empty(&self) -> bool {
        self.avoided.is_empty()
    }

    /// Forgets those whose time is over, and the oldest of those that are too many in a cluster of so many nodes.
    pub fn on_time(&mut self, now: Instant, nodes: Option<usize>) {
        let over =
            self.avoided.iter().filter(|(_, since)| now.saturating_duration_since(**since) >= self.time);
        let over: Vec<String> = over.map(|(host, _)| host.clone()).collect();
        over.iter().for_each(|host| self.forget(host));
        while nodes.is_some_and(|nodes| self.avoided.len() > most(nodes)) {
            self.forget_oldest();
        }
    }

    /// The one that has been avoided for longest gets another chance.
    pub fn forget_oldest(&mut self) {
        let oldest = self.avoided.iter().min_by_key(|(_, since)| **since).map(|(host, _)| host.clone());
        oldest.iter().for_each(|host| self.forget(host));
    }

    fn forget(&mut self, host: &str) {
        self.avoided.remove(host);
        self.failures.remove(host);
    }

    /// What YARN has not heard yet. What is returned counts as said.
    pub fn changes(&mut self) -> Changes {
        let now: BTreeSet<String> = self.avoided.keys().cloned().collect();
        let changes = Changes {
            avoid: now.difference(&self.told).cloned().collect(),
            forgive: self.told.difference(&now).cloned().collect(),
        };
        self.told = now;
        changes
    }

    /// YARN has forgotten what it was told.
    pub fn resync(&mut self) {
        self.told.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(600);

    fn changes(avoid: &[&str], forgive: &[&str]) -> Changes {
        let owned = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
        Changes { avoid: owned(avoid), forgive: owned(forgive) }
    }

    #[test]
    fn a_host_is_avoided_for_a_while_whichever_of_its_nodes_failed() {
        let (mut nodes, now) = (AvoidedNodes::new(TIME), Instant::now());
        for node in ["bad:1", "bad:2", "good:1", "good:1"] {
            nodes.failed(node, now);
        }
        nodes.came_up("good:1");
        nodes.failed("good:1", now);
        assert_eq!(nodes.changes(), Changes::default());
        nodes.failed("bad:1", now);
        assert!(nodes.contains("bad:3") && !nodes.contains("good:1"));
        assert_eq!(nodes.changes(), changes(&["bad"], &[]));
        assert_eq!(nodes.changes(), Changes::default());
        nodes.resync();
        assert_eq!(nodes.changes(), changes(&["bad"], &[]));
        nodes.on_time(now + TIME, Some(9));
        assert_eq!(nodes.changes(), changes(&[], &["bad"]));
        // It has to fail as often again.
        nodes.failed("bad:1", now + TIME);
        assert!(!nodes.contains("bad:1"));
    }

    #[test]
    fn never_all_nodes_are_avoided() {
        let start = Instant::now();
        for (count, expected) in [(0, 0), (1, 0), (2, 1), (3, 1), (5, 1), (6, 2), (30, 10)] {
            let mut nodes = AvoidedNodes::new(TIME);
            for host in 0..count {
                let now = start + Duration::from_secs(host);
                (0..3).for_each(|_| nodes.failed(&format!("host{host:02}:1"), now));
            }
            nodes.on_time(start, Some(count as usize));
            let avoided = nodes.changes().avoid;
            let newest: Vec<String> =
                (count - expected..count).map(|host| format!("host{host:02}")).collect();
            assert_eq!(avoided, newest, "of {count}");
        }
    }
}
