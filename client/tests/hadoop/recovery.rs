//! How long records stop when a TaskManager's container or the ApplicationMaster is killed.
//!
//! ```sh
//! cargo build --release -p flott-client --bins --examples
//! FLOTT_TEST_BINARIES=$CARGO_TARGET_DIR/release FLOTT_RECOVERY_ROUNDS=3 cargo test -p flott-client --test hadoop recovery -- --nocapture
//! ```
//!
//! prints the figures of an optimised build. `FLOTT_HADOOP_HEARTBEAT_MS=1000` gives the cluster YARN's own heartbeat.

use std::time::Duration;

use crate::containers::kill;
use crate::stream::{Stream, longest_gap, now, pass};
use crate::support::{breakable, hadoop, until};

/// How long the stream is left alone, to compare with.
const UNDISTURBED: Duration = Duration::from_secs(5);

/// What is promised on a machine that does nothing else, in milliseconds; and what a run of all tests at once may take.
const PROCESSING_AGAIN: i64 = 4_000;
const GAP: i64 = 1_000;
const LEADING: i64 = 6_000;
const AMONG_OTHERS: i64 = 120_000;

fn median(mut of: Vec<i64>) -> i64 {
    of.sort_unstable();
    of[of.len() / 2]
}

fn rounds() -> usize {
    std::env::var("FLOTT_RECOVERY_ROUNDS").ok().map_or(1, |text| text.parse().unwrap())
}

/// The promise itself is for who measures.
fn assert_within(what: &str, found: i64, limit: i64) {
    let limit = if rounds() > 1 { limit } else { AMONG_OTHERS };
    assert!(found <= limit, "{what}: {found} ms, more than {limit}");
}

#[test]
fn records_flow_again_soon() {
    // Once is no harm to others; who measures has a cluster without them.
    let cluster = if rounds() > 1 { breakable() } else { hadoop() };
    // Each time is to be like the first: no longer delay, though little time has passed.
    let settings =
        ["yarn.application-attempts=100", "restart-strategy.exponential-delay.backoff-multiplier=1.0"];
    let seconds = 120 + rounds() as u64 * 30;
    let stream = Stream::start(cluster, "recovery", seconds, &["-ys", "2"], &settings);

    let (mut again, mut elsewhere) = (Vec::new(), Vec::new());
    while again.len() < rounds() {
        let known_nodes = stream.nodes();
        let processes = stream.processes();
        let killed = now();
        kill(processes.task_managers[0]);
        // Both subtasks stamp into files of their own.
        let first = until("both subtasks process again", || {
            let stamps = stream.stamps();
            let mut firsts: Vec<i64> =
                stamps.iter().map(|of| of[0]).filter(|first| *first > killed).collect();
            firsts.sort_unstable();
            firsts.get(1).copied()
        });
        // On a node that has not run the application yet, YARN localises the runtime and the program first.
        let is_new = rounds() > 1 && stream.nodes() != known_nodes;
        if is_new { &mut elsewhere } else { &mut again }.push(first - killed);
        say_since(&stream, killed);
        stream.until_checkpoint(now());
    }
    let again = (median(again.clone()), again);
    eprintln!(
        "TaskManager killed: processing again after {} ms (median of {:?}); where YARN had to localise the runtime first: {elsewhere:?}",
        again.0, again.1
    );

    let control_from = now();
    pass(UNDISTURBED);
    let control = longest_gap(&stream.stamps(), control_from);
    let (mut gaps, mut starts, mut leads) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let processes = stream.processes();
        let killed = now();
        kill(processes.masters[0]);
        let led = until("the next ApplicationMaster leads", || {
            let log = stream.master_log();
            let line = log.lines().find(|line| line.contains("this JobManager serves as the leader"))?;
            Some(millis_of(line)).filter(|at| *at > killed)
        });
        stream.until_checkpoint(now());
        say_since(&stream, killed);
        let started = stream.last_attempt_started();
        assert_eq!(stream.processes().workers, processes.workers, "the tasks go on");
        gaps.push(longest_gap(&stream.stamps(), killed));
        starts.push(started - killed);
        leads.push(led - started);
    }
    let (gap, lead) = (median(gaps.clone()), median(leads.clone()));
    eprintln!(
        "ApplicationMaster killed: longest gap {gap} ms (median of {gaps:?}), undisturbed {control} ms; YARN starts the next attempt after \
         {starts:?} ms, which leads after {lead} ms (median of {leads:?})"
    );
    let events = stream.events;
    let report = stream.end();
    let read = report["jobs"][0]["records_read"].as_u64().unwrap();
    assert!(read >= events, "what was read again is counted, and nothing else is missing: {report}");
    eprintln!("{read} of {events} events were read, {} restarts", report["jobs"][0]["restarts"]);
    assert_within("TaskManager killed, until records are processed", again.0, PROCESSING_AGAIN);
    assert_within("ApplicationMaster killed, the longest gap", gap, control + GAP);
    assert_within("from the attempt's start until it leads", lead, LEADING);
}

/// For who measures: where the time went, by the ApplicationMaster's log, in milliseconds since the kill.
fn say_since(stream: &Stream, killed: i64) {
    if rounds() > 1 {
        for line in stream.master_log().lines().filter(|line| line.starts_with("20")) {
            let after = millis_of(line) - killed;
            if after >= 0 {
                eprintln!("{after:>6} {}", line.split_once(' ').map_or("", |(_, what)| what));
            }
        }
    }
}

/// When a line was logged, in milliseconds since the epoch.
fn millis_of(line: &str) -> i64 {
    let time: jiff::Timestamp = line.split_whitespace().next().unwrap().parse().unwrap();
    time.as_millisecond()
}
