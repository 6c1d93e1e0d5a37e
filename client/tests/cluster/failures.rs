//! Processes that are killed in the middle: what is committed is what an undisturbed run would have written.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::{
    Cluster, Process, assert_same, counted, expected_sums, kill, lines_in, program, text, until,
};

pub const EVENTS: u64 = 300_000;
const KEYS: u64 = 17;

pub fn start_sums(cluster: &Cluster, what: &str, more: &[&str]) -> (Process, String) {
    start_sums_of(KEYS, cluster, what, more)
}

pub fn start_sums_of(keys: u64, cluster: &Cluster, what: &str, more: &[&str]) -> (Process, String) {
    let output = cluster.path("out");
    let directory = format!("execution.checkpointing.dir={}", cluster.path("checkpoints"));
    let settings = ["-D", "execution.checkpointing.interval=100 ms", "-D", &directory];
    let (gate, events, keys) = (cluster.path("gate"), EVENTS.to_string(), keys.to_string());
    let program = program();
    let arguments = ["run", "-p", "2"].into_iter().chain(settings).chain(more.iter().copied());
    let arguments: Vec<&str> =
        arguments.chain([program.as_str(), what, &events, &keys, &gate, &output]).collect();
    (cluster.spawn(&arguments), output)
}

/// The committed files of sums; none is empty.
pub fn committed(output: &str) -> usize {
    let files = fs::read_dir(format!("{output}/sums")).into_iter().flatten().flatten();
    files.filter(|file| !file.file_name().to_string_lossy().starts_with(['.', '_'])).count()
}

/// Waits until more is committed than before, so that the next kill finds the job at work.
pub fn until_more(output: &str) {
    let before = committed(output);
    until("more is committed", || (committed(output) > before).then_some(()));
}

pub fn check_sums(output: &str) {
    check_sums_of(KEYS, output);
}

pub fn check_sums_of(keys: u64, output: &str) {
    let (sums, windows) = expected_sums(EVENTS, keys);
    assert_same(counted(lines_in(&format!("{output}/sums"))), sums);
    assert_same(counted(lines_in(&format!("{output}/windows"))), windows);
}

#[test]
fn twenty_kills_leave_no_trace_in_the_output() {
    let mut cluster = Cluster::start(2, 1);
    let (run, output) = start_sums(&cluster, "sums", &[]);
    let mut random = 88_172_645_463_325_252_u64;
    for round in 0..20 {
        until_more(&output);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::park_timeout(Duration::from_millis(random % 150));
        if round % 2 == 0 {
            let workers =
                until("a worker runs", || Some(cluster.workers()).filter(|workers| !workers.is_empty()));
            kill(workers[(random >> 20) as usize % workers.len()].1);
        } else {
            let agent = (random >> 20) as usize % 2;
            let own: Vec<u32> = cluster
                .workers()
                .iter()
                .filter(|(of, _)| *of == cluster.task_managers[agent].pid())
                .map(|(_, pid)| *pid)
                .collect();
            kill(cluster.task_managers[agent].pid());
            let _ = cluster.task_managers[agent].0.wait();
            // Its workers do not outlive it.
            until("the workers of a killed TaskManager are gone", || {
                own.iter()
                    .all(|pid| {
                        !fs::exists(format!("/proc/{pid}/exe")).unwrap()
                            || fs::read_link(format!("/proc/{pid}/exe")).is_err()
                    })
                    .then_some(())
            });
            cluster.task_managers[agent] = cluster.task_manager();
        }
    }
    until_more(&output);
    fs::write(cluster.path("gate"), "").unwrap();
    let ended = run.output();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).matches("RESTARTING").count() >= 10, "{}", text(&ended.stderr));
    check_sums(&output);
    cluster.until_clean();
}

