//! `Window`: collects a key's records by windows of event time and emits a result when the watermark has passed one.
//!
//! What a window keeps and gives is its [`WindowContents`]: see [`WindowReduce`](super::WindowReduce),
//! [`WindowAggregate`](super::WindowAggregate) and [`WindowProcess`](super::WindowProcess).
//!
//! Each window has a table of its own, under its end. A window that fires is drained from that table in steps, so there is
//! never a second copy of it, and a barrier between two steps finds exactly what has not been emitted. With allowed
//! lateness, what has been emitted moves on to the table of fired windows and stays there until the window is gone; a late record for
//! it gives an updated result at once.
//!
//! Invariants: an entry of a window and key is in one of the two tables; a window whose time the watermark has passed gets no
//! more entries in the first. The watermark is part of the state, so a restored operator calls late what it would have.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use flott_core::ids::CheckpointId;
use flott_core::time::NO_TIMESTAMP;
use flott_core::{Data, Key, Timestamp};
use flott_state::{NamespacedTable, OperatorList, Table};

use super::{TimeWindow, WindowAssigner, state_not_declared};
use crate::error::{Fault, OperatorError};
use crate::key_selector::KeySelector;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, OutputTag, Progress};

/// Entries of windows that are gone that are dropped in one step.
const DROPPED_PER_STEP: usize = 4096;

