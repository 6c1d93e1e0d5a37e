//! What runs well: programs of every kind, their results, the commands around them.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{
    Cluster, assert_same, counted, expected_sums, interrupt, lines_in, program, text, until, wordcount,
};

fn some_words() -> (String, BTreeMap<String, u64>) {
    let mut state = 7_u64;
    let mut text = String::new();
    let mut counts = BTreeMap::new();
    for n in 0..200_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = format!("w{}", (state >> 33) % 5_000);
        text.push_str(&word);
        text.push(if n % 11 == 0 { '\n' } else { ' ' });
        *counts.entry(word).or_default() += 1;
    }
    (text, counts)
}

#[test]
fn words_are_counted_on_one_two_and_four_task_managers() {
    let (text, counts) = some_words();
    for (task_managers, slots) in [(1, 4), (2, 2), (4, 1)] {
        let cluster = Cluster::start(task_managers, slots);
        let input = cluster.path("input.txt");
        fs::write(&input, &text).unwrap();
        for how in ["--mode batch", "--mode streaming", "--api dataset"] {
            let output = cluster.path(how);
            let flags: Vec<&str> = how.split(' ').collect();
            let arguments = ["run", "-p", "4", &wordcount(), "--input", &input, "--output", &output];
            let ran = cluster.flott(&[&arguments[..], &flags].concat());
            assert!(ran.status.success(), "{}", crate::support::text(&ran.stderr));
            let expected = if how != "--mode streaming" {
                counted(counts.iter().map(|(word, count)| format!("{word} {count}")))
            } else {
                counted(
                    counts.iter().flat_map(|(word, count)| (1..=*count).map(move |n| format!("{word} {n}"))),
                )
            };
            assert_same(counted(lines_in(&output)), expected);
        }
        cluster.until_clean();
        cluster.until_idle();
    }
}

#[test]
fn a_program_may_execute_twice_and_use_what_it_collected() {
    let cluster = Cluster::start(2, 1);
    let ran = cluster.flott(&["run", "-p", "2", &program(), "twice"]);
    assert_eq!(
        (text(&ran.stdout).as_str(), ran.status.code()),
        ("[9605, 9802, 10001]\n", Some(0)),
        "{}",
        text(&ran.stderr)
    );
}

#[test]
fn what_main_takes_from_outside_is_the_same_everywhere() {
    let cluster = Cluster::start(2, 1);
    let output = cluster.path("out");
    let ran = cluster.flott(&["run", "-p", "2", &program(), "once", &output]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let driver = text(&ran.stdout).trim().to_owned();
    let lines = lines_in(&output);
    assert_eq!(lines.len(), 20);
    let (drivers, workers): (Vec<&str>, Vec<&str>) =
        lines.iter().map(|line| line.split_once(' ').unwrap()).unzip();
    assert!(drivers.iter().all(|pid| *pid == driver), "{drivers:?} in {driver}");
    assert!(!workers.contains(&driver.as_str()));
}

#[test]
fn jobs_are_listed_and_cancelled() {
    let cluster = Cluster::start(1, 4);
    let submitted = cluster.flott(&["run", "-d", "-p", "2", &program(), "endless"]);
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    let job = text(&submitted.stdout).trim().to_owned();
    until("the job runs", || text(&cluster.flott(&["list", "-r"]).stdout).contains(&job).then_some(()));
    let levels = cluster.flott(&["log-level", "debug"]);
    assert_eq!(text(&levels.stdout), "2 processes log debug from now on.\n", "{}", text(&levels.stderr));
    let cancelled = cluster.flott(&["cancel", &job]);
    assert_eq!(
        text(&cancelled.stdout),
        format!("Job {job} (endless) is CANCELED.\n"),
        "{}",
        text(&cancelled.stderr)
    );
    assert!(!text(&cluster.flott(&["list"]).stdout).contains(&job));
    let all = text(&cluster.flott(&["list", "-a"]).stdout);
    assert!(all.contains(&job) && all.contains("CANCELED"), "{all}");
    cluster.until_clean();
    cluster.until_idle();
    let again = cluster.flott(&["cancel", &job]);
    assert!(text(&again.stdout).contains("is over already: CANCELED"), "{}", text(&again.stdout));
}

#[test]
fn ctrl_c_cancels_the_job_of_an_attached_program() {
    let cluster = Cluster::start(1, 2);
    let run = cluster.spawn(&["run", &program(), "endless"]);
    until("the job has a worker", || (!cluster.workers().is_empty()).then_some(()));
    interrupt(run.pid());
    let ended = run.output();
    assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("is CANCELED"), "{}", text(&ended.stderr));
    cluster.until_clean();
    cluster.until_idle();
}

