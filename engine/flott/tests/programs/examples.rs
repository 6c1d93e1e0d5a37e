//! The examples, as their users run them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{accept, counted, lines_in};

/// An example's binary: cargo builds examples with the tests.
fn example(name: &str) -> Command {
    let mut folder: PathBuf = std::env::current_exe().unwrap();
    folder.pop();
    folder.pop();
    let mut command = Command::new(folder.join("examples").join(name));
    command.stdin(Stdio::null());
    command
}

fn printed(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn words_are_counted_by_both_apis_in_folders_too() {
    let folder = tempfile::tempdir().unwrap();
    let (input, deeper) = (folder.path().join("in"), folder.path().join("in/deeper"));
    fs::create_dir_all(&deeper).unwrap();
    let text: String = (0..3_000).map(|n| format!("w{}\tw{}\r\n", n % 13, n % 7)).collect();
    fs::write(input.join("one"), &text).unwrap();
    fs::write(deeper.join("two"), &text).unwrap();
    fs::write(deeper.join("_ignored"), "no").unwrap();
    fs::write(input.join(".hidden"), "no").unwrap();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    text.split_ascii_whitespace().for_each(|word| *counts.entry(word).or_default() += 2);
    let finals = || counted(counts.iter().map(|(word, count)| format!("{word} {count}")));
    let updates =
        || counted(counts.iter().flat_map(|(w, count)| (1..=*count).map(move |n| format!("{w} {n}"))));
    let variants: [(&[&str], bool); 4] = [
        (&["--api", "datastream"], true),
        (&["--api", "datastream", "--mode", "streaming"], true),
        (&["--api", "datastream", "--mode", "batch"], false),
        (&["--api", "dataset"], false),
    ];
    for (number, (variant, all)) in variants.into_iter().enumerate() {
        let output = folder.path().join(format!("out{number}"));
        let wordcount = || {
            let mut command = example("wordcount");
            command.arg("--input").arg(&input).args(variant).args(["--parallelism", "2"]);
            command
        };
        let expected = || if all { updates() } else { finals() };
        printed(wordcount().arg("--output").arg(&output));
        assert_eq!(counted(lines_in(&output)), expected(), "{variant:?}");
        assert_eq!(counted(printed(&mut wordcount())), expected(), "{variant:?}");
    }
    let wrong = example("wordcount")
        .args(["--input", "x", "--api", "dataset", "--mode", "streaming"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn files_are_joined_like_join_does() {
    let folder = tempfile::tempdir().unwrap();
    let (left, right, output) =
        (folder.path().join("left"), folder.path().join("right"), folder.path().join("out"));
    let lines = |count: u64, keys: u64, name: &str| -> String {
        (0..count).map(|n| format!("k{:03} {name}{n}\n", n * 7 % keys)).collect()
    };
    let (l, r) = (lines(500, 90, "l"), lines(300, 120, "r"));
    fs::write(&left, &l).unwrap();
    fs::write(&right, &r).unwrap();
    let mut expected = Vec::new();
    for (key, one) in l.lines().filter_map(|line| line.split_once(' ')) {
        let matching = r.lines().filter_map(|line| line.split_once(' ')).filter(|(other, _)| *other == key);
        expected.extend(matching.map(|(_, other)| format!("{key} {one} {other}")));
    }
    printed(example("join_files").args([&left, &right, &output]));
    assert_eq!(counted(lines_in(&output)), counted(expected.clone()));
    assert_eq!(counted(printed(example("join_files").args([&left, &right]))), counted(expected));
}

#[test]
fn late_records_update_windows_or_go_to_the_side() {
    let lines = printed(&mut example("late_data"));
    for expected in ["window 0: 2 records", "window 0: 3 records", "late: 300"] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is missing: {lines:?}");
    }
}

#[test]
fn words_from_a_socket_are_counted_in_windows() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    let child =
        example("socket_window_wordcount").args(["localhost", &port]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stream = accept(&server);
    stream.write_all(b"to be or\nnot to be\n").unwrap();
    drop(stream);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    // Both lines may fall into two windows.
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (word, count) = line.split_once(": ").unwrap();
        *totals.entry(word.to_owned()).or_default() += count.parse::<u64>().unwrap();
    }
    let expected =
        [("be", 2), ("not", 1), ("or", 1), ("to", 2)].map(|(word, count)| (word.to_owned(), count));
    assert_eq!(totals, BTreeMap::from(expected));
}
