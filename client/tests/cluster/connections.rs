//! Connections between a command and its JobManager that break while the job goes on.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::failures::{check_sums, start_sums, until_more};
use crate::support::{Cluster, interrupt, lines_in, program, text, until};

/// The connections of a forwarder, both ends of each; none: it is cut.
type Open = Arc<Mutex<Option<Vec<TcpStream>>>>;

/// Stands between commands and their JobManager, and can be cut.
struct Forwarder {
    address: String,
    open: Open,
}

/// More than a command says at once in anything but a submission, which holds the job's graph.
const SUBMISSION_BYTES: usize = 1500;

fn spawn(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().spawn(work).unwrap();
}

/// Breaks every connection.
fn cut(open: &Open) {
    for stream in open.lock().unwrap().take().into_iter().flatten() {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Copies of what is said on a connection what `passes`.
fn forward(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut(usize) -> bool) {
    let mut bytes = [0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if passes(count) && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

impl Forwarder {
    /// Forwards to `to` for as long as the test's process lives.
    fn start(to: &str) -> Self {
        Self::start_until(to, usize::MAX)
    }

    /// The same, but of a connection on which a command has said more than `bytes` at once no answer passes from then on.
    fn start_until(to: &str, bytes: usize) -> Self {
        let open: Open = Arc::new(Mutex::new(Some(Vec::new())));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (streams, to) = (Arc::clone(&open), to.to_owned());
        spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut open = streams.lock().unwrap();
                // While it is cut, who comes is hung up on.
                let (Some(open), Ok(other)) = (open.as_mut(), TcpStream::connect(&to)) else { continue };
                let ends = || (stream.try_clone().unwrap(), other.try_clone().unwrap());
                let said = Arc::new(AtomicUsize::new(0));
                let ((command, master), unanswered) = (ends(), Arc::clone(&said));
                spawn(move || {
                    forward(command, master, |count| {
                        unanswered.fetch_add(count, Ordering::SeqCst);
                        true
                    });
                });
                let (command, master) = ends();
                spawn(move || {
                    let mut passes = true;
                    forward(master, command, |_| {
                        passes &= said.swap(0, Ordering::SeqCst) <= bytes;
                        passes
                    });
                });
                open.extend([stream, other]);
            }
        });
        Self { address, open }
    }

    /// Breaks every connection, and takes no other.
    fn cut(&self) {
        cut(&self.open);
    }

    /// Forwards again, and waits until somebody has come.
    fn mend(&self) {
        *self.open.lock().unwrap() = Some(Vec::new());
        let connected = || self.open.lock().unwrap().as_ref().is_some_and(|open| !open.is_empty());
        until("the command has connected again", || connected().then_some(()));
    }
}

#[test]
fn a_command_ends_as_its_job_does_whatever_happens_to_the_connection() {
    let mut cluster = Cluster::start(1, 2);
    let forwarder = Forwarder::start(&cluster.address);
    cluster.address.clone_from(&forwarder.address);
    let report = cluster.path("report.json");
    let (run, output) = start_sums(&cluster, "sums", &["--report", &report]);
    until_more(&output);
    forwarder.cut();
    until_more(&output);
    forwarder.mend();
    until_more(&output);
    // The job ends while nobody hears it.
    forwarder.cut();
    fs::write(cluster.path("gate"), "").unwrap();
    let all = || lines_in(&format!("{output}/sums")).len() as u64 == crate::failures::EVENTS;
    until("all is committed", || all().then_some(()));
    let begun: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!((&begun["status"], &begun["exit_status"]), (&"RUNNING".into(), &serde_json::Value::Null));
    forwarder.mend();
    let ended = run.output();
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("it is looked for, up to 10 min").count(), 2, "{said}");
    check_sums(&output);
    let written: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!((&written["status"], &written["exit_status"]), (&"FINISHED".into(), &0.into()), "{written}");
    let job = &written["jobs"][0];
    assert_eq!((&job["status"], &job["restarts"]), (&"FINISHED".into(), &0.into()), "{written}");
    // A report that cannot be written is said before anything runs.
    let nowhere = cluster.path("no/report.json");
    let refused = cluster.flott(&["run", "--report", &nowhere, &program(), "twice"]);
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{}", text(&refused.stdout));
    assert!(text(&refused.stderr).contains("cannot write the report"), "{}", text(&refused.stderr));
    cluster.until_clean();
}

#[test]
fn a_job_whose_submission_was_not_answered_is_cancelled_by_ctrl_c() {
    let mut cluster = Cluster::start(1, 1);
    let master = cluster.address.clone();
    // The JobManager has the program, so that only its job is sent.
    assert!(cluster.flott(&["run", &program(), "twice"]).status.success());
    let forwarder = Forwarder::start_until(&master, SUBMISSION_BYTES);
    cluster.address.clone_from(&forwarder.address);
    let run = cluster.spawn(&["run", &program(), "endless"]);
    cluster.address = master;
    let job = until("the JobManager has the job", || {
        let listed = text(&cluster.flott(&["list", "-r"]).stdout);
        let job = listed.lines().find(|line| line.ends_with("endless"))?;
        Some(job.split(' ').next().unwrap().to_owned())
    });
    forwarder.cut();
    interrupt(run.pid());
    forwarder.mend();
    let ended = run.output();
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains(&format!("Interrupted: job {job} is cancelled.")), "{said}");
    let all = text(&cluster.flott(&["list", "-a"]).stdout);
    assert!(all.contains(&job) && all.contains("CANCELED"), "{all}");
    cluster.until_idle();
}

#[test]
fn reports_say_what_the_command_knows() {
    let cluster = Cluster::start(1, 1);
    let (path, program) = (cluster.path("report.json"), program());
    let report = || serde_json::from_slice::<serde_json::Value>(&fs::read(&path).unwrap()).unwrap();
    let local = cluster.flott_alone(&["run", "-m", "local", "--report", &path, &program, "twice"]);
    assert!(local.status.success(), "{}", text(&local.stderr));
    let written = report();
    assert_eq!((&written["target"], &written["status"]), (&"local".into(), &"FINISHED".into()), "{written}");
    let jobs = written["jobs"].as_array().unwrap();
    let seen: Vec<_> =
        jobs.iter().map(|job| (job["name"].as_str().unwrap(), job["status"].as_str().unwrap())).collect();
    assert_eq!(seen, [("first", "FINISHED"), ("second", "FINISHED")], "{written}");
    assert_eq!(jobs[0]["records_read"], 100, "{written}");
    let submitted = cluster.flott(&["run", "-d", "--report", &path, &program, "endless"]);
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    let (written, id) = (report(), text(&submitted.stdout).trim().to_owned());
    assert_eq!(
        (&written["status"], &written["jobs"][0]["id"]),
        (&"SUBMITTED".into(), &id.as_str().into()),
        "{written}"
    );
    assert!(cluster.flott(&["cancel", &id]).status.success());
    let attached = cluster.spawn(&["run", "--report", &path, &program, "endless"]);
    let running = until("its job runs", || {
        let listed = text(&cluster.flott(&["list", "-r"]).stdout);
        let running = listed.lines().find(|line| line.contains("RUNNING"))?;
        Some(running.split(' ').next().unwrap().to_owned())
    });
    assert!(cluster.flott(&["cancel", &running]).status.success());
    assert_eq!(attached.output().status.code(), Some(1));
    let written = report();
    let told = ["status", "reason"].map(|key| written[key].as_str().unwrap());
    assert_eq!(told, ["CANCELED", "the job was cancelled"], "{written}");
}
