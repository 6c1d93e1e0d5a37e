//! Whatever stands in the bytes, reading them neither panics nor allocates more than they are long.

use flott_fuzz::Decoder;

use super::*;

const NO_GROUPS: KeyGroupRange = KeyGroupRange { start: 0, end: 0 };

fn header() -> Header {
    let states = vec![
        Descriptor {
            name: "count".to_owned(),
            kind: StateKind::Table,
            key: Schema::String,
            value: Schema::Option(Box::new(Schema::U64)),
        },
        Descriptor {
            name: "splits".to_owned(),
            kind: StateKind::List,
            key: Schema::Unit,
            value: Schema::U32,
        },
    ];
    Header { operator: OperatorId::from_uid("op"), subtask: 1, parallelism: 3, max_parallelism: 128, states }
}

/// A snapshot with `rows` numbers in its list, written in steps of `budget`.
fn snapshot(rows: u32, budget: usize) -> Vec<u8> {
    let (mut bytes, mut stream) = (Vec::new(), StreamWriter::default());
    StreamWriter::header(&header(), &mut bytes);
    stream.end_step(bytes.len());
    let mut row = 0;
    while row < rows {
        let before = bytes.len();
        let mut chunks = ChunkWriter::new(&mut bytes, &mut stream, 1, budget);
        while row < rows && !chunks.is_over() {
            chunks.row(0, NO_GROUPS, |out| row.encode(out));
            row += 1;
        }
        chunks.close();
        stream.end_step(bytes.len() - before);
    }
    stream.footer(0, &mut bytes);
    bytes
}

fn read_all(bytes: Vec<u8>) -> Result<Vec<u32>, FormatError> {
    let mut reader = SnapshotReader::open(bytes)?;
    let mut rows = Vec::new();
    for index in 0..reader.chunk_count() {
        let chunk = reader.chunk(index)?;
        chunk
            .for_each_row(|input| u32::decode(input).map(|row| rows.push(row)))
            .map_err(|error| FormatError::invalid("rows", error))?;
    }
    Ok(rows)
}

#[test]
fn what_was_written_is_read() {
    for (rows, budget) in [(0, 1), (1, 1), (1000, 1), (1000, 200), (200_000, usize::MAX)] {
        let reader = SnapshotReader::open(snapshot(rows, budget)).unwrap();
        assert_eq!(*reader.header(), header());
        assert_eq!(read_all(snapshot(rows, budget)).unwrap(), (0..rows).collect::<Vec<_>>());
    }
}

#[test]
fn chunks_are_of_a_bounded_size() {
    let reader = SnapshotReader::open(snapshot(200_000, usize::MAX)).unwrap();
    let chunks: Vec<_> = (0..reader.chunk_count()).filter_map(|index| reader.chunk_header(index)).collect();
    assert!(chunks.len() > 1);
    assert!(chunks.iter().all(|chunk| chunk.length <= CHUNK_BYTES as u64 + 4));
    assert!(chunks.iter().all(|chunk| chunk.rows <= MAX_CHUNK_ROWS));
}

#[test]
fn a_part_of_a_file_is_read() {
    let snapshot = snapshot(50_000, 3000);
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &[&b"before"[..], &snapshot, b"behind"].concat()).unwrap();
    let source = SnapshotSource::part(file, 6, snapshot.len() as u64);
    let mut reader = SnapshotReader::open(source).unwrap();
    // In any order.
    for index in (0..reader.chunk_count()).rev().chain([1, 0, 2]) {
        let expected = reader.chunk_header(index).unwrap();
        assert_eq!(reader.chunk(index).unwrap().header, expected);
    }
    let whole = SnapshotSource::whole(std::io::Cursor::new(snapshot)).unwrap();
    assert!(SnapshotReader::open(whole).is_ok());
    // The file is shorter than the metadata say.
    let short = SnapshotSource::part(std::io::Cursor::new(b"FLOTTST\x01".to_vec()), 0, 500);
    assert!(matches!(SnapshotReader::open(short), Err(FormatError::Truncated { .. })));
}

