//! Clusters and the commands they were started for: a cluster stays while its command is there, and no longer.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::containers::kill;
use crate::support::{application_in, hadoop, program, until};

/// After this time without a word a command is gone.
const TIMEOUT: Duration = Duration::from_secs(3);

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

/// Longer than a cluster waits for a command that is gone, and than one waited for any when it did not hear of them.
#[allow(clippy::disallowed_methods, reason = "that nothing happens for a while is what is tested")]
fn a_while() {
    std::thread::sleep(4 * TIMEOUT);
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