#[test]
fn at_least_once_loses_nothing() {
    let cluster = Cluster::start(2, 1);
    let (run, output) = start_sums(&cluster, "sums", &["-D", "execution.checkpointing.mode=AT_LEAST_ONCE"]);
    for _ in 0..3 {
        until_more(&output);
        let workers =
            until("a worker runs", || Some(cluster.workers()).filter(|workers| !workers.is_empty()));
        kill(workers[0].1);
    }
    until_more(&output);
    fs::write(cluster.path("gate"), "").unwrap();
    assert!(run.output().status.success());
    // A sum may hold an event twice, but the last sum of no key can be too small, and every window is there.
    let (sums, windows) = expected_sums(EVENTS, KEYS);
    let highest = |lines: Vec<String>| {
        let mut highest = std::collections::BTreeMap::<u64, u64>::new();
        for line in lines {
            let (key, sum) = line.split_once(' ').unwrap();
            let entry = highest.entry(key.parse().unwrap()).or_default();
            *entry = (*entry).max(sum.parse().unwrap());
        }
        highest
    };
    let (found, expected) =
        (highest(lines_in(&format!("{output}/sums"))), highest(sums.into_keys().collect()));
    assert!(expected.iter().all(|(key, sum)| found.get(key) >= Some(sum)), "{found:?} {expected:?}");
    let window = |line: &String| line.rsplit_once(' ').unwrap().0.to_owned();
    let found = counted(lines_in(&format!("{output}/windows")).iter().map(window));
    assert!(windows.keys().map(window).all(|window| found.contains_key(&window)));
}

#[test]
fn a_failure_leaves_a_pipeline_beside_it_alone() {
    let cluster = Cluster::start(4, 1);
    let (run, output) = start_sums(&cluster, "sums-and-words", &[]);
    let beside = format!("{output}/beside");
    let pids = |lines: Vec<String>| -> Vec<u32> {
        let pids = counted(lines.into_iter().map(|line| line.split_once(' ').unwrap().1.to_owned()));
        pids.into_keys().map(|pid| pid.parse().unwrap()).collect()
    };
    let untouched = until("both commit, and both subtasks of the one beside", || {
        let beside = pids(lines_in(&beside));
        (committed(&output) > 0 && beside.len() == 2).then_some(beside)
    });
    let touched =
        cluster.workers().into_iter().map(|(_, pid)| pid).find(|pid| !untouched.contains(pid)).unwrap();
    kill(touched);
    until_more(&output);
    fs::write(cluster.path("gate"), "").unwrap();
    let ended = run.output();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    check_sums(&output);
    let lines = lines_in(&beside);
    assert_eq!(lines.len() as u64, EVENTS);
    let numbers = counted(lines.iter().map(|line| line.split_once(' ').unwrap().0.parse::<u64>().unwrap()));
    assert_same(numbers, counted(0..EVENTS));
    assert_eq!(pids(lines), untouched, "the same processes wrote all of it");
}

#[test]
fn who_misbehaves_leaves_other_jobs_alone() {
    let cluster = Cluster::start_with(1, 4, "restart-strategy.type: none\ntask.cancellation.timeout: 1 s\n");
    let (run, output) = start_sums(&cluster, "sums", &["-D", "restart-strategy.type=none"]);
    until_more(&output);
    let aborted = cluster.flott(&["run", &program(), "aborts"]);
    assert_eq!(aborted.status.code(), Some(1));
    assert!(text(&aborted.stderr).contains("signal 6"), "{}", text(&aborted.stderr));
    for what in ["burns", "leaks"] {
        let submitted = cluster.flott(&["run", "-d", &program(), what]);
        let job = text(&submitted.stdout).trim().to_owned();
        until_more(&output);
        until_more(&output);
        if what == "burns" {
            // Who holds the slot is named in the job's log.
            let log = cluster.path(&format!("log/job-{job}.log"));
            until("the watchdog has named the operator", || {
                fs::read_to_string(&log).unwrap_or_default().contains("has held its slot for").then_some(())
            });
        } else {
            // Who takes more memory than its slots have is ended, and says so.
            until("the leaking worker has ended itself", || {
                let jobs = text(&cluster.flott(&["list", "-a"]).stdout);
                jobs.contains("its share of the TaskManager's memory is 424 MiB (1 of its slots)")
                    .then_some(())
            });
        }
        let cancelled = cluster.flott(&["cancel", &job]);
        assert!(cancelled.status.success(), "{}{}", text(&cancelled.stdout), text(&cancelled.stderr));
    }
    until("only the good job's worker is left", || (cluster.workers().len() == 1).then_some(()));
    fs::write(cluster.path("gate"), "").unwrap();
    // It was never restarted: that is not allowed.
    let ended = run.output();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    check_sums(&output);
}

