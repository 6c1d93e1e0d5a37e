//! Merging sorted runs, from memory and from disk alike: a run is rows in one or more pieces, and only one piece of a
//! spilled run is in memory at a time.
//!
//! Invariant: rows with equal keys come in the order of their runs, so a sort that keeps its runs in the order of their
//! records is stable.

use flott_core::CodecError;
use flott_core::codec::read_varint;
use flott_core::memory::Reservation;

use super::error::BatchError;
use super::loser_tree::LoserTree;
use super::row::key_word;
use super::spill::{Block, Spill, SpillFile};

/// How many words of each head are compared before bytes are.
const HEAD_WORDS: usize = 3;

type Head = [u64; HEAD_WORDS];

/// A sorted run on disk.
#[derive(Debug, Default)]
pub(super) struct SpilledRun {
    blocks: Vec<Block>,
    /// The bytes that one block of it takes in memory.
    pub(super) largest_block: usize,
}

impl SpilledRun {
    /// How many blocks it has.
    pub(super) fn block_count(&self) -> usize {
        self.blocks.len()
    }
}

/// Writes a run block by block; a block holds whole rows.
#[derive(Debug)]
pub(super) struct RunWriter {
    buffer: Vec<u8>,
    block_bytes: usize,
    run: SpilledRun,
}

impl RunWriter {
    /// Writes blocks of `block_bytes`, and larger ones for larger rows.
    pub(super) fn new(block_bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(block_bytes), block_bytes, run: SpilledRun::default() }
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &[u8], spill: &mut Spill) -> Result<(), BatchError> {
        if !self.buffer.is_empty() && self.buffer.len() + row.len() > self.block_bytes {
            self.flush(spill.file()?)?;
        }
        self.buffer.extend_from_slice(row);
        Ok(())
    }

    fn flush(&mut self, file: &mut SpillFile) -> Result<(), BatchError> {
        self.run.blocks.push(file.append(&self.buffer)?);
        self.run.largest_block = self.run.largest_block.max(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }

    /// Writes the rest.
    pub(super) fn finish(mut self, spill: &mut Spill) -> Result<SpilledRun, BatchError> {
        if !self.buffer.is_empty() {
            self.flush(spill.file()?)?;
        }
        Ok(self.run)
    }
}

/// A run that is being read.
#[derive(Debug)]
pub(super) struct Source {
    piece: Vec<u8>,
    row: usize,
    key: usize,
    key_end: usize,
    payload: usize,
    end: usize,
    /// The record has no bytes of its own.
    whole: bool,
    done: bool,
    blocks: std::vec::IntoIter<Block>,
    in_hand: Option<Block>,
    /// What a run in memory is charged to.
    memory: Option<Reservation>,
}

impl Source {
    /// A run that is in memory, and what it is charged to.
    pub(super) fn in_memory(rows: Vec<u8>, memory: Option<Reservation>) -> Self {
        Self::new(rows, Vec::new(), memory)
    }

    /// A run on disk.
    pub(super) fn spilled(run: SpilledRun) -> Self {
        Self::new(Vec::new(), run.blocks, None)
    }

    fn new(piece: Vec<u8>, blocks: Vec<Block>, memory: Option<Reservation>) -> Self {
        Self {
            piece,
            row: 0,
            key: 0,
            key_end: 0,
            payload: 0,
            end: 0,
            whole: false,
            done: false,
            blocks: blocks.into_iter(),
            in_hand: None,
            memory,
        }
    }

    #[inline]
    fn advance(&mut self, spill: &mut Spill, free: bool) -> Result<(), BatchError> {
        self.row = self.end;
        if self.row == self.piece.len() && !self.next_piece(spill, free)? {
            return Ok(());
        }
        Ok(self.parse()?)
    }

    #[cold]
    fn next_piece(&mut self, spill: &mut Spill, free: bool) -> Result<bool, BatchError> {
        if let Some(block) = self.in_hand.take().filter(|_| free) {
            spill.file()?.free(block);
        }
        let Some(block) = self.blocks.next() else {
            self.done = true;
            self.piece = Vec::new();
            self.memory = None;
            return Ok(false);
        };
        spill.file()?.read(block, &mut self.piece)?;
        self.in_hand = Some(block);
        self.row = 0;
        Ok(true)
    }

    #[inline]
    fn parse(&mut self) -> Result<(), CodecError> {
        let (key_bytes, key) = length_at(&self.piece, self.row)?;
        let key_end = key.saturating_add(key_bytes);
        let (tag, payload) = length_at(&self.piece, key_end)?;
        let end = payload.saturating_add(tag.saturating_sub(1));
        if end > self.piece.len() {
            return Err(CodecError::Truncated { what: "sorted row", missing: end - self.piece.len() });
        }
        (self.key, self.key_end, self.payload, self.end) = (key, key_end, payload, end);
        self.whole = tag == 0;
        Ok(())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        &self.piece[self.key..self.key_end]
    }

    #[inline]
    fn head(&self) -> Head {
        if self.done {
            return [u64::MAX; HEAD_WORDS];
        }
        let key = self.key();
        std::array::from_fn(|word| key_word(key, word * 8))
    }
}

/// The length at `at`, and where it ends.
#[inline]
fn length_at(bytes: &[u8], at: usize) -> Result<(usize, usize), CodecError> {
    match bytes.get(at) {
        Some(&byte) if byte < 0x80 => Ok((usize::from(byte), at + 1)),
        _ => {
            let mut rest = bytes.get(at..).unwrap_or_default();
            let before = rest.len();
            let length = read_varint(&mut rest, "sorted row")?;
            Ok((usize::try_from(length).unwrap_or(usize::MAX), at + before - rest.len()))
        }
    }
}

