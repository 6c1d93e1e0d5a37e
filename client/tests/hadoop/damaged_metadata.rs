//! What the leader before has left of a job is of another version, or half written: that job waits for who can help, with its tasks and its
//! files, and the others go on.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::containers::{kill, process_of, workers_of};
use crate::support::{Hadoop, application_in, get_json, hadoop, program, text, until};

/// Enough to be busy with while the gate is closed.
const EVENTS: u64 = 800_000;
const KEYS: u64 = 10;
const JOBS: usize = 3;

/// Where the version is, and one that nobody has written yet.
const VERSION_AT: usize = 7;
const OTHER_VERSION: u8 = 9;

/// A highly available session with a few streams of sums.
struct Session {
    cluster: &'static Hadoop,
    id: String,
    folder: tempfile::TempDir,
    storage: String,
    outputs: Vec<String>,
}

impl Session {
    fn start() -> Self {
        let (cluster, folder) = (hadoop(), tempfile::tempdir().unwrap());
        let storage = cluster.fresh("damaged-ha");
        let settings = [
            "high-availability.type=zookeeper".to_owned(),
            format!("high-availability.zookeeper.quorum={}", cluster.variable("ZOOKEEPER")),
            format!("high-availability.storageDir={storage}"),
            "rest.read-access=open".to_owned(),
            "yarn.application-attempts=10".to_owned(),
        ];
        let settings: Vec<&str> = settings.iter().flat_map(|setting| ["-D", setting]).collect();
        let slots = JOBS.to_string();
        let layout = ["yarn-session", "-d", "-s", &slots, "-tm", "512", "-jm", "512", "-nm", "damaged"];
        let id = application_in(&cluster.flott_well(&[&layout, &settings[..]].concat()));
        let mut session = Self { cluster, id, folder, storage, outputs: Vec::new() };
        session.outputs = (0..JOBS).map(|number| session.run(number)).collect();
        session
    }

    /// Starts a job. Its output.
    fn run(&self, number: usize) -> String {
        let output = self.cluster.fresh(&format!("damaged-{number}"));
        let checkpoints = self.cluster.fresh(&format!("damaged-checkpoints-{number}"));
        let settings = [
            format!("yarn.application.id={}", self.id),
            format!("execution.checkpointing.dir={checkpoints}"),
            "execution.checkpointing.interval=300 ms".to_owned(),
        ];
        let settings: Vec<&str> = settings.iter().flat_map(|setting| ["-D", setting]).collect();
        let (events, keys) = (EVENTS.to_string(), KEYS.to_string());
        let (program, gate) = (program(), self.gate());
        let own = [&program, "sums", &events, &keys, gate.to_str().unwrap(), &output];
        let line = ["run", "-d", "-t", "yarn-session", "-p", "1"];
        self.cluster.flott_well(&[&line[..], &settings, &own].concat());
        output
    }

    /// All jobs end when it is there.
    fn gate(&self) -> std::path::PathBuf {
        self.folder.path().join("gate")
    }

    fn rest(&self, path: &str) -> Option<Value> {
        let web = self.cluster.application(&self.id)["trackingUrl"].as_str()?.to_owned();
        get_json(&["-L", &format!("{}/{path}", web.trim_end_matches('/'))])
    }

    /// The jobs' ids and states, in the order of their ids.
    fn jobs(&self) -> Option<Vec<(String, String)>> {
        let told = self.rest("jobs/overview")?;
        let of = |job: &Value, key: &str| job[key].as_str().unwrap().to_owned();
        let jobs = told["jobs"].as_array()?.iter().map(|job| (of(job, "jid"), of(job, "state")));
        let mut jobs: Vec<(String, String)> = jobs.collect();
        jobs.sort();
        Some(jobs)
    }

    /// Waits until the jobs are in these states.
    fn until_in(&self, states: [&str; JOBS]) -> Vec<String> {
        until(&format!("the jobs are {states:?}"), || {
            let jobs = self.jobs()?;
            let same =
                jobs.len() == JOBS && jobs.iter().zip(states).all(|((_, state), other)| state == other);
            same.then(|| jobs.into_iter().map(|(id, _)| id).collect())
        })
    }

    /// Waits for a checkpoint that a job completes from now on.
    fn until_checkpoint(&self, job: &str) {
        let completed = || {
            let told = self.rest(&format!("jobs/{job}/checkpoints"))?;
            told["latest"]["completed"]["id"].as_u64()
        };
        let before = until("there is a checkpoint", completed);
        until("there is another checkpoint", || completed().filter(|id| *id > before));
    }

