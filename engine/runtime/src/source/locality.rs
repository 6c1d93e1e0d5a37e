//! Which split a reader gets: one that lies where it runs, as long as there is one; then one that lies near no reader, which would have been
//! read from afar anyway; then one from where most are left, whose readers will be the last to run out of their own.
//!
//! Invariant: every split is given once, and whoever asks gets one as long as one is left.

use std::collections::{BTreeMap, BTreeSet};

/// How near the split was that a reader got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locality {
    /// The reader's host has it.
    Local,
    /// Other hosts have it.
    Remote,
    /// Nobody has said who has it.
    Unknown,
}

/// Deals out splits. Hosts are numbered: only those where readers run count.
#[derive(Debug)]
pub(super) struct LocalityAssigner<S> {
    left: BTreeMap<usize, Left<S>>,
    /// By host: the splits that it has.
    on_host: Vec<BTreeSet<usize>>,
    /// The splits that no reader's host has.
    elsewhere: BTreeSet<usize>,
    /// Those of which nothing is known.
    unlocated: BTreeSet<usize>,
}

#[derive(Debug)]
struct Left<S> {
    split: S,
    hosts: Vec<usize>,
}

impl<S> LocalityAssigner<S> {
    /// All of `splits`, in their order, for readers on so many hosts.
    pub(super) fn new(splits: impl IntoIterator<Item = S>, hosts: usize) -> Self {
        let numbered = splits.into_iter().enumerate();
        let left: BTreeMap<_, _> =
            numbered.map(|(number, split)| (number, Left { split, hosts: Vec::new() })).collect();
        let unlocated = left.keys().copied().collect();
        Self { left, on_host: vec![BTreeSet::new(); hosts], elsewhere: BTreeSet::new(), unlocated }
    }

    /// Which of the readers' hosts have a split, if it is still there; it may be none of them.
    pub(super) fn locate(&mut self, number: usize, hosts: Vec<usize>) {
        let Some(left) = self.left.get_mut(&number).filter(|_| self.unlocated.remove(&number)) else {
            return;
        };
        left.hosts = hosts;
        left.hosts.retain(|host| *host < self.on_host.len());
        if left.hosts.is_empty() {
            self.elsewhere.insert(number);
        }
        for host in &left.hosts {
            self.on_host[*host].insert(number);
        }
    }

    /// A split for a reader on this host; one that the host has, or else none, if it is to be `local`.
    pub(super) fn next(&mut self, host: Option<usize>, local: bool) -> Option<(S, Locality)> {
        let here = host.and_then(|host| self.on_host.get(host)?.first().copied());
        let (number, locality) = match here {
            Some(number) => (number, Locality::Local),
            None if local => return None,
            None => self.remote()?,
        };
        self.take(number).map(|split| (split, locality))
    }

    fn remote(&self) -> Option<(usize, Locality)> {
        let most = || self.on_host.iter().max_by_key(|splits| splits.len())?.first();
        let of = |numbers: &BTreeSet<usize>, locality| Some((*numbers.first()?, locality));
        of(&self.elsewhere, Locality::Remote)
            .or_else(|| of(&self.unlocated, Locality::Unknown))
            .or_else(|| Some((*most()?, Locality::Remote)))
    }

    fn take(&mut self, number: usize) -> Option<S> {
        let Left { split, hosts } = self.left.remove(&number)?;
        self.elsewhere.remove(&number);
        self.unlocated.remove(&number);
        for host in hosts {
            self.on_host[host].remove(&number);
        }
        Some(split)
    }

    /// Those that are left, in their order.
    pub(super) fn left(&self) -> impl Iterator<Item = &S> {
        self.left.values().map(|left| &left.split)
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_lies_near_nobody_comes_before_what_lies_near_others_and_of_that_where_most_is() {
        let mut assigner = LocalityAssigner::new(["a", "b", "c", "d", "e", "f"], 2);
        for (number, hosts) in [(0, vec![0]), (1, vec![1]), (2, vec![1, 7]), (3, vec![]), (5, vec![0, 1])] {
            assigner.locate(number, hosts);
        }
        assert_eq!(assigner.next(Some(0), true), Some(("a", Locality::Local)));
        assert_eq!((assigner.next(None, true), assigner.next(Some(9), true)), (None, None));
        assert_eq!(assigner.next(None, false), Some(("d", Locality::Remote)));
        assert_eq!(assigner.next(Some(9), false), Some(("e", Locality::Unknown)));
        assert_eq!(assigner.next(None, false), Some(("b", Locality::Remote)));
        assert_eq!(assigner.left().copied().collect::<Vec<_>>(), ["c", "f"]);
        assert_eq!(assigner.next(Some(0), false), Some(("f", Locality::Local)));
        // It comes too late to be told where it is.
        assigner.locate(0, vec![0]);
        assert_eq!(assigner.next(Some(0), true), None);
        assert_eq!(assigner.next(Some(0), false), Some(("c", Locality::Remote)));
        assert!(assigner.is_empty() && assigner.next(Some(1), false).is_none());
    }

    proptest! {
        #[test]
        fn each_split_is_given_once_to_whoever_asks_and_to_its_own_host_first(
            splits in prop::collection::vec((prop::collection::vec(0_usize..6, 0..4), any::<bool>()), 0..60),
            readers in prop::collection::vec(prop::option::of(0_usize..6), 1..8),
            asks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 200),
        ) {
            let hosts = 4;
            let mut assigner = LocalityAssigner::new(0..splits.len(), hosts);
            let mut located = vec![false; splits.len()];
            for (number, (at, known)) in splits.iter().enumerate() {
                if *known {
                    assigner.locate(number, at.clone());
                    located[number] = true;
                }
            }
            let mut given = BTreeSet::new();
            for (reader, late) in asks {
                // Hosts become known while splits are given.
                if !splits.is_empty() {
                    let late = late.index(splits.len());
                    assigner.locate(late, splits[late].0.clone());
                    located[late] = true;
                }
                let host = *reader.get(&readers);
                let here = |number: &usize| located[*number] && host.is_some_and(|host| host < hosts && splits[*number].0.contains(&host));
                let local_left = (0..splits.len()).filter(|number| !given.contains(number)).any(|number| here(&number));
                let local = assigner.next(host, true);
                prop_assert_eq!(local.is_some(), local_left);
                let given_now = local.or_else(|| assigner.next(host, false));
                prop_assert_eq!(given_now.is_none(), given.len() == splits.len());
                if let Some((split, locality)) = given_now {
                    let expected = match (here(&split), located[split]) {
                        (true, _) => Locality::Local,
                        (false, true) => Locality::Remote,
                        (false, false) => Locality::Unknown,
                    };
                    prop_assert_eq!(locality, expected);
                    prop_assert!(given.insert(split));
                }
                let left: Vec<usize> = assigner.left().copied().collect();
                let expected: Vec<usize> = (0..splits.len()).filter(|number| !given.contains(number)).collect();
                prop_assert_eq!(left, expected);
            }
        }
    }
}
