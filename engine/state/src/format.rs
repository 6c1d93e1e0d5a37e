//! The format of an operator subtask's state in a snapshot. Version 1 is frozen: files of it stay readable for ever.
//!
//! A snapshot is one stream of bytes, written front to back and never gone back in. Fixed-width numbers are little endian;
//! varints, strings and values are as [`flott_core::codec`] and [`flott_core::data`] define them, schemas as
//! [`Schema`] does.
//!
//! ```text
//! snapshot     := header chunk* index footer
//! header       := "FLOTTST" version:u8 length:u32 body crc:u32       length is that of the body
//! body         := operator:16 bytes  subtask:u32 parallelism:u32 max_parallelism:u32  states:varint descriptor*
//! descriptor   := name:string kind:u8 key:schema value:schema        a list's key and timers' value are unit
//! chunk        := chunk_header payload crc:u32
//! chunk_header := 0x01 state:u32 first_group:u16 end_group:u16 namespace:i64 rows:u32 length:u64
//! index        := chunk_header*                                      of all chunks, in their order
//! footer       := chunks:u64 index_offset:u64 crc:u32 "FLOTTEND"     the checksum is of the index and these two numbers
//! ```
//!
//! A checksum is the CRC-32 (of IEEE) of all bytes of its part before it. A chunk holds rows of one state and namespace,
//! whose keys are of its key groups, `end_group` not included. What a row is depends on the state's kind:
//!
//! | kind | code | row | namespace | key groups |
//! |---|---|---|---|---|
//! | table | 0 | key, value | 0 | of the rows |
//! | namespaced | 1 | key, value | of the rows | of the rows |
//! | timers | 2 | time as `i64`, key in its canonical encoding | 0 | all of the subtask |
//! | list | 3 | value | 0 | none: 0 up to 0 |
//!
//! Rows are in no order, but for those of a list. A table's rows come by key group, so a reader with other key groups
//! passes over most of what it does not need; rows that were changed while the snapshot was written come in chunks of
//! all the subtask's key groups. No key comes twice. A chunk has at most [`MAX_CHUNK_ROWS`] rows.

mod reader;
mod writer;

pub use reader::{Chunk, FormatError, SnapshotReader, SnapshotSource};
pub(crate) use writer::{ChunkWriter, PendingRows, StreamWriter};

use flott_core::codec::{CodecError, take_array};
use flott_core::ids::OperatorId;
use flott_core::{Data, KeyGroupRange, Schema, Timestamp};

const MAGIC: &[u8; 7] = b"FLOTTST";
const END_MAGIC: &[u8; 8] = b"FLOTTEND";

/// The version that is written, and the highest that is read.
pub const VERSION: u8 = 1;

/// The most rows in a chunk, so that a reader need not believe a larger number.
pub const MAX_CHUNK_ROWS: u32 = 1 << 16;

/// The bytes of rows beyond which a chunk is closed.
const CHUNK_BYTES: usize = 256 * 1024;

const CHECKSUM_BYTES: usize = 4;
const CHUNK_HEADER_BYTES: usize = 29;
const FOOTER_BYTES: usize = 28;

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
    /// By their codes; the order is frozen.
    const ALL: [Self; 4] = [Self::Table, Self::Namespaced, Self::Timers, Self::List];

    /// Whether its rows belong to key groups.
    pub fn is_keyed(self) -> bool {
        self != Self::List
    }
}

/// Name and type of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The name.
    pub name: String,
    /// The kind.
    pub kind: StateKind,
    /// The type of its keys; unit for a list.
    pub key: Schema,
    /// The type of its values; unit for timers.
    pub value: Schema,
}

impl Descriptor {
    /// The type in one line.
    ///
    /// ```
    /// use flott_core::Schema;
    /// use flott_state::format::{Descriptor, StateKind};
    ///
    /// let count = Descriptor {
    ///     name: "count".to_owned(),
    ///     kind: StateKind::Table,
    ///     key: Schema::String,
    ///     value: Schema::U64,
    /// };
    /// assert_eq!(count.type_name(), "table<string, u64>");
    /// ```
    pub fn type_name(&self) -> String {
        let (key, value) = (&self.key, &self.value);
        match self.kind {
            StateKind::Table => format!("table<{key}, {value}>"),
            StateKind::Namespaced => format!("namespaced<{key}, {value}>"),
            StateKind::Timers => format!("timers<{key}>"),
            StateKind::List => format!("list<{value}>"),
        }
    }

    /// Whether state written as this can be read as `reader`: names of structs and enums may differ.
    pub fn compatible_with(&self, reader: &Self) -> bool {
        self.kind == reader.kind
            && self.key.compatible_with(&reader.key)
            && self.value.compatible_with(&reader.value)
    }
}

/// Who wrote a snapshot, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The operator.
    pub operator: OperatorId,
    /// Its subtask.
    pub subtask: u32,
    /// Of how many.
    pub parallelism: u32,
    /// How many key groups there were.
    pub max_parallelism: u32,
    /// The states.
    pub states: Vec<Descriptor>,
}

/// What stands before the rows of a chunk, and again in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHeader {
    /// The position of the state's descriptor.
    pub state: u32,
    /// The key groups its keys may be of.
    pub groups: KeyGroupRange,
    /// The namespace.
    pub namespace: Timestamp,
    /// How many rows.
    pub rows: u32,
    /// How many bytes they take.
    pub length: u64,
}

impl ChunkHeader {
    const TAG: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(Self::TAG);
        self.state.encode(out);
        self.groups.start.encode(out);
        self.groups.end.encode(out);
        self.namespace.encode(out);
        self.rows.encode(out);
        self.length.encode(out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        let [tag] = take_array(input, "chunk")?;
        if tag != Self::TAG {
            return Err(CodecError::invalid("chunk", format!("no chunk begins with {tag}")));
        }
        Ok(Self {
            state: u32::decode(input)?,
            groups: KeyGroupRange { start: u16::decode(input)?, end: u16::decode(input)? },
            namespace: Timestamp::decode(input)?,
            rows: u32::decode(input)?,
            length: u64::decode(input)?,
        })
    }

    /// The bytes of the whole chunk.
    fn chunk_bytes(&self) -> Option<u64> {
        self.length.checked_add((CHUNK_HEADER_BYTES + CHECKSUM_BYTES) as u64)
    }
}

#[cfg(test)]
mod tests;
