//! Splits are read on the hosts that have their blocks, and TaskManagers are started there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Hadoop, application_in, counts_in, counts_of, text, until, wordcount};

/// Files on each DataNode.
const FILES: usize = 10;

/// Words in a file, in lines of eleven; enough for a reader to be busy with while another one begins.
const WORDS: usize = 200_000;

/// Puts files on HDFS, half of them on one DataNode and half on the other; all of it is in the local file `all`, too.
fn files(cluster: &Hadoop, folder: &Path, input: &str) {
    cluster.script_well(&["hdfs", "dfs", "-mkdir", "-p", input]);
    let (mut state, mut all) = (7_u64, String::new());
    // While a DataNode is away, the other one gets what is written.
    for away in ["datanode", "datanode2"] {
        let local = folder.join(away);
        fs::create_dir(&local).unwrap();
        for number in 0..FILES {
            let mut words = String::new();
            for n in 1..=WORDS {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                words.push_str(&format!("w{}", (state >> 33) % 2_000));
                words.push(if n % 11 == 0 || n == WORDS { '\n' } else { ' ' });
            }
            fs::write(local.join(format!("without-{away}-{number}")), &words).unwrap();
            all.push_str(&words);
        }
        cluster.script_well(&["kill", away]);
        // Hadoop's client fails now and then while the NameNode does not know yet that one is away.
        let put = ["hdfs", "dfs", "-put", "-f", local.to_str().unwrap(), input];
        until("the files are there", || cluster.script(&put).status.success().then_some(()));
        cluster.script_well(&["start", away]);
    }
    fs::write(folder.join("all"), all).unwrap();
}

/// What the log of an application's job says of its splits, and on which node: local, remote and unknown.
fn splits(cluster: &Hadoop, id: &str) -> (u32, [u64; 3]) {
    let on = |node: u32| {
        let found = Command::new("grep")
            .args(["-rhoE", "splits were given to readers.*", "--include=job-*.log"])
            .arg(cluster.folder().join(format!("data/nodemanager{node}/logs/{id}")))
            .output();
        let found = text(&found.unwrap().stdout);
        found.lines().map(|line| (node, line.to_owned())).collect::<Vec<_>>()
    };
    let said: Vec<_> = (1..=2).flat_map(on).collect();
    let [(node, line)] = said.as_slice() else { panic!("{id} has said of its splits: {said:?}") };
    println!("node {node}: {line}");
    (*node, ["local", "remote", "unknown"].map(|name| number(line, name)))
}

/// The number after `name=` in a line of a log.
fn number(line: &str, name: &str) -> u64 {
    let rest = line.split(&format!("{name}=")).nth(1).unwrap_or_else(|| panic!("no {name} in {line}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{name} in {line} is no number"))
}

/// Counts words with so many readers; the application that did.
fn count(cluster: &Hadoop, input: &str, output: &str, readers: &str) -> String {
    // A node has room for one TaskManager with so many cores, and for the ApplicationMaster.
    let apart = ["-p", readers, "-ys", "1", "-ytm", "512", "-D", "yarn.containers.vcores=3"];
    let own = [&wordcount(), "--input", input, "--output", output, "--mode", "batch"];
    application_in(&cluster.flott_well(&[&["run", "-t", "yarn-application"], &apart[..], &own].concat()))
}

#[test]
fn what_is_read_is_read_where_it_is() {
    // Gone with this test.
    let cluster = &Hadoop::start(&["--distinct-hosts", "--datanodes", "2"]);
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.fresh("located"), cluster.fresh("located-counts"));
    files(cluster, folder.path(), &input);

    let (_, [local, remote, unknown]) = splits(cluster, &count(cluster, &input, &output, "2"));
    assert!(counts_in(&cluster.lines_in(&output)) == counts_of(&folder.path().join("all")));
    assert_eq!((local + remote, unknown), (2 * FILES as u64, 0));
    // Who is done with its own helps the other; by chance it would be half of them.
    assert!(local >= 4 * remote, "{local} of {} splits were local", local + remote);

    // A TaskManager that can be anywhere is started where its input is.
    for (run, (away, expected)) in
        [("datanode", 2), ("datanode2", 1), ("datanode", 2)].into_iter().enumerate()
    {
        let output = cluster.fresh(&format!("located-counts-{run}"));
        let id = count(cluster, &format!("{input}/{away}"), &output, "1");
        assert_eq!(splits(cluster, &id), (expected, [FILES as u64, 0, 0]));
    }
}
