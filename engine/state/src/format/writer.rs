//! Writes a snapshot front to back, a step at a time.

use std::collections::VecDeque;

use flott_core::codec::write_varint;
use flott_core::{Data, KeyGroupRange, Timestamp};

use super::{
    CHECKSUM_BYTES, CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkHeader, END_MAGIC, Header, MAGIC, MAX_CHUNK_ROWS,
    VERSION,
};

/// What must be known of the stream as a whole while it is written: how long it is, and its index.
#[derive(Default)]
pub(crate) struct StreamWriter {
    /// The bytes of the steps before this one.
    length: u64,
    index: Vec<u8>,
}

impl StreamWriter {
    /// Begins the stream.
    pub(crate) fn header(header: &Header, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        let mut body = Vec::new();
        body.extend_from_slice(header.operator.as_bytes());
        header.subtask.encode(&mut body);
        header.parallelism.encode(&mut body);
        header.max_parallelism.encode(&mut body);
        write_varint(header.states.len() as u64, &mut body);
        for descriptor in &header.states {
            descriptor.name.encode(&mut body);
            body.push(descriptor.kind as u8);
            descriptor.key.encode(&mut body);
            descriptor.value.encode(&mut body);
        }
        (body.len() as u32).encode(out);
        out.extend_from_slice(&body);
        crc32fast::hash(&out[start..]).encode(out);
    }

    /// A step is over that wrote `bytes`.
    pub(crate) fn end_step(&mut self, bytes: usize) {
        self.length += bytes as u64;
    }

    /// Ends the stream, in a step that has written `bytes` before.
    pub(crate) fn footer(&self, bytes: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.index);
        ((self.index.len() / CHUNK_HEADER_BYTES) as u64).encode(out);
        (self.length + bytes as u64).encode(out);
        crc32fast::hash(&out[start..]).encode(out);
        out.extend_from_slice(END_MAGIC);
    }
}

/// Writes rows of one state, grouped into chunks, until the step is over.
///
/// Work is counted in bytes; looking at a place of a hash table where nothing is to be written counts as one.
pub(crate) struct ChunkWriter<'a> {
    out: &'a mut Vec<u8>,
    stream: &'a mut StreamWriter,
    state: u32,
    /// The work that may still be done in this step.
    left: usize,
    open: Option<Open>,
}

/// The chunk in the writing: where it begins, and what is known of its header.
struct Open {
    start: usize,
    header: ChunkHeader,
}

impl<'a> ChunkWriter<'a> {
    /// For the state at position `state`; `budget` is at least 1, so that every step gets on.
    pub(crate) fn new(
        out: &'a mut Vec<u8>,
        stream: &'a mut StreamWriter,
        state: usize,
        budget: usize,
    ) -> Self {
        Self { out, stream, state: state as u32, left: budget.max(1), open: None }
    }

    /// Whether the step is over.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Counts work that writes nothing.
    #[inline]
    pub(crate) fn spend(&mut self, work: usize) {
        self.left = self.left.saturating_sub(work);
    }

    /// Writes a row by `encode`, into the open chunk if it fits there.
    #[inline]
    pub(crate) fn row(
        &mut self,
        namespace: Timestamp,
        groups: KeyGroupRange,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let before = self.out.len();
        match &mut self.open {
            Some(Open { start, header })
                if header.namespace == namespace
                    && header.rows < MAX_CHUNK_ROWS
                    && before - *start < CHUNK_BYTES =>
            {
                header.rows += 1;
                header.groups.start = header.groups.start.min(groups.start);
                header.groups.end = header.groups.end.max(groups.end);
            }
            _ => self.open(namespace, groups, 1),
        }
        let before = self.out.len();
        encode(self.out);
        self.spend((self.out.len() - before).max(1));
    }

    fn open(&mut self, namespace: Timestamp, groups: KeyGroupRange, rows: u32) {
        self.close();
        let header = ChunkHeader { state: self.state, groups, namespace, rows, length: 0 };
        self.open = Some(Open { start: self.out.len(), header });
        self.out.resize(self.out.len() + CHUNK_HEADER_BYTES, 0);
        self.spend(CHUNK_HEADER_BYTES + CHECKSUM_BYTES);
    }

    /// Closes the open chunk: its header is known now. A step ends with this.
    pub(crate) fn close(&mut self) {
        let Some(Open { start, mut header }) = self.open.take() else { return };
        header.length = (self.out.len() - start - CHUNK_HEADER_BYTES) as u64;
        let at = self.stream.index.len();
        header.encode(&mut self.stream.index);
        self.out[start..start + CHUNK_HEADER_BYTES].copy_from_slice(&self.stream.index[at..]);
        crc32fast::hash(&self.out[start..]).encode(self.out);
    }
}

/// Rows that had to be encoded before the snapshot came to them, because their entries were about to change.
///
/// They are kept in pieces, so that adding one never moves the others.
#[derive(Default)]
pub(crate) struct PendingRows {
    pieces: VecDeque<Piece>,
    bytes: usize,
}

#[derive(Default)]
struct Piece {
    rows: u32,
    bytes: Vec<u8>,
}

/// The bytes of a piece beyond which a new one is begun.
const PIECE_BYTES: usize = 64 * 1024;

impl PendingRows {
    /// Adds a row by `encode`.
    pub(crate) fn add(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self
            .pieces
            .back()
            .is_none_or(|last| last.bytes.len() >= PIECE_BYTES || last.rows == MAX_CHUNK_ROWS)
        {
            self.pieces.push_back(Piece::default());
        }
        if let Some(last) = self.pieces.back_mut() {
            let before = last.bytes.len();
            encode(&mut last.bytes);
            last.rows += 1;
            self.bytes += last.bytes.len() - before;
        }
    }

    /// The bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes pieces until none is left or the step is over; true if none is left.
    pub(crate) fn write(
        &mut self,
        namespace: Timestamp,
        groups: KeyGroupRange,
        out: &mut ChunkWriter<'_>,
    ) -> bool {
        while !out.is_over() {
            let Some(piece) = self.pieces.pop_front() else { break };
            self.bytes -= piece.bytes.len();
            out.open(namespace, groups, piece.rows);
            out.out.extend_from_slice(&piece.bytes);
            out.spend(piece.bytes.len());
            out.close();
        }
        self.pieces.is_empty()
    }
}
