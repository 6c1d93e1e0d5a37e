//! The report of `flott run --report FILE`: how a program ended, and the figures of its jobs, for schedulers.

use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use flott_cluster::client::report::JobSummaries;
use serde::Serialize;

use crate::{CommandError, Ended, arguments};

/// What is written.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    #[serde(skip)]
    detached: bool,
    /// The binary.
    program: String,
    /// Where it ran: one of the words of `-t`.
    pub(crate) target: &'static str,
    /// The application on YARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) application: Option<String>,
    /// `RUNNING`, also of a command that was killed; `FINISHED`, `FAILED` or `CANCELED`; `SUBMITTED`, if nobody waits for its job.
    status: &'static str,
    /// What the command exits with, once it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_status: Option<u8>,
    /// Why it did not finish.
    pub(crate) reason: String,
    /// When the command began, in milliseconds since the epoch.
    started: u64,
    /// When it was over.
    ended: u64,
    /// How long it took, in milliseconds.
    duration_ms: u64,
    /// Its jobs, in the order of their submission.
    pub(crate) jobs: JobSummaries,
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Report {
    /// Of a program that begins now.
    pub(crate) fn begun(program: &arguments::Program, detached: bool) -> Self {
        let program = program.path().display().to_string();
        Self { program, detached, status: "RUNNING", started: now(), ..Self::default() }
    }

    /// The program is over, as far as it is waited for.
    pub(crate) fn end(&mut self, ended: &Result<Ended, CommandError>) {
        self.ended = now();
        self.duration_ms = self.ended.saturating_sub(self.started);
        let (status, exit_status) = match ended {
            Ok(Ended::Well) if self.detached => ("SUBMITTED", 0),
            Ok(Ended::Well) => ("FINISHED", 0),
            Ok(Ended::Badly) | Err(_) => ("FAILED", 1),
            Ok(Ended::Canceled) => ("CANCELED", 1),
            Ok(Ended::Interrupted) => ("CANCELED", 130),
            Ok(Ended::Terminated) => ("CANCELED", 143),
        };
        (self.status, self.exit_status) = (status, Some(exit_status));
        if let Err(error) = ended {
            self.reason = error.to_string();
        } else if let (Ok(Ended::Canceled), "") = (ended, self.reason.as_str()) {
            self.reason = "the job was cancelled".to_owned();
        } else if self.reason.is_empty() {
            let failed =
                self.jobs.0.iter().rev().find(|job| !job.failure.is_empty() && job.status == "FAILED");
            self.reason = failed.map(|job| job.failure.clone()).unwrap_or_default();
        }
    }

    /// Writes it whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), CommandError> {
        let failed = |error: io::Error| format!("cannot write the report {}: {error}", path.display());
        let text = serde_json::to_string_pretty(self)? + "\n";
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        std::fs::write(&draft, text).map_err(failed)?;
        let renamed = std::fs::rename(&draft, path).map_err(failed);
        Ok(renamed.inspect_err(|_| drop(std::fs::remove_file(&draft)))?)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    #[test]
    fn a_report_says_what_the_command_knows() {
        let parsed = Arguments::parse_from(["flott", "run", "program"]);
        let Command::Run(options) = parsed.command else { panic!("it is run") };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let written = |detached, ended: Option<Result<Ended, CommandError>>| {
            let mut report = Report::begun(&options.program, detached);
            ended.inspect(|ended| report.end(ended));
            report.write(&path).unwrap();
            let value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            (value["status"].as_str().unwrap().to_owned(), value["exit_status"].as_u64())
        };
        for (detached, ended, status, exit_status) in [
            (false, None, "RUNNING", None),
            (false, Some(Ok(Ended::Well)), "FINISHED", Some(0)),
            (true, Some(Ok(Ended::Well)), "SUBMITTED", Some(0)),
            (true, Some(Err("no".into())), "FAILED", Some(1)),
            (false, Some(Ok(Ended::Badly)), "FAILED", Some(1)),
            (false, Some(Ok(Ended::Canceled)), "CANCELED", Some(1)),
            (false, Some(Ok(Ended::Interrupted)), "CANCELED", Some(130)),
        ] {
            assert_eq!(written(detached, ended), (status.to_owned(), exit_status));
        }
        let report = Report::begun(&options.program, false);
        let nowhere = folder.path().join("no/report.json");
        let refused = report.write(&nowhere).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("cannot write the report {}", nowhere.display())), "{refused}");
        // A folder is in its place: nothing is left beside it.
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(report.write(&taken).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
