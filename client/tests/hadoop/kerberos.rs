//! Kerberos: a cluster with a KDC, tickets of two minutes, and tokens that live 90 s.
//!
//! It needs a KDC (`scripts/hadoop-cluster install` gets it) and a command with the feature:
//!
//! ```sh
//! cargo test -p flott-client --features kerberos --test hadoop kerberos
//! FLOTT_KERBEROS_SECONDS=360 cargo test -p flott-client --features kerberos --test hadoop kerberos::tokens   # the long way
//! ```

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::containers::{kill, process_of};
use crate::modes::APIS;
use crate::support::{Hadoop, application_in, counts_in, counts_of, program, text, until, wordcount};

/// How long the stream runs, in seconds, unless `FLOTT_KERBEROS_SECONDS` says otherwise: longer than tickets and tokens live.
const SECONDS: u64 = 150;

/// Between two checkpoints of it.
const INTERVAL: Duration = Duration::from_secs(1);

/// The cluster, if there can be one.
fn secure() -> Option<&'static Hadoop> {
    static CLUSTER: OnceLock<Option<Hadoop>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| {
        let kdc = ["/usr/sbin/krb5kdc", "/usr/bin/krb5kdc"].iter().any(|path| Path::new(path).exists());
        let lives = ["--ticket-life", "2m", "--token-renew-ms", "30000", "--token-max-life-ms", "90000"];
        // The key of the tokens of ApplicationMasters is replaced as often as YARN allows.
        let roll = "yarn:yarn.resourcemanager.am-rm-tokens.master-key-rolling-interval-secs=61";
        kdc.then(|| Hadoop::start(&[&["--secure"][..], &lives[..], &["--property", roll]].concat()))
    });
    if cluster.is_none() {
        eprintln!("skipped: there is no KDC; scripts/hadoop-cluster install gets one");
    }
    cluster.as_ref()
}

/// A ticket of alice's that has expired.
fn expired_ticket(cluster: &Hadoop, cache: &Path) {
    let keytab = format!("{}/alice.keytab", cluster.variable("KEYTABS"));
    let mut kinit = Command::new("kinit");
    kinit.args(["-l", "2s", "-k", "-t", &keytab, "-c"]).arg(cache).arg("alice");
    kinit.env("KRB5_CONFIG", cluster.variable("KRB5_CONFIG"));
    assert!(kinit.status().unwrap().success());
    pass(Duration::from_secs(3));
}

/// The settings by which a user logs in.
fn keytab(cluster: &Hadoop, user: &str) -> [String; 4] {
    let keytab = format!("security.kerberos.login.keytab={}/{user}.keytab", cluster.variable("KEYTABS"));
    let principal = format!("security.kerberos.login.principal={user}");
    ["-D".to_owned(), keytab, "-D".to_owned(), principal]
}

/// Runs a flott command with nothing but these words to log in with.
fn flott(cluster: &Hadoop, words: &[&[&str]]) -> Output {
    cluster.command(&words.concat()).env("KRB5CCNAME", "/nonexistent/cache").output().unwrap()
}

/// The same, as alice with her keytab; it has to end well, and says what it printed.
fn as_alice(cluster: &Hadoop, command: &[&str], words: &[&[&str]]) -> String {
    let login = keytab(cluster, "alice");
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    let output = flott(cluster, &[command, &login, &words.concat()]);
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stderr) + &text(&output.stdout)
}

fn alices(cluster: &Hadoop, name: &str) -> String {
    format!("{}/user/alice/{name}", cluster.variable("NAMENODE"))
}

