//! What a process of a program writes to its standard streams: into files that are rolled, with its last words remembered.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::process::Child;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flott_core::config::Configuration;

use crate::rolled_file::RolledFile;

/// How long after a process's end what it wrote may take to be read. It takes that long only if a process that it has started holds its streams
/// open.
const DEADLINE: Duration = Duration::from_secs(3);

/// What is remembered, in bytes.
const LAST_WORDS: usize = 4096;

/// What is read at a time.
const PIECE_BYTES: usize = 16 << 10;

/// Where the output of a process goes: `NAME.out` what it prints, `NAME.log` what it writes to standard error; without a folder for logs, where
/// this process's own goes.
pub(crate) struct OutputFiles {
    out: Option<RolledFile>,
    log: Option<RolledFile>,
}

impl OutputFiles {
    /// Those in the folder for logs, if there is one.
    ///
    /// # Errors
    /// If a file cannot be made; the message names it.
    pub(crate) fn in_log_dir(configuration: &Configuration, name: &str) -> io::Result<Self> {
        let file = |kind| RolledFile::in_log_dir(configuration, &format!("{name}.{kind}"));
        Ok(Self { out: file("out")?, log: file("log")? })
    }

    /// Copies what comes through the pipes of a process, on threads that end with those.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn fill_from(self, process: &mut Child) -> io::Result<Output> {
        let Self { out, log } = self;
        let (open, closed) = sync_channel(0);
        let last = LastWords::default();
        if let Some(stdout) = process.stdout.take() {
            let open = open.clone();
            thread("flott-out", move || {
                match out {
                    Some(file) => copy(stdout, file, None),
                    None => copy(stdout, io::stdout(), None),
                }
                drop(open);
            })?;
        }
        if let Some(stderr) = process.stderr.take() {
            let last = last.clone();
            thread("flott-err", move || {
                match log {
                    Some(file) => copy(stderr, file, Some(&last)),
                    None => copy(stderr, io::stderr(), Some(&last)),
                }
                drop(open);
            })?;
        }
        Ok(Output { last, closed })
    }
}

/// Output that is being copied.
pub(crate) struct Output {
    last: LastWords,
    /// Hears that nothing is open any more.
    closed: Receiver<Infallible>,
}

impl Output {
    /// What a process that has ended wrote to standard error last. Blocks for a moment, until all is copied.
    pub(crate) fn last_words(&self) -> String {
        let _ = self.closed.recv_timeout(DEADLINE);
        self.last.text()
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(256 << 10).spawn(run).map(drop)
}

/// The last that a process wrote to standard error.
#[derive(Clone, Default)]
struct LastWords(Arc<Mutex<VecDeque<u8>>>);

impl LastWords {
    fn add(&self, bytes: &[u8]) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.extend(&bytes[bytes.len().saturating_sub(LAST_WORDS)..]);
        let surplus = last.len().saturating_sub(LAST_WORDS);
        last.drain(..surplus);
    }

    /// The last whole lines.
    fn text(&self) -> String {
        let last: Vec<u8> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let text = String::from_utf8_lossy(&last);
        let whole = if last.len() < LAST_WORDS {
            &text
        } else {
            text.split_once('\n').map_or(&*text, |(_, rest)| rest)
        };
        whole.trim_end().to_owned()
    }
}

/// Copies a stream to its end. What cannot be written is read all the same, so that the process does not wait.
fn copy(mut from: impl Read, mut to: impl Write, last: Option<&LastWords>) {
    let mut piece = vec![0; PIECE_BYTES];
    let mut failed = false;
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if let Some(last) = last {
            last.add(&piece[..count]);
        }
        if let Err(error) = to.write_all(&piece[..count]).and_then(|()| to.flush())
            && !std::mem::replace(&mut failed, true)
        {
            tracing::warn!(%error, "the output of a process cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use flott_core::config;

    use super::*;

    #[test]
    fn output_goes_into_files_that_are_rolled() {
        let folder = tempfile::tempdir().unwrap();
        let mut configuration = Configuration::new();
        configuration.set(config::LOG_DIR.key, folder.path().to_str().unwrap()).unwrap();
        configuration.set(config::LOG_MAX_SIZE.key, "1mb").unwrap();
        configuration.set(config::LOG_MAX.key, "2").unwrap();
        let files = OutputFiles::in_log_dir(&configuration, "main").unwrap();
        let program = "yes 0123456 | head -n 400000; echo this is why >&2; exit 3";
        let mut shell = Command::new("sh");
        let mut process =
            shell.args(["-c", program]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = files.fill_from(&mut process).unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(3));
        // A busy machine takes its time to copy what was written.
        let _ = output.closed.recv_timeout(Duration::from_secs(60));
        assert_eq!(output.last_words(), "this is why");
        let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
        assert_eq!((size("main.out.2"), size("main.out.1"), size("main.log")), (1 << 20, 1 << 20, 12));
        assert_eq!(size("main.out"), 400_000 * 8 - 3 * (1 << 20));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn the_last_lines_are_remembered_whole() {
        let last = LastWords::default();
        let lines: String = (0..2000).map(|number| format!("line {number}\n")).collect();
        let mut copied = Vec::new();
        copy(lines.as_bytes(), &mut copied, Some(&last));
        assert_eq!(copied, lines.as_bytes());
        let text = last.text();
        assert!(text.len() < LAST_WORDS && lines.trim_end().ends_with(&text));
        assert!(text.starts_with("line ") && text.ends_with("line 1999"));

        let last = LastWords::default();
        copy(&b"short\n"[..], io::sink(), Some(&last));
        assert_eq!(last.text(), "short");
    }
}
