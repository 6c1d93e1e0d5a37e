//! Word counts over files and folders.

use std::collections::BTreeMap;
use std::path::Path;

use flott::prelude::*;

use crate::support::{counted, environment, lines_in};

/// Writes a folder of texts and returns how often each word is in it.
fn write_texts(folder: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    std::fs::create_dir_all(folder.join("deep/deeper")).unwrap();
    for (file, lines) in [("a.txt", 3000), ("deep/b.txt", 1), ("deep/deeper/c.txt", 500), ("empty", 0)] {
        let mut text = String::new();
        for line in 0..lines {
            for word in 0..line % 12 {
                let word = format!("w{}", (line * 7 + word * word * 13) % 97);
                text += &word;
                text += [" ", "\t", "  "][line % 3];
                *counts.entry(word).or_default() += 1;
            }
            text += ["\n", "\r\n", "\n\n"][line % 3];
        }
        text += "last";
        *counts.entry("last".to_owned()).or_default() += 1;
        std::fs::write(folder.join(file), text).unwrap();
    }
    for hidden in [".hidden", "_temporary"] {
        std::fs::write(folder.join(hidden), "never counted").unwrap();
    }
    counts
}

fn count_words(env: &StreamExecutionEnvironment, input: &Path, output: &Path) {
    env.read_text_file(input.to_str().unwrap())
        .unwrap()
        .flat_map(|line| {
            line.split_ascii_whitespace().map(|word| (word.to_owned(), 1_u64)).collect::<Vec<_>>()
        })
        .key_by_ref(|(word, _)| word)
        .sum(|(_, count)| count)
        .write_files(
            output.to_str().unwrap(),
            |(word, count), out| out.extend_from_slice(format!("{word} {count}\n").as_bytes()),
            FileSinkOptions::default(),
        )
        .unwrap();
    env.execute("words").unwrap();
}

#[test]
fn a_stream_writes_every_update() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let counts = write_texts(&input);
    count_words(&environment(&[]), &input, &output);
    let expected = counts.iter().flat_map(|(word, count)| (1..=*count).map(move |n| format!("{word} {n}")));
    assert_eq!(counted(lines_in(&output)), counted(expected));
}

#[test]
fn a_batch_writes_final_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let counts = write_texts(&input);
    count_words(&environment(&[("execution.runtime-mode", "BATCH")]), &input, &output);
    let expected = counts.iter().map(|(word, count)| format!("{word} {count}"));
    assert_eq!(counted(lines_in(&output)), counted(expected));
}

#[test]
fn any_partitioning_keeps_every_record() {
    let env = environment(&[]);
    let numbers = env.generate_sequence(1, 10_000);
    let even = numbers.rebalance().filter(|n| n % 2 == 0).set_parallelism(3);
    let odd = numbers.shuffle().filter(|n| n % 2 == 1).rescale().map(|n| n).set_parallelism(4);
    let twice = even.union(&[&odd]).partition_custom(|n, partitions| (n % i64::from(partitions)) as u32);
    let all = twice.map(|n| n).start_new_chain().broadcast().map(|n| n).set_parallelism(3).collect();
    let result = env.execute("partitionings").unwrap();
    let mut all = result.get(&all).unwrap();
    all.sort_unstable();
    let expected: Vec<i64> = (1..=10_000).flat_map(|n| [n; 3]).collect();
    assert_eq!(all, expected);
}
