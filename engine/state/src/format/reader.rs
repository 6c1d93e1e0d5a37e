//! Reads snapshots: the header and the index first, then the chunks that are wanted.
//!
//! Invariant: whatever the bytes say, nothing here panics, and nothing is allocated that is longer than the snapshot is.

use std::fmt;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};

use flott_core::codec::{CodecError, read_length, take_array};
use flott_core::ids::OperatorId;
use flott_core::{Data, Schema};

use super::{
    CHECKSUM_BYTES, CHUNK_HEADER_BYTES, ChunkHeader, Descriptor, END_MAGIC, FOOTER_BYTES, Header, MAGIC,
    MAX_CHUNK_ROWS, StateKind, VERSION,
};

/// Why a snapshot could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The bytes are of something else.
    #[error("it does not begin like a snapshot")]
    NotASnapshot,
    /// A later Flott wrote it.
    #[error(
        "it has format version {found}, this program reads version {VERSION}: use the Flott that wrote it"
    )]
    Version {
        /// The version it has.
        found: u8,
    },
    /// It has no end.
    #[error("it is cut off: {what} is not complete")]
    Truncated {
        /// Where it ends.
        what: &'static str,
    },
    /// A checksum is not that of the bytes.
    #[error("{what} is damaged: its checksum is wrong")]
    Checksum {
        /// The damaged part.
        what: String,
    },
    /// The bytes make no sense.
    #[error("{what} is damaged: {reason}")]
    Invalid {
        /// The damaged part.
        what: String,
        /// In what way.
        reason: String,
    },
    /// The bytes could not be had.
    #[error("it cannot be read: {0}")]
    Io(#[source] io::Error),
}

impl FormatError {
    pub(crate) fn invalid(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Invalid { what: what.into(), reason: reason.to_string() }
    }
}

trait ReadSeek: Read + Seek {}
impl<R: Read + Seek> ReadSeek for R {}

/// Where the bytes of a snapshot are: in memory, or in a part of a file.
pub struct SnapshotSource {
    input: BufReader<Box<dyn ReadSeek>>,
    start: u64,
    length: u64,
    /// Where `input` stands, counted from `start`.
    position: Option<u64>,
}

const BUFFER_BYTES: usize = 64 * 1024;

impl SnapshotSource {
    /// The `length` bytes from `start` on.
    pub fn part(input: impl Read + Seek + 'static, start: u64, length: u64) -> Self {
        let input = BufReader::with_capacity(BUFFER_BYTES, Box::new(input) as Box<dyn ReadSeek>);
        Self { input, start, length, position: None }
    }

    /// All bytes of `input`.
    ///
    /// # Errors
    /// What seeking to its end returns.
    pub fn whole(mut input: impl Read + Seek + 'static) -> io::Result<Self> {
        let length = input.seek(SeekFrom::End(0))?;
        Ok(Self::part(input, 0, length))
    }

    /// Bytes in memory.
    pub fn bytes(bytes: impl AsRef<[u8]> + 'static) -> Self {
        let length = bytes.as_ref().len() as u64;
        Self::part(Cursor::new(bytes), 0, length)
    }

    /// Reads the `length` bytes from `offset` on into `buffer`.
    fn read(
        &mut self,
        offset: u64,
        length: u64,
        buffer: &mut Vec<u8>,
        what: &'static str,
    ) -> Result<(), FormatError> {
        let end = offset.checked_add(length).filter(|end| *end <= self.length);
        let (Some(end), Ok(length)) = (end, usize::try_from(length)) else {
            return Err(FormatError::Truncated { what });
        };
        match self.position.take() {
            Some(position) => self.input.seek_relative(offset.wrapping_sub(position).cast_signed()),
            None => self.input.seek(SeekFrom::Start(self.start.saturating_add(offset))).map(drop),
        }
        .map_err(FormatError::Io)?;
        buffer.clear();
        buffer.resize(length, 0);
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => FormatError::Truncated { what },
            _ => FormatError::Io(error),
        })?;
        self.position = Some(end);
        Ok(())
    }
}

impl From<Vec<u8>> for SnapshotSource {
    fn from(bytes: Vec<u8>) -> Self {
        Self::bytes(bytes)
    }
}