/// What is kept of a window's records, and what becomes of it.
pub trait WindowContents<K, T: Clone>: 'static {
    /// What is kept for a key and window.
    type Kept: Data;
    /// The results.
    type Out: Data;

    /// What is kept of the first record.
    fn first(&mut self, record: Cow<'_, T>) -> Self::Kept;

    /// Adds a record to what is kept.
    fn add(&mut self, kept: &mut Self::Kept, record: Cow<'_, T>);

    /// The window is complete and goes away: emits its result.
    ///
    /// # Errors
    /// An error fails the task.
    fn emit(
        &mut self,
        key: K,
        window: TimeWindow,
        kept: Self::Kept,
        out: &mut Collector<Self::Out>,
        context: &OperatorContext<'_>,
    ) -> Result<(), OperatorError>;

    /// The window is complete, or has become more so, and stays: emits its result.
    ///
    /// # Errors
    /// An error fails the task.
    fn emit_kept(
        &mut self,
        key: &K,
        window: TimeWindow,
        kept: &Self::Kept,
        out: &mut Collector<Self::Out>,
        context: &OperatorContext<'_>,
    ) -> Result<(), OperatorError>;
}

/// Collects records by key and window; see the module.
pub struct Window<T: Data, S: KeySelector<T>, A, C: WindowContents<S::Key, T>> {
    selector: Arc<S>,
    assigner: A,
    contents: C,
    allowed_lateness: Timestamp,
    late_output: Option<OutputTag<T>>,
    states: Option<States<S::Key, C::Kept>>,
    /// The watermark at the checkpoint that the operator goes on from.
    restored_watermark: Timestamp,
    /// The last watermark that went on.
    passed_on: Timestamp,
}

struct States<K, V> {
    /// What has not been emitted.
    waiting: Rc<RefCell<NamespacedTable<K, V>>>,
    /// What has been emitted and may change.
    fired: Rc<RefCell<NamespacedTable<K, V>>>,
    watermark: Rc<RefCell<OperatorList<Timestamp>>>,
}

impl<T: Data, S: KeySelector<T>, A: WindowAssigner, C: WindowContents<S::Key, T>> Window<T, S, A, C> {
    /// Collects records by key and by the windows of `assigner`.
    pub fn with_contents(selector: Arc<S>, assigner: A, contents: C) -> Self {
        Self {
            selector,
            assigner,
            contents,
            allowed_lateness: 0,
            late_output: None,
            states: None,
            restored_watermark: NO_TIMESTAMP,
            passed_on: NO_TIMESTAMP,
        }
    }

    /// Keeps windows for `lateness` of event time after they fired; a record that comes meanwhile gives an updated result.
    #[must_use]
    pub fn with_allowed_lateness(self, lateness: Duration) -> Self {
        let allowed_lateness = Timestamp::try_from(lateness.as_millis()).unwrap_or(Timestamp::MAX);
        Self { allowed_lateness, ..self }
    }

    /// Sends records whose windows are all gone to a side output instead of dropping them.
    #[must_use]
    pub fn with_late_output(self, tag: OutputTag<T>) -> Self {
        Self { late_output: Some(tag), ..self }
    }

    /// When nothing of a window is needed any more: once the watermark has come to this.
    fn gone_at(&self, window: TimeWindow) -> Timestamp {
        window.max_timestamp().saturating_add(self.allowed_lateness)
    }

    /// Adds a record to all its windows, or calls it late.
    fn add_to_all(
        &mut self,
        record: T,
        time: Timestamp,
        watermark: Timestamp,
        waiting: &mut NamespacedTable<S::Key, C::Kept>,
        out: &mut Collector<C::Out>,
        context: &OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        if time == NO_TIMESTAMP {
            let message = "a record without timestamp came to a window: give the source a watermark strategy, or call \
                           assign_timestamps_and_watermarks before the window";
            return Err(OperatorError::new(Fault::User, message));
        }
        let latest = self.assigner.latest(time);
        let Some(mut window) = latest.filter(|window| self.gone_at(*window) > watermark) else {
            // A record in a gap between two windows is in none, in time or late.
            if latest.is_some() || time.saturating_add(self.allowed_lateness) <= watermark {
                context.info.metrics.count_late();
                if let Some(tag) = &self.late_output {
                    out.emit_to(tag, record, time);
                }
            }
            return Ok(());
        };
        // Earlier windows end earlier, so behind the first that is gone all are.
        while let Some(earlier) =
            self.assigner.earlier(window, time).filter(|earlier| self.gone_at(*earlier) > watermark)
        {
            self.add_to_one(Cow::Borrowed(&record), window, watermark, waiting, out, context)?;
            window = earlier;
        }
        self.add_to_one(Cow::Owned(record), window, watermark, waiting, out, context)
    }

    fn add_to_one(
        &mut self,
        record: Cow<'_, T>,
        window: TimeWindow,
        watermark: Timestamp,
        waiting: &mut NamespacedTable<S::Key, C::Kept>,
        out: &mut Collector<C::Out>,
        context: &OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        if window.max_timestamp() > watermark {
            add(&*self.selector, &mut self.contents, waiting.table(window.end), record);
            return Ok(());
        }
        // The window has fired: the record changes a result that is out.
        let states = self.states.as_ref().ok_or_else(state_not_declared)?;
        let fired = &mut *states.fired.borrow_mut();
        let fired = fired.table(window.end);
        let (hash, key) = self.selector.with_key(&record, |key| (key.key_hash(), key.clone()));
        if let Some(kept) = fired.get_mut(hash, &key) {
            self.contents.add(kept, record);
            return self.contents.emit_kept(&key, window, kept, out, context);
        }
        // Restored in the midst of a firing, there may be entries whose turn has not come.
        let unfired = waiting.get_mut(window.end).and_then(|table| table.remove(hash, &key));
        let kept = match unfired {
            Some(mut kept) => {
                self.contents.add(&mut kept, record);
                kept
            }
            None => self.contents.first(record),
        };
        self.contents.emit_kept(&key, window, &kept, out, context)?;
        fired.insert(hash, key, kept);
        Ok(())
    }

    /// Emits what waits in `window` until `out` is full; true when nothing waits any more.
    fn fire(
        &mut self,
        window: TimeWindow,
        watermark: Timestamp,
        waiting: &mut NamespacedTable<S::Key, C::Kept>,
        fired: &mut NamespacedTable<S::Key, C::Kept>,
        out: &mut Collector<C::Out>,
        context: &OperatorContext<'_>,
    ) -> Result<bool, OperatorError> {
        let Some(table) = waiting.get_mut(window.end) else { return Ok(true) };
        let contents = &mut self.contents;
        let mut emitted = Ok(());
        if window.max_timestamp().saturating_add(self.allowed_lateness) > watermark {
            let fired = fired.table(window.end);
            table.drain(|key, kept| {
                emitted = contents.emit_kept(&key, window, &kept, out, context);
                fired.insert(key.key_hash(), key, kept);
                emitted.is_ok() && !out.is_full()
            });
        } else {
            table.drain(|key, kept| {
                emitted = contents.emit(key, window, kept, out, context);
                emitted.is_ok() && !out.is_full()
            });
        }
        emitted.map(|()| table.is_empty())
    }
}

/// Adds a record to a window that has not fired.
#[inline]
fn add<T: Data, S: KeySelector<T>, C: WindowContents<S::Key, T>>(
    selector: &S,
    contents: &mut C,
    table: &mut Table<S::Key, C::Kept>,
    record: Cow<'_, T>,
) {
    let found = &mut *table;
    let (hash, kept) = selector.with_key(&record, move |key| {
        let hash = key.key_hash();
        (hash, found.get_mut(hash, key))
    });
    match kept {
        Some(kept) => contents.add(kept, record),
        None => {
            let key = selector.with_key(&record, Clone::clone);
            table.insert(hash, key, contents.first(record));
        }
    }
}

/// Adds records to one window that has not fired as long as they lie in it; returns the first that does not. Only the
/// comparison with its bounds is left to do for each.
#[inline]
fn add_run<T: Data, S: KeySelector<T>, C: WindowContents<S::Key, T>>(
    selector: &S,
    contents: &mut C,
    table: &mut Table<S::Key, C::Kept>,
    window: TimeWindow,
    mut record: T,
    input: &mut Cursor<T>,
) -> Option<(T, Timestamp)> {
    loop {
        add(selector, contents, table, Cow::Owned(record));
        match input.next() {
            Some((next, time)) if window.contains(time) => record = next,
            other => return other,
        }
    }
}

/// The lowest namespace up to `to` whose table is not empty: one that is drained stays until its snapshot is written.
fn first_filled<K: Key, V: Data>(tables: &NamespacedTable<K, V>, to: Timestamp) -> Option<Timestamp> {
    let mut due = tables.namespaces().take_while(|namespace| *namespace <= to);
    due.find(|namespace| tables.get(*namespace).is_some_and(|table| !table.is_empty()))
}

fn remove_all_drained<K: Key, V: Data>(tables: &mut NamespacedTable<K, V>, to: Timestamp) {
    let due: Vec<_> = tables.namespaces().take_while(|namespace| *namespace <= to).collect();
    due.into_iter().for_each(|namespace| tables.remove_drained(namespace));
}

impl<T, S, A, C> Operator for Window<T, S, A, C>
where
    T: Data,
    S: KeySelector<T>,
    A: WindowAssigner,
    C: WindowContents<S::Key, T>,
{
    type In = T;
    type Out = C::Out;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        self.assigner.validate().map_err(|reason| OperatorError::new(Fault::User, reason))?;
        let states = States {
            waiting: context.state.namespaced("window contents")?,
            fired: context.state.namespaced("fired windows")?,
            watermark: context.state.list("watermark")?,
        };
        let watermarks = states.watermark.borrow_mut().take();
        self.restored_watermark = watermarks.into_iter().min().unwrap_or(NO_TIMESTAMP);
        self.states = Some(states);
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        out: &mut Collector<C::Out>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let watermark = context.watermark.max(self.restored_watermark);
        let waiting = Rc::clone(&self.states.as_ref().ok_or_else(state_not_declared)?.waiting);
        let waiting = &mut *waiting.borrow_mut();
        let mut next = input.next();
        while let Some((record, time)) = next {
            if !A::OVERLAPPING && time != NO_TIMESTAMP {
                let in_time = self.assigner.latest(time).filter(|window| window.max_timestamp() > watermark);
                if let Some(window) = in_time {
                    let table = waiting.table(window.end);
                    next = add_run(&*self.selector, &mut self.contents, table, window, record, input);
                    continue;
                }
            }
            self.add_to_all(record, time, watermark, waiting, out, context)?;
            if out.is_full() {
                break;
            }
            next = input.next();
        }
        Ok(())
    }

    fn watermark(
        &mut self,
        watermark: Timestamp,
        out: &mut Collector<C::Out>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        let states = self.states.as_ref().ok_or_else(state_not_declared)?;
        let (waiting, fired) = (Rc::clone(&states.waiting), Rc::clone(&states.fired));
        let (waiting, fired) = (&mut *waiting.borrow_mut(), &mut *fired.borrow_mut());

        // A window fires at the watermark end - 1.
        let due = watermark.saturating_add(1);
        while let Some(end) = first_filled(waiting, due) {
            let window = self.assigner.ending(end);
            let through = self.fire(window, watermark, waiting, fired, out, context)?;
            if !through || out.is_full() {
                return Ok(Progress::More);
            }
            let passed = window.max_timestamp();
            if passed > self.passed_on && first_filled(waiting, due).is_some() {
                // What lies behind need not wait for the windows that are still to fire.
                self.passed_on = passed;
                out.emit_watermark(passed);
                return Ok(Progress::More);
            }
        }
        remove_all_drained(waiting, due);

        let gone = due.saturating_sub(self.allowed_lateness);
        if let Some(end) = first_filled(fired, gone) {
            let mut left = DROPPED_PER_STEP;
            if let Some(table) = fired.get_mut(end) {
                table.drain(|_, _| {
                    left -= 1;
                    left > 0
                });
            }
            return Ok(Progress::More);
        }
        remove_all_drained(fired, gone);
        self.passed_on = watermark;
        Ok(Progress::Done)
    }

    fn prepare_snapshot(
        &mut self,
        _checkpoint: CheckpointId,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let states = self.states.as_ref().ok_or_else(state_not_declared)?;
        states.watermark.borrow_mut().set(vec![context.watermark.max(self.restored_watermark)]);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
