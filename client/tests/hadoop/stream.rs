//! A stream that lives through what happens to its cluster: highly available, sums and windows exactly once into files on HDFS, a checkpoint
//! every second. What it has to write is worked out by `awk`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::{Hadoop, application_in, get_json, program, text, until};

/// What `cluster_program` gives in a second while its gate is closed, at most: 10 events every 10 ms, by each of two readers.
const EVENTS_A_SECOND: u64 = 2_000;
const KEYS: u64 = 10;

/// Milliseconds since the epoch.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// An application that runs the stream, and the command that waits for it.
pub struct Stream {
    pub cluster: &'static Hadoop,
    pub id: String,
    folder: tempfile::TempDir,
    output: String,
    /// Where high availability keeps files.
    storage: String,
    pub events: u64,
    command: Child,
    /// Where its JobManager's REST API is, as far as is known.
    web: RefCell<Option<String>>,
}

/// The processes of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    pub masters: Vec<u32>,
    pub task_managers: Vec<u32>,
    /// Children of TaskManagers.
    pub workers: Vec<u32>,
    /// All of them, shells and programs' drivers, too.
    pub all: Vec<u32>,
}

impl Stream {
    /// Starts it with `layout`, the options that say on which containers. It has records for so many seconds before its gate is opened; then it
    /// waits.
    pub fn start(
        cluster: &'static Hadoop,
        name: &str,
        seconds: u64,
        layout: &[&str],
        settings: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (output, events) = (cluster.fresh(name), seconds * EVENTS_A_SECOND);
        let storage = cluster.fresh(&format!("{name}-ha"));
        let own = [
            format!("execution.checkpointing.dir={}", cluster.fresh(&format!("{name}-checkpoints"))),
            "execution.checkpointing.interval=1 s".to_owned(),
            "high-availability.type=zookeeper".to_owned(),
            format!("high-availability.zookeeper.quorum={}", cluster.variable("ZOOKEEPER")),
            format!("high-availability.storageDir={storage}"),
            "rest.read-access=open".to_owned(),
        ];
        let own: Vec<&str> = own.iter().map(String::as_str).chain(settings.iter().copied()).collect();
        let settings: Vec<&str> = own.into_iter().flat_map(|setting| ["-D", setting]).collect();
        let (report, gate, stamps) = (path("report"), path("gate"), path("stamps"));
        let (events_text, keys) = (events.to_string(), KEYS.to_string());
        let program = [&program(), "stamped-sums", &events_text, &keys, &gate, &output, &stamps];
        let run = ["run-application", "-p", "2", "-yjm", "512", "-ytm", "512", "--report", &report];
        let said = path("said");
        let command = cluster
            .command(&[&run, layout, &settings, &program].concat())
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let id = until("the application has an id", || {
            Some(fs::read_to_string(&said).unwrap()).filter(|said| said.contains("application_"))
        });
        let id = application_in(&id);
        let stream = Self { cluster, id, folder, output, storage, events, command, web: RefCell::new(None) };
        stream.until_checkpoint(now());
        stream
    }

