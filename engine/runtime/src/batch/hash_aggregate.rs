//! [`HashAggregate`]: reduces records of equal keys in a hash table, and on disk where the keys are too many.
//!
//! When the table is full, its partial results are written to parts of the spill file by hash, and it goes on empty. If that
//! was needed, the rest is written too in the end, and every part is aggregated on its own, in the same way, by other bits of the
//! hash. Results come in no particular order.

use std::sync::Arc;

use flott_core::memory::{Reservation, SEGMENT_BYTES};
use flott_core::{Data, Key};

use super::error::BatchError;
use super::external_sorter::Workspace;
use super::partitions::{Part, PartReader, PartWriter, fan_out, part_of};
use super::record_table::RecordTable;
use super::spill::Spill;
use super::step::Step;
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, Progress};

/// How often data is partitioned before it is given up: even by halves, that is 16 million times the memory.
const DEEPEST: u32 = 24;

/// See the module. `F` is `Fn(T, T) -> T`, associative and commutative.
pub struct HashAggregate<T, S, F> {
    selector: Arc<S>,
    reduce: F,
    aggregation: Option<Aggregation<T, S>>,
}

/// What is in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The table takes records: the operator's, or those of a part.
    Taking,
    /// The table is written to parts; how far it has come.
    Spilling(usize),
    /// The table is emitted; how far it has come.
    Emitting(usize),
    Done,
}

struct Aggregation<T, S> {
    workspace: Workspace,
    selector: Arc<S>,
    table: RecordTable<T, S>,
    /// For the parts' buffers and the block that is read.
    _floor: Reservation,
    spill: Spill,
    fan_out: usize,
    phase: Phase,
    /// How often what is in hand was partitioned before.
    level: u32,
    writer: Option<PartWriter<T>>,
    /// The part in hand; none while the operator's input is.
    reader: Option<PartReader<T>>,
    /// Parts that wait, with their level.
    waiting: Vec<(Part<T>, u32)>,
    /// The record that found the table full.
    held: Option<T>,
    input_has_ended: bool,
}

impl<T: Data, S: KeySelector<T>> Aggregation<T, S> {
    fn new(selector: Arc<S>, workspace: Workspace) -> Result<Self, BatchError> {
        let fan_out = fan_out(workspace.memory.total_segments());
        let floor = workspace.reserve_floor(fan_out + 1)?;
        Ok(Self {
            table: RecordTable::new(Arc::clone(&selector), workspace.memory.clone()),
            spill: Spill::new(workspace.temp_dir.clone()),
            workspace,
            selector,
            _floor: floor,
            fan_out,
            phase: Phase::Taking,
            level: 0,
            writer: None,
            reader: None,
            waiting: Vec::new(),
            held: None,
            input_has_ended: false,
        })
    }

    /// Takes a record into the table, or begins to spill it.
    #[inline]
    fn add(&mut self, record: T, reduce: &impl Fn(T, T) -> T) -> Result<(), BatchError> {
        if let Err(record) = self.table.add(record, reduce) {
            if self.level >= DEEPEST {
                return Err(self.too_deep());
            }
            self.held = Some(record);
            self.phase = Phase::Spilling(0);
        }
        Ok(())
    }

    #[cold]
    fn too_deep(&self) -> BatchError {
        BatchError::TooDeep {
            operator: self.workspace.operator.clone(),
            records: self.table.len() as u64,
            memory: self.workspace.memory.total_segments() * SEGMENT_BYTES,
            levels: self.level,
        }
    }

    /// Goes on with what is not the operator's input; true when input can be taken, or all is done.
    fn work(
        &mut self,
        step: &mut Step,
        reduce: &impl Fn(T, T) -> T,
        out: &mut Collector<T>,
    ) -> Result<bool, BatchError> {
        loop {
            match self.phase {
                Phase::Done => return Ok(true),
                Phase::Taking if self.reader.is_none() && !self.input_has_ended => return Ok(true),
                Phase::Taking => {
                    if !self.take_part(step, reduce)? {
                        return Ok(false);
                    }
                }
                Phase::Spilling(number) => {
                    if !self.spill_table(number, step)? {
                        return Ok(false);
                    }
                    self.phase = Phase::Taking;
                    if let Some(record) = self.held.take() {
                        self.add(record, reduce)?;
                    } else {
                        self.next_part()?;
                    }
                }
                Phase::Emitting(number) => {
                    if !self.emit_table(number, out) {
                        return Ok(false);
                    }
                    self.next_part()?;
                }
            }
        }
    }

