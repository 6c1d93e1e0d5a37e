use proptest::prelude::*;

use flott_cluster::resource_manager::PreferredHost;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn settings() -> PoolSettings {
    PoolSettings {
        registration: 5 * MINUTE,
        recovery: 30 * SECOND,
        avoided: 10 * MINUTE,
        max_failure_rate: 10.0,
        retry_interval: 3 * SECOND,
    }
}

/// An empty pool, and the time.
fn pool() -> (ContainerPool, Instant) {
    let now = Instant::now();
    (ContainerPool::new(settings(), now), now)
}

fn demand(missing: u32, registered: &[&str]) -> Demand {
    let registered = registered.iter().map(|id| (*id).to_owned()).collect();
    Demand { missing, registered, ..Demand::default() }
}

fn name(number: u32) -> ContainerName {
    format!("container_{number:02}")
}

fn preferred(host: &str, bytes: u64) -> PreferredHost {
    PreferredHost { host: host.to_owned(), rack: "/r".to_owned(), bytes }
}

/// The places of requests.
fn placed(requests: &[(RequestId, &[(&str, u32)])]) -> BTreeMap<RequestId, Places> {
    let places = |places: &[(&str, u32)]| -> Places {
        places.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    requests.iter().map(|(request, named)| (*request, places(named))).collect()
}

#[test]
fn containers_are_wanted_where_the_input_is_for_a_while() {
    let (mut pool, now) = pool();
    let wanted = |missing, registered: &[&str]| Demand {
        preferred: vec![preferred("a", 90), preferred("b", 50)],
        ..demand(missing, registered)
    };
    pool.declare(wanted(2, &[]), now);
    let ask = pool.ask(now);
    assert_eq!((containers(&ask), ask.places), (vec![2], placed(&[(0, &[("/r", 2), ("a", 1), ("b", 1)])])));
    assert!(pool.allocated(name(1), 0, "a:1".into(), now));
    assert_eq!(pool.ask(now), Ask::default());
    // The other host has no room. YARN may have given one that is not known here, so what is missing is asked for when it has answered.
    let later = now + PLACES_PATIENCE;
    assert_eq!(pool.ask(later), Ask { requests: vec![Request { id: 0, containers: 0 }], ..Ask::default() });
    assert_eq!(pool.ask(later), Ask { requests: vec![Request { id: 1, containers: 1 }], ..Ask::default() });
    assert_eq!(pool.ask(later + MINUTE), Ask::default());
    assert!(pool.allocated(name(2), 1, "c:1".into(), later));
    pool.declare(wanted(0, &["container_01", "container_02"]), later);
    assert_eq!(pool.ask(later + MINUTE), Ask::default());
    // What is on `c` is lost: there is one on `a`, so `b` is better, or `a` if need be.
    assert!(!pool.completed(&name(2), "killed", later));
    pool.declare(wanted(1, &["container_01"]), later);
    let again = pool.ask(later);
    let either: &[(&str, u32)] = &[("/r", 1), ("a", 1), ("b", 1)];
    assert_eq!((containers(&again), again.places), (vec![1], placed(&[(2, either)])));
    assert_eq!(pool.resync(later).places, placed(&[(3, either)]));
    // Nothing is wanted any more, and then something that can be anywhere.
    pool.declare(demand(0, &["container_01"]), later);
    let nothing = pool.ask(later);
    assert_eq!((containers(&nothing), nothing.places), (vec![0], BTreeMap::new()));
    pool.declare(demand(1, &["container_01"]), later);
    let one = pool.ask(later);
    assert_eq!((containers(&one), one.places), (vec![1], BTreeMap::new()));
    assert_eq!(pool.ask(later + MINUTE), Ask::default());
}

#[test]
fn nothing_is_wanted_on_hosts_that_are_avoided() {
    let (mut pool, now) = pool();
    pool.cluster_has(4);
    let wanted = Demand { preferred: vec![preferred("bad", 90), preferred("good", 1)], ..demand(1, &[]) };
    pool.declare(wanted, now);
    for number in 0..3 {
        let now = now + MINUTE * number;
        let request = RequestId::from(number);
        assert_eq!(pool.ask(now).places, placed(&[(request, &[("/r", 1), ("bad", 1)])]));
        assert!(pool.allocated(name(number), request, "bad:1".into(), now));
        pool.completed(&name(number), "exit status 127", now);
    }
    assert_eq!(pool.ask(now + 4 * MINUTE).places, placed(&[(3, &[("/r", 1), ("good", 1)])]));
}

const NONE: [u32; 0] = [];

/// For how many containers each of the requests is.
fn containers(ask: &Ask) -> Vec<u32> {
    ask.requests.iter().map(|request| request.containers).collect()
}

#[test]
fn the_settings_are_the_documented_ones() {
    assert_eq!(PoolSettings::of(&Configuration::new()), settings());
}

#[test]
fn what_is_missing_is_asked_for_once() {
    let (mut pool, now) = pool();
    pool.declare(demand(2, &[]), now);
    assert_eq!(containers(&pool.ask(now)), [2]);
    assert_eq!(containers(&pool.ask(now)), NONE);
    assert!(pool.allocated(name(1), 0, "a:1".into(), now));
    // YARN has one left on its list, as many as are missing.
    assert_eq!(containers(&pool.ask(now)), NONE);
    assert!(pool.allocated(name(2), 0, "a:1".into(), now));
    assert!(!pool.allocated(name(3), 0, "b:1".into(), now));
    assert_eq!(pool.ask(now), Ask { release: vec![name(3)], ..Ask::default() });
    pool.declare(demand(1, &["container_01"]), now);
    pool.declare(demand(0, &["container_01", "container_02"]), now);
    assert_eq!(pool.ask(now), Ask::default());
    assert!(!pool.is_waiting());
}

#[test]
fn a_job_that_is_over_takes_its_request_back() {
    let (mut pool, now) = pool();
    pool.declare(demand(5, &[]), now);
    pool.ask(now);
    pool.declare(demand(0, &[]), now);
    assert_eq!(containers(&pool.ask(now)), [0]);
    assert!(!pool.allocated(name(1), 0, "a:1".into(), now));
    assert_eq!(pool.ask(now).release, [name(1)]);
}

#[test]
fn a_host_where_nothing_comes_up_is_avoided_for_a_while() {
    let (mut pool, mut now) = pool();
    pool.cluster_has(4);
    pool.declare(demand(1, &[]), now);
    for number in 0..3 {
        assert_eq!(containers(&pool.ask(now)), [1]);
        assert!(pool.allocated(name(number), number.into(), "bad:1".into(), now));
        assert!(!pool.completed(&name(number), "exit status 127", now));
        // Not at once again.
        assert_eq!(containers(&pool.ask(now)), NONE);
        now += SECOND;
    }
    assert!(!pool.allocated(name(9), 0, "bad:2".into(), now));
    assert_eq!(pool.obstacle().as_deref(), Some("bad:1: a container did not come up: exit status 127"));
    assert_eq!(pool.resync(now).avoid, ["bad"]);
    now += 10 * MINUTE;
    assert_eq!(pool.ask(now).forgive, ["bad"]);
    assert!(pool.allocated(name(10), 0, "bad:2".into(), now));
}

#[test]
fn what_is_avoided_does_not_stop_everything() {
    let (mut pool, mut now) = pool();
    // Two nodes on one host: avoiding it avoids all there is.
    pool.cluster_has(2);
    pool.declare(demand(1, &[]), now);
    for number in 0..3 {
        pool.ask(now);
        assert!(pool.allocated(name(number), number.into(), "only:1".into(), now));
        pool.completed(&name(number), "exit status 1", now);
        now += SECOND;
    }
    assert_eq!(containers(&pool.ask(now)), [1]);
    assert!(pool.avoided.contains("only:1"));
    now += AVOIDING_PATIENCE;
    assert_eq!(pool.ask(now), Ask { forgive: vec!["only".into()], ..Ask::default() });
}

#[test]
fn after_a_restart_of_yarn_everything_is_said_again() {
    let (mut pool, now) = pool();
    pool.recovered(name(1), "a:1".into(), now);
    pool.declare(demand(2, &["container_01"]), now);
    assert_eq!(containers(&pool.ask(now)), [2]);
    assert!(pool.let_go(&name(1)));
    assert_eq!(pool.ask(now).release, [name(1)]);
    let again =
        Ask { requests: vec![Request { id: 1, containers: 2 }], release: vec![name(1)], ..Ask::default() };
    assert_eq!(pool.resync(now), again);
    assert!(pool.completed(&name(1), "released", now));
}

#[test]
fn a_task_manager_that_never_registers_is_replaced() {
    let (mut pool, now) = pool();
    pool.declare(demand(1, &[]), now);
    pool.ask(now);
    assert!(pool.allocated(name(1), 0, "a:1".into(), now));
    let almost = now + 5 * MINUTE - SECOND;
    assert_eq!(pool.ask(almost), Ask::default());
    let late = now + 5 * MINUTE;
    assert_eq!(pool.ask(late).release, [name(1)]);
    assert!(pool.obstacle().unwrap().contains("did not register within 5 min"), "{:?}", pool.obstacle());
    assert_eq!(containers(&pool.ask(late + SECOND)), [1]);
    assert!(pool.completed(&name(1), "given back", late));
}

#[test]
fn one_that_is_lost_is_replaced_when_yarn_says_how_it_ended_or_does_not_in_time() {
    for told in [true, false] {
        let (mut pool, now) = pool();
        pool.declare(demand(1, &[]), now);
        pool.ask(now);
        assert!(pool.allocated(name(1), 0, "a:1".into(), now));
        pool.declare(demand(0, &["container_01"]), now);
        pool.declare(demand(1, &[]), now);
        assert_eq!(pool.ask(now), Ask::default(), "YARN still counts it");
        if told {
            assert!(!pool.completed(&name(1), "killed", now));
            assert_eq!(containers(&pool.ask(now)), [1]);
        } else {
            let late = now + LOST_PATIENCE;
            let both = Ask {
                requests: vec![Request { id: 1, containers: 1 }],
                release: vec![name(1)],
                ..Ask::default()
            };
            assert_eq!(pool.ask(late), both);
        }
    }
}

#[test]
fn one_that_comes_back_is_kept() {
    let (mut pool, now) = pool();
    pool.declare(demand(1, &[]), now);
    pool.ask(now);
    assert!(pool.allocated(name(1), 0, "a:1".into(), now));
    pool.declare(demand(0, &["container_01"]), now);
    pool.declare(demand(1, &[]), now);
    pool.ask(now + SECOND);
    pool.declare(demand(0, &["container_01"]), now + 2 * SECOND);
    assert_eq!(pool.ask(now + MINUTE), Ask::default());
}

#[test]
fn what_yarn_refuses_is_asked_for_again_after_a_pause() {
    let (mut pool, now) = pool();
    pool.declare(Demand { preferred: vec![preferred("a", 9)], ..demand(1, &[]) }, now);
    let refused = pool.ask(now);
    assert_eq!(containers(&refused), [1]);
    pool.refused(&refused.requests, "the queue may not use this label".to_owned(), now);
    assert_eq!(pool.obstacle().as_deref(), Some("the queue may not use this label"));
    assert_eq!(pool.ask(now), Ask::default(), "not at once");
    let again = pool.ask(now + SECOND);
    assert_eq!((containers(&again), again.places), (vec![1], placed(&[(1, &[("/r", 1), ("a", 1)])])));
    pool.refused(&again.requests, "the queue may not use this label".to_owned(), now + SECOND);
    // Nobody wants it any more, and YARN has nothing to take back.
    pool.declare(demand(0, &[]), now + SECOND);
    assert_eq!(pool.ask(now + MINUTE), Ask::default());
    assert!(!pool.is_waiting());
}

#[test]
fn it_is_quiet_until_something_comes_or_is_needed() {
    let (mut pool, now) = pool();
    let after = |minutes| now + MINUTE * minutes;
    pool.declare(demand(2, &[]), after(1));
    pool.ask(after(1));
    // The same again is no news.
    pool.declare(demand(2, &[]), after(2));
    assert_eq!(pool.quiet(after(3)), 2 * MINUTE);
    assert!(pool.allocated(name(1), 0, "a:1".into(), after(4)));
    assert_eq!(pool.quiet(after(5)), MINUTE);
    pool.declare(demand(3, &[]), after(6));
    assert_eq!(pool.quiet(after(6)), Duration::ZERO);
}

#[test]
fn those_of_an_earlier_leader_have_time_from_when_there_is_a_next_one() {
    let (mut pool, now) = pool();
    pool.recovered(name(1), "a:1".into(), now);
    pool.recovered(name(2), "a:1".into(), now);
    assert_eq!(pool.ask(now + 60 * MINUTE), Ask::default(), "nobody leads");
    let led = now + 60 * MINUTE;
    pool.declare(demand(2, &[]), led);
    assert_eq!(pool.ask(led + 29 * SECOND), Ask::default());
    pool.declare(demand(1, &["container_01"]), led + 29 * SECOND);
    let both =
        Ask { requests: vec![Request { id: 0, containers: 1 }], release: vec![name(2)], ..Ask::default() };
    assert_eq!(pool.ask(led + 30 * SECOND), both);
    // Its leadership is lost, and found again.
    pool.abandon();
    assert_eq!(containers(&pool.ask(led + MINUTE)), [0]);
    pool.declare(demand(1, &[]), led + 10 * MINUTE);
    assert_eq!(pool.ask(led + 10 * MINUTE), Ask::default());
    pool.declare(demand(0, &["container_01"]), led + 10 * MINUTE + SECOND);
    assert_eq!(pool.ask(led + 20 * MINUTE), Ask::default());
}

#[test]
fn what_yarn_takes_away_is_left_or_given_back() {
    let (mut pool, now) = pool();
    pool.declare(demand(2, &[]), now);
    pool.ask(now);
    assert!(pool.allocated(name(1), 0, "a:1".into(), now) && pool.allocated(name(2), 0, "b:1".into(), now));
    pool.declare(demand(1, &["container_01"]), now);
    assert_eq!(
        [1, 2, 3].map(|number| pool.leave(&name(number))),
        [Leave::InUse, Leave::GivenBack, Leave::Gone]
    );
    // Every notice comes again and again.
    assert_eq!([1, 2].map(|number| pool.leave(&name(number))), [Leave::InUse, Leave::Gone]);
    let both =
        Ask { requests: vec![Request { id: 1, containers: 1 }], release: vec![name(2)], ..Ask::default() };
    assert_eq!(pool.ask(now), both);
}

/// What may happen between two heartbeats.
#[derive(Debug, Clone)]
enum Step {
    Heartbeat,
    /// YARN gives a container, and says so when it is asked next.
    Allocate,
    Register,
    /// A container ends, and YARN says so.
    Lose(u8),
    /// A TaskManager is gone for the JobManager only: YARN may say later that its container has ended, or never.
    Disconnect(u8),
    /// One of those comes back.
    Reconnect(u8),
    /// YARN says of one of those that it has ended.
    Tell(u8),
    Need(u32),
    /// Other hosts are preferred.
    Prefer(Vec<u8>),
    NotLaunched,
    /// YARN refuses the next request.
    Refuse,
    /// YARN is restarted. What it had given and not said is lost.
    Restart,
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Heartbeat),
        3 => Just(Step::Allocate),
        3 => Just(Step::Register),
        1 => any::<u8>().prop_map(Step::Lose),
        1 => any::<u8>().prop_map(Step::Disconnect),
        1 => any::<u8>().prop_map(Step::Reconnect),
        1 => any::<u8>().prop_map(Step::Tell),
        1 => (0_u32..6).prop_map(Step::Need),
        1 => proptest::collection::vec(0_u8..4, 0..4).prop_map(Step::Prefer),
        1 => Just(Step::NotLaunched),
        1 => Just(Step::Refuse),
        1 => Just(Step::Restart),
        2 => (0_u16..400).prop_map(Step::Pass),
    ]
}

