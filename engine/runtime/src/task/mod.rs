//! A subtask: one parallel instance of a vertex, from its start on a slot to its end.
//!
//! ```text
//! start → open → running → ended → (drained → committed) → finished
//!                   └── failed / canceled, from anywhere
//! ```

mod assemble;
mod checkpoint;
mod event;
mod mailbox;
mod panics;
mod spec;

pub use event::{TaskEvent, TaskFailure, TaskListener};
pub use mailbox::{Mailbox, TaskMessage};
use panics::CaughtPanic;
pub use panics::install_panic_hook;
pub use spec::{FinalHandles, InputSpec, JobContext, OutputSpec, Restore, TaskSpec};

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flott_core::ids::CheckpointId;
use flott_core::time::MAX_WATERMARK;

use crate::chain::{Chain, ChainStep, Link, LinkElement, Now, WorkingOperator};
use crate::element::Barrier;
use crate::error::{Fault, OperatorError};
use crate::exchange::align::{AlignmentDecision, BarrierAligner};
use crate::exchange::gate::{GateEvent, InputGate};
use crate::exchange::output::Output;
use crate::metrics::{Activity, TaskClock};
use crate::slot::now;
use crate::snapshot::AbandonedSnapshot;
use checkpoint::{SNAPSHOT_STEP, SnapshotInHand};

/// How a subtask's turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// It goes on.
    Continue {
        /// It could use another turn at once.
        more: bool,
        /// It wants a turn then, whatever happens.
        wake_at: Option<Instant>,
    },
    /// It is over; what it held is released.
    Over,
}

/// How often operators are asked how much memory they take.
const MEMORY_INTERVAL: Duration = Duration::from_secs(1);

/// That takes one part of so many of the time at most, if there is very much to look at.
const MEMORY_SHARE: u32 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// All operators have ended; the last snapshot may still be in the writing.
    Ended,
    /// Waits to be told to commit.
    Drained,
    /// Has been told; commits are done elsewhere.
    Committing,
}

/// A subtask on its slot.
pub struct Subtask {
    spec: TaskSpec,
    chain: Chain,
    gates: Vec<(usize, InputGate)>,
    outputs: Vec<Output>,
    aligner: BarrierAligner,
    snapshot: Option<SnapshotInHand>,
    /// A checkpoint that was triggered while input channels were still to end.
    triggered: Option<CheckpointId>,
    /// The barrier that went into the chain last.
    last_barrier: CheckpointId,
    open_inputs: Vec<usize>,
    last_watermark: Vec<i64>,
    phase: Phase,
    name: Arc<str>,
    clock: TaskClock,
    /// At its last step there was something to do, and no room for what would come of it.
    blocked: bool,
    /// When the memory that operators take is looked at again.
    note_memory_at: Instant,
    /// The operators before this one were never opened.
    unopened: usize,
    /// What is to be committed after the end, while it is being prepared.
    final_handles: Option<FinalHandles>,
    closing: Option<Closing>,
    /// Snapshots that were given up, and may still be in the writing.
    abandoned: Vec<AbandonedSnapshot>,
}

/// A subtask that is over, while something it has begun is still being done by other threads.
struct Closing {
    /// What is told in the end.
    event: TaskEvent,
    since: Instant,
}

/// How long a subtask that has failed or ended by itself waits for what it has begun.
const LONGEST_CLOSE: Duration = Duration::from_secs(60);

enum Turn {
    More,
    Wait,
    Over(TaskEvent),
}

impl Subtask {
    /// Makes and opens the operators; none if that failed, which the listener was told.
    pub fn start(spec: TaskSpec) -> Option<Self> {
        let (execution, listener) = (spec.execution, Arc::clone(&spec.listener));
        let vertex_name = assemble::vertex_name(&spec);
        let assembled = panics::caught(|| assemble::assemble(spec));
        let failure = match assembled {
            Ok(Ok(mut subtask)) => {
                subtask.begin();
                return Some(subtask);
            }
            Ok(Err(failure)) => failure,
            Err(panic) => TaskFailure {
                operator: vertex_name,
                subtask: execution.subtask.index,
                fault: Fault::User,
                message: panic.message,
                backtrace: panic.backtrace,
            },
        };
        listener.event(execution, TaskEvent::Failed(failure));
        None
    }

