//! [`ExternalSorter`]: sorts any number of records within a share of managed memory, on disk if it must.
//!
//! Records gather in a [`SortBuffer`] of a few mebibytes, which is sorted into a run in memory whenever it is full. When no
//! more runs can be reserved, all of them are merged into one run on disk. In the end the runs on disk and those in
//! memory are merged once more while they are read; if there are more on disk than there is memory to read them, some are merged
//! into larger ones first.
//!
//! Everything but sorting one buffer (a few milliseconds) is done in steps. The sort is stable. Files are not compressed: on local
//! disks that costs more time than it saves.
//!
//! ```text
//! (insert* work*)* finish work* next*
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use flott_core::Data;
use flott_core::memory::{ManagedMemory, Reservation, SEGMENT_BYTES};

use super::error::BatchError;
use super::grant::{MIN_SEGMENTS, reserve_up_to, segments_for};
use super::merge::{Merge, RunWriter, Source, SpilledRun};
use super::row::{Order, RowDecoder};
use super::sort_buffer::SortBuffer;
use super::spill::Spill;
use super::step::Step;
use crate::cursor::Cursor;
use crate::key_selector::KeySelector;
use crate::operator::OperatorInfo;

/// The most that is sorted at a time: what the processor's cache holds.
const LARGEST_BUFFER: usize = 4 << 20;

/// The most that is written or read at a time.
const LARGEST_BLOCK: usize = 256 << 10;

/// The most runs on disk that are merged at a time, so that reading the first block of each is a short step, too.
const LARGEST_FAN_IN: usize = 128;

/// What a batch operator needs of its surroundings.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The operator's name, for errors.
    pub operator: String,
    /// Its share of managed memory.
    pub memory: ManagedMemory,
    /// The folder for its spill file.
    pub temp_dir: PathBuf,
}

impl Workspace {
    /// The workspace of an operator subtask.
    pub fn of(info: &OperatorInfo) -> Self {
        Self {
            operator: info.name.clone(),
            memory: info.managed_memory.clone(),
            temp_dir: info.temp_dir.clone(),
        }
    }

    /// Reserves what the operator cannot do without, `segments` of at least [`MIN_SEGMENTS`].
    pub(super) fn reserve_floor(&self, segments: usize) -> Result<Reservation, BatchError> {
        let enough = self.memory.free_segments() >= MIN_SEGMENTS;
        enough.then(|| self.memory.reserve(segments)).flatten().ok_or_else(|| BatchError::TooLittleMemory {
            operator: self.operator.clone(),
            needed: segments.max(MIN_SEGMENTS) * SEGMENT_BYTES,
            free: self.memory.free_segments() * SEGMENT_BYTES,
        })
    }
}

/// See the module.
pub struct ExternalSorter<T, S> {
    workspace: Workspace,
    buffer: SortBuffer<T, S>,
    decoder: RowDecoder,
    block_bytes: usize,
    /// For the buffer, the run it is sorted into, and a block that is written.
    floor: Reservation,
    sorted: Vec<Source>,
    /// The last of `sorted` found no memory; it is charged to the floor until it is spilled.
    is_full: bool,
    spill: Spill,
    spilled: Vec<SpilledRun>,
    phase: Phase,
    has_finished: bool,
}

enum Phase {
    Taking,
    /// Writes one run, which takes its place among the spilled.
    Writing {
        merge: Merge,
        writer: RunWriter,
        place: usize,
        _memory: Option<Reservation>,
    },
    Giving {
        merge: Merge,
        _memory: Option<Reservation>,
    },
}

