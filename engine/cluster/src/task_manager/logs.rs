//! The logs of a TaskManager and its workers, for those who ask the JobManager for them.

use std::path::Path;

use flott_core::config::{self, Configuration};

use crate::log_files::{MAX_BYTES, end_of, in_folder, stem_of_log};
use crate::rpc::control::{LogFile, LogsRead, ReadLogs};

/// Answers a question. Blocks.
pub(super) fn read(configuration: &Configuration, question: ReadLogs) -> LogsRead {
    let ReadLogs { question, name } = question;
    let Some(folder) = configuration.get_optional(&config::LOG_DIR) else {
        let error = "the TaskManager logs to standard error: set env.log.dir to see its logs here".to_owned();
        return LogsRead { question, error, ..LogsRead::default() };
    };
    let mut read = LogsRead { question, ..LogsRead::default() };
    if let Err(error) = fill(&mut read, &folder, &name) {
        read.error = format!("{}: {error}", folder.display());
    }
    read
}

fn fill(read: &mut LogsRead, folder: &Path, name: &str) -> std::io::Result<()> {
    if name.is_empty() {
        let files = in_folder(folder, is_log)?.into_iter();
        let file = |file: crate::log_files::LogFile| LogFile {
            name: file.name,
            bytes: file.bytes,
            modified_millis: file.modified_millis,
        };
        read.files = files.map(file).collect();
        // Its own first.
        read.files.sort_by_key(|file| file.name.starts_with("job-"));
    } else if is_log(name) {
        read.content = end_of(&folder.join(name), MAX_BYTES)?;
    } else {
        read.error = format!("'{name}' is no log of this TaskManager");
    }
    Ok(())
}

/// `taskmanager.log`, `taskmanager-PID.log` with its own number, `job-ID.log`; what these printed, `….out`, and why they could not go on,
/// `….err`; and those put aside, `….N`.
fn is_log(name: &str) -> bool {
    let Some(stem) = stem_of_log(name) else { return false };
    let is_job = stem.strip_prefix("job-").is_some_and(|id| id.parse::<flott_core::ids::JobId>().is_ok());
    is_job || stem == "taskmanager" || stem == format!("taskmanager-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_logs_are_shown() {
        let job = "0123456789abcdef0123456789abcdef";
        let own = format!("taskmanager-{}.log", std::process::id());
        for name in [
            own.as_str(),
            "taskmanager.log.3",
            "taskmanager.out",
            "taskmanager.stderr",
            &format!("job-{job}.log"),
            &format!("job-{job}.out.1"),
        ] {
            assert!(is_log(name), "{name}");
        }
        for name in [
            "taskmanager-0.log",
            "secret",
            "job-x.log",
            "../job.log",
            "",
            ".",
            "job-.log",
            &format!("job-{job}.txt"),
        ] {
            assert!(!is_log(name), "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(&own), "words\n").unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        let mut configuration = Configuration::new();
        let ask = |configuration: &Configuration, name: &str| {
            read(configuration, ReadLogs { question: 7, name: name.to_owned() })
        };
        assert!(ask(&configuration, "").error.contains("env.log.dir"));
        configuration.set(config::LOG_DIR.key, folder.path().to_str().unwrap()).unwrap();
        let listed = ask(&configuration, "");
        assert_eq!((listed.question, listed.files.len(), listed.files[0].bytes), (7, 1, 6));
        assert_eq!(ask(&configuration, &own).content, b"words\n");
        assert!(ask(&configuration, "secret").error.contains("no log"));
    }
}
