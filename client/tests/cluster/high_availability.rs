//! JobManagers that are killed or stopped while jobs run: the tasks go on, and what is committed is exact.

use std::fs;
use std::time::{Duration, Instant};

use flott_cluster::high_availability::{
    ApplicationAttempt, Candidate, LeaderElection, Leadership, ZooKeeperElection,
};
use flott_core::config::Configuration;
use flott_runtime::net::handshake::Secret;

use crate::contract::request;
use crate::failures::{check_sums, committed, start_sums, until_more};
use crate::support::{Cluster, DEADLINE, counted, kill, lines_in, pause, program, text, until};
use crate::zookeeper::{Ensemble, ZooKeeper};

fn log_of(cluster: &Cluster) -> String {
    logs_of(cluster, "jobmanager")
}

fn logs_of(cluster: &Cluster, name: &str) -> String {
    let files = fs::read_dir(cluster.path("log")).unwrap().flatten();
    let of_managers = files.filter(|file| file.file_name().to_string_lossy().starts_with(name));
    of_managers.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect()
}

/// Both workers of a job that has two, once it has committed something.
fn two_workers(cluster: &Cluster, output: &str) -> Vec<(u32, u32)> {
    until_more(output);
    until("two workers run", || Some(cluster.workers()).filter(|workers| workers.len() == 2))
}

#[test]
fn a_standby_takes_over_and_the_tasks_go_on() {
    let Some(zookeeper) = ZooKeeper::start() else { return };
    let mut cluster = Cluster::start_elected(&zookeeper, 2, 1, "");
    let (run, output) = start_sums(&cluster, "sums", &[]);
    let before = two_workers(&cluster, &output);
    let (standby, address) = cluster.another_job_manager();
    until("who is asked says who leads", || {
        let refused = text(&cluster.flott(&["list", "-m", &address]).stderr);
        assert!(refused.contains("is not the leader; "), "{refused}");
        refused.contains("the last that led is at").then_some(())
    });

    let webs = || -> Vec<String> {
        let log = log_of(&cluster);
        let webs = log.split(" web=").skip(1).filter_map(|rest| rest.split_whitespace().next());
        webs.map(str::to_owned).collect()
    };
    let mut answers: Vec<_> =
        webs().iter().map(|web| request(web, "GET", "/jobs/overview?a=b", &[], b"")).collect();
    answers.sort_by_key(|answer| answer.status == 307);
    let [leader, standby_answer] = answers.as_slice() else { panic!("two pages: {answers:?}") };
    assert!(matches!(leader.status, 200 | 401), "{leader:?}");
    assert_eq!(standby_answer.status, 307, "{standby_answer:?}");
    assert!(standby_answer.head.contains("/jobs/overview?a=b"), "{}", standby_answer.head);
    assert!(standby_answer.text().contains("is not the leader; that is at http://localhost:"));

    kill(cluster.job_manager.pid());
    let since = Instant::now();
    until("the standby leads", || text(&cluster.flott(&["list"]).stdout).contains("RUNNING").then_some(()));
    eprintln!("a standby led {:?} after the leader was killed", since.elapsed());
    until_more(&output);
    assert_eq!(cluster.workers(), before, "the same processes run");
    // A second time.
    drop(std::mem::replace(&mut cluster.job_manager, standby));
    let (again, _) = cluster.another_job_manager();
    kill(cluster.job_manager.pid());
    until_more(&output);
    until("the next leads", || text(&cluster.flott(&["list"]).stdout).contains("RUNNING").then_some(()));
    until_more(&output);
    assert_eq!(cluster.workers(), before, "the same processes run");
    fs::write(cluster.path("gate"), "").unwrap();
    let ended = run.output();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(!text(&ended.stderr).contains("RESTARTING"), "{}", text(&ended.stderr));
    check_sums(&output);
    cluster.until_clean();
    assert!(text(&cluster.flott(&["list", "-a"]).stdout).contains("FINISHED"));
    drop(again);
    // What came of it is known to those who lead later; nothing else is left.
    let (last, _) = cluster.another_job_manager();
    until("the job is listed", || {
        text(&cluster.flott(&["list", "-a"]).stdout).contains("FINISHED").then_some(())
    });
    drop(last);
    assert!(fs::read_dir(cluster.path("checkpoints")).unwrap().next().is_none());
}

