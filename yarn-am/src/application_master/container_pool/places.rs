//! Where containers are wanted: numbers for hosts and racks beside the total, as YARN takes them.
//!
//! YARN allocates no more than the total, whatever the other numbers are, and on a host only while its number, its rack's and the total are
//! above 0. So the numbers of places never make it give more; they make it wait a little for what is near. A request by which nothing comes
//! is taken back for one without places, by which it does not wait.

use std::collections::BTreeMap;

use flott_cluster::resource_manager::PreferredHost;

/// The name under which YARN takes the total.
const ANYWHERE: &str = "*";

/// The rack of a host of which none is known, as YARN calls it.
const DEFAULT_RACK: &str = "/default-rack";

/// How many containers are wanted on each host and in each rack.
pub type Places = BTreeMap<String, u32>;

/// Where `wanted` containers are best placed, by what each host has to be read, on which `held` are there already.
///
/// The next container always goes where most bytes come on one. Hosts that would have been almost as good may be taken in their place.
pub(super) fn places(wanted: u32, preferred: &[PreferredHost], held: impl Fn(&str) -> u32) -> Places {
    let is_host = |host: &&PreferredHost| {
        let name = host.host.as_str();
        !name.is_empty() && name != ANYWHERE && !name.starts_with('/') && host.bytes > 0
    };
    let hosts: Vec<&PreferredHost> = preferred.iter().filter(is_host).collect();
    let held: Vec<u32> = hosts.iter().map(|host| held(&host.host)).collect();
    let mut counts = vec![0_u32; hosts.len()];
    // What comes on one more container there.
    let share = |index: usize, count: u32| hosts[index].bytes / u64::from(held[index] + count + 1);
    let mut least = u64::MAX;
    for _ in 0..wanted {
        // Of equals the first, which has most.
        let Some(best) = (0..hosts.len()).rev().max_by_key(|index| share(*index, counts[*index])) else {
            break;
        };
        least = least.min(share(best, counts[best]));
        counts[best] += 1;
    }
    let mut places = Places::new();
    for (index, host) in hosts.iter().enumerate() {
        let is_as_good = wanted > 0 && share(index, 0) >= least.div_ceil(2);
        let count = if is_as_good { counts[index].max(1) } else { counts[index] };
        if count == 0 {
            continue;
        }
        *places.entry(host.host.clone()).or_default() += count;
        let rack = if host.rack.starts_with('/') { host.rack.as_str() } else { DEFAULT_RACK };
        let in_rack = places.entry(rack.to_owned()).or_default();
        *in_rack = in_rack.saturating_add(count).min(wanted);
    }
    places.values_mut().for_each(|count| *count = (*count).min(wanted));
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(name: &str, rack: &str, bytes: u64) -> PreferredHost {
        PreferredHost { host: name.to_owned(), rack: rack.to_owned(), bytes }
    }

    fn of(places: &Places) -> Vec<(&str, u32)> {
        places.iter().map(|(name, count)| (name.as_str(), *count)).collect()
    }

    #[test]
    fn containers_go_where_most_is_to_be_read() {
        let hosts = [host("a", "/r1", 100), host("b", "/r1", 40), host("c", "", 10)];
        let nothing = |_: &str| 0;
        assert_eq!(of(&places(1, &hosts, nothing)), [("/r1", 1), ("a", 1)]);
        assert_eq!(of(&places(4, &hosts, nothing)), [("/r1", 4), ("a", 3), ("b", 1)]);
        // Two on `a` are there, so one more is better off elsewhere.
        assert_eq!(
            of(&places(1, &hosts, |name| if name == "a" { 2 } else { 0 })),
            [("/r1", 1), ("a", 1), ("b", 1)]
        );
        let copies = [host("a", "/r1", 9), host("b", "/r2", 9), host("c", "/r2", 9)];
        let all = [("/r1", 1), ("/r2", 1), ("a", 1), ("b", 1), ("c", 1)];
        assert_eq!(of(&places(1, &copies, nothing)), all);
        assert!(places(0, &hosts, nothing).is_empty() && places(3, &[], nothing).is_empty());
        let odd = [
            host("*", "/r", 9),
            host("/rack", "/r", 9),
            host("", "/r", 9),
            host("none", "/r", 0),
            host("c", "no", 1),
        ];
        assert_eq!(of(&places(2, &odd, nothing)), [("/default-rack", 2), ("c", 2)]);
    }

    proptest! {
        #[test]
        fn no_number_is_above_the_total_and_what_is_wanted_on_hosts_is_wanted_in_their_racks(
            wanted in 0_u32..20,
            hosts in prop::collection::vec((0_u8..8, 0_u8..3, any::<u64>(), 0_u32..4), 0..10),
        ) {
            let all: Vec<_> = hosts.iter().map(|(name, rack, bytes, _)| host(&format!("h{name}"), &format!("/r{rack}"), *bytes)).collect();
            let held = |name: &str| hosts.iter().find(|host| format!("h{}", host.0) == name).map_or(0, |host| host.3);
            let places = places(wanted, &all, held);
            prop_assert!(places.values().all(|count| (1..=wanted).contains(count)));
            let is_any = all.iter().any(|host| host.bytes > 0);
            let on_hosts: u32 = places.iter().filter(|(name, _)| !name.starts_with('/')).map(|(_, count)| *count).sum();
            let in_racks: u32 = places.iter().filter(|(name, _)| name.starts_with('/')).map(|(_, count)| *count).sum();
            prop_assert!(!is_any || (on_hosts >= wanted && in_racks >= wanted));
            for (name, count) in places.iter().filter(|(name, _)| !name.starts_with('/')) {
                let racks = all.iter().filter(|host| host.host == *name && host.bytes > 0);
                let total: u32 = racks.filter_map(|host| places.get(&host.rack)).sum();
                prop_assert!(total >= *count);
            }
        }
    }
}