#[test]
fn every_cut_and_every_flipped_bit_is_noticed() {
    let bytes = snapshot(30, 40);
    for cut in 0..bytes.len() {
        let error = read_all(bytes[..cut].to_vec()).unwrap_err();
        assert!(matches!(error, FormatError::Truncated { .. }), "cut at {cut}: {error}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read_all(flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn a_snapshot_of_something_else_or_of_a_later_version_is_refused_as_such() {
    assert!(matches!(read_all(b"PK\x03\x04 and so on and on".to_vec()), Err(FormatError::NotASnapshot)));
    assert!(matches!(read_all(b"no".to_vec()), Err(FormatError::NotASnapshot)));
    let mut later = snapshot(1, 1);
    later[7] = 2;
    let error = read_all(later).unwrap_err().to_string();
    assert_eq!(error, "it has format version 2, this program reads version 1: use the Flott that wrote it");
}

/// A snapshot whose parts have right checksums, whatever stands in them.
fn forged(body: &[u8], chunks: &[(ChunkHeader, Vec<u8>)], count: u64, index_offset: Option<u64>) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &[VERSION], &(body.len() as u32).to_le_bytes(), body].concat();
    crc32fast::hash(&bytes).encode(&mut bytes);
    let mut index = Vec::new();
    for (header, payload) in chunks {
        let start = bytes.len();
        header.encode(&mut bytes);
        header.encode(&mut index);
        bytes.extend_from_slice(payload);
        crc32fast::hash(&bytes[start..]).encode(&mut bytes);
    }
    let offset = bytes.len();
    index.extend_from_slice(&count.to_le_bytes());
    index.extend_from_slice(&index_offset.unwrap_or(offset as u64).to_le_bytes());
    crc32fast::hash(&index).encode(&mut index);
    bytes.extend_from_slice(&index);
    bytes.extend_from_slice(END_MAGIC);
    bytes
}

fn body() -> Vec<u8> {
    let mut bytes = Vec::new();
    StreamWriter::header(&header(), &mut bytes);
    bytes[12..bytes.len() - 4].to_vec()
}

#[test]
fn numbers_that_promise_too_much_are_refused() {
    let chunk = |state, rows, length| ChunkHeader { state, groups: NO_GROUPS, namespace: 0, rows, length };
    let good = (chunk(1, 1, 4), 7_u32.to_le_bytes().to_vec());
    assert_eq!(read_all(forged(&body(), std::slice::from_ref(&good), 1, None)).unwrap(), [7]);
    let payload = good.1.clone();
    for header in [
        chunk(2, 1, 4),
        chunk(1, u32::MAX, 4),
        chunk(1, 2, 4),
        chunk(1, 0, 4),
        chunk(1, 1, u64::MAX),
        chunk(1, 1, u64::MAX - 33),
        chunk(1, 1, 1 << 40),
        chunk(1, 1, 3),
    ] {
        let error = read_all(forged(&body(), &[(header, payload.clone())], 1, None)).unwrap_err();
        assert!(matches!(error, FormatError::Invalid { .. }), "{header:?}: {error}");
    }
    for (count, offset) in
        [(0, None), (2, None), (u64::MAX, None), (1 << 59, Some(1 << 60)), (1, Some(u64::MAX))]
    {
        assert!(
            read_all(forged(&body(), std::slice::from_ref(&good), count, offset)).is_err(),
            "{count} at {offset:?}"
        );
    }
    let many_states = [&body()[..28], &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], &[0; 20]].concat();
    assert!(read_all(forged(&many_states, &[], 0, None)).is_err());
    let more = [&body()[..], b"more"].concat();
    assert!(read_all(forged(&more, &[], 0, None)).is_err());
}

#[test]
fn fuzz_state_snapshots() {
    let chunk = ChunkHeader { state: 1, groups: NO_GROUPS, namespace: 0, rows: 1, length: 4 };
    // Files are read by 64 KiB.
    Decoder::new("snapshots")
        .may_hold(128 << 10)
        .sample(snapshot(3, 1))
        .sample(snapshot(50, 100))
        .sample(body())
        .word(MAGIC)
        .word(END_MAGIC)
        .bytes(|bytes| {
            let _ = read_all(bytes.to_vec());
            // With right checksums, and still.
            let _ = read_all(forged(bytes, &[], 0, None));
            let _ = read_all(forged(&[&body()[..28], bytes].concat(), &[], 0, None));
            let _ = read_all(forged(&body(), &[(chunk, bytes.to_vec())], 1, None));
        });
}