/// A model of YARN and of a JobManager that needs a number of TaskManagers.
struct Model {
    pool: ContainerPool,
    now: Instant,
    needed: u32,
    /// What YARN counts: allocated, and neither ended nor released.
    held: BTreeSet<String>,
    starting: BTreeSet<String>,
    registered: BTreeSet<String>,
    disconnected: BTreeSet<String>,
    yarn_list: BTreeMap<RequestId, u32>,
    /// What YARN has given and not said yet.
    untold: Vec<(String, RequestId)>,
    preferred: Vec<PreferredHost>,
    next: u32,
    refuses: bool,
}

fn nth(set: &BTreeSet<String>, which: u8) -> Option<String> {
    set.iter().nth(usize::from(which) % set.len().max(1)).cloned()
}

impl Model {
    fn declare(&mut self) {
        let missing = self.needed.saturating_sub(self.registered.len() as u32);
        let (registered, preferred) = (self.registered.clone(), self.preferred.clone());
        self.pool.declare(Demand { missing, registered, preferred }, self.now);
    }

    fn gone(&mut self, id: &str) {
        for set in [&mut self.held, &mut self.starting, &mut self.registered, &mut self.disconnected] {
            set.remove(id);
        }
    }

    fn said(&mut self, mut ask: Ask) {
        let now = self.now;
        let asks = ask.requests.iter().any(|request| request.containers > 0);
        if asks && std::mem::take(&mut self.refuses) {
            self.pool.refused(&ask.requests, "no".to_owned(), now);
            (ask.requests, ask.places) = (Vec::new(), BTreeMap::new());
        }
        self.yarn_list.extend(ask.requests.iter().map(|request| (request.id, request.containers)));
        for (request, places) in ask.places {
            let all = self.yarn_list.get(&request).copied();
            assert!(places.values().all(|count| Some(*count) <= all), "{places:?} of {all:?}");
        }
        for id in ask.release {
            assert!(!self.registered.contains(&id), "{id} is in use");
            self.gone(&id);
            self.pool.completed(&id, "released", now);
        }
        for (id, request) in std::mem::take(&mut self.untold) {
            // Nodes are many here: avoiding them is another test's.
            if self.pool.allocated(id.clone(), request, format!("{id}:1"), now) {
                self.starting.insert(id);
            }
        }
    }

