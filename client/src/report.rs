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
    /// The binary.
    program: String,
    /// Where it ran: one of the words of `-t`.
    pub(crate) target: &'static str,
    /// The application on YARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) application: Option<String>,
    /// `FINISHED`, `FAILED` or `CANCELED`.
    status: &'static str,
    /// What the command exits with.
    exit_status: u8,
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
    pub(crate) fn begun(program: &arguments::Program) -> Self {
        Self { program: program.path().display().to_string(), started: now(), ..Self::default() }
    }

    /// Writes it whole or not at all.
    pub(crate) fn write(
        mut self,
        path: &Path,
        ended: &Result<Ended, CommandError>,
    ) -> Result<(), CommandError> {
        self.ended = now();
        self.duration_ms = self.ended.saturating_sub(self.started);
        (self.status, self.exit_status) = match ended {
            Ok(Ended::Well) => ("FINISHED", 0),
            Ok(Ended::Badly) | Err(_) => ("FAILED", 1),
            Ok(Ended::Interrupted) => ("CANCELED", 130),
        };
        if let Err(error) = ended {
            self.reason = error.to_string();
        } else if self.reason.is_empty() {
            let failed =
                self.jobs.0.iter().rev().find(|job| !job.failure.is_empty() && job.status == "FAILED");
            self.reason = failed.map(|job| job.failure.clone()).unwrap_or_default();
        }
        let failed = |error: io::Error| format!("cannot write the report {}: {error}", path.display());
        let text = serde_json::to_string_pretty(&self)? + "\n";
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        std::fs::write(&draft, text).map_err(failed)?;
        Ok(std::fs::rename(&draft, path).map_err(failed)?)
    }
}