#[test]
fn words_are_counted_in_three_modes_and_bob_is_kept_out() {
    let Some(cluster) = secure() else { return };
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("words");
    std::fs::write(&local, "the quick brown fox jumps over the lazy dog\n".repeat(500)).unwrap();
    let input = format!("{}/tmp/words", cluster.variable("NAMENODE"));
    cluster.put(&local, &input);
    let count = |mode: &[&str]| {
        for (api, how) in APIS.into_iter().enumerate() {
            let output = alices(cluster, &format!("counts-{}-{api}", mode[2]));
            let own = [&wordcount(), "--input", &input, "--output", &output];
            let said = as_alice(cluster, mode, &[&["-p", "2"], &own, how]);
            if mode[2] != "yarn-session" {
                let id = application_in(&said);
                let ended = cluster.ended(&id);
                let told = ["finalStatus", "user", "applicationType"].map(|key| ended[key].as_str().unwrap());
                assert_eq!(told, ["SUCCEEDED", "alice", "Flott"], "{ended}");
                cluster.until_nothing_is_staged(&id);
            }
            assert!(counts_in(&cluster.lines_in(&output)) == counts_of(&local), "{mode:?} {how:?}");
        }
    };
    for target in ["yarn-application", "yarn-per-job"] {
        count(&["run", "-t", target, "-ytm", "512", "-ys", "2"]);
    }

    // Who may see it gets a token of YARN's, which is not enough.
    let session = ["yarn-session", "-d", "-s", "2", "-tm", "512", "-D", "yarn.view.acls=bob"];
    let id = application_in(&as_alice(cluster, &session, &[]));
    let this = format!("yarn.application.id={id}");
    count(&["run", "-t", "yarn-session", "-D", &this]);
    let bob = keytab(cluster, "bob");
    let bob: Vec<&str> = bob.iter().map(String::as_str).collect();
    let refused = flott(cluster, &[&["list", "-yid", &id], &bob]);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("file not found"), "{said}");
    let hers = alices(cluster, &format!(".flott/{id}/secret"));
    let refused = cluster.script(&["--as", "bob", "hdfs", "dfs", "-cat", &hers]);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("Permission denied"), "{said}");
    // Without the file, alice's own token is.
    let elsewhere = format!("yarn.staging-directory={}/tmp", cluster.variable("NAMENODE"));
    as_alice(cluster, &["list", "-yid", &id], &[&["-D", &elsewhere]]);
    let login = keytab(cluster, "alice");
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    let mut stop = cluster.command(&[&["yarn-session", "-id", &id], &login[..]].concat());
    let mut stop = stop.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut stop.stdin.take().unwrap(), b"stop\n").unwrap();
    assert!(stop.wait().unwrap().success());
}

