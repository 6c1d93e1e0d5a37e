//! Clusters and the commands they were started for: a cluster stays while its command is there, and no longer.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::containers::{kill, process_of};
use crate::support::{application_in, hadoop, program, text, until};

/// After this time without a word a command is gone.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A command that runs a program with pauses on a cluster of its own.
struct Paused {
    gates: tempfile::TempDir,
    command: Child,
    id: String,
}

impl Paused {
    fn start() -> Self {
        let gates = tempfile::tempdir().unwrap();
        let timeout = format!("client.heartbeat.timeout={} s", TIMEOUT.as_secs());
        let said = gates.path().join("said");
        let (program, folder) = (program(), gates.path().to_str().unwrap());
        let line = ["run", "-m", "yarn-cluster", "-ytm", "256", "-D", &timeout, &program, "pauses", folder];
        let mut command = hadoop().command(&line);
        let mut command = command.stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
        let id = until("the application is named", || {
            let said = fs::read_to_string(&said).unwrap();
            assert_eq!(command.try_wait().unwrap(), None, "{said}");
            said.contains("was submitted.").then(|| application_in(&said))
        });
        let paused = Self { gates, command, id };
        paused.running();
        paused
    }

    fn running(&self) {
        until("the application runs", || {
            (hadoop().application(&self.id)["state"] == "RUNNING").then_some(())
        });
    }

    fn open(&self, gate: &str) {
        fs::write(self.gates.path().join(gate), "").unwrap();
        let done = self.gates.path().join(format!("{gate}-done"));
        until("the job is done", || Path::new(&done).exists().then_some(()));
    }
}

/// Longer than a cluster waits for a command that is gone.
#[allow(clippy::disallowed_methods, reason = "that nothing happens for a while is what is tested")]
fn a_while() {
    std::thread::sleep(TIMEOUT + Duration::from_secs(5));
}

#[test]
fn a_cluster_stays_while_its_command_thinks() {
    let paused = Paused::start();
    a_while();
    paused.open("before");
    a_while();
    paused.open("between");
    let output = paused.command.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(hadoop().ended(&paused.id)["finalStatus"], "SUCCEEDED");
}

#[test]
fn a_cluster_ends_when_its_command_is_gone() {
    for (opened, expected) in [(None, "FAILED"), (Some("before"), "SUCCEEDED")] {
        let mut paused = Paused::start();
        opened.into_iter().for_each(|gate| paused.open(gate));
        let since = Instant::now();
        kill(paused.command.id());
        paused.command.wait().unwrap();
        let application = hadoop().ended(&paused.id);
        assert_eq!(application["finalStatus"], expected);
        assert!(since.elapsed() > TIMEOUT / 2 && since.elapsed() < 10 * TIMEOUT, "{:?}", since.elapsed());
        let diagnostics = application["diagnostics"].as_str().unwrap();
        assert_eq!(diagnostics.contains("no job was submitted"), opened.is_none(), "{diagnostics}");
    }
}

#[test]
fn what_is_interrupted_while_it_starts_is_killed() {
    let (program, folder) = (program(), tempfile::tempdir().unwrap());
    let lines: [(&[&str], &str); 4] = [
        (&["run", "-m", "yarn-cluster", &program, "endless"], "-INT"),
        (&["run", "-m", "yarn-cluster", "-d", &program, "endless"], "-TERM"),
        (&["run-application", &program, "endless"], "-TERM"),
        (&["yarn-session"], "-INT"),
    ];
    for (number, (line, signal)) in lines.into_iter().enumerate() {
        let said = folder.path().join(number.to_string());
        let mut command = hadoop().command(line);
        let command = command.stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
        let said = || fs::read_to_string(&said).unwrap();
        let id = until("the application is named", || {
            said().contains("was submitted.").then(|| application_in(&said()))
        });
        assert!(Command::new("kill").args([signal, &command.id().to_string()]).status().unwrap().success());
        let status = command.wait_with_output().unwrap().status;
        assert_eq!(status.code(), Some(130), "{line:?}: {}", said());
        assert!(said().contains(&format!("Application {id} was killed")), "{line:?}: {}", said());
        assert_eq!(hadoop().application(&id)["state"], "KILLED", "{line:?}");
    }
}

