//! The end of the application: its main is told what came of the job, YARN is told that it is over, and what was kept is removed. Whoever does
//! that may be killed between any two steps.
//!
//! YARN ends every process of an application that is over.

use super::{Simulation, job};
use crate::high_availability::store::{BlobStore, JobRecord};
use crate::high_availability::{HighAvailabilityError, PointerStore, Remains, remove};

/// What is kept for the next leader, removed by somebody who may be killed.
struct MortalRemains<'a> {
    simulation: &'a Simulation,
    /// After how many steps that happens.
    left: std::cell::Cell<usize>,
}

impl MortalRemains<'_> {
    fn step(&self) -> Result<(), HighAvailabilityError> {
        let killed = || HighAvailabilityError::Thread("it was killed".to_owned());
        self.left.set(self.left.get().checked_sub(1).ok_or_else(killed)?);
        Ok(())
    }
}

impl Remains for MortalRemains<'_> {
    async fn remove_pointers(&self) -> Result<bool, HighAvailabilityError> {
        if self.simulation.current.is_some() || self.simulation.zombie.is_some() {
            return Ok(false);
        }
        for name in self.simulation.pointers.names().unwrap_or_default() {
            self.step()?;
            self.simulation.pointers.take_away(&name);
        }
        Ok(true)
    }

    async fn remove_files(&self) -> Result<(), HighAvailabilityError> {
        for (folder, name) in self.simulation.blobs.names() {
            self.step()?;
            let _ = self.simulation.blobs.remove(folder, &name);
        }
        Ok(())
    }
}

impl Simulation {
    /// Main hears what came of its job: always the same.
    pub(super) fn tell_main(&mut self, record: &JobRecord) {
        let outcome = record.outcome().unwrap();
        let told = self.told.get_or_insert_with(|| outcome.clone());
        assert_eq!(*told, outcome, "main is told something else about {}", job());
    }

    fn is_killed(&mut self) -> bool {
        let killed = self.faults > 0 && self.random.one_in(3);
        self.faults -= u32::from(killed);
        killed
    }

    /// Main has ended. The leader leads no longer, or is killed.
    pub(super) fn end_application(&mut self) {
        self.observe();
        if self.is_killed() {
            return;
        }
        self.is_unregistered = true;
        (self.current, self.zombie) = (None, None);
        self.world.workers.clear();
        if !self.is_killed() {
            self.remove_remains();
        }
    }

    /// Whether nothing is kept any more.
    pub(super) fn is_removed(&self) -> bool {
        self.blobs.names().is_empty() && self.pointers.names().is_ok_and(|names| names.is_empty())
    }

    /// The leader, or a later command, removes what is kept, if nobody needs it: where the application may have another attempt it asks YARN first,
    /// unless somebody leads.
    pub(super) fn remove_remains(&mut self) {
        if !self.is_unregistered && self.current.is_none() && self.zombie.is_none() {
            return;
        }
        let steps = if self.is_unregistered && self.is_killed() { self.random.below(4) } else { usize::MAX };
        let kept = (self.pointers.names(), self.blobs.names());
        let remains = MortalRemains { simulation: self, left: steps.into() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let removed = runtime.block_on(remove(&remains));
        if !self.is_unregistered {
            assert!(matches!(removed, Ok(false)), "what a leader needs is removed");
            assert_eq!((self.pointers.names(), self.blobs.names()), kept);
        }
    }
}