#[test]
fn what_is_wrong_with_a_login_is_said_before_anything_is_submitted() {
    let Some(cluster) = secure() else { return };
    let keytabs = cluster.variable("KEYTABS");
    let login = |principal: &str, keytab: &str| {
        let set = |key: &str, value: &str| format!("security.kerberos.login.{key}={value}");
        ["-D".into(), set("principal", principal), "-D".into(), set("keytab", keytab)]
    };
    let alice = format!("{keytabs}/alice.keytab");
    let two = ["-D".into(), "yarn.application-attempts=2".into()];
    let sasl = ["high-availability.type=zookeeper", "zookeeper.sasl.disable=false"];
    let sasl = sasl.map(|setting| ["-D".to_owned(), setting.to_owned()]).concat();
    let [a, b, c, d] = login("alice", &alice);
    for (settings, why) in [
        (vec![], "there is no ticket: run kinit, or use a keytab"),
        (login("bob", &alice).to_vec(), "alice.keytab has no key of bob"),
        (login("alice", "/none/x.keytab").to_vec(), "the keytab /none/x.keytab cannot be read"),
        (login("alice", &alice)[..2].to_vec(), "security.kerberos.login.keytab is not"),
        (
            vec!["-D".into(), "security.kerberos.login.use-ticket-cache=false".into()],
            "there is nothing to log in with",
        ),
        ([&two[..], &[a, b, c, d]].concat(), "name it by yarn.provided.lib.dirs"),
        ([&login("bob", &alice)[..], &sasl].concat(), "ZooKeeper would see alice@"),
    ] {
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let refused = flott(cluster, &[&["run-application"], &settings, &[&wordcount()]]);
        let said = text(&refused.stderr);
        assert!(!refused.status.success() && said.contains(why), "{settings:?}: {said}");
        assert!(!said.contains("application_"), "{said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    expired_ticket(cluster, &cache);
    let mut late = cluster.command(&["run-application", &wordcount()]);
    let said = text(&late.env("KRB5CCNAME", &cache).output().unwrap().stderr);
    assert!(said.contains("the ticket has expired: run kinit again"), "{said}");
}

fn pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// A stream of sums with checkpoints on HDFS, for longer than tickets and tokens live.
#[test]
fn tokens_are_replaced_while_a_stream_runs() {
    let Some(cluster) = secure() else { return };
    let seconds = std::env::var("FLOTT_KERBEROS_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = seconds.unwrap_or(SECONDS);
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let report = folder.path().join("report");
    let (output, checkpoints) = (alices(cluster, "sums"), alices(cluster, "checkpoints"));
    let (events, keys) = (seconds * 5_000, 10);
    let settings = [
        format!("execution.checkpointing.dir={checkpoints}"),
        format!("execution.checkpointing.interval={} ms", INTERVAL.as_millis()),
        // One that fails ends the job.
        "execution.checkpointing.tolerable-failed-checkpoints=0".to_owned(),
        "restart-strategy.type=none".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["-D", setting]).collect();
    let (events_text, keys_text) = (events.to_string(), keys.to_string());
    let own = [&program(), "sums", &events_text, &keys_text, gate.to_str().unwrap(), &output];
    let login = keytab(cluster, "alice");
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    let run = ["run-application", "-p", "2", "-ys", "2", "-ytm", "512", "--report", report.to_str().unwrap()];
    let mut command = cluster.command(&[&run[..], &login, &settings, &own].concat());
    let running = command.env("KRB5CCNAME", "/nonexistent/cache").spawn().unwrap();
    pass(Duration::from_secs(seconds));
    until_more_is_committed(cluster, &output, "files are committed by checkpoints with new tokens");
    std::fs::write(&gate, "").unwrap();
    let ended = running.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let job = &report["jobs"][0];
    let completed = job["completed_checkpoints"].as_u64().unwrap();
    eprintln!("{completed} checkpoints have succeeded, and none failed, in {seconds} s");
    assert_eq!((&job["status"], &job["restarts"]), (&"FINISHED".into(), &0.into()), "{report}");
    assert_exact(cluster, &output, events, keys);
}

/// Waits until checkpoints that were begun later than this have committed files of sums.
fn until_more_is_committed(cluster: &Hadoop, output: &str, what: &str) {
    let committed = || {
        let tree = cluster.tree(&format!("{output}/sums"));
        tree.iter().filter(|path| path.rsplit('/').next().unwrap().starts_with("part-")).count()
    };
    let before = committed();
    // One under way commits no more than a file of each of both subtasks.
    until(what, || (committed() > before + 2).then_some(()));
}

/// Every event is in the sums, once.
fn assert_exact(cluster: &Hadoop, output: &str, events: u64, keys: u64) {
    let mut found = cluster.lines_in(&format!("{output}/sums"));
    let mut expected: Vec<String> = (0..events).map(|n| format!("{} {}", n % keys, n / keys + 1)).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert!(found == expected, "{} lines instead of {}", found.len(), expected.len());
}

/// The nodes of an application in ZooKeeper are its user's: nobody else can look at them, or change them.
fn assert_private_nodes(cluster: &Hadoop, id: &str) {
    let info = format!("/flott/{id}/leader/info");
    let acl = text(&cluster.script(&["--as", "alice", "zk", "getAcl", &info]).stdout);
    assert!(acl.contains("'sasl,'alice\n: cdrwa") && acl.contains("'digest,'flott:"), "{acl}");
    let seen = text(&cluster.script(&["--as", "alice", "zk", "get", &info]).stdout);
    assert!(seen.contains("epoch"), "{seen}");
    let nobody = |arguments: &[&str]| {
        let mut command = cluster.script_command(arguments);
        command.env("KRB5CCNAME", "/nonexistent/cache").output().unwrap()
    };
    let as_bob = |arguments: &[&str]| cluster.script(&[&["--as", "bob"], arguments].concat());
    for command in
        [&["zk", "get", &info][..], &["zk", "set", &info, "x"], &["zk", "ls", &format!("/flott/{id}")]]
    {
        for said in [nobody(command), as_bob(command)] {
            let said = text(&said.stderr) + &text(&said.stdout);
            assert!(said.contains("Insufficient permission"), "{command:?}: {said}");
        }
    }
}

/// What is started when the tokens of the submission have ended begins with new ones: a TaskManager, and another ApplicationMaster. So do
/// a session with a ZooKeeper that comes back, and a connection to a ResourceManager that does.
#[test]
fn what_is_replaced_later_begins_with_new_tokens() {
    let Some(cluster) = secure() else { return };
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let provided = format!("{}/tmp/provided", cluster.variable("NAMENODE"));
    assert!(cluster.script(&["hdfs", "dfs", "-mkdir", "-p", &provided]).status.success());
    cluster.put(Path::new(crate::support::flott()), &format!("{provided}/flott"));
    let (output, checkpoints) = (alices(cluster, "later"), alices(cluster, "later-checkpoints"));
    let settings = [
        format!("yarn.provided.lib.dirs={provided}"),
        "high-availability.type=zookeeper".to_owned(),
        format!("high-availability.zookeeper.quorum={}", cluster.variable("ZOOKEEPER")),
        format!("high-availability.storageDir={}", alices(cluster, "ha")),
        "high-availability.zookeeper.client.acl=creator".to_owned(),
        "zookeeper.sasl.disable=false".to_owned(),
        format!("execution.checkpointing.dir={checkpoints}"),
        format!("execution.checkpointing.interval={} ms", INTERVAL.as_millis()),
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["-D", setting]).collect();
    let (events, keys) = (1_200_000, 10);
    let (events_text, keys_text) = (events.to_string(), keys.to_string());
    let own = [&program(), "sums", &events_text, &keys_text, gate.to_str().unwrap(), &output];
    let run = ["run-application", "-d", "-p", "2", "-ys", "2", "-ytm", "512"];
    let id = application_in(&as_alice(cluster, &run, &[&settings, &own]));
    let task_manager = process_of(&id, "yarn-taskmanager", None);
    let master = process_of(&id, "application-master", None);
    // For longer than the tokens of the submission live, and the ticket that the session with ZooKeeper began with.
    pass(Duration::from_secs(130));
    assert_private_nodes(cluster, &id);
    let until_more_is_committed = |what: &str| until_more_is_committed(cluster, &output, what);
    // The ResourceManager has replaced its key twice, and lets in only who took the new tokens.
    for daemon in ["zookeeper", "resourcemanager"] {
        for command in ["kill", "start"] {
            assert!(cluster.script(&[command, daemon]).status.success(), "{command} {daemon}");
        }
    }
    until_more_is_committed("files are committed when ZooKeeper and the ResourceManager are back");
    assert_eq!(process_of(&id, "application-master", None), master);
    kill(task_manager);
    process_of(&id, "yarn-taskmanager", Some(task_manager));
    until_more_is_committed("the new TaskManager's files are committed");
    kill(master);
    process_of(&id, "application-master", Some(master));
    until_more_is_committed("files are committed under the new ApplicationMaster");
    std::fs::write(&gate, "").unwrap();
    let status = ["--as", "alice", "yarn", "application", "-status", &id];
    until("the application has succeeded", || {
        let said = text(&cluster.script(&status).stdout);
        assert!(!said.contains("FAILED") && !said.contains("KILLED"), "{said}");
        said.contains("SUCCEEDED").then_some(())
    });
    assert_exact(cluster, &output, events, keys);
}
