//! The join itself, one round after the other: the operator's inputs first, then each pair of spilled parts.
//!
//! A round takes its build side, indexes what stayed in memory, lets its probe side stream by, and leaves pairs of spilled
//! parts behind.

use std::sync::Arc;

use flott_core::memory::Reservation;
use flott_core::{Data, Key};

use super::build::{BuildSide, JoinTable};
use crate::batch::error::BatchError;
use crate::batch::external_sorter::Workspace;
use crate::batch::partitions::{Part, PartReader, PartWriter, fan_out, part_of};
use crate::batch::spill::Spill;
use crate::batch::step::Step;
use crate::key_selector::KeySelector;

/// How often data is partitioned before what is left is joined in blocks.
const DEEPEST: u32 = 8;

/// What the join waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Records of the build side, or its end.
    Build,
    /// Records of the probe side, or its end.
    Probe,
    /// To be called again.
    Time,
    /// All is joined.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Building,
    /// This part goes to disk.
    Evicting(usize),
    Indexing,
    Probing,
    Done,
}

/// Where a round's records come from, if not from the operator's inputs.
struct SpilledInput<B, P> {
    build: PartReader<B>,
    probe: PartReader<P>,
    /// The build side is taken in blocks of what memory holds, and not partitioned; the probe side is read for each.
    in_blocks: bool,
}

/// See the module.
pub(super) struct Join<B, P, SB, SP> {
    workspace: Workspace,
    build_selector: Arc<SB>,
    probe_selector: Arc<SP>,
    /// For the parts' buffers and the blocks that are read.
    _floor: Reservation,
    spill: Spill,
    fan_out: usize,
    /// Pairs that wait, with how often they were partitioned.
    waiting: Vec<(Part<B>, Part<P>, u32)>,
    build_has_ended: bool,
    probe_has_ended: bool,

    /// The pair of parts in hand; none while it is the operator's inputs.
    input: Option<SpilledInput<B, P>>,
    level: u32,
    phase: Phase,
    build: Option<BuildSide<B>>,
    table: Option<JoinTable<B, SB>>,
    /// Which parts are on disk; empty if none is.
    is_spilled: Vec<bool>,
    build_writer: Option<PartWriter<B>>,
    spilled_build: Vec<Part<B>>,
    probe_writer: Option<PartWriter<P>>,
    /// The record that found memory full; at the end of a round, the first of the next block.
    held: Option<B>,
    /// A probe record and the number of the next build record to pair it with.
    pending: Option<(P, u32)>,
}