    fn take(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Heartbeat => {
                let ask = self.pool.ask(now);
                self.said(ask);
            }
            Step::Refuse => self.refuses = true,
            Step::Restart => {
                self.yarn_list.clear();
                for (id, _) in std::mem::take(&mut self.untold) {
                    self.gone(&id);
                }
                let ask = self.pool.resync(now);
                self.said(ask);
            }
            Step::Allocate => {
                if let Some((request, left)) = self.yarn_list.iter_mut().find(|(_, left)| **left > 0) {
                    *left -= 1;
                    self.next += 1;
                    let id = name(self.next);
                    self.held.insert(id.clone());
                    self.untold.push((id, *request));
                }
            }
            Step::Register => {
                if let Some(id) = self.starting.pop_first() {
                    self.registered.insert(id);
                    self.declare();
                }
            }
            Step::Lose(which) => {
                if let Some(id) = nth(&self.registered, which) {
                    self.gone(&id);
                    self.pool.completed(&id, "killed", now);
                    self.declare();
                }
            }
            Step::Disconnect(which) => {
                if let Some(id) = nth(&self.registered, which) {
                    self.registered.remove(&id);
                    self.disconnected.insert(id);
                    self.declare();
                }
            }
            Step::Reconnect(which) => {
                if let Some(id) = nth(&self.disconnected, which) {
                    self.disconnected.remove(&id);
                    self.registered.insert(id);
                    self.declare();
                }
            }
            Step::Tell(which) => {
                if let Some(id) = nth(&self.disconnected, which) {
                    self.gone(&id);
                    self.pool.completed(&id, "killed", now);
                }
            }
            Step::Need(other) => {
                self.needed = other.max(self.held.len() as u32);
                self.declare();
            }
            Step::Prefer(hosts) => {
                let host = |number: u8| preferred(&format!("best{number}"), u64::from(number) + 1);
                self.preferred = hosts.into_iter().map(host).collect();
                self.declare();
            }
            Step::NotLaunched => {
                if let Some(id) = self.starting.pop_first() {
                    self.pool.not_launched(&id, "no", now);
                }
            }
            Step::Pass(seconds) => self.now += Duration::from_secs(u64::from(seconds)),
        }
    }
}