#[test]
fn a_batch_gives_again_what_was_lost() {
    let cluster = Cluster::start(2, 1);
    let (gate, second, output) = (cluster.path("gate"), cluster.path("second"), cluster.path("out"));
    let restarts =
        ["-D", "restart-strategy.type=fixed-delay", "-D", "restart-strategy.fixed-delay.attempts=10"];
    // What waits in user code cannot be told to stop: its worker is given up, too.
    let delay = ["-D", "restart-strategy.fixed-delay.delay=50 ms", "-D", "task.cancellation.timeout=300 ms"];
    let program = program();
    let what = [program.as_str(), "batch", "30000", "23", &gate, &second, &output];
    let run = cluster.spawn(&[&["run", "-p", "2"][..], &restarts, &delay, &what].concat());
    let two_workers =
        || until("both workers run", || Some(cluster.workers()).filter(|workers| workers.len() == 2));
    // In the first stage.
    kill(two_workers()[0].1);
    let job = until("the job is listed", || {
        let list = text(&cluster.flott(&["list"]).stdout);
        list.lines().find(|line| line.ends_with("batch")).map(|line| line[..32].to_owned())
    });
    fs::write(&gate, "").unwrap();
    // In the second, when a part of what the first gave is in the worker that goes.
    for round in 0..2 {
        let log = format!("{}/job-{job}.out", cluster.path("log"));
        until("the second stage waits", || fs::exists(&log).unwrap().then_some(()));
        let before = two_workers();
        std::thread::park_timeout(Duration::from_millis(700));
        kill(before[round].1);
        until("another worker took its place", || {
            Some(cluster.workers()).filter(|now| now.len() == 2 && *now != before)
        });
    }
    fs::write(&second, "").unwrap();
    let ended = run.output();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let expected =
        (0..23_u64).map(|key| format!("{key} {}", (0..30_000_u64).filter(|n| n % 23 == key).count()));
    assert_same(counted(lines_in(&output)), counted(expected));
    cluster.until_clean();
}

#[test]
fn a_worker_that_never_comes_to_flott_dies_with_its_task_manager() {
    let mut cluster = Cluster::start(0, 1);
    cluster.task_managers.push(cluster.task_manager_with(Some("STUCK_IN_MAIN")));
    cluster.until_slots(1);
    let submitted = cluster.flott(&["run", "-d", &program(), "endless"]);
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    let worker = until("the worker has become the program", || {
        let workers = cluster.workers();
        let runs =
            |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| !exe.ends_with("flott"));
        workers.into_iter().map(|(_, pid)| pid).find(runs)
    });
    kill(cluster.task_managers[0].pid());
    until("its worker is gone", || fs::read_link(format!("/proc/{worker}/exe")).is_err().then_some(()));
}

#[test]
fn a_job_manager_that_is_killed_takes_its_workers_with_it() {
    let mut cluster = Cluster::start_with(1, 2, "jobmanager.absence-timeout: 2 s\n");
    let run = cluster.spawn(&["run", &program(), "endless"]);
    until("the job has a worker", || (!cluster.workers().is_empty()).then_some(()));
    kill(cluster.job_manager.pid());
    let killed = Instant::now();
    let ended = run.output();
    assert_eq!(ended.status.code(), Some(1));
    let said = text(&ended.stderr);
    for words in ["it is looked for, up to 2 s", "is lost; for 2 s no connection came about", "flott list -a"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(killed.elapsed() < Duration::from_secs(100), "its patience ends");
    cluster.until_clean();
    assert!(
        cluster.task_managers[0].0.try_wait().unwrap().is_none(),
        "the TaskManager looks for another one"
    );
}