impl<B, P, SB, SP> Join<B, P, SB, SP>
where
    B: Data,
    P: Data,
    SB: KeySelector<B>,
    SP: KeySelector<P, Key = SB::Key>,
{
    pub(super) fn new(
        build_selector: Arc<SB>,
        probe_selector: Arc<SP>,
        workspace: Workspace,
    ) -> Result<Self, BatchError> {
        let fan_out = fan_out(workspace.memory.total_segments());
        let floor = workspace.reserve_floor(fan_out + 2)?;
        Ok(Self {
            build: Some(BuildSide::new(fan_out, workspace.memory.clone())),
            spill: Spill::new(workspace.temp_dir.clone()),
            workspace,
            build_selector,
            probe_selector,
            _floor: floor,
            fan_out,
            waiting: Vec::new(),
            build_has_ended: false,
            probe_has_ended: false,
            input: None,
            level: 0,
            phase: Phase::Building,
            table: None,
            is_spilled: Vec::new(),
            build_writer: None,
            spilled_build: Vec::new(),
            probe_writer: None,
            held: None,
            pending: None,
        })
    }

    /// The operator's build side has come whole.
    pub(super) fn end_build(&mut self) {
        self.build_has_ended = true;
    }

    /// The operator's probe side has come whole.
    pub(super) fn end_probe(&mut self) {
        self.probe_has_ended = true;
    }

    /// Whether a build record can be taken at once.
    #[inline]
    pub(super) fn takes_build(&self) -> bool {
        self.phase == Phase::Building
    }

    /// Takes a build record.
    #[inline]
    pub(super) fn add_build(&mut self, record: B) -> Result<(), BatchError> {
        let hash = self.build_selector.with_key(&record, |key| key.key_hash().bits());
        let in_blocks = self.input.as_ref().is_some_and(|input| input.in_blocks);
        let part = if in_blocks { 0 } else { part_of(hash, self.level, self.fan_out) };
        if let Some(writer) = self.build_writer.as_mut().filter(|_| self.is_spilled[part]) {
            return writer.write(part, &record, hash, &mut self.spill);
        }
        let Some(build) = &mut self.build else { return Err(BatchError::OutOfOrder("hash join")) };
        if let Err(record) = build.add(part, record) {
            self.held = Some(record);
            if in_blocks {
                self.index();
            } else {
                let largest = build.largest();
                self.is_spilled.resize(self.fan_out, false);
                self.is_spilled[largest] = true;
                self.phase = Phase::Evicting(largest);
            }
        }
        Ok(())
    }

    /// Takes a probe record; its pairs are to be emitted before the next.
    #[inline]
    pub(super) fn probe(&mut self, record: P) -> Result<(), BatchError> {
        let Some(table) = &self.table else { return Err(BatchError::OutOfOrder("hash join")) };
        let (hash, found) = self.probe_selector.with_key(&record, |key| {
            let hash = key.key_hash().bits();
            (hash, table.find(hash, key))
        });
        if let Some(number) = found {
            self.pending = Some((record, number));
        } else if let Some(writer) = &mut self.probe_writer {
            // Keys of spilled parts are never in the table.
            let part = part_of(hash, self.level, self.fan_out);
            if self.is_spilled[part] {
                writer.write(part, &record, hash, &mut self.spill)?;
            }
        }
        Ok(())
    }

    /// Gives the pairs of the record in hand to `emit` until that says no; false if it did.
    #[inline]
    pub(super) fn emit_pairs(&mut self, emit: &mut impl FnMut(&B, &P) -> bool) -> bool {
        let Some(table) = &self.table else { return true };
        while let Some((record, number)) = &mut self.pending {
            let has_room = emit(table.record(*number), record);
            match table.next(*number) {
                Some(next) => *number = next,
                None => self.pending = None,
            }
            if !has_room {
                return false;
            }
        }
        true
    }

    /// Goes on until something is wanted.
    pub(super) fn work(
        &mut self,
        step: &mut Step,
        emit: &mut impl FnMut(&B, &P) -> bool,
    ) -> Result<Wants, BatchError> {
        loop {
            let wants = match self.phase {
                Phase::Building => self.build_some(step)?,
                Phase::Evicting(part) => self.evict_some(part, step)?,
                Phase::Indexing => self.index_some(step),
                Phase::Probing => self.probe_some(step, emit)?,
                Phase::Done => Some(Wants::Nothing),
            };
            if let Some(wants) = wants {
                return Ok(wants);
            }
        }
    }

    fn build_some(&mut self, step: &mut Step) -> Result<Option<Wants>, BatchError> {
        while self.phase == Phase::Building {
            let (record, wants) = match &mut self.input {
                None => (None, (!self.build_has_ended).then_some(Wants::Build)),
                Some(input) => (input.build.next(&mut self.spill, !input.in_blocks)?, None),
            };
            match record {
                Some(record) => self.add_build(record)?,
                None if wants.is_some() => return Ok(wants),
                None => {
                    if let Some(writer) = self.build_writer.take() {
                        self.spilled_build = writer.finish(&mut self.spill)?;
                        self.probe_writer = Some(PartWriter::new(self.fan_out));
                    }
                    self.index();
                }
            }
            if step.is_over() {
                return Ok(Some(Wants::Time));
            }
        }
        Ok(None)
    }

    fn evict_some(&mut self, part: usize, step: &mut Step) -> Result<Option<Wants>, BatchError> {
        let writer = self.build_writer.get_or_insert_with(|| PartWriter::new(self.fan_out));
        while let Some(chunk) = self.build.as_mut().and_then(|build| build.take_chunk(part)) {
            for record in chunk {
                let hash = self.build_selector.with_key(&record, |key| key.key_hash().bits());
                writer.write(part, &record, hash, &mut self.spill)?;
            }
            if step.is_over() {
                return Ok(Some(Wants::Time));
            }
        }
        self.phase = Phase::Building;
        if let Some(record) = self.held.take() {
            self.add_build(record)?;
        }
        Ok(None)
    }

    /// What is in memory of the build side is to be found from now on.
    fn index(&mut self) {
        let build = self.build.take();
        self.table = build.map(|build| build.into_table(Arc::clone(&self.build_selector)));
        self.phase = Phase::Indexing;
    }

    fn index_some(&mut self, step: &mut Step) -> Option<Wants> {
        while self.table.as_mut().is_some_and(|table| !table.index_some()) {
            if step.is_over() {
                return Some(Wants::Time);
            }
        }
        self.phase = Phase::Probing;
        None
    }

    fn probe_some(
        &mut self,
        step: &mut Step,
        emit: &mut impl FnMut(&B, &P) -> bool,
    ) -> Result<Option<Wants>, BatchError> {
        loop {
            if !self.emit_pairs(emit) || step.is_over() {
                return Ok(Some(Wants::Time));
            }
            let record = match &mut self.input {
                None if !self.probe_has_ended => return Ok(Some(Wants::Probe)),
                None => None,
                Some(input) => input.probe.next(&mut self.spill, !input.in_blocks)?,
            };
            match record {
                Some(record) => self.probe(record)?,
                None => {
                    self.end_round()?;
                    return Ok(None);
                }
            }
        }
    }

    /// Begins the next block or the next pair of parts.
    fn end_round(&mut self) -> Result<(), BatchError> {
        self.table = None;
        if let (Some(input), Some(record)) = (&mut self.input, self.held.take()) {
            input.probe.rewind();
            self.begin_build(1);
            return self.add_build(record);
        }
        if let Some(input) = self.input.take().filter(|input| input.in_blocks) {
            input.build.into_part().free(&mut self.spill)?;
            input.probe.into_part().free(&mut self.spill)?;
        }
        if let Some(writer) = self.probe_writer.take() {
            let probe = writer.finish(&mut self.spill)?;
            let pairs = std::mem::take(&mut self.spilled_build).into_iter().zip(probe);
            for (build, probe) in pairs {
                if build.records > 0 && probe.records > 0 {
                    self.waiting.push((build, probe, self.level + 1));
                } else {
                    build.free(&mut self.spill)?;
                    probe.free(&mut self.spill)?;
                }
            }
        }
        self.is_spilled = Vec::new();
        let Some((build, probe, level)) = self.waiting.pop() else {
            self.phase = Phase::Done;
            return Ok(());
        };
        let in_blocks = build.has_one_hash || level >= DEEPEST;
        self.level = level;
        self.input =
            Some(SpilledInput { build: PartReader::new(build), probe: PartReader::new(probe), in_blocks });
        self.begin_build(if in_blocks { 1 } else { self.fan_out });
        Ok(())
    }

    fn begin_build(&mut self, parts: usize) {
        self.build = Some(BuildSide::new(parts, self.workspace.memory.clone()));
        self.phase = Phase::Building;
    }
}

