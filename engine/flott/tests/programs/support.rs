//! What several tests need.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use flott::prelude::*;

/// An environment with these settings.
pub fn environment(settings: &[(&str, &str)]) -> StreamExecutionEnvironment {
    let env = StreamExecutionEnvironment::new().unwrap();
    env.set_parallelism(2).unwrap();
    for (key, value) in settings {
        env.configure(key, value).unwrap();
    }
    env
}

/// Settings with which a job takes checkpoints often and restarts at once, also often.
pub fn recovering(checkpoints: &Path) -> Vec<(String, String)> {
    [
        ("execution.checkpointing.interval", "10 ms"),
        ("execution.checkpointing.dir", checkpoints.to_str().unwrap()),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "100"),
        ("restart-strategy.fixed-delay.delay", "1 ms"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

/// The lines of all files in a folder that readers may see; panics if a hidden file was left.
pub fn lines_in(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(!name.starts_with('.'), "{name} was left behind");
        lines.extend(std::fs::read_to_string(entry.path()).unwrap().lines().map(str::to_owned));
    }
    lines
}

/// How often each line comes.
pub fn counted(lines: impl IntoIterator<Item = String>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

/// Who connects, within a minute.
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Err(error) => panic!("nobody connects: {error}"),
        }
    }
}

/// The enumerator of a source with one split.
pub struct One(bool);

impl One {
    /// It has yet to be given.
    pub fn new() -> Self {
        Self(false)
    }
}

impl SplitEnumerator for One {
    /// The first record.
    type Split = i64;
    type Position = bool;

    fn restore(&mut self, given: bool) -> Result<(), OperatorError> {
        self.0 = given;
        Ok(())
    }

    fn next_split(&mut self, _reader: &ReaderInfo<'_>) -> Result<NextSplit<i64>, OperatorError> {
        Ok(if std::mem::replace(&mut self.0, true) { NextSplit::End } else { NextSplit::Split(1) })
    }

    fn position(&self) -> bool {
        self.0
    }
}
