//! The three modes: the same program, the same counts, and what YARN shows of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Hadoop, application_in, counts_in, counts_of, hadoop, program, text, until, wordcount};

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

/// An archive with one file of this name in it.
fn archive_of(name: &str) -> PathBuf {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), "unpacked").unwrap();
    let archive = std::env::temp_dir().join(format!("{name}.tar.gz"));
    let packed =
        Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(folder.path()).arg(name).status();
    assert!(packed.unwrap().success());
    archive
}

/// The files of this name that nodes keep for users' containers.
fn kept_on_nodes(cluster: &Hadoop, name: &str) -> Vec<PathBuf> {
    let found =
        Command::new("find").arg(cluster.folder()).args(["-path", "*/usercache/*", "-name", name]).output();
    text(&found.unwrap().stdout).lines().map(PathBuf::from).collect()
}

pub const APIS: [&[&str]; 2] = [&["--mode", "streaming"], &["--api", "dataset"]];

#[test]
fn words_are_counted_in_an_application_of_their_own() {
    let cluster = hadoop();
    let (local, input) = words(cluster);
    let marker = format!("marker-{}", std::process::id());
    let archive = archive_of(&marker);
    let archives = format!("yarn.ship-archives={}", archive.display());
    for (target, number) in [("yarn-application", 0), ("yarn-per-job", 1)] {
        for (api, how) in APIS.into_iter().enumerate() {
            let output = cluster.fresh(&format!("counts-{number}-{api}"));
            let umask = "flink.hadoop.fs.permissions.umask-mode=077";
            let yarn = [
                "-yqu",
                "nightly",
                "-D",
                "yarn.tags=a,b",
                "-ys",
                "2",
                "-ytm",
                "512",
                "-yt",
                &input,
                "-D",
                &archives,
                "-D",
                umask,
            ];
            let own = [wordcount(), "--input".into(), input.clone(), "--output".into(), output.clone()];
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            let report = local.with_extension("report");
            let run = ["run", "-t", target, "-p", "2", "--report", report.to_str().unwrap()];
            let said = cluster.flott_well(&[&run, &yarn[..], &own, how].concat());
            let written = cluster.lines_in(&output);
            assert!(counts_in(&written) == counts_of(&local), "{target} {how:?}");
            if api == 0 {
                let listed = text(&cluster.script(&["hdfs", "dfs", "-ls", "-d", &output]).stdout);
                assert!(listed.starts_with("drwx------ "), "{listed}");
            }
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
    // What was shipped is there as it should be, the archive unpacked; the file on HDFS was taken from where it is.
    let unpacked = kept_on_nodes(cluster, &marker);
    assert!(!unpacked.is_empty(), "{archive:?}");
    for file in unpacked {
        assert_eq!(fs::read_to_string(&file).unwrap(), "unpacked");
        assert!(file.parent().unwrap().to_str().unwrap().ends_with(".tar.gz"), "{file:?}");
    }
    let shipped = kept_on_nodes(cluster, input.rsplit('/').next().unwrap());
    assert!(shipped.iter().any(|file| fs::read(file).unwrap() == fs::read(&local).unwrap()), "{shipped:?}");
    for file in [local.with_extension("report"), local, archive] {
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_session_runs_one_program_after_another() {
    let cluster = hadoop();
    let (local, input) = words(cluster);
    let own = tempfile::tempdir().unwrap();
    let own_file = format!("yarn.properties-file.location={}", own.path().display());
    let said = cluster.flott_well(&[
        "yarn-session",
        "-D",
        &own_file,
        "-d",
        "-s",
        "2",
        "-tm",
        "512",
        "-nm",
        "day",
        "-qu",
        "streaming",
        "-D",
        "resourcemanager.taskmanager-timeout=3 s",
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
    // The queue has room for one ApplicationMaster: who starts another session hears what it waits for.
    let said = own.path().join("said");
    let mut waiting = cluster.command(&["yarn-session", "-D", &own_file, "-d", "-qu", "streaming"]);
    let waiting = waiting.stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
    let said = || fs::read_to_string(&said).unwrap();
    until("it is said", || said().contains("does not run yet; it is ACCEPTED: ").then_some(()));
    assert!(said().contains("Queue's AM resource limit exceeded"), "{}", said());
    assert!(Command::new("kill").args(["-INT", &waiting.id().to_string()]).status().unwrap().success());
    assert_eq!(waiting.wait_with_output().unwrap().status.code(), Some(130), "{}", said());
    let listed = cluster.flott_well(&["list", "-a", "-yid", &id]);
    assert_eq!(listed.matches("FINISHED").count(), 2, "{listed}");
    until("a TaskManager without work is given back", || {
        (cluster.application(&id)["runningContainers"] == 1).then_some(())
    });
    cluster.stop_session(&id);
    // The secret went with the session.
    for (named, why) in
        [(["-yid", &id], "is FINISHED"), (["-D", &own_file], "which flott yarn-session has left: remove")]
    {
        let gone = cluster.flott(&[&["list"][..], &named].concat());
        let said = text(&gone.stderr);
        assert!(!gone.status.success() && said.contains(&id) && said.contains(why), "{said}");
    }
    fs::remove_file(local).unwrap();
}

#[test]
fn a_detached_application_is_found_by_its_id() {
    let cluster = hadoop();
    let line = ["run-application", "-d", "-ytm", "256", &program(), "endless"];
    let id = application_in(&cluster.flott_well(&line));
    let job = until("its job runs", || {
        let listed = cluster.flott_well(&["list", "-yid", &id]);
        let running = listed.lines().find(|line| line.contains("RUNNING"))?;
        Some(running.split(' ').next().unwrap().to_owned())
    });
    let this = format!("-Dyarn.application.id={id}");
    let listed = cluster.flott_well(&["list", "-t", "yarn-application", &this]);
    assert!(listed.contains(&job), "{listed}");
    let web = cluster.flott_well(&["web", "-yid", &id]);
    assert!(web.contains(&format!("/proxy/{id}/#read=")) && web.contains("token="), "{web}");
    for (line, why) in [
        (["run", "-yid", &id, &wordcount()], "is no session: it is there for its own program only"),
        (["run-application", "-yid", &id, &wordcount()], "leave one of them away"),
        (["cancel", &job, "-yid", &id], ""),
    ] {
        let line =
            if why.is_empty() { [&line[..], &["-s", "hdfs:///savepoints"]].concat() } else { line.to_vec() };
        let refused = cluster.flott(&line);
        let said = text(&refused.stderr);
        assert!(refused.status.code() == Some(1) && said.contains(why), "{line:?}: {said}");
    }
    let cancelled = cluster.flott_well(&["cancel", &job, "-t", "yarn-application", &this]);
    assert!(cancelled.contains("is CANCELED"), "{cancelled}");
    assert_eq!(cluster.ended(&id)["finalStatus"], "KILLED");
    cluster.until_nothing_is_staged(&id);
}

#[test]
fn that_a_job_was_cancelled_is_told_by_the_command_by_yarn_and_in_the_report() {
    let (cluster, folder) = (hadoop(), tempfile::tempdir().unwrap());
    let attached = ["yarn-application", "yarn-per-job"].map(|target| {
        let [said, report] = ["said", "report"].map(|name| folder.path().join(format!("{target}.{name}")));
        let line = ["run", "-t", target, "-ytm", "256", "--report", report.to_str().unwrap()];
        let mut command = cluster.command(&[&line[..], &[&program(), "endless"]].concat());
        (command.stderr(fs::File::create(&said).unwrap()).spawn().unwrap(), said, report)
    });
    for (command, said, report) in attached {
        let said = || fs::read_to_string(&said).unwrap();
        let id = until("the application is named", || {
            said().contains("was submitted.").then(|| application_in(&said()))
        });
        let job = until("its job runs", || {
            let listed = text(&cluster.flott(&["list", "-yid", &id]).stdout);
            let running = listed.lines().find(|line| line.contains("RUNNING"))?;
            Some(running.split(' ').next().unwrap().to_owned())
        });
        cluster.flott_well(&["cancel", "-yid", &id, &job]);
        assert_eq!(command.wait_with_output().unwrap().status.code(), Some(1), "{}", said());
        assert!(said().contains("was killed: the job was cancelled"), "{}", said());
        let written: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        let told = ["status", "reason"].map(|key| written[key].as_str().unwrap());
        assert_eq!(told, ["CANCELED", "the job was cancelled"], "{written}");
        assert_eq!(cluster.ended(&id)["finalStatus"], "KILLED");
    }
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
    let remote = cluster.fresh("program");
    cluster.put(Path::new(&program()), &remote);
    let run = |options: &[&str], program: &str| {
        let line = [options, &["-ytm", "512", program, "twice"]].concat();
        let ran = cluster.command_as("alice", &line).output().unwrap();
        assert!(ran.status.success(), "{}", text(&ran.stderr));
        assert_eq!(cluster.ended(&application_in(&text(&ran.stderr)))["finalStatus"], "SUCCEEDED");
    };
    // With main here, too, containers get the program from HDFS.
    run(&["run", "-m", "yarn-cluster"], &program());
    let listing = || text(&cluster.script(&["hdfs", "dfs", "-ls", "/user/alice/.flott/cache"]).stdout);
    let before = listing();
    let hash = flott_cluster::program_store::ContentHash::of_file(Path::new(&program())).unwrap();
    assert!(before.contains(&format!("/{hash}\n")), "{before}");
    run(&["run-application", "-d"], &program());
    run(&["run-application", "-d"], &remote);
    run(&["run", "-m", "yarn-cluster"], &remote);
    // Names, sizes and times of the files.
    assert_eq!(listing(), before);
}

#[test]
fn what_does_not_start_leaves_nothing() {
    let cluster = hadoop();
    // No ApplicationMaster comes out of this runtime.
    let folder = cluster.fresh("broken");
    let broken = tempfile::NamedTempFile::new().unwrap();
    fs::write(&broken, "not to be executed").unwrap();
    cluster.script(&["hdfs", "dfs", "-mkdir", "-p", &folder]);
    cluster.put(broken.path(), &format!("{folder}/flott"));
    // Without its scheme it is on HDFS all the same.
    let provided = folder.trim_start_matches(cluster.variable("NAMENODE"));
    let provided = format!("yarn.provided.lib.dirs={provided}");
    for how in [&["run", "-m", "yarn-cluster"][..], &["run-application"]] {
        let ran = cluster.flott(&[how, &["-D", &provided, &program(), "twice"]].concat());
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{said}");
        let id = application_in(&said);
        assert_eq!(cluster.ended(&id)["finalStatus"], "FAILED", "{said}");
        assert!(!cluster.tree("/user/*/.flott").iter().any(|path| path.contains(&id)), "{said}");
    }
}