    /// Opens the operators; if that fails, the subtask is over.
    fn begin(&mut self) {
        let failure = match panics::caught(|| self.open()) {
            Ok(Ok(())) => {
                let metrics = self.chain.links().iter();
                let metrics = metrics.map(|link| (*link.key(), Arc::clone(&link.info().metrics))).collect();
                return self.tell(TaskEvent::Running { task: Arc::clone(self.clock.metrics()), metrics });
            }
            Ok(Err(failure)) => failure,
            Err(panic) => self.panicked(self.unopened, panic),
        };
        self.close(TaskEvent::Failed(failure));
    }

    fn panicked(&self, operator: usize, panic: CaughtPanic) -> TaskFailure {
        let CaughtPanic { message, backtrace } = panic;
        TaskFailure { message, backtrace, ..self.failure(operator, OperatorError::new(Fault::User, "")) }
    }

    /// The vertex's name and the subtask's number.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Which of its operators worked last.
    pub fn working_operator(&self) -> Arc<WorkingOperator> {
        self.chain.working_operator()
    }

    /// Runs the subtask for at most about `quantum`. `woken`: something it may have waited for has happened.
    pub fn run(&mut self, woken: bool, quantum: Duration) -> RunOutcome {
        if self.closing.is_some() {
            return self.try_close();
        }
        let turn = panics::caught(|| self.turn(woken, quantum));
        let event = match turn {
            Ok(Ok(Turn::More)) => return RunOutcome::Continue { more: true, wake_at: None },
            Ok(Ok(Turn::Wait)) => return RunOutcome::Continue { more: false, wake_at: self.wake_at() },
            Ok(Ok(Turn::Over(event))) => event,
            Ok(Err(failure)) => TaskEvent::Failed(failure),
            Err(panic) => TaskEvent::Failed(self.panicked(self.chain.working(), panic)),
        };
        self.close(event);
        self.try_close()
    }

    /// Sends what waits for a full batch; returns when the subtask wants a turn.
    pub fn flush_partial_batches(&mut self) -> Option<Instant> {
        if let Some(closing) = &self.closing {
            return Some(closing.since + LONGEST_CLOSE);
        }
        for output in &mut self.outputs {
            if output.flush_at().is_some() {
                output.flush();
            }
        }
        self.wake_at()
    }

    fn wake_at(&self) -> Option<Instant> {
        let flush = self.outputs.iter().filter_map(Output::flush_at).min();
        let timer = self.chain.next_timer().map(|at| {
            let reading = now();
            let wait = u64::try_from(at.saturating_sub(reading.millis)).unwrap_or(0);
            reading.instant + Duration::from_millis(wait.min(3_600_000))
        });
        [flush, timer].into_iter().flatten().min()
    }

    fn tell(&self, event: TaskEvent) {
        self.spec.listener.event(self.spec.execution, event);
    }

    fn failure(&self, operator: usize, error: OperatorError) -> TaskFailure {
        TaskFailure {
            operator: self.chain.links()[operator].info().name.clone(),
            subtask: self.spec.execution.subtask.index,
            fault: error.fault(),
            message: error.to_string(),
            backtrace: None,
        }
    }

    /// The subtask is over, by `event`: it is told once nothing is done any more.
    fn close(&mut self, event: TaskEvent) {
        self.abandon_snapshot();
        self.closing = Some(Closing { event, since: Instant::now() });
        for link in &mut self.chain.links_mut()[self.unopened..] {
            // Closing must not keep the other operators from closing.
            let _ = panics::caught(|| {
                let _ = link.call(now(), |operator, _| {
                    operator.close();
                    Ok(())
                });
            });
        }
        for (_, gate) in &mut self.gates {
            gate.release_held();
        }
    }

