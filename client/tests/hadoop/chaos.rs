//! Kills at random of workers, TaskManagers, the ApplicationMaster and ZooKeeper, under one stream: nothing of it is seen in what it writes.
//!
//! ```sh
//! scripts/chaos 600 42      # seconds, seed
//! ```
//!
//! `FLOTT_CHAOS_SECONDS`, `FLOTT_CHAOS_SEED` and `FLOTT_CHAOS_KILLS` say the same to the test. A seed gives the same kills at the same moments;
//! only the ApplicationMaster is spared until what was killed before it has been replaced.

use std::time::{Duration, Instant};

use crate::containers::kill;
use crate::stream::{Processes, Stream, now, pass};
use crate::support::{breakable, until};

/// Unless told otherwise: what every run of the tests can afford.
const SECONDS: u64 = 30;

/// A new one for each run would make failures that nobody can explain later; `scripts/chaos` draws it.
const SEED: u64 = 7;

/// One kill in so many seconds.
const PACE: u64 = 20;
/// But not fewer than one of each kind.
const FEWEST: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Worker,
    TaskManager,
    ApplicationMaster,
    ZooKeeper,
}

/// A victim, which one if there are several, and when, in milliseconds since the beginning.
#[derive(Debug, PartialEq, Eq)]
struct Kill {
    at: u64,
    victim: Victim,
    which: usize,
}

/// The kills that follow from a seed: one at a random moment of each part of the time; all kinds are among the first four.
fn schedule(seconds: u64, kills: u64, seed: u64) -> Vec<Kill> {
    let mut state = seed;
    let mut random = || {
        // Weyl's sequence, mixed.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut deck = Vec::new();
    let part = seconds * 1000 / kills;
    let kill = |number| {
        if deck.is_empty() {
            deck = vec![Victim::Worker, Victim::TaskManager, Victim::ApplicationMaster, Victim::ZooKeeper];
        }
        let at = number * part + random() % part;
        // The first four are a shuffled deck, later ones are drawn freely.
        let card = (random() % deck.len() as u64) as usize;
        let victim = if number < FEWEST { deck.swap_remove(card) } else { deck[card] };
        Kill { at, victim, which: random() as usize }
    };
    (0..kills).map(kill).collect()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

fn do_it(stream: &Stream, Kill { victim, which, .. }: &Kill) -> u32 {
    let one_of = |of: fn(Processes) -> Vec<u32>| {
        let pids = until(&format!("there is a {victim:?}"), || {
            Some(of(stream.processes())).filter(|pids| !pids.is_empty())
        });
        let pid = pids[which % pids.len()];
        kill(pid);
        pid
    };
    match victim {
        Victim::Worker => one_of(|processes| processes.workers),
        Victim::TaskManager => one_of(|processes| processes.task_managers),
        Victim::ApplicationMaster => one_of(|processes| processes.masters),
        Victim::ZooKeeper => {
            stream.cluster.script_well(&["kill", "zookeeper"]);
            stream.cluster.script_well(&["start", "zookeeper"]);
            0
        }
    }
}

#[test]
fn random_kills_leave_no_trace_in_the_output() {
    let seconds = number("FLOTT_CHAOS_SECONDS").unwrap_or(SECONDS);
    let seed = number("FLOTT_CHAOS_SEED").unwrap_or(SEED);
    let kills = number("FLOTT_CHAOS_KILLS").unwrap_or((seconds / PACE).max(FEWEST));
    eprintln!(
        "chaos of {kills} kills in {seconds} s: scripts/chaos {seconds} {seed} {kills} does the same again"
    );
    let cluster = breakable();
    // Many failures shall not make the last ones wait for long.
    let settings = ["yarn.application-attempts=1000", "restart-strategy.exponential-delay.max-backoff=2 s"];
    let stream = Stream::start(cluster, "chaos", seconds + 120, &["-ys", "1"], &settings);
    let begin = Instant::now();
    let kills = schedule(seconds, kills, seed);
    let mut last = now();
    for kill in &kills {
        pass(Duration::from_millis(kill.at).saturating_sub(begin.elapsed()));
        if kill.victim == Victim::ApplicationMaster {
            // One that dies in the middle of a restart leaves the next one another restart.
            stream.until_checkpoint(last);
        }
        let pid = do_it(&stream, kill);
        last = now();
        eprintln!("{last} after {:.1} s: {:?} {pid} is killed", begin.elapsed().as_secs_f64(), kill.victim);
    }
    pass(Duration::from_secs(seconds).saturating_sub(begin.elapsed()));
    // It still runs, and gets on.
    stream.until_checkpoint(now());
    let containers = stream.containers();
    let lasted = begin.elapsed();
    let report = stream.end();
    let job = &report["jobs"][0];
    eprintln!(
        "{lasted:?}: {} restarts, {} checkpoints, {containers} containers, {} records",
        job["restarts"], job["completed_checkpoints"], job["records_read"]
    );
    // Only what was lost restarted, and only what was lost was asked for again.
    let killed = |of: &[Victim]| kills.iter().filter(|kill| of.contains(&kill.victim)).count();
    let restarts = job["restarts"].as_u64().unwrap() as usize;
    assert!((1..=killed(&[Victim::Worker, Victim::TaskManager])).contains(&restarts), "{report}");
    assert!(containers <= 3 + killed(&[Victim::TaskManager, Victim::ApplicationMaster]), "{containers}");
    cluster.assert_empty();
}

#[test]
fn a_seed_gives_the_same_kills() {
    let kills = schedule(600, 30, 7);
    assert_eq!(kills, schedule(600, 30, 7));
    assert_ne!(kills, schedule(600, 30, 8));
    assert!(kills.is_sorted_by_key(|kill| kill.at) && kills.iter().all(|kill| kill.at < 600_000));
    for victim in [Victim::Worker, Victim::TaskManager, Victim::ApplicationMaster, Victim::ZooKeeper] {
        assert!(kills[..4].iter().any(|kill| kill.victim == victim));
    }
}