    /// The next ApplicationMaster has to go on.
    fn kill_master(&self) {
        let master = process_of(&self.id, "application-master", None);
        kill(master);
        process_of(&self.id, "application-master", Some(master));
    }

    fn read(&self, path: &str) -> Vec<u8> {
        let output = self.cluster.script(&["hdfs", "dfs", "-cat", path]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        output.stdout
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let file = self.folder.path().join("file");
        fs::write(&file, bytes).unwrap();
        self.cluster.put(&file, path);
    }

    /// Lets all jobs end, and compares what they wrote with what they had to write.
    fn end(self) {
        fs::write(self.gate(), "").unwrap();
        self.until_in(["FINISHED"; JOBS]);
        let mut expected: Vec<String> =
            (0..EVENTS).map(|n| format!("{} {}", n % KEYS, n / KEYS + 1)).collect();
        expected.sort();
        for output in &self.outputs {
            let mut found = self.cluster.lines_in(&format!("{output}/sums"));
            found.sort();
            assert!(found == expected, "{output}: {} lines instead of {}", found.len(), expected.len());
        }
        let mut stop = self.cluster.command(&["yarn-session", "-id", &self.id]);
        let mut stop = stop.stdin(Stdio::piped()).spawn().unwrap();
        stop.stdin.take().unwrap().write_all(b"stop\n").unwrap();
        assert!(stop.wait().unwrap().success());
        assert_eq!(self.cluster.ended(&self.id)["finalStatus"], "SUCCEEDED");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.cluster.kill_application(&self.id);
        }
    }
}

#[test]
fn jobs_that_the_next_leader_cannot_read_wait_and_the_others_go_on() {
    let session = Session::start();
    let jobs = session.until_in(["RUNNING"; JOBS]);
    jobs.iter().for_each(|job| session.until_checkpoint(job));
    let workers = workers_of(process_of(&session.id, "yarn-taskmanager", None));
    assert_eq!(workers.len(), JOBS);

    let kept = session.cluster.tree(&session.storage);
    let file_of = |job: &str| {
        let is_of_job = |path: &&String| path.contains(&format!("/{job}-")) && path.ends_with("/submission");
        kept.iter().find(is_of_job).unwrap_or_else(|| panic!("no submission of {job} in {kept:?}"))
    };
    let (of_other_version, half) = (file_of(&jobs[0]), file_of(&jobs[1]));
    let whole = [session.read(of_other_version), session.read(half)];
    let mut damaged = whole.clone();
    damaged[0][VERSION_AT] = OTHER_VERSION;
    damaged[1].truncate(whole[1].len() / 2);
    session.write(of_other_version, &damaged[0]);
    session.write(half, &damaged[1]);
    session.kill_master();

    assert_eq!(session.until_in(["SUSPENDED", "SUSPENDED", "RUNNING"]), jobs);
    let why = |job: &str| {
        let told = session.rest(&format!("jobs/{job}/exceptions")).unwrap();
        told["root-exception"].as_str().unwrap().to_owned()
    };
    let (first, second) = (why(&jobs[0]), why(&jobs[1]));
    assert!(first.contains(of_other_version.as_str()) && second.contains(half.as_str()), "{first} {second}");
    assert!(first.contains("format version 9, and this program knows versions 1 to 2"), "{first}");
    assert!(second.contains("it is truncated or damaged"), "{second}");
    assert!(first.contains("or cancel the job") && second.contains("or cancel the job"), "{first} {second}");
    session.until_checkpoint(&jobs[2]);
    assert_eq!(workers_of(process_of(&session.id, "yarn-taskmanager", None)), workers, "all tasks go on");
    assert_eq!(
        [session.read(of_other_version), session.read(half)],
        damaged,
        "nothing is deleted or written"
    );

    // Somebody puts it right: the next leader goes on with all of them.
    session.write(of_other_version, &whole[0]);
    session.write(half, &whole[1]);
    session.kill_master();
    assert_eq!(session.until_in(["RUNNING"; JOBS]), jobs);
    jobs.iter().for_each(|job| session.until_checkpoint(job));
    assert_eq!(workers_of(process_of(&session.id, "yarn-taskmanager", None)), workers, "nothing restarts");
    session.end();
}