proptest! {
    /// Whatever registers, is lost, comes back, is silent for ever, and however much later YARN says what it has given: it never has more containers and requests than are needed, and in
    /// the end there are as many TaskManagers.
    #[test]
    fn there_are_never_more_containers_than_needed(steps in proptest::collection::vec(step(), 0..120)) {
        let (pool, now) = pool();
        let (needed, yarn_list, untold, preferred, next, refuses) = (3, BTreeMap::new(), Vec::new(), Vec::new(), 0, false);
        // What is given while less is needed by and by goes back with the next heartbeat.
        let mut most = needed;
        let [held, starting, registered, disconnected] = std::array::from_fn(|_| BTreeSet::new());
        let mut model = Model { pool, now, needed, held, starting, registered, disconnected, yarn_list, untold, preferred, next, refuses };
        model.declare();
        let settle = [&[Step::Pass(301), Step::Heartbeat][..], &[const { Step::Allocate }; 6], &[Step::Heartbeat], &[const { Step::Register }; 6]].concat();
        for step in steps.into_iter().chain(std::iter::repeat_n(settle, 5).flatten()) {
            let is_heartbeat = matches!(step, Step::Heartbeat | Step::Restart);
            model.take(step);
            most = most.max(model.needed);
            if is_heartbeat {
                let counted = model.yarn_list.values().sum::<u32>() as usize + model.held.len();
                prop_assert!(counted <= most as usize, "{counted} of {most}");
                most = model.needed;
            }
        }
        prop_assert_eq!(model.registered.len(), model.needed as usize);
    }
}
