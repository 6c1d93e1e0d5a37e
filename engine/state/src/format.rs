//! The format of an operator subtask's state in a snapshot. Version 1 is frozen.
//!
//! ```text
//! snapshot   := "FLOTTST" version:u8 operator:16 bytes count:varint descriptor* chunk* 0x00 chunks:varint
//! descriptor := name:string kind:u8 key:schema value:schema
//! chunk      := 0x01 state:varint namespace:i64 first_group:u16 end_group:u16 rows:varint length:varint crc32:u32 payload
//! ```
//!
//! A row is a key and a value (tables), a key (timers) or a value (lists), by their codecs. A table of many entries is written a
//! chunk or more for each key group, so that a reader with other key groups passes over what it does not need.

use flott_core::codec::{read_length, read_varint, take, take_array, write_varint};
use flott_core::ids::OperatorId;
use flott_core::{CodecError, Data, KeyGroupRange, Schema, Timestamp};

const MAGIC: &[u8; 7] = b"FLOTTST";
const VERSION: u8 = 1;

/// What kind of state a descriptor describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// A value a key.
    Table,
    /// A value a namespace and key.
    Namespaced,
    /// Times with keys.
    Timers,
    /// Elements without keys.
    List,
}

impl StateKind {
    const ALL: [Self; 4] = [Self::Table, Self::Namespaced, Self::Timers, Self::List];
}

/// Name and type of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The name.
    pub name: String,
    /// The kind.
    pub kind: StateKind,
    /// The type of its keys.
    pub key: Schema,
    /// The type of its values.
    pub value: Schema,
}

impl Descriptor {
    /// The type in one line.
    pub fn type_name(&self) -> String {
        format!("{:?}<{}, {}>", self.kind, self.key, self.value)
    }
}

/// Rows of a state, as they stand in a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// The position of the state's descriptor.
    pub state: usize,
    /// The namespace, or the time of timers.
    pub namespace: Timestamp,
    /// The key groups its keys may be of.
    pub groups: KeyGroupRange,
    /// How many rows.
    pub rows: usize,
    /// The rows.
    pub payload: &'a [u8],
}

/// Writes chunks behind each other, as long as a step may.
pub struct ChunkWriter<'a> {
    out: &'a mut Vec<u8>,
    state: usize,
    end: usize,
    chunks: &'a mut u64,
}

impl<'a> ChunkWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, state: usize, budget: usize, chunks: &'a mut u64) -> Self {
        let end = out.len() + budget;
        Self { out, state, end, chunks }
    }

    /// Whether the step is over.
    pub(crate) fn is_over(&self) -> bool {
        self.out.len() >= self.end
    }

    /// What the step may still write, in bytes.
    pub(crate) fn left(&self) -> usize {
        self.end.saturating_sub(self.out.len())
    }

    /// Writes a chunk; one without rows is not written.
    pub(crate) fn chunk(&mut self, namespace: Timestamp, groups: KeyGroupRange, rows: usize, payload: &[u8]) {
        if rows == 0 {
            return;
        }
        *self.chunks += 1;
        self.out.push(1);
        write_varint(self.state as u64, self.out);
        namespace.encode(self.out);
        groups.start.encode(self.out);
        groups.end.encode(self.out);
        write_varint(rows as u64, self.out);
        write_varint(payload.len() as u64, self.out);
        crc32fast::hash(payload).encode(self.out);
        self.out.extend_from_slice(payload);
    }
}

pub(crate) fn write_header(operator: OperatorId, descriptors: &[&Descriptor], out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    out.extend_from_slice(operator.as_bytes());
    write_varint(descriptors.len() as u64, out);
    for descriptor in descriptors {
        descriptor.name.encode(out);
        out.push(descriptor.kind as u8);
        descriptor.key.encode(out);
        descriptor.value.encode(out);
    }
}

pub(crate) fn write_trailer(chunks: u64, out: &mut Vec<u8>) {
    out.push(0);
    write_varint(chunks, out);
}

/// A snapshot, taken apart.
#[derive(Debug)]
pub struct Parsed<'a> {
    /// The operator that wrote it.
    pub operator: OperatorId,
    /// The states in it.
    pub descriptors: Vec<Descriptor>,
    /// Their rows.
    pub chunks: Vec<Chunk<'a>>,
}

/// Takes a snapshot apart and checks every chunk.
///
/// # Errors
/// [`CodecError`] that says what is wrong with the bytes. Never panics.
pub fn parse(mut bytes: &[u8]) -> Result<Parsed<'_>, CodecError> {
    let input = &mut bytes;
    let invalid = |reason: String| CodecError::invalid("snapshot", reason);
    if take(input, MAGIC.len(), "snapshot")? != MAGIC {
        return Err(invalid("it does not begin like one".to_owned()));
    }
    let version = u8::decode(input)?;
    if version != VERSION {
        return Err(invalid(format!(
            "it has format version {version}, this program reads version {VERSION}"
        )));
    }
    let operator = OperatorId::from_bytes(take_array(input, "snapshot")?);
    let count = read_length(input, 4, "snapshot")?;
    let mut descriptors = Vec::with_capacity(count);
    for _ in 0..count {
        let name = String::decode(input)?;
        let kind = u8::decode(input)?;
        let kind =
            *StateKind::ALL.get(usize::from(kind)).ok_or_else(|| invalid(format!("no kind {kind}")))?;
        descriptors.push(Descriptor {
            name,
            kind,
            key: Schema::decode(input)?,
            value: Schema::decode(input)?,
        });
    }
    let mut chunks = Vec::new();
    while u8::decode(input)? == 1 {
        let state = read_varint(input, "snapshot")? as usize;
        if state >= count {
            return Err(invalid(format!("a chunk of state {state} of {count}")));
        }
        let namespace = Timestamp::decode(input)?;
        let groups = KeyGroupRange { start: u16::decode(input)?, end: u16::decode(input)? };
        let rows = read_varint(input, "snapshot")? as usize;
        let length = read_length(input, 1, "snapshot")?;
        let crc = u32::decode(input)?;
        let payload = take(input, length, "snapshot")?;
        if crc32fast::hash(payload) != crc {
            return Err(invalid(format!("the checksum of chunk {} is wrong", chunks.len())));
        }
        chunks.push(Chunk { state, namespace, groups, rows, payload });
    }
    let written = read_varint(input, "snapshot")?;
    if written != chunks.len() as u64 || !input.is_empty() {
        return Err(invalid(format!("{written} chunks were written, {} are there", chunks.len())));
    }
    Ok(Parsed { operator, descriptors, chunks })
}
