//! What `flott run` shows of a job while it runs: a line that changes on a terminal, a line a change elsewhere.

use std::time::{Duration, Instant};

use flott_cluster::rpc::control::{JobOverview, VertexOverview};

/// The id of a job, as text.
pub(crate) fn id_of(job: &JobOverview) -> String {
    job.job.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A time in milliseconds since the epoch, in UTC.
pub(crate) fn instant(millis: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A duration in its two largest units.
pub(crate) fn duration(lasted: Duration) -> String {
    let seconds = lasted.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", lasted.as_secs_f64()),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A count in at most four digits.
fn count(number: f64) -> String {
    let units = [(1e9, " G"), (1e6, " M"), (1e3, " k")];
    match units.into_iter().find(|(unit, _)| number >= *unit) {
        Some((unit, name)) => format!("{:.1}{name}", number / unit),
        None => format!("{number:.0}"),
    }
}

fn has_finished(vertex: &VertexOverview) -> bool {
    let finished: u32 = ["FINISHED", "DRAINED"].iter().filter_map(|state| vertex.subtasks.get(*state)).sum();
    finished == vertex.parallelism
}

/// The job while it runs.
pub(crate) struct Progress {
    terminal: bool,
    last: Option<(JobOverview, Instant)>,
    rate: f64,
    /// How long the line is that stands on the terminal.
    width: usize,
}

impl Progress {
    /// For a terminal, or for something that keeps lines.
    pub(crate) fn new(terminal: bool) -> Self {
        Self { terminal, last: None, rate: 0.0, width: 0 }
    }

    /// What to write when the job is `now` so far.
    pub(crate) fn update(&mut self, now: &JobOverview, at: Instant) -> String {
        let mut text = String::new();
        let before = self.last.as_ref();
        let restarts = before.map_or(0, |(before, _)| before.restarts);
        let was_unkept = before.is_some_and(|(before, _)| !before.unkept_end.is_empty());
        if before.is_none_or(|(before, _)| before.status != now.status || restarts != now.restarts) {
            text.push_str(&self.clear());
            text.push_str(&format!("Job {} ({}) is {}.", id_of(now), now.name, now.status));
            if now.restarts > restarts || now.status == "RESTARTING" {
                text.push_str(&format!(" Failure: {}", now.failure));
            }
            text.push('\n');
        }
        if !now.unkept_end.is_empty() && !was_unkept {
            text.push_str(&self.clear());
            text.push_str(&format!(
                "Job {} ({}): {}; it is tried again.\n",
                id_of(now),
                now.name,
                now.unkept_end
            ));
        }
        if self.terminal && now.status == "RUNNING" {
            let line = self.line(now, at);
            text.push_str(&self.clear());
            self.width = line.chars().count();
            text.push_str(&line);
        }
        self.last = Some((now.clone(), at));
        text
    }

    /// Takes the changing line from the terminal.
    pub(crate) fn clear(&mut self) -> String {
        match std::mem::take(&mut self.width) {
            0 => String::new(),
            width => format!("\r{}\r", " ".repeat(width)),
        }
    }

    fn line(&mut self, now: &JobOverview, at: Instant) -> String {
        let records =
            |job: &JobOverview| -> u64 { job.vertices.iter().map(|vertex| vertex.records_read).sum() };
        let all = records(now);
        if let Some((before, then)) = &self.last {
            let passed = at.saturating_duration_since(*then).as_secs_f64();
            if passed > 0.05 {
                self.rate = all.saturating_sub(records(before)) as f64 / passed;
            }
        }
        let records = format!("{} records, {}/s", count(all as f64), count(self.rate));
        if now.streaming {
            format!("{records}, {} checkpoints", now.completed_checkpoints)
        } else {
            let finished = now.vertices.iter().filter(|vertex| has_finished(vertex)).count();
            format!("{finished} of {} vertices have finished, {records}", now.vertices.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(status: &str, records: u64, restarts: u64) -> JobOverview {
        let vertex = |name: &str, records_in, records_out| VertexOverview {
            name: name.to_owned(),
            parallelism: 2,
            subtasks: [("RUNNING".to_owned(), 2)].into(),
            records_in,
            records_out,
            records_read: if name == "Source" { records_out } else { 0 },
            ..VertexOverview::default()
        };
        JobOverview {
            job: vec![7; 16],
            name: "clicks".to_owned(),
            status: status.to_owned(),
            vertices: vec![vertex("Source", 0, records), vertex("Count", records, records)],
            completed_checkpoints: 4,
            restarts,
            streaming: true,
            failure: "operator 'Count' (subtask 1): no".to_owned(),
            ..JobOverview::default()
        }
    }

    fn unkept(job: JobOverview) -> JobOverview {
        JobOverview { unkept_end: "its tasks have ended, but no room (/ha)".to_owned(), ..job }
    }

    fn shown(terminal: bool) -> String {
        let (mut progress, start) = (Progress::new(terminal), Instant::now());
        let jobs = [
            job("CREATED", 0, 0),
            job("RUNNING", 0, 0),
            job("RUNNING", 1_500_000, 0),
            job("RESTARTING", 1_500_000, 1),
            job("RUNNING", 0, 1),
            unkept(job("RUNNING", 0, 1)),
            unkept(job("RUNNING", 0, 1)),
            job("FINISHED", 9, 1),
        ];
        let texts = jobs
            .iter()
            .enumerate()
            .map(|(n, job)| progress.update(job, start + Duration::from_secs(n as u64)));
        texts.collect::<String>().replace('\r', "\\r")
    }

    #[test]
    fn progress_is_what_it_was() {
        insta::assert_snapshot!("plain", shown(false));
        insta::assert_snapshot!("terminal", shown(true));
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([0.0, 999.0, 1234.0, 5.6e7, 9.9e9].map(count), ["0", "999", "1.2 k", "56.0 M", "9.9 G"]);
        let lasted =
            [1_500, 61_000, 3_600_000, 90_000_000].map(|millis| duration(Duration::from_millis(millis)));
        assert_eq!(lasted, ["1.5 s", "1 m 1 s", "1 h 0 m", "1 d 1 h"]);
        assert_eq!(instant(1_700_000_000_000), "2023-11-14 22:13:20Z");
    }
}
