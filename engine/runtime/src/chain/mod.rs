//! Operator chains: operators of one subtask that hand batches to each other on one thread.
//!
//! Invariant: an operator is run only when nothing waits behind it, so at most one batch waits between two operators, and
//! only when all outputs it feeds have room.

mod erased;
mod link;

pub use erased::{BoxedOperator, OneInput, TwoInput};
pub use link::Link;
pub(crate) use link::{LinkElement, Route};

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use flott_core::Timestamp;
use flott_core::ids::CheckpointId;

use crate::element::Element;
use crate::error::OperatorError;
use crate::exchange::output::Output;

/// What a chain did when it was asked for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainStep {
    /// One operator worked.
    Worked,
    /// There is work, but an output is full.
    Blocked,
    /// There is nothing to do before more input comes.
    Idle,
}

/// The operators of a subtask, head first, each after the one that feeds it.
pub struct Chain {
    links: Vec<Link>,
    working: Arc<WorkingOperator>,
}

/// Which operator of a chain worked last: the one to name when something panicked, or holds its slot.
#[derive(Debug)]
pub struct WorkingOperator {
    names: Vec<String>,
    position: AtomicUsize,
}

impl WorkingOperator {
    /// Its name.
    pub fn name(&self) -> &str {
        self.names.get(self.position.load(Ordering::Relaxed)).map_or("", String::as_str)
    }
}

impl Chain {
    /// A chain of these operators.
    pub fn new(links: Vec<Link>) -> Self {
        let names = links.iter().map(|link| link.info().name.clone()).collect();
        Self { links, working: Arc::new(WorkingOperator { names, position: AtomicUsize::new(0) }) }
    }

    /// The operators.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The position of the operator that worked last.
    pub fn working(&self) -> usize {
        self.working.position.load(Ordering::Relaxed)
    }

    /// The operator that worked last, for other threads.
    pub fn working_operator(&self) -> Arc<WorkingOperator> {
        Arc::clone(&self.working)
    }

    /// The operators, to change.
    pub fn links_mut(&mut self) -> &mut [Link] {
        &mut self.links
    }

    /// The operators alone.
    pub(crate) fn into_links(self) -> Vec<Link> {
        self.links
    }

    /// The operator that takes the subtask's input.
    pub fn head_mut(&mut self) -> &mut Link {
        &mut self.links[0]
    }

    /// The operator that takes the subtask's input.
    pub fn head(&self) -> &Link {
        &self.links[0]
    }

    /// Does one step of the operator furthest down that has something to do; `barrier` becomes the one that it has passed, if it has.
    ///
    /// # Errors
    /// The operator's error, with its name.
    pub fn step(
        &mut self,
        outputs: &mut [Output],
        barrier: &mut Option<CheckpointId>,
        now: Now,
    ) -> Result<ChainStep, (usize, OperatorError)> {
        let mut blocked = false;
        for index in (0..self.links.len()).rev() {
            if !self.links[index].has_work(now.millis) {
                continue;
            }
            // Barriers carry no records: they bypass credit, or a full output would hold up checkpoints.
            if !self.links[index].barrier_is_next() && !self.has_room(index, outputs) {
                blocked = true;
                continue;
            }
            self.step_link(index, outputs, barrier, now).map_err(|error| (index, error))?;
            return Ok(ChainStep::Worked);
        }
        Ok(if blocked { ChainStep::Blocked } else { ChainStep::Idle })
    }

    /// Whether what operator `index` emits has somewhere to go.
    fn has_room(&self, index: usize, outputs: &[Output]) -> bool {
        self.links[index].routes().all(|route| match route {
            Route::Link(next) => self.links[*next].queue_is_empty(),
            Route::Output(output) => outputs[*output].has_room(),
        })
    }

    fn step_link(
        &mut self,
        index: usize,
        outputs: &mut [Output],
        barrier: &mut Option<CheckpointId>,
        now: Now,
    ) -> Result<(), OperatorError> {
        self.working.position.store(index, Ordering::Relaxed);
        // What an operator emits only ever goes to operators behind it.
        let (before, after) = self.links.split_at_mut(index + 1);
        let link = &mut before[index];
        let mut downstream =
            Downstream { first: index + 1, links: after, outputs, now: now.instant, failed: None };
        link.step(&mut downstream, barrier, now)?;
        downstream.failed.map_or(Ok(()), Err)
    }

    /// Whether every operator has ended.
    pub fn has_ended(&self) -> bool {
        self.links.iter().all(Link::has_ended)
    }

    /// Lets every operator look whether it can emit without input again.
    pub fn wake(&mut self) {
        for link in &mut self.links {
            link.wake();
        }
    }

    /// The processing time at which some operator wants to be called.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.links.iter().filter_map(Link::next_timer).min()
    }
}

/// One reading of both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The steady clock.
    pub instant: Instant,
    /// The wall clock, milliseconds since the epoch.
    pub millis: Timestamp,
}

/// Where an operator's emissions go.
pub(crate) struct Downstream<'a> {
    first: usize,
    links: &'a mut [Link],
    outputs: &'a mut [Output],
    now: Instant,
    failed: Option<OperatorError>,
}

impl Downstream<'_> {
    /// Keeps the first error for the end of the step.
    pub(crate) fn note(&mut self, result: Result<(), OperatorError>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }

    /// Gives a batch to all routes.
    pub(crate) fn batch(&mut self, routes: &[Route], batch: crate::element::AnyBatch) {
        if let Some((last, others)) = routes.split_last() {
            for route in others {
                self.give(*route, batch.duplicate());
            }
            self.give(*last, batch);
        }
    }

    fn give(&mut self, route: Route, batch: crate::element::AnyBatch) {
        match route {
            Route::Link(index) => self.links[index - self.first].push(LinkElement::Batch(0, batch)),
            Route::Output(index) => {
                let written = self.outputs[index].write(batch, self.now);
                self.note(written);
            }
        }
    }

    /// Gives a control element to all routes, behind the records so far.
    pub(crate) fn control<'r>(
        &mut self,
        routes: impl Iterator<Item = &'r Route>,
        link_element: impl Fn() -> LinkElement,
        element: impl Fn() -> Element,
    ) {
        for route in routes {
            match *route {
                Route::Link(index) => self.links[index - self.first].push(link_element()),
                Route::Output(index) => self.outputs[index].send_control(&element),
            }
        }
    }
}
