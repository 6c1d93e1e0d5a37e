//! Where the bytes of a file lie, and whether that is where somebody runs.
//!
//! One machine has many names: short or with its domain, an address or several, `localhost`. Two that may be the same are taken for the
//! same: who is wrong about it reads over the network, which is what would have happened anyway.
//!
//! ```
//! use flott_fs::{BlockHost, KnownHost};
//!
//! let holder = BlockHost {
//!     name: "node7.example.org".to_owned(),
//!     address: "10.0.0.7".parse().ok(),
//!     rack: "/default-rack".to_owned(),
//! };
//! assert!(KnownHost::named("node7").is(&holder));
//! assert!(KnownHost::named("10.0.0.7").is(&holder));
//! assert!(!KnownHost::named("node7.example.com").is(&holder));
//! ```

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

/// A host that has bytes of a file, as its file system calls it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHost {
    /// Its name, or its address in words.
    pub name: String,
    /// The address at which it serves.
    pub address: Option<IpAddr>,
    /// The rack it is in, such as `/default-rack`; empty: not known.
    pub rack: String,
}

/// Bytes of a file that lie together, and all hosts that have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockLocation {
    /// Where they begin in the file.
    pub offset: u64,
    /// How many they are.
    pub length: u64,
    /// Who has them.
    pub hosts: Vec<BlockHost>,
}

/// The hosts that have bytes of a range of a file, with how many, those with most first.
pub fn hosts_of_range(blocks: &[BlockLocation], offset: u64, length: u64) -> Vec<(&BlockHost, u64)> {
    let end = offset.saturating_add(length);
    let mut bytes: BTreeMap<&BlockHost, u64> = BTreeMap::new();
    for block in blocks {
        let held =
            block.offset.saturating_add(block.length).min(end).saturating_sub(block.offset.max(offset));
        for host in block.hosts.iter().filter(|_| held > 0) {
            let sum = bytes.entry(host).or_default();
            *sum = sum.saturating_add(held);
        }
    }
    let mut hosts: Vec<_> = bytes.into_iter().collect();
    hosts.sort_by_key(|(_, held)| Reverse(*held));
    hosts
}

/// A host where something runs, by its name and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHost {
    name: String,
    addresses: Vec<IpAddr>,
}

impl KnownHost {
    /// The host of this name or address. Nobody is asked.
    pub fn named(name: &str) -> Self {
        let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let addresses = name.parse().into_iter().collect();
        Self { name, addresses }
    }

    /// The host of this name, with the addresses that the system finds for it. Blocks while it looks; that it finds none is no error.
    pub fn resolved(name: &str) -> Self {
        let mut host = Self::named(name);
        if host.addresses.is_empty() {
            let found = (host.name.as_str(), 0).to_socket_addrs().into_iter().flatten();
            host.addresses.extend(found.map(|address| address.ip()));
            host.addresses.sort_unstable();
            host.addresses.dedup();
        }
        host
    }

    /// Whether it is, as far as can be told, the host that has the bytes.
    pub fn is(&self, holder: &BlockHost) -> bool {
        // Who is called by an address means that one, wherever it was seen to come from.
        let address = holder.name.parse().ok().or(holder.address);
        address.is_some_and(|address| self.addresses.contains(&address)) || self.has_name(&holder.name)
    }

    fn has_name(&self, name: &str) -> bool {
        let is_address = |name: &str| name.parse::<IpAddr>().is_ok();
        if self.name.eq_ignore_ascii_case(name) {
            return true;
        }
        // Short, or with its domain.
        match (self.name.split_once('.'), name.split_once('.')) {
            (Some((short, _)), None) => short.eq_ignore_ascii_case(name) && !is_address(&self.name),
            (None, Some((short, _))) => self.name.eq_ignore_ascii_case(short) && !is_address(name),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(name: &str, address: &str) -> BlockHost {
        BlockHost { name: name.to_owned(), address: address.parse().ok(), rack: String::new() }
    }

    #[test]
    fn a_host_is_known_by_any_of_its_names() {
        let node = holder("Node1.example.org", "10.0.0.1");
        for name in ["node1", "NODE1.example.ORG", "10.0.0.1"] {
            assert!(KnownHost::named(name).is(&node), "{name}");
        }
        for name in ["node", "node1.example", "node1.example.org.", "10.0.0.11", "example.org", "10", ""] {
            assert!(!KnownHost::named(name).is(&node), "{name}");
        }
        assert!(KnownHost::named("node1.example.org").is(&holder("node1", "")));
        assert!(
            !KnownHost::named("10").is(&holder("10.0.0.1", ""))
                && !KnownHost::named("10.0.0.1").is(&holder("10", ""))
        );
        assert!(KnownHost::named("[::1]").is(&holder("six", "::1")));
        assert!(KnownHost::resolved("localhost").is(&holder("some-name", "127.0.0.1")));
        assert!(!KnownHost::resolved("localhost").is(&holder("127.0.0.2", "127.0.0.1")));
        assert_eq!(KnownHost::resolved("").addresses, KnownHost::named("").addresses);
    }

    #[test]
    fn who_has_most_of_a_range_comes_first() {
        let block = |offset, length, hosts: &[&str]| {
            let hosts = hosts.iter().map(|name| holder(name, "")).collect();
            BlockLocation { offset, length, hosts }
        };
        let blocks = [block(0, 10, &["a", "b"]), block(10, 10, &["b", "c"]), block(20, u64::MAX, &["d"])];
        let of = |offset, length| -> Vec<(String, u64)> {
            let hosts = hosts_of_range(&blocks, offset, length).into_iter();
            hosts.map(|(host, bytes)| (host.name.clone(), bytes)).collect()
        };
        assert_eq!(of(4, 10), [("b".to_owned(), 10), ("a".to_owned(), 6), ("c".to_owned(), 4)]);
        assert_eq!(of(25, 5), [("d".to_owned(), 5)]);
        assert_eq!(of(3, 0), []);
        assert_eq!(of(15, u64::MAX).len(), 3);
    }
}