#[cfg(test)]
mod tests {
    use flott_core::memory::{ManagedMemory, SEGMENT_BYTES};
    use proptest::prelude::*;

    use super::*;
    use crate::key_selector::Borrowed;

    type Left = (u32, String);
    type Right = (u64, u32);

    /// Joins within so much memory and an output that is often full; gives the sorted pairs and what was spilled.
    fn join(build: &[Left], probe: &[Right], segments: usize) -> (Vec<(String, u64)>, u64) {
        let dir = tempfile::tempdir().unwrap();
        let memory = ManagedMemory::of_bytes(segments * SEGMENT_BYTES);
        let workspace =
            Workspace { operator: "join".into(), memory: memory.clone(), temp_dir: dir.path().into() };
        let build_selector = Arc::new(Borrowed::new(|r: &Left| &r.0));
        let probe_selector = Arc::new(Borrowed::new(|r: &Right| &r.1));
        let mut join = Join::new(build_selector, probe_selector, workspace).unwrap();
        let mut pairs = Vec::new();
        let mut emit = |build: &Left, probe: &Right| {
            pairs.push((build.1.clone(), probe.0));
            pairs.len() % 7 != 0
        };
        let (mut build, mut probe) = (build.iter().cloned(), probe.iter().copied());
        loop {
            match join.work(&mut Step::endless(), &mut emit).unwrap() {
                Wants::Build => match build.next() {
                    Some(record) => join.add_build(record).unwrap(),
                    None => join.end_build(),
                },
                Wants::Probe => match probe.next() {
                    Some(record) => join.probe(record).unwrap(),
                    None => join.end_probe(),
                },
                Wants::Time => {}
                Wants::Nothing => break,
            }
        }
        let written = join.spill.written();
        drop(join);
        assert_eq!(memory.free_segments(), segments);
        pairs.sort_unstable();
        (pairs, written)
    }

