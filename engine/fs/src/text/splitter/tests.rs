//! Every line once, however files are cut, buffers sized and readers replaced.

use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::text::{BlockReader, PlannedSplit, plan_splits};
use crate::{FileStatus, FsPath, LocalFileSystem};

/// Reads blocks and splits them.
struct LineReader {
    blocks: BlockReader,
    used: Block,
    lines: LineSplitter,
}

impl LineReader {
    fn open(planned: &PlannedSplit, on_invalid: InvalidUtf8, longest: usize) -> Result<Self, LineError> {
        Ok(Self::of(BlockReader::open(planned, None)?, planned, None, on_invalid, longest))
    }

    fn with_blocks(
        planned: &PlannedSplit,
        position: Option<u64>,
        on_invalid: InvalidUtf8,
        longest: usize,
        block_bytes: usize,
    ) -> Self {
        let blocks = BlockReader::start(planned, position, block_bytes).unwrap();
        Self::of(blocks, planned, position, on_invalid, longest)
    }

    fn of(
        blocks: BlockReader,
        planned: &PlannedSplit,
        position: Option<u64>,
        on_invalid: InvalidUtf8,
        longest: usize,
    ) -> Self {
        let lines = LineSplitter::new(planned.split.clone(), position, on_invalid, longest);
        Self { blocks, used: Block::default(), lines }
    }

    fn next_line(&mut self) -> Result<Option<String>, LineError> {
        loop {
            match self.lines.next_line()? {
                Next::Line(line) => return Ok(Some(line.to_owned())),
                Next::Block => {
                    let block = self.blocks.read(std::mem::take(&mut self.used))?;
                    self.used = self.lines.feed(block);
                }
                Next::End => return Ok(None),
            }
        }
    }
}

/// A file with `bytes` in it, and what is known of it.
fn file(bytes: &[u8]) -> (tempfile::TempDir, FileStatus) {
    let folder = tempfile::tempdir().unwrap();
    let path = FsPath::local(&folder.path().join("text"));
    std::fs::write(path.path(), bytes).unwrap();
    let status = status(&path);
    (folder, status)
}

fn status(path: &FsPath) -> FileStatus {
    use crate::FileSystem;
    LocalFileSystem.status(path).unwrap()
}

fn whole(file: &FileStatus) -> PlannedSplit {
    let split = FileSplit { path: file.path.clone(), start: 0, length: file.length };
    PlannedSplit { split, file_len: file.length, mtime: file.modified }
}

fn read_all(mut reader: LineReader) -> Result<Vec<String>, LineError> {
    let mut lines = Vec::new();
    while let Some(line) = reader.next_line()? {
        lines.push(line);
    }
    Ok(lines)
}

/// The lines of a file by the shortest definition there is.
fn lines_of(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // What is behind the last end of line is a line only if it is something.
    lines.pop_if(|last| last.is_empty());
    lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect()
}