#[test]
fn a_pause_of_zookeeper_disturbs_nothing() {
    let Some(zookeeper) = ZooKeeper::start() else { return };
    let cluster = Cluster::start_elected(&zookeeper, 2, 1, "restart-strategy.type: none\n");
    let (_standby, _) = cluster.another_job_manager();
    let (run, output) = start_sums(&cluster, "sums", &[]);
    let before = two_workers(&cluster, &output);
    pause(zookeeper.process.pid(), true);
    std::thread::park_timeout(ZooKeeper::SESSION_TIMEOUT / 3);
    pause(zookeeper.process.pid(), false);
    until_more(&output);
    std::thread::park_timeout(ZooKeeper::SESSION_TIMEOUT / 2);
    until_more(&output);
    assert_eq!(cluster.workers(), before);
    assert!(!log_of(&cluster).contains("leads no longer"));
    fs::write(cluster.path("gate"), "").unwrap();
    let ended = run.output();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    check_sums(&output);
}

#[test]
fn who_starts_while_zookeeper_is_away_comes_up_when_it_is_back() {
    let Some(mut zookeeper) = ZooKeeper::start() else { return };
    let mut cluster = Cluster::start_elected(&zookeeper, 1, 1, "jobmanager.adoption-timeout: 5 s\n");
    let submitted = cluster.flott(&["run", "-d", &program(), "endless"]);
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    zookeeper.stop();
    kill(cluster.job_manager.pid());
    kill(cluster.task_managers.remove(0).pid());
    let (next, _) = cluster.another_job_manager();
    drop(std::mem::replace(&mut cluster.job_manager, next));
    cluster.task_managers.push(cluster.task_manager());
    for of in ["jobmanager", "taskmanager"] {
        until("what is waited for is said", || {
            logs_of(&cluster, of).contains("ZooKeeper is waited for").then_some(())
        });
    }
    let refused = cluster.flott(&["list"]);
    assert!(text(&refused.stderr).contains("cannot reach ZooKeeper at"), "{}", text(&refused.stderr));
    zookeeper.start_again();
    until("the job goes on", || text(&cluster.flott(&["list"]).stdout).contains("RUNNING").then_some(()));
    until("it has a worker", || (!cluster.workers().is_empty()).then_some(()));
}

#[test]
fn the_loss_of_a_zookeeper_server_disturbs_nothing() {
    let Some(mut ensemble) = Ensemble::start() else { return };
    // Long enough for the others to agree on who leads them.
    let settings = "restart-strategy.type: none\nhigh-availability.zookeeper.client.session-timeout: 30 s\n";
    let cluster = Cluster::start_elected_by(&ensemble.quorum(), 2, 1, settings);
    let (_standby, _) = cluster.another_job_manager();
    let (run, output) = start_sums(&cluster, "sums", &[]);
    let before = two_workers(&cluster, &output);
    for mode in ["follower", "leader"] {
        let killed = ensemble.kill(mode);
        let since = Instant::now();
        until_more(&output);
        eprintln!("more was committed {:?} after a {mode} was killed", since.elapsed());
        ensemble.start_again(killed);
        until_more(&output);
    }
    assert_eq!(cluster.workers(), before);
    let log = log_of(&cluster);
    assert!(
        !log.contains("leads no longer") && log.matches("this JobManager leads term=").count() == 1,
        "{log}"
    );
    fs::write(cluster.path("gate"), "").unwrap();
    let ended = run.output();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    check_sums(&output);
}

#[test]
fn an_old_leader_that_wakes_up_does_no_harm() {
    let Some(zookeeper) = ZooKeeper::start() else { return };
    let cluster = Cluster::start_elected(&zookeeper, 2, 1, "restart-strategy.type: none\n");
    let (run, output) = start_sums(&cluster, "sums", &[]);
    let before = two_workers(&cluster, &output);
    let (_standby, _) = cluster.another_job_manager();
    pause(cluster.job_manager.pid(), true);
    until("the standby leads", || text(&cluster.flott(&["list"]).stdout).contains("RUNNING").then_some(()));
    until_more(&output);
    pause(cluster.job_manager.pid(), false);
    until("the old leader has stepped down", || log_of(&cluster).contains("leads no longer").then_some(()));
    until_more(&output);
    assert_eq!(cluster.workers(), before);
    fs::write(cluster.path("gate"), "").unwrap();
    let ended = run.output();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    check_sums(&output);
}

