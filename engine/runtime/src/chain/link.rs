//! One operator in its chain: what waits for it, what it is in the midst of, where its output goes.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use flott_core::Timestamp;
use flott_core::ids::CheckpointId;
use flott_core::memory::SEGMENT_BYTES;
use flott_core::time::{MAX_WATERMARK, NO_TIMESTAMP};
use flott_plan::OperatorKey;
use flott_state::OperatorState;

use super::erased::BoxedOperator;
use super::{Downstream, Now};
use crate::collector::Emitted;
use crate::element::{AnyBatch, Barrier, Element};
use crate::error::OperatorError;
use crate::operator::{OperatorContext, OperatorInfo, Progress};
use crate::operators::{Checked, ElementChecker};

/// Where a batch goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To an operator of the same chain.
    Link(usize),
    /// Out of the subtask.
    Output(usize),
}

/// What waits for an operator.
#[derive(Debug)]
pub(crate) enum LinkElement {
    /// Records of an input.
    Batch(usize, AnyBatch),
    /// See [`Element::Watermark`].
    Watermark(Timestamp),
    /// See [`Element::Idle`].
    Idle,
    /// See [`Element::Barrier`].
    Barrier(Barrier),
    /// One of several inputs has ended.
    InputEnd(usize),
    /// All input has ended.
    End,
}

/// What an operator is in the midst of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Current {
    Nothing,
    Batch,
    Watermark(Timestamp),
    Timer,
    InputEnd(usize),
    /// The end implies the highest watermark: what it fires comes first.
    LastWatermark,
    End,
    Ended,
}

/// An operator in its chain.
pub struct Link {
    key: OperatorKey,
    operator: BoxedOperator,
    state: OperatorState,
    info: OperatorInfo,
    queue: VecDeque<LinkElement>,
    current: Current,
    main: Vec<Route>,
    sides: Vec<(String, Vec<Route>)>,
    watermark: Timestamp,
    /// Follows what the operator emits, in debug builds.
    checker: ElementChecker,
    /// The checkpoint whose barrier came last.
    snapshot_of: Option<CheckpointId>,
    /// Whether `advance` may have something.
    awake: bool,
    /// Whether the step in hand waits for the outside; set back by a wake-up.
    waiting: bool,
}

impl Link {
    pub(crate) fn new(
        key: OperatorKey,
        operator: BoxedOperator,
        state: OperatorState,
        info: OperatorInfo,
    ) -> Self {
        Self {
            key,
            operator,
            state,
            info,
            queue: VecDeque::new(),
            current: Current::Nothing,
            main: Vec::new(),
            sides: Vec::new(),
            watermark: NO_TIMESTAMP,
            checker: ElementChecker::new(),
            snapshot_of: None,
            awake: true,
            waiting: false,
        }
    }

    pub(crate) fn add_main_route(&mut self, route: Route) {
        self.main.push(route);
    }

    pub(crate) fn add_side_route(&mut self, tag: &str, route: Route) {
        match self.sides.iter_mut().find(|(name, _)| name == tag) {
            Some((_, routes)) => routes.push(route),
            None => self.sides.push((tag.to_owned(), vec![route])),
        }
    }

    /// Which operator it is.
    pub fn key(&self) -> &OperatorKey {
        &self.key
    }

    /// Who and where it is.
    pub fn info(&self) -> &OperatorInfo {
        &self.info
    }

    /// What it is.
    pub(crate) fn operator_mut(&mut self) -> &mut BoxedOperator {
        &mut self.operator
    }

    /// Lets others see how much memory it takes.
    pub(crate) fn note_memory(&self) {
        let managed = &self.info.managed_memory;
        let reserved = (managed.total_segments() - managed.free_segments()) * SEGMENT_BYTES;
        let bytes = self.state.bytes_estimate() + reserved;
        self.info.metrics.memory_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// Its state.
    pub fn state_mut(&mut self) -> &mut OperatorState {
        &mut self.state
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.main.iter().chain(self.sides.iter().flat_map(|(_, routes)| routes))
    }

    pub(crate) fn push(&mut self, element: LinkElement) {
        self.queue.push_back(element);
    }

    pub(crate) fn queue_is_empty(&self) -> bool {
        self.queue.is_empty() && self.current == Current::Nothing
    }

    /// Whether it could take an element from the gate at once.
    pub(crate) fn wants_input(&self) -> bool {
        self.queue.is_empty() && self.current == Current::Nothing
    }

    /// Whether it emits in steps, so that only a barrier may come between.
    pub(crate) fn is_firing(&self) -> bool {
        matches!(
            self.current,
            Current::Watermark(_) | Current::InputEnd(_) | Current::LastWatermark | Current::End
        ) && self.queue.is_empty()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.current == Current::Ended
    }

    pub(crate) fn holds_input(&self) -> bool {
        self.current == Current::Batch || self.operator.holds_input()
    }

    pub(crate) fn reads_first(&self) -> Option<usize> {
        self.operator.reads_first()
    }

    pub(super) fn wake(&mut self) {
        self.awake = true;
        self.waiting = false;
    }

    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        if self.current == Current::Ended { None } else { self.operator.next_timer() }
    }

