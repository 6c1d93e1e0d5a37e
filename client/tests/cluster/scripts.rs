//! scripts/start-cluster and scripts/stop-cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::ports::Port;
use crate::support::{flott, kill, program, text, until};

struct Scripts {
    folder: tempfile::TempDir,
}

impl Scripts {
    fn run(&self, command: &Path, arguments: &[&str]) -> Output {
        let folder = self.folder.path();
        let mut command = Command::new(command);
        command.env("FLOTT_CONF_DIR", folder).env("FLOTT_RUN_DIR", folder.join("run")).env("FLOTT", flott());
        command.args(arguments).output().unwrap()
    }

    fn script(&self, name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name);
        let ran = self.run(&path, &[]);
        assert!(ran.status.success(), "{name}: {}{}", text(&ran.stdout), text(&ran.stderr));
        text(&ran.stdout)
    }

    fn flott(&self, arguments: &[&str]) -> Output {
        self.run(Path::new(flott()), arguments)
    }

    /// The process that a supervisor has started.
    fn supervised(&self, name: &str) -> Option<u32> {
        let pid = fs::read_to_string(self.folder.path().join("run").join(format!("{name}.pid"))).ok()?;
        let pid = pid.trim();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let of_flott = |child: &&str| {
            let exe: PathBuf = fs::read_link(format!("/proc/{child}/exe")).unwrap_or_default();
            exe.file_name().is_some_and(|name| name == "flott")
        };
        children.split_whitespace().find(of_flott)?.parse().ok()
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/stop-cluster");
        self.run(&path, &[]);
    }
}

#[test]
fn a_cluster_is_started_watched_over_and_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let claimed = Port::claim();
    let port = claimed.number;
    let path = folder.path().display();
    let conf = format!(
        "jobmanager.rpc.port: {port}\nsecurity.secret.file: {path}/secret\nio.tmp.dirs: {path}\nenv.log.dir: {path}/log\n"
    );
    fs::write(folder.path().join("flott-conf.yaml"), conf).unwrap();
    fs::write(folder.path().join("masters"), "localhost\n").unwrap();
    fs::write(folder.path().join("workers"), "# two\nlocalhost\nlocalhost # again\n").unwrap();
    let scripts = Scripts { folder };
    let started = scripts.script("start-cluster");
    assert_eq!(started.lines().count(), 3, "{started}");
    let free = |count: u32| {
        until(&format!("{count} slots are free"), || {
            text(&scripts.flott(&["list"]).stdout)
                .contains(&format!(" {count} of {count} slots free"))
                .then_some(())
        });
    };
    free(2);
    assert!(scripts.flott(&["run", "-p", "2", &program(), "twice"]).status.success());
    assert!(scripts.script("start-cluster").contains("runs already"));

    let agent = scripts.supervised("taskmanager-1").unwrap();
    kill(agent);
    until("a TaskManager that died is started again", || {
        scripts.supervised("taskmanager-1").filter(|again| *again != agent)
    });
    free(2);
    let survivors =
        ["jobmanager", "taskmanager-1", "taskmanager-2"].map(|name| scripts.supervised(name).unwrap());
    let stopped = scripts.script("stop-cluster");
    assert_eq!(stopped.lines().count(), 3, "{stopped}");
    for pid in survivors {
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
    assert!(text(&scripts.flott(&["list"]).stderr).contains("cannot connect"));
}