#[test]
fn nothing_stays_of_an_application_that_is_interrupted() {
    let cluster = hadoop();
    let (program, kept) = (program(), cluster.fresh("ha-interrupted"));
    let said = tempfile::NamedTempFile::new().unwrap();
    let quorum = format!("high-availability.zookeeper.quorum={}", cluster.variable("ZOOKEEPER"));
    let storage = format!("high-availability.storageDir={kept}");
    let available = ["-D", "high-availability.type=zookeeper", "-D", &quorum, "-D", &storage];
    let line = [&["run-application", "-ytm", "256"][..], &available, &[&program, "endless"]].concat();
    let command = cluster.command(&line).stderr(said.reopen().unwrap()).spawn().unwrap();
    let said = || fs::read_to_string(said.path()).unwrap();
    let id = until("the application is named", || {
        said().contains("was submitted.").then(|| application_in(&said()))
    });
    until("its job runs", || {
        let listed = cluster.flott(&["list", "-yid", &id]);
        text(&listed.stdout).contains("RUNNING").then_some(())
    });
    let left = || [cluster.tree(&kept), cluster.tree("/user/*/.flott")].concat();
    assert_eq!(left().iter().filter(|path| path.ends_with(&id)).count(), 2, "{:?}: {}", left(), said());
    assert!(Command::new("kill").args(["-INT", &command.id().to_string()]).status().unwrap().success());
    assert_eq!(command.wait_with_output().unwrap().status.code(), Some(130), "{}", said());
    assert!(said().contains(&format!("Application {id} was killed")), "{}", said());
    assert!(!left().iter().any(|path| path.contains(&id)), "{:?}: {}", left(), said());
}

#[test]
fn a_session_is_ended_under_its_next_leader() {
    let cluster = hadoop();
    let quorum = format!("high-availability.zookeeper.quorum={}", cluster.variable("ZOOKEEPER"));
    let kept = cluster.fresh("ha-session");
    let storage = format!("high-availability.storageDir={kept}");
    let said = tempfile::NamedTempFile::new().unwrap();
    let settings = ["high-availability.type=zookeeper", &quorum, &storage];
    let settings = settings.iter().flat_map(|setting| ["-D", setting]);
    let line: Vec<&str> = ["yarn-session", "-jm", "256", "-tm", "256"].into_iter().chain(settings).collect();
    let mut command = cluster.command(&line);
    let command = command.stdin(Stdio::piped()).stderr(said.reopen().unwrap());
    let mut command = command.spawn().unwrap();
    let said = || fs::read_to_string(said.path()).unwrap();
    until("the session runs", || {
        assert_eq!(command.try_wait().unwrap(), None, "{}", said());
        said().contains("runs; flott run").then_some(())
    });
    let id = application_in(&said());
    let master = process_of(&id, "application-master", None);
    // A command follows the session's leader, whatever its own configuration says of high availability.
    let gates = tempfile::tempdir().unwrap();
    let gate = |gate: &str| fs::write(gates.path().join(gate), "").unwrap();
    let (program, folder) = (program(), gates.path().to_str().unwrap());
    let attached = cluster.command(&["run", "-yid", &id, &program, "pauses", folder]).spawn().unwrap();
    let elsewhere = ["-D", "high-availability.type=zookeeper", "-D", &quorum];
    let elsewhere = [&elsewhere[..], &["-z", "another", "-yid", &id]].concat();
    cluster.flott_well(&[&["list"], &elsewhere[..]].concat());
    gate("before");
    until("the first job is done", || gates.path().join("before-done").exists().then_some(()));
    assert!(cluster.tree(&kept).iter().any(|path| path.ends_with(&format!("{id}/programs"))));
    kill(master);
    process_of(&id, "application-master", Some(master));
    gate("between");
    let attached = attached.wait_with_output().unwrap();
    assert_eq!(attached.status.code(), Some(0), "{}", text(&attached.stderr));
    std::io::Write::write_all(&mut command.stdin.take().unwrap(), b"stop\n").unwrap();
    assert_eq!(command.wait().unwrap().code(), Some(0), "{}", said());
    assert_eq!(cluster.ended(&id)["finalStatus"], "SUCCEEDED");
    // Nobody goes on with it: what was kept for the next leader is gone, and before that its nodes.
    until("what was kept is gone", || {
        (!cluster.tree(&kept).iter().any(|path| path.contains(&id))).then_some(())
    });
    cluster.until_nothing_is_staged(&id);
}