    /// Whether the next step only passes a barrier on.
    pub(super) fn barrier_is_next(&self) -> bool {
        self.current != Current::Batch && matches!(self.queue.front(), Some(LinkElement::Barrier(_)))
    }

    pub(super) fn has_work(&self, now: Timestamp) -> bool {
        match self.current {
            Current::Ended => false,
            Current::Nothing => {
                !self.queue.is_empty() || self.awake || self.operator.next_timer().is_some_and(|at| at <= now)
            }
            Current::Batch => self.operator.is_ready(),
            Current::Watermark(_)
            | Current::Timer
            | Current::InputEnd(_)
            | Current::LastWatermark
            | Current::End => {
                !self.waiting
                    || self.barrier_is_next()
                    || self.operator.next_timer().is_some_and(|at| at <= now)
            }
        }
    }

    /// Does one bounded piece of work.
    pub(super) fn step(
        &mut self,
        downstream: &mut Downstream<'_>,
        passed: &mut Option<CheckpointId>,
        now: Now,
    ) -> Result<(), OperatorError> {
        let firing = !matches!(self.current, Current::Nothing | Current::Batch);
        if firing && self.barrier_is_next() {
            // A barrier is taken between two steps of a firing: what has not fired is in the state.
            if let Some(LinkElement::Barrier(barrier)) = self.queue.pop_front() {
                return self.take_barrier(barrier, downstream, passed, now);
            }
        }
        if self.current == Current::Nothing {
            let timer_is_due = self.operator.next_timer().is_some_and(|at| at <= now.millis);
            if timer_is_due && !self.barrier_is_next() {
                self.current = Current::Timer;
            } else if let Some(element) = self.queue.pop_front() {
                return self.begin(element, downstream, passed, now);
            } else {
                return self.advance(downstream, now);
            }
        }
        self.go_on(downstream, now)
    }

    fn begin(
        &mut self,
        element: LinkElement,
        downstream: &mut Downstream<'_>,
        passed: &mut Option<CheckpointId>,
        now: Now,
    ) -> Result<(), OperatorError> {
        self.waiting = false;
        match element {
            LinkElement::Batch(input, batch) => {
                let records = batch.len() as u64;
                self.info.metrics.records_in.fetch_add(records, Ordering::Relaxed);
                self.operator.accept(input, batch)?;
                self.current = Current::Batch;
                self.go_on(downstream, now)
            }
            LinkElement::Watermark(watermark) => {
                self.watermark = watermark;
                self.info.metrics.watermark.store(watermark, Ordering::Relaxed);
                self.current = Current::Watermark(watermark);
                self.go_on(downstream, now)
            }
            LinkElement::Idle => {
                self.checker.check(&self.info.name, Checked::Idle)?;
                downstream.control(self.routes(), || LinkElement::Idle, || Element::Idle);
                Ok(())
            }
            LinkElement::Barrier(barrier) => self.take_barrier(barrier, downstream, passed, now),
            LinkElement::InputEnd(input) => {
                self.current = Current::InputEnd(input);
                self.go_on(downstream, now)
            }
            LinkElement::End => {
                self.watermark = MAX_WATERMARK;
                self.current = Current::LastWatermark;
                self.go_on(downstream, now)
            }
        }
    }

    /// One step of what is in hand.
    fn go_on(&mut self, downstream: &mut Downstream<'_>, now: Now) -> Result<(), OperatorError> {
        let current = self.current;
        let progress = {
            let mut context = OperatorContext {
                state: &mut self.state,
                info: &self.info,
                watermark: self.watermark,
                processing_time: now.millis,
            };
            let mut emit = Emit {
                main: &self.main,
                sides: &self.sides,
                downstream,
                info: &self.info,
                checker: &mut self.checker,
            };
            match current {
                Current::Nothing | Current::Ended => Progress::Done,
                Current::Batch => {
                    let exhausted = self.operator.work(now.instant, &mut emit, &mut context)?;
                    if exhausted { Progress::Done } else { Progress::More }
                }
                Current::Watermark(watermark) => {
                    self.operator.watermark(watermark, &mut emit, &mut context)?
                }
                Current::Timer => self.operator.timer(now.millis, &mut emit, &mut context)?,
                Current::InputEnd(input) => self.operator.input_end(input, &mut emit, &mut context)?,
                Current::LastWatermark => self.operator.watermark(MAX_WATERMARK, &mut emit, &mut context)?,
                Current::End => self.operator.end(&mut emit, &mut context)?,
            }
        };
        match progress {
            Progress::More => self.waiting = false,
            Progress::Waiting => self.waiting = true,
            Progress::Done => self.finish(current, downstream),
        }
        Ok(())
    }

