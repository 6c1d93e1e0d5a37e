//! What cannot go well ends with an error that says why, and leaves nothing running.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::failures::{check_sums, check_sums_of, start_sums, start_sums_of, until_more};
use crate::support::{Cluster, flott, kill, limit_files, ports_of, program, text, until, wordcount};

#[test]
fn programs_that_are_none_or_do_not_work_are_told_so() {
    let cluster = Cluster::start(1, 2);
    let script = cluster.path("script");
    fs::write(&script, "#!/bin/sh\necho hello\n").unwrap();
    let missing = cluster.path("missing");
    let program = program();
    let cases: [(&[&str], &str); 8] = [
        (&[&missing], "cannot read the program"),
        (&[&script], "is not in the ELF format"),
        (&["/bin/ls"], "is no Flott program"),
        (&[&program, "panics-in-main"], "main has no wish to go on"),
        (&[&program, "never-executes"], "ended without calling execute"),
        (&[&program, "fails", "a bad number"], "a bad number"),
        (&[&wordcount(), "--input", &missing], "missing"),
        (&["-p", "0", &program, "twice"], "0 is not in 1..=32768"),
    ];
    for (arguments, expected) in cases {
        let arguments: Vec<&str> = ["run"].into_iter().chain(arguments.iter().copied()).collect();
        let ran = cluster.flott(&arguments);
        let said = text(&ran.stderr);
        let status = if arguments.contains(&"0") { 2 } else { 1 };
        assert_eq!(ran.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?} should say '{expected}': {said}");
    }
    let failed = cluster.flott(&["run", &program, "fails", "a bad number"]);
    assert!(
        text(&failed.stderr).contains("'Check'") || text(&failed.stderr).contains("Check"),
        "{}",
        text(&failed.stderr)
    );
    cluster.until_clean();
    cluster.until_idle();
}

#[test]
fn a_program_that_differs_in_the_worker_is_not_run() {
    let cluster = Cluster::start(1, 2);
    let mut command = std::process::Command::new(flott());
    command.env("FLOTT_CONF_DIR", cluster.folder.path()).env("DRIVER", "yes");
    let ran = command.args(["run", "-m", &cluster.address, &program(), "differs"]).output().unwrap();
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("the program is not the one that was submitted"), "{said}");
    assert!(said.contains("another attempt would end the same way"), "{said}");
    cluster.until_clean();
    cluster.until_idle();
}

#[test]
fn a_main_that_never_comes_to_its_execute_in_a_worker_is_given_up() {
    let cluster = Cluster::start_with(1, 1, "slot.request.timeout: 1 s\nrestart-strategy.type: none\n");
    let run = cluster.flott(&["run", &program(), "stuck-in-worker"]);
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("did not come to its job's execute within 1 s"), "{said}");
    cluster.until_clean();
    cluster.until_idle();
}

#[test]
fn who_has_another_secret_or_speaks_something_else_is_refused() {
    let cluster = Cluster::start(1, 2);
    let other = tempfile::tempdir().unwrap();
    let secret = other.path().join("secret");
    let with = |content: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        fs::write(&secret, content).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        let setting = format!("security.secret.file={}", secret.display());
        text(&cluster.flott(&["list", "-D", &setting]).stderr)
    };
    assert!(with(&"ab".repeat(32), 0o600).contains("another secret"));
    assert!(with(&"ab".repeat(32), 0o644).contains("others may read the secret"));
    assert!(with("abc", 0o600).contains("holds no secret"));
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 300], &[255; 70], b"flott1"] {
        let mut stream = TcpStream::connect(&cluster.address).unwrap();
        stream.write_all(garbage).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // A greeting, and no word more than that it is refused.
        assert!(answer.len() <= 39, "{answer:?}");
    }
    // And still it serves.
    assert!(cluster.flott(&["run", &program(), "twice"]).status.success());
}

