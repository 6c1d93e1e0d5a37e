//! Where the TaskManagers of a job are best started: the hosts that have most of what it will read.
//!
//! File systems are asked on a thread of the job's own, which nobody waits for longer than a moment: what is not known by then is
//! a wish less, and no error.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flott_fs::{FileStatus, FsError, FsPath, for_path};
use flott_plan::JobGraph;

use crate::resource_manager::PreferredHost;

/// So long containers are not asked for because it is not known where they should be.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);

/// So long file systems are asked at most, but for the call that is under way then.
const LONGEST_SEARCH: Duration = Duration::from_secs(10);

/// The files of an input that are looked at: of more, every so many.
const MOST_FILES: usize = 500;

/// The hosts that are worth naming.
const MOST_HOSTS: usize = 64;

/// What a job reads, and where that is.
#[derive(Debug, Default)]
pub(super) struct Placement {
    reads: Vec<FsPath>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    /// Nobody has wanted to know.
    #[default]
    Unasked,
    /// It is being found out; nobody waits for it after this time.
    Looking(Instant),
    /// It is as far known as it will be.
    Known(Arc<[PreferredHost]>),
}

impl Placement {
    /// Of the job of this plan.
    pub(super) fn of(graph: &JobGraph) -> Self {
        let paths = graph.vertices.iter().flat_map(|vertex| &vertex.reads);
        let paths = paths.filter_map(|path| path.parse::<FsPath>().ok());
        // Where nothing is known of places, nobody is asked.
        let reads = paths.filter(|path| for_path(path).is_ok_and(|fs| fs.has_locations())).collect();
        Self { reads, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hosts that are preferred, those with most first; none: none is, or nobody knows.
    pub(super) fn hosts(&self) -> Arc<[PreferredHost]> {
        match &*self.state() {
            State::Known(hosts) => Arc::clone(hosts),
            State::Unasked | State::Looking(_) => Arc::default(),
        }
    }

    /// Whether it is worth waiting for what [`look`](Self::look) finds.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(&*self.state(), State::Looking(until) if Instant::now() < *until)
    }

    /// Finds out, once; `known` is called when that is done. False: there is nothing to find out, or it was begun before.
    pub(super) fn look(self: &Arc<Self>, known: impl FnOnce() + Send + 'static) -> bool {
        {
            let mut state = self.state();
            if self.reads.is_empty() || !matches!(*state, State::Unasked) {
                return false;
            }
            *state = State::Looking(Instant::now() + PATIENCE);
        }
        let this = Arc::clone(self);
        // A file system that does not answer holds up nobody's end: it is a thread of its own.
        let looking = std::thread::Builder::new().name("flott-placement".to_owned()).spawn(move || {
            let begun = Instant::now();
            let hosts = find(&this.reads, begun + LONGEST_SEARCH);
            tracing::debug!(hosts = hosts.len(), took = ?begun.elapsed(), "where the input is was looked up");
            *this.state() = State::Known(hosts.into());
            known();
        });
        if let Err(error) = looking {
            tracing::warn!(%error, "no thread to find out where the input is");
            *self.state() = State::Known(Arc::default());
            return false;
        }
        true
    }
}

/// The hosts that have most of the files at or below `paths`, as far as that is found out by `deadline`.
fn find(paths: &[FsPath], deadline: Instant) -> Vec<PreferredHost> {
    let mut found = BTreeMap::new();
    for path in paths {
        if let Err(error) = add(path, deadline, &mut found) {
            tracing::warn!(%error, "where the input is cannot be found out; TaskManagers are started anywhere");
        }
    }
    let hosts = found.into_iter().map(|((host, rack), bytes)| PreferredHost { host, rack, bytes });
    let mut hosts: Vec<PreferredHost> = hosts.filter(|host| host.bytes > 0).collect();
    hosts.sort_by_key(|host| Reverse(host.bytes));
    hosts.truncate(MOST_HOSTS);
    hosts
}

fn add(path: &FsPath, deadline: Instant, found: &mut BTreeMap<(String, String), u64>) -> Result<(), FsError> {
    let fs = for_path(path)?;
    let files = fs.list_files(path)?;
    for file in sample(&files) {
        if Instant::now() >= deadline {
            return Ok(());
        }
        for block in fs.block_locations(&file.path, 0, file.length)? {
            for holder in block.hosts {
                let bytes = found.entry((holder.name, holder.rack)).or_insert(0_u64);
                *bytes = bytes.saturating_add(block.length);
            }
        }
    }
    Ok(())
}

/// Not more files than are looked at, from all over.
fn sample(files: &[FileStatus]) -> impl Iterator<Item = &FileStatus> {
    files.iter().step_by(files.len().div_ceil(MOST_FILES).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_known_of_places_nobody_is_asked_and_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let reads = vec![FsPath::local(folder.path())];
        let placement = Arc::new(Placement { reads, ..Placement::default() });
        assert!(!placement.is_awaited());
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        assert!(placement.look(move || tell.send(()).unwrap()));
        told.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(!placement.is_awaited() && placement.hosts().is_empty());
        assert!(!placement.look(|| panic!("it is known")));
        assert!(!Arc::new(Placement::default()).look(|| panic!("there is nothing to find out")));
    }

    #[test]
    fn what_takes_long_is_not_waited_for() {
        let placement = Placement::default();
        *placement.state() = State::Looking(Instant::now() + Duration::from_secs(3600));
        assert!(placement.is_awaited());
        *placement.state() = State::Looking(Instant::now());
        assert!(!placement.is_awaited());
    }

    #[test]
    fn of_many_files_some_are_looked_at() {
        let file = |number: usize| FileStatus {
            path: format!("/{number}").parse().unwrap(),
            length: 1,
            modified: 0,
            is_dir: false,
        };
        for (files, looked_at) in [(0, 0), (1, 1), (500, 500), (501, 251), (1_250, 417)] {
            let files: Vec<_> = (0..files).map(file).collect();
            assert_eq!(sample(&files).count(), looked_at);
        }
    }
}