impl fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotSource").field("start", &self.start).field("length", &self.length).finish()
    }
}

/// Rows of a state.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// What is known of them.
    pub header: ChunkHeader,
    payload: &'a [u8],
}

impl Chunk<'_> {
    /// Takes the rows off one by one.
    ///
    /// # Errors
    /// What `row` returns, and [`CodecError`] if there are not exactly as many rows as the header says.
    pub fn for_each_row(
        &self,
        mut row: impl FnMut(&mut &[u8]) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        let mut input = self.payload;
        for _ in 0..self.header.rows {
            row(&mut input)?;
        }
        if input.is_empty() {
            return Ok(());
        }
        Err(CodecError::invalid("chunk", format!("{} bytes stand behind its last row", input.len())))
    }
}

/// A snapshot that can be read.
#[derive(Debug)]
pub struct SnapshotReader {
    source: SnapshotSource,
    header: Header,
    /// With where each begins.
    chunks: Vec<(u64, ChunkHeader)>,
    buffer: Vec<u8>,
}

impl SnapshotReader {
    /// Reads the header and the index.
    ///
    /// # Errors
    /// [`FormatError`] if they are not what was written.
    pub fn open(source: impl Into<SnapshotSource>) -> Result<Self, FormatError> {
        let mut source = source.into();
        let mut buffer = Vec::new();
        let (header, chunks_start) = read_header(&mut source, &mut buffer)?;
        let chunks = read_index(&mut source, &mut buffer, chunks_start, &header)?;
        Ok(Self { source, header, chunks, buffer })
    }

    /// Who wrote it, and what is in it.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How many chunks there are.
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// What is known of chunk `index`, without reading it.
    pub fn chunk_header(&self, index: usize) -> Option<ChunkHeader> {
        self.chunks.get(index).map(|(_, header)| *header)
    }

    /// Reads chunk `index`.
    ///
    /// # Errors
    /// [`FormatError`] if it is not what was written.
    pub fn chunk(&mut self, index: usize) -> Result<Chunk<'_>, FormatError> {
        let Some(&(offset, header)) = self.chunks.get(index) else {
            return Err(FormatError::invalid(format!("chunk {index}"), "there is none"));
        };
        let length = header.chunk_bytes().ok_or(FormatError::Truncated { what: "a chunk" })?;
        self.source.read(offset, length, &mut self.buffer, "a chunk")?;
        let (content, checksum) = split_checksum(&self.buffer, "a chunk")?;
        if crc32fast::hash(content) != checksum {
            return Err(FormatError::Checksum { what: format!("chunk {index}") });
        }
        let mut payload = content;
        let found = ChunkHeader::decode(&mut payload)
            .map_err(|error| FormatError::invalid(format!("chunk {index}"), error))?;
        if found != header {
            return Err(FormatError::invalid(format!("chunk {index}"), "it is another than the index says"));
        }
        Ok(Chunk { header, payload })
    }
}

fn split_checksum<'a>(bytes: &'a [u8], what: &'static str) -> Result<(&'a [u8], u32), FormatError> {
    let (content, checksum) =
        bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(FormatError::Truncated { what })?;
    Ok((content, u32::from_le_bytes(*checksum)))
}

/// Reads the header; also returns where the chunks begin.
fn read_header(source: &mut SnapshotSource, buffer: &mut Vec<u8>) -> Result<(Header, u64), FormatError> {
    const WHAT: &str = "the header";
    const BODY: usize = MAGIC.len() + 1 + 4;
    // Less may be there than the fixed part, and still it may be clear that it is something else.
    source.read(0, source.length.min(BODY as u64), buffer, WHAT)?;
    if !buffer.iter().zip(MAGIC).all(|(found, expected)| found == expected) {
        return Err(FormatError::NotASnapshot);
    }
    let Some([version, length @ ..]) = buffer.get(MAGIC.len()..BODY) else {
        return Err(FormatError::Truncated { what: WHAT });
    };
    if *version != VERSION {
        return Err(FormatError::Version { found: *version });
    }
    let invalid = |error: CodecError| FormatError::invalid(WHAT, error);
    let length = u32::decode(&mut &*length).map_err(invalid)?;
    let chunks_start = BODY as u64 + u64::from(length) + CHECKSUM_BYTES as u64;
    source.read(0, chunks_start, buffer, WHAT)?;
    let (content, checksum) = split_checksum(buffer, WHAT)?;
    if crc32fast::hash(content) != checksum {
        return Err(FormatError::Checksum { what: WHAT.to_owned() });
    }
    let body = content.get(BODY..).unwrap_or_default();
    let header = decode_header(body).map_err(invalid)?;
    Ok((header, chunks_start))
}

