//! What cannot run is refused before anything is started, in words and numbers.

use std::net::TcpListener;

use crate::support::{application_in, hadoop, program, text, wordcount};

#[test]
fn what_cannot_run_is_refused_with_the_reason() {
    let cluster = hadoop();
    // Somebody else has been here before.
    let planted = cluster.fresh("planted");
    let owned =
        cluster.script(&["--as", "alice", "hdfs", "dfs", "-mkdir", "-p", &format!("{planted}/bob/.flott")]);
    assert!(owned.status.success(), "{}", text(&owned.stderr));
    let planted = format!("yarn.staging-directory={planted}");
    let cases: [(&[&str], &str); 9] = [
        (&["-yqu", "nowhere"], "there is no queue 'nowhere'; this cluster has "),
        (&["-yqu", "closed"], "queue 'closed' is stopped"),
        (
            &["-ytm", "9g"],
            "a container for a TaskManager of 9216 MiB and 1 vcores is more than YARN gives: at most 4096 MiB",
        ),
        (&["-ys", "64", "-ytm", "4g"], "64 vcores is more than YARN gives"),
        (&["-ys", "64"], "16 mb is the least: raise taskmanager.memory.process.size"),
        (
            &["-ynl", "gpu"],
            "there is no node label 'gpu'; this cluster has none: set yarn.application.node-label",
        ),
        (&["-D", "yarn.ship-archives=/bin/sh"], "/bin/sh cannot be unpacked: yarn.ship-archives takes files"),
        (&["-D", &planted], "/bob belongs to alice, not to bob"),
        (&["-D", "yarn.application.queu=x"], "did you mean 'yarn.application.queue'"),
    ];
    for (flags, expected) in cases {
        let program = wordcount();
        let line =
            [&["run", "-t", "yarn-application"], flags, &[program.as_str(), "--input", "hdfs:///x"]].concat();
        let ran = cluster.command_as("bob", &line).output().unwrap();
        let said = text(&ran.stderr);
        assert_eq!((ran.status.code(), said.contains(expected)), (Some(1), true), "{flags:?}: {said}");
    }
    // A keytab with a key of alice@R, and another user to log in as.
    let keytab = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keytab.path(), b"\x05\x02\0\0\0\x0c\0\x01\0\x01R\0\x05alice").unwrap();
    let settings = [
        "high-availability.type=zookeeper",
        "zookeeper.sasl.disable=false",
        "security.kerberos.login.principal=bob",
        &format!("security.kerberos.login.keytab={}", keytab.path().display()),
    ];
    let settings: Vec<&str> = settings.into_iter().flat_map(|setting| ["-D", setting]).collect();
    let ran = cluster.command_as("bob", &[&["yarn-session"], &settings[..]].concat()).output().unwrap();
    assert!(text(&ran.stderr).contains("ZooKeeper would see alice@R"), "{}", text(&ran.stderr));
    let shown = cluster.command_as("bob", &["yarn-session", "-q"]).output().unwrap();
    let shown = text(&shown.stdout);
    assert!(shown.contains("root.closed: stopped, ") && shown.contains("root.nightly: running, "), "{shown}");
    let mut blind =
        cluster.command_as("bob", &["run", "-t", "yarn-application", &wordcount(), "--input", "x"]);
    let ran = blind.env_remove("HADOOP_CONF_DIR").env_remove("HADOOP_HOME").output().unwrap();
    assert!(text(&ran.stderr).contains("set HADOOP_CONF_DIR"), "{}", text(&ran.stderr));
    let ran = cluster.command_as("bob", &["run", "-t", "yarn-application", "/bin/true"]).output().unwrap();
    assert!(text(&ran.stderr).contains("is no Flott program"), "{}", text(&ran.stderr));
    // Files that are damaged.
    let damaged = tempfile::tempdir().unwrap();
    let damage = |name: &str, content: &str| {
        let path = damaged.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let site = damage("core-site.xml", "<configuration><property><name>fs.defaultFS");
    let tokens = damage("tokens", "HDTS\0\u{7f}garbage");
    let cases = [
        (
            "HADOOP_CONF_DIR",
            damaged.path(),
            format!("cannot read {}:1: it is not well-formed XML", site.display()),
        ),
        (
            "HADOOP_TOKEN_FILE_LOCATION",
            &tokens,
            format!("cannot read the credentials in {}: ", tokens.display()),
        ),
    ];
    for (variable, path, expected) in cases {
        let mut run =
            cluster.command_as("bob", &["run", "-t", "yarn-application", &wordcount(), "--input", "x"]);
        let ran = run.env(variable, path).output().unwrap();
        let said = text(&ran.stderr);
        assert_eq!((ran.status.code(), said.contains(&expected)), (Some(1), true), "{variable}: {said}");
    }
    assert!(cluster.resource_manager("apps?user=bob")["apps"].get("app").is_none());
}

#[test]
fn why_an_application_cannot_go_on_is_told_by_the_command_and_by_yarn() {
    let cluster = hadoop();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let setting = format!("rest.bind-port={port}");
    let quorum = format!("high-availability.zookeeper.quorum={}", cluster.variable("ZOOKEEPER"));
    let storage = format!("high-availability.storageDir={}", cluster.fresh("told-ha"));
    let available = ["-D", "high-availability.type=zookeeper", "-D", &storage];
    let no_port = ["-D", &setting];
    let program = program();
    let cases = [
        // No other attempt comes, or it would end the same way: the ApplicationMaster says it.
        ([&no_port[..], &[&program, "twice"]].concat(), "FINISHED", format!("(rest.bind-port: {port})")),
        (
            [&available[..], &[&program, "twice"]].concat(),
            "FINISHED",
            "high-availability.zookeeper.quorum is not set".to_owned(),
        ),
        (vec![&program, "panics-in-main"], "FINISHED", "main has no wish to go on".to_owned()),
        // Another attempt might do better, and does not: YARN says what the last one wrote.
        (
            [&available[..], &["-D", &quorum], &no_port, &[&program, "twice"]].concat(),
            "FAILED",
            format!(
                "its ApplicationMaster: exit status 1: flott: no port for the web page (rest.bind-port: {port})"
            ),
        ),
    ];
    for (own, state, expected) in cases {
        let ran = cluster.flott(&[&["run-application", "-ytm", "256", "-yjm", "256"], &own[..]].concat());
        let said = text(&ran.stderr);
        assert_eq!((ran.status.code(), said.contains(&expected)), (Some(1), true), "{expected}: {said}");
        let id = application_in(&said);
        let application = cluster.ended(&id);
        assert_eq!((&application["state"], &application["finalStatus"]), (&state.into(), &"FAILED".into()));
        // As YARN has it, which may be more words.
        let diagnostics = application["diagnostics"].as_str().unwrap();
        let expected = expected.rsplit("flott: ").next().unwrap();
        assert!(diagnostics.contains(expected), "{expected}: {diagnostics}");
    }
}