/// The row that comes next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    /// All of it.
    pub(super) bytes: &'a [u8],
    /// Its key.
    pub(super) key: &'a [u8],
    /// Its record; none if the key is the record.
    pub(super) record: Option<&'a [u8]>,
}

/// Runs that are being merged.
#[derive(Debug)]
pub(super) struct Merge {
    sources: Vec<Source>,
    heads: Vec<Head>,
    tree: LoserTree,
    /// Whether blocks are freed on the disk once they are read: worth it only where more will be written.
    free: bool,
}

impl Merge {
    /// Merges `sources`, the older records first; with `free`, blocks are given back once they are read.
    pub(super) fn new(mut sources: Vec<Source>, spill: &mut Spill, free: bool) -> Result<Self, BatchError> {
        if sources.is_empty() {
            sources.push(Source::in_memory(Vec::new(), None));
        }
        for source in &mut sources {
            source.advance(spill, free)?;
        }
        let heads: Vec<Head> = sources.iter().map(Source::head).collect();
        let tree = LoserTree::new(sources.len(), |a, b| before(&heads, &sources, a, b));
        Ok(Self { sources, heads, tree, free })
    }

    /// The row that comes next, if any is left.
    #[inline]
    pub(super) fn row(&self) -> Option<Row<'_>> {
        let source = &self.sources[self.tree.winner()];
        if source.done {
            return None;
        }
        Some(Row {
            bytes: &source.piece[source.row..source.end],
            key: source.key(),
            record: (!source.whole).then(|| &source.piece[source.payload..source.end]),
        })
    }

    /// Goes on to the next row.
    #[inline]
    pub(super) fn advance(&mut self, spill: &mut Spill) -> Result<(), BatchError> {
        let winner = self.tree.winner();
        let source = &mut self.sources[winner];
        source.advance(spill, self.free)?;
        self.heads[winner] = source.head();
        let (heads, sources) = (&self.heads, &self.sources);
        self.tree.replay(|a, b| before(heads, sources, a, b));
        Ok(())
    }
}

/// Whether the head of run `a` comes before that of run `b`.
#[inline]
fn before(heads: &[Head], sources: &[Source], a: usize, b: usize) -> bool {
    let (head_a, head_b) = (&heads[a], &heads[b]);
    for word in 0..HEAD_WORDS {
        if head_a[word] != head_b[word] {
            return head_a[word] < head_b[word];
        }
    }
    before_by_rest(&sources[a], &sources[b], a < b)
}

fn before_by_rest(a: &Source, b: &Source, older: bool) -> bool {
    if a.done || b.done {
        return !a.done;
    }
    let (a, b) = (a.key().get(HEAD_WORDS * 8..), b.key().get(HEAD_WORDS * 8..));
    match a.unwrap_or_default().cmp(b.unwrap_or_default()) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => older,
        std::cmp::Ordering::Greater => false,
    }
}

#[cfg(test)]
mod tests {
    use flott_core::codec::write_varint;

    use super::*;

    fn rows(keys: &[&str]) -> Vec<u8> {
        let mut rows = Vec::new();
        for key in keys {
            write_varint(key.len() as u64, &mut rows);
            rows.extend_from_slice(key.as_bytes());
            rows.push(0);
        }
        rows
    }

    fn spilled(keys: &[&str], block_bytes: usize, spill: &mut Spill) -> SpilledRun {
        let mut writer = RunWriter::new(block_bytes);
        for key in keys {
            writer.push(&rows(&[key]), spill).unwrap();
        }
        writer.finish(spill).unwrap()
    }

    fn merged(mut merge: Merge, spill: &mut Spill) -> Vec<String> {
        let mut keys = Vec::new();
        while let Some(row) = merge.row() {
            assert!(row.record.is_none());
            keys.push(String::from_utf8(row.key.to_vec()).unwrap());
            merge.advance(spill).unwrap();
        }
        keys
    }

    #[test]
    fn merges_memory_and_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(dir.path().into());
        let long = "x".repeat(300);
        let run = spilled(&["a", "c", "e", &long], 6, &mut spill);
        assert_eq!(run.blocks.len(), 3);
        assert_eq!(run.largest_block, 303);
        let sources = vec![
            Source::in_memory(rows(&["b", "d", &long]), None),
            Source::spilled(run),
            Source::in_memory(Vec::new(), None),
        ];
        let merge = Merge::new(sources, &mut spill, true).unwrap();
        assert_eq!(merged(merge, &mut spill), ["a", "b", "c", "d", "e", &long, &long]);
    }

    #[test]
    fn keys_that_look_like_the_end_are_merged() {
        // All ones is also what stands for a run that is through.
        let mut row = vec![24];
        row.extend([0xFF; 24]);
        row.push(0);
        let mut spill = Spill::new("/nowhere".into());
        let sources = vec![Source::in_memory(Vec::new(), None), Source::in_memory(row, None)];
        let mut merge = Merge::new(sources, &mut spill, false).unwrap();
        assert_eq!(merge.row().map(|row| row.key.len()), Some(24));
        merge.advance(&mut spill).unwrap();
        assert!(merge.row().is_none());
    }

    #[test]
    fn nothing_merges_to_nothing() {
        let mut spill = Spill::new("/nowhere".into());
        assert!(Merge::new(Vec::new(), &mut spill, false).unwrap().row().is_none());
    }

    #[test]
    fn damaged_rows_are_errors() {
        let mut spill = Spill::new("/nowhere".into());
        for bytes in [vec![5, 1], vec![0x80], vec![1, 1], vec![1, 1, 9], vec![0xFF; 12]] {
            let error = Merge::new(vec![Source::in_memory(bytes, None)], &mut spill, false).unwrap_err();
            assert!(error.to_string().starts_with("a spilled block is damaged: "), "{error}");
        }
    }
}