    /// Takes the records of the part in hand; false when the step is over.
    fn take_part(&mut self, step: &mut Step, reduce: &impl Fn(T, T) -> T) -> Result<bool, BatchError> {
        while let Some(reader) = &mut self.reader {
            match reader.next(&mut self.spill, true)? {
                Some(record) => self.add(record, reduce)?,
                None => break,
            }
            if self.phase != Phase::Taking {
                return Ok(true);
            }
            if step.is_over() {
                return Ok(false);
            }
        }
        self.phase = if self.writer.is_some() { Phase::Spilling(0) } else { Phase::Emitting(0) };
        Ok(true)
    }

    /// Writes the table to parts; false when the step is over.
    fn spill_table(&mut self, mut number: usize, step: &mut Step) -> Result<bool, BatchError> {
        let writer = self.writer.get_or_insert_with(|| PartWriter::new(self.fan_out));
        while let Some(record) = self.table.take_next(&mut number) {
            let hash = self.selector.with_key(&record, |key| key.key_hash().bits());
            writer.write(part_of(hash, self.level, self.fan_out), &record, hash, &mut self.spill)?;
            if step.is_over() {
                self.phase = Phase::Spilling(number);
                return Ok(false);
            }
        }
        self.table.clear();
        Ok(true)
    }

    /// Emits the table; false when the output is full.
    fn emit_table(&mut self, mut number: usize, out: &mut Collector<T>) -> bool {
        while !out.is_full() {
            let Some(record) = self.table.take_next(&mut number) else {
                self.table.clear();
                self.phase = Phase::Taking;
                return true;
            };
            out.emit_untimed(record);
        }
        self.phase = Phase::Emitting(number);
        false
    }

    /// What was in hand is spilled or emitted: takes the next part.
    fn next_part(&mut self) -> Result<(), BatchError> {
        if let Some(writer) = self.writer.take() {
            let parts = writer.finish(&mut self.spill)?.into_iter().filter(|part| part.records > 0);
            let level = self.level + 1;
            self.waiting.extend(parts.map(|part| (part, level)));
        }
        match self.waiting.pop() {
            Some((part, level)) => {
                self.reader = Some(PartReader::new(part));
                self.level = level;
            }
            None => self.phase = Phase::Done,
        }
        Ok(())
    }
}

impl<T: Data, S: KeySelector<T>, F: Fn(T, T) -> T + 'static> HashAggregate<T, S, F> {
    /// Reduces records of equal keys by `reduce`.
    pub fn new(selector: Arc<S>, reduce: F) -> Self {
        Self { selector, reduce, aggregation: None }
    }
}