#[test]
fn a_job_waits_for_slots_and_says_how_many_there_were() {
    let mut cluster = Cluster::start_with(1, 2, "slot.request.timeout: 500 ms\n");
    let short = cluster.flott(&["run", "-p", "3", &program(), "twice"]);
    let said = text(&short.stderr);
    assert_eq!(short.status.code(), Some(1), "{said}");
    assert!(said.contains("3 slots are needed") && said.contains("2 free of 2 in 1 TaskManagers"), "{said}");
    let waiting = cluster.spawn(&["run", "-p", "3", "-D", "slot.request.timeout=60 s", &program(), "twice"]);
    until("the job is scheduled", || text(&cluster.flott(&["list"]).stdout).contains("first").then_some(()));
    let more = cluster.task_manager();
    cluster.task_managers.push(more);
    assert!(waiting.output().status.success());
}

#[test]
fn a_cancelled_job_goes_on_from_its_checkpoint() {
    let cluster = Cluster::start(1, 2);
    let (gate, output, checkpoints) =
        (cluster.path("gate"), cluster.path("out"), cluster.path("checkpoints"));
    let settings = [
        "-D".to_owned(),
        "execution.checkpointing.interval=100 ms".to_owned(),
        "-D".to_owned(),
        format!("execution.checkpointing.dir={checkpoints}"),
        "-D".to_owned(),
        "execution.checkpointing.externalized-checkpoint-retention=RETAIN_ON_CANCELLATION".to_owned(),
    ];
    let program = program();
    let run = |flags: &[&str], gate: &str| {
        let settings = settings.iter().map(String::as_str);
        let arguments = ["run", "-p", "2"].into_iter().chain(flags.iter().copied()).chain(settings);
        let arguments: Vec<&str> =
            arguments.chain([program.as_str(), "sums", "40000", "13", gate, &output]).collect();
        cluster.flott(&arguments)
    };
    let submitted = run(&["-d"], &gate);
    let job = text(&submitted.stdout).trim().to_owned();
    until("sums are committed", || (lines_in(&format!("{output}/sums")).len() > 1000).then_some(()));
    assert!(cluster.flott(&["cancel", &job]).status.success());
    // The one before may not be deleted yet, and one that was begun not either.
    let number = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.strip_prefix("chk-").map(|number| number.parse::<u64>().unwrap())
    };
    let folder = fs::read_dir(format!("{checkpoints}/{job}")).unwrap().flatten().map(|entry| entry.path());
    let complete =
        folder.filter(|path| number(path).is_some() && fs::exists(path.join("_metadata")).unwrap());
    let checkpoint = complete.max_by_key(number).unwrap();
    fs::write(&gate, "").unwrap();
    let other = run(&["-s", checkpoint.to_str().unwrap(), "-D", "pipeline.max-parallelism=64"], &gate);
    assert!(text(&other.stderr).contains("had max parallelism 128"), "{}", text(&other.stderr));
    let ran = run(&["-s", checkpoint.to_str().unwrap()], &gate);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let (sums, windows) = expected_sums(40_000, 13);
    assert_same(counted(lines_in(&format!("{output}/sums"))), sums);
    assert_same(counted(lines_in(&format!("{output}/windows"))), windows);
    let wrong = cluster.flott(&["run", "-s", &cluster.path("nowhere"), &program, "twice"]);
    assert!(!wrong.status.success() && text(&wrong.stderr).contains("nowhere"), "{}", text(&wrong.stderr));
}
