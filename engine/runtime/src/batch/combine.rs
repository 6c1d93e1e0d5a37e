//! [`Combine`]: reduces records of equal keys before they are sent, as far as memory allows.
//!
//! What is emitted is a partial result a key, now and then several; [`HashAggregate`](super::HashAggregate) or
//! [`SortAggregate`](super::SortAggregate) behind the exchange makes the final one. When its table is full, everything in it is
//! emitted. Where that absorbed next to nothing, because the keys hardly repeat, records pass straight through for a while.

use std::sync::Arc;

use flott_core::Data;

use super::error::BatchError;
use super::external_sorter::Workspace;
use super::record_table::RecordTable;
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, Progress};

/// A table that took fewer records than so many tenths of its keys was not worth its while.
const WORTHWHILE_TENTHS: u64 = 12;

/// For so many times the records of such a table, records pass straight through.
const PASS_TABLES: u64 = 8;

/// See the module. `F` is `Fn(T, T) -> T`, associative.
pub struct Combine<T, S, F> {
    selector: Arc<S>,
    reduce: F,
    table: Option<RecordTable<T, S>>,
    /// Records taken since the table was empty.
    taken: u64,
    /// Records to pass straight through.
    pass: u64,
    /// Where in the table emitting has come to, while it does.
    emitting: Option<usize>,
    /// The record that found the table full.
    held: Option<T>,
}

impl<T: Data, S: KeySelector<T>, F: Fn(T, T) -> T + 'static> Combine<T, S, F> {
    /// Reduces records of equal keys by `reduce`, the older one first.
    pub fn new(selector: Arc<S>, reduce: F) -> Self {
        Self { selector, reduce, table: None, taken: 0, pass: 0, emitting: None, held: None }
    }

    /// Emits the table; true when it is empty.
    fn emit(&mut self, out: &mut Collector<T>) -> bool {
        let Self { table: Some(table), emitting: Some(place), .. } = self else { return true };
        while !out.is_full() {
            match table.take_from(place) {
                Some(record) => out.emit_untimed(record),
                None => {
                    table.clear();
                    self.emitting = None;
                    return true;
                }
            }
        }
        false
    }
}

impl<T: Data, S, F> Combine<T, S, F> {
    /// Emits records as they are while that is better; true when it no longer is.
    fn pass_through(&mut self, input: &mut Cursor<T>, out: &mut Collector<T>) -> bool {
        while self.pass > 0 && !out.is_full() {
            let Some(record) = self.held.take().or_else(|| input.next().map(|(record, _)| record)) else {
                return false;
            };
            out.emit_untimed(record);
            self.pass -= 1;
        }
        self.pass == 0
    }
}

impl<T: Data, S: KeySelector<T>, F: Fn(T, T) -> T + 'static> Operator for Combine<T, S, F> {
    type In = T;
    type Out = T;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let workspace = Workspace::of(context.info);
        self.table = Some(RecordTable::new(Arc::clone(&self.selector), workspace.memory));
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while self.emit(out) && self.pass_through(input, out) {
            let Some(table) = &mut self.table else { return Err(BatchError::OutOfOrder("combine").into()) };
            let mut full = None;
            if let Some(record) = self.held.take() {
                self.taken += 1;
                full = table.add(record, &self.reduce).err();
            }
            while full.is_none() {
                let Some((record, _)) = input.next() else { return Ok(()) };
                self.taken += 1;
                full = table.add(record, &self.reduce).err();
            }
            let (taken, keys) = (std::mem::take(&mut self.taken), table.len() as u64);
            if taken * 10 < keys * WORTHWHILE_TENTHS {
                self.pass = PASS_TABLES * keys;
            }
            self.held = full;
            self.emitting = Some(0);
        }
        Ok(())
    }

    fn end(
        &mut self,
        out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        if self.table.as_ref().is_some_and(|table| table.len() > 0) {
            self.emitting.get_or_insert(0);
        }
        if !self.emit(out) {
            return Ok(Progress::More);
        }
        if let Some(record) = self.held.take() {
            out.emit_untimed(record);
        }
        Ok(Progress::Done)
    }

    fn close(&mut self) {
        self.table = None;
    }
}
