//! `KeyedProcess`: a function that sees the records of a key with the key's state, and sets timers of both times.
//!
//! State is declared when the function is made, by name and type, through [`KeyedSetup`]:
//!
//! ```
//! use flott_runtime::error::OperatorError;
//! use flott_runtime::operators::{KeyedContext, KeyedProcessFunction, KeyedSetup};
//! use flott_state::ValueState;
//!
//! struct FirstOnly { seen: ValueState<String, bool> }
//!
//! impl FirstOnly {
//!     fn new(setup: &mut KeyedSetup<'_, String>) -> Self {
//!         Self { seen: setup.value_state("seen") }
//!     }
//! }
//!
//! impl KeyedProcessFunction<String, String, String> for FirstOnly {
//!     fn process(
//!         &mut self,
//!         word: String,
//!         context: &mut KeyedContext<'_, String, String>,
//!     ) -> Result<(), OperatorError> {
//!         if self.seen.get().is_none() {
//!             self.seen.set(true);
//!             context.emit(word);
//!         }
//!         Ok(())
//!     }
//! }
//! ```

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use flott_core::time::NO_TIMESTAMP;
use flott_core::{Data, Key, Timestamp};
use flott_state::{CurrentKey, OperatorState, StateError, Table, Timers, ValueState};

use super::{Emitter, state_not_declared};
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, OperatorInfo, OutputTag, Progress};

/// Which clock a timer goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeDomain {
    /// The watermark.
    EventTime,
    /// The wall clock.
    ProcessingTime,
}

/// A timer that fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// When it was due, in milliseconds since the epoch.
    pub time: Timestamp,
    /// By which clock.
    pub domain: TimeDomain,
}

/// A user function over the records of one key at a time.
pub trait KeyedProcessFunction<K, I, O>: 'static {
    /// Takes a record; states and context are those of its key.
    ///
    /// # Errors
    /// An error fails the task.
    fn process(&mut self, record: I, context: &mut KeyedContext<'_, K, O>) -> Result<(), OperatorError>;

    /// A timer that this key set is due.
    ///
    /// # Errors
    /// An error fails the task.
    fn on_timer(
        &mut self,
        _timer: Timer,
        _context: &mut KeyedContext<'_, K, O>,
    ) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Called once, last, also after a failure.
    fn close(&mut self) {}
}

/// What a [`KeyedProcessFunction`] is made from: here it declares its states.
pub struct KeyedSetup<'a, K> {
    state: &'a mut OperatorState,
    info: &'a OperatorInfo,
    key: CurrentKey<K>,
    failed: Option<StateError>,
}

impl<K: Key> KeyedSetup<'_, K> {
    /// Declares a value a key. A name that is taken, or has another type in the checkpoint, keeps the task from starting.
    pub fn value_state<V: Data>(&mut self, name: &str) -> ValueState<K, V> {
        let table = self.state.table(name).unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            let context = self.state.context();
            Rc::new(RefCell::new(Table::new(context.key_groups, context.max_parallelism)))
        });
        ValueState::new(table, self.key.clone())
    }

    /// Who and where the operator is.
    pub fn info(&self) -> &OperatorInfo {
        self.info
    }
}

/// The timers of an operator.
struct KeyedTimers<K> {
    event: Rc<RefCell<Timers<K>>>,
    processing: Rc<RefCell<Timers<K>>>,
}

impl<K> KeyedTimers<K> {
    fn of(&self, domain: TimeDomain) -> &RefCell<Timers<K>> {
        match domain {
            TimeDomain::EventTime => &self.event,
            TimeDomain::ProcessingTime => &self.processing,
        }
    }
}

/// What a [`KeyedProcessFunction`] can see and do.
pub struct KeyedContext<'a, K, O> {
    out: Emitter<'a, O>,
    key: &'a CurrentKey<K>,
    timers: &'a KeyedTimers<K>,
    watermark: Timestamp,
    processing_time: Timestamp,
    info: &'a OperatorInfo,
}