    /// What is in hand is done: passes on what waited for it.
    fn finish(&mut self, done: Current, downstream: &mut Downstream<'_>) {
        self.current = Current::Nothing;
        self.awake = true;
        match done {
            Current::Watermark(watermark) => {
                let forward = self.operator.forward_watermark(watermark);
                if let Some(watermark) = forward {
                    downstream.note(self.checker.check(&self.info.name, Checked::Watermark(watermark)));
                    downstream.control(
                        self.routes(),
                        || LinkElement::Watermark(watermark),
                        || Element::Watermark(watermark),
                    );
                }
            }
            Current::LastWatermark => self.current = Current::End,
            Current::End => {
                self.current = Current::Ended;
                self.awake = false;
                downstream.note(self.checker.check(&self.info.name, Checked::End));
                downstream.control(self.routes(), || LinkElement::End, || Element::End);
            }
            Current::Nothing | Current::Batch | Current::Timer | Current::InputEnd(_) | Current::Ended => {}
        }
    }

    fn advance(&mut self, downstream: &mut Downstream<'_>, now: Now) -> Result<(), OperatorError> {
        let mut context = OperatorContext {
            state: &mut self.state,
            info: &self.info,
            watermark: self.watermark,
            processing_time: now.millis,
        };
        let mut emit = Emit {
            main: &self.main,
            sides: &self.sides,
            downstream,
            info: &self.info,
            checker: &mut self.checker,
        };
        let progress = self.operator.advance(&mut emit, &mut context)?;
        self.awake = progress == Progress::More;
        Ok(())
    }

    fn take_barrier(
        &mut self,
        barrier: Barrier,
        downstream: &mut Downstream<'_>,
        passed: &mut Option<CheckpointId>,
        now: Now,
    ) -> Result<(), OperatorError> {
        self.call(now, |operator, context| operator.prepare_snapshot(barrier.checkpoint, context))?;
        // A later barrier may come before the word that the earlier checkpoint was given up.
        if let Some(earlier) = self.snapshot_of.replace(barrier.checkpoint) {
            self.state.cancel_snapshot(earlier);
        }
        self.state.begin_snapshot(barrier.checkpoint)?;
        *passed = Some(barrier.checkpoint);
        self.checker.check(&self.info.name, Checked::Barrier(barrier.checkpoint))?;
        downstream.control(self.routes(), || LinkElement::Barrier(barrier), || Element::Barrier(barrier));
        Ok(())
    }

    /// Calls the operator outside of a step.
    pub(crate) fn call<R>(
        &mut self,
        now: Now,
        f: impl FnOnce(&mut BoxedOperator, &mut OperatorContext<'_>) -> Result<R, OperatorError>,
    ) -> Result<R, OperatorError> {
        let mut context = OperatorContext {
            state: &mut self.state,
            info: &self.info,
            watermark: self.watermark,
            processing_time: now.millis,
        };
        f(&mut self.operator, &mut context)
    }
}

/// Takes what an operator emits to where it goes.
pub(crate) struct Emit<'a, 'd> {
    main: &'a [Route],
    sides: &'a [(String, Vec<Route>)],
    downstream: &'a mut Downstream<'d>,
    info: &'a OperatorInfo,
    checker: &'a mut ElementChecker,
}

impl Emit<'_, '_> {
    pub(super) fn emitted(&mut self, emitted: Emitted<'_>) {
        let element = match &emitted {
            Emitted::Main(_) | Emitted::Side(..) => Checked::Batch,
            Emitted::Watermark(watermark) => Checked::Watermark(*watermark),
            Emitted::Idle => Checked::Idle,
        };
        self.downstream.note(self.checker.check(&self.info.name, element));
        match emitted {
            Emitted::Main(batch) => {
                self.info.metrics.records_out.fetch_add(batch.len() as u64, Ordering::Relaxed);
                self.downstream.batch(self.main, batch);
            }
            Emitted::Side(tag, batch) => {
                if let Some((_, routes)) = self.sides.iter().find(|(name, _)| name == tag) {
                    self.downstream.batch(routes, batch);
                }
            }
            Emitted::Watermark(watermark) => {
                let routes = self.main.iter().chain(self.sides.iter().flat_map(|(_, routes)| routes));
                self.downstream.control(
                    routes,
                    || LinkElement::Watermark(watermark),
                    || Element::Watermark(watermark),
                );
            }
            Emitted::Idle => {
                let routes = self.main.iter().chain(self.sides.iter().flat_map(|(_, routes)| routes));
                self.downstream.control(routes, || LinkElement::Idle, || Element::Idle);
            }
        }
    }
}
