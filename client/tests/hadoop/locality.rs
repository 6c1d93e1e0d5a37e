//! Splits are read on the hosts that have their blocks.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Hadoop, application_in, counts_in, counts_of, text, wordcount};

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
        cluster.put(&local, input);
        cluster.script_well(&["start", away]);
    }
    fs::write(folder.join("all"), all).unwrap();
}

/// What the logs of an application's containers say after `what`, once.
fn said(cluster: &Hadoop, id: &str, what: &str) -> String {
    let found = Command::new("grep")
        .args(["-rhoE", &format!("{what}.*"), "--include=job-*.log"])
        .args((1..=2).map(|node| cluster.folder().join(format!("data/nodemanager{node}/logs/{id}"))))
        .output();
    let found = text(&found.unwrap().stdout);
    let mut lines = found.lines();
    let line = lines.next().unwrap_or_else(|| panic!("no log of {id} says {what}")).to_owned();
    assert_eq!(lines.next(), None);
    line
}

/// The number after `name=` in a line of a log.
fn number(line: &str, name: &str) -> u64 {
    let rest = line.split(&format!("{name}=")).nth(1).unwrap_or_else(|| panic!("no {name} in {line}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{name} in {line} is no number"))
}

#[test]
fn splits_are_read_where_their_blocks_are() {
    let cluster = Hadoop::start(&["--distinct-hosts", "--datanodes", "2"]);
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (cluster.fresh("located"), cluster.fresh("located-counts"));
    files(&cluster, folder.path(), &input);
    // A node has room for one TaskManager with so many cores, and for the ApplicationMaster.
    let apart = ["-p", "2", "-ys", "1", "-ytm", "512", "-D", "yarn.containers.vcores=3"];
    let own = [&wordcount(), "--input", &input, "--output", &output, "--mode", "batch"];
    let id =
        application_in(&cluster.flott_well(&[&["run", "-t", "yarn-application"], &apart[..], &own].concat()));
    assert!(counts_in(&cluster.lines_in(&output)) == counts_of(&folder.path().join("all")));
    let line = said(&cluster, &id, "splits were given to readers");
    let [local, remote, unknown] = ["local", "remote", "unknown"].map(|name| number(&line, name));
    println!("{local} local, {remote} remote, {unknown} unknown");
    assert_eq!((local + remote, unknown), (2 * FILES as u64, 0), "{line}");
    // Who is done with its own helps the other; by chance it would be half of them.
    assert!(local >= 4 * remote, "{line}");
}