impl<K: Key, O: Data> KeyedContext<'_, K, O> {
    /// The key; none only outside of a call, where no context is.
    pub fn current_key(&self) -> Option<K> {
        self.key.get()
    }

    /// The timestamp of the record in hand, or the time of the event-time timer that fires, or
    /// [`NO_TIMESTAMP`].
    #[inline]
    pub fn timestamp(&self) -> Timestamp {
        self.out.timestamp()
    }

    /// How far event time has come, or [`NO_TIMESTAMP`].
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The wall clock, in milliseconds since the epoch.
    pub fn processing_time(&self) -> Timestamp {
        self.processing_time
    }

    /// Who and where the operator is.
    pub fn info(&self) -> &OperatorInfo {
        self.info
    }

    /// Emits a record with the [`timestamp`](Self::timestamp) in hand.
    #[inline]
    pub fn emit(&mut self, record: O) {
        self.out.emit(record);
    }

    /// Emits a record with a timestamp of its own.
    #[inline]
    pub fn emit_at(&mut self, record: O, time: Timestamp) {
        self.out.emit_at(record, time);
    }

    /// Emits a record to a side output, with the [`timestamp`](Self::timestamp) in hand.
    pub fn emit_to<S: Data>(&mut self, tag: &OutputTag<S>, record: S) {
        self.out.emit_to(tag, record);
    }

    /// Has [`on_timer`](KeyedProcessFunction::on_timer) called for this key once the watermark reaches `time`; a time that is over
    /// already, with the next watermark. Setting a timer twice is setting it once.
    pub fn register_event_time_timer(&mut self, time: Timestamp) {
        self.register(time, TimeDomain::EventTime);
    }

    /// Has [`on_timer`](KeyedProcessFunction::on_timer) called for this key once the wall clock reaches `time`.
    pub fn register_processing_time_timer(&mut self, time: Timestamp) {
        self.register(time, TimeDomain::ProcessingTime);
    }

    /// Takes back an event-time timer of this key, if it is set.
    pub fn delete_event_time_timer(&mut self, time: Timestamp) {
        self.delete(time, TimeDomain::EventTime);
    }

    /// Takes back a processing-time timer of this key, if it is set.
    pub fn delete_processing_time_timer(&mut self, time: Timestamp) {
        self.delete(time, TimeDomain::ProcessingTime);
    }

    fn register(&mut self, time: Timestamp, domain: TimeDomain) {
        if let Some(key) = self.key.get() {
            self.timers.of(domain).borrow_mut().register(time, &key);
        }
    }

    fn delete(&mut self, time: Timestamp, domain: TimeDomain) {
        if let Some(key) = self.key.get() {
            self.timers.of(domain).borrow_mut().delete(time, &key);
        }
    }
}

/// Runs a [`KeyedProcessFunction`] that `M` makes.
pub struct KeyedProcess<I, O, S: KeySelector<I>, M, F> {
    selector: Arc<S>,
    make: M,
    opened: Option<Opened<S::Key, F>>,
    records: PhantomData<fn(I) -> O>,
}

struct Opened<K, F> {
    function: F,
    key: CurrentKey<K>,
    timers: KeyedTimers<K>,
}