#[test]
fn garbage_on_the_data_ports_disturbs_no_job() {
    let cluster = Cluster::start(2, 1);
    let (run, output) = start_sums(&cluster, "sums", &[]);
    until_more(&output);
    let ports: Vec<u16> = cluster.task_managers.iter().flat_map(|agent| ports_of(agent.pid())).collect();
    assert_eq!(ports.len(), 2);
    let mut silent = Vec::new();
    for port in ports {
        // Who says nothing keeps others from nothing.
        silent.extend((0..20).map(|_| TcpStream::connect(("localhost", port)).unwrap()));
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 300], &[255; 70], b"flott1"] {
            let mut stream = TcpStream::connect(("localhost", port)).unwrap();
            stream.write_all(garbage).unwrap();
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.len() <= 39, "{answer:?}");
        }
    }
    until_more(&output);
    fs::write(cluster.path("gate"), "").unwrap();
    let ended = run.output();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(!text(&ended.stderr).contains("RESTARTING"), "{}", text(&ended.stderr));
    check_sums(&output);
    drop(silent);
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_time_only() {
    // So many keys that their state goes to files.
    const MANY_KEYS: u64 = 20_000;
    let cluster = Cluster::start(1, 2);
    let (run, output) = start_sums_of(MANY_KEYS, &cluster, "sums", &[]);
    until_more(&output);
    // First where the state is written, then where the metadata of checkpoints is.
    let of_workers = || cluster.workers().iter().map(|(_, pid)| *pid).collect::<Vec<_>>();
    let of_job_manager = || vec![cluster.job_manager.pid()];
    let processes: [(&dyn Fn() -> Vec<u32>, u64); 2] = [(&of_workers, 100_000), (&of_job_manager, 10)];
    for (pids, bytes) in processes {
        let restarts = || text(&cluster.flott(&["list", "-a"]).stdout);
        let before = restarts();
        until("the job restarts", || {
            pids().into_iter().for_each(|pid| limit_files(pid, Some(bytes)));
            (restarts() != before && restarts().contains("RESTARTING")).then_some(())
        });
        pids().into_iter().for_each(|pid| limit_files(pid, None));
        until_more(&output);
    }
    fs::write(cluster.path("gate"), "").unwrap();
    let ended = run.output();
    let said = text(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    for file in ["/state-", "/._metadata."] {
        let told = |line: &str| line.contains(file) && line.contains("File too large");
        assert!(said.lines().any(told), "{said}");
    }
    check_sums_of(MANY_KEYS, &output);
    cluster.until_clean();
}

#[test]
fn a_worker_that_outgrows_its_share_says_what_takes_the_memory() {
    let settings = "taskmanager.memory.process.size: 232m\nrestart-strategy.type: none\n";
    let cluster = Cluster::start_with(1, 1, settings);
    let run = cluster.flott(&["run", &program(), "hoards"]);
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("its share of the TaskManager's memory is 200 MiB (1 of its slots)"), "{said}");
    let held = said.split_once("Operator 'Hoard' holds ").map_or("", |(_, rest)| rest);
    let held: u64 = held.split_once(' ').unwrap_or_default().0.parse().unwrap_or_else(|_| panic!("{said}"));
    assert!((20..=260).contains(&held), "{said}");
    cluster.until_clean();
}

#[test]
fn a_port_in_use_and_a_job_manager_that_is_not_there_are_named() {
    let cluster = Cluster::start(1, 1);
    let port = cluster.address.rsplit(':').next().unwrap();
    let mut command = std::process::Command::new(flott());
    command.env("FLOTT_CONF_DIR", cluster.folder.path());
    let second = command.args(["jobmanager", "-D", &format!("jobmanager.rpc.port={port}")]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second.stderr).contains(port) && text(&second.stderr).contains("another one"),
        "{}",
        text(&second.stderr)
    );
    kill(cluster.job_manager.pid());
    let said = until("nobody listens any more", || {
        let said = text(&cluster.flott(&["list"]).stderr);
        said.contains("cannot connect to the JobManager").then_some(said)
    });
    assert!(said.contains("is it running there?"), "{said}");
    let mut command = std::process::Command::new(flott());
    command.env("FLOTT_CONF_DIR", cluster.folder.path());
    let unknown = command.args(["list", "-m", "no-such-host.invalid:1"]).output().unwrap();
    assert!(text(&unknown.stderr).contains("no-such-host.invalid"), "{}", text(&unknown.stderr));
}

#[test]
fn unknown_jobs_and_words_are_told_so() {
    let cluster = Cluster::start(1, 1);
    let unknown = cluster.flott(&["cancel", &"0".repeat(32)]);
    assert!(text(&unknown.stderr).contains("there is no job"), "{}", text(&unknown.stderr));
    let garbage = cluster.flott(&["cancel", "the-first"]);
    assert!(text(&garbage.stderr).contains("32 hexadecimal digits"), "{}", text(&garbage.stderr));
    let levels = cluster.flott(&["log-level", "flott_cluster=loud"]);
    assert!(text(&levels.stderr).contains("loud"), "{}", text(&levels.stderr));
    let key = cluster.flott(&["run", "-D", "paralelism.default=2", &program(), "twice"]);
    assert!(text(&key.stderr).contains("parallelism.default"), "{}", text(&key.stderr));
}