    fn naive(build: &[Left], probe: &[Right]) -> Vec<(String, u64)> {
        let mut by_key: std::collections::HashMap<u32, Vec<&String>> = std::collections::HashMap::new();
        for (key, text) in build {
            by_key.entry(*key).or_default().push(text);
        }
        let mut pairs: Vec<(String, u64)> = probe
            .iter()
            .flat_map(|(n, key)| by_key.get(key).into_iter().flatten().map(|text| ((*text).clone(), *n)))
            .collect();
        pairs.sort_unstable();
        pairs
    }

    fn lefts(count: u32, keys: u32) -> Vec<Left> {
        (0..count).map(|n| (n.wrapping_mul(0x9E37_79B1) % keys, format!("record number {n}"))).collect()
    }

    fn rights(count: u64, keys: u32) -> Vec<Right> {
        (0..count).map(|n| (n, (n as u32).wrapping_mul(0x85EB_CA6B) % keys)).collect()
    }

    #[test]
    fn joins_in_memory_without_a_file() {
        let (build, probe) = (lefts(1000, 300), rights(2000, 400));
        let (pairs, written) = join(&build, &probe, 64);
        assert_eq!(pairs, naive(&build, &probe));
        assert_eq!(written, 0);
    }

    #[test]
    fn partitions_again_and_again() {
        let (build, probe) = (lefts(40_000, 20_000), rights(30_000, 25_000));
        let (pairs, written) = join(&build, &probe, 8);
        assert_eq!(pairs, naive(&build, &probe));
        // Each record is some 25 and 13 bytes; one round of partitioning would write each at most once.
        assert!(written > 2 * (40_000 * 25 + 30_000 * 13), "{written}");
    }

    #[test]
    fn a_giant_key_is_joined_in_blocks() {
        let mut build = lefts(8_000, 1);
        build.extend(lefts(5_000, 3_000));
        let mut probe = rights(20, 1);
        probe.extend(rights(3_000, 3_000).into_iter().filter(|r| r.1 != 0));
        let (pairs, written) = join(&build, &probe, 8);
        assert!(written > 0);
        assert_eq!(pairs, naive(&build, &probe));
    }

    #[test]
    fn empty_sides_join_to_nothing() {
        assert_eq!(join(&[], &rights(10, 3), 8).0, []);
        assert_eq!(join(&lefts(20_000, 3), &[], 8).0, []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn joins_as_nested_loops_do(
            builds in 0_u32..15_000, probes in 0_u64..5_000, keys in 500_u32..30_000, hot in 0_u32..4_000,
            segments in 8_usize..40,
        ) {
            let mut build = lefts(builds, keys);
            build.extend((0..hot).map(|n| (7, format!("hot {n}"))));
            let probe = rights(probes, keys);
            let (pairs, _) = join(&build, &probe, segments);
            prop_assert!(pairs == naive(&build, &probe));
        }
    }
}