impl<I, O, S, M, F> KeyedProcess<I, O, S, M, F>
where
    I: Data,
    O: Data,
    S: KeySelector<I>,
    M: FnMut(&mut KeyedSetup<'_, S::Key>) -> F,
    F: KeyedProcessFunction<S::Key, I, O>,
{
    /// Processes records by the function that `make` makes when the operator opens.
    pub fn new(selector: Arc<S>, make: M) -> Self {
        Self { selector, make, opened: None, records: PhantomData }
    }

    fn opened(&mut self) -> Result<&mut Opened<S::Key, F>, OperatorError> {
        self.opened.as_mut().ok_or_else(state_not_declared)
    }

    /// Fires timers that are due at `now` until `out` is full.
    fn fire(
        &mut self,
        domain: TimeDomain,
        now: Timestamp,
        out: &mut Collector<O>,
        context: &OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        let opened = self.opened()?;
        while !out.is_full() {
            // The function may set timers: the borrow ends before it is called.
            let due = opened.timers.of(domain).borrow_mut().pop_due(now);
            let Some((time, key)) = due.map_err(OperatorError::defect)? else { return Ok(Progress::Done) };
            opened.key.set(key.key_hash(), key);
            let timestamp = if domain == TimeDomain::EventTime { time } else { NO_TIMESTAMP };
            let mut call = opened_context(&opened.key, &opened.timers, out, timestamp, context);
            opened.function.on_timer(Timer { time, domain }, &mut call)?;
        }
        Ok(Progress::More)
    }
}

fn opened_context<'a, K, O: Data>(
    key: &'a CurrentKey<K>,
    timers: &'a KeyedTimers<K>,
    out: &'a mut Collector<O>,
    time: Timestamp,
    context: &OperatorContext<'a>,
) -> KeyedContext<'a, K, O> {
    KeyedContext {
        out: Emitter::new(out, time),
        key,
        timers,
        watermark: context.watermark,
        processing_time: context.processing_time,
        info: context.info,
    }
}

