//! What is remembered of a job's checkpoints, for people: counts, the last ones, and how long and large they were.

use std::collections::{BTreeMap, VecDeque};

use flott_core::ids::{CheckpointId, SubtaskId};
use flott_runtime::snapshot::{StateHandle, SubtaskSnapshot};

/// How a checkpoint is, or ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CheckpointState {
    /// It is being taken.
    #[default]
    InProgress,
    /// It is complete.
    Completed,
    /// It was given up, for a reason.
    Failed(String),
}

/// A subtask's part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// When it came, in milliseconds since the epoch.
    pub millis: i64,
    /// How much state it holds, in bytes.
    pub bytes: u64,
}

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointReport {
    /// Which.
    pub id: CheckpointId,
    /// How it is.
    pub state: CheckpointState,
    /// When it began, in milliseconds since the epoch.
    pub triggered_millis: i64,
    /// When it was over, in milliseconds since the epoch; 0: it is not.
    pub ended_millis: i64,
    /// How many subtasks are to answer.
    pub subtasks: u32,
    /// Those that have.
    pub acknowledged: BTreeMap<SubtaskId, Acknowledged>,
    /// Where it is; none: nowhere but in memory.
    pub path: Option<String>,
    /// Newer ones have taken its place.
    pub discarded: bool,
}

impl CheckpointReport {
    /// The state that it holds, in bytes.
    pub fn bytes(&self) -> u64 {
        self.acknowledged.values().map(|part| part.bytes).sum()
    }

    /// When the last part came; when it began, if none has.
    pub fn last_answer_millis(&self) -> i64 {
        self.acknowledged.values().map(|part| part.millis).max().unwrap_or(self.triggered_millis)
    }

    /// From its beginning to its end, or to the last part so far, in milliseconds.
    pub fn duration_millis(&self) -> i64 {
        let end = if self.ended_millis > 0 { self.ended_millis } else { self.last_answer_millis() };
        (end - self.triggered_millis).max(0)
    }
}

/// All that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointsReport {
    /// How many were begun.
    pub begun: u64,
    /// How many were completed.
    pub completed: u64,
    /// How many were given up.
    pub failed: u64,
    /// The last ones, the newest first.
    pub history: VecDeque<CheckpointReport>,
    /// The last that was completed.
    pub last_completed: Option<CheckpointReport>,
    /// The last that was given up.
    pub last_failed: Option<CheckpointReport>,
    /// What the job, or a part of it, went on from last, and when, in milliseconds since the epoch.
    pub restored: Option<(CheckpointId, i64)>,
    /// How often it did.
    pub restores: u64,
}

/// Notes what happens to checkpoints.
#[derive(Debug, Default)]
pub(super) struct CheckpointLog {
    report: CheckpointsReport,
    kept: usize,
}

impl CheckpointLog {
    pub(super) fn new(kept: usize) -> Self {
        Self { report: CheckpointsReport::default(), kept }
    }

    pub(super) fn report(&self) -> CheckpointsReport {
        self.report.clone()
    }

    pub(super) fn begun(&mut self, id: CheckpointId, subtasks: usize, now: i64) {
        self.report.begun += 1;
        let subtasks = u32::try_from(subtasks).unwrap_or(u32::MAX);
        let begun = CheckpointReport { id, triggered_millis: now, subtasks, ..CheckpointReport::default() };
        self.report.history.push_front(begun);
        self.report.history.truncate(self.kept.max(1));
    }

    pub(super) fn answered(&mut self, id: CheckpointId, subtask: SubtaskId, bytes: u64, now: i64) {
        if let Some(checkpoint) = self.find(id) {
            checkpoint.acknowledged.entry(subtask).or_insert(Acknowledged { millis: now, bytes });
        }
    }

    pub(super) fn completed(&mut self, id: CheckpointId, path: Option<String>, now: i64) {
        self.report.completed += 1;
        let Some(checkpoint) = self.find(id) else { return };
        checkpoint.state = CheckpointState::Completed;
        checkpoint.ended_millis = now;
        checkpoint.path = path;
        self.report.last_completed = Some(checkpoint.clone());
    }

    pub(super) fn failed(&mut self, id: CheckpointId, reason: &str, now: i64) {
        self.report.failed += 1;
        let Some(checkpoint) = self.find(id) else { return };
        checkpoint.state = CheckpointState::Failed(reason.to_owned());
        checkpoint.ended_millis = now;
        self.report.last_failed = Some(checkpoint.clone());
    }

    pub(super) fn discarded(&mut self, id: CheckpointId) {
        if let Some(checkpoint) = self.find(id) {
            checkpoint.discarded = true;
        }
    }

    pub(super) fn restored(&mut self, id: CheckpointId, now: i64) {
        self.report.restores += 1;
        self.report.restored = Some((id, now));
    }

    fn find(&mut self, id: CheckpointId) -> Option<&mut CheckpointReport> {
        self.report.history.iter_mut().find(|checkpoint| checkpoint.id == id)
    }
}

/// How much state a snapshot holds, in bytes.
pub(super) fn snapshot_bytes(snapshot: &SubtaskSnapshot) -> u64 {
    let of = |handle: &StateHandle| match handle {
        StateHandle::Inline(bytes) => bytes.len() as u64,
        StateHandle::File { length, .. } => *length,
    };
    snapshot.operators.iter().map(|operator| of(&operator.state)).sum()
}

#[cfg(test)]
mod tests {
    use flott_core::ids::VertexId;

    use super::*;

    #[test]
    fn the_last_checkpoints_are_remembered() {
        let mut log = CheckpointLog::new(2);
        let subtask = |index| SubtaskId { vertex: VertexId(0), index };
        for n in 1..=3 {
            let (id, start) = (CheckpointId(n), n as i64 * 100);
            log.begun(id, 2, start);
            log.answered(id, subtask(0), 10, start + 5);
            log.answered(id, subtask(1), 20, start + 9);
            match n {
                3 => log.failed(id, "the disk is full", start + 30),
                _ => log.completed(id, Some(format!("/c/chk-{n}")), start + 12),
            }
        }
        log.discarded(CheckpointId(2));
        let report = log.report();
        assert_eq!((report.begun, report.completed, report.failed), (3, 2, 1));
        assert_eq!(report.history.iter().map(|checkpoint| checkpoint.id.0).collect::<Vec<_>>(), [3, 2]);
        assert!(report.history[1].discarded);
        let last = report.last_completed.unwrap();
        assert_eq!((last.id.0, last.bytes(), last.duration_millis()), (2, 30, 12));
        assert_eq!(report.last_failed.unwrap().duration_millis(), 30);
    }
}