    /// The processes that it has.
    pub fn processes(&self) -> Processes {
        let mut found = Processes::default();
        let mut parents = Vec::new();
        let containers = format!("{}_", &self.id["application".len()..]);
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            if !text(&read("environ")).contains(&containers) {
                continue;
            }
            // After the name in parentheses: state, parent.
            let stat = text(&read("stat"));
            let mut rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
            if rest.next() == Some("Z") {
                continue;
            }
            parents.push((pid, rest.next().and_then(|parent| parent.parse::<u32>().ok())));
            found.all.push(pid);
            match text(&read("cmdline")).as_str() {
                "./flott\0application-master\0" => found.masters.push(pid),
                "./flott\0yarn-taskmanager\0" => found.task_managers.push(pid),
                _ => {}
            }
        }
        let workers =
            parents.iter().filter(|(_, parent)| found.task_managers.iter().any(|of| Some(*of) == *parent));
        found.workers = workers.map(|(pid, _)| *pid).collect();
        found
    }

    /// The log folders of its containers, the oldest ApplicationMaster's first.
    fn logs(&self, name: &str) -> Vec<PathBuf> {
        let folders = Command::new("find")
            .arg(self.cluster.folder())
            .args(["-path", &format!("*/{}/container_*/{name}", self.id)])
            .output()
            .unwrap();
        let mut logs: Vec<PathBuf> = text(&folders.stdout).lines().map(PathBuf::from).collect();
        // By attempt and container: an epoch may come before them, in the container's name.
        logs.sort_by_key(|path| {
            let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            folder
                .rsplitn(3, '_')
                .take(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
        });
        logs
    }

    /// The newest ApplicationMaster's log.
    pub fn master_log(&self) -> String {
        self.logs("jobmanager.log").last().map(|path| fs::read_to_string(path).unwrap()).unwrap_or_default()
    }

    /// The nodes that have had one of its containers.
    pub fn nodes(&self) -> BTreeSet<PathBuf> {
        // Above the folders of containers and of the application.
        self.logs("prelaunch.out").iter().filter_map(|path| path.ancestors().nth(3)).map(Into::into).collect()
    }

    /// When YARN began the newest attempt, in milliseconds since the epoch.
    pub fn last_attempt_started(&self) -> i64 {
        let attempts = self.cluster.resource_manager(&format!("apps/{}/appattempts", self.id));
        let attempts = attempts["appAttempts"]["appAttempt"].as_array().unwrap();
        attempts.iter().map(|attempt| attempt["startTime"].as_i64().unwrap()).max().unwrap()
    }

    /// How many containers it has had.
    pub fn containers(&self) -> usize {
        let folders = self.logs("prelaunch.out");
        folders.iter().filter_map(|path| path.parent()?.file_name()).collect::<BTreeSet<_>>().len()
    }

    /// What the JobManager says, if there is one that leads.
    pub fn rest(&self, path: &str) -> Option<Value> {
        let known = self.web.borrow().as_ref().and_then(|web| get_json(&[&format!("http://{web}/{path}")]));
        known.or_else(|| {
            let log = self.master_log();
            let address =
                log.lines().rfind(|line| line.contains("the JobManager listens"))?.rsplit_once("web=")?.1;
            *self.web.borrow_mut() = Some(address.trim_matches('"').to_owned());
            get_json(&[&format!("http://{}/{path}", self.web.borrow().as_ref()?)])
        })
    }

    /// What the JobManager says about the job.
    fn job(&self, path: &str) -> Option<Value> {
        let jobs = self.rest("jobs/overview")?;
        let job = &jobs["jobs"][0];
        assert!(
            !["FAILED", "FINISHED", "CANCELED"].contains(&job["state"].as_str()?),
            "the stream is over: {jobs}"
        );
        self.rest(&format!("jobs/{}/{path}", job["jid"].as_str()?))
    }

    /// Waits for a completed checkpoint that was begun after this moment.
    pub fn until_checkpoint(&self, after: i64) {
        until(&format!("a checkpoint is complete that began after {after}"), || {
            let begun = self.job("checkpoints")?["latest"]["completed"]["trigger_timestamp"].as_i64()?;
            (begun >= after).then_some(())
        });
    }

    /// How often any part of the job was restarted.
    pub fn restarts(&self) -> u64 {
        let metrics = until("the job tells its restarts", || self.job("metrics?get=numRestarts"));
        metrics[0]["value"].as_str().unwrap().parse::<f64>().unwrap() as u64
    }

    /// What has failed in it.
    pub fn failures(&self) -> String {
        let told = until("the job tells its failures", || self.job("exceptions"));
        told["all-exceptions"].to_string()
    }

    /// The milliseconds in which records reached the sink, of each thread that writes, so far.
    pub fn stamps(&self) -> Vec<Vec<i64>> {
        let files = fs::read_dir(self.folder.path().join("stamps")).into_iter().flatten().flatten();
        let stamps = files.map(|file| {
            let text = fs::read_to_string(file.path()).unwrap();
            // The last line may be cut.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            whole.lines().map(|line| line.parse().unwrap()).collect::<Vec<i64>>()
        });
        stamps.filter(|stamps| !stamps.is_empty()).collect()
    }

    /// Lets it end, compares what it wrote with what it had to write, and looks whether it has left something behind. Its report.
    pub fn end(mut self) -> Value {
        fs::write(self.folder.path().join("gate"), "").unwrap();
        let status = until("the command ends", || self.command.try_wait().unwrap());
        let said = fs::read_to_string(self.folder.path().join("said")).unwrap();
        assert!(status.success(), "{status}: {said}");
        let ended = self.cluster.ended(&self.id);
        assert_eq!(ended["finalStatus"], "SUCCEEDED", "{ended}");
        self.assert_exact("sums", "{ k = $1 % K; print k, ++seen[k] }");
        // An event's time is a tenth of its number, and a window is a second.
        let windows = "{ sums[$1 % K \" \" int($1 / 10000) * 1000] += $1 } END { for (w in sums) printf \"%s %.0f\\n\", w, sums[w] }";
        self.assert_exact("windows", windows);
        until("its processes are gone", || self.processes().all.is_empty().then_some(()));
        until("its containers are gone", || {
            let application = self.cluster.application(&self.id);
            (application["runningContainers"].as_i64().unwrap_or_default() <= 0).then_some(())
        });
        // The command takes the report, and leaves no note of what is still kept.
        let left: Vec<String> = ["/user/*/.flott", self.storage.as_str()]
            .into_iter()
            .flat_map(|folder| self.cluster.tree(folder))
            .filter(|path| path.contains(&self.id))
            .collect();
        assert_eq!(left, Vec::<String>::new());
        let report: Value =
            serde_json::from_slice(&fs::read(self.folder.path().join("report")).unwrap()).unwrap();
        let read = report["jobs"][0]["records_read"].as_u64().unwrap();
        assert!(
            read == self.events || report["jobs"][0]["restarts"] != 0,
            "{} events: {report}",
            self.events
        );
        report
    }

    /// Fails unless the lines of a folder are those that an `awk` program makes of the numbers of all events.
    fn assert_exact(&self, folder: &str, awk: &str) {
        let found = self.folder.path().join(folder);
        fs::write(&found, self.cluster.lines_in(&format!("{}/{folder}", self.output)).join("\n") + "\n")
            .unwrap();
        let pipeline = format!(
            "export LC_ALL=C; seq 0 {} | awk -v K={KEYS} '{awk}' | sort >expected && sort {folder} | diff - expected | head -n 5",
            self.events - 1
        );
        let compared =
            Command::new("sh").args(["-c", &pipeline]).current_dir(self.folder.path()).output().unwrap();
        let difference = text(&compared.stdout) + &text(&compared.stderr);
        let expected = fs::metadata(self.folder.path().join("expected")).map_or(0, |file| file.len());
        assert!(
            difference.is_empty() && expected > 0,
            "{folder} differ from what they should be:\n{difference}"
        );
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Of a test that has failed.
        if self.command.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.command.kill();
            let _ = self.command.wait();
            self.cluster.kill_application(&self.id);
        }
    }
}

/// The longest time between two stamps of one thread that ends after `from`, in milliseconds.
pub fn longest_gap(stamps: &[Vec<i64>], from: i64) -> i64 {
    let gaps = stamps.iter().flat_map(|of| of.windows(2)).filter(|pair| pair[1] >= from);
    gaps.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// Lets time pass where time itself is what a test is about.
pub fn pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}