impl<T: Data, S: KeySelector<T>, F: Fn(T, T) -> T + 'static> Operator for HashAggregate<T, S, F> {
    type In = T;
    type Out = T;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        self.aggregation = Some(Aggregation::new(Arc::clone(&self.selector), Workspace::of(context.info))?);
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let aggregation = self.aggregation.as_mut().ok_or(BatchError::OutOfOrder("hash aggregate"))?;
        if !aggregation.work(&mut Step::begin(), &self.reduce, out)? {
            return Ok(());
        }
        while let Some((record, _)) = input.next() {
            aggregation.add(record, &self.reduce)?;
            if aggregation.phase != Phase::Taking {
                break;
            }
        }
        Ok(())
    }

    fn end(
        &mut self,
        out: &mut Collector<T>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        let aggregation = self.aggregation.as_mut().ok_or(BatchError::OutOfOrder("hash aggregate"))?;
        aggregation.input_has_ended = true;
        let done = aggregation.work(&mut Step::begin(), &self.reduce, out)?;
        Ok(if done { Progress::Done } else { Progress::More })
    }

    fn close(&mut self) {
        self.aggregation = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::harness::{Harness, HarnessConfig};
    use crate::key_selector::Borrowed;

    type Pair = (String, u64);

    /// The results, sorted, and how much was spilled before the end.
    fn aggregate(records: Vec<Pair>, managed_memory: usize) -> (Vec<Pair>, u64) {
        let sum = |a: Pair, b: Pair| (a.0, a.1 + b.1);
        let operator = HashAggregate::new(Arc::new(Borrowed::new(|r: &Pair| &r.0)), sum);
        let mut harness =
            Harness::with_config(operator, HarnessConfig { managed_memory, ..Default::default() });
        for batch in records.chunks(1000) {
            harness.push_all(batch.iter().cloned());
        }
        assert_eq!(harness.take_records(), []);
        harness.end();
        let memory = &harness.info().managed_memory;
        assert!(memory.free_segments() < memory.total_segments());
        let written =
            harness.operator().aggregation.as_ref().map_or(0, |aggregation| aggregation.spill.written());
        let mut results = harness.take_records();
        results.sort();
        (results, written)
    }

    fn totals(records: Vec<Pair>) -> Vec<Pair> {
        let mut totals = BTreeMap::new();
        for (key, n) in records {
            *totals.entry(key).or_insert(0) += n;
        }
        totals.into_iter().collect()
    }

    fn records(count: u64, keys: u64) -> Vec<Pair> {
        (0..count).map(|n| (format!("some longer key {}", n.wrapping_mul(0x9E37_79B1) % keys), n)).collect()
    }

    #[test]
    fn aggregates_in_memory_without_a_file() {
        let records = records(20_000, 2_000);
        let (results, written) = aggregate(records.clone(), 4 << 20);
        assert_eq!(results, totals(records));
        assert_eq!(written, 0);
    }

    #[test]
    fn partitions_again_and_again() {
        // Two parts of 256 KiB at a time: a dozen rounds.
        let records = records(60_000, 50_000);
        let (results, written) = aggregate(records.clone(), 256 << 10);
        assert!(results == totals(records));
        assert!(written > 4 * 50_000 * 28, "{written}");
    }

    #[test]
    fn a_result_too_large_is_an_error() {
        type Text = (u32, String);
        let operator = HashAggregate::new(Arc::new(Borrowed::new(|r: &Text| &r.0)), |a: Text, b: Text| {
            (a.0, a.1 + &b.1)
        });
        let config = HarnessConfig { managed_memory: 256 << 10, ..Default::default() };
        let mut harness = Harness::with_config(operator, config);
        let text = "x".repeat(20_000);
        harness.begin((0..30).map(|_| ((1, text.clone()), 0)).collect());
        while !harness.step() {}
        harness.begin_end();
        let error = loop {
            match harness.try_step() {
                Ok(true) => break None,
                Ok(false) => {}
                Err(error) => break Some(error.to_string()),
            }
        };
        let error = error.unwrap_or_default();
        assert!(error.contains("cannot aggregate 1 partial results within 262144 bytes"), "{error}");
    }

    #[test]
    fn long_work_is_done_in_steps() {
        let operator = HashAggregate::new(Arc::new(Borrowed::new(|n: &u64| n)), |a, _| a);
        let config = HarnessConfig { managed_memory: 1 << 20, ..Default::default() };
        let mut harness = Harness::with_config(operator, config);
        for n in 0..200 {
            harness.push_all(n * 1000..n * 1000 + 1000);
        }
        let before = harness.steps();
        harness.end();
        // A batch holds 1,024 records at most.
        assert!(harness.steps() - before > 195);
        assert_eq!(harness.take_records().len(), 200_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn agrees_with_a_map(count in 0_u64..20_000, keys in 1_u64..20_000, segments in 8_usize..24) {
            let records = records(count, keys);
            let (results, _) = aggregate(records.clone(), segments << 15);
            prop_assert!(results == totals(records));
        }
    }
}