/// Lines with all that is hard: none, empty, ends of both kinds and halves of them, letters of several bytes, no end at last.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["a", "bc", "ü", "\u{1F6A2}", "\n", "\n", "\r\n", "\r", "\n\n"]),
        0..40,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn every_line_is_read_once_however_the_file_is_cut(
        text in text(), target in 1_u64..30, min in 0_u64..8, stop in 0_usize..5, buffer in 1_usize..12,
    ) {
        let (_folder, file) = file(text.as_bytes());
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for split in plan_splits(&[file], target, min) {
            // A reader stops after a few lines, or blocks, and another goes on where it was.
            let open = |position| LineReader::with_blocks(&split, position, InvalidUtf8::Fail, 1000, buffer);
            let mut first = open(None);
            for _ in 0..stop {
                lines.extend(first.next_line().unwrap());
            }
            let position = first.lines.position();
            prop_assert!(position.is_none_or(|at| at >= split.split.start && at <= split.file_len));
            let mut second = open(position);
            while let Some(line) = second.next_line().unwrap() {
                lines.push(line);
            }
            bytes += first.lines.bytes() + second.lines.bytes();
        }
        let expected: Vec<_> = lines_of(text.as_bytes()).iter().map(|line| String::from_utf8_lossy(line)).collect();
        prop_assert_eq!(lines, expected);
        prop_assert_eq!(bytes, text.len() as u64);
    }

    #[test]
    fn lines_that_are_not_text_are_skipped_and_counted_each_once(
        bytes in prop::collection::vec(prop::sample::select(&b"a\xC3\xBC\n\n\r"[..]), 0..60),
        target in 1_u64..30, buffer in 1_usize..12,
    ) {
        let (_folder, file) = file(&bytes);
        let (mut lines, mut skipped) = (Vec::new(), 0);
        for split in plan_splits(std::slice::from_ref(&file), target, 0) {
            let mut reader = LineReader::with_blocks(&split, None, InvalidUtf8::Skip, 1000, buffer);
            while let Some(line) = reader.next_line().unwrap() {
                lines.push(line);
            }
            skipped += reader.lines.skipped();
        }
        let expected = lines_of(&bytes);
        let valid: Vec<&str> = expected.iter().filter_map(|line| std::str::from_utf8(line).ok()).collect();
        prop_assert_eq!(skipped as usize, expected.len() - valid.len());
        prop_assert_eq!(lines, valid);
        // Failing instead, the first wrong byte is named.
        match (read_all(LineReader::open(&whole(&file), InvalidUtf8::Fail, 1000).unwrap()), skipped) {
            (Err(LineError::NotUtf8 { offset, .. }), 1..) => {
                let wrong = std::str::from_utf8(&bytes).unwrap_err().valid_up_to();
                prop_assert_eq!(offset, wrong as u64);
            }
            (Ok(_), 0) => {}
            (unexpected, _) => prop_assert!(false, "{:?}", unexpected),
        }
    }

    #[test]
    fn a_line_has_its_longest_length_and_no_more(length in 1_usize..40, end in "(\n|\r\n|)", buffer in 1_usize..12) {
        let (_folder, file) = file(format!("ok\n{}{end}", "x".repeat(length)).as_bytes());
        let read = |longest: usize| {
            let mut reader = LineReader::with_blocks(&whole(&file), None, InvalidUtf8::Fail, longest, buffer);
            if longest >= 2 {
                reader.next_line().unwrap();
            }
            reader.next_line().map(|line| line.unwrap().len())
        };
        prop_assert_eq!(read(length.max(2)).unwrap(), length);
        if length > 2 {
            let error = read(length - 1).unwrap_err();
            prop_assert_eq!(
                error.to_string(),
                format!("the line at byte 3 of {} is longer than {} bytes", file.path, length - 1)
            );
        }
    }
}

#[test]
fn what_is_not_text_fails_with_its_place() {
    let (_folder, file) = file(b"good\nba\xFFd\nend");
    let error = read_all(LineReader::open(&whole(&file), InvalidUtf8::Fail, 100).unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} is not UTF-8 at byte 7; skip such lines if that is expected", file.path)
    );
    assert!(!error.is_retryable());
    let mut reader = LineReader::open(&whole(&file), InvalidUtf8::Skip, 100).unwrap();
    assert_eq!(reader.next_line().unwrap().as_deref(), Some("good"));
    assert_eq!(reader.next_line().unwrap().as_deref(), Some("end"));
    assert_eq!(reader.next_line().unwrap(), None);
    assert_eq!((reader.lines.skipped(), reader.lines.position()), (1, Some(13)));
}

#[test]
fn a_file_that_grows_is_read_as_it_was_planned() {
    let (_folder, file) = file(b"one\ntwo");
    let mut append = std::fs::OpenOptions::new().append(true).open(file.path.path()).unwrap();
    append.write_all(b" and more\nthree\n").unwrap();
    let read = |planned| read_all(LineReader::open(&planned, InvalidUtf8::Fail, 100).unwrap());
    assert_eq!(read(whole(&file)).unwrap(), ["one", "two"]);
    assert_eq!(read(whole(&status(&file.path))).unwrap(), ["one", "two and more", "three"]);
}

#[test]
fn a_file_that_shrank_or_was_rewritten_is_an_error() {
    let (_folder, file) = file(b"one\ntwo\nthree\n");
    let open = |planned: &PlannedSplit| LineReader::open(planned, InvalidUtf8::Fail, 100);
    let mut early = LineReader::with_blocks(&whole(&file), None, InvalidUtf8::Fail, 100, 4);
    let later = PlannedSplit { mtime: file.modified - 1, ..whole(&file) };
    let error = open(&later).err().unwrap();
    assert!(matches!(error, LineError::Rewritten { planned, found, .. } if planned == found - 1), "{error}");
    std::fs::write(file.path.path(), "one\nt").unwrap();
    let expected = format!(
        "{} has 5 bytes, but had 14 or more when it was cut into splits; do not change files while they are read",
        file.path
    );
    assert_eq!(open(&whole(&file)).err().unwrap().to_string(), expected);
    // Nor does a reader pass over it that was there before.
    assert_eq!(early.next_line().unwrap().as_deref(), Some("one"));
    assert_eq!(early.next_line().unwrap_err().to_string(), expected);
    let gone = FileStatus { path: FsPath::local(std::path::Path::new("/nowhere/x")), ..file };
    let error = open(&whole(&gone)).err().unwrap();
    assert!(error.to_string().contains("/nowhere/x: "), "{error}");
}