#[test]
fn a_worker_that_is_lost_without_a_job_manager_is_all_that_restarts() {
    let Some(zookeeper) = ZooKeeper::start() else { return };
    let mut cluster = Cluster::start_elected(&zookeeper, 4, 1, "jobmanager.adoption-timeout: 10 s\n");
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
    kill(cluster.job_manager.pid());
    let workers = cluster.workers();
    let touched = workers.iter().map(|(_, pid)| *pid).find(|pid| !untouched.contains(pid)).unwrap();
    kill(touched);
    let (next, _) = cluster.another_job_manager();
    drop(std::mem::replace(&mut cluster.job_manager, next));
    until_more(&output);
    let replaced =
        until("there are four again", || Some(cluster.workers()).filter(|workers| workers.len() == 4));
    let stayed = workers.iter().filter(|worker| replaced.contains(worker)).count();
    assert_eq!(stayed, 3, "{workers:?} {replaced:?}");
    fs::write(cluster.path("gate"), "").unwrap();
    let ended = run.output();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    check_sums(&output);
    assert_eq!(pids(lines_in(&beside)), untouched, "the same processes wrote all of it");
}

#[test]
fn what_is_acknowledged_holds_under_the_next_leader() {
    let Some(zookeeper) = ZooKeeper::start() else { return };
    let mut cluster = Cluster::start_elected(&zookeeper, 1, 2, "jobmanager.adoption-timeout: 5 s\n");
    let submitted = cluster.flott(&["run", "-d", &program(), "endless"]);
    let job = text(&submitted.stdout).trim().to_owned();
    kill(cluster.job_manager.pid());
    let (next, _) = cluster.another_job_manager();
    drop(std::mem::replace(&mut cluster.job_manager, next));
    until("the job runs", || text(&cluster.flott(&["list"]).stdout).contains("RUNNING").then_some(()));
    let cancelled = cluster.flott(&["cancel", &job]);
    assert!(cancelled.status.success(), "{}", text(&cancelled.stderr));
    kill(cluster.job_manager.pid());
    let (next, _) = cluster.another_job_manager();
    drop(std::mem::replace(&mut cluster.job_manager, next));
    until("it is cancelled for ever", || {
        text(&cluster.flott(&["list", "-a"]).stdout).contains("CANCELED").then_some(())
    });
    cluster.until_clean();
}

#[test]
fn an_end_that_cannot_be_kept_is_told_of_and_lost_by_nobody() {
    let Some(zookeeper) = ZooKeeper::start() else { return };
    let cluster = Cluster::start_elected(&zookeeper, 1, 2, "");
    let files = std::path::PathBuf::from(cluster.path("storage")).join("default/jobs");
    // Where its files are nothing can be written for a while.
    let set_full = |job: &str, full: bool| {
        let (folder, aside) = (files.join(format!("{job}-1")), files.with_file_name(job));
        if full {
            fs::rename(&folder, &aside).unwrap();
            fs::write(&folder, "in the way").unwrap();
        } else {
            fs::remove_file(&folder).unwrap();
            fs::rename(&aside, &folder).unwrap();
        }
    };
    let list = || text(&cluster.flott(&["list", "-a"]).stdout);
    let (run, output) = start_sums(&cluster, "sums", &["-D", "jobmanager.absence-timeout=1 s"]);
    until_more(&output);
    let job = list().lines().nth(2).unwrap().split_whitespace().next().unwrap().to_owned();
    set_full(&job, true);
    fs::write(cluster.path("gate"), "").unwrap();
    let ended = run.output();
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("its tasks have ended") && said.contains(&format!("{job}-1")), "{said}");
    assert!(said.contains(&format!("how job {job} ends is not known")), "{said}");
    let listed = list();
    assert!(listed.contains("RUNNING") && listed.contains("its tasks have ended"), "{listed}");
    set_full(&job, false);
    until("it comes to its end", || list().contains("FINISHED").then_some(()));
    check_sums(&output);

    let submitted = cluster.flott(&["run", "-d", &program(), "endless"]);
    let job = text(&submitted.stdout).trim().to_owned();
    set_full(&job, true);
    let cancelled = cluster.flott(&["cancel", &job]);
    assert!(cancelled.status.success(), "{}", text(&cancelled.stderr));
    assert!(list().contains("CANCELED"));
    cluster.until_clean();
}

