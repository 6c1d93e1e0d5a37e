//! The three modes: the same program, the same counts, and what YARN shows of it.

use std::fs;
use std::path::PathBuf;

use crate::support::{Hadoop, application_in, counts_in, counts_of, hadoop, program, text, wordcount};

/// A text, here and on HDFS.
fn words(cluster: &Hadoop) -> (PathBuf, String) {
    let mut state = 7_u64;
    let mut words = String::new();
    for n in 0..100_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        words.push_str(&format!("w{}", (state >> 33) % 2_000));
        words.push(if n % 11 == 0 { '\n' } else { ' ' });
    }
    let local = std::env::temp_dir().join(format!(
        "flott-words-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    fs::write(&local, words).unwrap();
    let path = cluster.fresh(local.file_name().unwrap().to_str().unwrap().replace(['(', ')'], "").as_str());
    cluster.put(&local, &path);
    (local, path)
}

const APIS: [&[&str]; 2] = [&["--mode", "streaming"], &["--api", "dataset"]];

#[test]
fn words_are_counted_in_an_application_of_their_own() {
    let cluster = hadoop();
    let (local, input) = words(cluster);
    for (target, number) in [("yarn-application", 0), ("yarn-per-job", 1)] {
        for (api, how) in APIS.into_iter().enumerate() {
            let output = cluster.fresh(&format!("counts-{number}-{api}"));
            let yarn = ["-yqu", "nightly", "-D", "yarn.tags=a,b", "-ys", "2", "-ytm", "512"];
            let own = [wordcount(), "--input".into(), input.clone(), "--output".into(), output.clone()];
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            let report = local.with_extension("report");
            let run = ["run", "-t", target, "-p", "2", "--report", report.to_str().unwrap()];
            let said = cluster.flott_well(&[&run, &yarn[..], &own, how].concat());
            let written = cluster.lines_in(&output);
            assert!(counts_in(&written) == counts_of(&local), "{target} {how:?}");
            let report: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
            let bytes = ["bytes_read", "bytes_written"].map(|key| report["jobs"][0][key].as_u64().unwrap());
            let lines: usize = written.iter().map(|line| line.len() + 1).sum();
            assert_eq!(bytes, [fs::metadata(&local).unwrap().len(), lines as u64], "{report}");
            let application = cluster.ended(&application_in(&said));
            let shown = ["finalStatus", "queue", "applicationType", "applicationTags", "name"]
                .map(|key| application[key].clone());
            assert_eq!(shown, ["SUCCEEDED", "root.nightly", "Flott", "a,b", "wordcount"]);
            assert_eq!(application["progress"], 100.0);
            cluster.until_nothing_is_staged(application["id"].as_str().unwrap());
        }
    }
    fs::remove_file(local.with_extension("report")).unwrap();
    fs::remove_file(local).unwrap();
}

#[test]
fn a_session_runs_one_program_after_another() {
    let cluster = hadoop();
    let (local, input) = words(cluster);
    let said = cluster.flott_well(&[
        "yarn-session",
        "-d",
        "-s",
        "2",
        "-tm",
        "512",
        "-nm",
        "day",
        "-qu",
        "streaming",
    ]);
    let id = application_in(&said);
    assert_eq!(cluster.application(&id)["name"], "day");
    for (api, how) in APIS.into_iter().enumerate() {
        let output = cluster.fresh(&format!("session-{api}"));
        let own = [wordcount(), "--input".into(), input.clone(), "--output".into(), output.clone()];
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        cluster.flott_well(
            &[
                &["run", "-t", "yarn-session", "-D", &format!("yarn.application.id={id}"), "-p", "2"],
                &own[..],
                how,
            ]
            .concat(),
        );
        assert!(counts_in(&cluster.lines_in(&output)) == counts_of(&local), "{how:?}");
    }
    let listed = cluster.flott_well(&["list", "-a", "-yid", &id]);
    assert_eq!(listed.matches("FINISHED").count(), 2, "{listed}");
    cluster.stop_session(&id);
    // The secret went with the session.
    let gone = cluster.flott(&["list", "-yid", &id]);
    assert!(!gone.status.success());
    fs::remove_file(local).unwrap();
}

#[test]
fn a_failure_is_told_by_the_command_by_yarn_and_in_the_report() {
    let cluster = hadoop();
    for target in ["yarn-application", "yarn-per-job"] {
        let report = std::env::temp_dir().join(format!("flott-report-{}-{target}", std::process::id()));
        let line = [
            "run",
            "-t",
            target,
            "-ytm",
            "512",
            "--report",
            report.to_str().unwrap(),
            &wordcount(),
            "--input",
            "hdfs:///no/such",
        ];
        let ran = cluster.flott(&line);
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{said}");
        let application = cluster.ended(&application_in(&said));
        assert_eq!(application["finalStatus"], "FAILED");
        let diagnostics = application["diagnostics"].as_str().unwrap();
        assert!(diagnostics.contains("/no/such") && said.contains("/no/such"), "{diagnostics} {said}");
        let written: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        assert_eq!(
            (&written["status"], &written["exit_status"], &written["target"]),
            (&"FAILED".into(), &1.into(), &target.into())
        );
        assert_eq!(written["jobs"][0]["status"], "FAILED");
        assert!(written["reason"].as_str().unwrap().contains("/no/such"));
        fs::remove_file(report).unwrap();
    }
}

#[test]
fn a_detached_application_goes_on_by_itself_and_uploads_nothing_twice() {
    let cluster = hadoop();
    let run = || {
        let line = ["run-application", "-d", "-ytm", "512", &program(), "twice"];
        let ran = cluster.command_as("alice", &line).output().unwrap();
        assert!(ran.status.success(), "{}", text(&ran.stderr));
        application_in(&text(&ran.stdout))
    };
    assert_eq!(cluster.ended(&run())["finalStatus"], "SUCCEEDED");
    let listing = |what: &str| text(&cluster.script(&["hdfs", "dfs", "-ls", what]).stdout);
    let before = listing("/user/alice/.flott/cache");
    assert!(before.lines().count() > 2, "{before}");
    assert_eq!(cluster.ended(&run())["finalStatus"], "SUCCEEDED");
    // Names, sizes and times of the files.
    assert_eq!(listing("/user/alice/.flott/cache"), before);
}
