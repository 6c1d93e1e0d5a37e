//! The HA store in memory, which a test can have fail between any two steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flott_core::ids::JobId;

use super::{BlobStore, JobFolder, PointerStore};
use crate::high_availability::{Epoch, StoreError};

/// Decides before each write whether it takes effect and whether its answer arrives.
pub type Fate = Arc<dyn Fn(&str) -> Verdict + Send + Sync>;

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It takes effect.
    Done,
    /// It does not: who writes is not the leader any more.
    Refused,
    /// It takes effect, and who writes does not hear of it, being no leader any more.
    DoneUnheard,
}

/// Pointers in memory. Of all writers that were [made](Self::next_writer) only the last one can write.
#[derive(Clone, Default)]
pub struct MemoryPointers {
    shared: Arc<Mutex<Pointers>>,
    writer: u64,
    fate: Option<Fate>,
}

#[derive(Default)]
struct Pointers {
    last_writer: u64,
    writes: u64,
    values: BTreeMap<String, Vec<u8>>,
}

impl MemoryPointers {
    fn shared(&self) -> MutexGuard<'_, Pointers> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same pointers in the hands of the next leader: from now on no other can write.
    pub fn next_writer(&self) -> Self {
        let mut shared = self.shared();
        shared.last_writer += 1;
        Self { shared: Arc::clone(&self.shared), writer: shared.last_writer, fate: None }
    }

    /// The same, with a say in what becomes of writes.
    pub fn with_fate(self, fate: Fate) -> Self {
        Self { fate: Some(fate), ..self }
    }

    /// Takes a name away whoever leads, as is done when nobody will any more.
    pub fn take_away(&self, name: &str) {
        self.shared().values.remove(name);
    }

    /// How many writes took effect.
    pub fn writes(&self) -> u64 {
        self.shared().writes
    }

    fn change(
        &self,
        what: &str,
        change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>),
    ) -> Result<(), StoreError> {
        let verdict = self.fate.as_ref().map_or(Verdict::Done, |fate| fate(what));
        let not_leader = || StoreError::NotLeader("another one writes".to_owned());
        let mut shared = self.shared();
        if verdict == Verdict::Refused || shared.last_writer != self.writer {
            return Err(not_leader());
        }
        shared.writes += 1;
        change(&mut shared.values);
        if verdict == Verdict::DoneUnheard { Err(not_leader()) } else { Ok(()) }
    }
}

impl PointerStore for MemoryPointers {
    fn epoch(&self) -> Epoch {
        Epoch(self.writer)
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.shared().values.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.shared().values.get(name).cloned())
    }

    fn write(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.change("pointer", |values| drop(values.insert(name.to_owned(), value.to_vec())))
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.change("pointer", |values| drop(values.remove(name)))
    }

    fn check(&self) -> Result<(), StoreError> {
        let leads = self.shared().last_writer == self.writer;
        leads.then_some(()).ok_or_else(|| StoreError::NotLeader("another one writes".to_owned()))
    }
}

/// The content of files, by folder and name.
type Files = BTreeMap<(JobFolder, String), Vec<u8>>;

/// Files in memory.
#[derive(Clone, Default)]
pub struct MemoryBlobs {
    files: Arc<Mutex<Files>>,
    fate: Option<Fate>,
    /// Jobs whose files cannot be read now.
    away: Arc<Mutex<BTreeSet<JobId>>>,
}

impl MemoryBlobs {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, with a say in what becomes of writes.
    pub fn with_fate(&self, fate: Fate) -> Self {
        Self { fate: Some(fate), ..self.clone() }
    }

    /// A job's files cannot be read, as in a safe mode, or can again.
    pub fn set_away(&self, job: JobId, away: bool) {
        let mut jobs = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away {
            jobs.insert(job);
        } else {
            jobs.remove(&job);
        }
    }

    /// Which files there are.
    pub fn names(&self) -> Vec<(JobFolder, String)> {
        self.files().keys().cloned().collect()
    }

    fn change(&self, what: &str, change: impl FnOnce(&mut Files)) -> Result<(), StoreError> {
        let verdict = self.fate.as_ref().map_or(Verdict::Done, |fate| fate(what));
        let failed = || StoreError::Failed("the disk is gone".to_owned());
        if verdict == Verdict::Refused {
            return Err(failed());
        }
        change(&mut self.files());
        if verdict == Verdict::DoneUnheard { Err(failed()) } else { Ok(()) }
    }
}

impl BlobStore for MemoryBlobs {
    fn write(&self, folder: JobFolder, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.change("file", |files| drop(files.insert((folder, name.to_owned()), bytes.to_vec())))
    }

    fn read(&self, folder: JobFolder, name: &str) -> Result<Vec<u8>, StoreError> {
        if self.away.lock().unwrap_or_else(PoisonError::into_inner).contains(&folder.job) {
            return Err(StoreError::Failed("the files are away".to_owned()));
        }
        let damaged = || StoreError::Damaged { path: name.to_owned(), reason: "it is not there".to_owned() };
        self.files().get(&(folder, name.to_owned())).cloned().ok_or_else(damaged)
    }

    fn place(&self, folder: JobFolder, name: &str) -> String {
        format!("{folder}/{name}")
    }

    fn remove(&self, folder: JobFolder, name: &str) -> Result<(), StoreError> {
        self.change("deletion", |files| drop(files.remove(&(folder, name.to_owned()))))
    }

    fn remove_others(&self, folder: JobFolder, kept: &str) -> Result<(), StoreError> {
        self.change("deletion", |files| files.retain(|(of, name), _| *of != folder || name == kept))
    }

    fn remove_all(&self, folder: JobFolder) -> Result<(), StoreError> {
        self.change("deletion", |files| files.retain(|(of, _), _| *of != folder))
    }

    fn folders(&self) -> Result<Vec<JobFolder>, StoreError> {
        let mut folders: Vec<JobFolder> = self.files().keys().map(|(folder, _)| *folder).collect();
        folders.dedup();
        Ok(folders)
    }
}
