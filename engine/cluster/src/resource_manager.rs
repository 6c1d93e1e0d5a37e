//! Who gets a cluster its TaskManagers: nobody in a standalone cluster, which has those that come; YARN's ResourceManager elsewhere.

use std::collections::BTreeSet;

/// How many TaskManagers a cluster wants. It is declared anew whenever it changes, whole, so that a declaration that is lost or comes
/// twice does no harm, and nobody counts requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// How many are wanted besides those that have registered.
    pub missing: u32,
    /// The resource ids of those that have registered.
    pub registered: BTreeSet<String>,
    /// Where those that are missing are best started, the best first: where the input is of jobs that wait for them.
    pub preferred: Vec<PreferredHost>,
}

/// A host that has input of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferredHost {
    /// Its name, as the file system has it.
    pub host: String,
    /// The rack it is in, such as `/default-rack`; empty: not known.
    pub rack: String,
    /// How many bytes of the input it has, or of a sample of it.
    pub bytes: u64,
}

/// What a system that starts TaskManagers has to say of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceEvent {
    /// It is no more.
    Ended {
        /// Which.
        resource_id: String,
        /// Why, in words.
        reason: String,
    },
    /// It is about to be taken away.
    Leaving {
        /// Which.
        resource_id: String,
        /// Why, in words.
        reason: String,
        /// For how long its jobs may wait for slots elsewhere before they leave it.
        within: std::time::Duration,
    },
}

/// Gets TaskManagers from a system that can start some. Nothing here blocks.
pub trait ResourceManagerDriver: Send + Sync {
    /// So many are wanted from now on. What was asked for and is not wanted any more is taken back.
    fn declare(&self, demand: Demand);

    /// The JobManager leads no more: nothing is wanted until it declares something again, and TaskManagers that had registered are
    /// expected to do so again then.
    fn abandon(&self);

    /// A TaskManager has had nothing to do for a while: it may go.
    fn release(&self, resource_id: &str);

    /// Why TaskManagers that are missing have not come yet, for whoever waits for them; none: nothing is known.
    fn obstacle(&self) -> Option<String>;
}