impl<T: Data, S: KeySelector<T>> ExternalSorter<T, S> {
    /// A sorter by the keys that `selector` finds.
    ///
    /// # Errors
    /// [`BatchError::TooLittleMemory`] if the share is below 256 KiB.
    pub fn new(selector: Arc<S>, order: Order, workspace: Workspace) -> Result<Self, BatchError> {
        let total = workspace.memory.total_segments() * SEGMENT_BYTES;
        let buffer_bytes = (total / 8).clamp(SEGMENT_BYTES, LARGEST_BUFFER);
        let block_bytes = (total / 64).clamp(SEGMENT_BYTES, LARGEST_BLOCK);
        let floor = workspace.reserve_floor(segments_for(2 * buffer_bytes + block_bytes))?;
        Ok(Self {
            buffer: SortBuffer::new(selector, order, buffer_bytes, total / 8),
            decoder: RowDecoder::new(order),
            block_bytes,
            floor,
            sorted: Vec::new(),
            is_full: false,
            spill: Spill::new(workspace.temp_dir.clone()),
            spilled: Vec::new(),
            phase: Phase::Taking,
            has_finished: false,
            workspace,
        })
    }

    /// Takes a record. Not to be called while the sorter [is busy](Self::is_busy) or after [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`BatchError::RecordTooLarge`] if it takes more than an eighth of the memory.
    #[inline]
    pub fn insert(&mut self, record: &T) -> Result<(), BatchError> {
        if let Err(error) = self.buffer.insert(record) {
            return Err(BatchError::RecordTooLarge {
                operator: self.workspace.operator.clone(),
                bytes: error.bytes,
                limit: error.limit,
            });
        }
        if self.buffer.is_full() {
            self.sort_buffer()?;
            if self.is_full {
                self.spill_sorted()?;
            }
        }
        Ok(())
    }