#[test]
fn an_earlier_attempt_never_leads_again() {
    let Some(zookeeper) = ZooKeeper::start() else { return };
    let mut configuration = Configuration::new();
    configuration.set("high-availability.type", "zookeeper").unwrap();
    configuration
        .set("high-availability.zookeeper.quorum", &format!("localhost:{}", zookeeper.port))
        .unwrap();
    let secret = Secret::random().unwrap();
    let candidate = |application: &str, number| Candidate {
        address: format!("host:{number}"),
        rest_address: None,
        attempt: Some(ApplicationAttempt { application: application.to_owned(), number }),
    };
    let elect = || ZooKeeperElection::new(&configuration, &secret);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let elections = async {
        let is_leader = |now: &Leadership| now.term().is_some();
        let is_superseded = |now: &Leadership| *now == Leadership::Superseded;
        // It may be about to start.
        let first = loop {
            if let Ok(first) = elect().await {
                break first;
            }
        };
        let mut one = first.contend(candidate("a", 1));
        one.wait_for(is_leader).await.unwrap();
        let waits = elect().await.unwrap();
        let mut waiting = waits.contend(candidate("a", 1));
        let second = elect().await.unwrap();
        let mut two = second.contend(candidate("a", 2));
        let term = two.wait_for(is_leader).await.unwrap().term().cloned().unwrap();
        one.wait_for(is_superseded).await.unwrap();
        waiting.wait_for(is_superseded).await.unwrap();
        second.confirm(&term).await.unwrap();
        // It wakes up, and its session with ZooKeeper is over.
        let again = elect().await.unwrap();
        again.contend(candidate("a", 1)).wait_for(is_superseded).await.unwrap();
        // Also if the later one is not there any more.
        second.resign().await;
        let again = elect().await.unwrap();
        again.contend(candidate("a", 1)).wait_for(is_superseded).await.unwrap();
        // Another application of the same cluster counts for itself.
        let other = elect().await.unwrap();
        other.contend(candidate("b", 1)).wait_for(is_leader).await.unwrap();
    };
    runtime.block_on(async { tokio::time::timeout(DEADLINE, elections).await.unwrap() });
}

#[test]
fn tasks_do_not_outlive_the_absence_timeout() {
    let Some(zookeeper) = ZooKeeper::start() else { return };
    let cluster = Cluster::start_elected(&zookeeper, 1, 2, "jobmanager.absence-timeout: 10 s\n");
    let submitted = cluster.flott(&["run", "-d", &program(), "endless"]);
    assert!(submitted.status.success());
    until("the job has a worker", || (!cluster.workers().is_empty()).then_some(()));
    kill(cluster.job_manager.pid());
    std::thread::park_timeout(Duration::from_millis(700));
    assert_eq!(cluster.workers().len(), 1, "it goes on at first");
    cluster.until_clean();
}

#[test]
fn what_cannot_work_is_said_at_the_start() {
    let cluster = Cluster::start(0, 1);
    let start = |settings: &[&str]| {
        let sets = settings.iter().flat_map(|setting| ["-D", setting]);
        let started = cluster.flott_alone(&[&["jobmanager"][..], &sets.collect::<Vec<_>>()].concat());
        assert!(!started.status.success());
        text(&started.stderr)
    };
    let kind = "high-availability.type=zookeeper";
    assert!(start(&[kind]).contains("high-availability.storageDir is not"));
    let storage = format!("high-availability.storageDir={}", cluster.path("storage"));
    assert!(start(&[kind, &storage]).contains("high-availability.zookeeper.quorum is not set"));
    let nobody = "high-availability.zookeeper.quorum=localhost:1";
    let patience = "jobmanager.absence-timeout=1 s";
    assert!(start(&[kind, &storage, nobody, patience]).contains("cannot reach ZooKeeper at localhost:1"));
    let Some(zookeeper) = ZooKeeper::start() else { return };
    let quorum = format!("high-availability.zookeeper.quorum=localhost:{}", zookeeper.port);
    assert!(
        start(&[kind, &storage, &quorum, "high-availability.cluster-id=a/b"]).contains("letters, digits")
    );
    // Another cluster, which has another secret, has the same id.
    let elected = Cluster::start_elected(&zookeeper, 0, 1, "");
    let quorum = format!("{quorum}/tests");
    let other = start(&[kind, &storage, &quorum]);
    assert!(other.contains("another cluster, with another secret"), "{other}");
    drop(elected);
    // A chroot below which only those who made it may make anything.
    let closed = format!("localhost:{}/closed", zookeeper.port);
    let mut configuration = Configuration::new();
    for (key, value) in [
        ("high-availability.type", "zookeeper"),
        ("high-availability.zookeeper.quorum", &closed),
        ("high-availability.zookeeper.client.acl", "creator"),
    ] {
        configuration.set(key, value).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let owner = Secret::random().unwrap();
    runtime.block_on(ZooKeeperElection::new(&configuration, &owner)).unwrap();
    let quorum = format!("high-availability.zookeeper.quorum={closed}");
    let refused = start(&[kind, &storage, &quorum, "high-availability.cluster-id=other"]);
    assert!(refused.contains("does not let this user create /closed/"), "{refused}");
    assert!(refused.contains("have its administrator create the node"), "{refused}");
}