    /// Tells the last event if nothing is done any more: another attempt may begin as soon as this one is known to be over.
    fn try_close(&mut self) -> RunOutcome {
        let operators = &mut self.chain.links_mut()[self.unopened..];
        // Who panics here will not say anything better later.
        let mut is_closed =
            |link: &mut Link| panics::caught(|| link.operator_mut().is_closed()).unwrap_or(true);
        let operators_closed = operators.iter_mut().all(&mut is_closed);
        let done = operators_closed && self.abandoned.iter().all(AbandonedSnapshot::is_over);
        let Some(closing) = &self.closing else { return RunOutcome::Over };
        // Who told it to stop gives up the whole worker after the cancellation timeout.
        let give_up_at = match closing.event {
            TaskEvent::Canceled => None,
            _ => Some(closing.since + LONGEST_CLOSE),
        };
        if !done && give_up_at.is_none_or(|at| Instant::now() < at) {
            return RunOutcome::Continue { more: false, wake_at: give_up_at };
        }
        if !done {
            tracing::error!(subtask = %self.name, "what a subtask has begun is not over after {LONGEST_CLOSE:?}; nobody waits any more");
        }
        self.drop_operators();
        if let Some(closing) = self.closing.take() {
            self.tell(closing.event);
        }
        RunOutcome::Over
    }

    /// Drops what is the user's, before others hear that the subtask is over; who panics there ends nothing else.
    fn drop_operators(&mut self) {
        let chain = std::mem::replace(&mut self.chain, Chain::new(Vec::new()));
        for link in chain.into_links() {
            let _ = panics::caught(|| drop(link));
        }
        for output in self.outputs.drain(..) {
            let _ = panics::caught(|| drop(output));
        }
        for gate in self.gates.drain(..) {
            let _ = panics::caught(|| drop(gate));
        }
    }

    fn turn(&mut self, woken: bool, quantum: Duration) -> Result<Turn, TaskFailure> {
        let mut reading = now();
        self.clock.begin_turn(reading.instant, self.spec.waker.woken_at());
        let deadline = reading.instant + quantum;
        if reading.instant >= self.note_memory_at {
            self.chain.links().iter().for_each(Link::note_memory);
            let took = reading.instant.elapsed();
            self.note_memory_at = reading.instant + MEMORY_INTERVAL.max(took * MEMORY_SHARE);
        }
        if woken {
            self.chain.wake();
            if self.phase == Phase::Running {
                let checked = self.outputs.iter().try_for_each(Output::check);
                checked.map_err(|error| self.failure(0, error))?;
            }
        }
        while let Some(message) = self.spec.mailbox.take() {
            if let Some(event) = self.handle(message, reading)? {
                return Ok(Turn::Over(event));
            }
        }
        // Records and a snapshot in the writing take turns by the clock: one step may be a thousand records or a glance.
        let mut write_at = reading.instant + SNAPSHOT_STEP;
        loop {
            self.flush_due(reading.instant);
            let worked = match self.phase {
                Phase::Running => self.work(reading)?,
                Phase::Ended | Phase::Drained | Phase::Committing => false,
            };
            reading = now();
            let mut writing = false;
            if !worked || reading.instant >= write_at {
                writing = self.write_snapshot()?;
                if writing {
                    reading = now();
                    write_at = reading.instant + SNAPSHOT_STEP;
                }
            }
            if self.phase == Phase::Ended
                && self.snapshot.is_none()
                && let Some(event) = self.try_finish(reading)?
            {
                return Ok(Turn::Over(event));
            }
            if self.phase == Phase::Committing && self.all_operators(|operator| operator.is_committed())? {
                return Ok(Turn::Over(TaskEvent::Finished));
            }
            if !worked && !writing {
                let blocked = self.blocked && self.phase == Phase::Running;
                self.end_turn(reading, if blocked { Activity::BackPressured } else { Activity::Idle });
                return Ok(Turn::Wait);
            }
            if reading.instant >= deadline {
                self.end_turn(reading, Activity::Waiting);
                return Ok(Turn::More);
            }
        }
    }

    fn end_turn(&mut self, reading: Now, next: Activity) {
        self.clock.end_turn(reading.instant, next);
        let metrics = self.clock.metrics();
        let taken = self.gates.iter().map(|(_, gate)| gate.bytes_taken()).sum();
        metrics.bytes_in.store(taken, Ordering::Relaxed);
        metrics.bytes_out.store(self.outputs.iter().map(Output::bytes_sent).sum(), Ordering::Relaxed);
    }

    fn flush_due(&mut self, now: Instant) {
        for output in &mut self.outputs {
            if output.flush_at().is_some_and(|at| at <= now) {
                output.flush();
            }
        }
    }