    /// Whether [`work`](Self::work) is to be done before anything else.
    #[inline]
    pub fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Writing { .. })
    }

    /// Does work for about two milliseconds; true if none is left for now.
    ///
    /// # Errors
    /// [`BatchError`] if the spill file cannot be written or read.
    pub fn work(&mut self) -> Result<bool, BatchError> {
        self.work_for(&mut Step::begin())
    }

    pub(super) fn work_for(&mut self, step: &mut Step) -> Result<bool, BatchError> {
        while let Phase::Writing { merge, writer, .. } = &mut self.phase {
            while let Some(row) = merge.row() {
                writer.push(row.bytes, &mut self.spill)?;
                merge.advance(&mut self.spill)?;
                if step.is_over() {
                    return Ok(false);
                }
            }
            if let Phase::Writing { writer, place, .. } = std::mem::replace(&mut self.phase, Phase::Taking) {
                self.spilled.insert(place, writer.finish(&mut self.spill)?);
            }
            if self.has_finished {
                self.prepare_reading()?;
            }
        }
        Ok(true)
    }

    /// Says that all records have come; [`work`](Self::work) is to be called until it is true before the first
    /// [`next`](Self::next).
    ///
    /// # Errors
    /// [`BatchError`] if the spill file cannot be written or read.
    pub fn finish(&mut self) -> Result<(), BatchError> {
        self.has_finished = true;
        if !self.buffer.is_empty() {
            self.sort_buffer()?;
        }
        self.buffer.release();
        if self.is_busy() { Ok(()) } else { self.prepare_reading() }
    }

    /// The next record in order; none at the end.
    ///
    /// # Errors
    /// [`BatchError`] if the spill file cannot be read.
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "it can fail")]
    pub fn next(&mut self) -> Result<Option<T>, BatchError> {
        let Phase::Giving { merge, .. } = &mut self.phase else {
            return Err(BatchError::OutOfOrder("sort"));
        };
        let Some(row) = merge.row() else { return Ok(None) };
        let record = self.decoder.decode::<T, S::Key>(row.key, row.record)?;
        merge.advance(&mut self.spill)?;
        Ok(Some(record))
    }

    /// Takes what an operator's cursor gives, or does the work that must be done before.
    pub(super) fn take(&mut self, input: &mut Cursor<T>) -> Result<(), BatchError> {
        if !self.work()? {
            return Ok(());
        }
        while let Some((record, _)) = input.next() {
            self.insert(&record)?;
            if self.is_busy() {
                break;
            }
        }
        Ok(())
    }

    /// Ends the input, once; then works until there is something to read.
    pub(super) fn is_ready(&mut self, has_ended: &mut bool) -> Result<bool, BatchError> {
        if !std::mem::replace(has_ended, true) {
            self.finish()?;
        }
        self.work()
    }

    fn sort_buffer(&mut self) -> Result<(), BatchError> {
        let rows = self.buffer.sort()?;
        let memory = self.workspace.memory.reserve(segments_for(rows.len()));
        self.is_full = memory.is_none();
        self.sorted.push(Source::in_memory(rows, memory));
        Ok(())
    }

    /// Begins to merge the runs in memory into one on disk.
    fn spill_sorted(&mut self) -> Result<(), BatchError> {
        let sources = std::mem::take(&mut self.sorted);
        self.is_full = false;
        self.write_run(sources, self.spilled.len(), None)
    }

    fn write_run(
        &mut self,
        sources: Vec<Source>,
        place: usize,
        memory: Option<Reservation>,
    ) -> Result<(), BatchError> {
        let merge = Merge::new(sources, &mut self.spill, true)?;
        self.phase =
            Phase::Writing { merge, writer: RunWriter::new(self.block_bytes), place, _memory: memory };
        Ok(())
    }

    /// Begins to give records, or what must be done before.
    fn prepare_reading(&mut self) -> Result<(), BatchError> {
        let block = self.spilled.iter().map(|run| run.largest_block).max().unwrap_or(0);
        // The buffer and what it was sorted into are gone, unless the last run found no other place.
        let own = if self.is_full { 0 } else { self.floor.bytes() - self.block_bytes };
        let needed = self.spilled.len() * block;
        let memory = reserve_up_to(&self.workspace.memory, segments_for(needed.saturating_sub(own)));
        let available = own + memory.as_ref().map_or(0, Reservation::bytes);
        if needed > available && !self.sorted.is_empty() {
            return self.spill_sorted();
        }
        let readable = (available / block.max(1)).clamp(2, LARGEST_FAN_IN);
        if self.spilled.len() > readable {
            return self.merge_some(readable, memory);
        }
        let mut sources: Vec<Source> = self.spilled.drain(..).map(Source::spilled).collect();
        sources.append(&mut self.sorted);
        let merge = Merge::new(sources, &mut self.spill, false)?;
        self.phase = Phase::Giving { merge, _memory: memory };
        Ok(())
    }

    /// Begins to merge those neighbouring runs that are shortest into one, so that no more than `readable` are left if
    /// possible.
    fn merge_some(&mut self, readable: usize, memory: Option<Reservation>) -> Result<(), BatchError> {
        let count = (self.spilled.len() - readable + 1).min(readable);
        let lengths: Vec<usize> = self.spilled.iter().map(SpilledRun::block_count).collect();
        let place = lengths
            .windows(count)
            .enumerate()
            .min_by_key(|(_, window)| window.iter().sum::<usize>())
            .map_or(0, |(place, _)| place);
        let sources = self.spilled.drain(place..place + count).map(Source::spilled).collect();
        self.write_run(sources, place, memory)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key_selector::{Borrowed, Computed};

    fn workspace(segments: usize, dir: &tempfile::TempDir) -> Workspace {
        Workspace {
            operator: "sort".into(),
            memory: ManagedMemory::of_bytes(segments * SEGMENT_BYTES),
            temp_dir: dir.path().into(),
        }
    }

    /// Sorts, and says how much was spilled.
    fn sort<T: Data, S: KeySelector<T>>(
        records: impl IntoIterator<Item = T>,
        select: S,
        order: Order,
        workspace: Workspace,
    ) -> (Vec<T>, u64) {
        let memory = workspace.memory.clone();
        let mut sorter = ExternalSorter::new(Arc::new(select), order, workspace).unwrap();
        for record in records {
            sorter.insert(&record).unwrap();
            while !sorter.work_for(&mut Step::endless()).unwrap() {}
        }
        sorter.finish().unwrap();
        while !sorter.work_for(&mut Step::endless()).unwrap() {}
        let mut sorted = Vec::new();
        while let Some(record) = sorter.next().unwrap() {
            sorted.push(record);
        }
        let written = sorter.spill.written();
        drop(sorter);
        assert_eq!(memory.free_segments(), memory.total_segments());
        (sorted, written)
    }

    fn mixed(i: u64) -> u64 {
        (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    #[test]
    fn sorts_in_memory_without_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let records: Vec<u64> = (0..10_000).map(mixed).collect();
        let (sorted, written) =
            sort(records.clone(), Borrowed::new(|n: &u64| n), Order::Ascending, workspace(64, &dir));
        let mut expected = records;
        expected.sort_unstable();
        assert_eq!(sorted, expected);
        assert_eq!(written, 0);
    }

    #[test]
    fn merges_in_several_passes_and_stays_stable() {
        let dir = tempfile::tempdir().unwrap();
        // 8 segments: more runs on disk than can be read at once.
        let records: Vec<(u32, u64)> = (0..200_000).map(|i| ((mixed(i) % 1000) as u32, i)).collect();
        let (sorted, written) =
            sort(records.clone(), Borrowed::new(|r: &(u32, u64)| &r.0), Order::Ascending, workspace(8, &dir));
        let mut expected = records;
        expected.sort_by_key(|r| r.0);
        assert!(sorted == expected);
        let bytes = 200_000 * (1 + 4 + 1 + 12);
        assert!(written > 3 * bytes / 2, "{written}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn large_records_are_sorted_or_refused_by_size() {
        let dir = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (0..60).map(|i| format!("{}{}", mixed(i), "-".repeat(30_000))).collect();
        let (sorted, written) =
            sort(lines.clone(), Borrowed::new(|s: &String| s), Order::Descending, workspace(16, &dir));
        let mut expected = lines;
        expected.sort_by(|a, b| b.cmp(a));
        assert!(sorted == expected);
        assert!(written > 0);

        let mut sorter = ExternalSorter::new(
            Arc::new(Borrowed::new(|s: &String| s)),
            Order::Ascending,
            workspace(16, &dir),
        )
        .unwrap();
        let error = sorter.insert(&"x".repeat(70_000)).unwrap_err().to_string();
        assert_eq!(
            error,
            "a record of 70002 bytes is too large for operator sort, which can hold records of up to 65536 bytes; \
             raise taskmanager.memory.managed.size"
        );
    }

    #[test]
    fn says_how_much_memory_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let error = ExternalSorter::new(
            Arc::new(Borrowed::new(|s: &String| s)),
            Order::Ascending,
            workspace(7, &dir),
        )
        .err()
        .unwrap();
        assert!(
            error.to_string().contains("at least 262144 bytes of managed memory and can have 229376"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_folder_is_an_error_when_it_spills() {
        let dir = tempfile::tempdir().unwrap();
        let mut workspace = workspace(8, &dir);
        workspace.temp_dir.push("gone");
        let mut sorter =
            ExternalSorter::new(Arc::new(Borrowed::new(|n: &u64| n)), Order::Ascending, workspace).unwrap();
        let error = (0..1 << 20).find_map(|i| sorter.insert(&i).and_then(|()| sorter.work()).err());
        assert!(matches!(error, Some(BatchError::CreateSpill { .. })), "{error:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn sorts_as_the_standard_library(
            seed: u64, count in 0_u64..30_000, segments in 8_usize..40, distinct in 1_u64..100_000, descending: bool,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let order = if descending { Order::Descending } else { Order::Ascending };
            let records: Vec<(String, u64)> =
                (0..count).map(|i| (format!("key-{}", mixed(i ^ seed) % distinct), i)).collect();
            let select = Computed::new(|r: &(String, u64)| (r.0.clone(), r.1 % 2));
            let (sorted, _) = sort(records.clone(), select, order, workspace(segments, &dir));
            let mut expected = records;
            expected.sort_by(|a, b| {
                let order = (&a.0, a.1 % 2).cmp(&(&b.0, b.1 % 2));
                if descending { order.reverse() } else { order }
            });
            prop_assert!(sorted == expected);
        }
    }
}
