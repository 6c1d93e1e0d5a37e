//! What YARN has on its list. YARN counts a request down by itself, and may have done so when it hears of another number: a number that was right
//! when it was sent would then ask for more than is missing. So a request is never changed. More containers are another request, by an
//! id of its own; fewer are requests that are taken back whole, and what is still missing then is asked for when YARN has answered.

use std::collections::{BTreeMap, BTreeSet};

/// By what YARN tells requests of one priority apart (`allocation_request_id`).
pub type RequestId = i64;

/// A request for containers, as it is said to YARN; none: it is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Which.
    pub id: RequestId,
    /// For how many.
    pub containers: u32,
}

/// The requests of an application.
#[derive(Debug, Default)]
pub(super) struct Requests {
    next: RequestId,
    /// How many containers are still to come of each.
    open: BTreeMap<RequestId, u32>,
}

impl Requests {
    /// How many containers YARN still has on its list.
    pub(super) fn open(&self) -> u32 {
        self.open.values().sum()
    }

    /// Has so many on the list, or at first no more than so many. What is returned has to be said.
    pub(super) fn set(&mut self, wanted: u32) -> Vec<Request> {
        let mut taken_back = Vec::new();
        while self.open() > wanted
            && let Some((id, _)) = self.open.pop_last()
        {
            taken_back.push(Request { id, containers: 0 });
        }
        match wanted - self.open() {
            missing if missing > 0 && taken_back.is_empty() => vec![self.add(missing)],
            _ => taken_back,
        }
    }

    fn add(&mut self, containers: u32) -> Request {
        let id = self.next;
        self.next += 1;
        self.open.insert(id, containers);
        Request { id, containers }
    }

    /// YARN has given one.
    pub(super) fn given(&mut self, id: RequestId) {
        if let Some(open) = self.open.get_mut(&id) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.open.remove(&id);
            }
        }
    }

    /// Takes those of `ids` back that are open. What is returned has to be said.
    pub(super) fn take_back(&mut self, ids: &BTreeSet<RequestId>) -> Vec<Request> {
        let taken_back = ids.iter().filter(|id| self.open.remove(*id).is_some());
        taken_back.map(|id| Request { id: *id, containers: 0 }).collect()
    }

    /// YARN has forgotten them.
    pub(super) fn forgotten(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_another_request_and_fewer_are_taken_back_before_others_are_made() {
        let mut requests = Requests::default();
        assert_eq!(requests.set(2), [Request { id: 0, containers: 2 }]);
        assert_eq!(requests.set(5), [Request { id: 1, containers: 3 }]);
        requests.given(1);
        assert_eq!((requests.open(), requests.set(4)), (4, vec![]));
        // Of the three, YARN may have given more than is known here.
        assert_eq!(requests.set(3), [Request { id: 1, containers: 0 }]);
        requests.given(1);
        assert_eq!(requests.set(3), [Request { id: 2, containers: 1 }]);
        assert_eq!(requests.set(0), [2, 0].map(|id| Request { id, containers: 0 }));
        requests.forgotten();
        assert_eq!(requests.set(1), [Request { id: 3, containers: 1 }]);
    }
}