    /// One step of the chain, or one element from the gates. False: nothing to do.
    fn work(&mut self, reading: Now) -> Result<bool, TaskFailure> {
        let firing = self.chain.head().is_firing();
        self.blocked = false;
        if (firing || self.chain.head().wants_input()) && self.read_gates(firing)? {
            return Ok(true);
        }
        let mut barrier = None;
        let step = self.chain.step(&mut self.outputs, &mut barrier, reading);
        let step = step.map_err(|(operator, error)| self.failure(operator, error))?;
        if let Some(checkpoint) = barrier {
            self.note_barrier(checkpoint, self.chain.working());
        }
        if !self.chain.head().holds_input() {
            for (_, gate) in &mut self.gates {
                gate.release_held();
            }
        }
        if self.chain.has_ended() {
            self.phase = Phase::Ended;
            return Ok(true);
        }
        self.blocked = step == ChainStep::Blocked;
        Ok(step == ChainStep::Worked)
    }

    /// Gives the head operator the next element of some gate. True: there was one.
    fn read_gates(&mut self, only_barriers: bool) -> Result<bool, TaskFailure> {
        let first = self.chain.head().reads_first().filter(|input| self.open_inputs.get(*input) != Some(&0));
        for index in 0..self.gates.len() {
            if first.is_some_and(|input| input != self.gates[index].0) {
                continue;
            }
            let gate = &mut self.gates[index].1;
            let event =
                if only_barriers { gate.next_barrier(&self.aligner) } else { gate.next(&self.aligner) };
            let event = event.map_err(|error| self.failure(0, error))?;
            if let Some(event) = event {
                self.take_event(index, event);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take_event(&mut self, gate: usize, event: GateEvent) {
        let input = self.gates[gate].0;
        match event {
            GateEvent::Batch(batch) => self.chain.head_mut().push(LinkElement::Batch(input, batch)),
            GateEvent::Watermark(watermark) => {
                let before = self.last_watermark.iter().copied().min();
                self.last_watermark[gate] = watermark;
                let combined = self.last_watermark.iter().copied().min();
                // The end of all inputs implies the highest watermark.
                if let Some(combined) = combined.filter(|combined| Some(*combined) > before)
                    && combined != MAX_WATERMARK
                {
                    self.chain.head_mut().push(LinkElement::Watermark(combined));
                }
            }
            GateEvent::Idle => self.chain.head_mut().push(LinkElement::Idle),
            GateEvent::Barrier(channel, barrier) => {
                let decision = self.aligner.barrier(channel, barrier.checkpoint);
                self.aligned(decision);
            }
            GateEvent::ChannelEnd(channel) => {
                let decision = self.aligner.end(channel);
                self.aligned(decision);
                self.end_channel(gate);
            }
        }
    }

    fn aligned(&mut self, decision: AlignmentDecision) {
        if let AlignmentDecision::Aligned(checkpoint) = decision {
            self.insert_barrier(checkpoint);
            for (_, gate) in &mut self.gates {
                gate.unblock();
            }
        }
    }

    /// Puts a barrier before the head operator, once: a task may be told of a checkpoint whose barrier is on its way to it, if
    /// its last producer ended meanwhile.
    fn insert_barrier(&mut self, checkpoint: CheckpointId) {
        if checkpoint <= self.last_barrier {
            return;
        }
        self.last_barrier = checkpoint;
        self.chain.head_mut().push(LinkElement::Barrier(Barrier { checkpoint }));
    }

    fn end_channel(&mut self, gate: usize) {
        let input = self.gates[gate].0;
        self.open_inputs[input] -= 1;
        if self.open_inputs[input] == 0 && self.open_inputs.len() > 1 {
            self.chain.head_mut().push(LinkElement::InputEnd(input));
        }
        if self.open_inputs.iter().all(|open| *open == 0) {
            self.end_input();
        } else if let Some(GateEvent::Watermark(watermark)) = self.gates[gate].1.risen_watermark() {
            self.take_event(gate, GateEvent::Watermark(watermark));
        }
    }

    /// All channels have ended.
    fn end_input(&mut self) {
        if let Some(checkpoint) = self.triggered.take() {
            self.insert_barrier(checkpoint);
        }
        self.chain.head_mut().push(LinkElement::End);
    }
}