impl<I, O, S, M, F> Operator for KeyedProcess<I, O, S, M, F>
where
    I: Data,
    O: Data,
    S: KeySelector<I>,
    M: FnMut(&mut KeyedSetup<'_, S::Key>) -> F + 'static,
    F: KeyedProcessFunction<S::Key, I, O>,
{
    type In = I;
    type Out = O;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let timers = KeyedTimers {
            event: context.state.timers("event-time timers")?,
            processing: context.state.timers("processing-time timers")?,
        };
        let key = CurrentKey::default();
        let mut setup =
            KeyedSetup { state: context.state, info: context.info, key: key.clone(), failed: None };
        let function = (self.make)(&mut setup);
        if let Some(error) = setup.failed {
            return Err(error.into());
        }
        self.opened = Some(Opened { function, key, timers });
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<I>,
        out: &mut Collector<O>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let opened = self.opened.as_mut().ok_or_else(state_not_declared)?;
        while !out.is_full() {
            let Some((record, time)) = input.next() else { break };
            self.selector.with_key(&record, |key| opened.key.set(key.key_hash(), key.clone()));
            let mut call = opened_context(&opened.key, &opened.timers, out, time, context);
            opened.function.process(record, &mut call)?;
        }
        Ok(())
    }

    fn watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut Collector<O>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        self.fire(TimeDomain::EventTime, watermark, out, context)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.opened.as_ref().and_then(|opened| opened.timers.processing.borrow().first_time())
    }

    fn timer(
        &mut self,
        now: Timestamp,
        out: &mut Collector<O>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        self.fire(TimeDomain::ProcessingTime, now, out, context)
    }

    fn close(&mut self) {
        if let Some(opened) = &mut self.opened {
            opened.function.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use crate::key_selector::Borrowed;

    type Record = (String, i64);
    type Context<'a> = KeyedContext<'a, String, Record>;

    /// Sums up a key's records and emits the sum when `gap` has gone by without one, by either clock.
    struct SumOfSession {
        sum: ValueState<String, i64>,
        until: ValueState<String, i64>,
        domain: TimeDomain,
    }

    const GAP: i64 = 10;

    impl SumOfSession {
        fn new(setup: &mut KeyedSetup<'_, String>, domain: TimeDomain) -> Self {
            Self { sum: setup.value_state("sum"), until: setup.value_state("until"), domain }
        }
    }

    impl KeyedProcessFunction<String, Record, Record> for SumOfSession {
        fn process(&mut self, record: Record, context: &mut Context<'_>) -> Result<(), OperatorError> {
            self.sum.update(|| 0, |sum| *sum += record.1);
            if let Some(until) = self.until.get() {
                context.delete(until, self.domain);
            }
            let until = GAP
                + match self.domain {
                    TimeDomain::EventTime => context.timestamp(),
                    TimeDomain::ProcessingTime => context.processing_time(),
                };
            self.until.set(until);
            context.register(until, self.domain);
            Ok(())
        }

        fn on_timer(&mut self, timer: Timer, context: &mut Context<'_>) -> Result<(), OperatorError> {
            assert_eq!(timer.domain, self.domain);
            if let (Some(key), Some(sum)) = (context.current_key(), self.sum.get()) {
                context.emit((key, sum));
            }
            self.sum.clear();
            self.until.clear();
            Ok(())
        }
    }

    fn operator(domain: TimeDomain) -> impl Operator<In = Record, Out = Record> {
        let selector = Arc::new(Borrowed::new(|record: &Record| &record.0));
        KeyedProcess::new(selector, move |setup: &mut KeyedSetup<'_, String>| {
            SumOfSession::new(setup, domain)
        })
    }

    fn record(key: &str, n: i64) -> Record {
        (key.to_owned(), n)
    }

    #[test]
    fn event_time_timers_fire_by_the_watermark_in_the_order_of_time() {
        let mut harness = Harness::new(operator(TimeDomain::EventTime));
        for (key, n, time) in [("a", 1, 10), ("b", 2, 5), ("a", 3, 15), ("c", 9, 40)] {
            harness.push_at(record(key, n), time);
        }
        harness.watermark(14);
        assert!(harness.take_output().is_empty());
        harness.watermark(30);
        assert_eq!(harness.take_output(), [(record("b", 2), 15), (record("a", 4), 25)]);
        assert_eq!(harness.take_watermarks(), [14, 30]);
        harness.end();
        assert_eq!(harness.take_output(), [(record("c", 9), 50)]);
    }

    #[test]
    fn processing_time_timers_fire_by_the_clock() {
        let mut harness = Harness::new(operator(TimeDomain::ProcessingTime));
        harness.set_processing_time(100);
        harness.push(record("a", 1));
        harness.set_processing_time(105);
        harness.push(record("a", 2));
        harness.set_processing_time(114);
        assert!(harness.take_output().is_empty());
        harness.set_processing_time(115);
        assert_eq!(harness.take_output(), [(record("a", 3), NO_TIMESTAMP)]);
    }

    #[test]
    fn many_timers_fire_in_steps_and_a_barrier_may_come_between() {
        let mut harness = Harness::new(operator(TimeDomain::EventTime));
        let all: Vec<_> = (0..3000).map(|n| (record(&format!("{n:04}"), n), 7)).collect();
        harness.begin(all.clone());
        while !harness.step() {}
        harness.begin_watermark(17);
        assert!(!harness.step());
        let mut results = harness.take_records();
        assert!((100..3000).contains(&results.len()), "{}", results.len());
        assert!(harness.take_watermarks().is_empty(), "the watermark waits for its last timer");

        let mut restored = Harness::restore(operator(TimeDomain::EventTime), harness.snapshot());
        restored.watermark(17);
        results.extend(restored.take_records());
        assert_eq!(results, all.into_iter().map(|(record, _)| record).collect::<Vec<_>>());
    }

    #[test]
    fn two_states_of_one_name_keep_the_operator_from_opening() {
        struct Nothing;
        impl KeyedProcessFunction<String, Record, Record> for Nothing {
            fn process(&mut self, _: Record, _: &mut Context<'_>) -> Result<(), OperatorError> {
                Ok(())
            }
        }
        let selector = Arc::new(Borrowed::new(|record: &Record| &record.0));
        let operator = KeyedProcess::new(selector, |setup: &mut KeyedSetup<'_, String>| {
            setup.value_state::<i64>("sum");
            setup.value_state::<i64>("sum");
            Nothing
        });
        let error =
            Harness::try_open(operator, Default::default(), Vec::new()).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("two states called 'sum'")));
    }
}
