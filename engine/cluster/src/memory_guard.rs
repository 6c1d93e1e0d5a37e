//! Keeps a worker within its share of the TaskManager's memory: one that outgrows it ends and says what took the memory, before the
//! container's limit would end all workers without a word.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flott_plan::{JobGraph, OperatorKey};

use crate::outbox::Outbox;

/// How often the memory is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// Looks that must find too much, one after the other.
const LOOKS: u32 = 2;

/// Operators that are named.
const NAMED: usize = 3;

/// A worker's share of its TaskManager's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryShare {
    /// The share, in bytes; 0: no limit.
    pub(crate) bytes: u64,
    /// How many of the TaskManager's slots it is for.
    pub(crate) slots: u32,
}

/// The worker has outgrown its share.
#[derive(Debug)]
pub(crate) struct ShareExceeded {
    used: u64,
    share: MemoryShare,
    /// By operator, the largest first.
    consumers: Vec<(String, u64)>,
}

impl fmt::Display for ShareExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        let MemoryShare { bytes, slots } = self.share;
        write!(
            f,
            "it used {} MiB, but its share of the TaskManager's memory is {} MiB ({slots} of its slots). ",
            mib(self.used),
            mib(bytes)
        )?;
        for (operator, held) in &self.consumers {
            write!(f, "Operator '{operator}' holds {} MiB. ", mib(*held))?;
        }
        f.write_str(
            "The rest is what functions hold, and buffers. Raise taskmanager.memory.process.size, or the parallelism on more TaskManagers",
        )
    }
}

/// The resident memory of this process, in bytes; 0 where it cannot be read.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Ends once the process has outgrown its share.
pub(crate) async fn exceeded(share: MemoryShare, graph: &JobGraph, outbox: &Arc<Outbox>) -> ShareExceeded {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut over = 0;
    loop {
        interval.tick().await;
        let used = resident();
        over = if share.bytes > 0 && used > share.bytes { over + 1 } else { 0 };
        if over == LOOKS {
            return ShareExceeded { used, share, consumers: consumers(graph, outbox.memory()) };
        }
    }
}

/// The operators that hold most.
fn consumers(graph: &JobGraph, held: HashMap<OperatorKey, u64>) -> Vec<(String, u64)> {
    let operators = graph.vertices.iter().flat_map(|vertex| &vertex.operators);
    let mut consumers: Vec<(String, u64)> = operators
        .filter_map(|operator| Some((operator.name.clone(), *held.get(&operator.key)?)))
        .filter(|(_, bytes)| bytes >> 20 > 0)
        .collect();
    consumers.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    consumers.truncate(NAMED);
    consumers
}