fn decode_header(mut body: &[u8]) -> Result<Header, CodecError> {
    let input = &mut body;
    let operator = OperatorId::from_bytes(take_array(input, "header")?);
    let (subtask, parallelism) = (u32::decode(input)?, u32::decode(input)?);
    let max_parallelism = u32::decode(input)?;
    // Name, kind and schemas take a byte each at least.
    let count = read_length(input, 4, "header")?;
    let states = (0..count).map(|_| decode_descriptor(input)).collect::<Result<_, _>>()?;
    if !input.is_empty() {
        return Err(CodecError::invalid("header", "it is longer than what stands in it"));
    }
    Ok(Header { operator, subtask, parallelism, max_parallelism, states })
}

fn decode_descriptor(input: &mut &[u8]) -> Result<Descriptor, CodecError> {
    let name = String::decode(input)?;
    let code = u8::decode(input)?;
    let Some(kind) = StateKind::ALL.get(usize::from(code)) else {
        return Err(CodecError::invalid("header", format!("no kind of state has code {code}")));
    };
    Ok(Descriptor { name, kind: *kind, key: Schema::decode(input)?, value: Schema::decode(input)? })
}

/// Reads the index: the chunks, with where they begin.
fn read_index(
    source: &mut SnapshotSource,
    buffer: &mut Vec<u8>,
    chunks_start: u64,
    header: &Header,
) -> Result<Vec<(u64, ChunkHeader)>, FormatError> {
    let cut_off = || FormatError::Truncated { what: "its end" };
    let invalid = |reason: &dyn ToString| FormatError::invalid("the index", reason.to_string());
    let footer_start = source
        .length
        .checked_sub(FOOTER_BYTES as u64)
        .filter(|start| *start >= chunks_start)
        .ok_or_else(cut_off)?;
    source.read(footer_start, FOOTER_BYTES as u64, buffer, "its end")?;
    if !buffer.ends_with(END_MAGIC) {
        return Err(cut_off());
    }
    let mut footer = buffer.as_slice();
    let numbers = u64::decode(&mut footer).and_then(|chunks| Ok((chunks, u64::decode(&mut footer)?)));
    let (chunks, index_start) = numbers.map_err(|error| invalid(&error))?;
    let index_bytes = chunks.checked_mul(CHUNK_HEADER_BYTES as u64);
    if index_start < chunks_start
        || index_bytes.and_then(|bytes| index_start.checked_add(bytes)) != Some(footer_start)
    {
        return Err(invalid(&"it is not where the footer says"));
    }
    let checked = source.length - index_start - END_MAGIC.len() as u64;
    source.read(index_start, checked, buffer, "the index")?;
    let (content, checksum) = split_checksum(buffer, "the index")?;
    if crc32fast::hash(content) != checksum {
        return Err(FormatError::Checksum { what: "the index".to_owned() });
    }
    let mut entries = content;
    let mut offset = chunks_start;
    let mut found = Vec::with_capacity(content.len() / CHUNK_HEADER_BYTES);
    for index in 0..chunks {
        let entry = ChunkHeader::decode(&mut entries).map_err(|error| invalid(&error))?;
        if entry.state as usize >= header.states.len() || entry.rows > MAX_CHUNK_ROWS {
            return Err(invalid(&format!(
                "chunk {index} is of state {} and has {} rows",
                entry.state, entry.rows
            )));
        }
        found.push((offset, entry));
        let end = entry.chunk_bytes().and_then(|bytes| offset.checked_add(bytes));
        offset = end.ok_or_else(|| invalid(&"its chunks are too long"))?;
    }
    if offset != index_start {
        return Err(invalid(&"its chunks are not those that are there"));
    }
    Ok(found)
}
